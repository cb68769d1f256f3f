"""Every call that a provider billed is in the ledger, once, whatever happens to the process.

Numbers C7, C8, C9, C33 are those of the complaints about other gateways that the test answers.
TOLLGATE_KILLS, TOLLGATE_OUTAGE_S and TOLLGATE_SOAK_S make the long runs by hand.
"""

import contextlib
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

from kit import calls, client, prices
from kit.marked import Books, Load
from kit.procs import Process, tollgate_binary, wait_for
from kit.settled import at_rest, budget, settled_books

KILLS = int(os.environ.get("TOLLGATE_KILLS", "8"))
EXACT = 50      # calls at least that end whole between the kills
OUTAGE_S = float(os.environ.get("TOLLGATE_OUTAGE_S", "2"))
DAY = {"name": "day", "unit": "usd", "limit": "1000000", "window": "day"}
MARKS = {"name": "marks", "unit": "requests", "limit": 1000, "window": "day", "mode": "warn",
         "alerts": [1, 2, 3, 5, 10, 20, 50, 100]}


def crash_while_starting(gateway, after_s):
    """A second crash before the first is recovered."""
    process = Process("crash", [tollgate_binary(), "serve", "-c", gateway.config_path],
                      gateway.folder)
    time.sleep(after_s)
    process.kill()


def reached(gateway):
    """The thresholds of MARKS that the ledger says were reached."""
    with contextlib.closing(sqlite3.connect(f"file:{gateway.folder}/var/ledger.db?mode=ro", uri=True)) as db:
        return [row[0] for row in db.execute("SELECT percent FROM crossing ORDER BY percent")]


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
    gateway = gateways(redis=own_redis, limits=[DAY, MARKS], alerts={"every_seconds": 1}, counters={
        "on_failure": "local", "leases": leases})
    answered, interrupted, emptied, twice, torn = [], 0, 0, 0, 0
    for kill in range(KILLS):
        load = Load(gateway, 8, seed=seed + kill)
        time.sleep(chance.uniform(0.05, 0.6))
        if kill % 2:   # on a slow machine the others come before anything is answered
            wait_for("whole answers", lambda: len(load.answered) > EXACT * 2 / KILLS, 60, 0.01)
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
    assert interrupted > 0 and books.exact > EXACT
    due = [p for p in MARKS["alerts"] if len(books.records) * 100 >= MARKS["limit"] * p]
    wait_for(f"thresholds {due}", lambda: reached(gateway) == due, 30, 0.2)
    assert due and gateway.cli("audit").rstrip().endswith("everything agrees")
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


def junk(gateway, connection, number):
    """What clients make up: models, tags, tasks that are never seen again, paths, keys."""
    tags = [("X-Tollgate-Feature", f"junk-{number}"), ("X-Tollgate-Task", f"junk-task-{number}"),
            ("X-Tollgate-Customer", f"junk-customer-{number}"),
            ("X-Tollgate-Tags", f"k{number}=v{number}")]
    assert calls.send(gateway, calls.chat(model=f"junk-model-{number}"), connection,
                      tags=tags).status == 200
    if number % 10 == 0:   # on a connection of its own, which it is the end of
        assert calls.send(gateway, calls.chat(), key=f"tg_{number}").status == 401


def is_sanitized():
    with open(tollgate_binary(), "rb") as file:
        return b"__asan_init" in file.read()


CACHE_KB = 65536        # the most of its pages that the ledger's writer keeps in memory


def ledger_kb(gateway):
    """What of the ledger may be in memory: its pages, as many as there are."""
    path = os.path.join(gateway.folder, "var", "ledger.db")
    return min(CACHE_KB, sum(os.path.getsize(path + end) for end in ("", "-wal")
                             if os.path.exists(path + end)) // 1024)


def slope(samples):
    """Least squares: how much y grows for one of x."""
    x_mean = sum(x for x, _ in samples) / len(samples)
    y_mean = sum(y for _, y in samples) / len(samples)
    return sum((x - x_mean) * (y - y_mean) for x, y in samples) / max(
        1, sum((x - x_mean) ** 2 for x, _ in samples))


SERIES_MAX = 6000       # five gauges of at most 1,000 scopes, and what is always there
JUNK_MAX_KB = 8.0       # of memory for five names never seen before: a counter, dictionaries


@pytest.mark.slow
def test_c33_soak(gateways, provider, own_redis, say):
    """Aborts, junk and reloads (an hour by hand: TOLLGATE_SOAK_S=3600): nothing grows.

    After a third of the time all is warm but the ledger's pages in memory, which grow with it to
    64 MiB. Memory beyond them is measured by a straight line through its samples.
    """
    seconds = float(os.environ.get("TOLLGATE_SOAK_S", "20"))
    gateway = gateways(redis=own_redis, limits=[DAY, {
        "name": "per-feature", "unit": "requests", "limit": 1000000, "window": "day",
        "per": ["feature"]}])
    load = Load(gateway, 4, sim={"Event_Delay_Ms": 0})
    number, samples = 0, []
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        with gateway.connect(timeout=30) as connection:   # a reload ends idle ones
            for _ in range(25):
                number += 1
                junk(gateway, connection, number)
            gateway.reload()
            time.sleep(0.1)
            samples.append((number, memory_kb(gateway), descriptors(gateway), series(gateway),
                            time.monotonic() - begin, ledger_kb(gateway)))
    load.stop()
    warm = [s for s in samples if s[4] > seconds / 3]
    assert len(warm) >= 4
    kb = slope([(s[0], s[1] - s[5]) for s in warm])
    fds = [s[2] for s in warm]
    say(f"{seconds:g} s, {load.sent} calls, {number} junk models and tags, {len(samples)} reloads: "
        f"memory {warm[0][1]} to {warm[-1][1]} KiB, of the ledger {warm[0][5]} to {warm[-1][5]}, "
        f"{kb:+.2f} KiB for each name beyond it; descriptors "
        f"{min(fds)} to {max(fds)}; at most {max(s[3] for s in samples)} series")
    assert is_sanitized() or kb < JUNK_MAX_KB, "memory grows"
    assert max(fds) < 250 and slope([(s[4], s[2]) for s in warm]) < 2, "descriptors grow"
    assert max(s[3] for s in samples) < SERIES_MAX, "label sets are not capped"
    wait_for("idle again", lambda: descriptors(gateway) <= min(fds) + 10, 15, 0.2)


# ---- budgets that are hit while things break --------------------------------------------------


class Spender:
    """Calls of a known size until told to stop; what was answered 200, and 402."""

    def __init__(self, gateway, threads=6):
        self.gateway = gateway
        self.passed = self.refused = self.broken = 0
        self.lock = threading.Lock()
        self.stopping = False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stopping:
            try:
                status = calls.send(self.gateway, calls.chat(max_tokens=16), timeout=10,
                                    sim={"Output_Tokens": 16, "Delay_Ms": 2}).status
            except (OSError, client.Broken, AssertionError, ValueError):
                status = 0
                time.sleep(0.01)
            with self.lock:
                self.passed += status == 200
                self.refused += status == 402
                self.broken += status not in (200, 402)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(30)


@pytest.mark.slow
@pytest.mark.parametrize("on_failure", ["refuse", "local"])
def test_c7_budgets_are_hard_over_kills(gateways, provider, own_redis, say, on_failure):
    """The gateway is killed, Redis is killed, paused and emptied: nothing goes over a limit."""
    chance = random.Random(int(os.environ.get("TOLLGATE_SEED", "11")))
    usd = Decimal("0.08")
    gateway = gateways(redis=own_redis, counters={"on_failure": on_failure, "timeout_ms": 200},
                       limits=[DAY, {"name": "hard", "unit": "usd", "limit": str(usd),
                                     "window": "day"}])
    hits = kills = lost = 0
    spender = Spender(gateway)
    end = time.monotonic() + 60
    while (spender.refused < 50 or kills < KILLS // 2) and time.monotonic() < end:
        time.sleep(chance.uniform(0.2, 0.5))
        what = chance.choice(["killed", "killed", "paused", "emptied", "stopped"])
        if what == "killed":
            gateway.kill()
            kills += 1
            gateway.start()
        elif what == "paused":
            own_redis.freeze()
            time.sleep(0.4)
            own_redis.thaw()
        elif what == "emptied":
            own_redis.command("FLUSHALL")
        else:
            own_redis.kill()
            time.sleep(0.2)
            own_redis.start()
        lost += what != "killed"
    wait_for("the budget to be used up", lambda: spender.refused >= 50, 60)
    spender.stop()
    hits = spender.refused
    wait_for("all records", lambda: len(gateway.export()) >= provider.totals()["billed"], 20, 0.3)
    records = gateway.export()
    spent = sum(Decimal(r["cost_usd"]) for r in records)
    billed = sum(prices.cost("openai", b["model"], b) for b in provider.billed())
    assert len(records) == len({r["id"] for r in records})
    assert billed <= usd and spent <= usd, "overspent"
    assert spent > usd / 2
    at_rest(gateway)
    say(f"killed {kills} times, Redis away {lost} times ({on_failure}): budget hit {hits} times, "
        f"{spender.passed} answered, {spender.broken} cut off; spent {spent} of {usd} USD, "
        "overspent 0")


@pytest.mark.slow
def test_c8_full_disk(gateways, provider, own_redis, tmp_path, say):
    """The disk is full again and again, and the process is killed meanwhile: every bill is there."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)],
                      capture_output=True).returncode != 0:
        pytest.skip("a full disk needs a tmpfs, and that root")
    try:
        config = gateways.config(own_redis, state_dir=str(disk / "var"), limits=[DAY],
                                 counters={"on_failure": "refuse"},
                                 ledger={"path": str(disk / "var" / "ledger.db")})
        config["listen"]["admin"]["token_file"] = str(disk / "var" / "admin.token")
        gateway = gateways(config)
        answered, refused = [], 0
        for turn in range(4):
            load = Load(gateway, 6, seed=turn)
            time.sleep(0.3)
            with open(disk / "filler", "wb", buffering=0) as filler:
                try:
                    while True:
                        filler.write(bytes(65536))
                except OSError:
                    pass
                for size in (4096, 512):   # to the last block
                    try:
                        while True:
                            filler.write(bytes(size))
                    except OSError:
                        pass
            time.sleep(0.5)
            if turn % 2:
                gateway.kill()
            os.unlink(disk / "filler")
            load.stop()
            answered += load.answered
            refused += load.refused
            if turn % 2:
                gateway.start()
        wait_for("service again", lambda: calls.send(gateway, calls.chat()).status == 200, 15, 0.3)
        books = settled_books(gateway, provider, answered)
        say(f"disk full 4 times, killed twice: {books}; {refused} refused meanwhile")
        gateway.stop()
    finally:
        for made in gateways.made:
            for process in made.processes:
                process.kill()
        subprocess.run(["umount", "-l", str(disk)], check=False)
