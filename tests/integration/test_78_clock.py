"""The system's clock is set while gateways run: nothing waits for it, is counted twice, or goes."""

import contextlib
import os
import sqlite3
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
