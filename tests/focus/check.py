"""Checks a FOCUS Cost and Usage file (1.2 or 1.4) with exact decimals.

    python3 tests/focus/check.py FILE.csv [--version 1.2] [--total USD]

Binary floating point cannot say whether a price times a quantity is a cost: here every number
is a decimal of as many digits as it has.  Prints each violation with its row, ends with 1 if any.
"""

import argparse
import csv
import json
import re
import sys
from decimal import Context, Decimal, InvalidOperation, getcontext

EXACT = Context(prec=120)
getcontext().prec = 120

# name: (type, may be empty, allowed values or None, mandatory)
TEXT, DECIMAL, TIME, JSON = "text", "decimal", "time", "json"
CATEGORIES = {"Usage", "Purchase", "Tax", "Credit", "Adjustment"}
COLUMNS = {
    "BilledCost": (DECIMAL, False, None, True),
    "BillingAccountId": (TEXT, False, None, True),
    "BillingAccountName": (TEXT, True, None, True),
    "BillingCurrency": (TEXT, False, {"USD"}, True),
    "BillingPeriodEnd": (TIME, False, None, True),
    "BillingPeriodStart": (TIME, False, None, True),
    "ChargeCategory": (TEXT, False, CATEGORIES, True),
    "ChargeClass": (TEXT, True, {"Correction"}, True),
    "ChargeDescription": (TEXT, True, None, True),
    "ChargeFrequency": (TEXT, False, {"One-Time", "Recurring", "Usage-Based"}, False),
    "ChargePeriodEnd": (TIME, False, None, True),
    "ChargePeriodStart": (TIME, False, None, True),
    "ConsumedQuantity": (DECIMAL, True, None, True),
    "ConsumedUnit": (TEXT, True, None, True),
    "ContractedCost": (DECIMAL, False, None, True),
    "ContractedUnitPrice": (DECIMAL, True, None, True),
    "EffectiveCost": (DECIMAL, False, None, True),
    "InvoiceId": (TEXT, True, None, False),
    "RegionId": (TEXT, True, None, False), "RegionName": (TEXT, True, None, False),
    "InvoiceIssuerName": (TEXT, False, None, True),
    "ListCost": (DECIMAL, False, None, True),
    "ListUnitPrice": (DECIMAL, True, None, True),
    "PricingCategory": (TEXT, True, {"Standard", "Dynamic", "Committed", "Other"}, True),
    "PricingQuantity": (DECIMAL, True, None, True),
    "PricingUnit": (TEXT, True, None, True),
    "ServiceCategory": (TEXT, False, {"AI and Machine Learning"}, True),
    "ServiceName": (TEXT, False, None, True),
    "ServiceSubcategory": (TEXT, False, {"Generative AI"}, False),
    "SkuId": (TEXT, True, None, True),
    "SkuMeter": (TEXT, True, None, True),
    "SkuPriceDetails": (JSON, True, None, True),
    "SkuPriceId": (TEXT, True, None, True),
    "SubAccountId": (TEXT, True, None, True),
    "SubAccountName": (TEXT, True, None, True),
    "Tags": (JSON, True, None, True),
}
BY_VERSION = {
    "1.2": {"ProviderName": (TEXT, False, None, True), "PublisherName": (TEXT, False, None, True)},
    "1.4": {"ServiceProviderName": (TEXT, False, None, True), "HostProviderName": (TEXT, False, None, True),
            "InvoiceDetailId": (TEXT, True, None, False)},
}
# Of files that know commitments.
COMMITTED = {
    "CommitmentDiscountCategory": (TEXT, True, {"Spend", "Usage"}, False),
    "CommitmentDiscountId": (TEXT, True, None, False),
    "CommitmentDiscountName": (TEXT, True, None, False),
    "CommitmentDiscountQuantity": (DECIMAL, True, None, False),
    "CommitmentDiscountStatus": (TEXT, True, {"Used", "Unused"}, False),
    "CommitmentDiscountType": (TEXT, True, None, False),
    "CommitmentDiscountUnit": (TEXT, True, None, False),
}
# Of files in which charges are split among those who bear them.
ALLOCATED = {
    "AllocatedMethodDetails": (TEXT, True, None, False),
    "AllocatedMethodId": (TEXT, True, None, False),
    "AllocatedResourceId": (TEXT, True, None, False),
    "AllocatedResourceName": (TEXT, True, None, False),
    "AllocatedTags": (JSON, True, None, False),
}
# What adds up: the parts of a split charge sum to it. All else of them is the same.
SUMMABLE = {"BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity", "PricingQuantity",
            "CommitmentDiscountQuantity", "x_RequestCount"}
GONE = {"1.2": {"ServiceProviderName", "HostProviderName", "InvoiceDetailId", *ALLOCATED},
        "1.4": {"ProviderName", "PublisherName"}}
# Keys that SkuPriceDetails may have without x_; ours need none of them.
DETAIL = re.compile(r"x_[A-Z][A-Za-z0-9]*$")
NUMBER = re.compile(r"-?\d+\.\d+$")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
UNIT = re.compile(r"(\d+ )?[A-Z][A-Za-z0-9]*( [A-Z][A-Za-z0-9]*)*$")
PLACEHOLDERS = {"unknown", "n/a", "na", "null", "none", "(untagged)", "not applicable"}


class Checker:
    def __init__(self, version):
        self.version = version
        self.columns = {**COLUMNS, **COMMITTED, **ALLOCATED, **BY_VERSION[version]}
        self.problems = []
        self.sku_of_price, self.details_of_price, self.category_of_service = {}, {}, {}
        self.list_of_price = {}
        self.origins = {}  # of split charges: the sum of their ratios
        self.totals = {"BilledCost": Decimal(0), "EffectiveCost": Decimal(0),
                       "ListCost": Decimal(0), "ContractedCost": Decimal(0)}
        self.rows = 0

    def wrong(self, row, what):
        self.problems.append(f"row {row}: {what}" if row else what)

    def header(self, names):
        for name, (_, _, _, mandatory) in self.columns.items():
            if mandatory and name not in names:
                self.wrong(0, f"column {name} is missing")
        for name in names:
            if name in GONE[self.version]:
                self.wrong(0, f"column {name} is not of version {self.version}")
            elif name not in self.columns and not re.match(r"x_[A-Z][A-Za-z0-9]*$", name):
                self.wrong(0, f"column {name} is neither FOCUS's nor x_")
        if len(set(names)) != len(names):
            self.wrong(0, "a column stands twice")
        own = [name.startswith("x_") for name in names]
        if own != sorted(own):
            self.wrong(0, "FOCUS's columns come before our own")

    def number(self, row, name, text):
        if not NUMBER.match(text):
            self.wrong(row, f"{name} {text!r} is no plain decimal with a point")
        try:
            return Decimal(text)
        except InvalidOperation:
            return None

    def pairs(self, row, name, text):
        def unique(items):
            if len({k for k, _ in items}) != len(items):
                self.wrong(row, f"{name} has a key twice")
            return dict(items)
        try:
            value = json.loads(text, object_pairs_hook=unique)
        except ValueError:
            self.wrong(row, f"{name} is no JSON")
            return
        for key, item in value.items():
            if not key or isinstance(item, (dict, list)):
                self.wrong(row, f"{name}.{key} is not flat")
            if isinstance(item, str) and item.strip().lower() in PLACEHOLDERS | {""}:
                self.wrong(row, f"{name}.{key} is a placeholder: {item!r}")
            if name == "SkuPriceDetails" and not DETAIL.match(key):
                self.wrong(row, f"SkuPriceDetails.{key} needs x_")

    def cells(self, row, line):
        numbers = {}
        for name, (kind, may_be_empty, allowed, _) in self.columns.items():
            text = line.get(name)
            if text is None:
                continue
            if text == "":
                if not may_be_empty:
                    self.wrong(row, f"{name} is empty")
                continue
            if text.strip().lower() in PLACEHOLDERS:
                self.wrong(row, f"{name} is a placeholder: {text!r}")
            if allowed and text not in allowed:
                self.wrong(row, f"{name} {text!r} is not allowed")
            if kind == DECIMAL:
                numbers[name] = self.number(row, name, text)
            elif kind == TIME and not INSTANT.match(text):
                self.wrong(row, f"{name} {text!r} is no UTC instant")
            elif kind == JSON:
                self.pairs(row, name, text)
            elif name in ("ConsumedUnit", "PricingUnit") and not UNIT.match(text):
                self.wrong(row, f"{name} {text!r} is no unit")
        return numbers

    def line(self, row, line):
        self.rows += 1
        numbers = self.cells(row, line)
        for name in self.totals:
            self.totals[name] += numbers.get(name) or 0
        self.quantities(row, line)
        self.commitment(row, line, numbers)
        self.allocation(row, line)
        for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")):
            if None not in (numbers.get(cost), numbers.get(price), numbers.get("PricingQuantity")):
                product = EXACT.multiply(numbers[price], numbers["PricingQuantity"])
                if product != numbers[cost]:
                    self.wrong(row, f"{cost} {numbers[cost]} is not {price} x PricingQuantity = {product}")
        for name in ("ListUnitPrice", "ContractedUnitPrice"):
            if numbers.get(name) is not None and numbers[name] < 0:
                self.wrong(row, f"{name} is negative")
        unit = line["PricingUnit"].split(" ", 1)
        quantities = numbers.get("PricingQuantity"), numbers.get("ConsumedQuantity")
        if len(unit) == 2 and unit[0].isdigit() and unit[1] == line["ConsumedUnit"] and None not in quantities:
            if quantities[0] * int(unit[0]) != quantities[1]:
                self.wrong(row, "PricingQuantity is not ConsumedQuantity in its unit")
        if line["ChargeClass"] == "Correction":
            if not line["ChargePeriodStart"] < line["ChargePeriodEnd"] <= line["BillingPeriodStart"]:
                self.wrong(row, "what is corrected is not of an earlier billing period")
        elif not (line["BillingPeriodStart"] <= line["ChargePeriodStart"] < line["ChargePeriodEnd"]
                  <= line["BillingPeriodEnd"]):
            self.wrong(row, "the charge period is not within the billing period")
        if not line["BillingPeriodStart"].endswith("-01T00:00:00Z"):
            self.wrong(row, "the billing period is no calendar month")
        if line["SkuPriceId"]:
            self.once(row, self.sku_of_price, line, "SkuPriceId", "SkuId")
            self.once(row, self.details_of_price, line, "SkuPriceId", "SkuPriceDetails")
        self.once(row, self.category_of_service, line, "ServiceName", "ServiceCategory")
        # One price: it changes with time alone, which the entry of the price sheet tells.
        if line.get("x_ListPriceSource") == "book" and line["PricingQuantity"]:
            entry = line["SkuPriceId"], line["x_PriceSheetEntry"]
            before = self.list_of_price.setdefault(entry, line["ListUnitPrice"])
            if before != line["ListUnitPrice"]:
                self.wrong(row, f"{entry} has two list prices: {before}, {line['ListUnitPrice']}")

    def quantities(self, row, line):
        """What must be there, and what must not, by category, class and SKU."""
        category, correction = line["ChargeCategory"], line["ChargeClass"] == "Correction"
        unused = line.get("CommitmentDiscountStatus") == "Unused"
        if category == "Usage" and not unused and not correction:
            for name in ("ConsumedQuantity", "ConsumedUnit"):
                if line[name] == "":
                    self.wrong(row, f"{name} is empty on usage")
        if category != "Usage" and (line["ConsumedQuantity"] or line["ConsumedUnit"]):
            self.wrong(row, "something was consumed, and it is no usage")
        if category in ("Usage", "Purchase") and not correction:
            for name in ("PricingQuantity", "PricingUnit", "PricingCategory", "ListUnitPrice", "ContractedUnitPrice",
                         "SkuId", "SkuPriceId"):
                if line[name] == "":
                    self.wrong(row, f"{name} is empty on {category}")
        for name, other in (("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit")):
            if (line[name] == "") != (line[other] == ""):
                self.wrong(row, f"only one of {name} and {other} is there")
        for name in ("ListUnitPrice", "ContractedUnitPrice"):  # said of 1.3 on
            if (line[name] == "") != (line["SkuPriceId"] == ""):
                self.wrong(row, f"only one of {name} and SkuPriceId is there")
        for name in ("ConsumedQuantity", "PricingQuantity", "PricingCategory", "SkuId", "SkuMeter", "SkuPriceDetails"):
            if line["SkuPriceId"] == "" and line[name]:
                self.wrong(row, f"{name} is there without a SkuPriceId")

    def allocation(self, row, line):
        if not line.get("AllocatedMethodId"):
            if any(line.get(name) for name in ALLOCATED):
                self.wrong(row, "part of an allocation that has no method")
            return
        if (line["AllocatedResourceId"] == "") != (line["AllocatedResourceName"] == ""):
            self.wrong(row, "only one of AllocatedResourceId and AllocatedResourceName is there")
        try:
            details = json.loads(line["AllocatedMethodDetails"], parse_float=Decimal, parse_int=Decimal)
            elements = details["Elements"]
            ratio = sum((element["AllocatedRatio"] for element in elements), Decimal(0))
        except (ValueError, KeyError, TypeError):
            self.wrong(row, "AllocatedMethodDetails has no elements with ratios")
            return
        if any("UsageQuantity" in element and "UsageUnit" not in element for element in elements):
            self.wrong(row, "a UsageQuantity without a unit")
        tags = json.loads(line["Tags"] or "{}")
        for key, value in json.loads(line["AllocatedTags"] or "{}").items():
            if tags.get(key) == value:
                self.wrong(row, f"AllocatedTags repeats {key} of Tags")
        # Pools, and times of other weights, share out charges of their own.
        origin = self.origin(line) + (("x_Pool", details.get("x_Pool")), ("x_From", details.get("x_From")))
        bearers = self.origins.setdefault(origin, {})
        if line["AllocatedResourceId"] in bearers:
            self.wrong(row, f"{line['AllocatedResourceId']!r} bears two parts of one charge")
        bearers[line["AllocatedResourceId"]] = ratio

    @staticmethod
    def origin(line):
        """What the parts of a split charge have in common."""
        return tuple((name, text) for name, text in line.items() if name not in SUMMABLE and name not in ALLOCATED)

    def finish(self):
        for origin, bearers in self.origins.items():
            if sum(bearers.values()) != 1:
                self.wrong(0, f"the ratios of {dict(origin)['SkuPriceId']} sum to {sum(bearers.values())}")

    def commitment(self, row, line, numbers):
        bought = line["ChargeCategory"] == "Purchase"
        if not line.get("CommitmentDiscountId"):
            if any(line.get(name) for name in COMMITTED) or line["PricingCategory"] == "Committed":
                self.wrong(row, "part of a commitment that has no id")
            return
        for name in COMMITTED:
            if (line[name] == "") != (bought and name == "CommitmentDiscountStatus"):
                self.wrong(row, f"{name} is {line[name]!r} on a row of a commitment")
        if line["PricingCategory"] != "Committed":
            self.wrong(row, "PricingCategory is not Committed")
        if bought and (numbers.get("EffectiveCost") or line["ChargeFrequency"] == "Usage-Based"):
            self.wrong(row, "a purchase for later has a cost of its own, or the frequency of usage")
        if not bought and numbers.get("BilledCost"):
            self.wrong(row, "what was paid beforehand is billed again")

    def once(self, row, seen, line, name, has_one):
        before = seen.setdefault(line[name], line[has_one])
        if before != line[has_one]:
            self.wrong(row, f"{name} {line[name]!r} has two of {has_one}: {before!r}, {line[has_one]!r}")


def check(path, version="1.2", total=None):
    """The checker after a whole file."""
    checker = Checker(version)
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, strict=True)
        checker.header(reader.fieldnames or [])
        if not checker.problems:
            for row, line in enumerate(reader, 2):
                if None in line or None in line.values():
                    checker.wrong(row, "not as many cells as columns")
                    continue
                checker.line(row, line)
            checker.finish()
    if total is not None and checker.totals["EffectiveCost"] != Decimal(total):
        checker.wrong(0, f"EffectiveCost sums to {checker.totals['EffectiveCost']}, the ledger to {total}")
    return checker


def main():
    parser = argparse.ArgumentParser(description="Checks a FOCUS file with exact decimals.")
    parser.add_argument("file")
    parser.add_argument("--version", choices=sorted(BY_VERSION), default="1.2")
    parser.add_argument("--total", help="what EffectiveCost must sum to")
    args = parser.parse_args()
    checker = check(args.file, args.version, args.total)
    for problem in checker.problems[:50]:
        print(problem)
    print(f"{args.file}: {checker.rows} rows, EffectiveCost {checker.totals['EffectiveCost']}, "
          f"{len(checker.problems)} violations")
    return 1 if checker.problems else 0


if __name__ == "__main__":
    sys.exit(main())
