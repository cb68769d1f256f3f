/* Period, grouping, filters: each choice is a link, so that any view is an address. */
import { h, freshId } from "./dom.js";
import { report } from "./api.js";
import { PERIOD, changed, condition, described, has, here, href, common } from "./url.js";

export const FIELDS = ["team", "feature", "environment", "traffic_class", "customer", "model", "upstream", "key",
                       "task_type", "task", "user", "outcome", "endpoint", "service_tier"];
const OFFERED = 10; /* to group by; the others are typed */
const readable = (field) => field.replace(/_/g, " ").replace(/^tag:/, "tag ");

const clearPeriod = Object.fromEntries(PERIOD.map((word) => [word, null]));
const to = (changes) => href(location.pathname, changed(changes));

function monthBefore() {
    const now = new Date();
    const then = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1, 1));

    return then.toISOString().slice(0, 7);
}

function choices(name, list) {
    const id = freshId("choice");

    return h("div", { class: "choice" }, h("span", { id, class: "choice-name" }, name),
        h("ul", { "aria-labelledby": id }, list.map((one) =>
            h("li", {}, h("a", { href: one.href, "aria-current": one.now ? "true" : null,
                                 "data-key": `${name}-${one.text}` }, one.text)))));
}

/* A form whose fields change words of the address. isNow: its summary says what is chosen. */
function form(summary, key, fields, changes, isNow) {
    const element = h("form", { class: "small-form" }, fields,
                      h("button", { type: "submit", class: "primary" }, "Apply"));

    element.addEventListener("submit", (event) => {
        event.preventDefault();
        const words = changes(new FormData(element));
        if (words)
            element.dispatchEvent(new CustomEvent("go", { bubbles: true, detail: to(words) }));
    });
    return h("details", { class: isNow ? "more now" : "more" }, h("summary", { "data-key": key }, summary), element);
}

function field(label, attributes) {
    const id = freshId("field");

    return [h("label", { for: id }, label), h("input", { id, ...attributes })];
}

function period(view) {
    const words = here();
    const last = words.get("last") ?? (PERIOD.some((w) => words.has(w)) ? null : view.last ?? null);
    const month = words.get("month");
    const isPlain = !last && !PERIOD.some((w) => words.has(w));
    const lasts = [["24 hours", "24h"], ["7 days", "7d"], ["30 days", "30d"], ["90 days", "90d"]];
    const thisMonth = new Date().toISOString().slice(0, 7);
    const list = [
        { text: "This month", href: to({ ...clearPeriod, month: view.last ? thisMonth : null }),
          now: isPlain || month === thisMonth },
        { text: "Last month", href: to({ ...clearPeriod, month: monthBefore() }), now: month === monthBefore() },
        ...(view.months ? [] : lasts.map(([text, value]) =>
            ({ text, href: to({ ...clearPeriod, last: value }), now: last === value }))),
    ];
    const own = form(words.has("from") || words.has("to")
        ? `${words.get("from") ?? "…"} to ${words.get("to") ?? "now"}`
        : month && !list.some((o) => o.now) ? month : "Other dates", "dates",
        [field("Month", { name: "month", type: "month", value: month }),
         h("span", { class: "about" }, "or"),
         field("From", { name: "from", type: "date", value: words.get("from")?.slice(0, 10) }),
         field("until before", { name: "to", type: "date", value: words.get("to")?.slice(0, 10) })],
        (data) => {
            const from = data.get("from"), until = data.get("to");
            return from || until ? { ...clearPeriod, from, to: until }
                                 : { ...clearPeriod, month: data.get("month") };
        });

    return h("div", { class: "row" }, choices("Period", list), own);
}

function grouping(view) {
    const words = here();
    const by = words.get("by") ?? view.by;
    const list = (view.fields ?? FIELDS.slice(0, OFFERED)).map((name) =>
        ({ text: readable(name), href: to({ by: name, sort: null }), now: by === name }));
    const isOther = by && !list.some((o) => o.now);
    const other = form(isOther ? by.split(",").map(readable).join(", ") : "Others, several, free tags", "by-more",
        [field("Fields or tag:NAME, separated by commas", { name: "by", value: by, spellcheck: "false" })],
        (data) => ({ by: data.get("by").replace(/\s/g, ""), sort: null }), isOther);

    return h("div", { class: "row" }, choices("Group by", list), other);
}

function grains() {
    const now = here().get("grain") ?? "total";

    return h("div", { class: "row" }, choices("Over time", ["total", "hour", "day", "week", "month"].map((g) =>
        ({ text: g === "total" ? "as one" : `by ${g}`, href: to({ grain: g === "total" ? null : g }), now: now === g }))));
}

/* Values of a field in this period, dearest first, for the list of the filter's input. */
async function suggest(name, list) {
    const words = common();

    words.delete("where");
    words.set("by", name);
    words.set("top", "100");
    try {
        const answer = await report("spend", words);
        const key = Object.keys(answer.rows[0] ?? {})[0];
        list.replaceChildren(...answer.rows.map((row) => row[key]).filter((v) => v !== "(other)")
            .map((value) => h("option", { value })));
    } catch {
        list.replaceChildren(); /* the input works without */
    }
}

function filters() {
    const where = here().getAll("where");
    const chips = where.map((one, i) =>
        h("li", {}, h("a", { href: to({ where: where.filter((_, k) => k !== i) }), class: "chip",
                             "aria-label": `Remove the filter: ${described(one)}` },
                      described(one), h("span", { "aria-hidden": "true" }, " ×"))));
    const listId = freshId("values"), fieldId = freshId("field"), opId = freshId("field");
    const list = h("datalist", { id: listId });
    const names = h("select", { id: fieldId, name: "field" },
        FIELDS.map((name) => h("option", { value: name }, readable(name))),
        h("option", { value: "tag:" }, "a free tag: name=value"));
    const ops = h("select", { id: opId, name: "op" }, h("option", { value: "=" }, "is"),
        h("option", { value: "!=" }, "is not"), h("option", { value: "~" }, "is like (*, ?)"));
    const add = form("Add a filter", "filter",
        [h("label", { for: fieldId, class: "unseen" }, "Field"), names,
         h("label", { for: opId, class: "unseen" }, "Comparison"), ops,
         field("Value", { name: "value", list: listId, required: true, autocomplete: "off", spellcheck: "false" }), list],
        (data) => {
            const name = data.get("field"), op = data.get("op"), value = data.get("value").trim();
            if (name !== "tag:")
                return { where: [...where, condition(name, value, op)] };
            const at = value.indexOf("=");
            return at > 0 ? { where: [...where, condition("tag:" + value.slice(0, at), value.slice(at + 1), op)] } : null;
        });
    add.addEventListener("toggle", () => add.open && suggest(names.value, list));
    names.addEventListener("change", () => names.value !== "tag:" && suggest(names.value, list));

    return h("div", { class: "row" }, h("div", { class: "choice" }, h("span", { class: "choice-name" }, "Filters"),
        chips.length ? h("ul", { class: "chips", "aria-label": "Filters" }, chips)
                     : h("span", { class: "about" }, "none")), add);
}

/* The controls that a view has. */
export function controls(view) {
    return [view.period === false ? null : period(view), view.by === undefined ? null : grouping(view),
            view.grain ? grains() : null, view.filter === false ? null : filters()];
}

/* Exactness, columns, the same report elsewhere. */
export function tools(paths, command) {
    const turn = (word, text) => h("a", { href: to({ [word]: has(word) ? null : "1" }), class: "button", role: "switch",
                                          "aria-checked": String(has(word)), "data-key": word }, text);

    return [
        turn("exact", "Exact amounts"), turn("all", "All columns"),
        ...paths.map(([text, path]) => h("a", { href: path, class: "button", download: text === "CSV" }, text)),
        h("button", { type: "button", class: "plain", onclick: () => print() }, "Print"),
        command ? h("details", { class: "more command" }, h("summary", {}, "Command line"), h("code", {}, command)) : null,
    ];
}
