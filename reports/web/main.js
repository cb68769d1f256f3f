/*
 * The dashboard: one page whose address says what is shown.
 *
 * A link or a form of this origin changes the address; the view of its path is rendered
 * anew.  Nothing is kept between views, so that going back is going there.
 */
import { byId, h, say } from "./dom.js";
import { path as apiPath, report } from "./api.js";
import { instant } from "./columns.js";
import { controls, tools } from "./controls.js";
import { forget } from "./plot.js";
import { PERIOD, asked, common, here, href } from "./url.js";
import { budgets } from "./view_budgets.js";
import { models, requests, tasks } from "./view_measures.js";
import { overview } from "./view_overview.js";
import { anomalies, lines, reports, statement } from "./view_rest.js";
import { spend } from "./view_spend.js";

const VIEWS = [overview, spend, requests, tasks, models, budgets, anomalies, statement, lines, reports];
let stop = new AbortController();
let shownPath = null;

const viewOf = (path) => VIEWS.find((view) => view.path === path) ?? overview;

/* The address's words, with those that the view has where none are given. */
function wordsOf(view) {
    const words = here();
    const given = { ...(view.main?.[1] ?? {}) };

    if (["from", "to", "month"].some((word) => words.has(word)))
        delete given.last;
    for (const [word, value] of Object.entries(given)) {
        if (!words.has(word))
            words.set(word, value);
    }
    return words;
}

const quoted = (text) => (/^[\w.,:%/-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`);

function command(name, words) {
    return ["tollgate report " + name,
            ...[...asked(words)].map(([word, value]) => `--${word} ${quoted(value)}`)].join(" ");
}

function navigation(view) {
    byId("nav").replaceChildren(h("ul", {}, VIEWS.map((one) =>
        h("li", {}, h("a", { href: href(one.path, common()), "data-key": "nav-" + one.path,
                             "aria-current": one === view ? "page" : null }, one.title)))));
}

/* Every report says its period: of a view with a head, an answer that it asks for anyway. */
async function period(view, words, signal) {
    const line = byId("period");

    line.textContent = "";
    if (view.period === false) {
        line.textContent = "as they stand now";
        return;
    }
    try {
        const only = new URLSearchParams([...words].filter(([w]) => [...PERIOD, "tz"].includes(w)));
        const answer = await report(...(view.head?.(words) ?? ["spend", only]), signal)
            .catch(() => report("spend", only, signal));
        const zone = answer.timezone;
        line.textContent = `${instant(answer.from, zone)} to ${instant(answer.to, zone)}, ${zone}`;
        byId("asof").textContent = answer.as_of ? `The ledger as of ${instant(answer.as_of, zone)} ${zone}.`
                                                : "The ledger holds nothing yet.";
    } catch {
        /* the panels say it */
    }
}

async function render(scroll) {
    const view = viewOf(location.pathname), words = wordsOf(view);
    const key = document.activeElement?.dataset?.key;
    const isNew = shownPath !== location.pathname;
    const name = view.main?.[0] ?? here().get("name");

    stop.abort();
    stop = new AbortController();
    forget();
    const { signal } = stop;
    document.title = `${view.title} · tollgate`;
    byId("title").textContent = view.title;
    navigation(view);
    byId("controls").replaceChildren(...controls(view).filter(Boolean));
    byId("tools").replaceChildren(...tools(name ? [["CSV", apiPath(name, words, "csv")], ["JSON", apiPath(name, words)],
        ["HTML", apiPath(name, words, "html")]] : [], name ? command(name, words) : null));
    const panels = view.render(words, signal);
    byId("main").replaceChildren(h("div", { class: "grid" }, panels));
    if (key)
        document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
    else if (isNew && shownPath !== null)
        byId("title").focus();
    if (scroll && isNew)
        scrollTo(0, 0);
    shownPath = location.pathname;
    document.body.dataset.state = "loading";
    say(`${view.title}: loading`);
    await Promise.all([period(view, words, signal), ...panels.map((p) => p.done)]);
    if (signal.aborted)
        return;
    document.body.dataset.state = "ready";
    const failed = document.querySelectorAll("#main [role=alert]").length;
    say(failed ? `${view.title}: ${failed} of ${panels.length} parts failed`
               : `${view.title}: shown, ${document.querySelectorAll("#main tbody tr").length} rows`);
}

function go(target) {
    if (target !== location.pathname + location.search)
        history.pushState(null, "", target);
    render(true);
}

addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");

    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey ||
        event.shiftKey || event.altKey || link.hasAttribute("download") || link.origin !== location.origin ||
        !VIEWS.some((view) => view.path === link.pathname) || link.hash)
        return;
    event.preventDefault();
    go(link.pathname + link.search);
});
/* A switch is a link that a space bar also turns. */
addEventListener("keydown", (event) => {
    if (event.key === " " && event.target.getAttribute?.("role") === "switch") {
        event.preventDefault();
        event.target.click();
    }
});
addEventListener("go", (event) => go(event.detail));
addEventListener("popstate", () => render(false));

render(true);
