/* Answers of reports, shaped for charts and links. */
import { condition, changed, common, here, href } from "./url.js";

/* What a click on a value narrows to next. */
const NEXT = ["team", "feature", "model", "task_type", "environment", "key", "customer"];

/* The column of a field in this answer: a free tag with a column's name is written tag:NAME. */
export function columnOf(answer, field) {
    const name = field.replace(/^tag:/, "");

    return answer.rows.length && !(name in answer.rows[0]) ? "tag:" + name : name;
}

/* The grain that makes some ten to ninety bars of the period. */
export function grainFor(words) {
    const last = words.get("last");
    const [, n, unit] = /^(\d+)([mhdw])$/.exec(last ?? "") ?? [];
    const days = unit ? n * { m: 1 / 1440, h: 1 / 24, d: 1, w: 7 }[unit]
        : words.has("from") ? (Date.parse(words.get("to") ?? new Date().toISOString()) -
                               Date.parse(words.get("from"))) / 86400000 : 30;

    return days <= 2 ? "hour" : days <= 100 ? "day" : days <= 700 ? "week" : "month";
}

/* Rows with a period, as labels and one series a group: "(other)" last, nothing as null. */
export function overTime(answer, column, money) {
    const labels = [...new Set(answer.rows.map((r) => r.period))];
    const names = [...new Set(answer.rows.map((r) => (column ? r[column] : "all")))];
    const at = new Map(answer.rows.map((r) => [JSON.stringify([r.period, column ? r[column] : "all"]), r[money]]));
    const isLast = (name) => (name === "(other)") + 0;
    const size = new Map(names.map((name) => [name, 0]));

    /* For the order alone. */
    answer.rows.forEach((r) => column && size.set(r[column], size.get(r[column]) + Number(r[money] ?? 0)));
    names.sort((a, b) => isLast(a) - isLast(b) || size.get(b) - size.get(a));
    return { labels, series: names.map((name) => ({
        name, values: labels.map((label) => at.get(JSON.stringify([label, name])) ?? null) })) };
}

/* "2026-11-03" as "3 Nov", an hour as "14:00", other periods as they are. */
export function periodLabel(text) {
    const [, month, day, hour] = /^\d{4}-(\d\d)-(\d\d)(?:T(\d\d:\d\d))?/.exec(text) ?? [];
    const names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

    if (!month)
        return text;
    return hour ? hour : `${Number(day)} ${names[month - 1]}`;
}

/* Links of the values of a field: to the same view, narrowed to the value, by what comes next. */
export function drill(answer, fields, path = location.pathname) {
    const taken = new Set([...fields, ...here().getAll("where").map((w) => w.split("=")[0])]);
    const next = NEXT.find((name) => !taken.has(name));

    return Object.fromEntries(fields.map((field) => {
        const column = columnOf(answer, field);
        return [column, (row) => {
            const value = row[column];
            if (value === "(other)" || value === null)
                return null;
            const where = [...here().getAll("where"), condition(field, value)];
            return next && field !== "task"
                ? href(path, changed({ where, by: next, grain: null, sort: null, top: null }))
                : href("/lines", changed({ where }, common()));
        }];
    }));
}
