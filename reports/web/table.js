/* A report's answer as a table: caption, scopes, sortable heads, amounts with all digits at hand. */
import { freshId, h } from "./dom.js";
import { columnsOf } from "./columns.js";
import { parse, showExact } from "./money.js";
import { changed, has, here, href, linesHref } from "./url.js";

/* Columns whose numbers lead to the lines behind them. */
const LEADS = new Set(["requests", "cost_usd", "amount_usd", "actual_usd", "spent_usd", "ledger_spent_usd", "ledger_spent_count",
                       "metered_cost_usd", "task_cost_usd"]);

/* More columns than that are printed small. */
const MANY = 9;

/* An amount as shown, with its exact value for the pointer, the clipboard and tests. */
export function amount(value, shown) {
    return h("data", { value, title: showExact(parse(value)) + " exactly" }, shown);
}

function content(column, value, shown) {
    if (shown === null || shown === undefined || shown === "")
        return "";
    if (value === null || value === undefined)
        return h("span", { role: "img", "aria-label": "unknown" }, shown);
    if (column.kind === "money")
        return amount(value, shown);
    if (column.kind === "count")
        return h("data", { value }, shown);
    return shown;
}

function cell(column, row, shown, links, isFirst) {
    const name = isFirst ? "th" : "td";
    const inside = isFirst && row.id === "(other)" ? "(other)" : content(column, row[column.name], shown);
    const target = links[column.name]?.(row) ??
        (LEADS.has(column.name) && row.lines ? linesHref(row.lines) : null);
    const label = LEADS.has(column.name) && target ? `${shown}: show the lines` : null;

    return h(name, { class: column.right ? "n" : column.long ? "long" : null, scope: isFirst ? "row" : null,
                     "data-column": column.name },
             target ? h("a", { href: target, "aria-label": label }, inside) : inside);
}

function head(column, sortable) {
    const [name, order] = (here().get("sort") ?? "").split(":");
    const isText = column.kind === "text" || column.kind === "time";
    const now = name === column.name ? order ?? (isText ? "asc" : "desc") : null;
    const next = now === (isText ? "asc" : "desc") ? (isText ? "desc" : "asc") : isText ? "asc" : "desc";
    const inside = sortable
        ? h("a", { href: href(location.pathname, changed({ sort: `${column.name}:${next}` })),
                   class: "sort", "data-key": "sort-" + column.name },
            column.title, h("span", { "aria-hidden": "true", class: "arrow" },
                            now === "asc" ? "▲" : now === "desc" ? "▼" : ""))
        : column.title;

    return h("th", { scope: "col", class: column.right ? "n" : null,
                     "aria-sort": now ? (now === "asc" ? "ascending" : "descending") : null }, inside);
}

function totalRow(columns, answer) {
    const keys = columns.findIndex((c) => c.totalText !== null && c.totalText !== undefined);
    const rest = keys < 0 ? columns.length : keys;
    const total = answer.total ?? {};

    if (keys < 0)
        return null;
    return h("tfoot", {}, h("tr", {},
        rest > 0 ? h("th", { scope: "row", colspan: rest }, "Total") : null,
        columns.slice(rest).map((c) => cell(c, total, c.totalText ?? "", {}, false))));
}

/*
 * options: caption, columns (names; empty: all), links ({column: row -> href or null}),
 * sortable, more (row -> {column, button, beneath}: a button in place of a column's text,
 * and the row that it shows; or null).
 */
export function table(answer, options) {
    const links = options.links ?? {};
    const columns = columnsOf(answer, has("all") ? [] : options.columns ?? [], has("exact"));
    const width = columns.length;

    const id = freshId("caption");

    return h("div", { class: "wide", role: "region", tabindex: "0", "aria-labelledby": id },
        h("table", { class: width > MANY ? "many" : null },
            h("caption", { id }, options.caption),
            h("thead", {}, h("tr", {}, columns.map((c) => head(c, options.sortable)))),
            h("tbody", {}, answer.rows.map((row, i) => {
                const more = options.more?.(row, width);
                return [h("tr", {}, columns.map((c, k) => (more && c.name === more.column
                    ? h("td", { "data-column": c.name }, more.button)
                    : cell(c, row, c.texts[i], links, k === 0)))), more?.beneath];
            }).flat()),
            totalRow(columns, answer)));
}

/* Rows by period and series side by side: the table of a chart over time. */
export function pivot(caption, periods, series, isExact) {
    const rows = periods.map((period, i) =>
        Object.fromEntries([["period", period], ...series.map((s, k) => [`${k}_usd`, s.values[i]])]));
    const columns = columnsOf({ rows, total: {}, timezone: "UTC" }, [], isExact);

    const id = freshId("caption");

    return h("div", { class: "wide", role: "region", tabindex: "0", "aria-labelledby": id },
        h("table", {},
            h("caption", { id }, caption),
            h("thead", {}, h("tr", {}, columns.map((c, k) =>
                h("th", { scope: "col", class: c.right ? "n" : null },
                  k === 0 ? "Period" : series[k - 1].name)))),
            h("tbody", {}, rows.map((row, i) =>
                h("tr", {}, columns.map((c, k) => cell(c, row, c.texts[i], {}, k === 0)))))));
}
