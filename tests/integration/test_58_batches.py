"""Batches whose requests come in the body of a call: each reserves what it may take by itself, and
its answer counts once, in whatever page it comes, through whichever node."""

import json
from decimal import Decimal

import pytest

from kit import calls
from kit.procs import wait_for
from test_51_other_measures import ask, http, record_of
from test_52_collected import BUDGET, day, settled
from test_57_deferred import price, with_provider

BOUND = 1000
MODEL = "grok-4"


@pytest.fixture(params=["memory", "redis"])
def engine(request):
    return request.getfixturevalue("redis") if request.param == "redis" else None


def shop(gateways, provider, protocol="openai", redis=None, **more):
    config = gateways.config(redis, limits=BUDGET)
    config["upstreams"].append(dict(config["upstreams"][0], name=provider, protocol=protocol,
                                    provider=provider))
    return gateways(config, **more)


def held(gateway, at_least):
    """Little more than the outputs' bounds: prompts are short."""
    spent, reserved, _ = wait_for("what is held", lambda: day(gateway)[1] >= at_least and
                                  day(gateway))
    assert spent == 0 and at_least <= reserved < at_least * Decimal("1.3"), (reserved, at_least)
    return reserved


# ---- xAI -------------------------------------------------------------------------------------

def state(total=0, left=0, **more):
    return {"batch_id": "batch_1", "name": "n", "cancel_by_xai_message": None,
            "state": {"num_requests": total, "num_pending": left, "num_success": total - left,
                      "num_error": 0, "num_cancelled": 0}, **more}


def chat_request(name, model=MODEL, **more):
    return {"batch_request_id": f"r/{name}", "batch_request": {"chat_get_completion": {
        "model": model, "max_completion_tokens": BOUND,
        "messages": [{"role": "user", "content": "x"}], **more}}}


def add(gateway, *requests):
    return record_of(gateway, ask(gateway, "POST", "/xai/v1/batches/batch_1/requests",
                                  {"batch_requests": list(requests)}, http({})))


def result(n, ticks=1000, wrapper="chat_get_completion", **more):
    """The chat's reasoning is beside its completion, as in xAI's chats."""
    chat = {"id": f"c{n}", "object": "chat.completion", "model": MODEL,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}],
            "usage": {"prompt_tokens": 700, "completion_tokens": 20, "total_tokens": 820,
                      "prompt_tokens_details": {"cached_tokens": 600},
                      "completion_tokens_details": {"reasoning_tokens": 100},
                      "cost_in_usd_ticks": ticks}}
    return {"batch_request_id": f"r/{n}", "batch_result": {"response": {wrapper: {**chat, **more}}}}


def failed(n):
    return {"batch_request_id": f"r/{n}", "batch_result": {"error": {"code": 3, "message": "no"}}}


def page(gateway, results, token=None, more=None):
    query = f"?limit=100&pagination_token={token}" if token else ""
    return record_of(gateway, ask(gateway, "GET", "/xai/v1/batches/batch_1/results" + query, raw=http(
        {"results": results, "pagination_token": more})))


ONE = {"in": 100, "cache_read": 600, "out": 120}
TICK = Decimal(10) ** -10


def counts(record):
    return record.get("usage", {}).get("input_tokens", 0) // 700


def test_xai_from_the_first_request_to_the_last_page(gateways, engine):
    gateway = shop(gateways, "xai", redis=engine)
    made = record_of(gateway, ask(gateway, "POST", "/xai/v1/batches", {"name": "n"},
                                  http(state())))
    assert made["cost_usd"] == "0" and made["usage_source"] == "none"
    settled(gateway, Decimal(0), Decimal(0), 1)
    out = price(MODEL, "xai", "batch", out=BOUND)
    first = add(gateway, *(chat_request(n) for n in range(3)))
    assert first["cost_usd"] is None and first["endpoint"] == "batches.requests"
    held(gateway, 3 * out)
    add(gateway, chat_request(3), chat_request(4, n=2))
    both = held(gateway, 6 * out)
    poll = record_of(gateway, ask(gateway, "GET", "/xai/v1/batches/batch_1",
                                  raw=http(state(5, 3))))
    assert poll["cost_usd"] == "0"
    assert day(gateway)[1] == both
    # Pages grow, in any order, and come again; a request that failed takes nothing.
    one = price(MODEL, "xai", "batch", **ONE)
    pages = [page(gateway, [result(1, 5), result(0, 7)], more="r/0"),
             page(gateway, [result(1, 5), result(2, 11), result(0, 7)], more="r/0")]
    assert [counts(r) for r in pages] == [2, 1]
    assert [r["endpoint"] for r in pages] == ["batches.results"] * 2
    assert pages[0]["usage"] == {"input_tokens": 1400, "cache_read_tokens": 1200,
                                 "output_tokens": 240, "reasoning_tokens": 200}
    assert pages[0]["model"] == MODEL
    assert Decimal(pages[0]["cost_usd"]) == 2 * one
    assert [Decimal(r["provider_cost_usd"]) for r in pages] == [12 * TICK, 11 * TICK]
    gateway.stop()
    gateway.start()
    pages += [page(gateway, [result(2), result(4, 13)], "r/0"),
              page(gateway, [failed(3)], "r/4"), page(gateway, [failed(3), result(4)], "r/4")]
    assert [counts(r) for r in pages] == [2, 1, 1, 0, 0]
    assert "provider_cost_usd" not in pages[-1]
    assert [r["cost_usd"] for r in pages[3:]] == ["0", "0"]
    if engine:      # in memory what is held does not outlive the gateway
        settled(gateway, 4 * one, Decimal(0), 9)


def test_xai_results_count_once_over_several_nodes(gateways, redis):
    east, west = [shop(gateways, "xai", redis=redis, name=name, node=name)
                  for name in ("east", "west")]
    out = price(MODEL, "xai", "batch", out=BOUND)
    add(east, *(chat_request(n) for n in range(2)))
    add(west, *(chat_request(n) for n in range(2, 4)))
    held(east, 4 * out)
    records = [page(east, [result(n) for n in (0, 1)]),
               page(west, [result(n) for n in (1, 2, 3)]),
               page(east, [result(n) for n in range(4)]),
               page(west, [result(n) for n in range(4)])]
    assert [counts(r) for r in records] == [2, 2, 0, 0]
    assert [Decimal(r.get("provider_cost_usd", 0)) for r in records] == \
        [2000 * TICK, 2000 * TICK, 0, 0]
    settled(west, 4 * price(MODEL, "xai", "batch", **ONE), Decimal(0), 6)


def test_xai_other_answers_than_chats(gateways):
    gateway = shop(gateways, "xai")
    drawn = {"batch_request_id": "a", "batch_result": {"response": {"image_generation": {
        "model": "grok-imagine-image", "data": [{"url": "u"}, {"url": "v"}],
        "usage": {"cost_in_usd_ticks": 400000000}}}}}
    said = {"batch_request_id": "b", "batch_result": {"response": {"responses": {
        "id": "resp_1", "object": "response", "model": MODEL, "status": "completed", "output": [],
        "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
                  "cost_in_usd_ticks": 100000000}}}}}
    record = page(gateway, [drawn, said])
    assert record["usage"] == {"input_tokens": 10, "output_tokens": 5, "images": 2}
    assert Decimal(record["provider_cost_usd"]) == Decimal("0.05")
    assert [p["usage"] for p in record["parts"]] == [
        {"images": 2}, {"input_tokens": 10, "output_tokens": 5}]


@pytest.mark.parametrize("how", [
    state(2, 0), state(0, 0, cancel_by_xai_message="the file is none")])
def test_xai_what_is_held_of_a_file_goes_when_the_batch_is_over(gateways, how):
    from test_54_batch_files import file_of, request, upload
    gateway = shop(gateways, "xai")
    upload(gateway, file_of(request(n, MODEL) for n in range(2)), upstream="xai")
    begun = record_of(gateway, ask(gateway, "POST", "/xai/v1/batches",
                                   {"name": "n", "input_file_id": "file-8"}, http(state())))
    assert begun["cost_usd"] is None
    reserved = held(gateway, 2 * price(MODEL, "xai", "batch", out=BOUND))
    poll = "/xai/v1/batches/batch_1"
    record_of(gateway, ask(gateway, "GET", poll, raw=http(state())))
    record_of(gateway, ask(gateway, "GET", poll, raw=http(state(2, 1))))
    assert day(gateway)[1] == reserved
    record_of(gateway, ask(gateway, "GET", poll, raw=http(how)))
    settled(gateway, Decimal(0), Decimal(0), 5)


def test_xai_a_full_budget_takes_no_request(gateways):
    gateway = shop(gateways, "xai")
    body = {"batch_requests": [chat_request(n, max_completion_tokens=100000) for n in range(9)]}
    assert ask(gateway, "POST", "/xai/v1/batches/batch_1/requests", body, http({})).status == 402
    assert day(gateway)[:2] == (0, 0)


# ---- others whose requests stand in the body ---------------------------------------------------

def test_gemini_reserves_all_requests_of_a_batch(gateways, engine):
    gateway = gateways(redis=engine, limits=BUDGET)
    model, path = "gemini-2.5-flash", "/gemini/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    requests = [{"request": {"contents": [{"parts": [{"text": "x"}]}],
                             "generationConfig": {"maxOutputTokens": bound}},
                 "metadata": {"key": str(bound)}} for bound in (BOUND, 2 * BOUND, 3 * BOUND)]
    record = record_of(gateway, ask(gateway, "POST", path, {"batch": {
        "displayName": "b", "inputConfig": {"requests": {"requests": requests}}}},
        http({"name": "batches/b1", "metadata": {"state": "BATCH_STATE_PENDING"}}),
        x_goog_api_key=calls.KEY))
    assert record["usage_source"] == "none"
    reserved = held(gateway, price(model, "gemini", "batch", out=6 * BOUND))
    more = [dict(r, request=dict(r["request"], contents=[{"parts": [{"text": "word " * 4000}]}]))
            for r in requests]
    record_of(gateway, ask(gateway, "POST", path, {"batch": {
        "inputConfig": {"requests": {"requests": more}}}},
        http({"name": "batches/b2"}), x_goog_api_key=calls.KEY))
    wait_for("the longer prompts", lambda: day(gateway)[1] - 2 * reserved >=
             price(model, "gemini", "batch", **{"in": 3 * 4000}))


def test_anthropic_reserves_each_request_by_its_own_model(gateways):
    gateway = gateways(limits=BUDGET)
    bounds = {"claude-haiku-4-5": BOUND, "claude-opus-4-5": 4 * BOUND}
    ask(gateway, "POST", "/anthropic/v1/messages/batches", {"requests": [
        {"custom_id": model, "params": {"model": model, "max_tokens": bound,
                                        "messages": [{"role": "user", "content": "x"}]}}
        for model, bound in bounds.items()]},
        http({"id": "msgbatch_1", "processing_status": "in_progress"}), x_api_key=calls.KEY)
    held(gateway, sum(price(model, "anthropic", "batch", out=bound)
                      for model, bound in bounds.items()))


def test_openrouter_brings_requests_and_answers_in_one_body_each(gateways, engine):
    gateway = shop(gateways, "openrouter", redis=engine)
    model = "openai/gpt-4o-mini"
    body = {"model": model, "endpoint": "/v1/chat/completions", "requests": [
        {"custom_id": str(n), "body": {"max_tokens": BOUND, "messages": [
            {"role": "user", "content": "x"}]}} for n in range(3)]}
    made = {"id": "batch_9", "object": "batch", "status": "validating", "model": model}
    record = record_of(gateway, ask(gateway, "POST", "/openrouter/api/v1/batches", body,
                                    http(made, status="202 Accepted")))
    assert record["model_requested"] == model
    held(gateway, price(model, "openrouter", "batch", out=3 * BOUND))
    answers = [{"id": f"a{n}", "custom_id": str(n), "error": None, "response": {
        "status_code": 200, "body": {"id": f"c{n}", "model": model, "choices": [], "usage": {
            "prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60,
            "cost": "0.0000067"}}}} for n in range(2)]
    answers.append({"id": "a2", "custom_id": "2", "response": {"status_code": 400, "body": {
        "error": {"message": "no"}}}, "error": {"message": "no"}})
    done = {**made, "status": "completed", "results": answers,
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}
    polls = [record_of(gateway, ask(gateway, "GET", "/openrouter/api/v1/batches/batch_9",
                                    raw=http(answer)))
             for answer in (made, done, done)]
    assert [r["usage_source"] for r in polls] == ["none", "provider", "none"]
    assert polls[1]["usage"] == {"input_tokens": 100, "output_tokens": 20}
    cost = price(model, "openrouter", "batch", **{"in": 100, "out": 20})
    assert Decimal(polls[1]["cost_usd"]) == cost
    assert Decimal(polls[1]["provider_cost_usd"]) == Decimal("0.0000134")
    settled(gateway, cost, Decimal(0), 4)
