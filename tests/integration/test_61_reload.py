"""Limits that a reload brings: they hold what the ledger says is spent, from the first request on.

Whatever runs meanwhile is counted once, limits that stay keep their figures, and in the end each
counter says what the ledger says.
"""

import contextlib
import os
import signal
import sqlite3
import threading
import time
from decimal import Decimal

import pytest

from kit import calls
from kit.marked import Load
from kit.procs import wait_for
from kit.redises import Relay, is_worker

ENGINES = ["memory", "redis"]
HOUR = "3600s"
STREAM = {"Output_Tokens": 400, "Event_Delay_Ms": 10}   # four seconds


@pytest.fixture(params=ENGINES)
def engine(request):
    """A Redis for one of the two engines, None for the other."""
    return request.getfixturevalue("redis") if request.param == "redis" else None


@pytest.fixture
def line(own_redis):
    made = Relay(own_redis.port)
    yield made
    made.close()


def limit(name="budget", **members):
    return {"name": name, "unit": "requests", "limit": "1000", "window": "month", **members}


def reload(gateway, limits, wait=True, **changes):
    """SIGHUP with other limits; returns once they are in force."""
    before = gateway.log().count("configuration in force")
    gateway.config["limits"] = limits
    gateway.config.update(changes)
    gateway.write()
    gateway.reload()
    if wait:
        wait_for("the reload", lambda: gateway.log().count("configuration in force") > before, 30)


def rows(gateway):
    """spent, reserved and what the ledger says, by budget and scope."""
    report = gateway.admin("/api/v1/reports/budgets").json()["rows"]
    return {(r["budget"], r["scope"] or ""): r for r in report}


def figures(row):
    """Of a row: spent, reserved, ledger; of whichever unit."""
    unit = "usd" if row["limit_usd"] is not None else "count"
    found = [row[f"{name}_{unit}"] for name in ["spent", "reserved", "ledger_spent"]]
    return [Decimal(v) if v is not None else None for v in found]


def at_rest(gateway, count, seconds=30):
    """All rows once there are so many, nothing is reserved and all say what the ledger says."""
    seen = {}

    def settled():
        seen.clear()
        seen.update(rows(gateway))
        return len(seen) >= count and all(
            figures(r)[0] == figures(r)[2] and figures(r)[1] == 0 for r in seen.values())
    try:
        wait_for("counters equal the ledger", settled, seconds, 0.2)
    except AssertionError as late:
        raise AssertionError({k: figures(r) for k, r in seen.items()}) from late
    return seen


def spend(gateway, n, team="search", feature="chat"):
    for _ in range(n):
        answer = calls.send(gateway, calls.chat(max_tokens=16),
                            tags=[("X-Tollgate-Feature", feature)])
        assert answer.status == 200, (team, answer.body)
    gateway.records(n, exactly=False)


def refusal(gateway, name, feature="chat"):
    answer = calls.send(gateway, calls.chat(max_tokens=16), tags=[("X-Tollgate-Feature", feature)])
    assert answer.status in (402, 429), answer
    assert name in answer.body.decode()


OLD = limit(limit="5")
# What changes: before, after, timezone after.
CHANGES = {
    "added": ([], [limit("fresh", limit="5")], "UTC"),
    "renamed": ([OLD], [limit("renamed", limit="5")], "UTC"),
    "window": ([OLD], [limit(limit="5", window="year")], "UTC"),
    "rolling": ([OLD], [limit(limit="5", window=HOUR)], "UTC"),
    "unit": ([OLD], [limit(unit="output_tokens", limit="1")], "UTC"),
    "per": ([OLD], [limit(limit="5", per=["team"])], "UTC"),
    "match": ([OLD], [limit(limit="5", match={"team": "search"})], "UTC"),
    "another match": ([limit(limit="5", match={"team": "other"})],
                      [limit(limit="5", match={"team": "search"})], "UTC"),
    "zone": ([OLD], [OLD], "Asia/Kathmandu"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_limit_refuses_what_is_spent(gateways, engine, change):
    before, after, zone = CHANGES[change]
    gateway = gateways(redis=engine, limits=before, workers=3)
    spend(gateway, 5)
    reload(gateway, after, timezone=zone)
    for _ in range(6):   # by whichever worker
        refusal(gateway, after[0]["name"])
    at_rest(gateway, 1)


@pytest.mark.parametrize("window", ["month", HOUR])
def test_limits_that_stay_keep_their_counts(gateways, engine, window):
    """To the digit: the counters are not asked anew, nor is what an operator took off lost."""
    kept = limit("kept", limit="9", window=window, per=["feature"])
    gateway = gateways(redis=engine, limits=[kept], workers=3)
    spend(gateway, 3)
    if engine and window == "month":
        gateway.cli("budget", "reset", "--limit", "kept", "--why", "credited")
        spend(gateway, 2)
    before = figures(rows(gateway)[("kept", "feature=chat")])
    for n in range(3):
        reload(gateway, [limit(f"new-{n}"), {**kept, "limit": str(9 + n)}])
        assert figures(rows(gateway)[("kept", "feature=chat")]) == before


def test_streams_over_a_reload_are_counted_once(gateways, engine):
    """Admitted by one configuration, ended under another: each limit in force has them once."""
    kept = limit("kept")
    gateway = gateways(redis=engine, limits=[kept, limit("one", unit="usd", limit="100")],
                       workers=3)
    spend(gateway, 2)
    answers = []

    def stream():
        answers.append(calls.send(gateway, calls.chat(stream=True, max_tokens=400), sim=STREAM))
    threads = [threading.Thread(target=stream) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for("the streams", lambda: figures(rows(gateway)[("kept", "")])[1] == 6)
    reload(gateway, [kept, limit("two", unit="usd", limit="100")])
    spend(gateway, 1)
    reload(gateway, [kept, limit("one", unit="usd", limit="100"), limit("three", window=HOUR)])
    for thread in threads:
        thread.join(30)
    assert [a.status for a in answers] == [200] * 6
    gateway.records(9)
    found = at_rest(gateway, 3)
    assert figures(found[("kept", "")])[0] == figures(found[("three", "")])[0] == 9
    spent = sum(Decimal(r["cost_usd"]) for r in gateway.export())
    assert 0 <= figures(found[("one", "")])[0] - spent < Decimal("0.00000001")


FACES = [
    [limit("kept"), limit("usd", unit="usd", limit="1000")],
    [limit("kept"), limit("renamed", unit="usd", limit="1000", per=["team"])],
    [limit("kept"), limit("usd", unit="usd", limit="1000", match={"team": "search"}),
     limit("hour", window=HOUR)],
    [limit("kept"), limit("usd", unit="usd", limit="1000", window="day", per=["model"]),
     limit("tokens", unit="tokens", limit="1000000000", per=["key"])],
]


@pytest.mark.parametrize("leases", [False, True])
def test_hammer_over_reloads(gateways, request, leases):
    """Load without pause, a reload after another, some before the last one is done."""
    check_hammer(gateways(redis=request.getfixturevalue("redis"), workers=3,
                          counters={"leases": leases}, limits=FACES[0]))


def test_hammer_over_reloads_in_memory(gateways):
    check_hammer(gateways(workers=3, limits=FACES[0]))


def check_hammer(gateway):
    for face in FACES:
        face[0]["limit"] = "100000"
        for one in face[1:]:
            one["limit"] = "1000000000" if one["unit"] != "usd" else "1000"
    load = Load(gateway, threads=8, sim={"Event_Delay_Ms": 20, "Delay_Ms": 5})
    for n in range(16):
        time.sleep(0.15)
        # Every third comes before the one before it is in force.
        reload(gateway, FACES[(n + 1) % len(FACES)], wait=n % 3 != 2)
    reload(gateway, FACES[2])
    load.stop()
    assert load.answered and load.refused == 0
    wait_for("all that was answered", lambda: set(load.answered) <= {r["id"] for r in
                                                                     gateway.export()}, 30, 0.3)
    found = at_rest(gateway, 3)
    assert figures(found[("kept", "")])[0] == len(gateway.export())


def test_second_reload_wins(gateways, engine):
    gateway = gateways(redis=engine, limits=[], workers=3)
    spend(gateway, 4)
    with held(gateway):
        assert calls.send(gateway, calls.chat()).status == 200   # the ledger has it later
        reload(gateway, [limit("first", limit="5")], wait=False)
        wait_for("it is set", lambda: "set from the ledger first" in gateway.log())
        reload(gateway, [limit("second", limit="6")], wait=False)
        wait_for("the other", lambda: gateway.log().count("set from the ledger first") == 2)
    wait_for("in force", lambda: "configuration in force" in gateway.log())
    spend(gateway, 1)
    refusal(gateway, "second")
    assert gateway.log().count("configuration in force") == 1
    assert list(at_rest(gateway, 1)) == [("second", "")]


@contextlib.contextmanager
def held(gateway):
    """The ledger takes nothing: somebody else writes."""
    path = os.path.join(gateway.folder, "var/ledger.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_ledger_locked_for_long(gateways, engine):
    """The reload has its time and no more; then the new limit refuses until it is known."""
    kept = limit("kept")
    gateway = gateways(redis=engine, limits=[kept], workers=3)
    spend(gateway, 3)
    with held(gateway):
        assert calls.send(gateway, calls.chat()).status == 200   # the ledger has it later
        began = time.monotonic()
        reload(gateway, [kept, limit("new", limit="4"),
                         limit("lax", limit="1", on_failure="allow")], wait=False)
        while "configuration in force" not in gateway.log():
            assert calls.send(gateway, calls.chat()).status == 200 or \
                "not set yet" in gateway.log()
            time.sleep(0.3)
        assert 9 < time.monotonic() - began < 13
        answer = calls.send(gateway, calls.chat())
        assert answer.status == 503, answer
        assert "trying again" in gateway.log()
    wait_for("it is set", lambda: "new limits set from the ledger" in gateway.log(), 20)
    answer = calls.send(gateway, calls.chat())
    assert answer.status == 402, answer
    found = at_rest(gateway, 3)
    assert figures(found[("kept", "")])[0] == len(gateway.export())


def test_redis_away_while_it_reloads(gateways, own_redis):
    """`local` holds the new limit by what this ledger has; back, Redis has it once."""
    kept = limit("kept")
    gateway = gateways(redis=own_redis, limits=[kept], workers=3)
    spend(gateway, 3)
    own_redis.kill()
    reload(gateway, [kept, limit("new", limit="5")])
    assert "not set yet" in gateway.log()
    spend(gateway, 1)
    own_redis.start()
    wait_for("it is set", lambda: "new limits set from the ledger" in gateway.log(), 30)
    # A worker that has not found Redis again has what it admitted by itself, and Redis has it too.
    wait_for("its room", lambda: calls.send(gateway, calls.chat(max_tokens=16)).status == 200)
    wait_for("all have found it", lambda: calls.send(gateway, calls.chat(max_tokens=16)).status in (402, 429))
    found = at_rest(gateway, 2)
    taken = len(gateway.export())
    assert figures(found[("kept", "")])[0] == figures(found[("new", "")])[0] == taken
    assert taken == 5
    refusal(gateway, "new")


def try_some(gateway, n=6):
    """How many of so many are admitted, by whichever worker."""
    found = [calls.send(gateway, calls.chat(max_tokens=16)).status for _ in range(n)]
    assert set(found) <= {200, 402, 429}, found
    return found.count(200)


@pytest.mark.parametrize("asked", ["before it is set", "once it is set", "before it is told"])
def test_one_worker_is_back_before_the_others(gateways, own_redis, line, asked):
    """The new limit holds for all of them, whoever has found Redis again and whatever it knows."""
    kept = limit("kept")
    gateway = gateways(redis=own_redis, counters={"url": line.url, "leases": False}, limits=[kept],
                       workers=3)
    spend(gateway, 3)
    line.shut()
    reload(gateway, [kept, limit("new", limit="5")])
    assert "not set yet" in gateway.log()
    spend(gateway, 1)   # by one of them, which has it to tell
    line.admits = lambda first: is_worker(first) and b"new:" in first
    if asked == "before it is told":
        line.admits = lambda first: not is_worker(first)
    line.open()
    if asked != "before it is told":
        wait_for("it is back", lambda: "counters in redis are back" in gateway.log(), 30)
        line.admits = lambda first: asked == "once it is set" and not is_worker(first)
    if asked != "before it is set":
        wait_for("it is set", lambda: "new limits set from the ledger" in gateway.log(), 30)
    backs = 3
    if asked == "once it is set":
        line.cut()   # and it goes by what it was told, as the others do
        backs += 1
    # What is untold is in the ledger too: it counts twice until it is told.
    admitted = 0 if asked == "before it is told" else 1
    assert try_some(gateway) == admitted
    line.admits = lambda first: True
    wait_for("all have found it",
             lambda: gateway.log().count("counters in redis are back") == backs, 30)
    at_rest(gateway, 2)
    assert try_some(gateway) == 1 - admitted
    found = at_rest(gateway, 2)
    assert figures(found[("kept", "")])[0] == figures(found[("new", "")])[0] == 5


def test_counters_stay_where_they_are(gateways, engine, own_redis):
    """Backend, URL and ledger change at a start alone: the new limit is set where limits are."""
    gateway = gateways(redis=engine, limits=[], workers=3)
    spend(gateway, 3)
    other = {"backend": "redis", "url": own_redis.url, "timeout_ms": 500}
    ledger = {**gateway.config["ledger"], "path": "var/other.db"}
    reload(gateway, [limit("new", limit="3")], counters=other, ledger=ledger)
    assert "changes at a start" in gateway.log()
    for _ in range(6):
        refusal(gateway, "new")
    assert not own_redis.command("KEYS", "*")
    at_rest(gateway, 1)


def test_term_while_it_reloads(gateways, engine):
    gateway = gateways(redis=engine, limits=[], workers=3)
    spend(gateway, 2)
    with held(gateway):
        assert calls.send(gateway, calls.chat()).status == 200
        reload(gateway, [limit("new")], wait=False)
        wait_for("it is set", lambda: "set from the ledger first" in gateway.log())
        began = time.monotonic()
        gateway.process.signal(signal.SIGTERM)
        wait_for("it drains", lambda: "draining" in gateway.log())
    gateway.process.wait()
    assert time.monotonic() - began < 8
    assert "configuration in force" not in gateway.log()
    gateway.config["limits"] = [limit("new", limit="3")]
    gateway.write()
    gateway.start()
    refusal(gateway, "new")


def test_two_nodes_add_their_parts(gateways, redis):
    """Each knows its own ledger: the second to reload adds to the first, and neither twice."""
    nodes = [gateways(redis=redis, limits=[limit("kept")], workers=2) for _ in range(2)]
    spend(nodes[0], 3)
    spend(nodes[1], 2)
    after = [limit("kept"), limit("new", limit="8"), limit("hour", window=HOUR)]
    for node in [nodes[0], nodes[1], nodes[0]]:
        reload(node, after)
    for name in ["kept", "new", "hour"]:
        assert figures(rows(nodes[0])[(name, "")])[0] == 5, name
    spend(nodes[0], 2)
    spend(nodes[1], 1)
    for node in nodes:
        refusal(node, "new")


def test_back_and_forth(gateways, engine):
    """A limit that went and comes again has what was spent meanwhile, and nothing twice."""
    faces = [[limit("a", per=["team"]), limit("roll", window=HOUR)], [limit("b")]]
    gateway = gateways(redis=engine, limits=faces[0], workers=3)
    for n in range(5):
        spend(gateway, 2)
        reload(gateway, faces[(n + 1) % 2])
        found = at_rest(gateway, 1)
        assert {figures(r)[0] for r in found.values()} == {2 * (n + 1)}
    gateway.process.stop()
    gateway.start()
    assert {figures(r)[0] for r in at_rest(gateway, 1).values()} == {10}
