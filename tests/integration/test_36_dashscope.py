"""Alibaba's own interface with its official SDK: texts whole and as streams that repeat, images
and tasks that are asked for later, embeddings; refusals that its SDK reads."""

import json
from decimal import Decimal

import pytest

from kit import calls
from kit.config import with_upstream
from kit.procs import wait_for
from test_51_other_measures import ask, record_of
from test_52_collected import BUDGET, day
from test_57_deferred import price

TEXT = "/api/v1/services/aigc/text-generation/generation"
MANY = "/api/v1/services/aigc/multimodal-generation/generation"
SSE = ("text/event-stream;charset=UTF-8", {"Packed": "no"})
SMALL = "tg_small_key_of_one_model"


@pytest.fixture
def start(gateways, upstream):
    def made(redis=None, limits=BUDGET, name=None, **changes):
        config = gateways.config(redis, limits=limits, **changes)
        config["upstreams"].append(dict(config["upstreams"][0], name="alibaba",
                                        protocol="openai", provider="alibaba",
                                        base_url=upstream.url))
        config["keys"].append({"name": "small", "secret": SMALL, "models": ["nothing-*"]})
        config["keys"][0]["models"] = ["*"]
        return gateways(config, name=name)
    return made


@pytest.fixture
def sdk(certs, monkeypatch):
    dashscope = pytest.importorskip("dashscope")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certs.ca)

    def at(gateway, key=calls.KEY):
        monkeypatch.setattr(dashscope, "base_http_api_url", gateway.url + "/alibaba/api/v1")
        monkeypatch.setattr(dashscope, "api_key", key)
        return dashscope
    return at


def answer(text, finish="stop", usage=None, **output):
    return {"output": {"choices": [{"finish_reason": finish, "message": {
        "role": "assistant", "content": text}}], **output},
        "usage": usage or {}, "request_id": "r-1"}


def dump(value):
    return json.dumps(value).encode()


def events(*said, error=None):
    out = "".join(f"id:{n}\nevent:result\n:HTTP_STATUS/200\ndata:{json.dumps(each)}\n\n"
                  for n, each in enumerate(said, 1))
    if error:
        out += f"id:{len(said) + 1}\nevent:error\n:HTTP_STATUS/400\ndata:{json.dumps(error)}\n\n"
    return (out.encode(), *SSE)


def tokens(n, m, **more):
    return {"input_tokens": n, "output_tokens": m, "total_tokens": n + m, **more}


def last(gateway, count=1):
    return gateway.records(count)[-1]


ASK = [{"role": "user", "content": "hello"}]


def test_a_text(start, upstream, sdk):
    gateway = start()
    upstream.answers["POST " + TEXT] = dump(answer("Hello!", usage=tokens(
        4000, 300, prompt_tokens_details={"cached_tokens": 1000,
                                          "cache_creation_input_tokens": 500},
        output_tokens_details={"reasoning_tokens": 120})))
    said = sdk(gateway).Generation.call(model="qwen3-max", messages=ASK, result_format="message")
    assert said.status_code == 200 and said.output.choices[0].message.content == "Hello!"
    record = last(gateway)
    assert record["usage"] == {"input_tokens": 4000, "cache_read_tokens": 1000,
                               "cache_write_5m_tokens": 500, "output_tokens": 300,
                               "reasoning_tokens": 120}
    assert record["usage_source"] == "provider" and record["endpoint"] == "generation"
    assert Decimal(record["cost_usd"]) == price(
        "qwen3-max", "alibaba", **{"in": 2500}, cache_read=1000, cache_write=500, out=300)
    assert record["price_status"] == "ok" and record["outcome"] == "ok"


@pytest.mark.parametrize("grows", [True, False])
def test_a_stream_repeats_its_usage(start, upstream, sdk, grows):
    """The last count is the whole; so is the text where it is not asked for in pieces."""
    gateway = start()
    words = ["one ", "two ", "three"]
    said = ["".join(words[:n + 1]) if grows else word for n, word in enumerate(words)]
    upstream.answers["POST " + TEXT] = events(*(
        answer(text, "stop" if n == 2 else "null", tokens(9, n + 1))
        for n, text in enumerate(said)))
    if grows:
        ask(gateway, "POST", "/alibaba" + TEXT, {"model": "qwen-flash", "input": {"messages": ASK}},
            X_DashScope_SSE="enable")
    else:
        heard = list(sdk(gateway).Generation.call(
            model="qwen-flash", messages=ASK, stream=True, result_format="message",
            incremental_output=True))
        assert [each.output.choices[0].message.content for each in heard] == words
    record = last(gateway)
    assert record["usage"] == {"input_tokens": 9, "output_tokens": 3} and record["stream"]
    assert (record["usage_source"], record["outcome"]) == ("provider", "ok")


def test_a_stream_without_its_end(start, upstream):
    gateway = start()
    upstream.answers["POST " + TEXT] = events(answer("one", "null", tokens(9, 1)),
                                              answer("one two", "null", tokens(9, 2)))
    record = record_of(gateway, ask(gateway, "POST", "/alibaba" + TEXT,
                                    {"model": "qwen-flash", "input": {"messages": ASK}}))
    assert (record["usage_source"], record["outcome"]) == ("partial", "upstream_abort")
    assert record["usage"]["input_tokens"] == 9 and record["usage"]["output_tokens"] == 2


def test_a_stream_that_fails(start, upstream, sdk):
    gateway = start()
    upstream.answers["POST " + TEXT] = events(
        answer("one", "null", tokens(9, 1)),
        error={"code": "DataInspectionFailed", "message": "no", "request_id": "r-1"})
    heard = list(sdk(gateway).Generation.call(model="qwen-flash", messages=ASK, stream=True,
                                              result_format="message"))
    assert heard[-1].code == "DataInspectionFailed"
    record = last(gateway)
    assert record["outcome"] == "provider_error" and record["usage_source"] == "partial"


def test_pictures_in_a_prompt(start, upstream, sdk):
    """Their tokens are part of the input that is told, under either name."""
    gateway = start()
    usage = tokens(1500, 20, image_tokens=1200,
                   input_tokens_details={"text_tokens": 300, "image_tokens": 1200},
                   output_tokens_details={"text_tokens": 20})
    upstream.answers["POST " + MANY] = dump(answer([{"text": "a duck"}], usage=usage))
    said = sdk(gateway).MultiModalConversation.call(
        model="qwen-vl-max", messages=[{"role": "user", "content": [
            {"image": "https://img.example/duck.png"}, {"text": "what is it?"}]}])
    assert said.output.choices[0].message.content[0]["text"] == "a duck"
    record = last(gateway)
    assert record["usage"] == {"input_tokens": 1500, "input_image_tokens": 1200,
                               "output_tokens": 20}
    assert record["cost_usd"] == "0.001264"


def test_a_search_and_a_fault_that_is_empty(start, upstream):
    gateway = start()
    upstream.answers["POST " + TEXT] = dump({
        "code": "", "message": "", **answer("x", usage=tokens(
            50, 5, plugins={"search": {"count": 2, "strategy": "turbo"}}))})
    record = record_of(gateway, ask(gateway, "POST", "/alibaba" + TEXT, {
        "model": "qwen-flash", "input": {"messages": ASK},
        "parameters": {"enable_search": True}}))
    assert record["usage"]["web_search_requests"] == 2 and record["outcome"] == "ok"
    assert record["price_status"] == "partial"   # searches have no rate in the book


def test_embeddings_and_ranking(start, upstream, sdk):
    gateway = start()
    place = "/api/v1/services/embeddings/text-embedding/text-embedding"
    upstream.answers["POST " + place] = dump({
        "output": {"embeddings": [{"text_index": 0, "embedding": [0.5]}]},
        "usage": {"total_tokens": 7}, "request_id": "r"})
    said = sdk(gateway).TextEmbedding.call(model="text-embedding-v4", input="duck")
    assert said.output["embeddings"][0]["embedding"] == [0.5]
    assert last(gateway)["usage"] == {"input_tokens": 7}
    place = "/api/v1/services/rerank/text-rerank/text-rerank"
    upstream.answers["POST " + place] = dump({
        "output": {"results": [{"index": 0, "relevance_score": 0.5}]},
        "usage": {"total_tokens": 30}, "request_id": "r"})
    sdk(gateway).TextReRank.call(model="gte-rerank-v2", query="duck", documents=["a", "b"])
    assert last(gateway, 2)["usage"] == {"input_tokens": 30}
    place = "/api/v1/services/embeddings/multimodal-embedding/multimodal-embedding"
    upstream.answers["POST " + place] = dump({
        "output": {"embeddings": []}, "request_id": "r",
        "usage": {"input_tokens": 10, "image_tokens": 896, "image_count": 1}})
    ask(gateway, "POST", "/alibaba" + place, {"model": "tongyi-embedding-vision-plus",
                                              "input": {"contents": [{"text": "x"}]}})
    usage = last(gateway, 3)["usage"]
    assert usage["input_images"] == 1 and "images" not in usage


def task(status, usage=None, **output):
    return dump({"request_id": "r", "output": {"task_id": "t-1", "task_status": status, **output},
                 **({"usage": usage} if usage else {})})


BOOK = {"schema": "tollgate-prices/1",
        "sources": {"here": {"what": "this test", "published": "2026-11-22",
                             "retrieved": "2026-11-22"}},
        "providers": {"alibaba": {"models": [
            {"id": name, "kind": "image", "prices": [{"from": None, "to": None, "rates": rates}],
             "prov": {"src": "here", "confidence": "confirmed"}}
            for name, rates in (("wan-image", {"image": "0.03"}), ("wan-video", {"video_sec": "0.1"}),
                                ("ear", {"audio_sec": "3.6"}))]}}}


@pytest.mark.parametrize("path, model, usage, result, count, cost", [
    ("text2image/image-synthesis", "wan-image", {"image_count": 2},
     {"results": [{"url": "https://oss.example/1.png"}, {"url": "https://oss.example/2.png"}]},
     {"images": 2}, "0.06"),
    ("video-generation/video-synthesis", "wan-video", {"video_count": 1, "video_duration": 5},
     {"video_url": "https://oss.example/1.mp4"}, {"video_seconds": 5}, "0.5"),
    ("video-generation/video-synthesis", "wan-video", {"video_count": 1, "duration": 8, "SR": 720},
     {"video_url": "https://oss.example/1.mp4"}, {"video_seconds": 8}, "0.8"),
    ("../audio/asr/transcription", "ear", {"duration": 9},
     {"results": [{"transcription_url": "https://oss.example/1.json"}]}, {"audio_seconds": 9},
     "0.009"),
])
def test_a_task_counts_when_it_is_fetched(start, upstream, tmp_path, gateways, redis, path, model,
                                          usage, result, count, cost):
    """Once, at the price of the model that began it, which the task does not name; also where
    another gateway of the same Redis fetches it."""
    extra = tmp_path / "more.json"
    extra.write_text(json.dumps(BOOK))
    config = gateways.config()
    prices = {**config["prices"], "book": [*([config["prices"]["book"]] if isinstance(
        config["prices"]["book"], str) else config["prices"]["book"]), str(extra)]}
    gateway, other = (start(redis, prices=prices, name=name, node=name) for name in ("e", "w"))
    place = "/api/v1/services/" + ("audio/asr/transcription" if path.startswith("..")
                                   else "aigc/" + path)
    upstream.answers = {"POST " + place: task("PENDING"), "GET /api/v1/tasks/t-1": task("RUNNING"),
                        "GET /api-task/v1/tasks/t-1": task("SUCCEEDED", usage, **result)}
    body = {"model": model, "input": {"prompt": "a duck"}, "parameters": {"n": 2, "duration": 8}}
    begun = record_of(gateway, ask(gateway, "POST", "/alibaba" + place, body,
                                   X_DashScope_Async="enable"))
    assert begun["cost_usd"] is None and begun["usage_source"] == "none"
    waiting = record_of(gateway, ask(gateway, "GET", "/alibaba/api/v1/tasks/t-1"))
    assert waiting["cost_usd"] == "0"
    done = record_of(other, ask(other, "GET", "/alibaba/api-task/v1/tasks/t-1"))
    assert done["usage"] == count and done["cost_usd"] == cost, done
    assert done["model_requested"] == model
    for node in (gateway, other):
        again = record_of(node, ask(node, "GET", "/alibaba/api-task/v1/tasks/t-1"))
        assert again["cost_usd"] == "0"
    wait_for("the budget", lambda: day(gateway)[:2] == (Decimal(cost), 0))


def test_a_task_that_fails_holds_nothing(start, upstream):
    gateway = start()
    place = "/api/v1/services/aigc/video-generation/video-synthesis"
    upstream.answers = {"POST " + place: task("PENDING"),
                        "GET /api/v1/tasks/t-1": task("FAILED", code="InternalError", message="x")}
    ask(gateway, "POST", "/alibaba" + place, {"model": "qwen3-max", "input": {"prompt": "x"}})
    failed = record_of(gateway, ask(gateway, "GET", "/alibaba/api/v1/tasks/t-1"))
    assert failed["cost_usd"] == "0"
    wait_for("nothing held", lambda: day(gateway)[1] == 0)


@pytest.mark.parametrize("more, status", [({}, 200), ({"thinking_budget": 500}, 200),
                                          ({"thinking_budget": 5000}, 402),
                                          ({"enable_thinking": True}, 402)])
@pytest.mark.parametrize("compatible", [False, True])
def test_thinking_is_beside_the_bound(start, upstream, more, status, compatible):
    """`max_tokens` bounds what is said; what is thought has a bound of its own, or none."""
    gateway = start(limits=[{"name": "few", "unit": "output_tokens", "window": "day",
                             "limit": 2000}])
    place = "/compatible-mode/v1/chat/completions" if compatible else TEXT
    body = {"messages": ASK, "max_tokens": 1000, **more} if compatible else {
        "input": {"messages": ASK}, "parameters": {"max_tokens": 1000, **more}}
    upstream.answers["POST " + place] = dump(answer("x", usage=tokens(9, 5)))
    assert ask(gateway, "POST", "/alibaba" + place,
               {"model": "qwen3-max", **body}).status == status
    assert len(upstream.asked) == (status == 200)


def test_refusals(start, upstream, sdk):
    gateway = start()
    refused = sdk(gateway, SMALL).Generation.call(model="qwen3-max", messages=ASK)
    assert refused.status_code == 403 and refused.code == "model_not_allowed"
    assert refused.request_id and "qwen3-max" in refused.message
    assert not upstream.asked
