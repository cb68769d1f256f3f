"""Jobs that take a while: on a terminal they say how far they are, and Ctrl-C harms nothing."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from kit import procs

HISTORY = os.path.join(os.path.dirname(procs.provider_binary()), "history")
# Enough that each job takes longer than its first word, with either build.
DAYS, CALLS = 30, 5000 if "release" in HISTORY else 2400

pytestmark = pytest.mark.skipif(not os.path.exists(HISTORY), reason=f"no {HISTORY}")


@pytest.fixture(scope="module")
def weeks(tmp_path_factory, certs, shared_provider):
    """An installation with some weeks of history, whose gateway does not run."""
    from conftest import Gateways
    folder = tmp_path_factory.mktemp("weeks")
    made = Gateways(folder, certs, shared_provider)
    state = folder / "long" / "var"
    state.mkdir(parents=True)
    subprocess.run([HISTORY, str(state), str(DAYS), str(CALLS)], check=True, timeout=300)
    gateway = made(name="long")
    gateway.stop()
    usage = folder / "usage.csv"
    usage.write_text("date,model,token_class,quantity,cost_usd\n")
    gateway.usage = str(usage)
    yield gateway
    made.finish()


def heed_ctrl_c():
    """Tests that run in the background were told to ignore it, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def on_a_terminal(weeks, *words, until=None):
    """Runs it with a terminal as standard error; with `until` Ctrl-C is pressed once that is seen.
    Its exit status, and what it said there."""
    above, below = pty.openpty()
    process = subprocess.Popen([procs.tollgate_binary(), *words, "-c", weeks.config_path],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=below,
                               cwd=weeks.folder, preexec_fn=heed_ctrl_c)
    os.close(below)
    said, pressed, end = "", False, time.monotonic() + 240
    try:
        while time.monotonic() < end:
            if select.select([above], [], [], 0.2)[0]:
                try:
                    said += os.read(above, 65536).decode()
                except OSError:
                    break  # the last one who had it open is gone
            if until and not pressed and re.search(until, said):
                process.send_signal(signal.SIGINT)
                pressed = True
        status = process.wait(60)
    finally:
        process.kill()
        os.close(above)
    assert until is None or pressed, said
    return status, said


def jobs(weeks):
    return {
        "export": (["export", "--format", "focus", "--grain", "request", "-o", os.path.join(weeks.folder, "out.csv")],
                   r"tollgate export: \d+ of \d+ \(\d+ %\)"),
        "reprice": (["price", "reprice", "--all"], r"tollgate price reprice: \d+ of \d+ \(\d+ %\)"),
        "audit": (["audit"], r"audit: \d+ of \d+ lines"),
        "repair": (["audit", "--repair"], r"repair: \d+ of \d+ \(\d+ %\)"),
        "reconcile": (["report", "reconcile", "--last", "60d", "--import", weeks.usage],
                      r"tollgate report: \d+ s"),
    }


NAMES = ("export", "reprice", "audit", "repair", "reconcile")


@pytest.mark.parametrize("name", NAMES[:4])
def test_says_how_far_it_is(weeks, name):
    words, says = jobs(weeks)[name]
    status, said = on_a_terminal(weeks, *words)
    assert status == 0, said
    assert re.search(says, said), said
    assert said.split("\n")[-1].split("\r")[-1] in ("", "\x1b[K"), "what was shown is wiped"


@pytest.mark.parametrize("name", NAMES[:4])
def test_ctrl_c_harms_nothing(weeks, name):
    words, says = jobs(weeks)[name]
    before = lines_of(weeks)
    status, _ = on_a_terminal(weeks, *words, until=says)
    assert status in (-signal.SIGINT, 1)
    assert not [f for f in os.listdir(weeks.folder) if f.startswith("out.csv") and "unfinished" in f]
    assert lines_of(weeks) == before
    assert "everything agrees" in weeks.cli("audit")


def test_a_repricing_that_is_stopped_goes_on_where_it_was(weeks):
    """What was written stays, what was not comes with the next run, and nothing comes twice."""
    words, says = jobs(weeks)["reprice"]
    words = [*words[:2], "--apply", "--reason", "a test"]
    on_a_terminal(weeks, *words, until=says)
    assert "everything agrees" in weeks.cli("audit")
    weeks.cli(*words)
    once = lines_of(weeks)
    weeks.cli(*words)
    assert lines_of(weeks) == once
    assert "everything agrees" in weeks.cli("audit")


def lines_of(weeks):
    report = json.loads(weeks.cli("report", "spend", "--last", "90d", "--format", "json"))
    return report["total"]["requests"], report["total"]["cost_usd"]


def test_a_report_that_takes_long_says_so(weeks):
    """The clock of one-step jobs begins after a second: the process is held up for longer."""
    if procs.is_sanitized(b"__tsan_init"):
        pytest.skip("ThreadSanitizer keeps a signal back while a call blocks")
    above, below = pty.openpty()
    words, says = jobs(weeks)["reconcile"]
    fifo = os.path.join(weeks.folder, "slow.csv")
    os.mkfifo(fifo)  # a file that comes slowly
    process = subprocess.Popen([procs.tollgate_binary(), *words[:-1], fifo, "-c", weeks.config_path],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=below,
                               cwd=weeks.folder, preexec_fn=heed_ctrl_c)
    os.close(below)
    said = []
    try:
        procs.wait_for("its clock", lambda: said.append(read(above)) or re.search(says, "".join(said)), 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
    finally:
        process.kill()
        os.close(above)
        os.unlink(fifo)


def read(descriptor):
    return os.read(descriptor, 65536).decode() if select.select([descriptor], [], [], 0.2)[0] else ""
