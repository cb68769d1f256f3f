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
import statistics
import subprocess
import threading
import time
from decimal import Decimal

import pytest

from kit import calls, client, prices
from kit.marked import Books, Load
from kit.procs import Process, is_sanitized, tollgate_binary, wait_for
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


def pressing(gateway, tmp_path, seconds):
    """As many requests a second as it takes (wrk where it is installed): what ends the load, and
    gives how many whole answers clients have."""
    if not shutil.which("wrk"):
        load = Load(gateway, 16, shapes=["chat"], sim={})
        return lambda: len(load.stop().answered)
    call = calls.chat()
    script = tmp_path / "load.lua"
    headers = "".join(f'wrk.headers["{k}"] = "{v}"\n' for k, v in call.headers())
    script.write_text(f'wrk.method = "POST"\n{headers}wrk.body = [[{call.data().decode()}]]\n')
    load = subprocess.Popen(["wrk", "-t1", f"-c{PRESSING}", f"-d{seconds:g}", "-s", str(script),
                             gateway.url + call.full_path()], stdout=subprocess.PIPE, text=True)

    def answered():
        said = load.communicate(timeout=60)[0]
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
        return int(re.search(r"(\d+) requests in", said)[1]) - int(refused[1] if refused else 0)
    return answered


PRESSING = 32   # connections


def test_c7_sigterm_under_load(gateways, provider, own_redis, tmp_path, say):
    """1,000 requests/s and more when the signal comes: each bill is one record."""
    gateway = gateways(redis=own_redis, limits=[DAY], drain_seconds=5)
    answered = pressing(gateway, tmp_path, 6)
    time.sleep(2)
    before = provider.totals()["billed"]
    gateway.process.stop()
    answered = answered()
    gateway.start()
    totals = provider.totals()
    records = gateway.export()
    assert len(records) == len({r["id"] for r in records}) == totals["billed"] >= answered > 0
    assert all(r["outcome"] in ("ok", "client_abort") for r in records)
    assert sum(r["usage"]["output_tokens"] for r in records) == sum(
        b["output_tokens"] for b in provider.billed())
    row = at_rest(gateway)
    say(f"SIGTERM at {before / 2:.0f} requests/s: {answered} answered, {len(records)} billed, "
        f"{len(records)} recorded, spent {row['spent_usd']} USD as in the ledger")


def test_c7_sigkill_under_load(gateways, provider, own_redis, tmp_path, say):
    """The same and SIGKILL: each bill is one record, and what was cut off is marked so."""
    gateway = gateways(redis=own_redis, limits=[DAY])
    answered = pressing(gateway, tmp_path, 4)
    time.sleep(2)
    before = provider.totals()["billed"]
    gateway.kill()
    answered = answered()
    gateway.start()
    records = gateway.export()
    cut = [r for r in records if r["outcome"] == "interrupted"]
    whole = {r["provider_request_id"] for r in records if r["outcome"] == "ok"}
    bills = [b for b in provider.billed() if not {b["request_id"], b["response_id"]} & whole]
    assert len(records) == len({r["id"] for r in records}) == len(whole) + len(cut)
    assert len(bills) <= len(cut) <= 2 * PRESSING and len(records) >= answered > 0
    row = at_rest(gateway)
    say(f"SIGKILL at {before / 2:.0f} requests/s: {answered} answered, {len(whole)} recorded whole, "
        f"{len(cut)} cut off of which {len(bills)} were billed, spent {row['spent_usd']} USD as in "
        "the ledger")


def lock_ledger(gateway, seconds, is_over):
    """Another program holds the database for so long at least, and until it is over."""
    lock = sqlite3.connect(os.path.join(gateway.folder, "var", "ledger.db"), isolation_level=None,
                           timeout=30)
    lock.execute("BEGIN IMMEDIATE")
    time.sleep(seconds)
    is_over.wait(60)
    lock.execute("ROLLBACK")
    lock.close()


def gauge(gateway, name):
    text = gateway.admin("/metrics", token=False).body.decode()
    return int(re.search(rf"^{name} (\d+)", text, re.M)[1])


def waiting(gateway):
    """What waits in the journal, in bytes."""
    return gauge(gateway, "tollgate_ledger_waiting_bytes")


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
    outage = OUTAGE_S + 3 * killed     # a start waits a moment for the lock before it serves
    is_over = threading.Event()
    locker = threading.Thread(target=lock_ledger, args=(gateway, outage, is_over))
    locker.start()
    load = Load(gateway, 8)
    time.sleep(OUTAGE_S / 2)
    if killed:
        gateway.kill()
        load.stop()
        gateway.start()     # it serves, and opens the ledger once it can
        assert gateway.admin("/readyz", token=False).status == 503
    most = wait_for("the gauge to say what waits", lambda: waiting(gateway), 20)
    resident = memory_kb(gateway)
    is_over.set()
    while locker.is_alive():
        most = max(most, waiting(gateway))
        time.sleep(0.1)
    locker.join()
    load.stop()
    books = settled_books(gateway, provider, load.answered)
    assert waiting(gateway) == 0
    grown = memory_kb(gateway) - resident
    assert grown < (256 if is_sanitized() else 64) * 1024   # a sanitizer keeps what was freed
    say(f"ledger locked {outage:g} s: {books}; at most {most} bytes waited, memory "
        f"{grown:+d} KiB")


def test_c9_taken_in_twice_is_taken_once(gateways, provider):
    """A journal that is put back, as from a backup, adds nothing."""
    gateway = gateways()
    load = Load(gateway, 4)
    wait_for("answers", lambda: len(load.answered) > 10, 30)
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


def memory(gateway):
    """KiB in use, less what has a bound of its own: the ledger's pages, and its names; those; what
    malloc keeps beside. The whole is what the system has given."""
    with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as file:
        anonymous = int(re.search(r"RssAnon:\s+(\d+)", file.read())[1])
    used, kept, pages, names = (gauge(gateway, f"tollgate_{what}_bytes") // 1024 for what in (
        "heap_used", "heap_kept", "ledger_page", "ledger_name"))
    assert pages < PAGES_MAX_KB and names < NAMES_MAX_KB and kept < KEPT_MAX_KB
    assert is_sanitized() or anonymous < used + kept + STACKS_KB, "memory that malloc knows nothing of"
    return used - pages - names, pages, names, kept


PAGES_MAX_KB = 22 * 1024  # INGEST_PAGES_BYTES, and what a transaction needs on top
NAMES_MAX_KB = 26 * 1024  # four tables of INGEST_NAMES_BYTES and of places
KEPT_MAX_KB = 64 * 1024   # up to 8 MiB at the end of a thread's heap, and holes
STACKS_KB = 8 * 1024      # and other memory that is not malloc's
PAGE_SHARE = 0.15         # of a page, that holding it costs beside its bytes
SERIES_MAX = 6000         # five gauges of at most 1,000 scopes, and what is always there
NAMES_ALL = 80000         # numbers of junk after which all that remembers names is full
FULL_MAX_KB = 48 * 1024   # of memory that remembering them takes, beside the ledger's
MORE_NAMES = 20000        # then
ROUND = 50                # numbers of junk
FLAT_KB = 512             # rounds that are alike may differ by so much

JUNK = """
local n = %d
wrk.method = "POST"
local headers, body = {%s}, [[%s]]
request = function()
    n = n + 1
    headers["X-Tollgate-Feature"], headers["X-Tollgate-Task"] = "w-" .. n, "w-task-" .. n
    headers["X-Tollgate-Customer"], headers["X-Tollgate-Tags"] = "w-customer-" .. n, "w" .. n .. "=" .. n
    return wrk.format("POST", "%s", headers, (string.gsub(body, "MODEL", "w-model-" .. n)))
end
"""


class Soak:
    """Rounds of junk, aborts and a reload; a sample after each, when nothing runs."""

    def __init__(self, gateway, folder):
        self.gateway = gateway
        self.folder = folder
        self.number = 0        # of the junk that wrk sent
        self.samples = []      # memory, descriptors, series
        self.sent = 0

    def sample(self, looks=1):
        """The least of some looks: who reads all counters (alerts) holds their names meanwhile."""
        found = []
        for _ in range(looks):
            time.sleep(0.3 * looks)   # what the last request had goes with it
            found.append(memory(self.gateway))
        self.samples.append((min(found), descriptors(self.gateway), series(self.gateway)))
        return self.samples[-1][0]

    def round(self):
        load = Load(self.gateway, 4, seed=1, sim={"Event_Delay_Ms": 0})
        with self.gateway.connect(timeout=30) as connection:
            for number in range(ROUND):
                junk(self.gateway, connection, number)
        self.gateway.reload()
        self.sent += load.stop().sent + ROUND
        return self.sample()

    def rounds(self, seconds, least):
        end, got = time.monotonic() + seconds, []
        while time.monotonic() < end or len(got) < least:
            got.append(self.round())
        return got

    def new_names(self, until):
        """As many names as it takes, none of which was seen before."""
        call = calls.chat(model="MODEL")
        headers = ", ".join(f'["{k}"] = "{v}"' for k, v in call.headers())
        script = self.folder / "junk.lua"
        while self.number < until:
            script.write_text(JUNK % (self.number, headers, call.data().decode(), call.full_path()))
            said = subprocess.run(["wrk", "-t1", "-c16", "-d3", "-s", str(script), self.gateway.url],
                                  stdout=subprocess.PIPE, text=True, check=True).stdout
            assert "Non-2xx" not in said, said
            self.number += int(re.search(r"(\d+) requests in", said)[1]) + 64
        self.sent += self.number
        wait_for("the ledger to have them", lambda: waiting(self.gateway) == 0, 60, 0.2)
        return self.sample(looks=4)


def middle(found):
    return statistics.median(each[0] for each in found)


@pytest.mark.slow
def test_c33_soak(gateways, provider, own_redis, tmp_path, say):
    """Aborts, junk and reloads (an hour by hand: TOLLGATE_SOAK_S=3600): nothing grows.

    Once what remembers names is full, further names take no memory; and rounds that are all alike
    take none, whatever the number of requests and reloads.
    """
    seconds = float(os.environ.get("TOLLGATE_SOAK_S", "15"))
    gateway = gateways(redis=own_redis, limits=[DAY, {
        "name": "per-feature", "unit": "requests", "limit": 1000000, "window": "day",
        "per": ["feature"]}])
    soak = Soak(gateway, tmp_path)
    warm = soak.rounds(0, 6)[-1]
    if shutil.which("wrk"):
        full = soak.new_names(NAMES_ALL)
        more = soak.new_names(soak.number + MORE_NAMES)
        say(f"{soak.number} new names of each kind: in use {warm[0]} to {full[0]} KiB, then {more[0]}; "
            f"the ledger's pages {more[1]}, its names {more[2]}, kept by malloc {more[3]} beside")
        if not is_sanitized():
            assert full[0] - warm[0] < FULL_MAX_KB, "remembering names has no bound"
            assert more[0] - full[0] < FLAT_KB + PAGE_SHARE * (more[1] - full[1]), "names take memory"
    alike = soak.rounds(seconds, 12)
    part = len(alike) // 4
    begin, end = alike[part:2 * part], alike[-part:]
    grown, pages = middle(end) - middle(begin), end[-1][1] - begin[0][1]
    fds = [s[1] for s in soak.samples]
    say(f"{soak.sent} calls, {len(soak.samples)} reloads: {len(alike)} rounds alike in {seconds:g} s, in "
        f"use {alike[0][0]} to {alike[-1][0]} KiB, {grown:+.0f}; the ledger's pages {alike[-1][1]}, its "
        f"names {alike[-1][2]}, kept by malloc {max(s[3] for s in alike)} beside; descriptors {min(fds)} "
        f"to {max(fds)}; at most {max(s[2] for s in soak.samples)} series")
    assert is_sanitized() or grown < FLAT_KB + PAGE_SHARE * pages, "memory grows"
    assert max(fds[-len(alike) // 2:]) <= max(fds[:-len(alike) // 2]) + 5 and max(fds) < 250, "descriptors grow"
    assert max(s[2] for s in soak.samples) < SERIES_MAX, "label sets are not capped"


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
        what = chance.choice(["killed", "killed", "paused", "emptied", "stopped", "both"])
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
        elif what == "both":    # the next one has nothing but its ledger to go on with
            own_redis.kill()
            gateway.kill()
            gateway.start()
            time.sleep(0.4)
            own_redis.start()
            kills += 1
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
