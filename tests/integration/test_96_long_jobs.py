"""Jobs that take a while: on a terminal they say how far they are, and Ctrl-C harms nothing."""

import json
import os
import re
import signal
import subprocess

import pytest

from kit import procs, terminal

HISTORY = os.path.join(os.path.dirname(procs.provider_binary()), "history")
# Enough that each job has a first word to say.
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
    status, said = terminal.run(weeks, *words, until=says)
    assert status == 0, said
    assert re.search(says, said), said
    assert said.split("\n")[-1].split("\r")[-1] in ("", "\x1b[K"), "what was shown is wiped"


def assert_stopped(status, said):
    """It ended by the signal, or said how much of it is done."""
    assert status == -signal.SIGINT or status == 1 and "stopped after" in said, said


@pytest.mark.parametrize("name", NAMES[:4])
def test_ctrl_c_harms_nothing(weeks, name):
    words, says = jobs(weeks)[name]
    before = lines_of(weeks)
    assert_stopped(*terminal.run(weeks, *words, until=says, press=True))
    assert not [f for f in os.listdir(weeks.folder) if f.startswith("out.csv") and "unfinished" in f]
    assert lines_of(weeks) == before
    assert "everything agrees" in weeks.cli("audit")


def test_a_repricing_that_is_stopped_goes_on_where_it_was(weeks):
    """What was written stays, what was not comes with the next run, and nothing comes twice."""
    words, says = jobs(weeks)["reprice"]
    words = [*words[:2], "--apply", "--reason", "a test"]
    assert_stopped(*terminal.run(weeks, *words, until=says, press=True))
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
    words, says = jobs(weeks)["reconcile"]
    fifo = os.path.join(weeks.folder, "slow.csv")
    os.mkfifo(fifo)  # a file that comes slowly
    process, above = terminal.start(weeks, *words[:-1], fifo)
    said = []
    try:
        procs.wait_for("its clock", lambda: said.append(terminal.read(above)) or re.search(says, "".join(said)), 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
    finally:
        process.kill()
        os.close(above)
        os.unlink(fifo)
