"""What is not one answer of text: media, forms, batches, answers that are fetched again, other
models' parts, and the protocols' own errors."""

import json
from decimal import Decimal
from urllib.parse import quote

import pytest

from kit import calls, client, forms
from kit.config import with_upstream


def http(body, kind="application/json", status="200 OK", length=None):
    """An answer for X-Sim-Raw, after which the simulated provider closes."""
    data = body if isinstance(body, bytes) else (
        body if isinstance(body, str) else json.dumps(body)).encode()
    head = (f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
            f"Content-Length: {len(data) if length is None else length}\r\n\r\n")
    return quote(head.encode() + data)


def ask(gateway, method, path, body=None, raw=None, kind="application/json", **headers):
    lines = [("Authorization", f"Bearer {calls.KEY}")]
    if body is not None:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines.append(("Content-Type", kind))
    if raw:
        lines.append(("X-Sim-Raw", raw))
    lines += [(name.replace("_", "-"), str(value)) for name, value in headers.items()]
    with gateway.connect() as connection:
        connection.send(client.request_bytes(method, path, lines, body or b""))
        return connection.read(method)


def record_of(gateway, answer):
    return gateway.record(answer.header("x-tollgate-request-id"))


def cost(records):
    return sum(Decimal(r["cost_usd"] or 0) for r in records)



# ---- background --------------------------------------------------------------------------

USAGE = {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200,
         "input_tokens_details": {"cached_tokens": 0},
         "output_tokens_details": {"reasoning_tokens": 0}}


def response(status, usage=None, background=True, name="resp_1"):
    return {"id": name, "object": "response", "status": status, "background": background,
            "model": "gpt-4o", "output": [], "usage": usage}


def test_zeros_are_no_counts(gateway):
    """Streams of many begin with zeros that stand for counts to come, and servers that count nothing end
    with them: who hangs up, or uses such a server, has not asked for nothing."""
    asked = {"model": "claude-opus-5-5", "max_tokens": 900, "stream": True,
             "messages": [{"role": "user", "content": "why " * 500}]}
    events = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in (
        {"type": "message_start", "message": {"model": "claude-opus-5-5",
                                              "usage": {"input_tokens": 0, "output_tokens": 0}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "because " * 50}}))
    cut = record_of(gateway, ask(gateway, "POST", "/anthropic/v1/messages", asked,
                                 http(events, "text/event-stream")))
    assert cut["outcome"] == "upstream_abort" and cut["usage_source"] == "partial"
    plain = record_of(gateway, ask(gateway, "POST", "/openai/v1/chat/completions", {
        "model": "gpt-4o", "messages": asked["messages"]}, http({
            "model": "gpt-4o", "choices": [{"message": {"content": "because " * 50}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}})))
    assert plain["outcome"] == "ok" and plain["usage_source"] == "partial"
    for record in (cut, plain):
        assert record["usage"]["input_tokens"] > 400 and record["usage"]["output_tokens"] >= 50
        assert record["price_status"] == "ok" and Decimal(record["cost_usd"]) > 0


def test_a_stream_that_broke_off_before_it_told_its_tier(gateway):
    """What is estimated costs what was asked for, where that is dearer; a wish for less is none."""
    asked = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "why " * 500}]}

    def cut(tier, **told):
        chunk = {"model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "because " * 50}}], **told}
        record = record_of(gateway, ask(gateway, "POST", "/openai/v1/chat/completions",
                                        {**asked, **({"service_tier": tier} if tier else {})},
                                        http(f"data: {json.dumps(chunk)}\n\n", "text/event-stream")))
        assert record["usage_source"] == "estimated" and record["price_status"] == "ok"
        return Decimal(record["cost_usd"]), record.get("service_tier")
    standard, _ = cut(None)
    assert cut("priority") == (standard * Decimal("1.7"), "priority")
    assert cut("priority", service_tier="default") == (standard, "default")
    for less in ("flex", "auto", "unheard-of"):
        assert cut(less)[0] == standard and cut(less)[1] != less


def test_a_mode_with_rates_of_its_own_is_a_floor(gateway):
    """reasoning.mode "pro" is echoed, and the book has no price of it."""
    for mode, status in (("standard", "ok"), ("pro", "partial"), (None, "ok")):
        body = {**response("completed", USAGE, False), "reasoning": {"effort": "high", "mode": mode}}
        plain = ask(gateway, "POST", "/openai/v1/responses", {"model": "gpt-4o", "input": "x"}, http(body))
        events = "".join(f"event: {kind}\ndata: {json.dumps({'type': kind, 'response': each})}\n\n"
                         for kind, each in (("response.created", {**body, "status": "in_progress",
                                                                  "usage": None}),
                                            ("response.completed", body)))
        stream = ask(gateway, "POST", "/openai/v1/responses",
                     {"model": "gpt-4o", "input": "x", "stream": True},
                     http(events, "text/event-stream"))
        begun = {**body, "id": f"resp_{mode}", "background": True}
        ask(gateway, "POST", "/openai/v1/responses",
            {"model": "gpt-4o", "input": "x", "background": True},
            http({**begun, "status": "queued", "usage": None}))
        fetched = ask(gateway, "GET", f"/openai/v1/responses/resp_{mode}", raw=http(begun))
        for answer in (plain, stream, fetched):
            record = record_of(gateway, answer)
            assert (record["usage_source"], record["cost_usd"], record["price_status"]) == (
                "provider", "0.0045", status), mode


def test_background_counts_once(gateways):
    gateway = gateways()
    made = ask(gateway, "POST", "/openai/v1/responses",
               {"model": "gpt-4o", "input": "x", "background": True},
               http(response("queued")))
    record = record_of(gateway, made)
    assert record["usage_source"] == "none" and record["cost_usd"] is None
    path = "/openai/v1/responses/resp_1"
    early = record_of(gateway, ask(gateway, "GET", path, raw=http(response("in_progress"))))
    assert early["usage_source"] == "none" and early["cost_usd"] == "0"
    polls = [record_of(gateway, ask(gateway, "GET", path, raw=http(response("completed", USAGE))))
             for _ in range(3)]
    assert [r["usage_source"] for r in polls] == ["provider", "none", "none"]
    assert polls[0]["usage"] == {"input_tokens": 1000, "output_tokens": 200,
                                 "cache_read_tokens": 0, "reasoning_tokens": 0}
    # 1000 at 2.50 and 200 at 10 dollars a million
    assert cost(polls) == Decimal("0.0045")
    gateway.stop()
    gateway.start()
    again = record_of(gateway, ask(gateway, "GET", path, raw=http(response("completed", USAGE))))
    assert again["usage_source"] == "none" and again["cost_usd"] == "0"
    events = f"event: response.completed\ndata: " + json.dumps(
        {"type": "response.completed", "response": response("completed", USAGE)}) + "\n\n"
    stream = record_of(gateway, ask(gateway, "GET", path + "?stream=true",
                                    raw=http(events, "text/event-stream")))
    assert stream["usage_source"] == "none" and stream["cost_usd"] == "0"


@pytest.mark.parametrize("background, source", [(False, "estimated"), (True, "none")])
def test_a_stream_that_breaks_off(gateways, background, source):
    """What was read is never unknown, unless the provider works on and tells it later."""
    gateway = gateways()
    begun = {"type": "response.in_progress", "response": response("in_progress",
                                                                  background=background)}
    text = {"type": "response.output_text.delta", "delta": "some words that were read"}
    body = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in (begun, text))
    record = record_of(gateway, ask(
        gateway, "POST", "/openai/v1/responses",
        {"model": "gpt-4o", "input": "x", "stream": True, "background": background},
        http(body, "text/event-stream", length=len(body) + 100), X_Sim_Raw_End="cut"))
    assert record["usage_source"] == source and record["outcome"] == "upstream_abort"
    if source == "estimated":
        assert record["usage"]["output_tokens"] > 0 and Decimal(record["cost_usd"]) > 0


def test_a_stored_response_is_read_for_nothing(gateways):
    gateway = gateways()
    record = record_of(gateway, ask(
        gateway, "GET", "/openai/v1/responses/resp_2",
        raw=http(response("completed", USAGE, background=False, name="resp_2"))))
    assert record["usage_source"] == "none" and record["cost_usd"] == "0"


# ---- batches -------------------------------------------------------------------------------

def lines(first, last):
    out = []
    for n in range(first, last):
        out.append(json.dumps({
            "id": f"batch_req_{n}", "custom_id": str(n),
            "response": {"status_code": 200, "body": {
                "id": f"c{n}", "object": "chat.completion", "model": "gpt-4o", "choices": [],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}},
            "error": None}))
    out.append(json.dumps({"id": "bad", "response": {"status_code": 400, "body": {
        "error": {"message": "no"}}}, "error": None}))
    return "\n".join(out) + "\n"


def test_batch_output_counts_once_at_batch_prices(gateways):
    gateway = gateways()
    path, kind = "/openai/v1/files/file-9/content", "application/octet-stream"
    made = record_of(gateway, ask(gateway, "POST", "/openai/v1/batches",
                                  {"input_file_id": "file-8", "endpoint": "/v1/chat/completions",
                                   "completion_window": "24h"},
                                  http({"id": "batch_1", "status": "validating"})))
    assert made["usage_source"] == "none"
    body = lines(0, 20)
    # A download that breaks off counts what it brought, the next one the rest.
    cut = ask(gateway, "GET", path, raw=http(body[:len(body) // 2], kind, length=len(body)),
              X_Sim_Raw_End="cut")
    assert cut.status == 502
    whole = [record_of(gateway, ask(gateway, "GET", path, raw=http(body, kind)))
             for _ in range(2)]
    records = [r for r in gateway.records(4) if r["endpoint"] == "files.content"]
    assert len(records) == 3
    assert sum(r.get("usage", {}).get("input_tokens", 0) for r in records) == 2000
    assert sum(r.get("usage", {}).get("output_tokens", 0) for r in records) == 200
    assert 0 < records[0]["usage"]["input_tokens"] < 2000
    # half of 2.50 and 10 dollars a million
    assert cost(records) == Decimal("0.0035")
    assert whole[1]["cost_usd"] == "0" and whole[1]["usage_source"] == "none"
    gateway.stop()
    gateway.start()
    late = record_of(gateway, ask(gateway, "GET", path, raw=http(body, kind)))
    assert late["cost_usd"] == "0"


def test_batch_of_several_models_is_priced_line_by_line(gateways):
    gateway = gateways()
    body = "".join(json.dumps({"custom_id": model, "result": {"type": "succeeded", "message": {
        "type": "message", "model": model, "stop_reason": "end_turn",
        "usage": {"input_tokens": 1000, "output_tokens": 100, "service_tier": "batch"}}}}) + "\n"
        for model in ("claude-haiku-4-5", "claude-opus-4-5"))
    record = record_of(gateway, ask(gateway, "GET", "/anthropic/v1/messages/batches/b1/results",
                                    raw=http(body, "application/x-jsonl"), x_api_key=calls.KEY))
    # half of 1 and 5, and of 5 and 25 dollars a million
    assert Decimal(record["cost_usd"]) == Decimal("0.00075") + Decimal("0.00375")
    assert len(record["cost_lines"]) == 4
    assert sum(Decimal(line["cost_usd"]) for line in record["cost_lines"]) == \
        Decimal(record["cost_usd"])


def test_a_part_of_a_file_is_unknown(gateways):
    gateway = gateways()
    record = record_of(gateway, ask(gateway, "GET", "/openai/v1/files/file-7/content",
                                    raw=http(lines(0, 3)[50:], "application/octet-stream",
                                             "206 Partial Content"), Range="bytes=50-"))
    assert record["cost_usd"] is None and record["usage_source"] == "none"


# ---- another model's part ------------------------------------------------------------------

def test_an_advisor_has_its_own_rates(gateways):
    gateway = gateways()
    usage = {"input_tokens": 1000, "output_tokens": 100, "iterations": [
        {"type": "message", "input_tokens": 1000, "output_tokens": 100},
        {"type": "advisor_message", "model": "claude-opus-4-5", "input_tokens": 2000,
         "output_tokens": 50}]}
    answer = ask(gateway, "POST", "/anthropic/v1/messages", calls.messages().body,
                 http({"type": "message", "model": "claude-haiku-4-5", "content": [],
                       "stop_reason": "end_turn", "usage": usage}), x_api_key=calls.KEY)
    record = record_of(gateway, answer)
    assert record["usage"]["input_tokens"] == 1000
    # 1 and 5 dollars a million of the model's own, 5 and 25 of the advisor
    assert Decimal(record["cost_usd"]) == Decimal("0.0015") + Decimal("0.01125")
    assert answer.header("x-tollgate-cost-usd") == record["cost_usd"]
    assert [(line["unit"], line["quantity"]) for line in record["cost_lines"]] == \
        [("in", 1000), ("out", 100), ("in", 2000), ("out", 50)]


# ---- media -----------------------------------------------------------------------------------

def test_form_with_the_model_behind_its_file(gateways, provider):
    gateway = gateways()
    body = forms.form(forms.file("file", forms.wav(400)), forms.field("model", "whisper-1"))
    assert len(body) > 3 << 20
    answer = ask(gateway, "POST", "/openai/v1/audio/transcriptions", body,
                 http({"text": "x", "usage": {"type": "duration", "seconds": 400}}),
                 forms.KIND)
    record = record_of(gateway, answer)
    assert record["model_requested"] == "whisper-1"
    assert record["usage"] == {"audio_seconds": 400} and record["usage_source"] == "provider"
    assert Decimal(record["cost_usd"]) == Decimal("0.04")     # 0.36 dollars an hour
    seen = provider.requests()[-1].body     # its books keep the beginning
    assert len(seen) > 1000 and body.startswith(seen)


@pytest.mark.parametrize("asked, drawn", [
    ({"width": 1440, "height": 1024, "n": 2}, 2 * 1440 * 1024), ({}, 1024 * 1024),
    ({"size": "512x512"}, 512 * 512), ({"width": -1, "height": 10**9}, 1024 * 1024)])
def test_images_that_are_charged_by_their_pixels(gateways, asked, drawn):
    """Together: the answer says how many they are, the request how large."""
    model, count = "black-forest-labs/FLUX.1-dev", asked.get("n", 1)
    config = gateways.config(limits=[{"name": "day", "unit": "usd", "limit": "5", "window": "day"}])
    config["upstreams"].append(dict(config["upstreams"][0], name="together", provider="together"))
    gateway = gateways(config)
    record = record_of(gateway, ask(
        gateway, "POST", "/together/v1/images/generations",
        {"model": model, "prompt": "a duck", **asked},
        http({"id": "i", "model": model, "object": "list",
              "data": [{"index": n, "url": "u"} for n in range(count)]})))
    assert record["usage"]["images"] == count and record["usage_source"] == "estimated"
    # 0.025 dollars a million
    assert Decimal(record["cost_usd"]) == Decimal("0.025") * drawn / 10**6
    assert record["price_status"] == "ok"
    assert [(line["unit"], line["quantity"]) for line in record["cost_lines"]] == \
        [("image_megapixel", drawn)]


def test_transcript_of_text_is_estimated_from_its_file(gateways):
    gateway = gateways()
    body = forms.form(forms.field("response_format", "text"), forms.field("model", "whisper-1"),
                      forms.file("file", forms.wav(100)))
    record = record_of(gateway, ask(gateway, "POST", "/openai/v1/audio/transcriptions", body,
                                    http("hello there", "text/plain"), forms.KIND))
    assert record["usage"]["audio_seconds"] == 100 and record["usage_source"] == "estimated"
    assert Decimal(record["cost_usd"]) == Decimal("0.01")


@pytest.mark.parametrize("parts", [
    forms.field("model", "a") + forms.field("model", "b"),
    forms.field("Model", "a") + forms.field("model", "b"),
    b"--wrong\r\n\r\n",
    b"",
])
def test_ambiguous_forms_are_refused(gateways, provider, parts):
    gateway = gateways()
    answer = ask(gateway, "POST", "/openai/v1/audio/transcriptions", forms.form(parts),
                 kind=forms.KIND) if parts.startswith(b"--a") else \
        ask(gateway, "POST", "/openai/v1/audio/transcriptions", parts, kind=forms.KIND)
    assert answer.status == 400 and answer.header("x-tollgate-denied") == "bad_request"
    assert provider.requests() == []


def test_speech_is_charged_by_the_character(gateways):
    gateway = gateways()
    text = "Grüße, 世界! 👍"
    record = record_of(gateway, ask(gateway, "POST", "/openai/v1/audio/speech",
                                    {"model": "tts-1", "voice": "alloy", "input": text},
                                    http(b"\xff\xf3\x00", "audio/mpeg")))
    assert record["usage"]["characters"] == len(text) and record["usage_source"] == "estimated"
    assert Decimal(record["cost_usd"]) == Decimal(len(text)) * 15 / 1000000


def test_images_are_counted(gateways):
    gateway = gateways()
    record = record_of(gateway, ask(
        gateway, "POST", "/openai/v1/images/generations",
        {"model": "dall-e-3", "prompt": "a duck", "n": 2, "size": "1024x1024"},
        http({"created": 1, "data": [{"url": "a"}, {"url": "b"}]})))
    assert record["usage"] == {"images": 2} and record["usage_source"] == "estimated"
    assert Decimal(record["cost_usd"]) == Decimal("0.08")


# ---- errors of each protocol --------------------------------------------------------------------

def with_protocols(gateways, **changes):
    config = gateways.config()
    for name in ("cohere", "mistral", "ollama"):
        config["upstreams"].append(dict(config["upstreams"][0], name=name, protocol=name))
        config = with_upstream(config, name, **changes)
    return config


@pytest.mark.parametrize("path, check", [
    ("/cohere/v2/chat", lambda e: set(e) == {"id", "message"}),
    ("/cohere/compatibility/v1/chat/completions", lambda e: e["error"]["type"]),
    ("/mistral/v1/chat/completions", lambda e: e["object"] == "error" and e["message"]),
    ("/ollama/api/chat", lambda e: isinstance(e["error"], str)),
    ("/ollama/v1/chat/completions", lambda e: e["error"]["code"] == "invalid_key"),
    ("/gemini/v1beta/models/gemini-2.5-flash:generateContent",
     lambda e: e["error"]["status"] == "UNAUTHENTICATED"),
    ("/gemini/v1beta/openai/chat/completions", lambda e: e["error"]["code"] == "invalid_key"),
    ("/gemini/v1beta/openai/nothing", lambda e: e["error"]["code"] == "invalid_key"),
    ("/openai/v1/messages", lambda e: e["type"] == "error"),
    ("/anthropic/v1/chat/completions", lambda e: e["error"]["code"] == "invalid_key"),
])
def test_refusals_have_the_shape_of_what_was_called(gateways, path, check):
    gateway = gateways(with_protocols(gateways))
    with gateway.connect() as connection:
        connection.send(client.request_bytes("POST", path, [
            ("Authorization", "Bearer nobody"), ("Content-Type", "application/json")], b"{}"))
        answer = connection.read()
    assert answer.status == 401
    assert check(answer.json()), answer


@pytest.mark.parametrize("case, path, last", [
    ("ollama/native-chat/stream/langchaingo--testdata-TestWithFormat", "/ollama/api/chat",
     lambda body: isinstance(json.loads(body.rstrip(b"\n").split(b"\n")[-1])["error"], str)),
    ("cohere/v2-chat/stream/openllmetry--test_cohere_v2_chat_legacy_with_tool_calls_and_streaming",
     "/cohere/v2/chat",
     lambda body: json.loads(body.strip().split(b"data: ")[-1])["type"] == "message-end"),
])
def test_a_cut_stream_ends_in_an_error_of_its_protocol(gateways, corpus, case, path, last):
    gateway = gateways(with_protocols(gateways))
    answer = ask(gateway, "POST", path, {"model": "m", "stream": True, "messages": [
        {"role": "user", "content": "hello"}]}, X_Sim_Replay=case, X_Sim_Cut_After_Bytes=600)
    assert last(answer.body), answer.body
    record = record_of(gateway, answer)
    assert record["outcome"] == "upstream_abort"
    assert record["usage_source"] == "estimated" and record["usage"]["input_tokens"] > 0
    assert record["usage"]["output_tokens"] > 0
