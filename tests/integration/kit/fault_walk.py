"""A walk over all calls that can fail: how many there are, which ones are tried, what must hold of whoever ends.

What is done while one fails, and what must hold of it, is the test's own. Starts begins with a start on a folder that
something was left in, Commands is a command that runs and ends.
"""

import collections
import errno
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import time

from . import faults
from .procs import run_cli

ALL = os.environ.get("TOLLGATE_FAULTS") == "all"
SEED = int(os.environ.get("TOLLGATE_FAULTS_SEED", str(time.time_ns() % 1000000)))
PASSED_MAX = 5           # rounds in a row that no failure reached: the walk's end


class Walk:
    """Of one gateway, or one after the other: calls that fail, and what came of it."""

    long_max = None      # of a walk with more than ten times as many places so many are tried, spread over it
    count_rounds = 3     # whose middle says how many places there are

    def __init__(self, name, folder, thread, begins=""):
        self.name = name
        self.faults = faults.Faults(folder, thread, begins)
        self.gateway = None
        self.problems = []
        self.counts = collections.Counter()

    def prepare(self):
        """What comes before each round, and is no part of it."""

    def count_once(self):
        """What is done while none fails, until all of it is."""
        raise NotImplementedError

    def one(self, kind, mode, after):
        """The same while the call after so many fails. False: there were not so many calls."""
        raise NotImplementedError

    def total(self, kind, mode):
        """How many calls that can fail so there are, about."""
        seen = []
        for _ in range(self.count_rounds):
            self.prepare()
            self.faults.count(kind, mode)
            self.count_once()
            seen.append(self.faults.disarm().seen)
        return sorted(seen)[len(seen) // 2]

    def places(self, kind, mode, sample):
        total = self.total(kind, mode)
        self.counts["to walk"] += total
        if ALL and self.long_max and total > 10 * self.long_max:
            return range(0, total, total // self.long_max)
        if ALL:
            return itertools.count()
        return range(total) if total <= sample else sorted(random.Random(SEED).sample(range(total), sample))

    def walk(self, kind, mode, sample):
        """All of them, or so many."""
        passed = 0   # rounds differ by some calls: one that passes is not yet the end
        for after in self.places(kind, mode, sample):
            passed = 0 if self.one(kind, mode, after) else passed + 1
            if ALL and passed == PASSED_MAX:
                break

    def has_ended(self, seconds=0.02):
        try:
            self.gateway.process.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def see_to_end(self, kind, fired, at, seconds=0.02):
        """True: it ended, as it may for want of memory alone, and another is started."""
        if not self.has_ended(seconds):
            return False
        if kind == faults.CALL:
            self.problems.append(f"{at}: the process has ended\n{self.gateway.log()[-3000:]}")
        other = faults.ended_for_want_of_memory(self.gateway, fired)
        if other:
            self.problems.append(f"{at}: {other}")
        self.counts["ended"] += 1
        return True

    def check(self, say):
        """That nothing was wrong; says what was walked."""
        say(f"{self.name}: of {self.counts['to walk']} failed {self.counts['fired']} (seed {SEED}): "
            f"{dict(self.counts)}")
        assert not self.problems, f"{len(self.problems)}:\n" + "\n".join(self.problems)
        assert self.counts["fired"] > 0


class Starts(Walk):
    """Each time the gateway is started, on a copy of a folder; from then on a call may fail."""

    long_max = 40
    count_rounds = 1     # a start does the same each time
    sample_whiles = 2

    def __init__(self, name, folder, thread, begins, gateways, config, fixture):
        super().__init__(name, folder, thread, begins)
        self.fixture = fixture
        self.names = {}      # of what failed once: kind, mode and name, and after how many
        self.gateway = gateways({**config, "env": self.faults.env}, start=False)
        self.state = os.path.join(self.gateway.folder, "var")

    def during(self, serves, times, mode, at):
        """What is waited for, or asked, while calls fail; serves: it has started."""

    def judge(self, kind, fired, at):
        """What must hold now; in the end the process is stopped."""
        raise NotImplementedError

    def prepare(self):
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.fixture, self.state)

    def finish(self):
        assert self.gateway.process.stop() == 0
        self.gateway.processes.remove(self.gateway.process)

    def start(self, kind, at):
        """True: it serves. Else it has refused, or ended, and said why, unless that was what failed."""
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
        self.see_refusal(kind, process.wait(), process.log_after_end(), at())
        return False

    def see_refusal(self, kind, code, log, at):
        if kind == faults.ALLOCATION and faults.is_want_of_memory(code, log):
            self.counts["ended"] += 1
        elif code == 1 and ("level=error" in log or " write " in at) or code == 2 and re.search(r"^/\S+: ", log, re.M):
            self.counts["refused"] += 1
        else:
            self.problems.append(f"{at}: exit {code}\n{log[-2000:]}")

    def round(self, kind, mode, after, times=1):
        """What failed; None: there were not so many calls."""
        self.prepare()
        self.faults.arm(kind, mode, after, times)

        def at():
            return f"{self.name} {after}: {self.faults.disarm()}"
        serves = self.start(kind, at)
        if not serves:
            if not self.faults.disarm().fired:
                self.problems.append(f"{at()}: it has ended by itself")
            self.gateway.start()
        self.during(serves, times, mode, at)
        fired = self.faults.disarm()
        if not fired.fired:
            self.finish()
            return None
        self.counts["for a while" if times > 1 else "fired"] += 1
        self.judge(kind, fired, at)
        return fired

    def audit(self, at):
        done = run_cli("audit", "-c", self.gateway.config_path, cwd=self.gateway.folder)
        if done.returncode != 0:
            self.problems.append(f"{at()}: {done.stdout}{done.stderr}")

    def one(self, kind, mode, after):
        fired = self.round(kind, mode, after)
        if fired and fired.error != errno.EINTR:   # which no system says for a while
            self.names.setdefault((kind, mode, fired.what), after)
        return fired is not None

    def whiles(self):
        """From one of each name on all of that name fail."""
        which = sorted((*key, after) for key, after in self.names.items())
        if not ALL and len(which) > self.sample_whiles:
            which = random.Random(SEED).sample(which, self.sample_whiles)
        for kind, mode, _, after in which:
            self.round(kind, mode, after, faults.LEFT_NONE)


class Commands(Walk):
    """Each time a command runs, of which a call fails; what it must leave is the test's own."""

    count_rounds = 1
    codes = (2,)         # with which it ends where the system fails it

    def run(self):
        """The command, with self.faults.env: what run_cli gives."""
        raise NotImplementedError

    def judge(self, kind, fired, at, done):
        """What must hold of a command that ended so."""
        raise NotImplementedError

    def count_once(self):
        done = self.run()
        assert done.returncode == 0, done.stderr

    def see_end(self, kind, fired, at, done, refusals):
        """True: it is good. Else it has ended with one of its codes and one of these sayings, or for want of memory."""
        text = done.stdout + done.stderr
        if done.returncode == 0:
            return True
        # OpenSSL 3.0 takes a lock of its library context that it could not make.
        its_own = done.returncode == -signal.SIGSEGV and fired.where[0].startswith("libcrypto")
        if kind == faults.ALLOCATION and (its_own or faults.is_want_of_memory(done.returncode, text)):
            self.counts["ended"] += 1
        elif done.returncode in self.codes and re.search(refusals, text, re.M) and not fired.is_harmless():
            self.counts["refused"] += 1
        else:
            self.problems.append(f"{at}: exit {done.returncode}\n{text[-2000:]}")
        return False

    def one(self, kind, mode, after):
        self.prepare()
        self.faults.arm(kind, mode, after)
        try:
            done = self.run()
        except subprocess.TimeoutExpired:
            self.problems.append(f"{self.name} {after}: {self.faults.disarm()}: it hangs")
            return True
        fired = self.faults.disarm()
        if not fired.fired:
            return False
        self.counts["fired"] += 1
        self.judge(kind, fired, f"{self.name} {after}: {fired}", done)
        return True
