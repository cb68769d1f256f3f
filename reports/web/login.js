/*
 * A link from elsewhere arrives without the session's cookie, which is SameSite=Strict.
 * Whoever is signed in already goes on to what the link asked for.
 */
const next = new URLSearchParams(location.search).get("next") ?? "/";

if (!document.querySelector("[role=alert]")) {
    const answer = await fetch("/login/session", { cache: "no-store" });
    const target = new URL(next, location.origin);

    if (answer.ok && (await answer.json()).signed_in && target.origin === location.origin)
        location.replace(target.href);
}
