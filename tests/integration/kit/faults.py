"""Makes one allocation or system call of a gateway fail (tests/fault/fault.c)."""

import errno
import mmap
import os
import signal
import struct

from . import sandbox
from .procs import binary, is_sanitized, tollgate_binary

LIBRARY = binary("TOLLGATE_FAULT_LIBRARY", "fault.so")
ALLOCATION, CALL = 1, 2
SHORT, END = 100, 101
# Errors of a call's list in turn (0 is the first), then less than was asked, then the end.
MODES = [0, 1, 2, 3, 4, SHORT, END]
FORMAT = "<IiqqII16s32si2048s64sI"   # struct control
LEFT_NONE = 1 << 40
# What a program that is written for its system does not even show.
HARMLESS_ERRORS = {errno.EINTR}


def missing():
    """Why faults cannot be made here; None: they can."""
    if sandbox.wanted():
        return "what starts the sandbox would fail too"
    if not os.path.exists(LIBRARY) or not os.path.exists(tollgate_binary()):
        return f"no {LIBRARY}"
    return "a sanitizer has allocations of its own" if is_sanitized() else None


class Faults:
    """What the library and the test share."""

    def __init__(self, folder, thread="worker", begins=""):
        """Of threads of that name ("main": the first), once a path was opened that ends in what begins says."""
        self.path = os.path.join(str(folder), "fault")
        with open(self.path, "wb") as file:
            file.write(bytes(struct.calcsize(FORMAT)))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.thread = thread.encode()
        self.begins = begins.encode()
        self.env = {"LD_PRELOAD": LIBRARY, "TOLLGATE_FAULT": self.path}

    def arm(self, kind, mode, after, times=1):
        """The call after so many others fails, and of its name as many as times says."""
        whole = struct.pack(FORMAT, 0, mode, after, times, 0, 0, self.thread, b"", 0, b"",
                            self.begins, 0)
        self.map[:] = whole
        self.map[:4] = struct.pack("<I", kind)

    def has_fired(self):
        return self.map[24:28] != bytes(4)

    def so_far(self):
        """What has become of it; it goes on."""
        return Fired(struct.unpack(FORMAT, self.map[:]))

    def disarm(self):
        """What became of it."""
        self.map[:4] = bytes(4)
        return self.so_far()

    def count(self, kind, mode):
        """Counts, and nothing fails; disarm() tells how many were seen."""
        self.arm(kind, mode, LEFT_NONE)


class Fired:
    def __init__(self, values):
        _, self.mode, _, _, self.fired, self.seen, _, what, self.error, where, _, _ = values
        self.what = what.split(b"\0")[0].decode()
        self.where = where.split(b"\0")[0].decode().split() or ["nowhere"]

    def is_harmless(self):
        """Calls go on after it as if nothing had been."""
        # SQLite takes it for a lock that somebody has: fcntl(2) has remote files say it.
        if self.what == "lock" and self.where[0].startswith("libsqlite3"):
            return False
        if self.mode == SHORT or self.error in HARMLESS_ERRORS:
            return self.what != "connect"
        # Of sockets; files never say that.
        return self.error == errno.EAGAIN and (
            self.what in ("recv", "send", "accept4") or
            self.what in ("read", "write") and self.where[0].startswith("libcrypto"))

    def __str__(self):
        how = {SHORT: "short", END: "end"}.get(self.mode) or errno.errorcode.get(self.error, "")
        return f"{self.what} {how} at {' '.join(self.where[:10])}"


def is_want_of_memory(code, log):
    """That a process ends so, and what it says then, or GLib for it."""
    return code == -signal.SIGABRT and 'msg="assertion failed"' in log or \
        code == -signal.SIGTRAP and "GLib-ERROR" in log and "failed to allocate" in log or \
        code == -signal.SIGABRT and "GSlice: failed to allocate" in log


def ended_for_want_of_memory(gateway, fired):
    """
    Of a process that ended by itself after an allocation failed: did it say so? None: it did, and another is
    started; else what it did instead.
    """
    code = gateway.process.wait()
    log = gateway.process.log_after_end()
    said = is_want_of_memory(code, log)
    # hiredis 0.14 does not always look whether it got what it asked for.
    its_own = code in (-signal.SIGABRT, -signal.SIGSEGV) and \
        fired.where[0].startswith("libhiredis")
    gateway.processes.remove(gateway.process)
    gateway.start()
    return None if said or its_own else f"exit {code}:\n{log[-2000:]}"
