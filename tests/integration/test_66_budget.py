"""`tollgate budget`: what the counters hold beside the ledger, and what operators change."""

import json
import os
import time

import pytest

from kit import calls
from kit.procs import wait_for

LIMIT = {"name": "few", "unit": "requests", "limit": 3, "window": "month"}


def ask(gateway, *args, code=0):
    return gateway.cli("budget", *args, code=code)


@pytest.fixture
def spent(gateways, redis):
    """A gateway whose budget is used up."""
    gateway = gateways(redis=redis, limits=[LIMIT])
    assert [calls.send(gateway, calls.chat()).status for _ in range(4)] == [200] * 3 + [402]
    gateway.records(3)
    return gateway


def row(gateway):
    return json.loads(ask(gateway, "status", "--format", "json"))["rows"][0]


def test_status(spent):
    found = row(spent)
    assert (found["limit_count"], found["spent_count"], found["ledger_spent_count"]) == (3, 3, 3)
    assert found["status"] == "exhausted"
    assert found["runs_out"]          # nothing is left: it ran out by now


def test_reset_and_rebuild(spent):
    ask(spent, "reset", "--limit", "few", code=2)              # says no reason
    ask(spent, "reset", "--limit", "none", "--why", "x", code=2)
    ask(spent, "reset", "--limit", "few", "--why", "the month was credited", "--who", "ann")
    assert row(spent)["spent_count"] == 0
    assert [calls.send(spent, calls.chat()).status for _ in range(4)] == [200] * 3 + [402]
    spent.records(6)
    # The ledger is the truth: a rebuild by the running gateway brings all six back.
    said = ask(spent, "rebuild", "--why", "to be sure")
    assert "running gateway" in said
    assert row(spent)["spent_count"] == 6
    assert calls.send(spent, calls.chat()).status == 402
    trail = [json.loads(line) for line in ask(spent, "raise", "--list").splitlines()]
    assert [line["action"] for line in trail] == ["reset", "rebuild"]
    assert trail[0]["who"] == "ann" and trail[0]["why"] == "the month was credited"


def test_rebuild_without_a_gateway(spent, redis):
    spent.stop()
    redis.command("HSET", "{tollgate}:c:" + [k for k in redis.command(
        "ZRANGE", "{tollgate}:i", 0, -1)][0], "s", "777")
    wait_for("the node to be forgotten", lambda: redis.command(
        "ZREMRANGEBYRANK", "{tollgate}:n", 0, -1) is not None)
    assert "no gateway" in ask(spent, "rebuild", "--why", "it lied")
    assert row(spent)["spent_count"] == 3


def test_raise_for_a_time(spent):
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    ask(spent, "raise", "--limit", "few", "--to", "five", "--until", until, "--why", "x", code=2)
    ask(spent, "raise", "--limit", "few", "--to", "5", "--until", "2026-01-01", "--why", "x", code=2)  # is over
    ask(spent, "raise", "--limit", "few", "--to", "5", "--until", until, "--why", "launch day")
    spent.reload()
    wait_for("the raise to hold", lambda: calls.send(spent, calls.chat()).status == 200, 10, 0.2)
    assert [calls.send(spent, calls.chat()).status for _ in range(2)] == [200, 402]
    assert row(spent)["limit_count"] == 5
    # It ends by itself, without a reload.
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
    ask(spent, "raise", "--limit", "few", "--to", "50", "--until", soon, "--why", "a minute more")
    spent.reload()
    wait_for("the raise to hold", lambda: calls.send(spent, calls.chat()).status == 200, 3, 0.1)
    wait_for("it to end", lambda: calls.send(spent, calls.chat()).status == 402, 10, 0.2)
    assert row(spent)["limit_count"] == 3
    path = os.path.join(spent.folder, "var", "budget-changes.jsonl")
    if os.path.exists(path):
        assert os.stat(path).st_mode & 0o777 == 0o600
