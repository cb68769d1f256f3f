"""What the gateway costs against nginx and haproxy, as ratios of one run.

Everything is on: metering, tags, journal, a budget in Redis. TLS on both sides, upstream
verified, keep-alive. The proxy alone has one core; the load, the provider and Redis have the
other. Rounds alternate; figures are medians. CPU is the process's own (utime and stime of
/proc), so a noisy neighbour moves the rates more than the ratios. "Added" is what is left of a
time when that of the provider itself, in the same rounds, is subtracted.

    make bench                      all
    make bench BENCH="small sse"    some
    make bench BENCH=help           which there are
    ROUNDS=5 SECONDS=4 make bench   longer

The output is Markdown, to be pasted. peers.py has who is measured, load.py what loads them,
cases.py what is measured, show.py the tables.
"""

import os
import shutil
import sys
import tempfile

import show
from cases import CASES, Bench
from load import LOAD
from peers import Stand, raise_files

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS", "3"))
FILES_LEAST = 16384


def prepare(wanted):
    """Ends with a reason where it cannot be measured."""
    unknown = [name for name in wanted if name not in CASES]
    loads = ["wrk"] if os.environ.get("LOADER") == "wrk" else []
    missing = [name for name in (*loads, "redis-server", "taskset", "openssl")
               if not shutil.which(name)]
    if unknown:
        sys.exit(f"bench: unknown {unknown}; there are: {' '.join(CASES)}")
    if missing:
        sys.exit(f"bench: not installed: {missing}")
    if not os.path.exists(LOAD):
        sys.exit("bench: not built: make BUILD=release benchers")
    if (os.cpu_count() or 1) < 2:
        sys.exit("bench: the proxy wants a core of its own, and there is one in all")
    if raise_files() < FILES_LEAST:
        print(f"bench: fewer than {FILES_LEAST} descriptors: as root, or after ulimit -n",
              file=sys.stderr)
    for peer in ("nginx", "haproxy"):
        if not shutil.which(peer):
            print(f"bench: no {peer} here, so nothing is compared with it")


def main():
    wanted = sys.argv[1:] or list(CASES)
    if wanted == ["help"]:
        for name, (_, what) in CASES.items():
            print(f"{name:12}{what}")
        return
    prepare(wanted)
    folder = tempfile.mkdtemp(prefix="tollgate-bench-")
    try:
        stand = Stand(folder)
        try:
            print(f"{show.machine()}; medians of {ROUNDS} rounds of {SECONDS} s")
            bench = Bench(stand, ROUNDS, SECONDS)
            for name, (run, _) in CASES.items():
                if name in wanted:
                    run(bench)
        finally:
            stand.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
