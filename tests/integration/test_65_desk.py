"""What a key may ask about itself: budgets left, usage so far; and counters that come back."""

import re
import threading
import time
from decimal import Decimal

import pytest

from kit import calls
from kit.procs import wait_for

HEADERS = [("Authorization", f"Bearer {calls.KEY}")]


@pytest.fixture(params=["memory", "redis"])
def engine(request):
    return request.getfixturevalue("redis") if request.param == "redis" else None


def budget(gateway, query=""):
    answer = gateway.request("GET", "/_tollgate/budget" + query, HEADERS)
    assert answer.status == 200, answer
    return answer.json()


def by_name(answer):
    return {row["budget"]: row for row in answer["budgets"]}


LIMITS = [
    {"name": "day", "unit": "usd", "limit": "5", "window": "day"},
    {"name": "few", "unit": "requests", "limit": 4, "window": "day"},
    {"name": "rpm", "unit": "requests", "limit": 100, "window": "60s"},
    {"name": "parallel", "unit": "concurrent", "limit": 9},
    {"name": "warned", "unit": "requests", "limit": 1, "window": "month", "mode": "warn"},
    {"name": "other", "match": {"team": "nobody"}, "unit": "requests", "limit": 1,
     "window": "day"},
    {"name": "model", "match": {"model": "gpt-4o*"}, "unit": "tokens", "limit": 1000000,
     "window": "day"},
]


def test_budget(gateways, provider, engine):
    gateway = gateways(redis=engine, limits=LIMITS)
    for _ in range(3):
        assert calls.send(gateway, calls.chat()).status == 200
    records = gateway.records(3)
    answer = wait_for("all to be settled", lambda: (lambda told: told if (
        by_name(told)["few"]["spent_count"], by_name(told)["few"]["reserved_count"]) == (3, 0) else None)(
            budget(gateway)))
    rows = by_name(answer)
    assert list(rows) == ["day", "few", "rpm", "parallel", "warned"]
    spent = sum(Decimal(r["cost_usd"]) for r in records)
    assert abs(Decimal(rows["day"]["spent_usd"]) - spent) <= Decimal("0.000000003")
    assert Decimal(rows["day"]["remaining_usd"]) == 5 - Decimal(rows["day"]["spent_usd"])
    assert rows["day"]["window_end"].endswith("Z") and rows["rpm"]["window_end"] is None
    assert (rows["few"]["spent_count"], rows["few"]["remaining_count"]) == (3, 1)
    assert rows["few"]["used_ratio"] == 0.75
    assert rows["parallel"]["spent_count"] == rows["parallel"]["reserved_count"] == 0
    assert answer["nearest"] == rows["few"]     # a warning is over already, and refuses nothing
    assert answer["depends_on_call"] == ["model"]
    named = budget(gateway, "?model=gpt-4o&upstream=openai")
    assert "model" in by_name(named) and named["depends_on_call"] == []
    assert "model" not in by_name(budget(gateway, "?model=other"))
    assert gateway.request("GET", "/_tollgate/budget?x=1", HEADERS).status == 400
    assert gateway.request("POST", "/_tollgate/budget", HEADERS).status == 404
    # Reading is never refused by what it reads of.
    assert calls.send(gateway, calls.chat()).status == 200
    assert calls.send(gateway, calls.chat()).status != 200
    assert wait_for("the last one counted", lambda: by_name(budget(gateway))["few"][
        "remaining_count"] == 0) or True
    assert provider.totals()["requests"] == 4


def test_usage(gateways, provider):
    gateway = gateways()
    for shape in ("chat", "messages", "generate"):
        assert calls.send(gateway, calls.SHAPES[shape]()).status == 200
    records = gateway.records(3)
    answer = gateway.request("GET", "/_tollgate/usage", HEADERS)
    assert answer.status == 200
    for period in ("today", "month"):
        part = answer.json()[period]
        assert part["requests"] == 3 and part["errors"] == 0
        assert Decimal(part["cost_usd"]) == sum(Decimal(r["cost_usd"]) for r in records)
        assert part["output_tokens"] == sum(r["usage"]["output_tokens"] for r in records)
    assert gateway.request("GET", "/_tollgate/usage").status == 401
    head = gateway.request("HEAD", "/_tollgate/usage", HEADERS)
    assert head.status == 200 and head.body == b""
    assert provider.totals()["requests"] == 3


def test_counters_that_cannot_be_read(gateways, own_redis):
    gateway = gateways(redis=own_redis, limits=LIMITS)
    assert budget(gateway)["budgets"]
    own_redis.kill()
    answer = gateway.request("GET", "/_tollgate/budget", HEADERS)
    assert answer.status == 503
    assert answer.header("x-tollgate-denied") == "counters_unavailable"


def test_many_ask_and_some_leave(gateways, own_redis):
    """A Redis that does not answer holds up the desk alone; askers may leave; a stop is prompt."""
    gateway = gateways(redis=own_redis, limits=LIMITS, counters={"on_failure": "allow",
                                                                  "timeout_ms": 50})
    own_redis.freeze()
    gone = []
    for _ in range(100):
        connection = gateway.connect(timeout=5)
        connection.send(b"GET /_tollgate/budget HTTP/1.1\r\nHost: x\r\n"
                        b"Authorization: Bearer " + calls.KEY.encode() + b"\r\n\r\n")
        gone.append(connection)
    for connection in gone[:50]:
        connection.close()
    start = time.monotonic()
    assert calls.send(gateway, calls.chat()).status == 200
    assert time.monotonic() - start < 2
    for connection in gone[50:]:
        connection.close()
    own_redis.thaw()
    wait_for("answers again", lambda: gateway.request("GET", "/_tollgate/budget",
                                                      HEADERS).status == 200, 30, 0.3)


def test_stop_while_asked(gateways, own_redis):
    gateway = gateways(redis=own_redis, limits=LIMITS, drain_seconds=1)
    own_redis.freeze()
    statuses = []

    def ask():
        try:
            statuses.append(gateway.request("GET", "/_tollgate/budget", HEADERS).status)
        except Exception:
            statuses.append(0)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    gateway.process.stop()
    for thread in threads:
        thread.join(20)
    assert len(statuses) == 8 and all(s in (0, 503) for s in statuses), statuses


# ---- counters that come back --------------------------------------------------------------


def rebuilt(gateway):
    return [int(n) for n in re.findall(r"counters set from the ledger.*?counters=(\d+)",
                                       gateway.process.log())]


def test_emptied_under_load_counts_nothing_twice(gateways, redis):
    """Requests that run while counters are lost and come back end up in them once."""
    gateway = gateways(redis=redis, limits=[
        {"name": "many", "unit": "requests", "limit": 1000000, "window": "day"}])
    stop = threading.Event()
    sent = []

    def run():
        while not stop.is_set():
            if calls.send(gateway, calls.chat()).status == 200:
                sent.append(1)
    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(1)
        redis.command("FLUSHALL")
    time.sleep(2.5)
    stop.set()
    for thread in threads:
        thread.join(20)
    gateway.records(len(sent))
    end = time.monotonic() + 5
    while (row := by_name(budget(gateway))["many"])["reserved_count"] and time.monotonic() < end:
        time.sleep(0.2)
    assert (row["spent_count"], row["reserved_count"]) == (len(sent), 0)
    assert len(rebuilt(gateway)) >= 2


def test_restart_rebuilds_memory(gateways):
    gateway = gateways(limits=LIMITS)
    assert calls.send(gateway, calls.chat()).status == 200
    gateway.records(1)
    before = by_name(budget(gateway))
    gateway.process.stop()
    gateway.start()
    after = by_name(budget(gateway))
    assert rebuilt(gateway)[-1] == 5            # "other" and "parallel" have nothing
    for name in ("day", "few", "warned"):
        assert {k: v for k, v in before[name].items()} == after[name]
