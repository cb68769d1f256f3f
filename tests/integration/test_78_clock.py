"""The system's clock is set while gateways run: nothing waits for it, is counted twice, or goes."""

import contextlib
import os
import sqlite3

import pytest

from kit import calls, clocks
from kit.clocks import HOUR
from kit.procs import wait_for
from kit.settled import budget

pytestmark = pytest.mark.skipif(clocks.missing() is not None, reason=str(clocks.missing()))

EVER = {"name": "ever", "unit": "requests", "limit": 100000, "window": "total", "per": ["team"]}
TAGS = [("X-Tollgate-Team", "search")]


@pytest.fixture
def clock(tmp_path):
    return clocks.Clocks(tmp_path)


def send(gateway, n):
    for _ in range(n):
        assert serves(gateway)


def in_order(gateway, requests, name="ever"):
    """The counter and the ledger say the same, of so many requests, and nothing is reserved."""
    row = budget(gateway, name)
    return (row["spent_count"], row["ledger_spent_count"], row["reserved_count"]) == (requests, requests, 0)


def wait_in_order(gateway, requests, seconds=10):
    try:
        wait_for("counters equal the ledger", lambda: in_order(gateway, requests), seconds, 0.1)
    except AssertionError:
        raise AssertionError(f"{requests} requests: {budget(gateway, 'ever')}") from None


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
