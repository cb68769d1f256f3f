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
from kit.settled import at_rest, budget, settled_books

KILLS = int(os.environ.get("TOLLGATE_KILLS", "8"))
OUTAGE_S = float(os.environ.get("TOLLGATE_OUTAGE_S", "2"))
DAY = {"name": "day", "unit": "usd", "limit": "1000000", "window": "day"}


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


@pytest.mark.parametrize("redis_too", [False, True], ids=["redis-stays", "redis-emptied-too"])
@pytest.mark.parametrize("leases", [False, True], ids=["each", "leases"])
def test_c7_killed_at_random_moments(gateways, provider, own_redis, say, redis_too, leases):
    seed = int(os.environ.get("TOLLGATE_SEED", str(time.time_ns() % 1000000)))
    chance = random.Random(seed)
    gateway = gateways(redis=own_redis, limits=[DAY], counters={
        "on_failure": "local", "leases": leases})
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
    assert gateway.cli("audit").rstrip().endswith("everything agrees")
    say(f"killed {KILLS} times (leases {leases}, twice in a row {twice}, tail torn {torn}, Redis "
        f"emptied {emptied}; seed {seed}): {interrupted} requests cut off; {books}; reserved 0, "
        "spent equals the ledger")


def test_c7_two_gateways_are_killed_in_turn(gateways, provider, own_redis, say):
    """One Redis, a ledger each, leases on: what is spent is the sum of both ledgers."""
    nodes = [gateways(redis=own_redis, name=name, node=name, limits=[DAY], counters={
        "on_failure": "local"}) for name in ("east", "west")]
    chance = random.Random(int(os.environ.get("TOLLGATE_SEED", "7")))

    def kill_in_turn(kills):
        loads = [Load(node, 4, seed=kills) for node in nodes]
        for kill in range(kills):
            time.sleep(chance.uniform(0.3, 0.9))
            nodes[kill % 2].kill()
            nodes[kill % 2].start()
        for load in loads:
            load.stop()

    def both_ledgers():
        rows = [budget(node) for node in nodes]
        found = [sum(Decimal(row["ledger_spent_usd"]) for row in rows)] + [
            Decimal(rows[0][f"{what}_usd"]) for what in ("spent", "reserved")]
        seen[:] = found
        return found[0] == found[1] and found[2] == 0 and found[0] > 0

    seen = []

    def settled():
        try:
            wait_for("spent to be what both ledgers say", both_ledgers, 20, 0.3)
        except AssertionError as late:
            raise AssertionError(f"ledgers {seen[0]}, spent {seen[1]}, reserved {seen[2]}") from late

    kill_in_turn(max(4, KILLS // 2))
    settled()
    # A rebuild takes nothing of what the other has; nor does a Redis that lost everything.
    nodes[0].cli("budget", "rebuild", "--why", "to be sure")
    settled()
    own_redis.command("FLUSHALL")
    settled()
    kill_in_turn(2)
    settled()
    # A gateway that is away keeps its part while the other's is set anew.
    nodes[1].kill()
    before = Decimal(budget(nodes[0])["spent_usd"])
    nodes[0].cli("budget", "rebuild", "--why", "the other is away")
    assert Decimal(budget(nodes[0])["spent_usd"]) == before
    nodes[1].start()
    settled()
    for node in nodes:
        assert node.cli("audit").rstrip().endswith("everything agrees")
    say(f"two gateways killed in turn {max(4, KILLS // 2) + 3} times, rebuilt twice, Redis emptied "
        f"once: ledgers {seen[0]} USD, spent {seen[1]} USD, reserved {seen[2]}")


def test_c7_sigterm_under_load(gateways, provider, own_redis, tmp_path, say):
    """1,000 requests/s and more (wrk where it is installed) when the signal comes."""
    gateway = gateways(redis=own_redis, limits=[DAY], drain_seconds=5)
    seconds = 2.0
    if shutil.which("wrk"):
        call = calls.chat()
        script = tmp_path / "load.lua"
        headers = "".join(f'wrk.headers["{k}"] = "{v}"\n' for k, v in call.headers())
        script.write_text(f'wrk.method = "POST"\n{headers}wrk.body = [[{call.data().decode()}]]\n')
        load = subprocess.Popen(["wrk", "-t1", "-c32", "-d6", "-s", str(script),
                                 gateway.url + call.full_path()], stdout=subprocess.PIPE, text=True)
        time.sleep(seconds)
    else:
        load = Load(gateway, 16, shapes=["chat"], sim={})
        time.sleep(seconds)
    before = provider.totals()["billed"]
    gateway.process.stop()
    if isinstance(load, Load):
        load.stop()
    else:
        load.communicate(timeout=30)
    gateway.start()
    totals = provider.totals()
    records = gateway.export()
    assert len(records) == len({r["id"] for r in records}) == totals["billed"]
    assert all(r["outcome"] in ("ok", "client_abort") for r in records)
    assert sum(r["usage"]["output_tokens"] for r in records) == sum(
        b["output_tokens"] for b in provider.billed())
    row = at_rest(gateway)
    say(f"SIGTERM at {before / seconds:.0f} requests/s: {len(records)} billed, {len(records)} "
        f"recorded, spent {row['spent_usd']} USD as in the ledger")


def lock_ledger(gateway, seconds):
    """Another program holds the database for so long."""
    lock = sqlite3.connect(os.path.join(gateway.folder, "var", "ledger.db"), isolation_level=None,
                           timeout=30)
    lock.execute("BEGIN IMMEDIATE")
    time.sleep(seconds)
    lock.execute("ROLLBACK")
    lock.close()


def waiting(gateway):
    """The gauge of what waits in the journal, in bytes."""
    text = gateway.admin("/metrics", token=False).body.decode()
    return int(re.search(r"^tollgate_\w*waiting_bytes (\d+)", text, re.M)[1])


def memory_kb(gateway):
    with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])


@pytest.mark.parametrize("killed", [False, True], ids=["runs-on", "killed-meanwhile"])
def test_c8_store_away(gateways, provider, own_redis, say, killed):
    """The database locked (by hand ten minutes: TOLLGATE_OUTAGE_S=600): the journal holds all."""
    gateway = gateways(redis=own_redis, limits=[DAY], counters={
        "on_failure": "refuse", "leases": False})
    calls.send(gateway, calls.chat())
    gateway.records(1)
    locker = threading.Thread(target=lock_ledger, args=(gateway, OUTAGE_S))
    locker.start()
    load = Load(gateway, 8)
    time.sleep(OUTAGE_S / 2)
    if killed:
        gateway.kill()
        load.stop()
        gateway.start()   # waits for the database as long as it must
    most, resident = 0, memory_kb(gateway)
    while locker.is_alive():
        most = max(most, waiting(gateway))
        time.sleep(0.1)
    locker.join()
    load.stop()
    assert killed or most > 0, "the gauge says nothing of what waits"
    books = settled_books(gateway, provider, load.answered)
    assert waiting(gateway) == 0
    grown = memory_kb(gateway) - resident
    assert grown < 256 * 1024   # a sanitizer keeps what was freed
    say(f"ledger locked {OUTAGE_S:g} s: {books}; at most {most} bytes waited, memory "
        f"{grown:+d} KiB")


def test_c9_taken_in_twice_is_taken_once(gateways, provider):
    """A journal that is put back, as from a backup, adds nothing."""
    gateway = gateways()
    load = Load(gateway, 4)
    time.sleep(0.5)
    gateway.kill()
    load.stop()
    journal = os.path.join(gateway.folder, "var", "journal")
    saved = gateway.folder + "/saved"
    shutil.copytree(journal, saved)
    gateway.start()
    before = gateway.records(len(load.answered), exactly=False)
    gateway.process.stop()
    for name in os.listdir(saved):
        if name.endswith(".tgj"):
            shutil.copy(os.path.join(saved, name), journal)
    shutil.rmtree(saved)
    gateway.start()
    after = Books(gateway, provider).check(load.answered).records
    assert len(before) > 10 and after == before


def descriptors(gateway):
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def series(gateway):
    text = gateway.admin("/metrics", token=False).body.decode()
    return len([line for line in text.splitlines() if line and not line.startswith("#")])


def junk(gateway, number):
    """What clients make up: models, tags, tasks that are never seen again, paths, half requests."""
    call = calls.chat(model=f"junk-model-{number}")
    tags = [("X-Tollgate-Feature", f"junk-{number}"), ("X-Tollgate-Task", f"junk-task-{number}"),
            ("X-Tollgate-Tags", f"k{number}=v{number}")]
    with gateway.connect(timeout=10) as connection:
        calls.send(gateway, call, connection, tags=tags)
    gateway.request("GET", f"/openai/v1/nothing/{number}", [("Authorization", f"Bearer tg_{number}")])


def test_c33_soak(gateways, provider, own_redis, say):
    """Aborts, junk and reloads (an hour by hand: TOLLGATE_SOAK_S=3600): nothing grows."""
    seconds = float(os.environ.get("TOLLGATE_SOAK_S", "12"))
    gateway = gateways(redis=own_redis, limits=[DAY, {
        "name": "per-feature", "unit": "requests", "limit": 1000000, "window": "day",
        "per": ["feature"]}])
    load = Load(gateway, 6, sim={"Event_Delay_Ms": 0})
    number, samples = 0, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(40):
            number += 1
            junk(gateway, number)
        gateway.reload()
        samples.append((memory_kb(gateway), descriptors(gateway), series(gateway)))
    load.stop()
    first, last = samples[len(samples) // 3], samples[-1]
    grown = [b - a for a, b in zip(first, last)]
    say(f"{seconds:g} s, {load.sent} calls, {number} junk models and tags, {len(samples)} reloads: "
        f"memory {first[0]} to {last[0]} KiB, descriptors {first[1]} to {last[1]}, series "
        f"{first[2]} to {last[2]}")
    assert grown[0] < 48 * 1024 + 16 * number, "memory grows"
    assert grown[1] < 40, "descriptors grow"
    assert last[2] < 6000, "label sets are not capped"   # five gauges of at most 1,000 scopes
    wait_for("idle again", lambda: descriptors(gateway) <= first[1] + 10, 15, 0.2)
