"""Reports: the command line and the admin listener say the same, and all agree with the ledger."""

import csv
import io
import json
import re
import subprocess
import urllib.parse
from datetime import datetime, timezone
from decimal import Decimal

import pytest

from kit import calls
from kit.procs import tollgate_binary, wait_for

TEAMS = ["search", "billing"]
FEATURES = ["chat", "summary", None]


@pytest.fixture
def busy(gateways, provider, redis):
    return with_calls(gateways, redis)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, certs, shared_provider, shared_redis):
    """The same, for questions that change nothing."""
    from conftest import Gateways
    made = Gateways(tmp_path_factory.mktemp("shared"), certs, shared_provider)
    yield with_calls(made, shared_redis)
    made.finish()


def with_calls(gateways, redis):
    """A gateway with some eighty calls of several teams, features, tasks and models."""
    gateway = gateways(redis=redis, limits=[{"name": "all", "unit": "usd", "limit": "100", "window": "month"}])
    shapes = list(calls.SHAPES)
    with gateway.connect() as connection:
        for n in range(80):
            tags = [("X-Tollgate-Team", TEAMS[n % 2]), ("X-Tollgate-Task", f"task-{n % 10}"),
                    ("X-Tollgate-Task-Type", "triage"),
                    ("X-Tollgate-Environment", "prod" if n % 3 else "dev")]
            if FEATURES[n % 3]:
                tags.append(("X-Tollgate-Feature", FEATURES[n % 3]))
            if n % 10 == 0 and n:
                tags.append(("X-Tollgate-Attempt", "2"))
            answer = calls.send(gateway, calls.SHAPES[shapes[n % len(shapes)]](words=5 + n),
                                connection, tags=tags)
            assert answer.status == 200
    for n in range(10):
        outcome = "completed" if n < 7 else "failed"
        answer = gateway.request("PUT", f"/_tollgate/tasks/task-{n}/outcome",
                                 [("Authorization", f"Bearer {calls.KEY}"),
                                  ("X-Tollgate-Team", TEAMS[n % 2])],
                                 json.dumps({"outcome": outcome}).encode())
        assert answer.status in (200, 204)
    gateway.records(80)

    def all_closed():   # outcomes follow the answer, as records do
        return gateway.report("tasks")["total"]["open"] == 0
    wait_for("the outcomes", all_closed, 15, 0.1)
    return gateway


def total_of(records):
    return sum(Decimal(r["cost_usd"]) for r in records if r["cost_usd"] is not None)


def add_up(rows, name):
    return sum(Decimal(str(row[name])) for row in rows if row.get(name) is not None)


@pytest.mark.parametrize("by", ["", "team", "team,feature", "model", "upstream,model", "key",
                                "environment", "task"])
def test_spend_sums(busy, by):
    records = busy.export()
    report = busy.report("spend", *(["--by", by] if by else []))
    assert report["report"] == "spend" and report["timezone"] == "UTC"
    assert Decimal(report["total"]["cost_usd"]) == total_of(records)
    assert add_up(report["rows"], "cost_usd") == total_of(records)
    assert add_up(report["rows"], "requests") == len(records)
    assert add_up(report["rows"], "input_tokens") == sum(r["usage"]["input_tokens"]
                                                         for r in records)
    if by == "team,feature":
        assert "(untagged)" in {row["feature"] for row in report["rows"]}
        for row in report["rows"]:
            feature = None if row["feature"] == "(untagged)" else row["feature"]
            mine = [r for r in records if r["team"] == row["team"]
                    and r.get("feature") == feature]
            assert Decimal(row["cost_usd"]) == total_of(mine)


@pytest.mark.parametrize("name,words", [
    ("spend", {"by": "team"}), ("requests", {"by": "model"}), ("tasks", {"by": "task_type"}),
    ("budgets", {}), ("rate-card", {}), ("spend", {"by": "team", "where": "environment!=dev", "top": "1"})])
def test_command_line_and_admin_say_the_same(busy, name, words):
    def nothing_reserved():   # leases are given back a second or two later
        return all(row["reserved_usd"] in (None, "0") for row in busy.report("budgets")["rows"])
    if name == "budgets":
        wait_for("the leases", nothing_reserved, 20, 0.2)
    options = [item for k, v in words.items() for item in (f"--{k}", v)]
    mine = busy.report(name, *options)
    query = "&".join(["format=json"] + [f"{k}={v.replace('!', '%21')}" for k, v in words.items()])
    answer = busy.admin(f"/api/v1/reports/{name}?{query}")
    assert answer.status == 200
    theirs = answer.json()
    for report in (mine, theirs):
        report.pop("as_of"), report.pop("to"), report.pop("from")
    assert mine == theirs


def test_requests_report(busy):
    records = busy.export()
    report = busy.report("requests", "--by", "model")
    costs = sorted(Decimal(r["cost_usd"]) for r in records if r["cost_usd"] is not None)
    total = report["total"]
    assert total["requests"] == len(records)
    top = [value for name, value in total.items() if "max" in name and name.endswith("_usd")]
    assert Decimal(top[0]) == costs[-1]
    for row in report["rows"]:
        mine = sorted(Decimal(r["cost_usd"]) for r in records if r["model"] == row["model"]
                      and r["cost_usd"] is not None)
        assert row["requests"] == len(mine)
        named = {n: Decimal(v) for n, v in row.items() if n.endswith("_usd") and v is not None}
        p50 = next(v for n, v in named.items() if "p50" in n)
        p99 = next(v for n, v in named.items() if "p99" in n)
        assert mine[0] <= p50 <= p99 <= mine[-1]


def test_tasks_report(busy):
    def closed():
        row, = busy.report("tasks", "--by", "task_type")["rows"]
        return row if row["completed"] + row["failed"] == 10 else None
    row = wait_for("the outcomes", closed, 10, 0.3)
    assert row["task_type"] == "triage"
    assert (row["tasks"], row["completed"], row["failed"], row["open"]) == (10, 7, 3, 0)
    records = busy.export()
    assert row["requests"] == len(records)
    assert Decimal(row["cost_usd"]) == total_of(records)


def test_where_and_top(busy):
    report = busy.report("spend", "--by", "feature", "--where", "team=search,billing",
                         "--where", "environment!=dev", "--top", "1", "--sort", "cost_usd")
    records = [r for r in busy.export() if r["environment"] != "dev"]
    assert Decimal(report["total"]["cost_usd"]) == total_of(records)
    assert len(report["rows"]) <= 2
    assert add_up(report["rows"], "cost_usd") == total_of(records)


@pytest.mark.parametrize("period", [["--last", "7d"], ["--last", "2h"]])
def test_periods(busy, period):
    assert Decimal(busy.report("spend", *period)["total"]["cost_usd"]) == total_of(busy.export())
    assert busy.report("spend", "--from", "2020-01-01", "--to", "2020-02-01")["total"][
        "cost_usd"] in ("0", None)


@pytest.mark.parametrize("grain", ["hour", "day", "week", "month", "total"])
def test_grains(busy, grain):
    report = busy.report("spend", "--grain", grain, "--by", "team", "--tz", "Asia/Kolkata")
    assert add_up(report["rows"], "cost_usd") == total_of(busy.export())


def test_csv_and_table(busy):
    report = busy.report("spend", "--by", "team")
    text = busy.cli("report", "spend", "--by", "team", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {r["team"]: r["cost_usd"] for r in rows if r["team"] in TEAMS} == \
        {r["team"]: r["cost_usd"] for r in report["rows"]}
    table = busy.cli("report", "spend", "--by", "team")
    assert "search" in table and "\x1b" not in table


def test_lines(busy):
    report = busy.report("lines")
    assert len(report["rows"]) == 80
    assert {row["id"] for row in report["rows"]} == {r["id"] for r in busy.export()}


def test_bad_words(busy):
    for words in (["spend", "--by", "nonsense!"], ["nonsense"], ["spend", "--from", "yesterday-ish"],
                  ["spend", "--grain", "eon"], ["spend", "--format", "pdf"]):
        busy.cli("report", *words, code=2)
        answer = busy.admin(f"/api/v1/reports/{words[0]}?" + "=".join(
            w.lstrip("-") for w in words[1:]))
        assert answer.status in (400, 404), words


EVERY = ["spend", "requests", "tasks", "forecast", "variance", "anomalies", "models", "token-bands", "waste",
         "savings", "untagged", "unit-economics", "allocation", "statement", "journal", "rate-card", "lines",
         "budgets", "digest", "commitments", "maturity", "changes"]
OF_NOW = {"budgets", "digest"}  # what they tell is of the moment at which they are asked
MOVING = OF_NOW | {"savings"}   # as far as the ledger is known, which a gateway moves on


def words_of(name):
    now = datetime.now(timezone.utc)
    if name in OF_NOW:
        return {}
    if name == "anomalies":
        return {"from": "2026-01-01", "to": "2026-03-01"}
    return {"month": now.strftime("%Y-%m"), "by": "team"} if name in ("spend", "requests", "tasks", "waste") else {
        "month": now.strftime("%Y-%m")}


def bytes_of(gateway, name, form, words):
    options = [item for k, v in words.items() for item in (f"--{k}", v)]
    done = subprocess.run([tollgate_binary(), "report", name, "-c", gateway.config_path, "--format", form, *options],
                          capture_output=True, timeout=120)
    assert done.returncode == 0, (name, form, done.stderr)
    return done.stdout


def without_time(text):
    return re.sub(rb'"as_of":"[^"]*"|"against":{[^}]*}|as of [-0-9T:.Z]+', b"", text)


@pytest.mark.parametrize("name", EVERY)
def test_every_format_says_the_same_from_both_places(shared, name):
    words = words_of(name)
    for form in ("table", "csv", "json", "html"):
        mine = bytes_of(shared, name, form, words)
        query = urllib.parse.urlencode({**words, "format": form})
        answer = shared.admin(f"/api/v1/reports/{name}?{query}", seconds=60)
        assert answer.status == 200
        if name not in MOVING:
            assert without_time(answer.body) == without_time(mine), (name, form)
        assert len(answer.body.splitlines()) == len(mine.splitlines()), (name, form)
        if form == "json":
            rows = json.loads(mine)["rows"]
    assert name in ("anomalies", "allocation", "budgets", "commitments") or rows
    table = list(csv.DictReader(io.StringIO(bytes_of(shared, name, "csv", words).decode(), newline="")))
    assert name in OF_NOW or len(table) == len(rows)
    for ours, theirs in zip(rows, table):
        if name not in MOVING:
            assert [k for k in ours if k != "lines"] == list(theirs)
            assert [as_csv(v) for k, v in ours.items() if k != "lines"] == list(theirs.values())


def as_csv(value):
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") and not re.fullmatch(r"-[0-9.]+", value):
        return "'" + value
    return str(value) if not isinstance(value, float) else f"{value:.6f}"


def test_the_same_ledger_gives_the_same_bytes(shared):
    shared.process.stop()
    before = {(n, f): bytes_of(shared, n, f, words_of(n)) for n in EVERY for f in ("json", "csv", "html")
              if n not in OF_NOW}
    for (name, form), text in before.items():
        assert bytes_of(shared, name, form, words_of(name)) == text, (name, form)


def test_reports_without_a_gateway(busy):
    before = busy.report("spend", "--by", "team")
    busy.process.stop()
    after = busy.report("spend", "--by", "team")
    assert before["rows"] == after["rows"] and before["total"] == after["total"]


def test_export_formats(busy):
    text = busy.cli("export", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {r["id"] for r in rows} == {r["id"] for r in busy.export()}
    assert sum(Decimal(r["cost_usd"]) for r in rows if r["cost_usd"]) == total_of(busy.export())
    assert busy.cli("export", "--format", "csv", "--bom") == "\ufeff" + text
    for form in ("jsonl", "focus"):
        assert busy.cli("export", "--format", form, "--bom", code=2) == ""


def test_denied_are_counted_not_spent(gateways, provider):
    """They are journalled together, ten seconds after the first at the latest."""
    gateway = gateways(limits=[
        {"name": "none", "match": {"team": "search"}, "unit": "usd", "limit": "0", "window": "month"},
        {"name": "each", "per": ["team", "feature"], "unit": "requests", "limit": 0, "window": "year"},
        {"name": "models", "per": ["model"], "unit": "usd", "limit": "0", "window": "month"},
        {"name": "rolling", "match": {"team": "billing"}, "unit": "requests", "limit": 9, "window": "60s"}])
    for feature, times in (("answer", 4), ("a,b%", 3)):
        for _ in range(times):
            assert calls.send(gateway, calls.chat(), tags=[("X-Tollgate-Feature", feature)]).status == 402

    def denied():
        return {(row["budget"], row["scope"]): row["denied_requests"] for row in gateway.report("budgets")["rows"]}
    wait_for("all refusals", lambda: sum(n or 0 for n in denied().values()) == 7, 40, 0.3)
    named = {who: n for who, n in denied().items() if n}
    assert named == {("none", None): 7} or named == {
        ("each", "team=search,feature=answer"): 4, ("each", "team=search,feature=a%2Cb%25"): 3}, named
    assert {n for (name, _), n in denied().items() if name in ("models", "rolling")} == {None}
    assert gateway.export() == [] and provider.totals()["requests"] == 0


def test_dashboard_page(busy):
    answer = busy.admin("/")
    assert answer.status == 200 and answer.header("content-type").startswith("text/html")
    assert calls.KEY not in answer.body.decode()
    assert busy.admin("/", token=False).status == 303
