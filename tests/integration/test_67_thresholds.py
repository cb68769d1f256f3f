"""Thresholds of budgets: each reached once a window, in the journal and the ledger, whoever looks."""

import json
import os
import sqlite3
import time

import pytest

from kit import calls, receivers
from kit.procs import wait_for

LIMIT = {"name": "ten", "per": ["team"], "unit": "requests", "limit": 10, "window": "month", "mode": "warn",
         "alerts": [50, 80, 100]}


@pytest.fixture
def hooks():
    receiver = receivers.Receiver()
    yield receiver
    receiver.stop()


def alerts(hooks=None):
    if not hooks:
        return {"every_seconds": 1}
    return {"every_seconds": 1, "digest_day": "never", "routes": [{"match": {}, "channels": ["hook", "pager"]}],
            "channels": [{"name": "hook", "type": "webhook", "url": hooks.url("/hook"), "secret": "s-4471",
                          "allow_private": True},
                         {"name": "pager", "type": "pagerduty", "url": hooks.url("/pager"),
                          "routing_key": "pagerkey00000000000000000000abcd", "allow_private": True}]}


def send(gateway, n):
    for _ in range(n):
        assert calls.send(gateway, calls.chat()).status == 200


def reached(gateway):
    """What the ledger has: percent, spent, amount, limit, scope, teller."""
    db = sqlite3.connect(f"file:{gateway.folder}/var/ledger.db?mode=ro", uri=True)
    try:
        return db.execute("SELECT percent, spent, amount, l.text, s.text, t.text FROM crossing "
                          "JOIN word l ON l.id=limit_name JOIN word s ON s.id=scope "
                          "LEFT JOIN word t ON t.id=teller ORDER BY percent").fetchall()
    finally:
        db.close()


def wait_reached(gateway, percents):
    wait_for(f"{percents}", lambda: [row[0] for row in reached(gateway)] == percents, 40, 0.2)
    return reached(gateway)


def last_alerts(gateway):
    rows = json.loads(gateway.cli("report", "budgets", "-o", "json"))["rows"]
    assert all((row["last_alert"] is None) == (row["last_alert_ratio"] is None) for row in rows)
    return [(row["scope"], row["last_alert_ratio"]) for row in rows
            if row["last_alert"]]


def test_noted_once_without_anybody_to_tell(gateways):
    gateway = gateways(limits=[LIMIT], alerts=alerts())
    send(gateway, 4)
    time.sleep(1.5)
    assert reached(gateway) == [] == last_alerts(gateway)
    send(gateway, 2)
    row, = wait_reached(gateway, [50])
    assert row == (50, 6, 10, "ten", "team=search", None)
    gateway.kill()
    gateway.start()
    assert last_alerts(gateway) == [("team=search", 0.5)]
    send(gateway, 5)
    rows = wait_reached(gateway, [50, 80, 100])
    assert last_alerts(gateway) == [("team=search", 1)]
    assert rows[0] == row and 8 <= rows[1][1] <= 11 and 10 <= rows[2][1] <= 11  # looks may fall between calls
    gateway.stop()
    gateway.start()
    time.sleep(2)
    assert reached(gateway) == rows
    assert "3 thresholds reached" in gateway.cli("audit")
    gateway.stop()
    with sqlite3.connect(f"{gateway.folder}/var/ledger.db") as db:
        db.execute("UPDATE crossing SET spent=7 WHERE percent=80")
    said = gateway.cli("audit", code=1)
    assert 'DISAGREES: 80 % of limit "ten" of "team=search"' in said


def test_a_lost_memory_of_what_was_told_repeats_nothing(gateways, hooks):
    gateway = gateways(limits=[LIMIT], alerts=alerts(hooks))
    send(gateway, 6)
    wait_for("the alert", lambda: hooks.taken("/hook"), 20)
    row, = wait_reached(gateway, [50])
    assert row[5]  # whose alerts told
    gateway.stop()
    os.remove(f"{gateway.folder}/var/alerts.json")
    gateway.start()
    time.sleep(2.5)
    assert len(hooks.taken("/hook")) == 1
    send(gateway, 2)
    wait_for("the next", lambda: len(hooks.taken("/hook")) == 2, 20)
    assert hooks.taken("/hook")[1]["dedup_key"].endswith(":80")


def test_several_gateways_tell_once_of_what_they_spent_together(gateways, hooks, redis):
    nodes = [gateways(redis=redis, name=name, node=name, limits=[LIMIT], alerts=alerts(hooks))
             for name in ("east", "west")]
    for node in nodes:
        send(node, 3)
    rows = [wait_reached(node, [50]) for node in nodes]
    assert all(row[0][1] in (5, 6) for row in rows)  # each knows of the other's
    assert rows[0][0][5] == rows[1][0][5]         # and who tells
    wait_for("the alert", lambda: hooks.taken("/hook"), 20)
    for node in nodes:
        node.stop()
        node.start()
    time.sleep(2.5)
    assert len(hooks.taken("/hook")) == 1
    for node in nodes:
        send(node, 2)
    for node in nodes:
        wait_reached(node, [50, 80, 100])
    time.sleep(1.5)
    levels = [told["dedup_key"].rsplit(":", 1)[1] for told in hooks.taken("/hook")]
    assert len(levels) == len(set(levels)) and levels[-1] == "100"


def told(hooks):
    return [(one["status"], one["dedup_key"].rsplit(":", 1)[1]) for one in hooks.taken("/hook")]


def pages(hooks):
    return [(one["event_action"], one["dedup_key"].rsplit(":", 1)[1]) for one in hooks.taken("/pager")]


def pair(gateways, hooks, redis):
    """Two nodes of one budget: the first told that the half of it is spent."""
    east, west = [gateways(redis=redis, name=name, node=name, limits=[LIMIT], alerts=alerts(hooks))
                  for name in ("east", "west")]
    west.stop()
    send(east, 5)
    wait_reached(east, [50])
    wait_for("the alert", lambda: told(hooks) and pages(hooks), 20)
    return east, west


def test_what_is_worse_is_told_by_another_gateway(gateways, hooks, redis):
    east, west = pair(gateways, hooks, redis)
    east.stop()
    west.start()
    send(west, 3)
    wait_for("what is worse", lambda: len(pages(hooks)) == 2, 20)
    east.start()
    # Its incident would stay open for ever; people have heard of what is worse.
    wait_for("the first one's end", lambda: len(pages(hooks)) == 3, 20)
    assert pages(hooks) == [("trigger", "50"), ("trigger", "80"), ("resolve", "50")]
    assert told(hooks) == [("firing", "50"), ("firing", "80")]


def test_a_raised_budget_of_which_another_gateway_tells(gateways, hooks, redis):
    east, west = pair(gateways, hooks, redis)
    send(east, 3)
    wait_for("what is worse", lambda: len(told(hooks)) == 2 and len(pages(hooks)) == 3, 20)
    east.stop()
    for node in (east, west):
        node.config["limits"] = [{**LIMIT, "limit": 16}]
        node.write()
    west.start()
    send(west, 1)
    wait_for("half of the new amount", lambda: len(told(hooks)) == 3, 20)
    east.start()
    wait_for("the higher one's end", lambda: len(told(hooks)) == 4, 20)
    time.sleep(1.5)
    assert told(hooks) == [("firing", "50"), ("firing", "80"), ("firing", "50"), ("resolved", "80")]
    assert pages(hooks)[3:] == [("trigger", "50"), ("resolve", "80")]
