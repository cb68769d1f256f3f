"""Waste, savings, drill-down, imports, closing and gates, over calls that really went through."""

import json
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta, timezone
from decimal import ROUND_UP, Decimal

import pytest

from kit import calls
from kit.procs import wait_for


@pytest.fixture
def gateway(gateways, provider, redis):
    """Two tasks, one of them failed; a request that is repeated; long prompts that begin alike."""
    gateway = gateways(redis=redis)
    with gateway.connect() as connection:
        def send(call, team, task=None, attempt=None, environment="prod"):
            tags = [("X-Tollgate-Team", team), ("X-Tollgate-Feature", "answer"),
                    ("X-Tollgate-Environment", environment)]
            if task:
                tags += [("X-Tollgate-Task", task), ("X-Tollgate-Task-Type", "ticket")]
            if attempt:
                tags += [("X-Tollgate-Attempt", str(attempt))]
            assert calls.send(gateway, call, connection, tags=tags).status == 200
        for n in range(4):
            send(calls.chat(words=20 + n), "search", "good")
        send(calls.chat(words=40), "search", "bad", 1)
        send(calls.chat(words=41), "search", "bad", 2)
        for _ in range(3):
            send(calls.chat(words=60), "billing")
        for n in range(3):
            send(calls.chat(words=900 + n), "billing", environment="eval")
    for task, outcome in (("good", "completed"), ("bad", "failed")):
        answer = gateway.request("PUT", f"/_tollgate/tasks/{task}/outcome",
                                 [("Authorization", f"Bearer {calls.KEY}"),
                                  ("X-Tollgate-Team", "search")],
                                 json.dumps({"outcome": outcome}).encode())
        assert answer.status in (200, 204)
    gateway.records(12)
    wait_for("the outcomes", lambda: gateway.report("tasks")["total"]["failed"] == 1, 10, 0.2)
    return gateway


def total_of(records):
    return sum(Decimal(r["cost_usd"]) for r in records if r["cost_usd"] is not None)


def test_waste_and_savings(gateway):
    records = gateway.export()
    waste = gateway.report("waste")
    by_class = {row["class"]: row for row in waste["rows"]}
    assert sum(Decimal(row["cost_usd"]) for row in waste["rows"]) == total_of(records)
    assert by_class["retry"]["requests"] == 1 and by_class["failed_task"]["requests"] == 1
    assert by_class["duplicate"]["requests"] == 2
    savings = gateway.report("savings")
    rules = {row["rule"] for row in savings["rows"]}
    assert {"duplicate", "model", "retry"} <= rules
    assert savings["total"] == {}
    duplicate, = [row for row in savings["rows"] if row["rule"] == "duplicate"]
    lines = gateway.admin(duplicate["lines"]).json()
    assert Decimal(lines["total"]["cost_usd"]) == Decimal(duplicate["saving_usd"])
    assert len(lines["rows"]) == 2
    cheaper = [row for row in savings["rows"] if row["rule"] == "model"]
    assert cheaper[0]["alternative"].startswith("gpt-4o-mini")
    assert all("prompt_hash" not in record for record in records)


def test_every_link_shows_its_row(gateway):
    for name, words in (("spend", "by=team,environment"), ("models", ""), ("untagged", ""),
                        ("token-bands", "by=team"), ("statement", "")):
        report = gateway.admin(f"/api/v1/reports/{name}?{words}").json()
        for row in report["rows"] + [report["total"]]:
            if row.get("lines"):
                lines = gateway.admin(row["lines"]).json()
                assert Decimal(lines["total"]["cost_usd"]) == Decimal(row["cost_usd"]), name
    page = gateway.admin("/api/v1/reports/spend?by=team&format=html").body.decode()
    assert 'href="/api/v1/reports/lines?' in page


def test_import_and_unit_economics(gateway, tmp_path):
    month = datetime.now(timezone.utc).strftime("%Y-%m")
    bad, good = tmp_path / "bad.csv", tmp_path / "good.csv"
    bad.write_text(f"date,unit,count\n{month},order,ten\n")
    good.write_text(f"date,unit,count\n{month},order,7\n")
    gateway.cli("import", "counts", str(bad), code=1)
    assert not any(row["unit"] == "order" for row in gateway.report("unit-economics")["rows"])
    gateway.cli("import", "counts", str(good))
    order, = [row for row in gateway.report("unit-economics")["rows"] if row["unit"] == "order"]
    assert order["count"] == 7
    exact = total_of(gateway.export()) / 7
    assert abs(Decimal(order["unit_cost_usd"]) - exact) <= Decimal("1e-18")


def test_close_and_verify(gateway):
    month = (datetime.now(timezone.utc).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    this = datetime.now(timezone.utc).strftime("%Y-%m")
    gateway.cli("close", "--month", this, code=1)
    gateway.cli("close", "--month", month)
    gateway.cli("close", "--month", month, code=1)
    assert month in gateway.cli("close", "--verify")
    first = gateway.cli("report", "journal", "--month", month, "--format", "csv")
    assert first == gateway.cli("report", "journal", "--month", month, "--format", "csv")
    journal = gateway.report("journal", "--month", this)
    assert journal["total"]["debit_minor"] == journal["total"]["credit_minor"]
    statement = gateway.report("statement", "--month", this)
    assert Decimal(statement["total"]["cost_usd"]) == total_of(gateway.export())


def test_gates(gateway, tmp_path):
    baseline, junit = tmp_path / "base.json", tmp_path / "gate.xml"
    gateway.cli("report", "requests", "--fail-over", "1000")
    gateway.cli("report", "requests", "--fail-over", "0.000000001", "--junit", str(junit), code=1)
    assert ET.parse(junit).getroot().attrib["failures"] == "1"
    gateway.cli("report", "requests", "--fail-over", "cheap", code=2)
    # What was spent without a task is a row of the report, and no task that costs too much.
    assert any(row["tasks"] == 0 for row in gateway.report("tasks", "--by", "task_type")["rows"])
    assert "UNKNOWN" not in gateway.cli("report", "tasks", "--by", "task_type", "--fail-over", "1000")
    # Nothing came through: what was spent is known, what a request or a task costs is not.
    nobody = ["--where", "feature=nobody", "--fail-over", "1000"]
    gateway.cli("report", "spend", *nobody)
    for name in ("requests", "tasks"):
        gateway.cli("report", name, *nobody, "--junit", str(junit), code=1)
        assert ET.parse(junit).getroot().attrib["failures"] == "1", name
    gateway.cli("gate", "--baseline", str(baseline), "--save", "--by", "task_type")
    assert "0 of" in gateway.cli("gate", "--baseline", str(baseline), "--by", "task_type")
    report = json.loads(baseline.read_text())
    for row in report["rows"]:
        if row["cost_per_completed_task_usd"]:
            row["cost_per_completed_task_usd"] = str(
                Decimal(row["cost_per_completed_task_usd"]) / 2)
    baseline.write_text(json.dumps(report))
    table = gateway.cli("gate", "--baseline", str(baseline), "--by", "task_type", "--junit",
                        str(junit), code=1)
    assert "FAIL" in table and "ticket" in table
    root = ET.parse(junit).getroot()
    assert int(root.attrib["failures"]) >= 1
    gateway.cli("gate", "--baseline", str(baseline), "--by", "task_type", "--tolerance", "1.5")


def test_gate_of_what_is_new_gone_or_not_there(gateway, tmp_path):
    """The bound to the digit, rows that come and go, and a run of which nothing is known."""
    baseline, junit = tmp_path / "base.json", tmp_path / "gate.xml"
    words = ["gate", "--baseline", str(baseline), "--report", "requests", "--by", "team", "--junit", str(junit)]
    gateway.cli(*words, "--save")
    saved = json.loads(baseline.read_text())
    search = next(row for row in saved["rows"] if row["team"] == "search")
    mean = Decimal(search["mean_cost_usd"])

    def gate(change, *more, code=0):
        report = json.loads(json.dumps(saved))
        change({row["team"]: row for row in report["rows"]}, report)
        baseline.write_text(json.dumps(report))
        table = gateway.cli(*words, *more, code=code)
        lines = [line.split(maxsplit=4) for line in table.splitlines() if "team=" in line or line.endswith(" total")]
        return {name.removeprefix("team="): verdict for verdict, *_, name in lines}, ET.parse(junit).getroot().attrib

    def half(rows, _):
        rows["search"]["mean_cost_usd"] = format((mean / 2).quantize(Decimal(1).scaleb(-18), ROUND_UP), "f")
    same = {"search": "pass", "billing": "pass"}
    assert gate(lambda *_: None) == (same, {"name": "tollgate requests", "tests": "2", "failures": "0", "errors": "0",
                                            "skipped": "0"})
    assert gate(half, "--tolerance", "1")[0] == same                    # twice as much, and no more than that
    verdicts, counts = gate(half, "--tolerance", "0.999999", code=1)
    assert verdicts == {**same, "search": "FAIL"} and counts["failures"] == "1"
    # A team with markup in its name that is no more; one that the baseline does not know.
    verdicts, counts = gate(lambda rows, _: rows["search"].update(team="<gone>&\"x\""))
    assert verdicts == {"search": "new", "billing": "pass", '<gone>&"x"': "gone"} and counts["skipped"] == "1"
    assert [c.attrib["name"] for c in ET.parse(junit).getroot()][-1] == 'team=<gone>&"x"'
    # Nothing went through the gateway: nobody knows what it costs now.
    verdicts, counts = gate(lambda *_: None, "--where", "feature=nobody", code=1)
    assert verdicts == {"total": "UNKNOWN", "search": "gone", "billing": "gone"} and counts["failures"] == "1"
    for text in ("", "[]", "{}", '{"report":"spend","rows":[],"total":{}}'):
        baseline.write_text(text)
        gateway.cli(*words, code=2)
    baseline.unlink()
    gateway.cli(*words, code=2)


def test_gate_tells_long_names_apart(gateway, tmp_path):
    """Names of the greatest length that differ at their ends alone, and values that look like more keys."""
    baseline = tmp_path / "base.json"
    words = ["gate", "--baseline", str(baseline), "--report", "requests", "--by", "team,feature"]
    names = [("t" * 255 + end, "f" * 256) for end in "ab"] + [("x feature=y", "z"), ("x", "y feature=z")]
    with gateway.connect() as connection:
        for team, feature in names:
            answer = calls.send(gateway, calls.chat(words=10), connection,
                                tags=[("X-Tollgate-Team", team), ("X-Tollgate-Feature", feature)])
            assert answer.status == 200
    wait_for("the ledger", lambda: {name[0] for name in names} <=
             {row["team"] for row in gateway.report("requests", "--by", "team")["rows"]})
    gateway.cli(*words, "--save")
    saved = json.loads(baseline.read_text())
    for name in names:
        report = json.loads(json.dumps(saved))
        row, = [row for row in report["rows"] if (row["team"], row["feature"]) == name]
        row["mean_cost_usd"] = format(Decimal(row["mean_cost_usd"]) / 2, "f")
        baseline.write_text(json.dumps(report))
        failed = [line for line in gateway.cli(*words, code=1).splitlines() if line.startswith("FAIL")]
        assert len(failed) == 1 and failed[0].endswith(f" team={name[0]} feature={name[1]}"), name
