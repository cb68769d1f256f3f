"""Words that every report knows: they say the same from both places, and what does not fit is refused."""

import csv
import io
import json
import subprocess
import urllib.parse
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from kit import calls
from kit.procs import tollgate_binary

MONTH = datetime.now(timezone.utc).strftime("%Y-%m")
OF_PERIODS = ["spend", "requests", "tasks", "forecast", "variance", "models", "token-bands", "waste", "savings",
              "untagged", "unit-economics", "allocation", "statement", "journal", "rate-card",
              "commitments", "maturity", "lines"]


@pytest.fixture(scope="module")
def busy(tmp_path_factory, certs, shared_provider):
    """A score of calls, nothing of which is estimated or without a price; the gateway runs on."""
    from conftest import Gateways
    made = Gateways(tmp_path_factory.mktemp("words"), certs, shared_provider)
    gateway = made()
    shapes = list(calls.SHAPES)
    with gateway.connect() as connection:
        for n in range(20):
            tags = [("X-Tollgate-Team", ["search", "=billing", "a,b"][n % 3]), ("X-Tollgate-Task", f"task-{n % 5}"),
                    ("X-Tollgate-Environment", ["prod", "dev", "eval"][n % 3])]
            assert calls.send(gateway, calls.SHAPES[shapes[n % len(shapes)]](words=5 + n), connection,
                              tags=tags).status == 200
    gateway.records(20)
    yield gateway
    made.finish()


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory, certs, shared_provider):
    """One good request, two of a model that nobody prices, one whose provider says no usage."""
    from conftest import Gateways
    made = Gateways(tmp_path_factory.mktemp("doubtful"), certs, shared_provider)
    gateway = made()
    with gateway.connect() as connection:
        for team, call, sim in (("good", calls.chat(), None), ("estimated", calls.chat(), {"No_Usage": 1}),
                                ("unpriced", calls.chat(model="nobody-knows-this"), None),
                                ("unpriced", calls.chat(model="nobody-knows-this"), None)):
            assert calls.send(gateway, call, connection, tags=[("X-Tollgate-Team", team)], sim=sim).status == 200
    gateway.records(4)
    yield gateway
    made.finish()


def asked(gateway, name, *options, code=0, text=False):
    done = subprocess.run([tollgate_binary(), "report", name, "-c", gateway.config_path, *options],
                          capture_output=True, timeout=120)
    assert done.returncode == code, (name, options, done.stderr)
    return done.stderr.decode() if code else done.stdout


def over_http(gateway, name, **words):
    return gateway.admin(f"/api/v1/reports/{name}?{urllib.parse.urlencode(words)}", seconds=60)


def csv_rows(data):
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))


@pytest.mark.parametrize("name", OF_PERIODS + ["budgets", "digest", "changes"])
def test_csv_for_excel_and_with_its_total(busy, name):
    plain = asked(busy, name, "--format", "csv")
    marked = asked(busy, name, "--format", "csv", "--bom")
    assert not plain.startswith(b"\xef\xbb\xbf") and marked == b"\xef\xbb\xbf" + plain or name in ("budgets", "digest",
                                                                                                  "savings")
    assert marked.decode("utf-8-sig").split(",")[0] == plain.decode().split(",")[0]
    total = json.loads(asked(busy, name, "--format", "json"))["total"]
    with_total = csv_rows(asked(busy, name, "--format", "csv", "--total-row"))
    kinds = [row.pop("row_type") for row in with_total]
    assert kinds == ["row"] * len(csv_rows(plain)) + ["total"] * bool(total)
    if name not in ("budgets", "digest", "savings"):
        assert with_total[:len(kinds) - bool(total)] == csv_rows(plain)
    for column, value in total.items():
        if isinstance(value, int) and column != "lines":
            assert with_total[-1][column] == str(value), column
        elif column.endswith("_usd"):
            assert with_total[-1][column] == (value or ""), column
    answer = over_http(busy, name, format="csv", bom="yes", total_row="1")
    assert answer.status == 200 and answer.body.startswith(b"\xef\xbb\xbfrow_type,")
    assert over_http(busy, name, format="csv", bom="no").body[:3] != b"\xef\xbb\xbf"


def test_words_of_csv_elsewhere(busy):
    for form in ("json", "table", "html"):
        assert "csv" in asked(busy, "spend", "--format", form, "--total-row", code=2)
        assert over_http(busy, "spend", format=form, bom="yes").status == 400
    assert '"perhaps"' in asked(busy, "spend", "--format", "csv", "--bom=perhaps", code=2)
    assert "twice" in asked(busy, "spend", "--format", "csv", "--bom", "--bom", code=2)
    # A gate reads the report again as JSON, whatever it was printed as.
    asked(busy, "requests", "--format", "csv", "--total-row", "--fail-over", "1000")


@pytest.mark.parametrize("name", OF_PERIODS + ["budgets", "digest"])
def test_the_head_says_what_was_asked_of_what(busy, name):
    words = {} if name in ("budgets", "digest", "journal", "commitments", "changes") else {"where": "team=a\\,b,search"}
    options = [item for k, v in words.items() for item in (f"--{k}", v)]
    report = json.loads(asked(busy, name, "--format", "json", *options))
    assert list(report)[:5] == ["report", "from", "to", "timezone", "as_of"]
    assert list(report)[-2:] == ["rows", "total"] and report["row_count"] == len(report["rows"])
    assert report["where"] == ([words["where"]] if words else [])
    assert report["grain"] == "total" and report["period_status"] == "open"
    assert report["ledger_seq"] >= 20 and len(report["book"]) == 64
    assert report["ledger_seq"] == over_http(busy, name, **words).json()["ledger_seq"]
    nothing = {"unpriced_requests": 0, "partly_priced_requests": 0, "unknown_usage_requests": 0,
               "estimated_requests": 0}
    assert report["data_quality"] == (None if name in ("budgets", "digest", "changes") else nothing)
    table = asked(busy, name, *options).decode()
    assert f"ledger {report['ledger_seq']}" in table.splitlines()[0]
    assert table.splitlines()[1] == (f"where {words['where']}" if words else "")
    page = asked(busy, name, "--format", "html", *options).decode()
    assert ("; where team=" in page) == bool(words)


def test_what_was_asked_can_be_asked_again(busy):
    first = ["team!=(untagged)", "model~gpt-*", "tag:odd=\\(untagged),x"]
    words = [item for text in first for item in ("--where", text)]
    said = json.loads(asked(busy, "spend", "--format", "json", *words))["where"]
    again = [item for text in said for item in ("--where", text)]
    assert json.loads(asked(busy, "spend", "--format", "json", *again))["where"] == said
    assert said[:2] == first[:2]
    lines = json.loads(asked(busy, "lines", "--format", "json", "--only", "team,environment=search,prod", "--time",
                             "start"))
    assert lines["only"] == "team,environment=search,prod" and lines["time"] == "start"
    assert lines["row_count"] == 7 and lines["data_quality"]["unpriced_requests"] == 0


def test_cost_bases(tmp_path, certs, shared_provider):
    """At list prices; contracted is what is charged; and what the ledger cannot know is refused."""
    from conftest import Gateways
    made = Gateways(tmp_path, certs, shared_provider)
    gateway = made(prices={"rules": [{"match": {"upstream": "openai", "model": "gpt-4o*"}, "multiplier": "0.5"}]})
    for n in range(6):
        assert calls.send(gateway, [calls.chat, calls.messages][n % 2](words=20 + n), tags=[
            ("X-Tollgate-Team", "ab"[n % 2])]).status == 200
    records = gateway.records(6)
    charged, listed = (sum(Decimal(r[name]) for r in records) for name in ("cost_usd", "list_cost_usd"))
    assert charged < listed
    for name in ("spend", "untagged", "lines"):
        by = {"by": "team"} if name == "spend" else {}
        report = over_http(gateway, name, cost_basis="list", **by).json()
        assert report["cost_basis"] == "list" and Decimal(report["total"]["cost_usd"]) == listed
        assert sum(Decimal(row["cost_usd"]) for row in report["rows"]) == listed
        for row in report["rows"]:
            if row.get("lines"):
                assert Decimal(gateway.admin(row["lines"]).json()["total"]["cost_usd"]) == Decimal(row["cost_usd"])
        options = ["--by", "team"] if by else []
        assert json.loads(asked(gateway, name, "--format", "json", "--cost-basis=list", *options))["rows"] == report[
            "rows"]
    # The dearest by list prices is another than by what was charged.
    one = json.loads(asked(gateway, "spend", "--format", "json", "--by", "team", "--top", "1", "--cost-basis", "list"))
    most = max("ab", key=lambda t: sum(Decimal(r["list_cost_usd"]) for r in records if r["team"] == t))
    assert [row["team"] for row in one["rows"]] == [most, "(other)"]
    for basis in ("effective", "contracted", "billed"):
        for name in ("spend", "requests", "tasks", "statement", "models"):
            report = over_http(gateway, name, cost_basis=basis).json()
            assert report["cost_basis"] == basis and Decimal(report["total"]["cost_usd"]) == charged
    for name in OF_PERIODS + ["budgets"]:
        if name not in ("spend", "untagged", "lines"):
            assert "rate-card" in asked(gateway, name, "--cost-basis", "list", code=2)
            assert over_http(gateway, name, cost_basis="list").status == 400
    assert "effective" in asked(gateway, "spend", "--cost-basis", "amortised", code=2)
    paid = tmp_path / "paid.csv"
    paid.write_text(f"id,account,from,to,amount_usd\nC1,acct,{MONTH}-01,{MONTH}-20,100\n")
    gateway.cli("import", "commitments", str(paid))
    assert "BilledCost" in asked(gateway, "spend", "--cost-basis", "billed", "--from", f"{MONTH}-01", code=2)
    asked(gateway, "spend", "--cost-basis", "billed", "--from", "2020-01-01", "--to", "2020-02-01")
    made.finish()


def test_classes_of_traffic(busy):
    """Told by the environment; live and what is not are disjoint, and together all."""
    every = over_http(busy, "spend", by="environment").json()
    cost = {row["environment"]: Decimal(row["cost_usd"]) for row in every["rows"]}
    want = {"live": cost["prod"], "internal": cost["dev"], "evaluation": cost["eval"]}
    for name in ("spend", "requests", "models", "waste", "tasks", "token-bands", "unit-economics"):
        report = over_http(busy, name, by="traffic_class").json()
        said = {}
        for row in report["rows"]:
            if name != "unit-economics" or row["unit"] == "request":
                said[row["traffic_class"]] = said.get(row["traffic_class"], 0) + Decimal(row["cost_usd"] or 0)
        if name == "tasks":     # a task is where its first line is
            assert sum(said.values()) == sum(want.values())
        else:
            assert said == want, name
    for row in over_http(busy, "spend", by="traffic_class").json()["rows"]:
        lines = busy.admin(row["lines"]).json()
        assert Decimal(lines["total"]["cost_usd"]) == Decimal(row["cost_usd"]) == want[row["traffic_class"]]
    live = json.loads(asked(busy, "spend", "--format", "json", "--traffic-class", "live"))
    assert Decimal(live["total"]["cost_usd"]) == want["live"] and live["where"] == ["traffic_class=live"]
    rest = over_http(busy, "spend", where="traffic_class!=live").json()
    assert Decimal(rest["total"]["cost_usd"]) == want["internal"] + want["evaluation"]
    two = over_http(busy, "spend", traffic_class="internal,evaluation").json()
    assert two["total"] == {**rest["total"], "lines": two["total"]["lines"]}
    assert over_http(busy, "spend", by="tag:traffic_class").json()["rows"][0]["traffic_class"] == "(untagged)"
    assert "nearest" in asked(busy, "spend", "--by", "trafic_class", code=2)


def test_closed_and_open(busy):
    """A period is closed where all its months are; of a closed month nothing but its mark is added."""
    last = (datetime.now(timezone.utc).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    busy.cli("close", "--month", last)

    def status(name, *words):
        return json.loads(asked(busy, name, "--format", "json", *words))["period_status"]
    for name in ("spend", "statement", "journal", "allocation"):
        assert (status(name, "--month", last), status(name, "--month", MONTH)) == ("closed", "open")
        if name != "spend":
            frozen = (Path(busy.folder) / busy.config["state_dir"] / "closed" / last / f"{name}.csv").read_bytes()
            assert asked(busy, name, "--month", last, "--format", "csv") == frozen
            assert asked(busy, name, "--month", last, "--format", "csv", "--bom") == b"\xef\xbb\xbf" + frozen
            total, = csv_rows(asked(busy, name, "--month", last, "--format", "csv", "--total-row"))
            assert total["row_type"] == "total"
    assert status("spend", "--from", f"{last}-02", "--to", f"{last}-03") == "closed"
    assert status("spend", "--from", f"{last}-02") == "open"
    assert status("spend", "--month", last, "--tz", "Asia/Tokyo") == "open"    # begins in the month before


@pytest.mark.parametrize("name", OF_PERIODS)
def test_strict_passes_what_is_known(busy, name):
    assert asked(busy, name, "--strict", "--format", "csv") == asked(busy, name, "--format", "csv") or \
        name == "savings"
    assert over_http(busy, name, strict="yes").status == 200
    for other in ("budgets", "digest"):
        assert "strict" in asked(busy, other, "--strict", code=2)


@pytest.mark.parametrize("name", OF_PERIODS)
def test_strict_refuses_what_is_not(doubtful, name):
    said = asked(doubtful, name, "--strict", code=1)
    assert "2 without a price" in said and "1 of estimated usage" in said, said
    assert asked(doubtful, name)    # without the word there is an answer
    answer = over_http(doubtful, name, strict="yes")
    assert answer.status == 409 and "2 without a price" in answer.body.decode()
    quality = over_http(doubtful, name).json()["data_quality"]
    assert (quality["unpriced_requests"], quality["estimated_requests"]) == (2, 1)


def test_the_head_says_which_tasks(busy):
    for words, cohort in (({}, "closed"), ({"cohort": "spend"}, "spend"), ({"cohort": "closed"}, "closed")):
        assert over_http(busy, "tasks", **words).json()["cohort"] == cohort
    assert "cohort" not in over_http(busy, "spend").json()


def test_strict_is_about_what_was_asked(doubtful):
    asked(doubtful, "spend", "--strict", "--where", "team=good")
    asked(doubtful, "lines", "--strict", "--only", "team=good")
    assert "2 without" in asked(doubtful, "lines", "--strict", "--only", "team=unpriced", code=1)
    asked(doubtful, "spend", "--strict", "--from", "2020-01-01", "--to", "2020-02-01")
    # What it is compared with counts too.
    said = asked(doubtful, "spend", "--strict", "--from", "2020-01-01", "--to", "2020-02-01", "--against",
                 f"{MONTH}-01..{MONTH}-28", code=1) if datetime.now(timezone.utc).day < 28 else "compared"
    assert "compared" in said
    asked(doubtful, "requests", "--strict", "--fail-over", "1000", code=1)
