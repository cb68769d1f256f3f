/* What a request costs, what a task costs, what a model costs: a chart and a table each. */
import { report } from "./api.js";
import { empty, panel } from "./panel.js";
import { plot } from "./plot.js";
import { columnOf, drill } from "./shape.js";
import { table } from "./table.js";
import { TOP, topNote } from "./view_spend.js";

const BARS = 12;

/* name: the report's; series: [[column, title]]; about: the chart's title before "by". */
function measure(view, name, about, series, columns, stacked) {
    return {
        ...view, main: [name, { by: view.by, top: TOP }], head: (words) => [name, words],
        render(words, signal) {
            return [panel({ title: view.title, wide: true, hideTitle: true }, async () => {
                const answer = await report(name, words, signal);
                if (!answer.rows.length)
                    return empty();
                const fields = words.get("by").split(",");
                const keys = fields.map((f) => columnOf(answer, f));
                const rows = answer.rows.filter((r) => series.some(([c]) => r[c] !== null && r[c] !== undefined))
                    .slice(0, BARS);
                const chart = rows.length ? plot({
                    title: `${about} by ${fields.join(", ").replace(/_/g, " ")}`, flat: true, stacked,
                    labels: rows.map((r) => keys.map((k) => r[k]).join(" · ")),
                    series: series.map(([column, title]) => ({ name: title, values: rows.map((r) => r[column] ?? null) })),
                }) : null;
                return [chart, table(answer, {
                    caption: `${view.title} by ${fields.join(", ").replace(/_/g, " ")}: a name narrows it, a number shows its lines`,
                    columns: [...keys, ...columns], links: drill(answer, fields), sortable: true }),
                    topNote(answer, words)];
            })];
        },
    };
}

export const requests = measure(
    { path: "/requests", title: "Cost per request", by: "model" }, "requests", "What a request costs",
    [["p50_cost_usd", "half cost at most (p50)"], ["p95_cost_usd", "19 of 20 cost at most (p95)"]],
    ["requests", "cost_usd", "mean_cost_usd", "p50_cost_usd", "p90_cost_usd", "p95_cost_usd", "p99_cost_usd",
     "max_cost_usd", "tokens_per_request", "error_ratio", "mean_latency_ms", "p95_latency_ms", "unpriced_requests"], false);

export const tasks = measure(
    { path: "/tasks", title: "Cost per task", by: "task_type",
      fields: ["task_type", "team", "feature", "environment", "customer", "model", "task"] },
    "tasks", "What tasks cost",
    [["useful_cost_usd", "useful"], ["open_cost_usd", "open"], ["retry_cost_usd", "retries"],
     ["failure_cost_usd", "failed"]],
    ["tasks", "completed", "failed", "abandoned", "open", "requests_per_task", "task_cost_usd",
     "cost_per_completed_task_usd", "p50_completed_usd", "p95_completed_usd", "retry_share", "failure_cost_usd"], true);

export const models = measure(
    { path: "/models", title: "Models", by: "model", fields: ["model", "upstream", "team", "feature", "service_tier"] },
    "models", "Spend", [["cost_usd", "Spend"]],
    ["upstream", "requests", "input_tokens", "output_tokens", "cost_usd", "share", "cost_per_million_tokens_usd",
     "input_per_million_usd", "output_per_million_usd", "cache_read_share", "error_ratio", "mean_latency_ms",
     "mean_first_byte_ms", "unpriced_requests"], false);
