"""Budgets that run out, and channels on loopback that hear of it."""

import time

from . import calls
from .procs import wait_for

SECRET = "hook-secret-4471"
OLD_SECRET = "hook-secret-old-9921"
PAGER = "pagerkey00000000000000000000abcd"


def alerts(hooks, routes, channels=(), **more):
    def channel(name, kind, path, **extra):
        return {"name": name, "type": kind, "url": hooks.url(path), "allow_private": True, **extra}
    return {"every_seconds": 1, "digest_day": "never", "routes": routes, **more, "channels": [
        channel("slack", "slack", "/slack-T0KEN"), channel("pager", "pagerduty", "/pager", routing_key=PAGER),
        channel("hook", "webhook", "/hook", secret=SECRET, old_secret=OLD_SECRET),
        channel("ops", "webhook", "/ops", secret=SECRET), *channels]}


def budget(**more):
    return {"name": "search-day", "match": {"team": "search"}, "unit": "usd", "limit": "0.001", "window": "day",
            "mode": "warn", "alerts": [50, 80, 100], **more}


def spend(gateway, words=10, team="search", **options):
    answer = calls.send(gateway, calls.chat(words=words, max_tokens=16, **options),
                        tags=[("X-Tollgate-Team", team)] if team != "search" else [])
    assert answer.status == 200
    return answer


def start(gateways, hooks, routes, limits=(), **more):
    gateway = gateways(alerts=alerts(hooks, routes, **more), limits=list(limits))
    # No address, key or password is in any log or file of the gateway.
    gateways.canaries += [SECRET, OLD_SECRET, PAGER, "T0KEN"]
    return gateway


def settled(hooks, path, count, seconds=15):
    """Waits for so many, then long enough for a further look to have told more."""
    wait_for(f"{count} at {path}", lambda: len(hooks.taken(path)) >= count, seconds)
    time.sleep(1.7)
    assert len(hooks.taken(path)) == count, hooks.taken(path)
    return hooks.taken(path)
