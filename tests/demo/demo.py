#!/usr/bin/env python3
"""Shows tollgate at work: a private Redis, the simulated provider and the gateway on free
loopback ports, some hundreds of tagged calls over TLS, and the reports on what they cost.

    demo.py [--once] [--calls N]

Without --once the gateway stays up, with its reports in a browser, until Ctrl-C.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True

from kit import calls, client  # noqa: E402
from kit.certs import Certs  # noqa: E402
from kit.config import base_config  # noqa: E402
from kit.procs import Gateway, Provider, Redis  # noqa: E402

THREADS = 8
TASKS = 24
BUDGET_TEAM = "labs"

# Who calls: team, feature, environment, type of task, and the calls that it likes to make.
APPS = [
    ("search", "answer", "prod", "question", ["chat", "chat-stream", "embeddings"]),
    ("search", "rerank", "prod", "question", ["responses", "embeddings"]),
    ("support", "triage", "prod", "ticket", ["messages", "messages-stream"]),
    ("support", "reply", "staging", "ticket", ["messages-stream", "chat-stream"]),
    ("billing", "extract", "prod", "invoice", ["generate", "generate-sse", "responses-stream"]),
    (BUDGET_TEAM, "experiments", "eval", "experiment", ["chat", "messages", "generate-array"]),
    ("search", None, "dev", None, ["completions-stream", "chat"]),
]

LIMITS = [
    {"name": "company-month", "unit": "usd", "limit": "500.00", "window": "month",
     "alerts": [50, 80, 100]},
    {"name": "labs-day", "match": {"team": BUDGET_TEAM}, "unit": "usd", "limit": "0.05",
     "window": "day"},
    {"name": "per-feature-day", "per": ["team", "feature"], "unit": "usd", "limit": "20",
     "window": "day", "mode": "warn"},
    {"name": "key-rpm", "per": ["key"], "unit": "requests", "limit": 60000, "window": "60s"},
]


class Progress:
    """One line that is rewritten on a terminal; a few plain ones elsewhere."""

    def __init__(self, total):
        self.total = total
        self.done = self.refused = self.left = self.failed = 0
        self.lock = threading.Lock()
        self.terminal = sys.stdout.isatty()
        self.said = -1

    def count(self, kind):
        with self.lock:
            setattr(self, kind, getattr(self, kind) + 1)
            seen = self.done + self.refused + self.left + self.failed
            line = (f"calls {seen}/{self.total}: {self.done} answered, {self.refused} refused by "
                    f"the budget, {self.left} left by the client, {self.failed} failed")
            if self.terminal:
                sys.stdout.write("\r" + line + ("\n" if seen == self.total else ""))
            elif seen == self.total or seen * 4 // self.total > self.said:
                self.said = seen * 4 // self.total
                print(line)
            sys.stdout.flush()


def plan(count):
    """The calls to make: reproducible, in the order of a working day."""
    dice = random.Random(20261121)
    made = []
    for number in range(count):
        team, feature, environment, kind, shapes = APPS[dice.randrange(len(APPS))]
        call = calls.SHAPES[shapes[dice.randrange(len(shapes))]](words=dice.randint(50, 1500))
        tags = [("X-Tollgate-Team", team), ("X-Tollgate-Environment", environment)]
        if feature:
            tags.append(("X-Tollgate-Feature", feature))
        if kind:
            tags += [("X-Tollgate-Task", f"{kind}-{dice.randrange(TASKS):03d}"),
                     ("X-Tollgate-Task-Type", kind)]
        if dice.random() < 0.1:
            tags.append(("X-Tollgate-Attempt", "2"))
        sim = {"Output_Tokens": dice.randint(20, 800), "Tokens_Per_Event": 20}
        leaves = "stream" in call.body and dice.random() < 0.05
        if leaves:
            sim["Event_Delay_Ms"] = 30
        if dice.random() < 0.02:
            sim["Status"] = 500
        made.append((number, call, tags, sim, leaves))
    return made


def hang_up(gateway, call, tags, sim):
    """A client that reads the first event and goes."""
    with gateway.connect() as connection:
        connection.send(client.request_bytes("POST", call.full_path(),
                                             call.headers(tags=tags, sim=sim), call.data()))
        connection.read_head()
        connection._until(b"\n\n")


def work(gateway, queue, lock, progress):
    connection = None
    while True:
        with lock:
            if not queue:
                break
            _, call, tags, sim, leaves = queue.pop()
        try:
            if leaves:
                hang_up(gateway, call, tags, sim)
                progress.count("left")
                continue
            connection = connection or gateway.connect()
            answer = calls.send(gateway, call, connection, tags=tags, sim=sim)
            progress.count({200: "done", 402: "refused"}.get(answer.status, "failed"))
            if answer.header("connection") == "close":
                connection.close()
                connection = None
        except (OSError, client.Broken):
            progress.count("failed")
            if connection:
                connection.close()
            connection = None
    if connection:
        connection.close()


def drive(gateway, made):
    queue = list(reversed(made))
    lock = threading.Lock()
    progress = Progress(len(made))
    threads = [threading.Thread(target=work, args=(gateway, queue, lock, progress))
               for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return progress


def close_tasks(gateway, made):
    """The apps say how their tasks ended."""
    dice = random.Random(7)
    tasks = {(dict(tags)["X-Tollgate-Task"], dict(tags)["X-Tollgate-Team"])
             for _, _, tags, _, _ in made if "X-Tollgate-Task" in dict(tags)}
    for task, team in sorted(tasks):
        headers = [("Authorization", f"Bearer {calls.KEY}"), ("X-Tollgate-Team", team)]
        outcome = "completed" if dice.random() < 0.8 else "failed"
        gateway.request("PUT", f"/_tollgate/tasks/{task}/outcome", headers,
                        json.dumps({"outcome": outcome}).encode())


REPORTS = [
    ("What each team and feature spent", ["spend", "--by", "team,feature"]),
    ("What a request costs, by model", ["requests", "--by", "model"]),
    ("What a task costs, by type", ["tasks", "--by", "task_type"]),
    ("Where the budgets stand", ["budgets"]),
]


def show(gateway):
    for title, words in REPORTS:
        print(f"\n{title}: tollgate report {' '.join(words)}\n")
        print(gateway.cli("report", *words).rstrip("\n"))
    sys.stdout.flush()


def compare(gateway, provider):
    """The provider's own books beside the ledger."""
    billed = provider.totals()["billed"]
    ledger = gateway.report("spend")["total"]
    failed = ledger["requests"] - billed
    print(f"\nThe ledger holds {ledger['requests']} calls for {ledger['cost_usd']} USD; the "
          f"provider's own books have {billed}, and {failed} failed there.")


def wait_for_ledger(gateway, progress):
    """The ledger follows the calls by a moment."""
    wanted = progress.done + progress.left
    end = time.monotonic() + 20
    while time.monotonic() < end:
        tasks = gateway.report("tasks")["total"]
        if gateway.report("spend")["total"]["requests"] >= wanted and tasks["completed"] > 0:
            return
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="end after printing")
    parser.add_argument("--calls", type=int, default=400)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="tollgate-demo-")
    running = []
    try:
        certs = Certs(os.path.join(folder, "tls"))
        redis = Redis(folder)
        running.append(redis)
        provider = Provider(folder, certs, ["--threads", "2"])
        running.append(provider)
        config = base_config(certs, provider, redis, limits=LIMITS)
        config["keys"][0].pop("tags")
        gateway = Gateway(os.path.join(folder, "gateway"), config, certs)
        running.append(gateway)
        print(f"gateway {gateway.url}, provider {provider.url}, Redis on port {redis.port}")
        made = plan(options.calls)
        progress = drive(gateway, made)
        close_tasks(gateway, made)
        wait_for_ledger(gateway, progress)
        show(gateway)
        compare(gateway, provider)
        if not options.once:
            print(f"\nDashboard: https://localhost:{gateway.admin_port}/  (its certificate is "
                  f"the demonstration's own: accept it)"
                  f"\nSign in with the token {gateway.token()}"
                  f"\nMore on the command line: build/tollgate report lines -c "
                  f"{gateway.config_path}\nCtrl-C ends it.")
            sys.stdout.flush()
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
            print()
    except KeyboardInterrupt:
        print()
    finally:
        for process in reversed(running):
            try:
                process.stop()
            except AssertionError as problem:
                print(problem, file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    main()
