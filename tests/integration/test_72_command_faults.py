"""Every allocation and every system call of a command that writes fails once.

Prices are applied anew, with the gateway running and without it; a month is closed; counts are imported, and other
gateways' ledgers; what is derived is made anew. Whatever fails: the command says what it could not do and nothing has
changed, or all of it is there; the same again without a fault ends where it ends without any; then the audit agrees.
Commands that only read say the same as without a fault, or what they could not do, and never that something is at
fault which is whole.

TOLLGATE_FAULTS=all walks through all of them; else a sample. TOLLGATE_FAULTS_SEED chooses it.
"""

import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time
from datetime import datetime, timedelta, timezone

import pytest

from kit import calls, fault_walk, faults
from kit.procs import Gateway, provider_binary, run_cli, wait_for

HISTORY = os.path.join(os.path.dirname(provider_binary()), "history")
SAMPLE_CALLS = 2         # of each mode
SAMPLE_ALLOCATIONS = 12
SAMPLE_LOCKS = 2
CALLS_A_DAY = 12
EIO = 1                  # the mode in which pread fails so
LOCKED = 1               # the mode in which a lock is another's
LOCKED_S = 60            # a lock is waited for ten seconds, some commands for two of them
LIVE = 5                 # requests whose prices change again and again
REFUSALS = r"^tollgate [a-z ]+: (\S+: )?(could not \w+ \S+|out of memory)"
# No system says that a file ends in its middle, and SQLite takes the rest for zeros.
MODES = [mode for mode in faults.MODES if mode != faults.END]

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(faults.missing() is not None, reason=str(faults.missing())),
              pytest.mark.skipif(not os.path.exists(HISTORY), reason=f"no {HISTORY}")]

# What is there of each request, and what is derived of it.
QUESTIONS = [
    "SELECT hex(r.id), l.start_us, l.end_us, l.cost_nano, l.cost_rest FROM record r LEFT JOIN line l USING(seq) "
    "ORDER BY 1",
    "SELECT hex(record), hex(r.id) FROM correction JOIN record r USING(seq) ORDER BY 1, 2",
    "SELECT level, bucket, count(*), sum(cost_nano), sum(requests) FROM rollup GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT name, outcome, closed_us, first_us, last_us FROM task ORDER BY 1"]


def book(price):
    return {"schema": "tollgate-prices/1", "currency": "USD",
            "sources": {"made": {"what": "made", "published": "2026-01-01", "retrieved": "2026-01-01"}},
            "units": {name: {"per": 1000000, "of": "token", "dir": name} for name in ("in", "out")},
            "providers": {"openai": {"models": [
                {"id": "gpt-4o", "kind": "chat",
                 "prices": [{"from": None, "to": None, "rates": {"in": price, "out": "8"}}],
                 "prov": {"src": "made", "confidence": "confirmed"}}]}}}


def with_book(gateways, folder):
    prices = folder / "own-book.json"
    prices.write_text(json.dumps(book("2")))
    config = gateways.config(workers=1)
    config["prices"] = {"book": [str(prices)]}
    return config


def rows_of(path):
    """Empty: nothing is begun."""
    if not os.path.exists(path):
        return []
    db = sqlite3.connect(path)
    try:
        return [db.execute(question).fetchall() for question in QUESTIONS]
    except sqlite3.OperationalError as problem:
        if "no such table" not in str(problem):
            raise
        return []
    finally:
        db.close()


class Past:
    """Folders in which a command has something to do."""

    def __init__(self, folder):
        today = datetime.now(timezone.utc)
        self.month = (today.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
        self.empty = str(folder / "empty")
        os.mkdir(self.empty)
        self.folder = str(folder / "past")
        subprocess.run([HISTORY, self.folder, str(today.day + 3), str(CALLS_A_DAY)], check=True)
        self.ledger = os.path.join(self.folder, "ledger.db")
        self.damaged = str(folder / "damaged")
        shutil.copytree(self.folder, self.damaged)
        with sqlite3.connect(os.path.join(self.damaged, "ledger.db")) as db:
            db.execute("UPDATE rollup SET cost_nano=cost_nano+1 WHERE level=1")
            db.execute("DELETE FROM line WHERE seq=4")
        self.counts = str(folder / "counts.csv")
        with open(self.counts, "w", encoding="ascii") as file:
            file.write(f"date,unit,count\n{self.month},order,7\n{self.month},case,12\n")


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    return Past(tmp_path_factory.mktemp("past"))


class Written(fault_walk.Commands):
    """A command on a copy of a folder in which it has something to do."""

    long_max = 400
    begins = ""          # a file: what is read before it is walked by test_72_start_faults
    codes = (2,)
    steps = False        # it writes in steps, each of them whole

    def __init__(self, gateways, certs, folder, past):
        super().__init__(type(self).__name__, folder, "main", self.begins)
        self.past = past
        self.gateway = Gateway(folder / "written", with_book(gateways, folder), certs, start=False)
        self.state = os.path.join(self.gateway.folder, "var")
        self.ledger = os.path.join(self.state, "ledger.db")
        self.prepare()
        self.before = self.held()
        done = self.run()
        assert done.returncode == 0, done.stdout + done.stderr
        self.after = self.held()
        assert self.before != self.after

    def fixture(self):
        return self.past.folder

    def words(self):
        raise NotImplementedError

    def held(self):
        """What the command changes."""
        return rows_of(self.ledger)

    def is_good_again(self, done, was_done):
        """So ends the same command after it."""
        return done.returncode == 0

    def prepare(self):
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.fixture(), self.state)

    def run(self, env=None):
        return run_cli(*self.words(), "-c", self.gateway.config_path, cwd=self.gateway.folder,
                       env=self.faults.env if env is None else env)

    def count_once(self):
        self.prepare()
        super().count_once()

    def is_whole(self, at):
        done = run_cli("audit", "-c", self.gateway.config_path, cwd=self.gateway.folder)
        if done.returncode != 0:
            self.problems.append(f"{at}: the audit: {done.stdout}{done.stderr}")

    def judge(self, kind, fired, at, done):
        good = self.see_end(kind, fired, at, done, REFUSALS)
        held = self.held()
        if held != self.after and (good or held != self.before) and not (self.steps and not good):
            self.problems.append(f"{at}: exit {done.returncode}: neither all nor nothing is there\n{done.stderr}")
        self.counts["refused, yet there"] += not good and held == self.after
        if self.steps and held not in ([], self.before):
            self.is_whole(at)
        again = self.run({})
        if not self.is_good_again(again, held == self.after) or self.held() != self.after:
            self.problems.append(f"{at}: again: exit {again.returncode}\n{again.stdout}{again.stderr}")
        self.is_whole(at)


class Reprice(Written):
    """Nobody else has the ledger open."""

    begins = "/ledger.db"

    def words(self):
        return ["price", "reprice", "--apply", "--reason", "half"]

    def judge(self, kind, fired, at, done):
        # The system has said that a gateway runs, which is to take it from the journal.
        if fired.what == "flock" and done.returncode == 0 and "they are in the journal" in done.stderr:
            self.gateway.start()
            wait_for("it is taken", lambda: self.held() == self.after, 10)
            self.gateway.stop()
            self.counts["by the journal"] += 1
        super().judge(kind, fired, at, done)


class Close(Written):
    begins = "/closed/lock"

    def words(self):
        return ["close", "--month", self.past.month, "--force"]

    def held(self):
        folder = os.path.join(self.state, "closed", self.past.month)
        return sorted(os.listdir(folder)) if os.path.exists(folder) else []

    def is_good_again(self, done, was_done):
        return (done.returncode, "closed already" in done.stderr) == ((1, True) if was_done else (0, False))

    def is_whole(self, at):
        done = run_cli("close", "--verify", "-c", self.gateway.config_path, cwd=self.gateway.folder)
        if done.returncode != 0 or f"{self.past.month}  good" not in done.stdout:
            self.problems.append(f"{at}: {done.stdout}{done.stderr}")


class Counts(Written):
    begins = "/counts.csv"

    def words(self):
        return ["import", "counts", self.past.counts]

    def held(self):
        path = os.path.join(self.state, "books", "counts.csv")
        if not os.path.exists(path):
            return None
        with open(path, encoding="ascii") as file:
            return file.read()

    def is_whole(self, at):
        pass


class Repair(Written):
    begins = "/journal/lock"

    def fixture(self):
        return self.past.damaged

    def words(self):
        return ["audit", "--repair"]


class Take(Written):
    begins = "/journal/lock"
    codes = (1, 2)
    steps = True

    def fixture(self):
        return self.past.empty

    def words(self):
        return ["import", "ledger", self.past.ledger]


COMMANDS = [Reprice, Close, Counts, Repair, Take]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_call_fails(gateways, certs, tmp_path, past, say, command):
    walk = command(gateways, certs, tmp_path, past)
    for mode in MODES:
        walk.walk(faults.CALL, mode, SAMPLE_CALLS)
    walk.check(say)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_allocation_fails(gateways, certs, tmp_path, past, say, command):
    walk = command(gateways, certs, tmp_path, past)
    walk.walk(faults.ALLOCATION, 0, SAMPLE_ALLOCATIONS)
    walk.check(say)


class Asked(fault_walk.Commands):
    """A command that only reads."""

    long_max = 400

    def __init__(self, gateways, certs, folder, past, words, begins):
        super().__init__(" ".join(words), folder, "main", begins)
        self.words = words
        self.gateway = Gateway(folder / "asked", with_book(gateways, folder), certs, start=False)
        state = os.path.join(self.gateway.folder, "var")
        shutil.copytree(past.folder, state)
        run_cli("close", "--month", past.month, "--force", "-c", self.gateway.config_path, cwd=self.gateway.folder)
        self.said = self.run({})
        assert self.said.returncode == 0, self.said.stdout + self.said.stderr

    def run(self, env=None):
        return run_cli(*self.words, "-c", self.gateway.config_path, cwd=self.gateway.folder,
                       env=self.faults.env if env is None else env)

    def judge(self, kind, fired, at, done):
        if fired.error == errno.ENOENT and done.returncode == 1 and " is missing" in done.stdout:
            self.counts["missing"] += 1   # as the system said
        elif self.see_end(kind, fired, at, done, REFUSALS) and done.stdout != self.said.stdout:
            self.problems.append(f"{at}: it says\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


@pytest.mark.parametrize("kind", [faults.CALL, faults.ALLOCATION], ids=["calls", "allocations"])
@pytest.mark.parametrize("words, begins", [
    (["audit"], "/ledger.db"), (["close", "--verify"], "/manifest.json"),
    (["export", "--format", "jsonl"], "/ledger.db")], ids=["audit", "verify", "export"])
def test_what_only_reads_fails(gateways, certs, tmp_path, past, say, words, begins, kind):
    walk = Asked(gateways, certs, tmp_path, past, words, begins)
    for mode in MODES if kind == faults.CALL else [0]:
        walk.walk(kind, mode, SAMPLE_CALLS if kind == faults.CALL else SAMPLE_ALLOCATIONS)
    walk.check(say)


@pytest.mark.parametrize("command", [None, Repair, Take], ids=["audit", "repair", "take"])
def test_locks_that_are_never_had(gateways, certs, tmp_path, past, say, command):
    """From one of them on every lock is another's, without end: the command gives up and says so."""
    walk = command(gateways, certs, tmp_path, past) if command else \
        Asked(gateways, certs, tmp_path, past, ["audit"], "/ledger.db")
    total, places, longest = walk.total(faults.CALL, LOCKED), [], 0.0
    for after in range(0, total, 1 if fault_walk.ALL else max(1, total // 40)):
        walk.prepare()
        walk.faults.arm(faults.CALL, LOCKED, after)
        walk.run()
        if walk.faults.disarm().what in ("lock", "flock"):
            places.append(after)
    assert len(places) >= SAMPLE_LOCKS
    for after in places if fault_walk.ALL else random.Random(fault_walk.SEED).sample(places, SAMPLE_LOCKS):
        walk.prepare()
        walk.faults.arm(faults.CALL, LOCKED, after, faults.LEFT_NONE)
        began = time.monotonic()
        done = walk.run()
        longest = max(longest, time.monotonic() - began)
        fired = walk.faults.disarm()
        walk.counts["fired"] += fired.fired > 0
        walk.see_end(faults.CALL, fired, f"{walk.name} {after}: {fired}", done, REFUSALS)
    walk.check(say)
    assert longest < LOCKED_S
    say(f"{walk.name}: {len(places)} locks, the longest wait for one that never comes {longest:.0f} s")


def test_a_disk_that_does_not_read_is_no_damage(gateways, certs, tmp_path, past):
    """SQLite itself says of a page that the disk did not give that the database is malformed."""
    walk = Asked(gateways, certs, tmp_path, past, ["audit"], "/ledger.db")
    total, unread = walk.total(faults.CALL, EIO), 0
    for after in range(0, total, max(1, total // 20)):
        walk.faults.arm(faults.CALL, EIO, after)
        done = walk.run()
        if walk.faults.disarm().what == "pread":
            unread += 1
            assert done.returncode == 2 and "Input/output error" in done.stderr, done.stdout + done.stderr
            assert "malformed" not in done.stderr and "does not agree" not in done.stdout, done.stderr
    assert unread > 5


class Live(fault_walk.Commands):
    """Prices of some requests go up and down again while their gateway runs."""

    long_max = 200

    def __init__(self, gateways, folder):
        super().__init__("reprice, live", folder, "main", "/ledger.db")
        self.book = folder / "own-book.json"
        self.rounds = 0
        self.gateway = gateways(with_book(gateways, folder))
        for _ in range(LIVE):
            assert calls.send(self.gateway, calls.chat(model="gpt-4o", words=10)).status == 200
        self.gateway.records(LIVE)
        self.first = self.cost()
        self.prices = ["2", "4"]
        self.prepare()
        assert self.run().returncode == 0
        self.costs = {"2": self.first, "4": self.cost()}
        assert self.costs["4"] > self.first

    def price(self, price):
        self.book.write_text(json.dumps(book(price)))

    def cost(self):
        with sqlite3.connect(os.path.join(self.gateway.folder, "var", "ledger.db")) as db:
            return db.execute("SELECT sum(cost_nano) FROM line").fetchone()[0]

    def prepare(self):
        self.prices.reverse()
        self.price(self.prices[0])
        self.rounds += 1

    def run(self, env=None):
        return run_cli("price", "reprice", "--apply", "--reason", "up and down", "-c", self.gateway.config_path,
                       cwd=self.gateway.folder, env=self.faults.env if env is None else env)

    def judge(self, kind, fired, at, done):
        good = self.see_end(kind, fired, at, done, REFUSALS)
        cost = self.cost()
        if cost != self.costs[self.prices[0]] and (good or cost != self.costs[self.prices[1]]):
            self.problems.append(f"{at}: exit {done.returncode}: {cost} of {self.costs}\n{done.stderr}")
        again = self.run({})
        if again.returncode != 0 or self.cost() != self.costs[self.prices[0]]:
            self.problems.append(f"{at}: again: {self.cost()} of {self.costs}\n{again.stdout}{again.stderr}")

    def check(self, say):
        super().check(say)
        records = self.gateway.export()
        assert len(records) <= LIVE * (1 + self.rounds), "a correction is there twice"
        done = run_cli("audit", "-c", self.gateway.config_path, cwd=self.gateway.folder)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", [faults.CALL, faults.ALLOCATION], ids=["calls", "allocations"])
def test_repricing_beside_its_gateway_fails(gateways, tmp_path, say, kind):
    walk = Live(gateways, tmp_path)
    for mode in MODES if kind == faults.CALL else [0]:
        walk.walk(kind, mode, SAMPLE_CALLS if kind == faults.CALL else SAMPLE_ALLOCATIONS)
    walk.check(say)
