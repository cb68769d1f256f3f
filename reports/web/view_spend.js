/* Who spent what: any tag, over time or as one, down to the lines. */
import { h } from "./dom.js";
import { report } from "./api.js";
import { empty, panel } from "./panel.js";
import { plot } from "./plot.js";
import { columnOf, drill, overTime, periodLabel } from "./shape.js";
import { pivot, table } from "./table.js";
import { changed, has, here, href } from "./url.js";

export const TOP = "50";
const BARS = 12;

export function topNote(answer, words) {
    const others = answer.rows.some((row) => Object.values(row).includes("(other)"));

    return others ? h("p", { class: "about" }, `The first ${words.get("top")} by cost; the rest is the row (other). `,
        h("a", { href: href(location.pathname, changed({ top: "100000" })) }, "Show all")) : null;
}

function chart(answer, fields, grain) {
    const column = fields.length ? columnOf(answer, fields[0]) : null;

    if (grain) {
        const { labels, series } = overTime(answer, fields.length === 1 ? column : null, "cost_usd");
        if (fields.length > 1)
            return null;
        return plot({ title: `Spend by ${grain}${column ? " and " + column : ""}`, labels: labels.map(periodLabel),
                      series, stacked: true,
                      beside: h("details", { class: "beside" }, h("summary", {}, "Side by side"),
                                pivot(`Spend by ${grain}, USD`, labels, series, has("exact"))) });
    }
    const rows = answer.rows.filter((r) => r.cost_usd !== null).slice(0, BARS);
    const label = (row) => fields.map((f) => row[columnOf(answer, f)]).join(" · ") || "all";

    return rows.length < 2 ? null : plot({
        title: `Spend by ${fields.join(" and ")}${answer.rows.length > BARS ? `, first ${BARS}` : ""}`, flat: true,
        labels: rows.map(label), series: [{ name: "Spend", values: rows.map((r) => r.cost_usd) }] });
}

/* Over time fewer, so that each is seen. */
const askedOf = (words) => (words.get("grain") ? changed({ top: here().get("top") ?? "7" }, words) : words);

export const spend = {
    path: "/spend", title: "Spend", by: "team", grain: true, main: ["spend", { by: "team", top: TOP }],
    head: (words) => ["spend", askedOf(words)],
    render(words, signal) {
        const grain = words.get("grain");
        return [panel({ title: "Spend", wide: true, hideTitle: true }, async () => {
            const asked = askedOf(words);
            const answer = await report("spend", asked, signal);
            if (!answer.rows.length)
                return empty();
            const fields = words.get("by")?.split(",") ?? [];
            return [chart(answer, fields, grain),
                    table(answer, {
                        caption: `Spend by ${[grain, ...fields].filter(Boolean).join(", ").replace(/_/g, " ")}: a name narrows it, a number shows its lines`,
                        columns: ["period", ...fields.map((f) => columnOf(answer, f)), "requests", "input_tokens",
                                  "output_tokens", "cost_usd", "list_cost_usd", "share", "unpriced_requests",
                                  "unknown_usage_requests", "estimated_requests"],
                        links: drill(answer, fields), sortable: true }),
                    topNote(answer, asked)];
        })];
    },
};
