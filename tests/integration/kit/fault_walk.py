"""A walk over all calls that can fail: how many there are, which ones are tried, what must hold of whoever ends.

What is done while one fails, and what must hold of it, is the test's own.
"""

import collections
import itertools
import os
import random
import subprocess
import time

from . import faults

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
