#!/usr/bin/env python3
"""Runs every test that was built and says, in its last line, how many passed.

    run.py [--unit FILE]... [--race FILE]... [--fuzz FILE]... [--integration BIN:PROVIDER]...

Builds nothing. --unit and --race programs speak TAP (cmocka); --integration runs pytest with
the two programs (a second one runs what is not marked slow); --sandbox runs some of it once more
with gateways in the sandbox of docs/tollgate.service; --fuzz runs a libFuzzer program
for its share of --fuzz-seconds.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1:exitcode=66",
    "CMOCKA_MESSAGE_OUTPUT": "TAP",
}
UNIT_SECONDS = 300
# What a second, slower build runs: the proxy's own paths, not the SDKs and reports again.
SECOND_RUN = ["-m", "not slow and not provider_only", "-k", "not sdk and not reports"]
# What runs once more with its gateways in the sandbox of the systemd unit.
SANDBOX_RUN = ["-m", "not provider_only", "-k",
               "test_10_start or "
               "(test_25_http2 and test_shapes) or "
               "(test_92_reprice and new_price)"]
RETRIED_MAX = 10  # tests that failed; more are no accident
JOBS = min(4, os.cpu_count() or 1)
# Processes of pytest: tests wait more than they compute. Each has its own provider and Redis.
PYTESTS = JOBS + 1


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, passed, failed, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def line(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def say(text=""):
    print(text, flush=True)


def run_program(path, args=(), env=None, seconds=UNIT_SECONDS):
    """(exit status, output); a status of None where it took too long."""
    environment = dict(os.environ, **SANITIZERS, **(env or {}))
    try:
        done = subprocess.run([os.path.abspath(path), *args], cwd=ROOT, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=seconds)
        return done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as late:
        return None, (late.stdout or b"").decode("utf-8", "replace")
    except OSError as problem:
        return 127, str(problem)


def read_tap(output):
    """(passed, failed, skipped) of cmocka's TAP."""
    passed = len(re.findall(r"^ok \d+(?!.*# *SKIP)", output, re.MULTILINE | re.IGNORECASE))
    skipped = len(re.findall(r"^(?:not )?ok \d+.*# *SKIP", output, re.MULTILINE | re.IGNORECASE))
    failed = len(re.findall(r"^not ok \d+(?!.*# *SKIP)", output, re.MULTILINE | re.IGNORECASE))
    return passed, failed, skipped


def one_unit(path):
    start = time.monotonic()
    code, output = run_program(path)
    passed, failed, skipped = read_tap(output)
    if code != 0 and failed == 0:
        failed = 1   # it crashed, leaked, raced or hung
    if passed + failed + skipped == 0:
        failed = 1
    return path, code, output, (passed, failed, skipped), time.monotonic() - start


def run_units(title, paths, tally):
    if not paths:
        return
    say(f"== {title}: {len(paths)} programs")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for path, code, output, counts, seconds in pool.map(one_unit, paths):
            tally.add(*counts)
            name = os.path.relpath(path, ROOT)
            passed, failed, skipped = counts
            state = "FAILED" if failed else "ok"
            say(f"{state:6} {name}: {passed} passed, {failed} failed, {skipped} skipped"
                f" ({seconds:.1f} s)")
            if failed:
                say(f"exit {code}\n" + output[-8000:])


def python_with_pytest(venv):
    for python in (os.path.join(venv, "bin", "python"), sys.executable):
        if os.path.exists(python) and subprocess.run(
                [python, "-c", "import pytest"], capture_output=True).returncode == 0:
            return python
    return None


def side_by_side(python):
    """Words for pytest that spread tests over processes, and that do not; without xdist none."""
    if subprocess.run([python, "-c", "import xdist"], capture_output=True).returncode != 0:
        return [], []
    return ["-n", str(PYTESTS), "--dist", "worksteal"], ["-n", "0"]


def pytest_once(command, environment, folder):
    """Runs pytest; its exit and how many passed, failed and were skipped (None: no report)."""
    report = os.path.join(folder, "report.xml")
    code = subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT,
                          env=environment).returncode
    try:
        suite = xml.parse(report).getroot().find("testsuite")
        total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        return code, (max(0, total - bad - skipped), bad, skipped)
    except (OSError, xml.ParseError, AttributeError):
        return code, None


def run_integration(title, tollgate, provider, venv, extra, tally, env=None):
    say(f"== {title}")
    python = python_with_pytest(venv)
    if python is None:
        say("no pytest: make venv, or apt-get install python3-pytest")
        tally.add(0, 1)
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, TOLLGATE_BIN=os.path.abspath(tollgate),
                           TOLLGATE_PROVIDER=os.path.abspath(provider),
                           PYTHONDONTWRITEBYTECODE="1", **(env or {}))
        together, alone = side_by_side(python)
        command = [python, "-m", "pytest", "-q", "-rsfE", "--tb=short", "-o",
                   f"cache_dir={folder}/cache", *together, *extra,
                   os.path.join(ROOT, "tests", "integration")]
        code, counts = pytest_once(command, environment, folder)
        if counts and 0 < counts[1] <= RETRIED_MAX:
            # Real time on a machine that others use: what failed runs once more, by itself.
            say(f"-- {counts[1]} failed; once more, alone:")
            code, again = pytest_once([*command, *alone, "--last-failed"], environment, folder)
            if again:
                say(f"-- {counts[1] - again[1]} of them passed this time: look at them")
                counts = (counts[0] + counts[1] - again[1], again[1], counts[2])
        if not counts:
            say(f"pytest ended with {code} and no report")
            tally.add(0, 1)
            return
        tally.add(*counts)
        if code not in (0, 1) and counts[1] == 0:
            tally.add(0, 1)


def one_fuzz(job):
    path, seconds = job
    name = os.path.basename(path)
    with tempfile.TemporaryDirectory() as folder:
        args = [folder]
        for place in ("corpus", "regress"):
            seeds = os.path.join(ROOT, "tests", "fuzz", place, name.removeprefix("fuzz_"))
            if os.path.isdir(seeds):
                args.append(seeds)
        code, output = run_program(path, [
            f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
            f"-artifact_prefix={folder}/", "-print_final_stats=1", *args], seconds=seconds + 60)
        if code != 0:
            kept = os.path.join(ROOT, "build", "fuzz-found")
            os.makedirs(kept, exist_ok=True)
            for found in os.listdir(folder):
                if found.startswith(("crash-", "leak-", "timeout-", "oom-", "slow-unit-")):
                    shutil.copy(os.path.join(folder, found), os.path.join(kept, f"{name}-{found}"))
    runs = re.search(r"number_of_executed_units: (\d+)", output)
    return name, code, output, int(runs[1]) if runs else 0


def run_fuzz(paths, seconds, tally):
    if not paths:
        return
    share = max(2, seconds * JOBS // len(paths))
    say(f"== fuzz: {len(paths)} targets, {share} s each")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for name, code, output, runs in pool.map(one_fuzz, [(p, share) for p in paths]):
            tally.add(int(code == 0), int(code != 0))
            say(f"{'ok' if code == 0 else 'FAILED':6} {name}: {runs} runs")
            if code != 0:
                say(output[-6000:] + f"\nits input is in build/fuzz-found/{name}-*")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", nargs="*", default=[])
    parser.add_argument("--race", nargs="*", default=[])
    parser.add_argument("--fuzz", nargs="*", default=[])
    parser.add_argument("--fuzz-seconds", type=int, default=60)
    parser.add_argument("--integration", nargs="*", default=[])
    parser.add_argument("--sandbox", nargs="*", default=[], help="BIN:PROVIDER")
    parser.add_argument("--whole-sandbox", action="store_true", help="all tests in it, not some")
    parser.add_argument("--tsan", nargs="*", default=[], help="BIN:PROVIDER")
    parser.add_argument("--venv", default=os.path.join(ROOT, "build", "venv"))
    parser.add_argument("--pytest", default="", help="more words for pytest")
    options = parser.parse_args()
    tally = Tally()
    start = time.monotonic()
    run_units("unit tests", options.unit, tally)
    run_units("unit tests under ThreadSanitizer", options.race, tally)
    for number, pair in enumerate(options.integration):
        tollgate, provider = pair.split(":")
        extra = options.pytest.split() + (SECOND_RUN if number else [])
        run_integration(f"integration with {tollgate}", tollgate, provider, options.venv, extra,
                        tally)
    for pair in options.sandbox:
        tollgate, provider = pair.split(":")
        run_integration("integration in the unit's sandbox", tollgate, provider, options.venv,
                        options.pytest.split() if options.whole_sandbox else SANDBOX_RUN, tally,
                        {"TOLLGATE_TEST_SANDBOX": "1"})
    for pair in options.tsan:
        tollgate, provider = pair.split(":")
        run_integration("integration under ThreadSanitizer", tollgate, provider, options.venv,
                        options.pytest.split() or SECOND_RUN, tally)
    run_fuzz(options.fuzz, options.fuzz_seconds, tally)
    say(f"== {time.monotonic() - start:.0f} s")
    say(tally.line())
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
