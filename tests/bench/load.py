"""What loads them: our own program (load.c). LOADER=wrk has wrk instead where it saturates: it takes more
of the load's core, so that the proxy may have less to do, but nobody here wrote it."""

import contextlib
import json
import os
import re
import subprocess
import sys

from peers import LOAD_CORE

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOAD = os.path.join(ROOT, "build", "release", "bench", "load")

LUA = """
wrk.method = "POST"
{headers}
local f = io.open("{body}", "rb"); wrk.body = f:read("*a"); f:close()
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {{"requests": %d, "us": %d, "bad": %d, "faults": "status %d, read %d, write %d, connect %d, timeout %d", "p50": %d, "p99": %d}}\\n',
    summary.requests, summary.duration, e.status + e.read + e.write + e.connect + e.timeout,
    e.status, e.read, e.write, e.connect, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class Call:
    """One kind of request: its body, what the simulated provider does with it, its tags."""

    def __init__(self, name, body, sim=None, streams=False, tags=True):
        self.name, self.body, self.sim = name, body, sim or {}
        self.streams, self.tags = streams, tags

    def headers(self, peer):
        out = {"Authorization": f"Bearer {peer.key}", "Content-Type": "application/json"}
        if self.tags:
            out.update({"X-Tollgate-Feature": "bench", "X-Tollgate-Task": "bench-task"})
        out.update({f"X-Sim-{name}": value for name, value in self.sim.items()})
        return out

    def write(self, folder):
        path = os.path.join(folder, f"{self.name}.json")
        with open(path, "w", encoding="ascii") as out:
            json.dump(self.body, out)
        return path


def wrk(folder, peer, call, connections, seconds):
    """Requests one after the other on so many connections, as fast as answers come."""
    script = os.path.join(folder, "wrk.lua")
    lines = "\n".join(f'wrk.headers["{k}"] = "{v}"' for k, v in call.headers(peer).items())
    with open(script, "w", encoding="ascii") as out:
        out.write(LUA.format(headers=lines, body=call.write(folder)))
    url = f"https://127.0.0.1:{peer.port}{peer.path(call.streams)}"
    done = subprocess.run(["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}",
                           f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", script, url],
                          capture_output=True, text=True, check=False)
    found = re.search(r"RESULT (\{.*\})", done.stdout)
    if not found:
        raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
    result = json.loads(found.group(1))
    if result["bad"]:
        raise RuntimeError(f"{result['bad']} of {result['requests']} requests to {peer.name} "
                           f"failed: {result['faults']}")
    return result


def closed(folder, peer, call, connections, seconds, taken=dict):
    """Requests one after the other on so many connections, as fast as answers come: the result, and under
    "before" and "after" what taken() gave when it began and when it had ended."""
    if os.environ.get("LOADER", "load") == "wrk":
        before = taken()
        result = wrk(folder, peer, call, connections, seconds)
        return {**result, "before": before, "after": taken()}
    with Load(folder, "closed", peer, connections, call, seconds=seconds) as load:
        load.wait("ready")
        before = taken()
        load.release()
        result = load.result()
        after = taken()
    if result["failed"]:
        raise RuntimeError(f"{result['failed']} of {result['requests']} requests to {peer.name} failed")
    return {**result, "before": before, "after": after}


class Load:
    """A run of load.c; leaving the block ends it."""

    def __init__(self, folder, mode, peer, connections, call=None, seconds=0, rate=0, flags=()):
        args = ["taskset", "-c", LOAD_CORE, LOAD, mode, "--port", str(peer.port),
                "--connections", str(connections), *flags]
        if call:
            args += ["--path", peer.path(call.streams), "--body", call.write(folder)]
            for name, value in call.headers(peer).items():
                args += ["--header", f"{name}: {value}"]
        if seconds:
            args += ["--seconds", str(seconds)]
        if rate:
            args += ["--rate", str(rate)]
        self.what = f"{mode} to {peer.name}"
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def wait(self, word):
        """Until it says that word."""
        line = self.process.stdout.readline().strip()
        if line != word:
            raise RuntimeError(f"load {self.what}: {line} {self.process.stderr.read()}")

    def release(self):
        """Ends one that holds."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def result(self):
        line = self.process.stdout.readline()
        try:
            result = json.loads(line)
        except ValueError:
            raise RuntimeError(f"load {self.what}: {line}{self.process.stderr.read()}") from None
        if result["failed"] or result["unfinished"]:
            print(f"load {self.what}: {result['failed']} failed, {result['unfinished']} not "
                  f"answered in time", file=sys.stderr)
        return result

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()
        self.process.stdout.close()
        self.process.stderr.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
