/* The overview: what was spent, on what, where it goes, what wants a look. */
import { h } from "./dom.js";
import { report } from "./api.js";
import { perCent, count } from "./columns.js";
import { mean, parse, plain, show, showExact } from "./money.js";
import { empty, panel } from "./panel.js";
import { plot } from "./plot.js";
import { grainFor, overTime, periodLabel } from "./shape.js";
import { amount, pivot, table } from "./table.js";
import { changed, common, condition, has, here, href } from "./url.js";
import { budgetList } from "./view_budgets.js";

function tile(name, value, note, link) {
    return h("div", { class: "tile" }, h("dt", {}, link ? h("a", { href: link }, name) : name),
             h("dd", {}, h("span", { class: "figure" }, value), note ? h("span", { class: "about" }, note) : null));
}

/* Of less than a dollar four digits that say something. */
const fourDigits = (value) => Math.max(2, Math.min(18, 22 - value.toString().replace("-", "").length));

/* A tile rounds to cents where there are dollars. */
function dollars(text) {
    if (text === null || text === undefined)
        return "–";
    const value = parse(text);

    return amount(text, has("exact") ? showExact(value)
                                     : value >= 10n ** 18n || value === 0n ? show(value, 2)
                                                                           : show(value, fourDigits(value)));
}

/*
 * Tasks are not in rollups: over a large ledger they take long, so they are asked for when
 * all else is there, and fill a tile that waits.
 */
async function fillTasks(target, words, signal) {
    const name = "Cost of a completed task";

    try {
        const { total } = await report("tasks", changed({ by: null }, words), signal);
        target.replaceChildren(...tile(name, dollars(total.cost_per_completed_task_usd),
            `${count(total.completed)} of ${count(total.tasks)} tasks completed`, href("/tasks", words)).childNodes);
    } catch (problem) {
        if (problem.name !== "AbortError")
            target.replaceChildren(...tile(name, "–", problem.message, href("/tasks", words)).childNodes);
    }
}

const SHOWN = 6; /* teams, models */
const byTeam = (words) => ["spend", changed({ by: "team", top: null }, words)];

async function tiles(words, signal, taskTile) {
    const isNow = !["from", "to", "month", "last"].some((w) => words.has(w));
    const [spend, forecast] = await Promise.all([
        report(...byTeam(words), signal), isNow ? report("forecast", words, signal) : null]);
    const total = spend.total;
    const untagged = spend.rows.find((row) => row.team === "(untagged)") ?? { cost_usd: "0" };
    const each = total.cost_usd === null ? null
        : mean(parse(total.cost_usd), total.requests - total.unpriced_requests);
    const share = total.cost_usd && Number(total.cost_usd) > 0 && untagged.cost_usd
        ? perCent(Number(untagged.cost_usd) / Number(total.cost_usd)) : "–";
    const end = forecast?.total;
    const teams = spend.rows.filter((row) => row.team !== "(untagged)").length;
    const silent = forecast?.rows.filter((row) => row.forecast_usd === null).length;

    return [h("dl", { class: "tiles", id: "tiles" },
        tile("Spent", dollars(total.cost_usd),
             total.unpriced_requests ? `${count(total.unpriced_requests)} requests without a price`
                                     : total.requests ? "every request priced" : "no request",
             href("/spend", changed({ by: "team" }, words))),
        end ? tile("Month end, forecast", dollars(end.forecast_usd), end.low_usd && end.high_usd
            ? ["the teams' forecasts added up, between ", dollars(end.low_usd), " and ", dollars(end.high_usd),
               silent ? `, without ${silent} that have none yet` : ""] : "known after a complete day",
            href("/reports", changed({ name: "forecast" }, common()))) : null,
        tile("Requests", h("data", { value: total.requests }, count(total.requests)),
             `${teams} ${teams === 1 ? "team" : "teams"}`, href("/requests", words)),
        tile("Cost of a request", dollars(each === null ? null : plain(each)), "mean", href("/requests", words)),
        taskTile,
        tile("Without a team", share, dollars(untagged.cost_usd),
             href("/reports", changed({ name: "untagged" }, common()))))];
}

async function overDays(words, signal) {
    const grain = grainFor(words);
    const answer = await report("spend", changed({ grain, by: "team", top: SHOWN }, words), signal);

    if (!answer.rows.length)
        return empty();
    const { labels, series } = overTime(answer, "team", "cost_usd");
    const beside = h("details", { class: "beside" }, h("summary", {}, "The same as a table"),
                     pivot(`Spend by ${grain} and team, USD`, labels, series, has("exact")));

    return plot({ title: `Spend by ${grain} and team`, labels: labels.map(periodLabel), series,
                  stacked: true, beside });
}

/* Where there are no more than are shown, all of them are known to the tiles already. */
async function top(words, field, signal) {
    const all = field === "team" ? await report(...byTeam(words), signal) : null;
    const answer = all && all.rows.length <= SHOWN ? all
        : await report("spend", changed({ by: field, top: SHOWN }, words), signal);

    if (!answer.rows.length)
        return empty();
    return table(answer, {
        caption: `The ${field}s that cost most`, columns: [field, "requests", "cost_usd", "share"],
        links: { [field]: (row) => (row[field] === "(other)" ? null
            : href("/spend", changed({ where: [...here().getAll("where"), condition(field, row[field])],
                                       by: field === "team" ? "feature" : "team" }, common()))) } });
}

async function oddities(words, signal) {
    const recent = changed({ from: null, to: null, month: null, last: "30d", by: "team" }, words);
    const answer = await report("anomalies", recent, signal);
    const rows = [...answer.rows].sort((a, b) =>
        b.notable - a.notable || Math.abs(Number(b.impact_usd)) - Math.abs(Number(a.impact_usd))).slice(0, 5);

    if (!rows.length)
        return h("p", { class: "empty" }, "No unusual day in the last 30 days.");
    return table({ ...answer, rows, total: {} }, {
        caption: "Unusual days of the last 30, largest first",
        columns: ["team", "start", "expected_usd", "actual_usd", "impact_usd"] });
}

export const overview = {
    path: "/", title: "Overview", main: ["spend", { by: "team" }], head: byTeam,
    render(words, signal) {
        const taskTile = tile("Cost of a completed task", "…", "adding up", href("/tasks", words));
        const panels = [
            panel({ title: "Key figures", wide: true, plain: true, hideTitle: true },
                  () => tiles(words, signal, taskTile)),
            panel({ title: "Spend over time", wide: true,
                    link: { href: href("/spend", changed({ grain: grainFor(words), by: "team" }, words)), text: "All of it" } },
                  () => overDays(words, signal)),
            panel({ title: "By team", link: { href: href("/spend", changed({ by: "team" }, words)), text: "All teams" } },
                  () => top(words, "team", signal)),
            panel({ title: "By model", link: { href: href("/models", words), text: "All models" } },
                  () => top(words, "model", signal)),
            panel({ title: "Budgets nearest to their limit", link: { href: "/budgets", text: "All budgets" } },
                  async () => budgetList(await report("budgets", new URLSearchParams({ top: "5" }), signal), 5)),
            panel({ title: "Unusual days", link: { href: href("/anomalies", common()), text: "All anomalies" } },
                  () => oddities(words, signal)),
        ];

        panels[0].done = Promise.all(panels.map((one) => one.done)).then(() => fillTasks(taskTile, words, signal));
        return panels;
    },
};
