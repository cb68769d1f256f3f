"""What a call costs by the book that ships, computed apart from the gateway in exact decimals."""

import functools
import json
import os
from decimal import Decimal, getcontext

from .procs import ROOT

getcontext().prec = 60

FALLS_TO = {"cache_read": "in", "cache_write": "in", "cache_write_1h": "cache_write"}
MILLION = Decimal(1000000)


@functools.lru_cache(maxsize=None)
def _models(provider):
    with open(os.path.join(ROOT, "pricing", "book", f"{provider}.json"), encoding="utf-8") as file:
        return json.load(file)["providers"][provider]["models"]


def rates(provider, model):
    """The base rates of a model now, decimals per million."""
    for entry in _models(provider):
        if model in entry["ids"]:
            current = [p for p in entry["prices"] if p.get("to") is None]
            assert len(current) == 1
            return {meter: Decimal(rate) for meter, rate in current[0]["rates"].items()}
    raise KeyError(f"{provider}/{model}")


def rate(table, meter):
    while meter not in table:
        meter = FALLS_TO[meter]
    return table[meter]


def cost(provider, model, counts, multiplier="1"):
    """Cost of a provider's bill (counts of `/_sim/billed`), exact, in dollars."""
    table = rates(provider, model)
    aside = counts["cache_read_tokens"] + counts["cache_write_5m_tokens"] + \
        counts["cache_write_1h_tokens"]
    quantities = {
        "in": counts["input_tokens"] - aside,
        "cache_read": counts["cache_read_tokens"],
        "cache_write": counts["cache_write_5m_tokens"],
        "cache_write_1h": counts["cache_write_1h_tokens"],
        "out": counts["output_tokens"],
    }
    total = sum((rate(table, meter) * quantity for meter, quantity in quantities.items()
                 if quantity), Decimal(0))
    return total / MILLION * Decimal(multiplier)
