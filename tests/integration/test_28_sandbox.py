"""The systemd unit: what systemd says of it, and the gateway in its sandbox (kit/sandbox.py).

`make test-sandbox` runs all tests with their gateways in it; here is what must hold of it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from kit import calls, procs, sandbox, views

needs_sandbox = pytest.mark.skipif(sandbox.missing() is not None, reason=str(sandbox.missing()))
needs_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"),
                                   reason="no systemd-analyze (Debian package systemd)")
EXPOSURE_MAX = 15   # tenths, of 100


@pytest.fixture
def unit(tmp_path):
    """The unit, naming a program that is there."""
    with open(sandbox.UNIT, encoding="ascii") as file:
        text = file.read()
    path = tmp_path / "tollgate.service"
    path.write_text(text.replace("@PREFIX@/bin/tollgate", procs.tollgate_binary())
                    .replace("@PREFIX@", "/usr/local"))
    return str(path)


def analyze(*args):
    done = subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, timeout=60)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    return told


@needs_analyze
def test_verify(unit):
    """Every line is understood: systemd only warns of those that are not."""
    told = analyze("verify", "--man=no", unit)
    assert not [line for line in told.splitlines() if "tollgate.service" in line], told


@needs_analyze
def test_exposure(unit):
    """What systemd thinks of it: nothing that a network service can do without is left open."""
    told = analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}", unit)
    assert re.search(r"Overall exposure level for tollgate.service: [01]\.\d", told), told


@pytest.fixture
def sandboxed(monkeypatch):
    monkeypatch.setenv("TOLLGATE_TEST_SANDBOX", "1")
    # The sanitizer finds leaks by stopping the process as a debugger does, which the sandbox forbids.
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=0")


TRY = r"""
import ctypes, errno, json, mmap, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def tried(what):
    try:
        what()
        return "done"
    except OSError as problem:
        return errno.errorcode[problem.errno]
def call(number, *args):
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), "")
def chmod(mode):
    with open("var/x", "w"): pass
    os.chmod("var/x", mode)
print(json.dumps({
    "write beside the state": tried(lambda: open("y", "w")),
    "write to the program": tried(lambda: open(ROOT + "/y", "w")),
    "write to /etc": tried(lambda: open("/etc/y", "w")),
    "write to /proc/sys": tried(lambda: open("/proc/sys/kernel/core_pattern", "w")),
    "write to the state": tried(lambda: open("var/y", "w")),
    "write to its own /tmp": tried(lambda: open("/tmp/y", "w")),
    "homes": os.listdir("/home") if os.path.isdir("/home") else [],
    "devices": sorted(os.listdir("/dev")),
    "other processes": [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()],
    "packet socket": tried(lambda: socket.socket(17, 3, 0)),
    "netlink socket": tried(lambda: socket.socket(16, 3, 0)),
    "TCP socket": tried(lambda: socket.socket(2, 1, 0)),
    "unix socket": tried(lambda: socket.socket(1, 1, 0)),
    "mount": tried(lambda: call(165, b"tmpfs", b"/mnt", b"tmpfs", 0, None)),
    "ptrace": tried(lambda: call(101, 0, 0, 0, 0)),
    "unshare": tried(lambda: call(272, 0x10000000)),
    "clock": tried(lambda: call(227, 0, 0)),
    "module": tried(lambda: call(175, 0, 0, 0)),
    "bpf": tried(lambda: call(321, 0, 0, 0)),
    "io_uring": tried(lambda: call(425, 1, 0)),
    "memory to write and execute": tried(lambda: mmap.mmap(-1, 4096, prot=7)),
    "setuid file": tried(lambda: chmod(0o4755)),
    "mode of a file": tried(lambda: chmod(0o600)),
    "root": tried(lambda: os.setuid(0)),
}))
"""


@needs_sandbox
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls are x86_64's")
def test_sandbox_holds(tmp_path):
    """Any program in it, here one that tries: what fails is what the unit forbids, and nothing else."""
    program = "ROOT = " + repr(procs.ROOT) + "\n" + TRY
    done = subprocess.run(sandbox.command(
        str(tmp_path / "var"), [procs.ROOT, str(tmp_path), sys.prefix, sys.base_prefix],
        [sys.executable, "-c", program]), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert set(got.pop("devices")) <= {"null", "zero", "full", "random", "urandom"}
    assert got == {
        "write beside the state": "EROFS", "write to the program": "EROFS",
        "write to /etc": "EROFS", "write to /proc/sys": got["write to /proc/sys"],
        "write to the state": "done", "write to its own /tmp": "done",
        "homes": [], "other processes": [],
        "packet socket": "EAFNOSUPPORT", "netlink socket": "EAFNOSUPPORT",
        "TCP socket": "done", "unix socket": "done",
        "mount": "EPERM", "ptrace": "EPERM", "unshare": "EPERM", "clock": "EPERM",
        "module": "EPERM", "bpf": "EPERM", "io_uring": "EPERM",
        "memory to write and execute": "EPERM", "setuid file": "EPERM", "mode of a file": "done",
        "root": "EPERM",
    }
    assert got["write to /proc/sys"] != "done"


@needs_sandbox
def test_gateway_is_in_it(sandboxed, gateways):
    gateway = gateways()
    with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    assert status["Seccomp"] == "2" and int(status["Seccomp_filters"]) >= 2
    assert status["NoNewPrivs"] == "1" and status["Umask"] == "0077"
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert int(status["CapBnd"], 16) == 0
    if os.getuid() == 0:
        assert status["Uid"].split() == [str(sandbox.USER)] * 4
    assert calls.send(gateway, calls.chat()).status == 200


@needs_sandbox
@pytest.mark.parametrize("shape", ["chat", "chat-stream", "messages-stream"])
def test_calls(sandboxed, gateways, provider, redis, shape):
    """With Redis, budget, journal, ledger and reports; over a reload and a restart."""
    gateway = gateways(redis=redis, limits=[
        {"name": "day", "per": ["key"], "unit": "usd", "limit": "5", "window": "day"}])
    call = calls.SHAPES[shape]()
    assert calls.send(gateway, call).status == 200
    gateway.reload()
    procs.wait_for("the reload", lambda: "configuration in force" in gateway.log())
    assert calls.send(gateway, call).status == 200
    assert gateway.process.stop() == 0
    gateway.start()
    assert calls.send(gateway, call).status == 200
    for record in gateway.records(3):
        views.check_usage(record, views.bill_of(provider, record))
    assert gateway.report("spend", "--last", "2d")["total"]["requests"] == 3
    assert gateway.admin("/api/v1/reports/spend?last=2d").status == 200
    gateway.cli("audit")


@needs_sandbox
@pytest.mark.skipif(os.getuid() != 0, reason="the gateway's user is that of the commands")
def test_months_that_root_closes(sandboxed, gateways):
    """What a command of root's writes beside a gateway of another user is that user's."""
    gateway = gateways()
    assert calls.send(gateway, calls.chat()).status == 200
    gateway.records(1)
    last = (datetime.now(timezone.utc).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    gateway.cli("close", "--month", last)
    closed = Path(gateway.folder) / gateway.config["state_dir"] / "closed"
    written = [closed, *closed.rglob("*")]
    assert len(written) > 3 and {path.stat().st_uid for path in written} == {sandbox.USER}, \
        [(str(path), path.stat().st_uid) for path in written]
    for month in (last, (datetime.now(timezone.utc)).strftime("%Y-%m")):
        answer = gateway.admin(f"/api/v1/reports/statement?month={month}")
        assert answer.status == 200, answer
