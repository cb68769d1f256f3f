"""Each rule of our FOCUS checker can fail: a fault for every one, planted in rows that have none."""

import ast
import os
import sys
from decimal import Decimal

import pytest

from kit import procs

sys.path.insert(0, os.path.join(procs.ROOT, "tests", "focus"))

import check as focus  # noqa: E402

pytestmark = pytest.mark.provider_only

USAGE = {
    "BilledCost": "0.37", "BillingAccountId": "org-1", "BillingAccountName": "Example", "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-11-01T00:00:00Z", "BillingPeriodEnd": "2026-12-01T00:00:00Z",
    "ChargeCategory": "Usage", "ChargeClass": "", "ChargeDescription": "Input tokens", "ChargeFrequency": "Usage-Based",
    "ChargePeriodStart": "2026-11-05T00:00:00Z", "ChargePeriodEnd": "2026-11-06T00:00:00Z",
    "ConsumedQuantity": "123456.0", "ConsumedUnit": "Tokens", "ContractedCost": "0.370368",
    "ContractedUnitPrice": "3.0", "EffectiveCost": "0.370368", "InvoiceIssuerName": "OpenAI", "ListCost": "0.370368",
    "ListUnitPrice": "3.0", "PricingCategory": "Standard", "PricingQuantity": "0.123456",
    "PricingUnit": "1000000 Tokens", "ServiceCategory": "AI and Machine Learning", "ServiceName": "OpenAI API",
    "ServiceSubcategory": "Generative AI", "SkuId": "openai/m/in", "SkuMeter": "Input Tokens",
    "SkuPriceDetails": '{"x_TokenDirection":"Input"}', "SkuPriceId": "openai/m/in/standard", "SubAccountId": "",
    "SubAccountName": "", "Tags": '{"team":"search"}', "x_ListPriceSource": "book", "x_PriceSheetEntry": "m@1",
}
NAMES = {"1.2": {"ProviderName": "OpenAI", "PublisherName": "OpenAI"},
         "1.4": {"HostProviderName": "OpenAI", "ServiceProviderName": "OpenAI"}}
TERM = {"CommitmentDiscountCategory": "Spend", "CommitmentDiscountId": "C-1", "CommitmentDiscountName": "Term",
        "CommitmentDiscountQuantity": "0.370368", "CommitmentDiscountStatus": "Used", "CommitmentDiscountType": "Spend",
        "CommitmentDiscountUnit": "USD", "BilledCost": "0.0", "PricingCategory": "Committed"}
BOUGHT = {**TERM, "ChargeCategory": "Purchase", "ChargeFrequency": "One-Time", "ConsumedQuantity": "", "ConsumedUnit": "",
          "BilledCost": "9.0", "EffectiveCost": "0.0", "CommitmentDiscountStatus": "", "SkuPriceId": "term/1",
          "SkuId": "term"}
BARE = {"ChargeCategory": "Adjustment", **dict.fromkeys(
    ("ConsumedQuantity", "ConsumedUnit", "PricingQuantity", "PricingUnit", "PricingCategory", "ListUnitPrice",
     "ContractedUnitPrice", "SkuId", "SkuMeter", "SkuPriceId", "SkuPriceDetails"), "")}
CORRECTED = {"ChargeClass": "Correction", "ChargePeriodStart": "2026-10-05T00:00:00Z",
             "ChargePeriodEnd": "2026-10-06T00:00:00Z"}
PART = {"AllocatedMethodId": "fixed", "AllocatedMethodDetails":
        '{"Elements":[{"AllocatedRatio":0.5,"UsageUnit":"Teams","UsageQuantity":1}],"x_Pool":"gpu"}',
        "AllocatedResourceId": "team/a", "AllocatedResourceName": "a", "AllocatedTags": '{"team":"a"}'}
OTHER = {**PART, "AllocatedResourceId": "team/b", "AllocatedResourceName": "b", "AllocatedTags": '{"team":"b"}'}
GOOD = [[{}], [TERM], [TERM, BOUGHT, {**TERM, "CommitmentDiscountStatus": "Unused", "ConsumedQuantity": "",
                                      "ConsumedUnit": ""}], [BARE], [CORRECTED], [PART, OTHER]]

# What is changed in which good rows, and what the checker says of it. A column that is None is left out.
FAULTS = [
    # columns
    ([{}], {"BilledCost": None}, "column BilledCost is missing"), ([{}], {"ProviderName": "x"}, "is not of version"),
    ([{}], {"Colour": "x"}, "neither FOCUS's nor x_"), ([{}], {"x_colour": "x"}, "neither FOCUS's nor x_"),
    # cells
    *[([{}], {name: ""}, f"{name} is empty") for name, (_, may, _, must) in focus.COLUMNS.items() if must and not may],
    *[([{}], {name: "unknown"}, "is a placeholder") for name in ("BillingAccountId", "SkuMeter", "SubAccountId")],
    *[([{}], {name: "Cheap"}, "is not allowed") for name, (_, _, allowed, _) in focus.COLUMNS.items()
      if allowed and name in USAGE],
    *[([{}], {name: value}, "no plain decimal") for name in ("BilledCost", "PricingQuantity") for value in
      ("1", "+1.0", "1e3", "1,000.0", "$1.0", ".5")],
    *[([{}], {name: "2026-11-05 00:00"}, "is no UTC instant") for name in ("ChargePeriodStart", "BillingPeriodEnd")],
    ([{}], {"PricingUnit": "tokens"}, "is no unit"), ([{}], {"ConsumedUnit": "of tokens"}, "is no unit"),
    *[([{}], {name: "{"}, f"{name} is no JSON") for name in ("Tags", "SkuPriceDetails")],
    ([{}], {"Tags": '{"team":"a","team":"b"}'}, "a key twice"), ([{}], {"Tags": '{"team":["a"]}'}, "is not flat"),
    ([{}], {"Tags": '{"team":"unknown"}'}, "is a placeholder"), ([{}], {"Tags": '{"team":""}'}, "is a placeholder"),
    ([{}], {"SkuPriceDetails": '{"ModelId":"m"}'}, "needs x_"),
    # products, prices, quantities
    ([{}], {"ListCost": "0.370369"}, "ListCost 0.370369 is not"), ([{}], {"ContractedCost": "0.37"}, "ContractedCost 0.37 is not"),
    ([{}], {"ListUnitPrice": "-3.0"}, "ListUnitPrice is negative"),
    ([{}], {"ContractedUnitPrice": "-3.0"}, "ContractedUnitPrice is negative"),
    ([{}], {"ConsumedQuantity": "123457.0"}, "not ConsumedQuantity in its unit"),
    # periods
    ([CORRECTED], {"ChargePeriodStart": "2026-11-05T00:00:00Z"}, "not of an earlier billing period"),
    ([{}], {"ChargePeriodEnd": "2026-12-02T00:00:00Z"}, "not within the billing period"),
    ([{}], {"ChargePeriodEnd": "2026-11-05T00:00:00Z"}, "not within the billing period"),
    ([{}], {"BillingPeriodStart": "2026-11-02T00:00:00Z"}, "no calendar month"),
    # one of each
    ([{}, {}], {"SkuId": "openai/m/out"}, "has two of SkuId"),
    ([{}, {}], {"SkuPriceDetails": '{"x_TokenDirection":"Output"}'}, "has two of SkuPriceDetails"),
    ([{}, {}], {"ServiceCategory": "Compute"}, "has two of ServiceCategory"),
    ([{}, {}], {"ListUnitPrice": "4.0", "ListCost": "0.493824"}, "has two list prices"),
    # what must be there, and what must not
    ([{}], {"ConsumedQuantity": "", "ConsumedUnit": ""}, "ConsumedQuantity is empty on usage"),
    ([{}], {"ChargeCategory": "Adjustment"}, "it is no usage"),
    *[([{}], {name: ""}, f"{name} is empty on Usage") for name in
      ("PricingQuantity", "PricingUnit", "PricingCategory", "ListUnitPrice", "ContractedUnitPrice", "SkuId", "SkuPriceId")],
    *[([{}], {name: ""}, "only one of ") for name in
      ("ConsumedQuantity", "PricingUnit", "ListUnitPrice", "ContractedUnitPrice")],
    *[([BARE], {name: "1.0" if "Quantity" in name else '{"x_A":1}'}, f"{name} is there without a SkuPriceId") for name in
      ("PricingQuantity", "SkuId", "SkuMeter", "SkuPriceDetails")],
    # commitments
    ([{}], {"CommitmentDiscountName": "Term"}, "a commitment that has no id"),
    ([{}], {"PricingCategory": "Committed"}, "a commitment that has no id"),
    *[([TERM], {name: ""}, f"{name} is '' on a row of a commitment") for name in TERM
      if name.startswith("Commitment") and name != "CommitmentDiscountId"],
    ([BOUGHT], {"CommitmentDiscountStatus": "Used"}, "on a row of a commitment"),
    ([TERM], {"PricingCategory": "Standard"}, "PricingCategory is not Committed"),
    ([BOUGHT], {"EffectiveCost": "9.0"}, "a cost of its own"), ([BOUGHT], {"ChargeFrequency": "Usage-Based"}, "a cost of its own"),
    ([TERM], {"BilledCost": "1.0"}, "is billed again"),
    # split charges
    ([PART, OTHER], {"AllocatedMethodId": ""}, "an allocation that has no method"),
    ([PART, OTHER], {"AllocatedResourceName": ""}, "only one of AllocatedResourceId"),
    ([PART, OTHER], {"AllocatedMethodDetails": "{}"}, "no elements with ratios"),
    ([PART, OTHER], {"AllocatedMethodDetails": OTHER["AllocatedMethodDetails"].replace('"UsageUnit":"Teams",', "")},
     "a UsageQuantity without a unit"),
    ([PART, OTHER], {"AllocatedTags": '{"team":"search"}'}, "repeats team of Tags"),
    ([PART, OTHER], {"AllocatedResourceId": "team/a"}, "bears two parts of one charge"),
    ([PART, OTHER], {"AllocatedMethodDetails": OTHER["AllocatedMethodDetails"].replace("0.5", "0.500000000001")},
     "sum to 1.000000000001"),
]
RULES = {node.lineno for node in ast.walk(ast.parse(open(focus.__file__, encoding="utf-8").read()))
         if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "wrong"
         and getattr(node.func.value, "id", "") == "self"}
SEEN = set()


class Seeing(focus.Checker):
    """Notes which rule spoke."""

    def wrong(self, row, what):
        at = sys._getframe(1).f_lineno
        SEEN.add(max(line for line in RULES if line <= at))
        super().wrong(row, what)


def checked(changes, version="1.4", fault=()):
    rows = [{**USAGE, **NAMES[version], **change} for change in changes]
    rows[-1].update(fault)
    names = list(dict.fromkeys(name for row in rows for name in row if row[name] is not None))
    names.sort(key=lambda name: name.startswith("x_"))
    checker = Seeing(version)
    checker.header(names)
    if not checker.problems:
        for at, row in enumerate(rows, 2):
            checker.line(at, {name: row.get(name, "") for name in names})
        checker.finish()
    return checker.problems


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_good_rows_are_good(version):
    for changes in GOOD:
        if version == "1.4" or PART not in changes:
            assert checked(changes, version) == [], changes


def test_every_rule_can_fail():
    SEEN.clear()
    for changes, fault, says in FAULTS:
        problems = checked(changes, fault=fault)
        assert any(says in problem for problem in problems), (fault, says, problems)
    for version, wrong in (("1.2", "1.4"), ("1.4", "1.2")):
        for name in NAMES[wrong]:
            assert any("is not of version" in p for p in checked([{name: "x"}], version)), name
        for name in NAMES[version]:
            assert any(f"column {name} is missing" in p for p in checked([{name: None}], version)), name
    twice = Seeing("1.4")
    twice.header([*USAGE, *NAMES["1.4"], "Tags"])
    assert any("stands twice" in p for p in twice.problems) and any("come before our own" in p for p in twice.problems)
    assert RULES - SEEN == set(), "rules without a fault, by their lines in check.py"


def test_sums_are_exact(tmp_path):
    """The ledger's total to the last of 18 digits, and rows of as many cells as there are columns."""
    names = [*(n for n in {**USAGE, **NAMES["1.4"]} if not n.startswith("x_")), "x_ListPriceSource", "x_PriceSheetEntry"]
    row = {**USAGE, **NAMES["1.4"], "EffectiveCost": "0.370368000000000001"}
    path = tmp_path / "one.csv"
    path.write_text(",".join(names) + "\n" + ",".join('"' + row[n].replace('"', '""') + '"' for n in names) + "\n")
    assert focus.check(path, "1.4", "0.370368000000000001").problems == []
    assert "the ledger to" in focus.check(path, "1.4", "0.370368").problems[0]
    path.write_text(path.read_text() + "1,2\n")
    assert any("not as many cells" in problem for problem in focus.check(path, "1.4").problems)
    assert Decimal("1.234567") * Decimal("3.00") == Decimal("3.703701") != Decimal(1.234567 * 3.00)
