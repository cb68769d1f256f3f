"""One set of books for several gateways on one Redis: `tollgate import ledger`."""

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import threading
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from kit import calls, procs, terminal
from kit.procs import run_cli, wait_for
from test_92_reprice import FIRST, book_of, entry

NAMES = ["north", "east", "west"]
LIMITS = [{"name": "day", "unit": "usd", "limit": "1000", "window": "day"}]
ALWAYS = ["--from", "2026-01-01", "--to", "2032-01-01"]


class Books:
    """An installation in which no gateway runs."""

    def __init__(self, folder, config):
        self.folder = str(folder)
        os.makedirs(self.folder)
        self.config_path = os.path.join(self.folder, "books.json")
        with open(self.config_path, "w", encoding="utf-8") as out:
            json.dump(config, out)
        self.ledger = os.path.join(self.folder, "var", "ledger.db")

    def run(self, *words, code=0, env=None):
        done = run_cli(*words, "-c", self.config_path, cwd=self.folder, env=env)
        assert done.returncode == code, done.stdout + done.stderr
        assert not procs.SANITIZER.search(done.stderr), done.stderr
        return done.stdout + done.stderr

    def take(self, *gateways, code=0, options=()):
        return self.run("import", "ledger", *[ledger_of(g) for g in gateways], *options, code=code)

    def export(self):
        return [json.loads(line) for line in self.run("export", "--format", "jsonl").splitlines()]

    def report(self, name, *words):
        return json.loads(self.run("report", name, "--format", "json", *words))


def ledger_of(gateway):
    return gateway if isinstance(gateway, str) else os.path.join(gateway.folder, "var", "ledger.db")


@pytest.fixture
def three(gateways, redis, tmp_path):
    """Three gateways with a price book of their own, and one set of books."""
    prices = tmp_path / "own-book.json"
    prices.write_text(json.dumps(FIRST))
    made = []
    for name in NAMES:
        config = gateways.config(redis, node=name, limits=LIMITS,
                                 prices={"book": [str(prices)]})
        for upstream in config["upstreams"]:
            upstream["provider"] = "made"
        made.append(gateways(config, name=name))
    made[0].prices = prices
    return made


def spend(gateway, n, model="alpha", tags=(), **sim):
    for _ in range(n):
        assert calls.send(gateway, calls.chat(model=model), tags=list(tags), sim=sim).status == 200
    gateway.answered = answered(gateway) + n


def answered(gateway):
    return getattr(gateway, "answered", 0)


def close_task(gateway, task, outcome):
    answer = gateway.request("PUT", f"/_tollgate/tasks/{task}/outcome",
                             [("Authorization", f"Bearer {calls.KEY}"),
                              ("Content-Type", "application/json")],
                             json.dumps({"outcome": outcome}).encode())
    assert answer.status in (200, 204), answer.body


def traffic(three, round_number):
    """Different on each; a task goes through all of them, and is closed by the last."""
    for i, gateway in enumerate(three):
        spend(gateway, 2 + 3 * i, "alpha" if i else "beta", Input_Tokens=str(100 + 7 * i))
        spend(gateway, 1, tags=[("X-Tollgate-Task", f"task-{round_number}"),
                                ("X-Tollgate-Customer", "acme"),
                                ("X-Tollgate-Attempt", str(i + 1))])
    close_task(three[round_number % 3], f"task-{round_number}", "completed")


def settled(three):
    """Every gateway's ledger has all that its journal has; what waits is as of its last look there."""
    def quiet():
        totals = [gateway.admin("/metrics").body.decode() for gateway in three]
        return (all("\ntollgate_ledger_waiting_bytes 0\n" in t for t in totals) and
                all(len(gateway.export()) >= answered(gateway) for gateway in three))
    wait_for("ledgers that have caught up", quiet, 15, 0.1)
    time.sleep(0.3)


def by_id(records):
    return {r["id"]: r for r in records}


def assert_sum(books, three):
    """Every record of each, once, to the byte; sums and reports agree with that to the last digit."""
    each = [r for gateway in three for r in gateway.export()]
    ours = books.export()
    assert len(ours) == len(each) == len(by_id(each))
    assert by_id(ours) == by_id(each)
    for by in ("team", "model", "customer"):
        sums = {}
        for gateway in three:
            for row in gateway.report("spend", "--by", by, *ALWAYS)["rows"]:
                name = row[by]
                had = sums.get(name, (0, Decimal(0)))
                sums[name] = (had[0] + row["requests"], had[1] + Decimal(row["cost_usd"]))
        rows = books.report("spend", "--by", by, *ALWAYS)["rows"]
        assert {r[by]: (r["requests"], Decimal(r["cost_usd"])) for r in rows} == sums
    said = books.run("audit")
    assert "everything agrees" in said and "DISAGREES" not in said
    return ours


def test_sum_of_three(three, tmp_path, provider):
    books = Books(tmp_path / "books", three[0].config)
    traffic(three, 0)
    # One dies with a request under way: its record is `interrupted`.
    slow = threading.Thread(target=lambda: ignore(lambda: calls.send(
        three[1], calls.chat(model="alpha"), sim={"Delay_Ms": 3000}, timeout=5)))
    before = provider.totals()["requests"]
    slow.start()
    wait_for("the slow call", lambda: provider.totals()["requests"] > before)
    three[1].kill()
    slow.join()
    three[1].start()
    settled(three)
    said = books.take(*three)
    assert "records added" in said and "complete up to" in said
    records = assert_sum(books, three)
    assert {r["node"] for r in records} == set(NAMES)
    assert sum(r["outcome"] == "interrupted" for r in records) == 1
    # The task's requests went through three gateways; in the books it is one.
    tasks = books.report("tasks", *ALWAYS)
    assert tasks["rows"][0]["tasks"] == 1, tasks

    # Again: nothing is new.  From the first record on: all of it is there.
    assert books.take(*three).count(": 0 records added,") == 3
    again = books.take(*three, options=["--again"])
    assert again.count(": 0 records added,") == 3 and "were there" in again
    assert_sum(books, three)

    # A correction in one of them, more traffic on all; then in the books.
    three[0].prices.write_text(json.dumps(book_of(
        entry("alpha", (None, None, {"in": "3", "out": "8"})),
        entry("beta", (None, None, {"in": "0.001", "out": "0.003"})))))
    said = three[2].cli("price", "reprice", *ALWAYS, "--apply", "--reason", "the invoice says so")
    traffic(three, 1)
    settled(three)
    books.take(*three)
    records = assert_sum(books, three)
    assert any(r.get("corrects") for r in records), said
    assert books.report("tasks", *ALWAYS)["rows"][0]["tasks"] == 2


def ignore(call):
    try:
        call()
    except Exception:   # the gateway was killed: any end will do
        pass


def test_refusals_are_counted_once(gateways, redis, tmp_path):
    limits = [{"name": "few", "unit": "requests", "limit": 2, "window": "day"}]
    two = [gateways(redis=redis, name=name, node=name, limits=limits) for name in NAMES[:2]]
    for i in range(8):
        calls.send(two[i % 2], calls.chat())
    settled(two)
    books = Books(tmp_path / "books", two[0].config)

    def refused(where):
        db = sqlite3.connect(where)
        n = db.execute("SELECT sum(count) FROM denied").fetchone()[0]
        db.close()
        return n
    wait_for("all refusals", lambda: sum(refused(ledger_of(g)) or 0 for g in two) == 6, 15, 0.1)
    for _ in range(2):
        books.take(*two)
        assert refused(books.ledger) == 6
    calls.send(two[0], calls.chat())
    wait_for("one more", lambda: sum(refused(ledger_of(g)) for g in two) == 7, 15, 0.1)
    books.take(*two)
    assert refused(books.ledger) == 7


def test_books_are_no_gateways_part(three, redis, tmp_path):
    """Neither serve nor a rebuild counts them in Redis; a gateway's own ledger takes nothing in."""
    traffic(three, 0)
    settled(three)
    books = Books(tmp_path / "books", three[0].config)
    books.take(*three)
    counters = set(redis.command("KEYS", "*"))
    done = run_cli("serve", "-c", books.config_path, cwd=books.folder)
    assert done.returncode != 0 and "a set of books" in done.stderr, done.stderr
    assert "a set of books" in books.run("budget", "rebuild", code=1)
    three[2].stop()
    said = run_cli("import", "ledger", ledger_of(three[0]), "-c", three[2].config_path,
                   cwd=three[2].folder)
    assert said.returncode == 2 and "a gateway's own" in said.stderr, said.stderr
    assert set(redis.command("KEYS", "*")) <= counters   # one that stops takes its own along
    three[2].start()
    spend(three[2], 1)
    settled(three)
    for gateway in three:
        assert "everything agrees" in gateway.cli("audit")
    said = books.run("price", "reprice", *ALWAYS, "--apply", "--reason", "no", code=2)
    assert "correct those" in said


def test_a_backup_and_what_is_refused(three, tmp_path):
    """Live and copied ledgers are one and the same; one that is refused stops no other."""
    traffic(three, 0)
    settled(three)
    books = Books(tmp_path / "books", three[0].config)
    backup = str(tmp_path / "backup.db")
    db = sqlite3.connect(ledger_of(three[0]))
    db.execute("VACUUM INTO ?", (backup,))
    db.close()
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"x" * 20000)
    said = books.take(str(broken), backup, three[0], three[1], code=1)
    assert "it is no ledger" in said and "not every ledger was taken" in said
    assert ": 0 records added," in said   # the live one, whose copy was first
    books.take(three[2])
    assert_sum(books, three)
    assert "books" in books.take(books.ledger, code=1)
    assert "which ledgers" in books.run("import", "ledger", code=2)
    assert "--check" in books.run("import", "ledger", backup, "--check", code=2)


def history(folder, days, n):
    """A ledger of some days, without a gateway."""
    binary = os.path.join(os.path.dirname(procs.provider_binary()), "history")
    if not os.path.exists(binary):
        pytest.skip(f"no {binary}")
    os.makedirs(folder)
    subprocess.run([binary, str(folder), str(days), str(n)], check=True, timeout=300)
    return os.path.join(folder, "ledger.db")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_any_moment(gateways, tmp_path, number):
    """However often it is ended, the books are whole after each, and all there at the end."""
    books = Books(tmp_path / "books", gateways.config())
    sources = [history(tmp_path / f"of-{i}", 6, 1500 + 400 * i) for i in range(2)]

    def ask(path, question):
        db = sqlite3.connect(path)
        n = db.execute(question).fetchone()[0]
        db.close()
        return n

    def count(path):
        return ask(path, "SELECT count(*) FROM record")

    def is_begun(path):
        return os.path.exists(path) and ask(path, "PRAGMA user_version") > 0
    total = sum(count(s) for s in sources)
    pause, rounds, ended = 0.02, 0, 0
    while True:
        process = subprocess.Popen(
            [procs.tollgate_binary(), "import", "ledger", *sources, "-c", books.config_path],
            cwd=books.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        try:
            said, _ = process.communicate(timeout=pause)
            assert process.returncode == 0, said
            break
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            said, _ = process.communicate(timeout=60)
            ended += process.returncode == -number
            assert not procs.SANITIZER.search(said), said
        rounds += 1
        pause *= 1.4
        if rounds % 4 == 0 and is_begun(books.ledger):
            books.run("audit")
    assert ended > 2
    assert count(books.ledger) == total
    assert "everything agrees" in books.run("audit")


def test_says_how_far_it_is(gateways, tmp_path):
    books = Books(tmp_path / "books", gateways.config())
    source = history(tmp_path / "of-one", 8, 2000)
    words, says = ["import", "ledger", source], r"take in: \d+ of \d+ \(\d+ %\)"
    status, said = terminal.run(books, *words, until=says, press=True)
    assert status == -signal.SIGINT and "take in: stopped" in said, said
    status, said = terminal.run(books, *words, until=says)
    assert status == 0 and re.search(says, said), said   # what is checked may be too short to be told
    assert "everything agrees" in books.run("audit")


def test_late_for_a_closed_month(gateways, tmp_path):
    """What a gateway brings for a month that is closed in the books is billed in the first open one."""
    books = Books(tmp_path / "books", gateways.config())
    today = datetime.now(timezone.utc)
    first, second = (history(tmp_path / f"of-{i}", today.day + 5, 60) for i in range(2))
    last = (today.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    this = today.strftime("%Y-%m")

    def statement(month):
        total = books.report("statement", "--month", month)["total"]
        return Decimal(total["cost_usd"]) + Decimal(total["correction_usd"])

    def spent():
        return Decimal(books.report("spend", *ALWAYS)["total"]["cost_usd"])
    books.take(first)
    books.run("close", "--month", last)
    closed = books.run("report", "statement", "--month", last, "--format", "csv")
    before = spent()
    assert statement(last) + statement(this) == before
    books.take(first, second)
    assert spent() > before
    assert books.run("report", "statement", "--month", last, "--format", "csv") == closed
    assert statement(last) + statement(this) == spent()
    assert last in books.run("close", "--verify")
    assert "everything agrees" in books.run("audit")


def test_no_room(gateways, tmp_path):
    """Where the books can grow no more they are whole as far as they are, and go on when there is room."""
    books = Books(tmp_path / "books", gateways.config())
    source = history(tmp_path / "of-one", 10, 1000)

    def little_room(size):
        def set_it():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return set_it
    for size in (300_000, 1_000_000, 3_000_000):
        done = subprocess.run([procs.tollgate_binary(), "import", "ledger", source, "-c",
                               books.config_path], cwd=books.folder, capture_output=True, text=True,
                              preexec_fn=little_room(size), timeout=120)
        assert done.returncode in (1, 2), (done.returncode, done.stdout, done.stderr)
        assert "tollgate import: " in done.stderr and "could not" in done.stderr, done.stderr
        assert not procs.SANITIZER.search(done.stderr), done.stderr
        assert "everything agrees" in books.run("audit")
    books.take(source)
    db = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
    n = db.execute("SELECT count(*) FROM record").fetchone()[0]
    db.close()
    assert len(books.export()) == n
    assert "everything agrees" in books.run("audit")
