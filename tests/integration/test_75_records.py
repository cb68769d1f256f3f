"""Every call that a provider billed is in the ledger, once, whatever happens to the process.

Numbers C7, C8, C9, C33 are those of the complaints about other gateways that the test answers.
TOLLGATE_KILLS, TOLLGATE_OUTAGE_S and TOLLGATE_SOAK_S make the long runs by hand.
"""

import os
import random
import re
import shutil
import sqlite3
import subprocess
import threading
import time
from decimal import Decimal

import pytest

from kit import calls
from kit.marked import Books, Load
from kit.procs import Process, tollgate_binary, wait_for

KILLS = int(os.environ.get("TOLLGATE_KILLS", "8"))
OUTAGE_S = float(os.environ.get("TOLLGATE_OUTAGE_S", "2"))
DAY = {"name": "day", "unit": "usd", "limit": "1000000", "window": "day"}


@pytest.fixture
def say(capsys):
    """Figures that are printed whether tests pass or fail."""
    def out(text):
        with capsys.disabled():
            print(f"\n    {text}", end="", flush=True)
    return out


def budget(gateway, name="day"):
    rows = gateway.report("budgets")["rows"]
    return [r for r in rows if r["budget"] == name][0]


def at_rest(gateway, seconds=20):
    """The budget's row once nothing is reserved and counters and ledger say the same."""
    seen = []

    def settled():
        seen[:] = [budget(gateway)]
        row = seen[0]
        return Decimal(row["reserved_usd"]) == 0 and \
            Decimal(row["spent_usd"]) == Decimal(row["ledger_spent_usd"])
    try:
        wait_for("counters equal the ledger", settled, seconds, 0.3)
    except AssertionError as late:
        row = seen[0]
        raise AssertionError(f"spent {row['spent_usd']}, ledger {row['ledger_spent_usd']}, "
                             f"reserved {row['reserved_usd']}") from late
    return seen[0]


def crash_while_starting(gateway, after_s):
    """A second crash before the first is recovered."""
    process = Process("crash", [tollgate_binary(), "serve", "-c", gateway.config_path],
                      gateway.folder)
    time.sleep(after_s)
    process.kill()


def damage_tail(gateway, chance):
    """Part of an entry behind the last whole one, as a crash of the machine leaves it."""
    folder = os.path.join(gateway.folder, "var", "journal")
    for name in os.listdir(folder):
        if name.endswith(".tgj"):
            with open(os.path.join(folder, name), "ab") as file:
                file.write(chance.randbytes(chance.randrange(1, 300)))


def settled_books(gateway, provider, answered):
    wait_for("all that was answered", lambda: set(answered) <= {r["id"] for r in
                                                                gateway.export()}, 30, 0.3)
    row = at_rest(gateway)
    books = Books(gateway, provider).check(answered)
    assert Decimal(row["spent_usd"]) == books.cost_as_limits_count()
    total = gateway.report("spend")["total"]
    assert Decimal(total["cost_usd"]) == sum(Decimal(r["cost_usd"]) for r in books.records)
    return books


@pytest.mark.parametrize("redis_too", [False, True], ids=["redis-stays", "redis-emptied-too"])
def test_c7_killed_at_random_moments(gateways, provider, own_redis, say, redis_too):
    seed = int(os.environ.get("TOLLGATE_SEED", str(time.time_ns() % 1000000)))
    chance = random.Random(seed)
    # Not "local": what is admitted while Redis is away is known to the process alone until
    # Redis is back, and a process that is killed before counts it no more.
    gateway = gateways(redis=own_redis, limits=[DAY], counters={"on_failure": "refuse"})
    answered, interrupted, emptied, twice, torn = [], 0, 0, 0, 0
    for kill in range(KILLS):
        load = Load(gateway, 8, seed=seed + kill)
        time.sleep(chance.uniform(0.05, 0.6))
        gateway.kill()
        load.stop()
        answered += load.answered
        if redis_too and kill % 4 == 1:
            own_redis.command("FLUSHALL")
            emptied += 1
        if kill % 4 == 2:
            damage_tail(gateway, chance)
            torn += 1
        if kill % 3 == 0:
            crash_while_starting(gateway, chance.uniform(0.0, 0.15))
            twice += 1
        gateway.start()
    books = settled_books(gateway, provider, answered)
    interrupted = len([r for r in books.records if r["outcome"] == "interrupted"])
    assert interrupted > 0 and books.exact > 50
    say(f"killed {KILLS} times (twice in a row {twice}, tail torn {torn}, Redis emptied "
        f"{emptied}; seed {seed}): {interrupted} requests cut off; {books}; reserved 0, spent "
        "equals the ledger")
