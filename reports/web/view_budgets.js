/* Budgets and caps as they stand now. */
import { h } from "./dom.js";
import { report } from "./api.js";
import { count, perCent, instant } from "./columns.js";
import { parse, show, showExact } from "./money.js";
import { panel } from "./panel.js";
import { amount, table } from "./table.js";
import { has } from "./url.js";

const LEVELS = { ok: "ok", alert: "warn", exhausted: "bad", over: "bad" };
const SAYS = { ok: "within", alert: "past a threshold", exhausted: "used up", over: "over" };

function quantity(row, stem) {
    if (row.unit === "usd") {
        const text = row[stem + "_usd"];
        const value = text === null ? null : parse(text);
        return value === null ? "–" : amount(text, has("exact") ? showExact(value)
                                                                : value >= 10n ** 18n ? show(value, 2) : show(value));
    }
    const n = row[stem + "_count"];

    return n === null ? "–" : count(n);
}

const scopeText = (scope) => (scope === "*" ? "not used yet"
    : (scope ?? "").replace(/=\(none\)/g, ": none").replace(/=/g, " "));

/* The first n by how much is used, with a bar each. */
export function budgetList(answer, n) {
    const rows = [...answer.rows].filter((r) => r.used_ratio !== null)
        .sort((a, b) => b.used_ratio - a.used_ratio).slice(0, n);

    if (!rows.length)
        return h("p", { class: "empty" }, "No limit is configured, or none has been used yet.");
    return h("ul", { class: "budgets" }, rows.map((row) => {
        const level = LEVELS[row.status] ?? "ok";
        const name = [row.budget, scopeText(row.scope)].filter(Boolean).join(", ");
        return h("li", {},
            h("div", { class: "budget-head" }, h("strong", {}, row.budget), " ",
              h("span", { class: "about" }, scopeText(row.scope)),
              h("span", { class: "badge " + level }, SAYS[row.status] ?? row.status)),
            h("progress", { max: "1", value: Math.min(1, row.used_ratio), class: level, "aria-label": `${name}: used` },
              perCent(row.used_ratio)),
            h("div", { class: "budget-foot" },
              h("span", {}, quantity(row, "spent"), " of ", quantity(row, "limit"),
                row.unit === "usd" ? "" : " " + row.unit.replace(/_/g, " "), ` per ${row.window}`),
              h("span", { class: "n" }, perCent(row.used_ratio),
                row.window_end ? ` · resets ${instant(row.window_end, answer.timezone)}` : "")));
    }));
}

const COLUMNS = ["budget", "scope", "window", "mode", "limit_usd", "spent_usd", "reserved_usd", "remaining_usd",
                 "ledger_spent_usd", "used_ratio", "forecast_usd", "forecast_ratio", "runs_out", "status", "last_alert_ratio", "last_alert", "window_end"];
const COUNTS = COLUMNS.map((name) => name.replace(/_usd$/, "_count"));

export const budgets = {
    path: "/budgets", title: "Budgets", period: false, filter: false, main: ["budgets", {}],
    render(words, signal) {
        const asked = report("budgets", new URLSearchParams(words.get("sort") ? { sort: words.get("sort") } : {}), signal);
        const part = (unit) => async () => {
            const answer = await asked;
            const rows = answer.rows.filter((r) => (r.unit === "usd") === unit);
            return rows.length ? table({ ...answer, rows }, {
                caption: unit ? "Live counters, and the same by the ledger: alike once nothing runs. A forecast is of the counter's own history"
                              : "Caps on requests, tokens and calls at once",
                columns: unit ? COLUMNS : ["unit", ...COUNTS], sortable: unit })
                : h("p", { class: "empty" }, "None is configured.");
        };
        return [panel({ title: "Nearest to their limit", wide: true }, async () => budgetList(await asked, 12)),
                panel({ title: "Budgets in dollars", wide: true }, part(true)),
                panel({ title: "Other limits", wide: true }, part(false))];
    },
};
