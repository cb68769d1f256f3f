"""Every allocation and every system call of the ledger's two threads fails, once and for a while.

The ingest thread takes the journal into SQLite, the sync thread brings the journal to the disk. Some work for both is
done, the Nth call of the one fails (in each way that such a call can), and so on until none is left to fail; then of
each name that such a call has, all for a while. SQLite's calls are among them. Whatever fails: the process lives, each
record is in the ledger once, and each refusal and outcome; where the work does not go on the metrics tell of it, and
afterwards it does.

A small allocation that fails ends the process (docs/design.md, "Memory"): then the same must hold of the one that is
started after it.

TOLLGATE_FAULTS=all walks through all of them; else a sample. TOLLGATE_FAULTS_SEED chooses it.
"""

import errno
import random
import re
import threading
import time

import pytest

from kit import calls, client, fault_walk, faults
from kit.fault_walk import ALL, SEED
from kit.ledger_work import POOR, Work, database, with_poor
from kit.procs import run_cli, wait_for
from kit.settled import settled_books

SAMPLE_CALLS = 2         # of each thread and mode
SAMPLE_ALLOCATIONS = 8
SAMPLE_WHILES = 4
CYCLE_S = 0.08           # in which the ingest thread looks once
WHILE_S = 0.4
TELLS_S = 14             # in which the metrics tell: SQLite tries ten seconds for a lock to read with
TAKEN = "tollgate_ledger_ingested_total"
WAIT_S = 20
NOTED_S = 25             # a worker writes its refusals down every ten seconds
LEFT_BYTES = 34 << 20    # of a write-ahead log that the next commit copies back (4,000 pages)

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(faults.missing() is not None, reason=str(faults.missing()))]


def metrics(gateway):
    text = gateway.admin("/metrics", token=False).body.decode()
    return {name: float(value) for name, value in re.findall(r"^(tollgate_\w+) (\S+)$", text, re.M)}


def tells(start, now):
    """That something failed, or that something waits."""
    return now["tollgate_ledger_waiting_bytes"] > 0 or any(now[name] > start[name] for name in (
        "tollgate_ledger_failures_total", "tollgate_journal_sync_failures_total"))


class Walk(fault_walk.Walk):
    """Work for a gateway's ledger while calls of one of its threads fail."""

    long_max = 40

    def __init__(self, gateways, provider, redis, folder, thread, before=lambda gateway: None):
        super().__init__(thread, folder, thread)
        self.provider = provider
        self.before = before
        config = with_poor(gateways.config(
            redis, workers=1, ledger={"sync": "always" if thread == "sync" else "interval"}))
        config["env"] = self.faults.env
        self.gateway = gateways(config)
        self.work = Work(self.gateway)
        self.names = {}      # of what failed once: mode and name, and after how many
        assert self.work.say(calls.chat(), POOR) == 200
        assert self.work.round()

    def taken(self):
        return metrics(self.gateway)[TAKEN]

    # ---- faults --------------------------------------------------------------------------

    def prepare(self):
        self.before(self.gateway)

    def count_once(self):
        before = self.taken()
        self.work.round()
        wait_for("the record", lambda: self.taken() > before, WAIT_S)
        time.sleep(CYCLE_S)

    def must_serve(self, at):
        def served():
            if self.has_ended():
                return True
            before = self.taken()
            return self.work.round() and wait_for("it is taken in", lambda: self.taken() > before, WAIT_S)
        try:
            wait_for("the next is served and taken in", served, WAIT_S, 0.1)
        except (AssertionError, OSError, client.Broken) as problem:
            self.problems.append(f"{at}: {problem}\n{self.gateway.log()[-2000:]}")

    def one(self, kind, mode, after):
        """Some work, one failure. False: there were not so many calls."""
        self.prepare()
        self.faults.arm(kind, mode, after)
        worked = self.work.round()
        deadline = time.monotonic() + 3 * CYCLE_S
        while not self.faults.has_fired() and time.monotonic() < deadline:
            time.sleep(0.005)
        fired = self.faults.disarm()
        if not fired.fired:
            return False
        at = f"{self.name} {after}: {fired}"
        self.counts["fired"] += 1
        self.names.setdefault((kind, mode, fired.what), after)
        if not self.see_to_end(kind, fired, at) and fired.is_harmless() and not worked:
            self.problems.append(f"{at}: it shows")
        self.must_serve(at)
        self.see_to_end(kind, fired, at)
        return True

    def for_a_while(self, kind, mode, after):
        """From that one on all of its name fail; what does not go on is told."""
        self.prepare()
        start = metrics(self.gateway)
        self.faults.arm(kind, mode, after, faults.LEFT_NONE)
        worked = []
        thread = threading.Thread(target=lambda: worked.append(self.work.round()))
        thread.start()

        def shows():
            """It has ended, the work has gone on, or the metrics tell why not."""
            if self.has_ended(0):
                return True
            now = metrics(self.gateway)
            return tells(start, now) or (worked == [True] and now[TAKEN] > start[TAKEN])
        time.sleep(WHILE_S)
        try:
            wait_for("it shows", shows, TELLS_S)
            is_told = True
        except AssertionError:
            is_told = False
        fired = self.faults.disarm()
        thread.join(2 * WAIT_S)
        at = f"{self.name} from {after} on: {fired}"
        if not fired.fired:
            return
        self.counts["for a while"] += 1
        # EAGAIN of an eventfd says that there is nothing to do: no system says so for a while and means it.
        lies = fired.error == errno.EAGAIN and fired.what in ("read", "write")
        if not is_told and not lies and not fired.is_harmless():
            self.problems.append(f"{at}: nothing tells of it")
        self.see_to_end(kind, fired, at)
        self.must_serve(at)
        self.see_to_end(kind, fired, at)

    def whiles(self):
        which = sorted((*key, after) for key, after in self.names.items())
        if not ALL and len(which) > SAMPLE_WHILES:
            which = random.Random(SEED).sample(which, SAMPLE_WHILES)
        for kind, mode, _, after in which:
            self.for_a_while(kind, mode, after)

    def check(self, say):
        super().check(say)
        settled_books(self.gateway, self.provider, self.work.answered)
        if self.counts["ended"] == 0:   # a process that ends takes refusals with it that it had not written yet
            done = (self.work.refused, self.work.outcomes)
            try:
                wait_for("every refusal and outcome, once", lambda: self.work.noted() == done, NOTED_S, 0.2)
            except AssertionError as late:
                raise AssertionError(f"refusals and outcomes: {done} were answered, "
                                     f"{self.work.noted()} are in the ledger") from late
        done = run_cli("audit", "-c", self.gateway.config_path, cwd=self.gateway.folder)
        assert done.returncode == 0, done.stdout + done.stderr


def left_in_log(gateway):
    """A write-ahead log so long that the next commit copies it back, and pages that another has written."""
    db = database(gateway)
    try:
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("REPLACE INTO state(name, value) VALUES(?, 0)", ("x" * LEFT_BYTES,))
        db.execute("DELETE FROM state WHERE length(name) > 1000")
    finally:
        db.close()


@pytest.mark.parametrize("thread", ["ingest", "sync"])
def test_every_call_fails(gateways, provider, redis, tmp_path, say, thread):
    walk = Walk(gateways, provider, redis, tmp_path, thread)
    for mode in faults.MODES:
        walk.walk(faults.CALL, mode, SAMPLE_CALLS)
    walk.whiles()
    walk.check(say)


@pytest.mark.parametrize("thread", ["ingest", "sync"])
def test_every_allocation_fails(gateways, provider, redis, tmp_path, say, thread):
    walk = Walk(gateways, provider, redis, tmp_path, thread)
    walk.walk(faults.ALLOCATION, 0, SAMPLE_ALLOCATIONS)
    walk.whiles()
    walk.check(say)


def test_copying_the_log_back_fails(gateways, provider, redis, tmp_path, say):
    walk = Walk(gateways, provider, redis, tmp_path, "ingest", left_in_log)
    for mode in faults.MODES[:5] if ALL else faults.MODES[1:3]:
        walk.walk(faults.CALL, mode, 1)
    walk.walk(faults.ALLOCATION, 0, 2)
    walk.whiles()
    walk.check(say)
