/* Reports of the gateway, over the session's cookie. */
import { asked } from "./url.js";

export class Refused extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

async function get(path, signal) {
    let answer;

    try {
        answer = await fetch(path, { signal, headers: { Accept: "application/json" }, cache: "no-store" });
    } catch (problem) {
        if (problem.name === "AbortError")
            throw problem;
        throw new Refused(0, "The gateway does not answer. Is it running?");
    }
    if (answer.status === 401) {
        location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
        throw new DOMException("signing in", "AbortError");
    }
    if (!answer.ok) {
        const said = await answer.json().catch(() => null);
        throw new Refused(answer.status, said?.error?.message ?? `The gateway answered ${answer.status}.`);
    }
    return answer.json();
}

/* What a view has asked: by its signal, then by path with the words in order. */
const asking = new WeakMap();

/*
 * A report as parsed JSON; throws Refused, or AbortError where the view has changed.
 * What parts of a view ask alike is asked once; without a signal each time.
 */
export function report(name, words, signal) {
    const alike = asked(words);

    if (!signal)
        return get(path(name, words));
    alike.sort();
    if (!asking.has(signal))
        asking.set(signal, new Map());
    const answers = asking.get(signal), key = `${name}?${alike}`;
    if (!answers.has(key)) {
        const answer = get(path(name, words), signal);
        answers.set(key, answer);
        answer.catch(() => answers.delete(key)); /* who tries again asks again */
    }
    return answers.get(key);
}

/* Where the same report is had in another format. */
export function path(name, words, format = "json") {
    const query = asked(words);

    query.set("format", format);
    return `/api/v1/reports/${name}?${query}`;
}

export async function reports(signal) {
    return (await get("/api/v1/reports", signal)).reports;
}
