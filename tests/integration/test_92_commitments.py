"""The report on commitments: by hand, beside the FOCUS export of the same period, and from every place."""

import csv
import json
import os
import subprocess
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from kit import calls, procs

HISTORY = os.path.join(os.path.dirname(procs.provider_binary()), "history")
# A dollar an input token, nothing for output.
DOLLARS = {"schema": "tollgate-prices/1", "version": "1", "currency": "USD", "sources": {},
           "units": {"in": {"per": 1000000, "of": "token"}, "out": {"per": 1000000, "of": "token"}},
           "providers": {"openai": {"models": [{
               "id": "ours", "kind": "chat", "ids": ["ours"],
               "prices": [{"from": None, "to": None, "rates": {"in": "1000000", "out": "0"}}]}]}}}


def take(gateway, folder, *rows):
    file = folder / "commitments.csv"
    file.write_text("id,account,provider,name,from,to,amount_usd\n" + "".join(row + "\n" for row in rows))
    gateway.cli("import", "commitments", str(file))


def exported(gateway, *words):
    """What the FOCUS export of a period says: of each commitment what was bought, used and left unused."""
    path = os.path.join(gateway.folder, "focus.csv")
    gateway.cli("export", "--format", "focus", "--output", path, *words)
    said = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["CommitmentDiscountId"]:
                kind = row["CommitmentDiscountStatus"] or row["ChargeCategory"]
                column = "BilledCost" if kind == "Purchase" else "EffectiveCost"
                key = row["CommitmentDiscountId"], kind
                said[key] = said.get(key, Decimal(0)) + Decimal(row[column])
    return said


def check_sums(report):
    """Each row's parts are what was committed, and the rows sum to the total."""
    for row in [*report["rows"], report["total"]]:
        gone = Decimal(row["used_before_usd"]) + Decimal(row["used_usd"])
        assert gone + Decimal(row["left_usd"]) == Decimal(row["committed_usd"])
        assert row["unused_usd"] in (None, row["left_usd"]) or row is report["total"]
    for column in ("committed_usd", "used_before_usd", "used_usd", "left_usd", "unused_usd"):
        assert sum(Decimal(row[column] or 0) for row in report["rows"]) == Decimal(report["total"][column] or 0)


def test_by_hand(gateways, provider, tmp_path):
    """5 and 7 dollars fit into 13, 4 do not, and from then on nothing does."""
    book = tmp_path / "dollars.json"
    book.write_text(json.dumps(DOLLARS))
    gateway = gateways(prices={"book": [*gateways.config()["prices"]["book"], str(book)]})
    gateway.config["upstreams"][0]["billing_account"] = "org-1234"
    gateway.write()
    gateway.reload()
    with gateway.connect() as connection:
        for n, words in enumerate((5, 7, 4, 3)):
            assert calls.send(gateway, calls.chat(model="ours", words=words), connection).status == 200
            gateway.records(n + 1)
        assert calls.send(gateway, calls.messages(), connection).status == 200  # of another account
        assert calls.send(gateway, calls.chat(model="nobody-knows-this"), connection).status == 200
    gateway.records(6)
    today = datetime.now(timezone.utc).date()
    term = f"{today - timedelta(days=1)},{today + timedelta(days=2)}"
    take(gateway, tmp_path, f"C-1,org-1234,openai,Thirteen,{term},13", f"C-2,nobody,,,{term},0")
    words = "--from", str(today - timedelta(days=10)), "--to", str(today + timedelta(days=10))
    report = gateway.report("commitments", *words)
    one, other = report["rows"]
    assert {k: one[k] for k in ("id", "name", "account", "provider", "committed_usd", "used_before_usd", "used_usd",
                                "left_usd", "unused_usd", "coverable_usd")} == {
        "id": "C-1", "name": "Thirteen", "account": "org-1234", "provider": "openai", "committed_usd": "13",
        "used_before_usd": "0", "used_usd": "12", "left_usd": "1", "unused_usd": None, "coverable_usd": "19"}
    assert one["utilisation"] == round(12 / 13, 6) and one["coverage"] == round(12 / 19, 6)
    assert 1 / 3 < one["elapsed"] < 1
    # Of nothing there is no ratio.
    assert (other["used_usd"], other["utilisation"], other["coverage"], other["lines"]) == ("0", None, None, None)
    check_sums(report)
    lines = gateway.admin(one["lines"]).json()
    assert Decimal(lines["total"]["cost_usd"]) == 12 and len(lines["rows"]) == 2
    assert exported(gateway, *words) == {("C-1", "Purchase"): 13, ("C-1", "Used"): 12, ("C-2", "Purchase"): 0}
    # Every format, from both places.
    for form in ("table", "csv", "json", "html"):
        here = gateway.cli("report", "commitments", "--format", form, *words)
        there = gateway.admin(f"/api/v1/reports/commitments?format={form}&from={words[1]}&to={words[3]}")
        assert there.status == 200 and "C-1" in here and "12" in here
        if form == "csv":
            assert there.body.decode().replace("\r\n", "\n") == here.replace("\r\n", "\n")
    assert "commitments" in {r["name"] for r in gateway.admin("/api/v1/reports").json()["reports"]}
    assert "commitments" in gateway.cli("report", "--help")
    for wrong in (["--by", "team"], ["--where", "team=search"], ["--grain", "day"], ["--top", "3"]):
        gateway.cli("report", "commitments", *wrong, code=2)


@pytest.mark.skipif(not os.path.exists(HISTORY), reason=f"no {HISTORY}")
def test_as_the_focus_export_counts(gateways, tmp_path):
    """The same numbers to the last digit, whichever part of the terms the period is."""
    state = tmp_path / "terms" / "var"
    state.mkdir(parents=True)
    subprocess.run([HISTORY, str(state), "20", "60"], check=True, timeout=120)
    gateway = gateways(name="terms")
    today = datetime.now(timezone.utc).date()
    day = [today - timedelta(days=n) for n in range(21)]

    def cost(upstream, since, until):
        words = "--tz", "UTC", "--where", f"upstream={upstream}", "--from", str(since), "--to", str(until)
        return Decimal(gateway.report("spend", *words)["total"]["cost_usd"])
    # C-0 is used up while C-1 has begun beside it, which then takes the rest and is used up too.
    amounts = {"C-0": cost("openai", day[18], day[12]), "C-1": cost("openai", day[12], day[5]),
               "C-2": cost("anthropic", day[12], day[6]) * 2, "C-3": Decimal(9)}
    take(gateway, tmp_path, f"C-0,openai,openai,,{day[18]},{day[10]},{amounts['C-0']:f}",
         f"C-1,openai,openai,,{day[14]},{day[2]},{amounts['C-1']:f}",
         f"C-2,anthropic,anthropic,,{day[12]},{day[6]},{amounts['C-2']:f}",
         f"C-3,nobody,,,{day[3]},{today + timedelta(days=400)},9")
    seen = {}
    for since, until in ((day[20], today + timedelta(days=1)), (day[8], today + timedelta(days=1)),
                         (f"{day[16]}T05:30:00Z", f"{day[9]}T17:45:10Z"), (day[9], day[5]), (day[3], day[1])):
        words = "--from", str(since), "--to", str(until)
        report = gateway.report("commitments", *words)
        check_sums(report)
        said = exported(gateway, *words)
        for row in report["rows"]:
            assert Decimal(row["committed_usd"]) == amounts[row["id"]]
            assert Decimal(row["used_usd"]) == said.get((row["id"], "Used"), 0), (row, words)
            assert Decimal(row["unused_usd"] or 0) == said.get((row["id"], "Unused"), 0), (row, words)
            assert said.get((row["id"], "Purchase"), amounts[row["id"]]) == amounts[row["id"]]
            if row["lines"]:
                lines = gateway.admin(row["lines"]).json()["total"]
                assert Decimal(lines["cost_usd"]) == Decimal(row["used_usd"])
        assert {name for name, _ in said} <= {row["id"] for row in report["rows"]}
        seen[words] = {row["id"]: row for row in report["rows"]}
    whole = seen["--from", str(day[20]), "--to", str(today + timedelta(days=1))]
    assert whole["C-0"]["left_usd"] != whole["C-0"]["committed_usd"] and whole["C-0"]["lines"]
    assert whole["C-2"]["utilisation"] == 0.5 and whole["C-2"]["coverage"] == 1 and whole["C-2"]["elapsed"] == 1
    assert whole["C-3"]["unused_usd"] is None and whole["C-3"]["coverage"] is None
    # Asked from later on, what went before has used up its part.
    later = seen["--from", str(day[8]), "--to", str(today + timedelta(days=1))]
    assert Decimal(later["C-1"]["used_before_usd"]) > 0 and "C-0" not in later
    for name in ("C-1", "C-2"):
        assert later[name]["left_usd"] == whole[name]["left_usd"]
        assert later[name]["utilisation"] == whole[name]["utilisation"]
