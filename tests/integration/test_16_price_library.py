"""The recorded traffic, priced by an independent library: each difference has a reason, or fails.

The counts are those of the recordings' descriptions, so that prices alone are compared. What
differs stands in tests/vectors/prices/library.json with the reason; what is listed there and
no longer differs fails too, so that the list stays true."""

import collections
import datetime
import fnmatch
import json
import os
import warnings
from decimal import Decimal

import pytest

from kit import exact, procs
from test_15_prices import costs_of
from kit.config import BOOK

genai_prices = pytest.importorskip("genai_prices", reason="the package genai-prices is absent")

REASONS = os.path.join(procs.ROOT, "tests", "vectors", "prices", "library.json")
AT = "2026-11-21T12:00:00Z"
# Folder of the recordings -> provider of the book, provider of the library.
PROVIDERS = {
    "openai": ("openai", "openai"), "anthropic": ("anthropic", "anthropic"),
    "gemini": ("gemini", "google"), "vertex": ("vertex", "google"), "bedrock": ("bedrock", "aws"),
    "bedrock-mantle": ("bedrock", "aws"), "azure-openai": ("azure", "azure"),
    "azure-foundry": ("azure", "azure"), "openrouter": ("openrouter", "openrouter"),
    "xai": ("xai", "x-ai"), "cohere": ("cohere", "cohere"), "mistral": ("mistral", "mistral"),
    "groq": ("groq", "groq"), "deepseek": ("deepseek", "deepseek"),
    "perplexity": ("perplexity", "perplexity"), "together": ("together", "together"),
    "zai": ("zai", "zai"), "voyage": ("voyage", "voyageai"), "cerebras": ("cerebras", "cerebras"),
    "fireworks": ("fireworks", "fireworks"),
}
TOOLS = {"web_search_requests": ("web_search", "web_searches"),
         "output_items.web_search_call:search": ("web_search", "web_searches"),
         "output_items.web_search_call": ("web_search", "web_searches"),
         "grounding.webSearchQueries": ("web_search", "web_searches"),
         "output_items.file_search_call": ("file_search", "storage_searches"),
         "output_items.code_interpreter_call": ("code_call", "code_executions"),
         "output_items.x_search_call": ("x_search", "social_searches"),
         "search_units": ("rerank_search", "rerank_searches")}


def counted(expected, name):
    return expected.get(name) or 0


def parts(expected):
    """Disjoint meters of our book, and the library's nested counts, of one recording."""
    total, output = counted(expected, "input_total"), counted(expected, "output_total")
    read = counted(expected, "input_cached_read")
    write_1h = counted(expected, "input_cache_write_1h")
    write = (expected.get("input_cache_write_5m") if expected.get("input_cache_write_5m")
             is not None else counted(expected, "input_cache_write_total") - write_1h)
    audio, image = counted(expected, "input_audio"), counted(expected, "input_image")
    reasoning = counted(expected, "output_reasoning")
    out_audio = counted(expected, "output_audio")
    out_image = counted(expected, "output_image")
    usage = {"in": total - read - write - write_1h - audio - image, "cache_read": read,
             "cache_write": write, "cache_write_1h": write_1h, "in_audio": audio,
             "in_image": image, "out": output - reasoning - out_audio - out_image,
             "out_reasoning": reasoning, "out_audio": out_audio, "out_image": out_image,
             "audio_sec": counted(expected, "input_audio_seconds"), "request": 1}
    theirs = {"input_tokens": total, "output_tokens": output, "cache_read_tokens": read,
              "cache_write_tokens": write + write_1h, "cache_write_1h_tokens": write_1h,
              "input_audio_tokens": audio, "input_image_tokens": image,
              "output_reasoning_tokens": reasoning, "output_audio_tokens": out_audio,
              "output_image_tokens": out_image,
              "audio_seconds": counted(expected, "input_audio_seconds"),
              "input_audio_seconds": counted(expected, "input_audio_seconds")}
    for tool, count in (expected.get("server_tools") or {}).items():
        if tool in TOOLS:
            meter, key = TOOLS[tool]
            usage[meter] = usage.get(meter, 0) + count
            theirs[key] = theirs.get(key, 0) + count
    return {m: n for m, n in usage.items() if n}, {k: n for k, n in theirs.items() if n}


def model_of(case):
    return case.meta.get("model_response") or case.meta.get("model_request")


def comparable(case):
    """Recordings of one bill whose counts add up, by providers that both sides know."""
    expected = case.meta["expected"]
    return case.provider in PROVIDERS and case.meta["status"] == 200 and \
        expected.get("usage_reported") and expected.get("billable") and \
        not expected.get("anomalies") and "turns" not in expected and \
        not expected.get("iterations_sum") and "realtime" not in case.endpoint and \
        model_of(case) and min(parts(expected)[0].values()) >= 0


def ours(case):
    hints = case.meta.get("pricing_hints") or {}
    usage, _ = parts(case.meta["expected"])
    query = {"provider": PROVIDERS[case.provider][0], "model": case.meta.get("model_response"),
             "model_requested": case.meta.get("model_request"), "at": AT,
             "tier": hints.get("service_tier"), "usage": usage,
             "input_total": counted(case.meta["expected"], "input_total")}
    if hints.get("inference_geo") == "us":
        query["region"] = "us"
    for raw in case.meta.get("raw_usage") or []:
        if isinstance(raw, dict) and raw.get("search_context_size"):
            query["search_ctx"] = raw["search_context_size"]
    return {k: v for k, v in query.items() if v is not None}


def theirs(case):
    """What the library makes of it: a Decimal, or the name of why not."""
    _, counts = parts(case.meta["expected"])
    when = datetime.datetime.fromisoformat(AT.replace("Z", "+00:00"))
    tier = (case.meta.get("pricing_hints") or {}).get("service_tier")
    context = {"service_tier": tier} if tier else None
    for name in (case.meta.get("model_response"), case.meta.get("model_request")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return genai_prices.calc_price(
                    genai_prices.Usage(**counts), name or "",
                    provider_id=PROVIDERS[case.provider][1], genai_request_timestamp=when,
                    price_context=context).total_price
        except LookupError:
            continue
        except Exception as problem:    # whatever it raises is its answer
            return type(problem).__name__
    return "unknown model"


def reason_of(reasons, case, got, want):
    for index, each in enumerate(reasons):
        if fnmatch.fnmatchcase(case.id, each["case"]) and \
                fnmatch.fnmatchcase(model_of(case).lower(), each.get("model", "*")):
            return index
    return None


def test_an_independent_library_agrees(say):
    from kit.corpus import FOLDER, cases
    if not os.path.isdir(FOLDER):
        pytest.skip("../shared/corpus is absent")
    with open(REASONS, encoding="utf-8") as file:
        listed = json.load(file)
    assert listed["library"] == f"genai-prices {genai_prices.__version__}", "list the newer one's"
    reasons = listed["differences"]
    compared = [case for case in cases() if comparable(case)]
    assert len(compared) > 200
    answers = costs_of([ours(case) for case in compared], "--book", BOOK)
    book = exact.Book.folder(BOOK)
    agreed, explained, unexplained, used = 0, collections.Counter(), [], set()
    for case, got in zip(compared, answers):
        want = theirs(case)
        cost = Decimal(got["cost_usd"]) if got["cost_usd"] is not None else "unknown model"
        # Decimals of 28 digits on their side: equal to the attodollar is equal.
        if cost == want or (isinstance(cost, Decimal) and isinstance(want, Decimal)
                            and abs(cost - want) < Decimal("1e-18")):
            agreed += 1
            continue
        index = reason_of(reasons, case, cost, want)
        if index is None:
            unexplained.append(f"{case.id} {model_of(case)}: ours {cost} ({got['status']}, "
                               f"{got['price_match']}, {','.join(got['flags'])}), theirs {want}")
        else:
            used.add(index)
            explained[reasons[index]["who"]] += 1
    say(f"price library {genai_prices.__version__}: {agreed} of {len(compared)} agree, "
        + ", ".join(f"{n} differ: {who}" for who, n in sorted(explained.items())))
    assert not unexplained, "\n".join(unexplained)
    idle = [reasons[i]["case"] for i in range(len(reasons)) if i not in used]
    assert not idle, f"listed differences that are none: {idle}"
