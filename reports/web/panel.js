/* A part of a page that loads by itself: waiting, filled, empty or failed, and says which. */
import { h } from "./dom.js";
import { Refused } from "./api.js";
import { drawAll } from "./plot.js";

const waiting = () => h("div", { class: "waiting" }, h("span", { class: "unseen" }, "Loading"),
                        h("i", { "aria-hidden": "true" }), h("i", { "aria-hidden": "true" }),
                        h("i", { "aria-hidden": "true" }));

function failed(problem, again) {
    const message = problem instanceof Refused ? problem.message : "Something went wrong on this page.";

    if (!(problem instanceof Refused))
        console.error(problem);
    return h("div", { class: "problem", role: "alert" }, h("p", {}, message),
             h("button", { type: "button", class: "plain", onclick: again }, "Try again"));
}

export const empty = (text = "No requests in this period.") =>
    h("p", { class: "empty" }, text, " A wider period, or fewer filters, may show some.");

/*
 * load() gives the nodes.  done: resolved when it has been filled, one way or another.
 * options: title, level, link ({href, text}), wide (spans the page), plain (no card).
 */
export function panel(options, load) {
    const body = h("div", { class: "body" });
    const element = h("section", { class: ["panel", options.wide ? "full" : "", options.plain ? "bare" : ""]
                                       .join(" ").trim(), "aria-label": options.title },
        options.hideTitle ? null : h("div", { class: "panel-head" }, h("h2", {}, options.title),
            options.link ? h("a", { href: options.link.href }, options.link.text) : null),
        body);

    async function fill() {
        body.setAttribute("aria-busy", "true");
        body.replaceChildren(waiting());
        try {
            body.replaceChildren(...[await load()].flat().filter(Boolean));
        } catch (problem) {
            if (problem.name === "AbortError")
                return;
            body.replaceChildren(failed(problem, fill));
        }
        body.removeAttribute("aria-busy");
        drawAll();
    }
    element.done = fill();
    return element;
}
