"""Every allocation and every system call of what the ledger does in its pauses fails once, and for a while.

Days and tasks are added up, days put in order, lines that are too old deleted; and the ledger of an older version is
brought up to date, and laid out by column. Whatever fails: reports say the whole time what the lines say, the metrics
tell of what does not go on, and it is done at a later pause of the same process; then the audit agrees.

A small allocation that fails ends the process: then the same must hold of the one that is started after it.

TOLLGATE_FAULTS=all walks through all of them; else a sample. TOLLGATE_FAULTS_SEED chooses it.
"""

import errno
import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from kit import client, fault_walk, faults
from kit.ledger_work import database
from kit.procs import provider_binary, run_cli, wait_for

HISTORY = os.path.join(os.path.dirname(provider_binary()), "history")
SAMPLE_CALLS = 1         # of each mode
SAMPLE_ALLOCATIONS = 3
MANY, FEW = 26000, 500   # calls of a day, of a weekend's some third: two blocks of columns and more
KEEP = 2                 # days
TASKS = 4096             # whose numbers are one block
DONE_S = 20
REACHED_S = 60           # the call that fails; 0.5 s on a machine that has nothing else to do
TELLS_S = 14             # from then on: SQLite tries ten seconds for a lock to read with
UNTAGGED = "(untagged)"
# No system says that a file ends in its middle, and SQLite takes the rest for zeros.
MODES = [mode for mode in faults.MODES if mode != faults.END]

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(faults.missing() is not None, reason=str(faults.missing())),
              pytest.mark.skipif(not os.path.exists(HISTORY), reason=f"no {HISTORY}")]


def day(ago):
    return (datetime.now(timezone.utc) - timedelta(days=ago)).date()


def ask(gateway, name, *options):
    done = run_cli("report", name, "-c", gateway.config_path, "--format", "json", *options, cwd=gateway.folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def fields(data):
    """Each field of a stored record: its tag, and its bytes with it."""
    at, out = 0, []
    while at < len(data):
        start, numbers = at, []
        for _ in range(2):
            value = shift = 0
            while True:
                byte = data[at]
                at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
                if byte < 0x80:
                    break
            numbers.append(value)
        at += numbers[1]
        out.append((numbers[0], data[start:at]))
    return out


def make_version_3(path):
    """As a program of before columns, thresholds, tallies and common parts would have left it."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN")
    rows = db.execute("SELECT seq, r.id, r.body, c.body FROM record r JOIN common c ON c.id=r.common").fetchall()
    for seq, ident, own, common in rows:
        own = fields(own)
        body = b"".join(piece for _, piece in sorted(own[:-1] + fields(common), key=lambda field: field[0]))
        db.execute("UPDATE record SET body=? WHERE seq=?", (b"\x01\x10" + ident + body + own[-1][1], seq))
    for statement in ("ALTER TABLE record DROP COLUMN common", "DROP TABLE common", "DROP TABLE tally",
                      "DROP TABLE tally_block", "DROP TABLE tally_again", "DROP TABLE crossing", "DROP TABLE cube",
                      "DROP TABLE cube_day", "DROP TABLE fact", "DROP TABLE fact_block", "DROP INDEX task_closed",
                      "DROP INDEX task_first",
                      "CREATE INDEX task_closed ON task(closed_us) WHERE closed_us IS NOT NULL",
                      "PRAGMA user_version=3"):
        db.execute(statement)
    db.execute("COMMIT")
    db.close()


# What there is once all is done.
DONE = ["SELECT count(*), min(end_us) >= ? FROM line", "SELECT day, kind, n FROM cube_day ORDER BY 1, 2",
        "SELECT block FROM tally_block ORDER BY 1", "SELECT block, n FROM fact_block ORDER BY 1"]


class Past:
    """A ledger in which something is to be done, and what the lines of two days say."""

    def __init__(self, folder):
        self.folder = str(folder / "past")
        is_weekend = any(day(ago).weekday() >= 5 for ago in (1, 2))
        for days, calls in ((4, FEW), (3, MANY if is_weekend else MANY * 35 // 100)):
            subprocess.run([HISTORY, self.folder, str(days), str(calls)], check=True)
            if calls == FEW:
                self.leave_numbers_out()
        self.old = str(folder / "old")
        shutil.copytree(self.folder, self.old)
        make_version_3(os.path.join(self.old, "ledger.db"))
        with sqlite3.connect(os.path.join(self.folder, "ledger.db")) as db:   # as a gateway that ran until now
            db.execute("REPLACE INTO state(name, value) VALUES('expire_us', ?)",
                       (int(datetime.now().timestamp() * 10**6),))
        self.customers = defaultdict(lambda: [0, Decimal(0)])
        self.tasks = defaultdict(Decimal)
        self.read()

    def leave_numbers_out(self):
        """So many tasks are added up at once; those that follow are of the next block."""
        with sqlite3.connect(os.path.join(self.folder, "ledger.db")) as db:
            db.execute("INSERT INTO task(id, team, name, outcome, closed_us) "
                       "SELECT ?, id, 'without calls', 1, ? FROM word WHERE text='search'",
                       (TASKS - 1, int(datetime.now().timestamp() * 10**6)))

    def read(self):
        db = sqlite3.connect(os.path.join(self.folder, "ledger.db"))
        first, last = (datetime.combine(day(ago), datetime.min.time(), timezone.utc).timestamp() * 10**6
                       for ago in (2, 0))
        self.period = ("--from", str(day(2)), "--to", str(day(0)))
        self.kept_us = int(first)
        self.is_kept = 0
        for end_us, customer, task, nano, rest in db.execute(
                "SELECT end_us, w.text, t.name, cost_nano, cost_rest FROM line LEFT JOIN word w ON w.id=customer "
                "LEFT JOIN task t ON t.id=line.task"):
            if first <= end_us < last:
                cost = Decimal(nano) / 10**9 + Decimal(rest) / 10**18
                self.customers[customer or UNTAGGED][0] += 1
                self.customers[customer or UNTAGGED][1] += cost
                self.tasks[task or UNTAGGED] += cost
        db.close()


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    return Past(tmp_path_factory.mktemp("past"))


class Walk(fault_walk.Starts):
    """Starts on a ledger in which much is to be done."""

    def __init__(self, gateways, folder, past, is_old, thread="ingest", begins=""):
        config = gateways.config(workers=1, ledger={} if is_old else {"keep_days": KEEP})
        super().__init__(("an older ledger" if is_old else "days, tasks, old lines") + f", {thread}", folder, thread,
                         begins, gateways, config, past.old if is_old else past.folder)
        self.past = past
        self.expected = None
        self.prepare()
        self.gateway.start()
        wait_for("all is done", self.looks_done, DONE_S)
        self.expected = self.done()
        (_, is_kept), days, tasks, blocks = (self.expected[0][0], *self.expected[1:])
        assert is_kept != is_old and len(tasks) == 1 and len(blocks) > 4, self.expected
        assert len([n for _, _, n in days if n > 0]) > 5, days
        self.finish()

    def done(self):
        db = database(self.gateway)
        try:
            return [db.execute(question, (self.past.kept_us,) if "?" in question else ()).fetchall()
                    for question in DONE]
        except sqlite3.OperationalError:   # the tables are not there yet
            return None
        finally:
            db.close()

    def looks_done(self):
        text = self.gateway.admin("/metrics", token=False).body.decode()
        return "\ntollgate_ledger_chores_left 0\n" in text

    def is_done(self):
        return self.done() == self.expected

    def count_once(self):
        self.gateway.start()
        wait_for("all is done", self.is_done, DONE_S)
        self.finish()

    def told(self):
        try:
            text = self.gateway.admin("/metrics", token=False).body.decode()
        except (OSError, client.Broken):   # it ends just now, or has nothing left to answer with
            return False
        return sum(float(value) for value in re.findall(
            r"^tollgate_ledger_(?:put_off_total|failures_total|waiting_bytes) (\S+)$", text, re.M)) > 0

    def wrong(self):
        """What a report says, and the lines do not."""
        rows = ask(self.gateway, "spend", "--by", "customer", *self.past.period)["rows"]
        customers = {row["customer"]: [row["requests"], Decimal(row["cost_usd"])] for row in rows}
        rows = ask(self.gateway, "spend", "--by", "task", *self.past.period)["rows"]
        tasks = {row["task"]: Decimal(row["cost_usd"]) for row in rows}
        return [(name, said.get(name), lines.get(name)) for said, lines in ((customers, self.past.customers),
                                                                   (tasks, self.past.tasks))
                for name in set(said) | set(lines) if said.get(name) != lines.get(name)]

    def during(self, serves, times, mode, at):
        def is_slow():   # a byte at a time, but it goes on; asked again and again, and no system says so for a while
            return mode == faults.SHORT or self.faults.so_far().error == errno.EINTR

        def is_over():
            return self.has_ended(0) or self.is_done()
        try:
            wait_for("it is reached", lambda: self.faults.has_fired() or is_over(), REACHED_S)
            wait_for("it shows", lambda: times == 1 or is_slow() or is_over() or self.told(), TELLS_S)
        except AssertionError as problem:
            self.problems.append(f"{at()}: {problem}")
        if times > 1 and not self.has_ended(0):
            self.ask_reports(at)

    def ask_reports(self, at):
        try:
            wrong = self.wrong()
        except AssertionError as problem:
            wrong = str(problem)
        if wrong:
            self.problems.append(f"{at()}: {wrong}")

    def judge(self, kind, fired, at):
        self.see_to_end(kind, fired, at())
        self.ask_reports(at)
        try:
            wait_for("it is done", lambda: not self.see_to_end(kind, fired, at()) and self.is_done(), DONE_S)
        except AssertionError as problem:
            now = self.done()
            self.problems.append(f"{at()}: {problem}: {[(a, b) for a, b in zip(now, self.expected) if a != b]}\n"
                                 f"{self.gateway.log()[-2000:]}")
        self.ask_reports(at)
        self.finish()
        self.audit(at)


@pytest.mark.parametrize("is_old", [False, True], ids=["pauses", "older"])
def test_every_call_fails(gateways, tmp_path, past, say, is_old):
    walk = Walk(gateways, tmp_path, past, is_old)
    for mode in MODES:
        walk.walk(faults.CALL, mode, SAMPLE_CALLS)
    walk.whiles()
    walk.check(say)


@pytest.mark.parametrize("is_old", [False, True], ids=["pauses", "older"])
def test_every_allocation_fails(gateways, tmp_path, past, say, is_old):
    walk = Walk(gateways, tmp_path, past, is_old)
    walk.walk(faults.ALLOCATION, 0, SAMPLE_ALLOCATIONS)
    walk.whiles()
    walk.check(say)


def test_an_upgrade_fails(gateways, tmp_path, past, say):
    """What brings the tables of an older version up to date, before anything is served."""
    walk = Walk(gateways, tmp_path, past, True, "main", "/journal")
    for mode in MODES[:5]:
        walk.walk(faults.CALL, mode, SAMPLE_CALLS)
    walk.walk(faults.ALLOCATION, 0, SAMPLE_ALLOCATIONS)
    walk.check(say)
