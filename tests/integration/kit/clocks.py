"""Sets a gateway's clocks apart from the system's (tests/fault/clock.c)."""

import mmap
import os
import struct

from . import sandbox
from .procs import binary, is_sanitized

LIBRARY = binary("TOLLGATE_CLOCK_LIBRARY", "clock.so")
MINUTE, HOUR, DAY = 60, 3600, 86400


def missing():
    """Why clocks cannot be set here; None: they can."""
    if sandbox.wanted():
        return "what starts the sandbox would be set too"
    if is_sanitized(b"__tsan_init"):
        return "ThreadSanitizer has to be loaded first"
    return None if os.path.exists(LIBRARY) else f"no {LIBRARY}"


class Clocks:
    """What the library and the test share; for the programs that are given its env."""

    def __init__(self, folder):
        path = os.path.join(str(folder), "clock")
        with open(path, "wb") as file:
            file.write(bytes(16))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.wall = self.mono = 0
        asan = os.environ.get("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        self.env = {"LD_PRELOAD": LIBRARY, "TOLLGATE_CLOCK": path,
                    "ASAN_OPTIONS": asan + ":verify_asan_link_order=0"}

    def _show(self):
        self.map[:] = struct.pack("<qq", int(self.wall * 10**6), int(self.mono * 10**6))

    def step(self, seconds):
        """The wall clock is set, so much ahead or (below 0) back."""
        self.wall += seconds
        self._show()

    def right(self):
        """It is set to the time that has passed."""
        self.wall = self.mono
        self._show()

    def passes(self, seconds):
        """So much time passes."""
        self.wall += seconds
        self.mono += seconds
        self._show()
