"""The system's clock is set while gateways run: nothing waits for it, is counted twice, or goes."""

import contextlib
import os
import sqlite3
import threading
import time

import pytest

from kit import calls, clocks
from kit.clocks import DAY, HOUR, MINUTE
from kit.procs import wait_for

pytestmark = pytest.mark.skipif(clocks.missing() is not None, reason=str(clocks.missing()))

EVER = {"name": "ever", "unit": "requests", "limit": 100000, "window": "total", "per": ["team"]}
TAGS = [("X-Tollgate-Team", "search")]


@pytest.fixture
def clock(tmp_path):
    return clocks.Clocks(tmp_path)


def send(gateway, n):
    for _ in range(n):
        assert serves(gateway)


def send_anew(gateway, n):
    """Redis was emptied: a worker that has not asked it since may refuse once."""
    for _ in range(n):
        wait_for("service", lambda: serves(gateway), 10, 0.1)


def serves(gateway):
    return calls.send(gateway, calls.SHAPES["chat"](), tags=TAGS).status == 200


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_no_thread_waits_for_the_clock(gateways, own_redis, clock, step):
    """What threads do in turn they do all the same once the time is set: thresholds are noted, and
    budgets made anew, each time that Redis loses them."""
    gateway = gateways(redis=own_redis, limits=[EVER, {**EVER, "name": "few", "limit": 4, "mode": "warn",
                                                       "alerts": [100]}],
                       counters={"on_failure": "refuse"}, alerts={"every_seconds": 1}, env=clock.env)
    send(gateway, 3)
    clock.step(step)
    for turn in range(3):
        own_redis.command("FLUSHALL")
        wait_for(f"service after loss {turn}", lambda: serves(gateway), 10, 0.1)
    path = os.path.join(gateway.folder, "var", "ledger.db")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as ledger:
        wait_for("the threshold", lambda: ledger.execute("SELECT 1 FROM crossing").fetchall(), 10, 0.1)


# ---- what is counted -------------------------------------------------------------------------------

LIMITS = [EVER, {**EVER, "name": "day", "window": "day"}, {**EVER, "name": "rolling", "window": "72000s"}]


def wait_counted(gateway, seconds=10):
    """Each counter says what the ledger does: every request once, and nothing reserved."""
    def told():
        sent = len(gateway.export())
        rows[:] = [[row[name] for name in ("budget", "spent_count", "ledger_spent_count", "reserved_count")]
                   for row in gateway.report("budgets")["rows"]]
        return len(rows) == len(LIMITS) and all(row[1:] == [sent, sent, 0] for row in rows)
    rows = []
    try:
        wait_for("counters equal the ledger", told, seconds, 0.1)
    except AssertionError:
        raise AssertionError(f"{len(gateway.export())} requests: {rows}") from None


def in_one_day(clock):
    """The time from now on is of one day of UTC, an hour before and after."""
    left = DAY - time.time() % DAY
    clock.passes(left + 12 * HOUR)


@pytest.mark.parametrize("leases", [True, False])
def test_set_back_each_request_counts_once(gateways, own_redis, clock, leases):
    """Budgets that were made anew before the time is set back, or are after it, with requests that run
    over it: what comes later counts, by the same process and the next."""
    in_one_day(clock)
    gateway = gateways(redis=own_redis, limits=LIMITS, env=clock.env,
                       counters={"on_failure": "refuse", "leases": leases})
    send(gateway, 3)
    own_redis.command("FLUSHALL")
    send_anew(gateway, 1)
    wait_counted(gateway)
    slow = threading.Thread(target=calls.send, args=(gateway, calls.SHAPES["chat"]()),
                            kwargs={"tags": TAGS, "sim": {"Delay_Ms": 1500}})
    slow.start()
    clock.step(-HOUR)
    send_anew(gateway, 4)
    wait_for("those that were sent", lambda: len(gateway.export()) >= 8, 10, 0.1)
    own_redis.command("FLUSHALL")    # of the time before, and of that after it
    slow.join()
    send_anew(gateway, 5)
    wait_counted(gateway)
    gateway.process.stop()
    gateway.start()
    send(gateway, 4)
    wait_counted(gateway)
    own_redis.command("FLUSHALL")
    send_anew(gateway, 5)
    wait_counted(gateway)


def ident(gateway):
    answer = calls.send(gateway, calls.SHAPES["chat"](), tags=TAGS)
    assert answer.status == 200
    return answer.header("x-tollgate-request-id")


def test_set_back_counters_in_memory_are_right(gateways, clock):
    in_one_day(clock)
    gateway = gateways(limits=LIMITS, env=clock.env)
    sent = [ident(gateway) for _ in range(3)]
    clock.step(-HOUR)
    sent += [ident(gateway) for _ in range(3)]
    gateway.records(6)
    gateway.process.stop()
    gateway.start()
    sent += [ident(gateway) for _ in range(3)]
    assert [record["id"] for record in gateway.records(9)] == sent    # by their ends
    spent = [(row["spent_count"], row["ledger_spent_count"])
             for row in gateway.admin("/api/v1/reports/budgets").json()["rows"]]
    assert spent == [(9, 9)] * len(LIMITS)


# ---- old lines -----------------------------------------------------------------------------------

KEEP = 5


def lines(gateway):
    path = os.path.join(gateway.folder, "var", "ledger.db")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as ledger:
        return ledger.execute("SELECT count(*) FROM line").fetchone()[0]


def believed(gateway):
    """The time by which old lines are deleted, as the ledger has it; None: not yet."""
    path = os.path.join(gateway.folder, "var", "ledger.db")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as ledger:
        found = ledger.execute("SELECT value FROM state WHERE name='expire_us'").fetchone()
        return found and found[0] / 10**6


def looks(gateway, clock):
    """A minute and more passes, and old lines are looked for."""
    before = believed(gateway)
    clock.passes(2 * MINUTE)
    wait_for("a look", lambda: believed(gateway) != before, 10, 0.05)


def test_a_clock_far_ahead_deletes_nothing(gateways, clock):
    """Neither while a gateway runs, nor where one starts by it; what lasts is believed."""
    gateway = gateways(ledger={"keep_days": KEEP}, env=clock.env)
    send(gateway, 4)
    gateway.records(4)
    clock.passes(2 * MINUTE)
    wait_for("a look", lambda: believed(gateway), 10, 0.05)
    clock.step(400 * DAY)
    for _ in range(3):
        looks(gateway, clock)
    assert gateway.process.log().count("the clock is ahead") == 1
    clock.step(-380 * DAY)    # the certificate has not expired yet
    gateway.process.stop()
    gateway.start()    # a clock that was never right here
    for _ in range(3):
        looks(gateway, clock)
    assert lines(gateway) == 4
    clock.right()
    looks(gateway, clock)
    assert abs(believed(gateway) - time.time() - clock.mono) < MINUTE
    assert "the clock is believed" in gateway.process.log()
    assert lines(gateway) == 4
    clock.step(400 * DAY)
    looks(gateway, clock)
    clock.passes(6 * HOUR)
    wait_for("what lasts to be believed", lambda: lines(gateway) == 0, 10, 0.1)


def test_days_that_pass_delete(gateways, clock):
    """With requests and without, by the day."""
    gateway = gateways(ledger={"keep_days": KEEP}, env=clock.env)
    for _ in range(KEEP):
        send(gateway, 2)
        looked = believed(gateway)
        clock.passes(DAY)
        wait_for("a look", lambda looked=looked: believed(gateway) != looked, 10, 0.05)
    assert lines(gateway) == 2 * KEEP
    for left in range(KEEP - 1, -1, -1):
        clock.passes(DAY)
        wait_for("a day's lines to go", lambda left=left: lines(gateway) == 2 * left, 10, 0.1)
