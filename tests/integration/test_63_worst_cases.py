"""What a request may take at the most, where that is more than its own model's tokens: other models
that it names, tools at a fee, a faster speed. And whose key may name them."""

import json
import re
from decimal import Decimal

import pytest

from kit import calls
from test_51_other_measures import ask, http

NARROW = "tg_narrow_key_0011223344"
MESSAGE = [{"role": "user", "content": "go on"}]
NOTHING = [{"name": "broke", "unit": "usd", "limit": "0.000000001", "window": "total"}]
HAIKU, OPUS = "claude-haiku-4-5", "claude-opus-5-5"


@pytest.fixture
def shop(gateways):
    def start(**more):
        config = gateways.config(None, **more)
        config["upstreams"].append(dict(config["upstreams"][0], name="openrouter",
                                        provider="openrouter"))
        config["keys"].append({"name": "narrow", "secret": NARROW,
                               "models": [HAIKU, "gpt-4o", "openai/gpt-4o*", "gpt-image-1"]})
        return gateways(config)
    return start


def takes(gateway, path, **body):
    """Dollars, as the refusal tells them."""
    answer = ask(gateway, "POST", path, {"messages": MESSAGE, **body})
    assert answer.status == 402, answer.body
    return Decimal(re.search(rb"may take ([0-9.]+) USD", answer.body).group(1).decode())


def message(gateway, model=HAIKU, **more):
    return takes(gateway, "/anthropic/v1/messages", model=model, max_tokens=1000, **more)


def test_worst_cases(shop):
    gateway = shop(limits=NOTHING)
    own, other = message(gateway), message(gateway, OPUS)
    # Each is charged for what it did before the next.
    assert message(gateway, fallbacks=[{"model": OPUS}]) == own + other
    assert message(gateway, fallbacks=[{"model": OPUS}, {"model": HAIKU}]) == 2 * own + other
    assert message(gateway, OPUS, speed="standard") == other
    # 8 and 40 instead of 4 and 20 dollars a million
    assert message(gateway, OPUS, speed="fast") == 2 * other
    tool = {"type": "web_search_20250305", "name": "web_search"}
    plain = message(gateway, tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}])
    for bound, searches in ((None, 1), (7, 7)):
        more = {"max_uses": bound} if bound else {}
        assert message(gateway, tools=[dict(tool, **more)]) - plain == pytest.approx(
            searches * Decimal("0.01"), abs=Decimal("0.0001"))

    def chat(model, **more):
        return takes(gateway, "/openrouter/api/v1/chat/completions", model=model,
                     max_tokens=1000, **more)
    # One of them answers.
    small, large = chat("openai/gpt-4o-mini"), chat("openai/gpt-4o")
    assert small < large == chat("openai/gpt-4o-mini",
                                 models=["openai/gpt-4o-mini", "openai/gpt-4o"])

    def response(**more):
        return takes(gateway, "/openai/v1/responses", model="gpt-5.5", input="x",
                     max_output_tokens=1000, **more)
    search = response(tools=[{"type": "web_search"}])
    assert search - response(tools=[{"type": "file_search"}]) == Decimal("0.01")
    assert response(tools=[{"type": "web_search"}], max_tool_calls=5) - search == Decimal("0.04")

    def google(**more):
        return takes(gateway, "/gemini/v1beta/models/gemini-2.5-flash:generateContent",
                     **{"contents": [{"parts": [{"text": "x"}]}],
                        "generationConfig": {"maxOutputTokens": 1000}, **more})
    assert google(tools=[{"google_search": {}}]) - google(tools=[{"url_context": {}}]) == \
        Decimal("0.035")

    # Any part of a prompt with sound may be charged as sound: 1 dollar a million, not 0.3.
    def spoken(words, *media):
        return google(contents=[{"parts": [{"text": "x" * words}, *media]}])
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}
    texts, sounds = spoken(30000) - spoken(0), spoken(30000, sound) - spoken(0, sound)
    assert texts > 0 and sounds * 3 == texts * 10


@pytest.mark.parametrize("protocol,path,header,body", [
    ("vertex", "/v1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash:"
     "generateContent", "X-Vertex-AI-LLM-Shared-Request-Type",
     {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 1000}}),
    ("bedrock", "/model/meta.llama4-maverick-17b-instruct-v1%3A0/invoke", "X-Amzn-Bedrock-Service-Tier",
     {"prompt": "x", "max_gen_len": 1000})])
def test_tiers_of_headers(gateways, protocol, path, header, body):
    config = gateways.config(None, limits=NOTHING)
    config["upstreams"].append(dict(config["upstreams"][0], name=protocol, protocol=protocol,
                                    provider=protocol))
    gateway = gateways(config)

    def ask_for(tier):
        answer = ask(gateway, "POST", f"/{protocol}{path}", body, **({header: tier} if tier else {}))
        return Decimal(re.search(rb"may take ([0-9.]+) USD", answer.body).group(1).decode())
    standard = ask_for(None)
    # A wish for less may not be granted.
    assert ask_for("flex") == ask_for("standard") == ask_for("x" * 100) == standard
    assert ask_for("priority") > standard


REFUSED = [
    ("/anthropic/v1/messages", {"model": HAIKU, "max_tokens": 9, "fallbacks": [{"model": OPUS}]}),
    ("/anthropic/v1/messages", {"model": HAIKU, "max_tokens": 9, "fallbacks": [OPUS]}),
    ("/anthropic/v1/messages", {"model": HAIKU, "max_tokens": 9,
                                "fallbacks": [{"model": HAIKU}] * 9}),
    ("/anthropic/v1/messages", {"model": HAIKU, "max_tokens": 9, "fallbacks": [{"model": 3}]}),
    ("/anthropic/v1/messages", {"model": HAIKU, "max_tokens": 9, "tools": [
        {"type": "advisor_20260301", "name": "advisor", "model": OPUS}]}),
    ("/anthropic/v1/messages/batches", {"requests": [{"custom_id": "1", "params": {
        "model": HAIKU, "max_tokens": 9, "messages": MESSAGE,
        "fallbacks": [{"model": OPUS}]}}]}),
    ("/openrouter/api/v1/chat/completions", {"model": "openai/gpt-4o", "models": ["openai/o3"]}),
    ("/openrouter/api/v1/chat/completions",
     b'{"model":"openai/gpt-4o","messages":[],"models":["openai\\/gpt-4o","openai\\/\\u006f3"]}'),
    ("/openai/v1/responses", {"model": "gpt-4o", "input": "x", "tools": [
        {"type": "image_generation", "model": "gpt-image-1.5"}]}),
]
ALLOWED = [
    ("/anthropic/v1/messages", {"model": HAIKU, "max_tokens": 9, "fallbacks": [{"model": HAIKU}]}),
    ("/openrouter/api/v1/chat/completions",
     b'{"model":"openai/gpt-4o","messages":[],"models":["openai\\/gpt-4o-mini"]}'),
    ("/openai/v1/responses", {"model": "gpt-4o", "input": "x", "tools": [
        {"type": "image_generation", "model": "gpt-image-1"},
        {"type": "function", "name": "f", "parameters": {"model": "x"}}]}),
]


def test_a_bound_key_names_no_other_model(shop, provider):
    gateway = shop()

    def send(path, body, key):
        if isinstance(body, dict) and "messages" not in body and "input" not in body:
            body = {"messages": MESSAGE, **body}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return gateway.request("POST", path, [("x-api-key", key), ("X-Sim-Raw", http({})),
                                                ("X-Sim-Raw-End", "keep")], data)
    for path, body in REFUSED:
        answer = send(path, body, NARROW)
        assert answer.status == 403, (path, body, answer.body)
        assert answer.header("x-tollgate-denied") == "model_not_allowed"
    assert provider.requests() == []
    for path, body in ALLOWED:
        assert send(path, body, NARROW).status == 200, (path, body)
    for path, body in REFUSED:
        assert send(path, body, calls.KEY).status == 200, (path, body)
