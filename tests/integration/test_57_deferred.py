"""What single providers do in their own way: chats that are put off, calls that nobody bills or
somebody else, storage that no answer prices, searches, pages and guardrails with prices of their own."""

import json
from decimal import Decimal

import pytest

from kit import calls, exact
from kit.config import BOOK
from kit.procs import wait_for
from test_51_other_measures import ask, http, record_of
from test_52_collected import BUDGET, day, settled

USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}


def with_provider(gateways, provider, protocol="openai", prices=None, **more):
    """Another upstream, whose models are priced as those of a provider of the book."""
    config = gateways.config(limits=BUDGET, **({"prices": prices} if prices else {}))
    config["upstreams"].append(
        dict(config["upstreams"][0], name=provider, protocol=protocol, provider=provider, **more))
    return gateways(config)


def chat(name, usage=USAGE, **more):
    return {"id": "c1", "object": "chat.completion", "model": name, "usage": usage, **more,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hello"}}]}


def held(gateway):
    return wait_for("what is held", lambda: day(gateway)[1] > 0 and day(gateway)[1])


def price(model, provider, tier="", **counts):
    cost = exact.Book.folder(BOOK).cost({"provider": provider, "model": model, "at": "2026-11-21",
                                         "tier": tier, "usage": counts})["cost"]
    return Decimal(cost.numerator) / Decimal(cost.denominator)


# ---- a machine's time ----

def test_a_prediction_is_priced_by_time_where_a_book_says_so(gateways, tmp_path):
    """Replicate tells how long a machine worked, and not which: only the customer knows its price."""
    extra = tmp_path / "ours.json"
    extra.write_text(json.dumps({
        "schema": "tollgate-prices/1",
        "sources": {"us": {"what": "this test", "published": "2026-11", "retrieved": "2026-11-22"}},
        "providers": {"replicate": {"hosts": ["api.replicate.com"], "models": [
            {"id": "a/b", "kind": "image", "prices": [
                {"from": None, "to": None, "rates": {"session_sec": "3.6"}}],
             "prov": {"src": "us", "confidence": "confirmed"}}]}}}))
    config = gateways.config()
    book = config["prices"]["book"]
    gateway = with_provider(gateways, "replicate", prices={
        **config["prices"], "book": [*([book] if isinstance(book, str) else book), str(extra)]})
    done = {"id": "p1", "model": "a/b", "status": "succeeded", "output": ["https://x/1.png"],
            "metrics": {"predict_time": 2.5, "total_time": 9}}
    record = record_of(gateway, ask(gateway, "POST", "/replicate/v1/models/a/b/predictions",
                                    {"input": {"prompt": "x"}}, http(done)))
    assert record["usage"] == {"session_seconds": 2.5} and record["cost_usd"] == "0.0025"
    assert (record["usage_source"], record["price_status"]) == ("provider", "ok")


# ---- work that is put off -------------------------------------------------------------------

@pytest.mark.parametrize("name, model, begin, poll, wrap", [
    ("xai", "grok-4", "v1/chat/completions", "v1/chat/deferred-completion/job-1",
     lambda chat: chat),
    ("perplexity", "sonar-deep-research", "async/chat/completions",
     "async/chat/completions/job-1",
     lambda chat: {"id": "job-1", "status": "COMPLETED", "model": chat["model"],
                   "response": chat}),
])
def test_a_chat_that_is_put_off_counts_when_it_is_fetched(gateways, name, model, begin, poll, wrap):
    gateway = with_provider(gateways, name)
    body = {"model": model, "max_tokens": 5000, "messages": [{"role": "user", "content": "x"}]}
    if name == "xai":
        begun, body = {"request_id": "job-1"}, {**body, "deferred": True}
    else:
        begun, body = {"id": "job-1", "model": model, "status": "CREATED"}, {"request": body}
    record = record_of(gateway, ask(gateway, "POST", f"/{name}/{begin}", body, http(begun)))
    assert record["usage_source"] == "none" and record["cost_usd"] is None
    assert record["model_requested"] == model
    assert held(gateway) >= price(model, name, out=5000)
    early = http("", status="202 Accepted") if name == "xai" else http(
        {"id": "job-1", "status": "IN_PROGRESS", "model": model, "response": None})
    assert record_of(gateway, ask(gateway, "GET", f"/{name}/{poll}", raw=early))[
        "cost_usd"] == "0"
    done = [record_of(gateway, ask(gateway, "GET", f"/{name}/{poll}",
                                   raw=http(wrap(chat(model))))) for _ in range(2)]
    assert [r["usage_source"] for r in done] == ["provider", "none"]
    assert done[0]["usage"]["input_tokens"] == 1000 and done[0]["usage"]["output_tokens"] == 200
    assert Decimal(done[0]["cost_usd"]) >= price(model, name, out=200, **{"in": 1000})
    settled(gateway, Decimal(done[0]["cost_usd"]), Decimal(0), 4)


def test_one_that_failed_is_given_back(gateways):
    gateway = with_provider(gateways, "perplexity")
    ask(gateway, "POST", "/perplexity/async/chat/completions",
        {"request": {"model": "sonar", "messages": [{"role": "user", "content": "x"}]}},
        http({"id": "job-2", "status": "CREATED"}))
    held(gateway)
    record_of(gateway, ask(gateway, "GET", "/perplexity/async/chat/completions/job-2",
                           raw=http({"id": "job-2", "status": "FAILED", "response": None})))
    settled(gateway, Decimal(0), Decimal(0), 2)


# ---- what the provider itself does not charge ------------------------------------------------

def message(**more):
    return http({"type": "message", "model": "claude-haiku-4-5", "content": [],
                 "stop_reason": "end_turn", "usage": {"input_tokens": 106, "output_tokens": 1},
                 **more})


def test_a_refusal_without_a_word_is_not_billed(gateways):
    """Of Anthropic, who says so; its counts stay on record."""
    gateway = with_provider(gateways, "vertex", "anthropic")
    for upstream, free in (("anthropic", True), ("vertex", False)):
        for said, stop, spared in (([], "refusal", free), ([], "end_turn", False),
                                   ([{"type": "text", "text": "No."}], "refusal", False)):
            record = record_of(gateway, ask(
                gateway, "POST", f"/{upstream}/v1/messages", calls.messages().body,
                message(content=said, stop_reason=stop), x_api_key=calls.KEY))
            assert record["usage"] == {"input_tokens": 106, "output_tokens": 1}
            assert record["usage_source"] == "provider"
            assert (record["cost_usd"] == "0") == spared, (upstream, said, stop)
            assert record["outcome"] == ("refused" if stop == "refusal" else "ok")


def batch_line(said, stop, usage=None, model="claude-haiku-4-5"):
    return json.dumps({"custom_id": "x", "result": {"type": "succeeded", "message": {
        "type": "message", "model": model, "content": said, "stop_reason": stop,
        "usage": usage or {"input_tokens": 106, "output_tokens": 1}}}}) + "\n"


def batch(gateway, upstream, name, *lines):
    return record_of(gateway, ask(
        gateway, "GET", f"/{upstream}/v1/messages/batches/{name}/results",
        raw=http("".join(lines), "application/x-jsonl"), x_api_key=calls.KEY))


def test_a_refusal_without_a_word_is_not_billed_in_a_batch(gateways):
    """As outside of one: what it counts is on record at no cost, what stands beside it is not free."""
    gateway = with_provider(gateways, "vertex", "anthropic")
    text = [{"type": "text", "text": "No."}]
    silent, told, ended = (batch_line([], "refusal"), batch_line(text, "refusal"),
                           batch_line([], "end_turn"))
    one = price("claude-haiku-4-5", "anthropic", "batch", **{"in": 106, "out": 1})
    cases = [((silent,), 0), ((told,), 1), ((ended,), 1), ((silent, told, silent, ended), 2),
             ((told, silent), 1)]
    for n, (lines, billed) in enumerate(cases):
        record = batch(gateway, "anthropic", f"b{n}", *lines)
        assert record["usage"] == {"input_tokens": 106 * len(lines), "output_tokens": len(lines)}
        assert record["usage_source"] == "provider"
        assert Decimal(record["cost_usd"]) == billed * one, lines
        assert sum(p["answers"] for p in record.get("parts", [])) == billed
    again = batch(gateway, "anthropic", "b0", silent)
    assert again["cost_usd"] == "0" and "usage" not in again


def test_an_advisor_in_a_batch_costs_the_price_of_batches(gateways):
    gateway = gateways()
    usage = {"input_tokens": 1000, "output_tokens": 100, "iterations": [
        {"type": "advisor_message", "model": "claude-opus-4-5", "input_tokens": 2000,
         "output_tokens": 50}]}
    text = [{"type": "text", "text": "Yes."}]
    record = batch(gateway, "anthropic", "b1", batch_line(text, "end_turn", usage),
                   batch_line(text, "end_turn"))
    assert record["usage"] == {"input_tokens": 1106, "output_tokens": 101}
    assert Decimal(record["cost_usd"]) == \
        price("claude-haiku-4-5", "anthropic", "batch", **{"in": 1106, "out": 101}) + \
        price("claude-opus-4-5", "anthropic", "batch", **{"in": 2000, "out": 50})


def test_where_one_answer_of_a_batch_was_served_is_not_the_next_ones_price(gateways):
    gateway = gateways()
    text, model = [{"type": "text", "text": "Yes."}], "claude-opus-4-6"
    usage = {"input_tokens": 1000, "output_tokens": 100}
    at_home = price(model, "anthropic", "batch", **{"in": 1000, "out": 100})
    record = batch(gateway, "anthropic", "b1",
                   batch_line(text, "end_turn", {**usage, "inference_geo": "us"}, model),
                   batch_line(text, "end_turn", {**usage, "inference_geo": "global"}, model))
    assert Decimal(record["cost_usd"]) == at_home * Decimal("2.1")


def test_what_a_customer_pays_is_no_cost(gateways):
    """Anthropic bills the account that is named, or refuses the call; who else is told so, may
    not."""
    gateway = with_provider(gateways, "vertex", "anthropic")
    for upstream, free in (("anthropic", True), ("vertex", False)):
        body = {**calls.messages().body, "billing_policy": {"bill_to": "user_profile"}}
        record = record_of(gateway, ask(gateway, "POST", f"/{upstream}/v1/messages", body,
                                        message(), x_api_key=calls.KEY))
        assert record["usage"]["input_tokens"] == 106
        assert (record["cost_usd"] == "0") == free
    twice = json.dumps(calls.messages().body)[:-1] + (
        ',"billing_policy":{"bill_to":"user_profile"},"billing_policy":{"bill_to":"app"}}')
    answer = ask(gateway, "POST", "/anthropic/v1/messages", twice.encode(), message(),
                 x_api_key=calls.KEY)
    assert answer.status == 400


# ---- systems of several models -----------------------------------------------------------------

def shares(*of):
    """Groq's usage of a system: the whole, and what each model took of it."""
    parts = [{"model": model, "usage": {"prompt_tokens": read, "completion_tokens": written,
                                        "total_tokens": read + written}}
             for model, read, written in of]
    return {name: sum(p["usage"][name] for p in parts) for name in parts[0]["usage"]}, \
        {"models": parts}


def test_each_model_of_a_system_has_its_own_rates(gateways):
    gateway = with_provider(gateways, "groq")
    body = {"model": "groq/compound", "messages": [{"role": "user", "content": "x"}]}
    models = ("llama-3.3-70b-versatile", "openai/gpt-oss-120b")

    def record(usage, breakdown):
        return record_of(gateway, ask(
            gateway, "POST", "/groq/openai/v1/chat/completions", body,
            http(chat("groq/compound", usage, usage_breakdown=breakdown))))

    known = record(*shares((models[0], 226, 109), (models[1], 4903, 873), (models[0], 4, 1)))
    assert known["model"] == "groq/compound" and known["usage_source"] == "provider"
    assert (known["usage"]["input_tokens"], known["usage"]["output_tokens"]) == (5133, 983)
    assert Decimal(known["cost_usd"]) == price(models[0], "groq", **{"in": 230, "out": 110}) + \
        price(models[1], "groq", **{"in": 4903, "out": 873})
    assert [p["model"] for p in known["parts"]] == list(models)
    # What has no price makes the whole a floor, wherever it stands; of one that has none it is none.
    for of in ((("nobody", 5, 5), (models[1], 10, 10)), ((models[1], 10, 10), ("nobody", 5, 5))):
        floor = record(*shares(*of))
        assert Decimal(floor["cost_usd"]) == price(models[1], "groq", **{"in": 10, "out": 10})
        assert floor["price_status"] == "partial"
    assert record(*shares(("nobody", 5, 5)))["cost_usd"] is None
    # A breakdown that tells of the whole under each name is none.
    usage, breakdown = shares((models[0], 226, 109))
    breakdown["models"] *= 2
    whole = record(usage, breakdown)
    assert whole["cost_usd"] is None and "parts" not in whole


def test_a_batch_with_a_line_that_has_no_price_is_a_floor(gateways):
    gateway = gateways()
    text = [{"type": "text", "text": "Yes."}]
    lines = batch_line(text, "end_turn", model="nobody"), batch_line(text, "end_turn")
    for n, order in enumerate((lines, lines[::-1])):
        record = batch(gateway, "anthropic", f"b{n}", *order)
        assert record["price_status"] == "partial"
        assert Decimal(record["cost_usd"]) == \
            price("claude-haiku-4-5", "anthropic", "batch", **{"in": 106, "out": 1})


# ---- what no answer prices --------------------------------------------------------------------

@pytest.mark.parametrize("upstream, path, known", [
    ("openai", "v1/vector_stores", False), ("openai", "v1/containers", False),
    ("openai", "v1/vector_stores/vs_1/files", False), ("openai", "v1/skills", True),
    ("openai", "v1/vector_stores/vs_1", True), ("anthropic", "v1/skills", True),
    ("gemini", "v1beta/cachedContents", False),
])
def test_storage_passes_and_its_cost_is_unknown(gateway, upstream, path, known):
    record = record_of(gateway, ask(gateway, "POST", f"/{upstream}/{path}", {"name": "x"},
                                    http({"id": "y"})))
    assert record["status"] == 200 and record["usage_source"] == "none"
    assert record["cost_usd"] == ("0" if known else None)
    refused = record_of(gateway, ask(gateway, "POST", f"/{upstream}/{path}", {"name": "x"},
                                     http({"error": "no"}, status="400 Bad Request")))
    assert refused["cost_usd"] == "0"


@pytest.mark.parametrize("protocol, path", [
    ("anthropic", "v1/deployments"), ("anthropic", "v1/deployments/d/run"),
    ("openai", "v1/fine_tuning/jobs"), ("openai", "v1/agents/automations"),
    ("openai", "v1/realtime/calls"), ("openai", "v1/realtime/client_secrets"),
    ("openai", "v1/live/sessions"),
])
def test_what_nothing_here_can_meter_is_refused(gateways, provider, protocol, path):
    """As the README lists it."""
    config = gateways.config()
    config["upstreams"].append(dict(config["upstreams"][0], name="other", protocol=protocol))
    gateway = gateways(config)
    answer = ask(gateway, "POST", f"/other/{path}", {"model": "x"})
    assert answer.status == 403
    assert answer.header("x-tollgate-denied") == "endpoint_not_allowed"
    assert provider.requests() == []


@pytest.mark.parametrize("made, seconds", [
    ({"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": "a duck"},
      "videoGenerationConfig": {"durationSeconds": 12, "fps": 24}}, 12),
    ({"prompt": "a duck", "duration": "5s", "resolution": "720p"}, 5),
    ({"inputType": "text", "text": {"inputText": "a duck"}}, None),
])
def test_a_job_of_bedrock_takes_what_it_was_asked_for(gateways, tmp_path, made, seconds):
    """What it makes lands in S3: of a video the request says the length, of vectors nobody any.
    The book has no such model; who has its price gives a book of his own."""
    own = tmp_path / "own.json"
    own.write_text(json.dumps({
        "schema": "tollgate-prices/1", "version": "1", "currency": "USD", "sources": {},
        "units": {"video_sec": {"per": 1, "of": "second"}},
        "providers": {"bedrock": {"models": [{
            "id": "amazon.nova-reel-v1:1", "kind": "video", "ids": ["amazon.nova-reel-v1:1"],
            "prices": [{"from": None, "to": None, "rates": {"video_sec": "0.08"}}]}]}}}))
    body = {"modelId": "amazon.nova-reel-v1:1", "modelInput": made,
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket"}}}
    for books in ([], [str(own)]):
        config = gateways.config(limits=BUDGET)
        config["upstreams"].append(dict(config["upstreams"][0], name="aws", protocol="bedrock"))
        config["prices"]["book"] += books
        gateway = gateways(config)
        record = record_of(gateway, ask(gateway, "POST", "/aws/async-invoke", body,
                                        http({"invocationArn": "arn:aws:bedrock:us:1:async/x"})))
        assert record["model_requested"] == "amazon.nova-reel-v1:1"
        assert record["usage_source"] == ("estimated" if seconds else "none")
        assert record.get("usage") == ({"video_seconds": seconds} if seconds else None)
        if seconds and books:
            assert Decimal(record["cost_usd"]) == seconds * Decimal("0.08")
        else:
            assert record["cost_usd"] is None and record["price_status"] == "unpriced"
        assert ask(gateway, "GET", "/aws/async-invoke/x", raw=http({})).status == 200


@pytest.mark.parametrize("body", [
    {"modelId": "forbidden", "model": "gpt-4o-mini"}, {"model": "gpt-4o-mini", "modelId": "forbidden"},
    {"modelId": "forbidden", "agent": "gpt-4o-mini"}, {"modelId": "forbidden", "model_id": "gpt-4o-mini"},
    b'{"modelId": "gpt-4o-mini", "modelId": "forbidden"}', {"model": "gpt-4o-mini"},
    b'{"modelId": "f\\u006frbidden"}', {"modelId": {"a": 1}},
])
def test_a_job_has_the_model_that_bedrock_reads(gateways, provider, body):
    config = gateways.config()
    config["upstreams"].append(dict(config["upstreams"][0], name="aws", protocol="bedrock"))
    for key in config["keys"]:
        key["models"] = ["gpt-4o-mini"]
    gateway = gateways(config)
    assert ask(gateway, "POST", "/aws/async-invoke", body).status in (400, 403)
    assert provider.requests() == []


# ---- prices of their own ------------------------------------------------------------------------

def test_pages_with_annotations_cost_more(gateways):
    gateway = with_provider(gateways, "mistral", "mistral")
    answer = http({"pages": [], "model": "mistral-ocr-2512",
                   "usage_info": {"pages_processed": 4, "doc_size_bytes": 9}})
    body = {"model": "mistral-ocr-2512", "document": {"type": "document_url", "document_url": "u"}}
    plain = record_of(gateway, ask(gateway, "POST", "/mistral/v1/ocr", body, answer))
    assert Decimal(plain["cost_usd"]) == price("mistral-ocr-2512", "mistral", page=4)
    body["document_annotation_format"] = {"type": "json_schema"}
    noted = record_of(gateway, ask(gateway, "POST", "/mistral/v1/ocr", body, answer))
    assert noted["usage"] == {"pages": 4, "annotated_pages": 4}
    assert Decimal(noted["cost_usd"]) == price("mistral-ocr-2512", "mistral", page_annotated=4)


def test_searches_for_enterprises_have_a_price_of_their_own(gateways):
    gateway = with_provider(gateways, "vertex", "gemini")
    answer = http({"modelVersion": "gemini-2.5-flash", "usageMetadata": {
        "promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100},
        "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP",
                        "groundingMetadata": {"webSearchQueries": ["a", "b"]}}]})
    for tool, meter in (("googleSearch", "web_search"),
                        ("enterpriseWebSearch", "enterprise_web_search")):
        record = record_of(gateway, ask(
            gateway, "POST", "/vertex/v1beta/models/gemini-2.5-flash:generateContent",
            {"contents": [{"parts": [{"text": "x"}]}], "tools": [{tool: {}}]}, answer,
            x_goog_api_key=calls.KEY))
        assert Decimal(record["cost_usd"]) == price(
            "gemini-2.5-flash", "vertex", out=100, **{"in": 1000, meter: 1})


def test_cache_hits_that_only_a_header_tells(gateways):
    gateway = with_provider(gateways, "fireworks")
    answer = http(chat("accounts/fireworks/models/deepseek-v3p1"),
                  "application/json\r\nfireworks-cached-prompt-tokens: 900")
    record = record_of(gateway, ask(gateway, "POST", "/fireworks/inference/v1/chat/completions",
                                    calls.chat().body, answer))
    assert record["usage"]["cache_read_tokens"] == 900
    assert record["usage"]["input_tokens"] == 1000


# ---- guardrails of Bedrock --------------------------------------------------------------------

UNITS = {"contentPolicyUnits": 3, "topicPolicyUnits": 2, "wordPolicyUnits": 3,
         "sensitiveInformationPolicyUnits": 4, "sensitiveInformationPolicyFreeUnits": 5,
         "contextualGroundingPolicyUnits": 1, "contentPolicyImageUnits": 7}
# Content and topics 0.15, PII and grounding 0.10, words and patterns 0 for 1,000; an image 0.00075
GUARDED = (Decimal("0.15") * (3 + 2) + Decimal("0.1") * (4 + 1) + Decimal("0.75") * 7) / 1000
APPLY = "/bedrock/guardrail/gr1/version/DRAFT/apply"
CLAUDE = "anthropic.claude-haiku-4-5-20251001-v1:0"


def guardrail(gateway, answer, text="x" * 2500, status="200 OK", path=APPLY):
    return record_of(gateway, ask(gateway, "POST", path, {
        "source": "INPUT", "content": [{"text": {"text": text}}]}, http(answer, status=status)))


def test_a_guardrail_is_charged_by_what_its_policies_look_at(gateways):
    gateway = with_provider(gateways, "bedrock", "bedrock")
    record = guardrail(gateway, {"usage": UNITS, "action": "NONE", "outputs": [],
                                 "assessments": [{"usage": {"topicPolicyUnits": 9}}]})
    assert record["endpoint"] == "apply-guardrail" and record["usage_source"] == "provider"
    assert record["usage"] == {"guardrail_units": sum(UNITS.values())}
    assert Decimal(record["cost_usd"]) == GUARDED and record["price_status"] == "ok"
    assert {p["model"]: p["usage"]["guardrail_units"] for p in record["parts"]} == {
        "guardrail.content": 3, "guardrail.topic": 2, "guardrail.word": 3,
        "guardrail.sensitive": 4, "guardrail.regex": 5, "guardrail.grounding": 1,
        "guardrail.image": 7}
    stopped = guardrail(gateway, {"usage": {"wordPolicyUnits": 1},
                                  "action": "GUARDRAIL_INTERVENED"})
    assert stopped["cost_usd"] == "0" and stopped["outcome"] == "refused"
    reasoned = guardrail(gateway, {"usage": {**UNITS, "automatedReasoningPolicyUnits": 1}})
    assert Decimal(reasoned["cost_usd"]) == GUARDED + Decimal("0.00017")
    # Without a word, all policies of text may have looked: 2,500 characters are three units.
    silent = guardrail(gateway, {"action": "NONE"})
    assert silent["usage_source"] == "estimated" and silent["usage"] == {"guardrail_units": 3}
    assert Decimal(silent["cost_usd"]) == 3 * Decimal("0.00067")
    arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aguardrail%2Fgr1"
    assert Decimal(guardrail(gateway, {"usage": UNITS}, path=APPLY.replace("gr1", arn))[
        "cost_usd"]) == GUARDED
    failed = guardrail(gateway, {"message": "no"}, status="429 Too Many Requests")
    assert failed["cost_usd"] == "0"


def test_a_guardrail_beside_a_model(gateways):
    """Only a trace tells what it took: without one the cost is not the whole."""
    gateway = with_provider(gateways, "bedrock", "bedrock")
    usage = {"inputTokens": 1000, "outputTokens": 100, "totalTokens": 1100}
    trace = {"guardrail": {
        "inputAssessment": {"gr1": {"topicPolicy": {"topics": []}, "invocationMetrics": {
            "usage": {"contentPolicyUnits": 2, "wordPolicyUnits": 2}}}},
        "outputAssessments": {"gr1": [{"invocationMetrics": {
            "usage": {"contentPolicyUnits": 1, "sensitiveInformationPolicyUnits": 4}}}]}}}
    body = {"messages": [{"role": "user", "content": [{"text": "x"}]}]}
    costs = {}
    for name, config, more in (("plain", None, {}), ("silent", "disabled", {}),
                               ("told", "enabled", {"trace": trace})):
        if config:
            body["guardrailConfig"] = {"guardrailIdentifier": "gr1", "guardrailVersion": "1",
                                       "trace": config}
        record = record_of(gateway, ask(
            gateway, "POST", f"/bedrock/model/{CLAUDE.replace(':', '%3A')}/converse", body,
            http({"output": {"message": {"role": "assistant", "content": [{"text": "y"}]}},
                  "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}, **more})))
        assert record["usage"]["input_tokens"] == 1000
        assert record["price_status"] == ("partial" if name == "silent" else "ok")
        costs[name] = Decimal(record["cost_usd"])
    assert costs["plain"] == costs["silent"] == price(CLAUDE, "bedrock", out=100, **{"in": 1000})
    assert costs["told"] - costs["plain"] == \
        (Decimal("0.15") * 3 + Decimal("0.1") * 4) / 1000
    invoked = record_of(gateway, ask(
        gateway, "POST", f"/bedrock/model/{CLAUDE.replace(':', '%3A')}/invoke",
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []},
        message(), X_Amzn_Bedrock_GuardrailIdentifier="gr1"))
    assert invoked["price_status"] == "partial"


def test_a_budget_holds_for_guardrails(gateways):
    config = gateways.config(limits=[dict(BUDGET[0], limit="0.001")])
    config["upstreams"].append(dict(config["upstreams"][0], name="bedrock", protocol="bedrock",
                                    provider="bedrock"))
    gateway = gateways(config)
    assert guardrail(gateway, {"usage": {"contentPolicyUnits": 1}}, "x" * 900)["status"] == 200
    answer = ask(gateway, "POST", APPLY, {"content": [{"text": {"text": "x" * 1900}}]}, http({}))
    assert answer.status != 200 and answer.header("x-tollgate-denied") == "budget_exhausted"
