/*
 * What is shown is what the address says: its path is the view, its query the words of the
 * report, as on the command line; `exact`, `all` and `name` are the dashboard's own.
 */
const OWN = ["exact", "all", "name"];
export const PERIOD = ["from", "to", "month", "last"];

export const here = () => new URLSearchParams(location.search);
export const has = (word) => here().get(word) === "1";

/* The query as the address says it, with changes: a value, a list of values, or null. */
export function changed(changes, from = here()) {
    const words = new URLSearchParams(from);

    for (const [word, value] of Object.entries(changes)) {
        words.delete(word);
        for (const one of [value].flat()) {
            if (one !== null && one !== undefined && one !== "")
                words.append(word, one);
        }
    }
    return words;
}

export function href(path, words) {
    const query = words.toString();

    return query ? `${path}?${query}` : path;
}

/* The words that hold on every view: period, zone, conditions, exactness. */
export function common() {
    const words = new URLSearchParams();

    for (const [word, value] of here()) {
        if ([...PERIOD, "tz", "where", "exact"].includes(word))
            words.append(word, value);
    }
    return words;
}

/* Of these, what the API is asked: without the page's own. */
export function asked(words) {
    const out = new URLSearchParams(words);

    OWN.forEach((word) => out.delete(word));
    return out;
}

/* ---- conditions --------------------------------------------------------------------------- */

/* A value as it stands in a condition. */
const escaped = (value) => value.replace(/[\\,]/g, "\\$&");

/* "team=search"; null is the absent value. Names of free tags are told from fields by "tag:". */
export function condition(field, value, op = "=") {
    return field + op + (value === "(untagged)" ? value : escaped(value));
}

/* A condition for people: "team is search". */
export function described(where) {
    const [, field, op, values] = /^(.*?)(!=|=|~)(.*)$/s.exec(where) ?? [null, where, "=", ""];
    const says = { "=": "is", "!=": "is not", "~": "is like" }[op];

    return `${field.replace(/_/g, " ").replace(/^tag:/, "tag ")} ${says} ` +
           values.replace(/(\\.)|,/g, (_, kept) => (kept ? kept[1] : " or "));
}

/* A link of a report's column `lines` as the dashboard's own page of lines. */
export function linesHref(link) {
    const words = new URLSearchParams(link.slice(link.indexOf("?") + 1));

    if (has("exact"))
        words.set("exact", "1");
    return href("/lines", words);
}
