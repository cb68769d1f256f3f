"""Every allocation and every system call of a start after a crash fails once, and for a while.

What the crash left has something of everything: records that the ledger has, has not, and has in part, requests that
were under way, outcomes, refusals, thresholds, corrections of prices, parts that records share, a damaged entry, a torn
end, a request whose end is in another segment, a segment that never got its name. Once the ledger is there as the crash
left it, once it has to be made of the journal alone.

Either the process refuses to start and says why, and the next start recovers everything, or it starts and the ledger
is complete without another: every request, refusal, outcome, threshold and correction once.

TOLLGATE_FAULTS=all walks through all of them; else a sample. TOLLGATE_FAULTS_SEED chooses it.
"""

import errno
import glob
import json
import os
import shutil
import signal
import struct
import subprocess
import time

import pytest

from conftest import Gateways
from kit import calls, client, fault_walk, faults
from kit.ledger_work import POOR, Work, database, with_poor
from kit.marked import Books, Load
from kit.procs import run_cli, wait_for

SAMPLE_CALLS = 2         # of each mode
SAMPLE_ALLOCATIONS = 6
COMPLETE_S = 10
SOON_S = 2
EACCES = 4               # the mode in which a lock fails so
WHILE_S = 0.5
HEADER, OVERHEAD, BEGIN, END, OUTCOME, CROSSED = 16, 9, 1, 2, 3, 5
PARTS, COMMON = 0x7F, 0x7E
THRESHOLDS, CORRECTIONS = "/w0998-*.tgj", "/w0999-*.tgj"
MARKS = {"name": "marks", "unit": "requests", "limit": 100, "window": "month", "mode": "warn",
         "alerts": [1, 2, 4]}
LAST = 5                 # asked for, and reached, when the journal alone can take it
# What the system said was not so, or could not be done: the next start sees to it. A segment without its name has
# nothing in it; of a segment on which somebody writes requests are still under way.
FOR_THE_NEXT = {("unlinkat", errno.EIO), ("flock", errno.EAGAIN)}

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(faults.missing() is not None, reason=str(faults.missing()))]


def hang(gateway, call):
    """A request whose answer never comes."""
    number = next(Load.numbers)
    connection = gateway.connect(timeout=60)
    connection.send(client.request_bytes("POST", call.full_path(), call.headers(
        tags=[("X-Tollgate-Task", f"call-{number}")], sim={"Input_Tokens": number, "Hang": 1}), call.data()))
    return connection


def entries(data):
    """Kind and bytes of each entry of a segment that is whole."""
    at = HEADER
    while at + OVERHEAD <= len(data):
        size, _, kind = struct.unpack_from("<IIB", data, at)
        yield kind, data[at:at + OVERHEAD + size]
        at += OVERHEAD + size


def begin_of(data):
    """The first BEGIN that is whole."""
    return next(entry for kind, entry in entries(data) if kind == BEGIN and entry[OVERHEAD] not in (PARTS, COMMON))


def kinds(path):
    with open(path, "rb") as file:
        return [kind for kind, _ in entries(file.read())]


def damage(journal):
    """A torn end, a damaged entry before one that is whole, a segment without its name."""
    paths = sorted(glob.glob(journal + "/w*.tgj"), key=os.path.getsize)
    with open(paths[-1], "r+b") as file:
        data = file.read()
        file.write(struct.pack("<IIB", 300, 0x7E57, 2) + b"half of an entry")
    name = os.path.basename(paths[-1])
    bad = struct.pack("<IIB", 5, 0x7E57, OUTCOME) + b"hello"
    another = name[:name.rindex("-")] + "-99999999.tgj"   # of the same worker: no other ends its requests
    with open(os.path.join(journal, another), "wb") as file:
        file.write(data[:HEADER] + bad + begin_of(data))
    with open(os.path.join(journal, "w9998" + name[name.index("-"):] + ".tmp"), "wb") as file:
        file.write(data[:HEADER])


# Of what the ledger holds all that can be told apart; what is derived of it is for the audit.
QUESTIONS = [
    "SELECT hex(r.id), l.start_us, l.end_us, l.cost_nano, l.cost_rest, o.text FROM line l JOIN record r USING(seq) "
    "JOIN combo c ON c.id=l.combo LEFT JOIN word o ON o.id=c.model ORDER BY 1",
    "SELECT b.text, k.text, l.text, sum(count) FROM denied d JOIN word b ON b.id=code JOIN word k ON k.id=d.key "
    "JOIN word l ON l.id=limit_name GROUP BY 1, 2, 3",
    "SELECT name, outcome, closed_us FROM task ORDER BY 1",
    "SELECT percent, amount, spent FROM crossing WHERE percent >= ? ORDER BY 1",
    "SELECT name, value FROM state WHERE name IN ('torn_tails', 'torn_bytes', 'interrupted') ORDER BY 1",
]


CROSSINGS = 3


def held(gateway, first_percent=0):
    db = database(gateway)
    try:
        return [db.execute(question, (first_percent,) if i == CROSSINGS else ()).fetchall()
                for i, question in enumerate(QUESTIONS)]
    finally:
        db.close()


class Wreck:
    """What a crash left: the folder, and what a start without a fault makes of it."""

    def __init__(self, folder, certs, provider):
        gateways = Gateways(folder, certs, provider)
        self.folder = str(folder / "wreck")
        gateway = gateways(with_poor(gateways.config(workers=2, limits=[MARKS], alerts={"every_seconds": 1})))
        self.make(gateway)
        self.config = gateway.config
        shutil.copytree(os.path.join(gateway.folder, "var"), self.folder)
        gateway.start()
        wait_for("the journal is taken in", lambda: not left(gateway), COMPLETE_S)
        books = Books(gateway, provider)
        self.corrections = [r for r in books.records if "corrects" in r]
        books.records = [r for r in books.records if "corrects" not in r]
        books.check(self.work.answered)
        self.held = held(gateway)
        self.check()
        gateways.finish()

    def make(self, gateway):
        self.work = Work(gateway)
        assert self.work.say(calls.chat(), POOR) == 200
        assert all(self.work.round() for _ in range(4))
        waiting = [hang(gateway, calls.chat())]
        wait_for("all is ingested", lambda: len(gateway.export()) == len(self.work.answered), COMPLETE_S)
        self.corrected = len(self.work.answered)
        wait_for("refusals are written down", lambda: self.work.noted()[0] == self.work.refused, 25, 0.2)
        db = database(gateway)
        wait_for("the thresholds", lambda: len(db.execute(QUESTIONS[CROSSINGS], (0,)).fetchall()) ==
                 len(MARKS["alerts"]), 10, 0.2)
        db.execute("BEGIN IMMEDIATE")
        self.reach_last(gateway)
        assert all(self.work.round() for _ in range(4))
        for shape in ("messages", "generate", "responses-stream", "chat"):
            assert self.work.say(calls.SHAPES[shape]()) == 200
        waiting += [hang(gateway, calls.SHAPES[shape]()) for shape in ("chat", "messages", "chat")]
        written = time.monotonic() + 11   # a worker writes its refusals down every ten seconds
        self.correct(gateway)
        time.sleep(max(0.0, written - time.monotonic()))
        gateway.kill()
        db.close()
        for connection in waiting:
            connection.close()
        journal = os.path.join(gateway.folder, "var", "journal")
        assert sum(kinds(path).count(END) for path in glob.glob(journal + CORRECTIONS)) == self.corrected
        damage(journal)

    def reach_last(self, gateway):
        """A threshold that is noted where nobody can take it from the journal yet."""
        marks = {**MARKS, "alerts": MARKS["alerts"] + [LAST]}
        gateway.config["limits"] = [marks if limit == MARKS else limit for limit in gateway.config["limits"]]
        gateway.write()
        gateway.process.signal(signal.SIGHUP)
        wait_for("the last threshold is noted", lambda: [kinds(path) for path in glob.glob(
            os.path.join(gateway.folder, "var", "journal") + THRESHOLDS)] == [[CROSSED]], 10, 0.1)

    def correct(self, gateway):
        """Corrections of what the ledger holds: nobody can take them from the journal yet."""
        path = os.path.join(gateway.folder, "cheaper.json")
        with open(path, "w", encoding="ascii") as file:
            json.dump({**gateway.config, "prices": {**gateway.config["prices"], "rules": [
                {"match": {"upstream": "*"}, "multiplier": "0.5"}]}}, file)
        done = run_cli("price", "reprice", "-c", path, "--apply", "--reason", "half", cwd=gateway.folder)
        assert done.returncode == 0 and "they are in the journal" in done.stderr, done.stdout + done.stderr

    def check(self):
        records, denied, tasks, crossings, state = self.held
        assert len(self.corrections) == self.corrected
        assert len(records) == len(self.work.answered) + 4 + self.corrected
        assert [row[3] for row in denied] == [self.work.refused]
        assert sum(row[1] != 0 for row in tasks) == self.work.outcomes
        assert [row[0] for row in crossings] == MARKS["alerts"] + [LAST]
        assert dict(state)["interrupted"] == 4 and dict(state)["torn_tails"] == 2, state


def left(gateway):
    """Segments of earlier processes."""
    pid = gateway.process.pid
    return [name for name in os.listdir(os.path.join(gateway.folder, "var", "journal"))
            if name.endswith((".tgj", ".tmp", ".bad")) and not is_held(gateway, pid, name)]


def is_held(gateway, pid, name):
    path = os.path.realpath(os.path.join(gateway.folder, "var", "journal", name))
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            flags = open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii").read().split("flags:")[1].split()[0]
        except OSError:
            continue
        if target == path and int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
            return True
    return False


@pytest.fixture(scope="module")
def wreck(tmp_path_factory, certs, shared_provider):
    shared_provider.reset()
    return Wreck(tmp_path_factory.mktemp("wreck"), certs, shared_provider)


class Walk(fault_walk.Starts):
    """Starts on what the crash left."""

    long_max = 400
    sample_whiles = 3

    def __init__(self, gateways, folder, wreck, has_ledger, begins=""):
        super().__init__("with the ledger" if has_ledger else "from the journal alone", folder, "main", begins,
                         gateways, wreck.config, wreck.folder)
        self.has_ledger = has_ledger
        # Thresholds are noted in segments of their own; those that have gone are seen again.
        self.first_percent = 0 if has_ledger else LAST
        self.held = [[row for row in rows if i != CROSSINGS or row[0] >= self.first_percent]
                     for i, rows in enumerate(wreck.held)]
        self.prepare()
        self.count_once()

    def prepare(self):
        super().prepare()
        if not self.has_ledger:
            for path in glob.glob(os.path.join(self.state, "ledger.db*")):
                os.unlink(path)

    def count_once(self):
        self.gateway.start()
        self.stop()

    def stop(self):
        wait_for("the ledger is complete", self.is_complete, COMPLETE_S)
        self.finish()

    def is_complete(self):
        return held(self.gateway, self.first_percent) == self.held and not left(self.gateway)

    def is_soon(self):
        try:
            return wait_for("the ledger is complete", self.is_complete, SOON_S)
        except AssertionError:
            return False

    def during(self, serves, times, mode, at):
        if serves and times > 1:
            time.sleep(WHILE_S)

    def judge(self, kind, fired, at):
        try:
            if (fired.what, fired.error) in FOR_THE_NEXT and not self.is_soon():
                self.finish()
                self.counts["for the next"] += 1
                self.gateway.start()
            self.stop()
        except (AssertionError, subprocess.TimeoutExpired) as problem:
            now = held(self.gateway, self.first_percent)
            parts = [f"{sorted(set(now[i]) ^ set(self.held[i]))}" for i in range(len(now)) if now[i] != self.held[i]]
            self.problems.append(f"{at()}: {problem}: {parts} {left(self.gateway)}\n{self.gateway.log()[-2000:]}")
            self.gateway.process.kill()
            self.gateway.processes.remove(self.gateway.process)
            return
        self.audit(at)


@pytest.mark.parametrize("has_ledger", [True, False], ids=["ledger", "journal alone"])
def test_every_call_fails(gateways, tmp_path, wreck, say, has_ledger):
    walk = Walk(gateways, tmp_path, wreck, has_ledger)
    for mode in faults.MODES:
        walk.walk(faults.CALL, mode, SAMPLE_CALLS)
    walk.whiles()
    walk.check(say)


@pytest.mark.parametrize("has_ledger", [True, False], ids=["ledger", "journal alone"])
def test_every_allocation_fails(gateways, tmp_path, wreck, say, has_ledger):
    walk = Walk(gateways, tmp_path, wreck, has_ledger, "/journal")
    walk.walk(faults.ALLOCATION, 0, SAMPLE_ALLOCATIONS)
    walk.whiles()
    walk.check(say)


def test_locks_that_fail_for_a_while_put_no_start_off(gateways, tmp_path, wreck, say):
    """SQLite tries ten seconds for each: there may not be one for each segment that was taken in."""
    walk = Walk(gateways, tmp_path, wreck, False)
    total = walk.total(faults.CALL, EACCES)
    late = next(after for after in range(total * 2 // 3, total)
                if walk.round(faults.CALL, EACCES, after).what == "lock")
    walk.round(faults.CALL, EACCES, late, faults.LEFT_NONE)
    walk.check(say)
