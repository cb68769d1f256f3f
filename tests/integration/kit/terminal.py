"""Commands with a terminal as their standard error."""

import os
import pty
import re
import select
import signal
import subprocess
import time

from . import procs

# Progress goes by wall time: who runs for so long and then stands still for so long is not far when it first
# tells, however fast the machine is.
RUNS_S, RESTS_S = 0.004, 0.03


def heed_ctrl_c():
    """Tests that run in the background were told to ignore it, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(gateway, *words):
    """The process, and the end of the terminal at which one sits; the caller closes it."""
    above, below = pty.openpty()
    process = subprocess.Popen([procs.tollgate_binary(), *words, "-c", gateway.config_path],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=below,
                               cwd=gateway.folder, preexec_fn=heed_ctrl_c)
    os.close(below)
    return process, above


def read(above, seconds=0.2):
    """What is said within that time; empty: nothing. None: the last one who had it open is gone."""
    if not select.select([above], [], [], seconds)[0]:
        return ""
    try:
        return os.read(above, 65536).decode()
    except OSError:
        return None


def run(gateway, *words, until, press=False):
    """Lets it run in slices until that is seen, then to its end; with press Ctrl-C comes in between.
    Its exit status, and what it said."""
    process, above = start(gateway, *words)
    said, is_sliced, end = "", True, time.monotonic() + 240
    try:
        while time.monotonic() < end:
            if is_sliced:
                time.sleep(RUNS_S)
                process.send_signal(signal.SIGSTOP)
            more = read(above, RESTS_S if is_sliced else 0.2)
            if more is None:
                break
            said += more
            if is_sliced and re.search(until, said):
                is_sliced = False
                if press:
                    process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGCONT)
        status = process.wait(60)
    finally:
        process.kill()
        os.close(above)
    assert not press or not is_sliced, said
    return status, said
