"""How long each report and each page of the dashboard takes on a large ledger.

    make bench BENCH=reports                        a million records
    RECORDS=10000000 make bench BENCH=reports       ten million: minutes, 17 GB of disk on the way
    LEDGER=FOLDER ...                               one that is there (bench_reports made it)

    ... python3 tests/bench/bench_reports.py tasks waste     those calls alone
    ... python3 tests/bench/bench_reports.py records         those that take seconds, once each

bench_reports.c says what the traffic is. The gateway runs on that ledger; once it has added up the
days that are over and tasks, each call is asked of its admin listener, over a TLS connection of
its own, ROUNDS times. Shown are median and worst in milliseconds, the gateway's CPU for a call,
and whether a call, or all that a page asks, meets the goal of 200: by the median, or with
GOAL=cpu, for a machine that does other things, by the CPU. One that does not makes the exit
status 1.
"""

import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlencode

import show

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from kit.certs import Certs  # noqa: E402
from kit.config import base_config  # noqa: E402
from kit.procs import ROOT, Gateway, Provider  # noqa: E402

RECORDS = int(os.environ.get("RECORDS", "1000000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
MAKER = os.path.join(ROOT, "build", "release", "bench", "bench_reports")
GOAL_MS = 200
BY_CPU = os.environ.get("GOAL") == "cpu"
SETTLE_SECONDS = 900
ANSWER_SECONDS = 600
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
ALL = {"last": "30d"}
ODD = {}  # a window whose ends are in no bucket: once the ledger is there

LIMITS = [
    {"name": "company", "unit": "usd", "limit": "1000000", "window": "month"},
    {"name": "team", "unit": "usd", "limit": "100000", "window": "month", "per": ["team"]},
    {"name": "customer-day", "unit": "usd", "limit": "1000", "window": "day",
     "per": ["customer"]},
    {"name": "tokens", "unit": "tokens", "limit": 10 ** 12, "window": "week", "per": ["team"]},
]

# What is said of it, the report, its words.
CALLS = [
    ("spend by team", "spend", {**ALL, "by": "team"}),
    ("spend by team, a row a day", "spend", {**ALL, "by": "team", "grain": "day"}),
    ("spend by team and model, a row an hour of a week", "spend",
     {"last": "7d", "by": "team,model", "grain": "hour", "top": "50"}),
    ("spend by customer", "spend", {**ALL, "by": "customer"}),
    ("spend by user, the first 100", "spend", {**ALL, "by": "user", "top": "100"}),
    ("spend by a free tag", "spend", {**ALL, "by": "cell"}),
    ("spend by team of one customer", "spend",
     {**ALL, "by": "team", "where": "customer=customer-7"}),
    ("spend by customer, a row a day, the first 20", "spend",
     {**ALL, "by": "customer", "grain": "day", "top": "20"}),
    ("spend by user of one team, the first 100", "spend",
     {**ALL, "by": "user", "top": "100", "where": "team=team-3"}),
    ("requests: percentiles of all", "requests", ALL),
    ("requests by team: percentiles", "requests", {**ALL, "by": "team"}),
    ("requests by customer of one team: percentiles", "requests",
     {**ALL, "by": "customer", "where": "team=team-3"}),
    ("requests by customer: percentiles", "requests", {**ALL, "by": "customer"}),
    ("requests by feature", "requests", {**ALL, "by": "feature"}),
    ("requests by task type", "requests", {**ALL, "by": "task_type"}),
    ("requests by outcome, a row a day", "requests", {**ALL, "by": "outcome", "grain": "day"}),
    ("requests of one customer", "requests", {**ALL, "where": "customer=customer-7"}),
    ("requests of one customer by team", "requests",
     {**ALL, "by": "team", "where": "customer=customer-7"}),
    ("requests by customer, a row a week, the first 20", "requests",
     {**ALL, "by": "customer", "grain": "week", "top": "20"}),
    ("requests by a free tag", "requests", {**ALL, "by": "cell"}),
    ("requests by token band", "requests", {**ALL, "by": "token_band"}),
    ("requests by customer and model, the first 50", "requests",
     {**ALL, "by": "customer,model", "top": "50"}),
    ("requests by user, the first 50", "requests", {**ALL, "by": "user", "top": "50"}),
    ("spend by task type", "spend", {**ALL, "by": "task_type"}),
    ("spend by feature", "spend", {**ALL, "by": "feature"}),
    ("spend by token band", "spend", {**ALL, "by": "token_band"}),
    ("spend by a free tag, a row a day", "spend", {**ALL, "by": "cell", "grain": "day"}),
    ("spend by team of one user", "spend", {**ALL, "by": "team", "where": "user=user-77"}),
    ("spend by customer of one team", "spend",
     {**ALL, "by": "customer", "where": "team=team-3"}),
    ("spend by customer of one feature, the first 20", "spend",
     {**ALL, "by": "customer", "where": "feature=feature-3", "top": "20"}),
    ("spend by user of one customer, the first 20", "spend",
     {**ALL, "by": "user", "where": "customer=customer-7", "top": "20"}),
    ("spend by customer and model, the first 50", "spend",
     {**ALL, "by": "customer,model", "top": "50"}),
    ("spend by customer and user, the first 50", "spend",
     {**ALL, "by": "customer,user", "top": "50"}),
    ("spend by user, a row a week, the first 20", "spend",
     {**ALL, "by": "user", "grain": "week", "top": "20"}),
    ("spend by customer against the days before", "spend",
     {"last": "15d", "by": "customer", "against": "previous"}),
    ("spend by user, a row a day, the first 20", "spend",
     {**ALL, "by": "user", "grain": "day", "top": "20"}),
    ("models by customer, a row a day, the first 20", "models",
     {**ALL, "by": "customer", "grain": "day", "top": "20"}),
    ("odd window: spend by customer", "spend", {"odd": "", "by": "customer"}),
    ("odd window: spend by user, the first 20", "spend", {"odd": "", "by": "user", "top": "20"}),
    ("odd window: requests by customer, the first 20", "requests",
     {"odd": "", "by": "customer", "top": "20"}),
    ("odd window: tasks by team", "tasks", {"odd": "", "by": "team"}),
    ("Kathmandu, odd window: spend by team, a row a day", "spend",
     {"odd": "", "by": "team", "grain": "day", "tz": "Asia/Kathmandu"}),
    ("Kathmandu, odd window: spend by customer", "spend",
     {"odd": "", "by": "customer", "tz": "Asia/Kathmandu"}),
    ("Kathmandu: spend by customer, a row a day, the first 20", "spend",
     {**ALL, "by": "customer", "grain": "day", "top": "20", "tz": "Asia/Kathmandu"}),
    ("tasks", "tasks", ALL),
    ("tasks by team", "tasks", {**ALL, "by": "team"}),
    ("tasks by feature", "tasks", {**ALL, "by": "feature"}),
    ("tasks by customer, the first 50", "tasks", {**ALL, "by": "customer", "top": "50"}),
    ("tasks of one customer", "tasks", {**ALL, "where": "customer=customer-7"}),
    ("tasks by team, by spend", "tasks", {**ALL, "by": "team", "cohort": "spend"}),
    ("tasks by a free tag", "tasks", {**ALL, "by": "cell"}),
    ("waste", "waste", ALL),
    ("waste by team", "waste", {**ALL, "by": "team"}),
    ("waste by a free tag", "waste", {**ALL, "by": "cell"}),
    ("waste of one team", "waste", {**ALL, "where": "team=team-3"}),
    ("waste of one customer", "waste", {**ALL, "where": "customer=customer-7"}),
    ("savings", "savings", ALL),
    ("savings by feature", "savings", {**ALL, "by": "feature"}),
    ("savings of one customer", "savings", {**ALL, "where": "customer=customer-7"}),
    ("unit-economics by team", "unit-economics", {**ALL, "by": "team"}),
    ("unit-economics by feature", "unit-economics", {**ALL, "by": "feature"}),
    ("models", "models", ALL),
    ("models by feature", "models", {**ALL, "by": "feature"}),
    ("models of one customer", "models", {**ALL, "where": "customer=customer-7"}),
    ("models of one user", "models", {**ALL, "where": "user=user-77"}),
    ("models of one free tag", "models", {**ALL, "where": "cell=cell-3"}),
    ("token-bands", "token-bands", ALL),
    ("token-bands of one customer", "token-bands", {**ALL, "where": "customer=customer-7"}),
    ("token-bands of one free tag", "token-bands", {**ALL, "where": "cell=cell-3"}),
    ("token-bands by customer", "token-bands", {**ALL, "by": "customer"}),
    ("models by customer, the first 20", "models", {**ALL, "by": "customer", "top": "20"}),
    ("models by token band", "models", {**ALL, "by": "token_band"}),
    ("models of duplicates", "models", {**ALL, "where": "repeat=yes"}),
    ("models by user, the first 20", "models", {**ALL, "by": "user", "top": "20"}),
    ("requests by user, a row a day, the first 20", "requests",
     {**ALL, "by": "user", "grain": "day", "top": "20"}),
    ("savings by a free tag", "savings", {**ALL, "by": "cell"}),
    ("savings by customer, the first 20", "savings", {**ALL, "by": "customer", "top": "20"}),
    ("variance by customer", "variance", {"last": "15d", "by": "customer"}),
    ("untagged", "untagged", ALL),
    ("rate-card", "rate-card", ALL),
    ("commitments", "commitments", ALL),
    ("variance by team", "variance", {"last": "15d", "by": "team"}),
    ("variance of one customer", "variance", {"last": "15d", "where": "customer=customer-7"}),
    ("budgets", "budgets", {}),
    ("forecast by team", "forecast", {}),
    ("anomalies by team", "anomalies", {**ALL, "by": "team"}),
    ("anomalies by hour", "anomalies", {"last": "7d", "grain": "hour"}),
    ("digest", "digest", {}),
    ("maturity", "maturity", {}),
    ("allocation", "allocation", {}),
    ("statement", "statement", {}),
    ("journal", "journal", {}),
    ("changes", "changes", {}),
    ("lines, the 50 newest", "lines", {**ALL, "top": "50", "sort": "end:desc"}),
    ("lines, the 50 dearest", "lines", {**ALL, "top": "50", "sort": "cost_usd"}),
    ("lines of one customer, the 50 dearest", "lines",
     {**ALL, "top": "50", "sort": "cost_usd", "where": "customer=customer-7"}),
]

# By what no day is added up by, or of so many things that finding them takes about as long as the goal.
RECORDS_READ = [
    ("records: savings by token band", "savings", {**ALL, "by": "token_band"}),
    ("records: variance by user, the first 20", "variance",
     {"last": "15d", "by": "user", "top": "20"}),
    ("records: anomalies by customer", "anomalies", {**ALL, "by": "customer"}),
    ("records: savings by user, the first 20", "savings", {**ALL, "by": "user", "top": "20"}),
    ("records: models of one team by a free tag", "models",
     {**ALL, "by": "cell", "where": "team=team-3", "top": "20"}),
    ("records: tasks by token band", "tasks", {**ALL, "by": "token_band"}),
    ("records: spend by task, the first 20", "spend", {**ALL, "by": "task", "top": "20"}),
    ("records: tasks by user, the first 20", "tasks", {**ALL, "by": "user", "top": "20"}),
]

# What a page asks, one after the other: as test_94_dashboard sees it ask (more than six teams
# are here, so the first six are asked for beside all).
PAGES = [
    ("page: overview", [
        ("spend", {**ALL, "by": "team"}), ("spend", {**ALL, "by": "team", "top": "6"}),
        ("forecast", {"by": "team"}), ("spend", {**ALL, "grain": "day", "by": "team", "top": "6"}),
        ("spend", {**ALL, "by": "model", "top": "6"}),
        ("anomalies", {**ALL, "by": "team"}), ("budgets", {"top": "5"}), ("tasks", ALL)]),
    ("page: spend by customer", [
        ("spend", {**ALL, "by": "customer", "grain": "day", "top": "7"})]),
    ("page: cost per request", [("requests", {**ALL, "by": "model", "top": "50"})]),
    ("page: cost per task", [("tasks", {**ALL, "by": "task_type", "top": "50"})]),
    ("page: models", [("models", {**ALL, "by": "model", "top": "50"})]),
    ("page: budgets", [("budgets", {})]),
    ("page: anomalies", [("anomalies", {**ALL, "by": "team"}), ("spend", ALL)]),
]


def make_ledger(folder):
    state = os.path.join(folder, "var")
    os.makedirs(os.path.join(state, "journal"), exist_ok=True)
    done = subprocess.run([MAKER, str(RECORDS), state], stdout=subprocess.PIPE, text=True,
                          check=True)
    return done.stdout


def start(folder):
    certs = Certs(os.path.join(folder, "certs"))
    provider = Provider(folder, certs)
    config = base_config(certs, provider, limits=LIMITS)
    return Gateway(folder, config, certs), provider


def settle(gateway):
    """Waits until the gateway has added up days that are over and tasks; how long that took."""
    begun = time.monotonic()
    while "\ntollgate_ledger_chores_left 0\n" not in gateway.admin("/metrics").body.decode():
        if time.monotonic() - begun > SETTLE_SECONDS:
            sys.exit(f"bench: days are not added up after {SETTLE_SECONDS} s")
        time.sleep(0.2)
    return time.monotonic() - begun


def cpu_ms(gateway):
    """CPU of the gateway's processes so far."""
    pid = gateway.process.pid
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        pids = [pid, *map(int, f.read().split())]
    ticks = 0
    for one in pids:
        with open(f"/proc/{one}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_MS


def ask(gateway, path):
    begun = time.monotonic()
    answer = gateway.admin(path, seconds=ANSWER_SECONDS)
    took = (time.monotonic() - begun) * 1000
    if answer.status != 200:
        sys.exit(f"bench: {path}: {answer.status} {answer.body[:300]!r}")
    return took, len(answer.body)


def commit(gateway, folder):
    """A commitment that half of an upstream's spend uses up, and one that has room for all."""
    rows = gateway.admin(path_of("spend", {**ALL, "by": "upstream"})).json()["rows"]
    end = time.time() + 86400
    term = ",".join(time.strftime("%Y-%m-%d", time.gmtime(end - 86400 * n)) for n in (40, 0))
    path = os.path.join(folder, "commitments.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write("id,account,from,to,amount_usd\n")
        for n, row in enumerate(rows):
            half = float(row["cost_usd"]) / 2
            file.write(f"used-up-{n},{row['upstream']},{term},{half:.6f}\n"
                       f"with-room-{n},{row['upstream']},{term},{4 * half:.6f}\n")
    gateway.cli("import", "commitments", path)


def find_odd_window(folder):
    """From a ragged moment to another, within what the ledger has."""
    with sqlite3.connect(f"file:{folder}/var/ledger.db?mode=ro", uri=True) as db:
        end = db.execute("SELECT max(end_us) FROM line").fetchone()[0] // 10**6
    for word, seconds in (("from", 23 * 86400 + 25413), ("to", 86400 + 42670)):
        ODD[word] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end - seconds))


def path_of(name, words):
    words = {**words, **ODD} if "odd" in words else words
    return f"/api/v1/reports/{name}?" + urlencode({w: v for w, v in words.items() if w != "odd"})


def paths_of(calls):
    return [path_of(name, words) for name, words in calls]


def measure(gateway, calls, rounds=ROUNDS):
    """Median and worst of the sum over the calls, CPU for one, and the bytes of the answers."""
    times, size = [], 0
    before = cpu_ms(gateway)
    for _ in range(rounds):
        answers = [ask(gateway, path) for path in calls]
        times.append(sum(took for took, _ in answers))
        size = sum(n for _, n in answers)
    return statistics.median(times), max(times), (cpu_ms(gateway) - before) / rounds, size


def rows_of(gateway):
    for what, name, words in CALLS:
        yield what, measure(gateway, paths_of([(name, words)]))
    for what, calls in PAGES:
        yield what, measure(gateway, paths_of(calls))
    yield "metrics", measure(gateway, ["/metrics"])


def main():
    if not os.path.exists(MAKER):
        sys.exit("bench: not built: make BUILD=release benchers")
    wanted = sys.argv[1:]
    given = os.environ.get("LEDGER")
    folder = given or tempfile.mkdtemp(prefix="tollgate-bench-", dir=os.environ.get("FOLDER"))
    try:
        print(f"{show.machine()}; {RECORDS:,} records, median of {ROUNDS}")
        if not given:
            print(make_ledger(folder), flush=True)
        gateway, provider = start(folder)
        try:
            find_odd_window(folder)
            commit(gateway, folder)
            print(f"days added up after {settle(gateway):.0f} s\n", flush=True)
            late = show_rows(some(gateway, wanted) if wanted else rows_of(gateway))
        finally:
            gateway.process.stop()
            provider.process.stop()
    finally:
        if not given:
            shutil.rmtree(folder, ignore_errors=True)
    return late


def show_rows(rows):
    """Prints them as they come; 1 where any is above the goal, else 0."""
    late = 0
    judged = "CPU" if BY_CPU else "ms"
    print(f"| | ms | worst | CPU ms | goal, {judged} | | bytes |\n|---|---|---|---|---|---|---|")
    for what, (middle, worst, cpu, size) in rows:
        is_late = (cpu if BY_CPU else middle) > GOAL_MS
        late |= is_late
        print(f"| {what} | {middle:.0f} | {worst:.0f} | {cpu:.0f} | {GOAL_MS} | "
              f"{'late' if is_late else 'met'} | {size:,} |", flush=True)
    return int(late)


def some(gateway, wanted):
    for what, name, words in CALLS:
        if any(text in what for text in wanted):
            yield what, measure(gateway, paths_of([(name, words)]))
    for what, calls in PAGES:
        if any(text in what for text in wanted):
            yield what, measure(gateway, paths_of(calls))
    for what, name, words in RECORDS_READ:
        if any(text in what.split(":")[0] for text in wanted):
            yield what, measure(gateway, paths_of([(name, words)]))


if __name__ == "__main__":
    sys.exit(main())
