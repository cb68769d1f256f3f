/* Anomalies, statement, lines, and every other report. */
import { freshId, h } from "./dom.js";
import { report, reports as available } from "./api.js";
import { count, instant, title as titleOf } from "./columns.js";
import { parse, plain } from "./money.js";
import { empty, panel } from "./panel.js";
import { plot } from "./plot.js";
import { columnOf, periodLabel } from "./shape.js";
import { table } from "./table.js";
import { changed, common, condition, here, href } from "./url.js";

/* ---- anomalies ---------------------------------------------------------------------------- */

export const anomalies = {
    path: "/anomalies", title: "Anomalies", by: "team", last: "30d",
    fields: ["team", "feature", "environment", "model", "upstream", "key"],
    main: ["anomalies", { by: "team", last: "30d" }],
    render(words, signal) {
        return [panel({ title: "Unusual days", wide: true, hideTitle: true }, async () => {
            const answer = await report("anomalies", words, signal);
            if (!answer.rows.length)
                return h("p", { class: "empty" }, "Nothing unusual: every day was near what the weeks before it let expect. ",
                         "Three weeks of history are needed.");
            const key = columnOf(answer, words.get("by").split(",")[0]);
            const rows = answer.rows.filter((r) => r.actual_usd !== null)
                .sort((a, b) => Math.abs(b.impact_usd) - Math.abs(a.impact_usd)).slice(0, 12);
            return [plot({ title: "What was expected, and what was spent", flat: true,
                           labels: rows.map((r) => `${r[key] ?? r.budget}, ${periodLabel(instant(r.start, answer.timezone).slice(0, 10))}`),
                           series: [{ name: "expected", values: rows.map((r) => r.expected_usd) },
                                    { name: "spent", values: rows.map((r) => r.actual_usd) }] }),
                    table(answer, {
                        caption: "Unusual days; notable ones are large enough to alarm somebody",
                        columns: [key, "start", "kind", "expected_usd", "actual_usd", "impact_usd", "impact_ratio",
                                  "notable", "contributors"],
                        links: { [key]: (row) => href("/spend", changed(
                            { where: [...words.getAll("where"), condition(words.get("by").split(",")[0], row[key])],
                              by: "model", from: row.start, to: row.end, last: null, month: null }, common())) },
                        sortable: true })];
        })];
    },
};

/* ---- statement ------------------------------------------------------------------------------ */

/* Unknown where nothing of it is known. */
const sumOf = (rows, name) => (rows.every((r) => r[name] === null) ? null
    : plain(rows.reduce((sum, r) => sum + parse(r[name] ?? "0"), 0n)));
const SUMMED = ["cost_usd", "imported_usd", "correction_usd", "amount_usd"];
const COUNTED = ["requests", "input_tokens", "output_tokens", "unpriced_requests"];

function subtotal(rows) {
    return Object.fromEntries([...SUMMED.map((name) => [name, sumOf(rows, name)]),
        ...COUNTED.map((name) => [name, rows.reduce((sum, r) => sum + (r[name] ?? 0), 0)])]);
}

export const statement = {
    path: "/statement", title: "Statement", months: true, main: ["statement", {}],
    render(words, signal) {
        const asked = report("statement", words, signal);
        const list = h("div", { class: "stack full" });
        const all = panel({ title: "What each team owes", wide: true }, async () => {
            const answer = await asked;
            const teams = [...new Set(answer.rows.map((r) => r.team))];
            if (!teams.length)
                return empty();
            const of = (team) => answer.rows.filter((r) => r.team === team);
            const summary = teams.map((team) => ({ team, cost_centre: of(team)[0].cost_centre, ...subtotal(of(team)) }));
            const parts = teams.map((team) => panel({ title: team, wide: true }, async () =>
                table({ ...answer, rows: of(team), total: subtotal(of(team)) }, {
                    caption: `${team}, ${answer.from.slice(0, 10)} to ${answer.to.slice(0, 10)}, line by line`,
                    columns: ["kind", "item", "feature", "environment", "model", "requests", "input_tokens",
                              "output_tokens", "cost_usd", "imported_usd", "correction_usd", "amount_usd", "unpriced_requests"] })));
            list.replaceChildren(...parts);
            await Promise.all(parts.map((part) => part.done));
            return table({ ...answer, rows: summary }, {
                caption: `${answer.from.slice(0, 10)} to ${answer.to.slice(0, 10)}, USD`,
                columns: ["team", "cost_centre", "requests", "cost_usd", "imported_usd", "correction_usd", "amount_usd",
                          "unpriced_requests"],
                links: { team: (row) => href("/statement", changed({ where: condition("team", row.team) })) } });
        });
        return [all, list];
    },
};

/* ---- lines ---------------------------------------------------------------------------------- */

/* A button that shows all members of a line in a row beneath. */
function details(row, width) {
    const members = Object.entries(row).filter(([, v]) => v !== null && v !== "");
    const id = freshId("line");
    const beneath = h("tr", { class: "detail", id, hidden: true }, h("td", { colspan: width },
        h("dl", { class: "members" }, members.map(([name, value]) =>
            h("div", {}, h("dt", {}, titleOf(name)), h("dd", {}, String(value)))))));
    const short = "…" + row.id.slice(-6);
    const button = h("button", { type: "button", class: "plain tight", "aria-expanded": "false", "aria-controls": id,
                                 "aria-label": `${short}, all of request ${row.id}` }, short);

    button.addEventListener("click", () => {
        beneath.hidden = !beneath.hidden;
        button.setAttribute("aria-expanded", String(!beneath.hidden));
    });
    return { column: "id", button, beneath };
}

/* What chooses lines beside conditions, for people: a link from another report brought it. */
function chosen(words) {
    const says = [words.get("waste") && `Requests of the class ${words.get("waste").replace(/_/g, " ")} of the report on waste, ` +
                      "as their task tells",
                  words.get("except") && "What a table left out as (other)",
                  words.get("only") && !words.get("waste") && "The requests that one finding was made of",
                  words.get("time") === "start" && "Requests by when they began, as budgets count them",
                  words.get("charge") && `What one price charged: ${words.get("charge").replace(/,/g, ", ")}`].filter(Boolean);

    return says.length ? h("p", { class: "about" }, says.join("; ") + ". ",
        h("a", { href: href("/lines", changed({ waste: null, except: null, only: null, charge: null, time: null })) }, "All lines")) : null;
}

export const lines = {
    path: "/lines", title: "Lines", main: ["lines", { sort: "end:desc", top: "100" }],
    render(words, signal) {
        return [panel({ title: "Lines", wide: true, hideTitle: true }, async () => {
            const answer = await report("lines", words, signal);
            if (!answer.rows.length)
                return [chosen(words), empty()];
            const shown = answer.rows.filter((r) => r.id !== "(other)").length;
            return [chosen(words), table(answer, {
                caption: `${count(shown)} of ${count(answer.total.requests)} requests` +
                    (shown < answer.total.requests ? "; the rest is the row (other)" : ""),
                columns: ["end", "team", "feature", "model", "task", "outcome", "cost_usd", "charged_usd", "quantity",
                          "input_tokens", "output_tokens", "latency_ms", "id"],
                links: { task: (row) => (row.task ? href("/lines", changed(
                    { where: condition("task", row.task) }, common())) : null) },
                more: (row, width) => (row.id === "(other)" ? null : details(row, width)), sortable: true }),
                shown < answer.total.requests ? h("p", {}, h("a", { href: href("/lines", changed(
                    { top: String(Number(words.get("top")) * 5) })) }, "Show more")) : null];
        })];
    },
};

/* ---- every other report ------------------------------------------------------------------------ */

/* Reports that have a page of their own, or take files that a browser does not have here. */
const ELSEWHERE = ["spend", "requests", "tasks", "budgets", "models", "anomalies", "statement", "lines", "reconcile"];

/* Grouped so where nothing is said. */
const BY = { variance: "team", "token-bands": "model" };

export const reports = {
    path: "/reports", title: "More reports", by: "", period: true, main: null,
    render(words, signal) {
        const name = here().get("name");
        const by = words.get("by") ?? BY[name];
        const index = panel({ title: "Reports", wide: true, plain: true, hideTitle: true }, async () => {
            const list = (await available(signal)).filter((r) => !ELSEWHERE.includes(r.name));
            return h("ul", { class: "tabs" }, list.map((r) => h("li", {},
                h("a", { href: href("/reports", changed({ name: r.name }, common())), "data-key": "report-" + r.name,
                         "aria-current": r.name === name ? "page" : null }, r.title))));
        });

        return !name ? [index] : [index, panel({ title: titleOf(name.replace(/-/g, "_")), wide: true }, async () => {
            const answer = await report(name, changed({ by }, words), signal);
            const between = `${answer.from.slice(0, 10)} to ${answer.to.slice(0, 10)}`;
            return answer.rows.length ? table(answer, { caption: `${titleOf(name.replace(/-/g, "_"))}, ${between}`,
                                                        sortable: true })
                                      : h("p", { class: "empty" }, "This report has no rows in this period.");
        })];
    },
};
