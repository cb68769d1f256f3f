"""FOCUS exports: conformant by exact decimals, equal to the ledger, and what the official validator says."""

import csv
import fcntl
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from kit import calls, procs

sys.path.insert(0, os.path.join(procs.ROOT, "tests", "focus"))

from check import SUMMABLE, Checker, check  # noqa: E402

HISTORY = os.path.join(os.path.dirname(procs.provider_binary()), "history")
PYTHON = os.path.join(procs.ROOT, "build", "venv-focus", "bin", "python")
# What the official validator (2.2.1) reports on correct files, by rule, and why that is its own fault. One that it
# no longer reports must go from here.
FALSE_FAILURES = {
    "asks for CommitmentDiscountStatus, a column of what is not supported":
        [f"ConsumedQuantity-C-00{n}-C" for n in (0, 3, 4, 5, 6)],
    "takes a rule of two criteria where one of them holds":
        [*(f"CostAndUsage-D-0{n}-C" for n in (46, 47, 48, 50, 51, 52, 54, 55, 56)),
         *(f"PricingCurrencyContractedUnitPrice-C-00{n}-M" for n in (1, 2)),
         *(f"PricingCurrencyEffectiveCost-C-00{n}-M" for n in (1, 2, 3, 4)),
         *(f"PricingCurrencyListUnitPrice-C-00{n}" for n in ("1-M", "2-M", "3-M", "4-C", "5-C", "7-C", "8-M"))],
    "takes every charge for one that is on an issued invoice": ["InvoiceId-C-005-C"],
}
# What it does not see: "not a Correction" is unknown to it where the class is null, so that it multiplies no price of
# ordinary usage, in binary floating point or otherwise.
BLIND = {"ListCost-C-009-C", "ContractedCost-C-009-C"}


@pytest.fixture
def spent(gateways, provider):
    """A gateway with a contract, cached input, a model without a price, tags that are formulas."""
    gateway = gateways(prices={"book": gateways.config()["prices"]["book"],
                               "rules": [{"match": {"upstream": "openai", "model": "gpt-4o*"},
                                          "multiplier": "0.93"}]})
    gateway.config["upstreams"][0]["billing_account"] = "org-1234"
    gateway.config["upstreams"][0]["sub_account"] = "proj_1"
    gateway.write()
    gateway.reload()
    with gateway.connect() as connection:
        shapes = list(calls.SHAPES.values())
        for n in range(40):
            tags = [("X-Tollgate-Feature", ["=1+1", "chat", "a,b\"c"][n % 3]),
                    ("X-Tollgate-Tags", f"squad={'red' if n % 2 else 'blue'}")]
            answer = calls.send(gateway, shapes[n % len(shapes)](words=5 + n), connection, tags=tags,
                                sim={"cached_tokens": 3} if n % 4 == 0 else None)
            assert answer.status == 200
        answer = calls.send(gateway, calls.chat(model="nobody-knows-this"), connection)
        assert answer.status == 200
    gateway.records(41)
    return gateway


def export(gateway, name, *words):
    path = os.path.join(gateway.folder, name)
    gateway.cli("export", "--format", "focus", "--output", path, *words)
    return path


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("version", ["1.2", "1.4"])
@pytest.mark.parametrize("grain", ["day", "hour", "request"])
def test_conformant_and_the_ledgers(spent, version, grain):
    total = spent.report("spend")["total"]
    path = export(spent, "focus.csv", "--focus-version", version, "--grain", grain)
    checker = check(path, version, total["cost_usd"])
    assert checker.problems == []
    assert checker.totals["ListCost"] == Decimal(total["list_cost_usd"])
    assert checker.totals["ListCost"] > checker.totals["ContractedCost"]
    assert checker.totals["ContractedCost"] == checker.totals["BilledCost"]
    with open(path + ".metadata.json", encoding="utf-8") as file:
        metadata = json.load(file)
    assert metadata["FocusVersion"] == version
    assert metadata["x_Rows"] == checker.rows and metadata["x_UnpricedRequests"] == 1
    assert Decimal(metadata["x_TotalBilledCost"]) == checker.totals["BilledCost"]
    assert [c["ColumnName"] for c in metadata["ColumnDefinition"]] == list(read(path)[0])
    if grain == "request":
        assert len({row["x_RequestId"] for row in read(path)}) == 40


def test_rows_are_the_ledgers_pivots(spent):
    """Read back, the file gives the report's rows by any tag, and the tokens by class."""
    rows = read(export(spent, "focus.csv"))
    for column, field in (("x_Team", "team"), ("x_Environment", "environment"), ("x_CredentialId", "key"),
                          ("x_Upstream", "upstream")):
        sums = {}
        for row in rows:
            name = row[column] or "(untagged)"
            sums[name] = sums.get(name, 0) + Decimal(row["BilledCost"])
        report = {row[field]: Decimal(row["cost_usd"])
                  for row in spent.report("spend", "--by", field)["rows"] if row["cost_usd"] not in (None, "0")}
        assert sums == report
    tokens = {}
    for row in rows:
        details = json.loads(row["SkuPriceDetails"])
        name = details["x_TokenDirection"], details.get("x_TokenCacheAction")
        tokens[name] = tokens.get(name, 0) + Decimal(row["ConsumedQuantity"])
    priced = [r for r in spent.export() if r["cost_usd"] is not None]
    cached = sum(r["usage"].get("cache_read_tokens", 0) for r in priced)
    assert cached > 0 and tokens["Input", "Read"] == cached
    assert sum(n for (direction, _), n in tokens.items() if direction == "Input") == \
        sum(r["usage"]["input_tokens"] for r in priced)
    assert sum(n for (direction, _), n in tokens.items() if direction == "Output") == \
        sum(r["usage"].get("output_tokens", 0) for r in priced)
    accounts = {row["x_Upstream"]: (row["BillingAccountId"], row["SubAccountId"]) for row in rows}
    assert accounts["openai"] == ("org-1234", "proj_1") and accounts["gemini"] == ("gemini", "")


def test_texts_of_clients_run_in_no_spreadsheet(spent):
    rows = read(export(spent, "focus.csv"))
    assert {row["x_Feature"] for row in rows} == {"'=1+1", "chat", 'a,b"c'}
    assert not any(cell[:1] in "=+@\t" and cell for row in rows for cell in row.values())
    assert {json.loads(row["Tags"])["feature"] for row in rows} == {"=1+1", "chat", 'a,b"c'}


def test_regions_and_invoice_numbers(gateways, provider, tmp_path):
    """The region that was served, and the invoice of the account's month once finance has it."""
    gateway = gateways()
    for upstream in gateway.config["upstreams"]:
        if upstream["name"] == "openai":
            upstream.update(region="us", billing_account="org-1234")
    gateway.write()
    gateway.reload()
    for call in (calls.chat(words=9), calls.messages(words=9)):
        assert calls.send(gateway, call).status == 200
    gateway.records(2)
    assert {row["InvoiceId"] for row in read(export(gateway, "before.csv"))} == {""}
    month = read(os.path.join(gateway.folder, "before.csv"))[0]["BillingPeriodStart"][:7]
    numbers = tmp_path / "invoices.csv"
    numbers.write_text(f"month,account,invoice_id\n{month},org-1234,INV-77\n2020-01,org-1234,INV-1\n")
    gateway.cli("import", "invoices", str(numbers))
    for version in ("1.2", "1.4"):
        path = export(gateway, "after.csv", "--focus-version", version)
        assert check(path, version, gateway.report("spend")["total"]["cost_usd"]).problems == []
        told = {(row["x_Upstream"], row["RegionId"], row["RegionName"], row["InvoiceId"]) for row in read(path)}
        assert told == {("openai", "us", "us", "INV-77"), ("anthropic", "", "", "")}


STEPS = {"schema": "tollgate-prices/1", "version": "1", "currency": "USD", "sources": {},
         "units": {"in": {"per": 1000000, "of": "token"}, "out": {"per": 1000000, "of": "token"}},
         "providers": {"openai": {"models": [{
             "id": "stepwise", "kind": "chat", "ids": ["stepwise"], "prices": [{
                 "from": None, "to": None, "rates": {"in": "2", "out": "8"},
                 "variants": [{"when": {"ctx_min": 100}, "rates": {"in": "4", "out": "12"}}]}]}]}}}


@pytest.mark.parametrize("contract", [False, True])
def test_a_price_has_an_id_of_its_own(gateways, provider, tmp_path, contract):
    """Steps of context are prices of one SKU, each with its SkuPriceId, also under a contract."""
    book = tmp_path / "steps.json"
    book.write_text(json.dumps(STEPS))
    prices = {"book": [*gateways.config()["prices"]["book"], str(book)]}
    if contract:
        prices["rules"] = [{"match": {"model": "stepwise"}, "multiplier": "0.5"}]
    gateway = gateways(prices=prices)
    for words in (20, 60, 150, 300):
        assert calls.send(gateway, calls.chat(model="stepwise", words=words)).status == 200
    gateway.records(4)
    for version in ("1.2", "1.4"):
        path = export(gateway, "steps.csv", "--focus-version", version)
        assert check(path, version, gateway.report("spend")["total"]["cost_usd"]).problems == []
        told = {(row["SkuId"], row["SkuPriceId"], Decimal(row["ListUnitPrice"]), Decimal(row["x_RequestCount"]))
                for row in read(path)}
        assert told == {("openai/stepwise/in", "openai/stepwise/in/standard", 2, 2),
                        ("openai/stepwise/in", "openai/stepwise/in/standard/ctx-100", 4, 2),
                        ("openai/stepwise/out", "openai/stepwise/out/standard", 8, 2),
                        ("openai/stepwise/out", "openai/stepwise/out/standard/ctx-100", 12, 2)}


@pytest.mark.skipif(not os.path.exists(HISTORY), reason=f"no {HISTORY}")
@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_commitments(gateways, tmp_path, version):
    """What was paid beforehand: the purchase, what it covered billed at nothing, and what was left of it."""
    state = tmp_path / "terms" / "var"
    state.mkdir(parents=True)
    subprocess.run([HISTORY, str(state), "20", "60"], check=True, timeout=120)
    gateway = gateways(name="terms")
    today = datetime.now(timezone.utc).date()
    day = [today - timedelta(days=n) for n in range(21)]

    def cost(*words):
        return Decimal(gateway.report("spend", "--tz", "UTC", *words)["total"]["cost_usd"])
    term = "--from", str(day[12]), "--to", str(day[6])
    first = cost(*term, "--where", "upstream=openai") / 2
    second = cost(*term, "--where", "upstream=anthropic") * 2
    bought = {"C-1": Decimal(f"{first:.18f}"), "C-2": Decimal(f"{second:.18f}"), "C-3": Decimal(9)}
    file = tmp_path / "commitments.csv"
    file.write_text("id,account,provider,name,from,to,amount_usd\n"
                    f"C-1,openai,openai,Half of it,{day[12]},{day[6]},{bought['C-1']:f}\n"
                    f"C-2,anthropic,anthropic,,{day[12]},{day[6]},{bought['C-2']:f}\n"
                    f"C-3,nobody,,,{day[3]},{today + timedelta(days=400)},9\n")
    gateway.cli("import", "commitments", str(file))
    path = export(gateway, "committed.csv", "--focus-version", version)
    checker = check(path, version)
    assert checker.problems == []
    rows = read(path)

    def told(name, status, column="EffectiveCost"):
        return sum(Decimal(row[column]) for row in rows if row["CommitmentDiscountId"] == name and
                   (row["CommitmentDiscountStatus"] or row["ChargeCategory"]) == status)
    assert {name: told(name, "Purchase", "BilledCost") for name in bought} == bought
    for name in ("C-1", "C-2"):
        assert 0 < told(name, "Used") and told(name, "Used") + told(name, "Unused") == bought[name]
    assert told("C-2", "Used") * 2 == bought["C-2"]
    # The term of C-3 goes on: what it leaves is not known yet.
    assert told("C-3", "Used") == told("C-3", "Unused") == 0
    # Metered cost is the ledger's whoever paid it, and is billed once: with the purchase, or by itself.
    metered = [row for row in rows if row["x_CostSource"] != "invoiced"]
    whole = cost("--from", "2000-01-01", "--to", str(today + timedelta(days=2)))
    assert sum(Decimal(row["EffectiveCost"]) for row in metered) == whole
    assert sum(Decimal(row["BilledCost"]) for row in metered) == whole - told("C-1", "Used") - told("C-2", "Used")
    with open(path + ".metadata.json", encoding="utf-8") as metadata:
        said = json.load(metadata)
    assert Decimal(said["x_TotalBilledCost"]) == checker.totals["BilledCost"]
    assert Decimal(said["x_TotalEffectiveCost"]) == checker.totals["EffectiveCost"]
    # The same from later on: what went before has used up its part.
    later = read(export(gateway, "later.csv", "--grain", "request", "--from", f"{day[9]}T13:00:00Z"))
    all_of_it = {(row["x_RequestId"], row["SkuPriceId"]): row["CommitmentDiscountId"]
                 for row in read(export(gateway, "whole.csv", "--grain", "request"))}
    assert len({row["CommitmentDiscountId"] for row in later}) >= 3
    assert all(all_of_it[row["x_RequestId"], row["SkuPriceId"]] == row["CommitmentDiscountId"]
               for row in later if row["x_RequestId"])
    gateway.cli("export", "--format", "focus", "--where", "team=search", code=2)


def reprice(gateway, book, rates):
    """The model of `own_book` at other rates, and all that was charged corrected."""
    book.write_text(json.dumps(own_book(rates)))
    gateway.cli("price", "reprice", "--apply", "--reason", "a wrong price")


def own_book(rates):
    steps = json.loads(json.dumps(STEPS))
    steps["providers"]["openai"]["models"][0].update(
        id="ours", ids=["ours"], prices=[{"from": None, "to": None, "rates": rates}])
    return steps


@pytest.mark.parametrize("closed", [False, True])
def test_corrections(gateways, provider, tmp_path, closed):
    """What a wrong price is corrected by: of a closed month in the next open one, else beside its request."""
    book = tmp_path / "own.json"
    book.write_text(json.dumps(own_book({"in": "2", "out": "8"})))
    gateway = gateways(prices={"book": [*gateways.config()["prices"]["book"], str(book)]})
    for words in (20, 60):
        assert calls.send(gateway, calls.chat(model="ours", words=words)).status == 200
        assert calls.send(gateway, calls.chat(model="unheard-of", words=words)).status == 200
    gateway.records(4)
    gateway.stop()
    today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    if closed:  # as if everything up to December 2030 were
        os.makedirs(os.path.join(gateway.folder, "var", "closed", "2030-12"))
    reprice(gateway, book, {"in": "3", "out": "7.5"})
    always = "--from", "2026-01-01", "--to", "2032-01-01"
    total = gateway.report("spend", *always)["total"]
    for version in ("1.2", "1.4"):
        path = export(gateway, "corrected.csv", "--focus-version", version)
        checker = check(path, version, total["cost_usd"])
        assert checker.problems == []
        assert checker.totals["ListCost"] == Decimal(total["list_cost_usd"])
        rows = [row for row in read(path) if row["ChargeDescription"].startswith("Correction of")]
        told = {(row["SkuMeter"], Decimal(row["BilledCost"]), row["PricingQuantity"], row["x_RequestCount"])
                for row in rows}
        assert told == {("Input Tokens", Decimal(80) / 10**6, "", "0.0"),
                        ("Output Tokens", Decimal(-16) / 10**6, "", "0.0")}
        assert {(row["ChargeCategory"], row["ChargeClass"], row["BillingPeriodStart"]) for row in rows} == \
            ({("Usage", "Correction", "2031-01-01T00:00:00Z")} if closed else
             {("Adjustment", "", today[:7] + "-01T00:00:00Z")})
        assert {row["ChargePeriodStart"][:10] for row in rows} <= {today, rows[0]["ChargePeriodStart"][:10]}
        assert all(row["ChargePeriodStart"] < "2030" for row in rows)
    # What had no price until now is usage like any other.
    book.write_text(json.dumps(own_book({"in": "3", "out": "7.5"})).replace('"ours"', '"unheard-of"'))
    gateway.cli("price", "reprice", "--apply", "--reason", "a price at last")
    total = gateway.report("spend", *always)["total"]
    path = export(gateway, "priced.csv", "--focus-version", "1.4")
    assert check(path, "1.4", total["cost_usd"]).problems == []
    late = [row for row in read(path) if row["SkuId"].startswith("openai/unheard-of/")]
    assert {(row["ChargeCategory"], row["ChargeClass"]) for row in late} == {("Usage", "Correction" if closed else "")}
    assert sum(Decimal(row["ConsumedQuantity"]) for row in late if row["SkuMeter"] == "Input Tokens") == 80


@pytest.mark.skipif(not os.path.exists(HISTORY), reason=f"no {HISTORY}")
def test_what_does_not_sum_to_the_ledger_is_refused(gateways, tmp_path):
    """Where lines and rollups disagree there is no file: finance would book one of two truths."""
    state = tmp_path / "torn" / "var"
    state.mkdir(parents=True)
    subprocess.run([HISTORY, str(state), "3", "40"], check=True, timeout=120)
    gateway = gateways(name="torn")
    gateway.stop()
    export(gateway, "whole.csv")
    with sqlite3.connect(state / "ledger.db") as ledger:
        assert ledger.execute("DELETE FROM line WHERE seq=1").rowcount == 1
    said = procs.run_cli("export", "-c", gateway.config_path, "--format", "focus", "--output", "torn.csv",
                         cwd=gateway.folder)
    assert said.returncode == 2 and "the rows sum to" in said.stderr, said.stderr
    assert [name for name in os.listdir(gateway.folder) if name.endswith(".csv")] == ["whole.csv"]


@pytest.mark.parametrize("grain", ["day", "request"])
def test_shared_costs_are_split(spent, tmp_path, grain):
    """A pool's charges become one row a bearer, which sum to the charge, and to the report on allocation."""
    for kind, text in (("pools", "pool,method,driver,where\nred,direct,tokens,squad=red\nchat,proportional,,feature=chat\n"
                                 "odd,proportional,,upstream=gemini\n"),
                       ("weights", "pool,team,from,to,weight\nchat,alpha,2026-01-01,,1\nchat,beta,2026-01-01,,2\n"),
                       ("costs", "date,pool,item,amount_usd\n2026-11,chat,vendor,100\n")):
        file = tmp_path / f"{kind}.csv"
        file.write_text(text)
        spent.cli("import", kind, str(file))
    month = "--month", datetime.now(timezone.utc).strftime("%Y-%m")
    words = "--focus-version", "1.4", "--grain", grain, *month
    whole, split = export(spent, "whole.csv", *words), export(spent, "split.csv", *words, "--allocated")
    total = spent.report("spend", *month)["total"]["cost_usd"]
    checker = check(split, "1.4", total)
    assert checker.problems == []
    origins, parts = {}, {}
    for path, into in ((whole, origins), (split, parts)):
        for row in read(path):
            sums = into.setdefault(checker.origin(row), {name: Decimal(0) for name in SUMMABLE if name in row})
            for name in sums:
                sums[name] += Decimal(row[name] or 0)
    # The same charge may stand in two pools' rows and in none: what all parts sum to is the whole.
    assert parts == origins
    borne = {}
    for row in read(split):
        if row["AllocatedMethodId"]:
            pool = json.loads(row["AllocatedMethodDetails"])["x_Pool"]
            assert row["AllocatedMethodId"] == {"red": "direct-tokens"}.get(pool, "proportional")
            assert row["AllocatedResourceId"] in ("", "team/" + row["AllocatedResourceName"])
            name = pool, row["AllocatedResourceName"] or "(unallocated)"
            borne[name] = borne.get(name, 0) + Decimal(row["EffectiveCost"])
    told = {(row["pool"], row["team"]): Decimal(row["cost_usd"]) for row in spent.report("allocation", *month)["rows"]
            if row["pool"] != "(own)" and Decimal(row["cost_usd"])}
    assert borne == told and ("odd", "(unallocated)") in told and len(told) > 3
    for wrong in (["--allocated"], [*words[:2], "--allocated"], [*month, "--allocated"],
                  [*words, "--allocated", "--where", "team=search"]):
        spent.cli("export", "--format", "focus", *wrong, code=2)


def test_same_ledger_same_bytes(spent):
    with open(export(spent, "a.csv"), "rb") as a, open(export(spent, "b.csv"), "rb") as b:
        assert a.read() == b.read()
    assert spent.cli("export", "--format", "focus").encode() == \
        open(os.path.join(spent.folder, "a.csv"), "rb").read().replace(b"\r\n", b"\n")


def test_words_that_do_not_fit(spent):
    spent.cli("export", "--grain", "hour", code=2)
    spent.cli("export", "--format", "focus", "--focus-version", "1.3", code=2)
    spent.cli("export", "--format", "focus", "--grain", "month", code=2)
    spent.cli("export", "--format", "focus", "--output", "/nowhere/focus.csv", code=2)


def test_an_interrupted_export_leaves_nothing(spent):
    path = os.path.join(spent.folder, "stopped.csv")
    fifo = path + ".unfinished"
    os.mkfifo(fifo)  # its reader does not read on: the export waits in the middle
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen([procs.tollgate_binary(), "export", "-c", spent.config_path, "-o", path],
                               stderr=subprocess.PIPE)
    try:
        procs.wait_for("its first bytes", lambda: select.select([reader], [], [], 0.1)[0])
        process.send_signal(signal.SIGINT)
        while process.poll() is None and select.select([reader], [], [], 1)[0]:
            os.read(reader, 65536)
        _, error = process.communicate(timeout=20)
    finally:
        os.close(reader)
        process.kill()
    assert process.returncode == -signal.SIGINT, error
    assert b"stopped" in error
    assert not os.path.exists(path) and not os.path.exists(fifo)


def test_the_checker_finds_what_is_wrong(spent, tmp_path):
    """Each kind of fault, planted in a good file, is found."""
    good = export(spent, "focus.csv")
    with open(good, newline="", encoding="utf-8") as file:
        names = next(csv.reader(file))
    rows = read(good)
    faults = {"ListCost": "1.0", "BilledCost": "", "PricingCategory": "Cheap", "ConsumedQuantity": "5",
              "ChargePeriodStart": "2026-11-01 00:00", "Tags": "{\"team\":\"unknown\"}", "SkuId": "other",
              "SkuPriceDetails": "{\"ModelId\":\"x\"}", "BillingPeriodEnd": "2020-01-01T00:00:00Z",
              "ContractedUnitPrice": "1e3", "PricingUnit": "tokens"}
    for name, value in faults.items():
        path = tmp_path / "bad.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows([rows[0], {**rows[0], name: value}])
        assert check(path).problems, name
    checker = Checker("1.4")
    checker.header(names)
    assert any("ServiceProviderName" in p for p in checker.problems)
    assert any("ProviderName is not of" in p for p in checker.problems)


def test_exact_where_doubles_are_not():
    """A price and a quantity whose product in binary is not the product."""
    assert 1.234567 * 3.00 == 3.7037009999999997
    assert Decimal("1.234567") * Decimal("3.00") == Decimal("3.703701")


def official(gateway, path):
    """The rules that failed, and those that passed."""
    report = os.path.join(gateway.folder, "report.xml")
    done = subprocess.run(
        [PYTHON, os.path.join(procs.ROOT, "tests", "focus", "official.py"), "--data-file", path,
         "--validate-version", "1.2", "--focus-dataset", "CostAndUsage", "--block-download",
         "--applicability-criteria",
         "TAGGING_SUPPORTED,UNIT_PRICING_SUPPORTED,PUBLIC_PRICE_LIST_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,"
         "NEGOTIATED_PRICING_SUPPORTED,SUB_ACCOUNT_SUPPORTED,MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
         "--output-type", "unittest", "--output-destination", report],
        capture_output=True, text=True, timeout=300, cwd=gateway.folder)
    assert os.path.exists(report), done.stdout[-2000:] + done.stderr[-2000:]
    failed, passed = set(), set()
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "").split(" ")[0].split("::")[0]
        (failed if case.find("failure") is not None or case.find("error") is not None else passed).add(name)
    return failed, passed


def test_official_validator(spent):
    """A second opinion: only the failures that are known, and all of them, or the list is stale."""
    if not os.path.exists(PYTHON):
        pytest.skip("no focus-validator: make venv-focus")
    path = export(spent, "focus.csv")
    failed, passed = official(spent, path)
    print(f"focus-validator: {len(passed)} rules passed, failed: {sorted(failed)}")
    assert len(passed) > 500
    assert failed == {rule for rules in FALSE_FAILURES.values() for rule in rules}
    assert BLIND <= passed
    rows = read(path)
    for row in rows:
        row.update(ListCost=str(Decimal(row["ListCost"]) + 1), PricingCategory="Cheap")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    more, passed = official(spent, path)
    assert any(rule.startswith("PricingCategory-C-") for rule in more - failed) and BLIND <= passed
    assert any("ListCost" in problem for problem in check(path).problems)


def test_read_back_it_reconciles(spent):
    """Our own file as a provider's: nothing differs, and the remainder is nought."""
    path = export(spent, "focus.csv")
    report = spent.report("reconcile", "--import", path)
    total = report["total"]
    assert total["difference_usd"] == "0" and total["unexplained_usd"] == "0"
    assert total["metered_cost_usd"] == total["invoiced_cost_usd"] == spent.report("spend")["total"]["cost_usd"]
    # The model without a price is in no row of the file.
    assert {row["class"] for row in report["rows"]} == {"matched", "missing_at_provider"}
    assert {row["model"] for row in report["rows"] if row["class"] != "matched"} == {"nobodyknowsthis"}
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(",USD,", ",EUR,", 1))
    done = procs.run_cli("report", "reconcile", "--import", path, "-c", spent.config_path, cwd=spent.folder)
    assert done.returncode == 2 and "focus.csv:2:" in done.stderr and "is not USD" in done.stderr


def test_a_url_names_no_file(spent):
    answer = spent.admin("/api/v1/reports/reconcile?import=/etc/passwd")
    assert answer.status == 400 and b"root" not in answer.body
