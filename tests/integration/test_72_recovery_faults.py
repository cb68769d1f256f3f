"""Every allocation and every system call of a start after a crash fails once, and for a while.

What the crash left has something of everything: records that the ledger has, has not, and has in part, requests that
were under way, outcomes, refusals, thresholds, parts that records share, a damaged entry, a torn end, a request
whose end is in another segment, a segment that never got its name. Once the ledger is there as the crash left it, once
it has to be made of the journal alone.

Either the process refuses to start and says why, and the next start recovers everything, or it starts and the ledger
is complete without another: every request, refusal, outcome and threshold once.

TOLLGATE_FAULTS=all walks through all of them; else a sample. TOLLGATE_FAULTS_SEED chooses it.
"""

import errno
import glob
import os
import random
import re
import shutil
import struct
import subprocess
import time

import pytest

from conftest import Gateways
from kit import calls, client, fault_walk, faults
from kit.fault_walk import ALL, SEED
from kit.ledger_work import POOR, Work, database, with_poor
from kit.marked import Books, Load
from kit.procs import run_cli, wait_for

SAMPLE_CALLS = 2         # of each mode
SAMPLE_ALLOCATIONS = 6
SAMPLE_WHILES = 3
COMPLETE_S = 10
WHILE_S = 0.5
HEADER, OVERHEAD, BEGIN, OUTCOME = 16, 9, 1, 3
PARTS, COMMON = 0x7F, 0x7E
MARKS = {"name": "marks", "unit": "requests", "limit": 100, "window": "month", "mode": "warn",
         "alerts": [1, 2, 4]}

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(faults.missing() is not None, reason=str(faults.missing()))]


def hang(gateway, call):
    """A request whose answer never comes."""
    number = next(Load.numbers)
    connection = gateway.connect(timeout=60)
    connection.send(client.request_bytes("POST", call.full_path(), call.headers(
        tags=[("X-Tollgate-Task", f"call-{number}")], sim={"Input_Tokens": number, "Hang": 1}), call.data()))
    return connection


def begin_of(data):
    """The first entry: a whole BEGIN."""
    size, _, kind = struct.unpack_from("<IIB", data, HEADER)
    assert kind == BEGIN and data[HEADER + OVERHEAD] not in (PARTS, COMMON)
    return data[HEADER:HEADER + OVERHEAD + size]


def damage(journal):
    """A torn end, a damaged entry before one that is whole, a segment without its name."""
    paths = sorted(glob.glob(journal + "/w*.tgj"), key=os.path.getsize)
    with open(paths[-1], "r+b") as file:
        data = file.read()
        file.write(struct.pack("<IIB", 300, 0x7E57, 2) + b"half of an entry")
    name = os.path.basename(paths[-1])
    bad = struct.pack("<IIB", 5, 0x7E57, OUTCOME) + b"hello"
    with open(os.path.join(journal, "w9999" + name[name.index("-"):]), "wb") as file:
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
    "SELECT percent, amount, spent FROM crossing ORDER BY 1",
    "SELECT name, value FROM state WHERE name IN ('torn_tails', 'torn_bytes', 'interrupted') ORDER BY 1",
]


CROSSINGS = 3


def held(gateway, has_crossings=True):
    db = database(gateway)
    try:
        return [db.execute(question).fetchall() for i, question in enumerate(QUESTIONS)
                if has_crossings or i != CROSSINGS]
    finally:
        db.close()


class Wreck:
    """What a crash left: the folder, and what a start without a fault makes of it."""

    def __init__(self, folder, certs, provider):
        self.config = with_poor(Gateways(folder, certs, provider).config(
            workers=2, limits=[MARKS], alerts={"every_seconds": 1}))
        gateways = Gateways(folder, certs, provider)
        self.folder = str(folder / "wreck")
        gateway = gateways(self.config)
        self.make(gateway)
        shutil.copytree(os.path.join(gateway.folder, "var"), self.folder)
        gateway.start()
        wait_for("the journal is taken in", lambda: not left(gateway), COMPLETE_S)
        Books(gateway, provider).check(self.work.answered)
        self.held = held(gateway)
        self.check()
        gateways.finish()

    def make(self, gateway):
        self.work = Work(gateway)
        assert self.work.say(calls.chat(), POOR) == 200
        assert all(self.work.round() for _ in range(4))
        waiting = [hang(gateway, calls.chat())]
        wait_for("all is ingested", lambda: len(gateway.export()) == len(self.work.answered), COMPLETE_S)
        wait_for("refusals are written down", lambda: self.work.noted()[0] == self.work.refused, 25, 0.2)
        db = database(gateway)
        wait_for("the thresholds", lambda: len(db.execute(QUESTIONS[CROSSINGS]).fetchall()) == len(MARKS["alerts"]), 10, 0.2)
        db.execute("BEGIN IMMEDIATE")
        assert all(self.work.round() for _ in range(4))
        for shape in ("messages", "generate", "responses-stream", "chat"):
            assert self.work.say(calls.SHAPES[shape]()) == 200
        waiting += [hang(gateway, calls.SHAPES[shape]()) for shape in ("chat", "messages", "chat")]
        time.sleep(11)   # a worker writes its refusals down every ten seconds
        gateway.kill()
        db.close()
        for connection in waiting:
            connection.close()
        damage(os.path.join(gateway.folder, "var", "journal"))

    def check(self):
        records, denied, tasks, crossings, state = self.held
        assert len(records) == len(self.work.answered) + 4
        assert [row[3] for row in denied] == [self.work.refused]
        assert sum(row[1] != 0 for row in tasks) == self.work.outcomes
        assert [row[0] for row in crossings] == MARKS["alerts"]
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


class Walk(fault_walk.Walk):
    """Starts on what the crash left."""

    long_max = 400
    count_rounds = 1     # a start does the same each time

    def __init__(self, gateways, folder, wreck, has_ledger, begins=""):
        super().__init__("with the ledger" if has_ledger else "from the journal alone", folder, "main", begins)
        self.wreck = wreck
        self.has_ledger = has_ledger
        # Thresholds are noted in segments of their own, which have gone; they are seen again.
        self.held = wreck.held if has_ledger else [rows for i, rows in enumerate(wreck.held) if i != CROSSINGS]
        self.names = {}
        self.gateway = gateways({**wreck.config, "env": self.faults.env}, start=False)
        self.state = os.path.join(self.gateway.folder, "var")
        self.prepare()
        self.faults.disarm()
        self.count_once()

    def prepare(self):
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.wreck.folder, self.state)
        if not self.has_ledger:
            for path in glob.glob(os.path.join(self.state, "ledger.db*")):
                os.unlink(path)

    def count_once(self):
        self.gateway.start()
        self.stop()

    def stop(self):
        wait_for("the ledger is complete", self.is_complete, COMPLETE_S)
        assert self.gateway.process.stop() == 0
        self.gateway.processes.remove(self.gateway.process)

    def is_complete(self):
        return held(self.gateway, self.has_ledger) == self.held and not left(self.gateway)

    def start(self, kind, at):
        """True: it serves. Else it has said why it does not, unless that was what failed."""
        try:
            self.gateway.start()
            return True
        except AssertionError:
            process = self.gateway.process
        self.gateway.processes.remove(process)
        try:
            process.process.wait(5)   # its output ends before it does
        except subprocess.TimeoutExpired:
            process.kill()
            self.problems.append(f"{at()}: it hangs\n{process.log_after_end()[-2000:]}")
            return False
        code = process.wait()
        log = process.log_after_end()
        if kind == faults.ALLOCATION and faults.is_want_of_memory(code, log):
            self.counts["ended"] += 1
        elif not (code == 1 and ("level=error" in log or " write " in at()) or
                  code == 2 and re.search(r"^/\S+: ", log, re.M)):
            self.problems.append(f"{at()}: exit {code}\n{log[-2000:]}")
        else:
            self.counts["refused"] += 1
        return False

    def round(self, kind, mode, after, times=1):
        self.prepare()
        self.faults.arm(kind, mode, after, times)

        def at():
            return f"{self.name} {after}: {self.faults.disarm()}"
        serves = self.start(kind, at)
        if serves and times > 1:
            time.sleep(WHILE_S)
        fired = self.faults.disarm()
        if not serves:
            if not fired.fired:
                self.problems.append(f"{at()}: it has ended by itself")
            self.gateway.start()
        if not fired.fired:
            self.gateway.process.stop()
            self.gateway.processes.remove(self.gateway.process)
            return None
        self.counts["for a while" if times > 1 else "fired"] += 1
        self.judge(at())
        return fired

    def judge(self, where):
        try:
            self.stop()
        except (AssertionError, subprocess.TimeoutExpired) as problem:
            now = held(self.gateway, self.has_ledger)
            parts = [f"{sorted(set(now[i]) ^ set(self.held[i]))}" for i in range(len(now)) if now[i] != self.held[i]]
            self.problems.append(f"{where}: {problem}: {parts} {left(self.gateway)}\n{self.gateway.log()[-2000:]}")
            self.gateway.process.kill()
            self.gateway.processes.remove(self.gateway.process)
            return
        done = run_cli("audit", "-c", self.gateway.config_path, cwd=self.gateway.folder)
        if done.returncode != 0:
            self.problems.append(f"{where}: {done.stdout}{done.stderr}")

    def one(self, kind, mode, after):
        fired = self.round(kind, mode, after)
        if fired and fired.error != errno.EINTR:   # which no system says for a while
            self.names.setdefault((kind, mode, fired.what), after)
        return fired is not None

    def whiles(self):
        which = sorted((*key, after) for key, after in self.names.items())
        if not ALL and len(which) > SAMPLE_WHILES:
            which = random.Random(SEED).sample(which, SAMPLE_WHILES)
        for kind, mode, _, after in which:
            self.round(kind, mode, after, faults.LEFT_NONE)


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
