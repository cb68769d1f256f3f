/* What the columns of reports are, by their names, and how their values look. */
import { addsUp, decimalsFor, parse, show, showColumn, showExact } from "./money.js";

const TITLES = {
    cost_usd: "Cost", list_cost_usd: "At list price", share: "Share", input_tokens: "Input tokens",
    output_tokens: "Output tokens", mean_cost_usd: "Mean", min_cost_usd: "Least",
    p50_cost_usd: "p50", p90_cost_usd: "p90", p95_cost_usd: "p95", p99_cost_usd: "p99",
    max_cost_usd: "Most", p50_completed_usd: "p50 completed", p90_completed_usd: "p90 completed",
    p95_completed_usd: "p95 completed", mean_latency_ms: "Mean latency, ms", p95_latency_ms: "p95 latency, ms",
    mean_first_byte_ms: "First byte, ms", max_latency_ms: "Longest, ms",
    cost_per_completed_task_usd: "Cost per completed task", retry_cost_usd: "Spent on retries",
    failure_cost_usd: "Spent on failures", error_ratio: "Errors", errors: "Failed requests",
    used_ratio: "Used", z: "z", spent_usd: "Spent", limit_usd: "Limit", window_end: "Resets",
    cost_per_million_tokens_usd: "Per million tokens", input_per_million_usd: "Input per million",
    output_per_million_usd: "Output per million", ledger_spent_usd: "By the ledger",
    unpriced_requests: "Without a price", unknown_usage_requests: "Usage unknown",
    id: "Request", impact_ratio: "Of expected", backtest_error_ratio: "Back-test error",
};
const PER_CENT = /(^|_)(share|ratio)$/;
const PLAIN_RATIO = /^(requests_per_task|output_per_input)$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;
/* Left out where they say nothing. */
const FEW = /^(unpriced|partly_priced|unknown_usage|estimated|late|truncated|retries|abandoned$|imported|correction|reserved|item$|cost_centre$|cache)/;
const LONG = 44; /* characters; longer text is wrapped */

export function title(name) {
    if (TITLES[name])
        return TITLES[name];
    const words = name.replace(/^tag:/, "").replace(/_(usd|count)$/, "").replace(/_/g, " ");

    return words.charAt(0).toUpperCase() + words.slice(1);
}

const isNothing = (v) => v === null || v === undefined || v === 0 || v === "0" || v === "";

/* "money", "percent", "ratio", "count", "time", "yes" or "text". */
export function kindOf(name, rows) {
    const value = rows.map((r) => r[name]).find((v) => v !== null && v !== undefined);

    if (name.endsWith("_usd"))
        return "money";
    if (typeof value === "boolean")
        return "yes";
    if (typeof value === "number") {
        if (PER_CENT.test(name) && !PLAIN_RATIO.test(name))
            return "percent";
        if (name === "status")
            return "text";
        return rows.every((r) => r[name] === null || Number.isInteger(r[name])) &&
               !/^(mean|z$|tokens_per|requests_per|output_per)/.test(name) ? "count" : "ratio";
    }
    return typeof value === "string" && TIME.test(value) ? "time" : "text";
}

export const isRight = (kind) => ["money", "percent", "ratio", "count"].includes(kind);

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const twoPlaces = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const tenths = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (n) => grouped.format(n);
export const perCent = (ratio) => tenths.format(ratio * 100) + "\u00a0%";

/* An instant as the report's zone has it, to the second; a day alone where it begins one. */
export function instant(text, zone) {
    const parts = Object.fromEntries(new Intl.DateTimeFormat("en-CA", {
        timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit",
        minute: "2-digit", second: "2-digit", hourCycle: "h23",
    }).formatToParts(new Date(text)).map((p) => [p.type, p.value]));
    const day = `${parts.year}-${parts.month}-${parts.day}`;
    const time = `${parts.hour}:${parts.minute}:${parts.second}`;

    return time === "00:00:00" ? day : `${day} ${time}`;
}

function plain(kind, value, zone) {
    if (value === null || value === undefined)
        return "–";
    switch (kind) {
    case "percent":
        return perCent(value).replace("-", "\u2212");
    case "ratio":
        return twoPlaces.format(value).replace("-", "\u2212");
    case "count":
        return grouped.format(value);
    case "time":
        return instant(value, zone);
    case "yes":
        return value ? "yes" : "no";
    default:
        return String(value);
    }
}

function moneyTexts(name, rows, total, isExact) {
    const amounts = rows.map((r) => (r[name] === null || r[name] === undefined ? null : parse(r[name])));
    const sum = typeof total?.[name] === "string" ? parse(total[name]) : null;

    const named = (texts) => texts.map((text) => text ?? "–");

    if (isExact)
        return [...named(amounts.map((a) => (a === null ? null : showExact(a)))), sum === null ? null : showExact(sum)];
    const decimals = decimalsFor(amounts.length ? amounts : [sum]);
    const texts = addsUp(amounts, sum) ? showColumn(amounts, sum, decimals)
                                       : amounts.map((a) => (a === null ? null : show(a, decimals)));

    return [...named(texts), sum === null ? null : show(sum, decimals)];
}

/*
 * The columns of an answer: {name, title, kind, right, texts, totalText}.  wanted: the names
 * to show (those that are all nothing and rarely are anything stay out); empty: all.
 */
export function columnsOf(answer, wanted, isExact) {
    const { rows, total, timezone } = answer;
    const all = Object.keys(rows[0] ?? total).filter((name) => name !== "lines");
    const names = wanted.length
        ? [...new Set(wanted)].filter((name) => all.includes(name))
        : all;

    return names.filter((name) => !(wanted.length && FEW.test(name) &&
                                    rows.every((r) => isNothing(r[name])))).map((name) => {
        const kind = kindOf(name, rows.length ? rows : [total]);
        const texts = kind === "money"
            ? moneyTexts(name, rows, total, isExact)
            : [...rows.map((r) => plain(kind, r[name], timezone)),
               total?.[name] === undefined || total[name] === null ? null : plain(kind, total[name], timezone)];

        return { name, kind, title: title(name), right: isRight(kind),
                 long: kind === "text" && texts.some((t) => t?.length > LONG),
                 texts: texts.slice(0, rows.length), totalText: texts[rows.length] };
    });
}
