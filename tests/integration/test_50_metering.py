"""What is counted, for whom, at which price."""

import json
import re
import urllib.parse
from decimal import Decimal

import pytest

from kit import calls, prices, views
from kit.client import request_bytes, sse_events


def last_record(gateway, answer):
    return gateway.record(answer.header("x-tollgate-request-id"))


@pytest.mark.parametrize("shape", calls.SHAPES)
def test_four_views(gateway, provider, shape):
    call = calls.SHAPES[shape](words=23)
    answer = calls.send(gateway, call)
    record = last_record(gateway, answer)
    bill = views.bill_of(provider, record)
    assert bill["input_tokens"] == 23
    views.check_usage(record, bill)
    views.check_cost(record, call.provider, call.model, bill)
    seen, = provider.requests()
    injected = shape in ("chat-stream", "completions-stream")
    if injected:
        assert seen.json() == dict(call.body, stream_options={"include_usage": True})
    else:
        from kit.procs import Provider
        views.check_provider_got(seen, call, Provider.SECRET, calls.KEY)
        views.check_client_got_what_was_sent(answer, seen)
    assert record["model_requested"] == call.model
    if bill["request_id"]:
        assert record["provider_request_id"] == bill["request_id"]
    assert record["price_match"] and record["price_id"] and len(record["book"]) >= 16
    assert record["bytes_in"] >= len(call.data()) and record["bytes_out"] >= len(answer.body)
    assert 0 <= record["first_byte_ms"] <= record["latency_ms"]


def test_identity_of_a_record(gateway):
    answers = [calls.send(gateway, calls.chat()) for _ in range(3)]
    records = gateway.records(3)
    for record in records:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
                            record["id"])
        for name in ("start", "end"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record[name])
        assert record["start"] <= record["end"]
    assert [r["id"] for r in records] == [a.header("x-tollgate-request-id") for a in answers]
    assert sorted(r["id"] for r in records) == [r["id"] for r in records]


def test_cost_headers(gateway, provider):
    for shape in ("chat", "messages", "generate", "responses", "completions", "embeddings"):
        answer = calls.send(gateway, calls.SHAPES[shape](words=11))
        record = last_record(gateway, answer)
        assert answer.header("x-tollgate-cost-usd") == record["cost_usd"]
        output = record["usage"].get("output_tokens", 0)
        assert answer.header("x-tollgate-tokens") == f"in=11, out={output}"
    answer = calls.send(gateway, calls.chat(stream=True))
    assert answer.header("x-tollgate-cost-usd") is None


# ---- asking for usage ------------------------------------------------------------------


BODIES = [
    # As sent; what is inserted must be all that changes.
    b'{"model":"gpt-4o","messages":[{"role":"user","content":"a b"}],"stream":true}',
    b'{"stream":true,"model":"gpt-4o","messages":[{"role":"user","content":"a b"}]}',
    b'{ "model" : "gpt-4o",\r\n\t"stream" : true , "messages" : [ {"role":"user",'
    b'"content":"a b"} ] }\n',
    b'{"model":"gpt-4o","messages":[{"role":"user","content":"a b"}],"stream":true,'
    b'"stream_options":{}}',
    b'{"model":"gpt-4o","messages":[{"role":"user","content":"a b"}],"stream":true,'
    b'"stream_options":{"include_obfuscation":false}}',
    b'{"model":"gpt-4o","stream_options":{"include_usage":false},"messages":'
    b'[{"role":"user","content":"a b"}],"stream":true}',
    b'{"model":"gpt-4o","stream_options":null,"messages":'
    b'[{"role":"user","content":"a b"}],"stream":true}',
    '{"model":"gpt-4o","messages":[{"role":"user","content":"é \\"stream_options\\": {} '
    '\\u0000 日本"}],"stream":true}'.encode(),
]


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_injection_changes_nothing_else(gateway, provider, number):
    body = BODIES[number]
    call = calls.chat()
    answer = gateway.request("POST", call.full_path(), call.headers(), body)
    assert answer.complete and answer.status == 200
    seen, = provider.requests()
    sent = json.loads(seen.body)
    assert sent["stream_options"]["include_usage"] is True
    expected = json.loads(body)
    theirs = expected.pop("stream_options", None) or {}
    ours = sent.pop("stream_options")
    assert sent == expected
    assert {k: v for k, v in ours.items() if k != "include_usage"} == \
        {k: v for k, v in theirs.items() if k != "include_usage"}
    # Byte-exact: what was inserted, taken out again, leaves what the client sent.
    shorter = [body[:i] for i in range(len(body) + 1) if seen.body.startswith(body[:i])][-1]
    tail = body[len(shorter):]
    if b'"include_usage":false' not in body and b"null" not in body:
        assert seen.body.endswith(tail), (seen.body, body)
    assert answer.body == views.without_usage_event(views.body_of(seen.sent))
    assert last_record(gateway, answer)["usage"]["input_tokens"] > 0


def test_asked_by_the_client_is_left_alone(gateway, provider):
    call = calls.SHAPES["chat-stream-usage"]()
    answer = calls.send(gateway, call)
    seen, = provider.requests()
    assert seen.body == call.data() and answer.body == views.body_of(seen.sent)
    assert any(json.loads(d).get("usage") for _, d, _ in sse_events(answer.body) if d != "[DONE]")


def test_upstream_that_may_not_be_asked(gateways, provider):
    config = gateways.config()
    config["upstreams"][0]["inject_usage"] = False
    gateway = gateways(config)
    call = calls.chat(stream=True)
    answer = calls.send(gateway, call)
    seen, = provider.requests()
    assert seen.body == call.data() and answer.body == views.body_of(seen.sent)
    record = last_record(gateway, answer)
    assert record["usage_source"] == "estimated" and record["outcome"] == "ok"
    assert record["usage"]["output_tokens"] > 0 and record["cost_usd"] not in ("0", None)


@pytest.mark.parametrize("shape", ["chat", "messages", "generate", "responses",
                                   "messages-stream", "generate-sse"])
def test_no_usage_is_estimated_and_says_so(gateway, provider, shape):
    answer = calls.send(gateway, calls.SHAPES[shape](words=50), sim={"No_Usage": 1})
    record = last_record(gateway, answer)
    assert record["usage_source"] == "estimated"
    assert record["usage"]["input_tokens"] > 0 and record["usage"]["output_tokens"] > 0
    assert record["cost_usd"] not in ("0", None)


@pytest.mark.parametrize("raw", [
    'null', '{}', '{"prompt_tokens":null}', '{"prompt_tokens":"12","completion_tokens":"3"}',
    '{"prompt_tokens":-4,"completion_tokens":3}', '{"prompt_tokens":1e400}',
    '{"prompt_tokens":9007199254740993,"completion_tokens":1}',
    '{"prompt_tokens":99999999999999999999999,"completion_tokens":1}',
    '{"prompt_tokens":1.5,"completion_tokens":2.5}', '[1,2,3]', '"none"',
    '{"prompt_tokens":{"a":1},"completion_tokens":[]}'])
def test_strange_usage_is_survived(gateway, provider, raw):
    answer = calls.send(gateway, calls.chat(), sim={"Raw_Usage": raw})
    assert answer.status == 200 and answer.body == views.body_of(provider.requests()[-1].sent)
    record = last_record(gateway, answer)
    assert record["usage"].get("input_tokens", 0) >= 0
    assert record["cost_usd"] is None or Decimal(record["cost_usd"]) >= 0
    assert calls.send(gateway, calls.chat()).status == 200


def test_served_model_and_tier_decide(gateway, provider):
    answer = calls.send(gateway, calls.chat(model="gpt-4o"), sim={"Served_Model": "gpt-4o-mini"})
    record = last_record(gateway, answer)
    assert (record["model_requested"], record["model"]) == ("gpt-4o", "gpt-4o-mini")
    views.check_cost(record, "openai", "gpt-4o-mini", views.bill_of(provider, record))
    answer = calls.send(gateway, calls.chat(), sim={"Service_Tier": "priority"})
    record = last_record(gateway, answer)
    assert record["service_tier"] == "priority"
    standard = prices.cost("openai", "gpt-4o", views.bill_of(provider, record))
    assert Decimal(record["cost_usd"]) > standard


def test_unpriced_is_flagged_never_free(gateway, provider):
    answer = calls.send(gateway, calls.chat(model="made-up-model-9"))
    assert answer.status == 200
    record = last_record(gateway, answer)
    assert record["cost_usd"] is None and record["usage"]["input_tokens"] == 10
    total = gateway.report("spend")["total"]
    assert total["cost_usd"] in (None, "0")


def test_unpriced_may_be_refused(gateways, provider):
    gateway = gateways(prices={"on_unpriced": "refuse"})
    answer = calls.send(gateway, calls.chat(model="made-up-model-9"))
    assert answer.status == 403 and answer.header("x-tollgate-denied") == "model_not_priced"
    assert provider.totals()["requests"] == 0


def test_contract_multiplier(gateways, provider):
    gateway = gateways(prices={"rules": [{"match": {"upstream": "openai", "model": "gpt-4o*"},
                                         "multiplier": "0.93"}]})
    answer = calls.send(gateway, calls.chat())
    record = last_record(gateway, answer)
    views.check_cost(record, "openai", "gpt-4o", views.bill_of(provider, record), "0.93")
    answer = calls.send(gateway, calls.messages())
    record = last_record(gateway, answer)
    views.check_cost(record, "anthropic", "claude-sonnet-4-5", views.bill_of(provider, record))


@pytest.mark.parametrize("path,kind,body", [
    ("/anthropic/v1/messages", "text/event-stream", 'event: error\ndata: {"type":"error","error":'
     '{"type":"overloaded_error","message":"Overloaded"}}\n\n'),
    ("/openai/v1/chat/completions", "text/event-stream",
     'data: {"error":{"message":"no","type":"server_error","code":502}}\n\n'),
    ("/openai/v1/chat/completions", "application/json",
     '{"error":{"message":"no","type":"server_error","code":502}}')])
def test_an_error_with_a_good_status_costs_nothing(gateway, path, kind, body):
    """Nothing was said before it: the provider bills nothing, and no price is missing."""
    raw = (f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    answer = gateway.request("POST", path, [
        ("Authorization", f"Bearer {calls.KEY}"), ("X-Sim-Raw", urllib.parse.quote(raw))],
        json.dumps({"model": "claude-opus-5-5" if "anthropic" in path else "gpt-4o", "stream": True,
                    "max_tokens": 9, "messages": []}).encode())
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "provider_error" and record["usage_source"] == "none"
    assert record["cost_usd"] == "0" and record["price_status"] == "ok"


@pytest.mark.parametrize("reason,shape", [("content_filter", "chat"), ("refusal", "messages"),
                                          ("SAFETY", "generate")])
def test_refused_by_the_model(gateway, reason, shape):
    answer = calls.send(gateway, calls.SHAPES[shape](), sim={"Finish_Reason": reason})
    assert last_record(gateway, answer)["outcome"] == "refused"


# ---- tags -------------------------------------------------------------------------------


def tagged(gateway, *tags, key=calls.KEY, **config):
    return calls.send(gateway, calls.chat(), key=key, tags=[("X-Tollgate-" + k, v)
                                                             for k, v in tags])


def test_tags_and_where_they_came_from(gateways, provider):
    gateway = gateways(tags={"defaults": {"environment": "dev"}})
    answer = tagged(gateway, ("Feature", "chat"), ("Customer", "acme"), ("User", "jo@x.example"),
                    ("Task", "task-1"), ("Task-Type", "triage"), ("Attempt", "2"),
                    ("Tags", "tier=gold, region = eu-1"))
    record = last_record(gateway, answer)
    assert (record["team"], record["feature"], record["environment"]) == ("search", "chat", "dev")
    assert record["tag_source"]["team"] == "key"
    assert record["tag_source"]["feature"] == "header"
    assert record["tag_source"]["environment"] == "default"
    assert (record["customer"], record["task"], record["task_type"]) == ("acme", "task-1",
                                                                         "triage")
    assert record["attempt"] == 2 and record["tags"] == {"tier": "gold", "region": "eu-1"}
    assert record["user"] and "jo@x.example" not in json.dumps(record)
    again = last_record(gateway, tagged(gateway, ("User", "jo@x.example")))
    assert again["user"] == record["user"]
    assert provider.totals()["leaks"] == 0


def test_header_beats_default_and_lock_beats_header(gateways):
    config = gateways.config()
    config["keys"].append({"name": "locked", "secret": "tg_locked_key_0011223344",
                           "tags": {"team": "infra"}, "locked": ["team"]})
    gateway = gateways(config)
    record = last_record(gateway, tagged(gateway, ("Team", "ads")))
    assert record["team"] == "ads" and record["tag_source"]["team"] == "header"
    record = last_record(gateway, tagged(gateway, ("Team", "ads"),
                                         key="tg_locked_key_0011223344"))
    assert record["team"] == "infra" and record["tag_source"]["team"] == "key"


def test_traceparent_is_the_task(gateway):
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = calls.send(gateway, calls.chat(), tags=[
        ("traceparent", f"00-{trace}-b7ad6b7169203331-01")])
    assert last_record(gateway, answer)["task"] == trace


def test_baggage(gateway):
    answer = calls.send(gateway, calls.chat(), tags=[
        ("baggage", "other=1,tollgate.tier=silver;p=1,tollgate.plan=pro%20max")])
    assert last_record(gateway, answer)["tags"] == {"tier": "silver", "plan": "pro max"}


def test_aliases(gateways, provider):
    names = [("Helicone-Property-Feature", "search-box"), ("Helicone-Session-Id", "session-9")]
    record = last_record(gateways(name="a"), calls.send(gateways.made[-1], calls.chat(),
                                                        tags=names))
    assert "feature" not in record or record["feature"] != "search-box"
    gateway = gateways(name="b", tags={"aliases": True})
    record = last_record(gateway, calls.send(gateway, calls.chat(), tags=names))
    assert record["feature"] == "search-box" and record["task"] == "session-9"
    head = provider.requests()[-1].head.lower()
    assert b"helicone" not in head


@pytest.mark.parametrize("tag", [
    ("Tags", "no-equals"), ("Tags", "UPPER=1"), ("Tags", "a b=1"), ("Team", "x" * 257),
    ("Tags", ",".join(f"k{i}=v" for i in range(17))), ("Tags", "a=" + "y" * 257),
    ("Attempt", "minus")])
def test_invalid_tags(gateway, provider, tag):
    answer = tagged(gateway, tag)
    assert answer.status == 400 and answer.header("x-tollgate-denied") == "invalid_tag"
    assert provider.totals()["requests"] == 0 and gateway.export() == []


def test_required_and_allowed_tags(gateways, provider):
    gateway = gateways(tags={"on_missing": "reject", "required": ["team", "environment"],
                             "allowed": {"environment": ["prod", "dev"]}})
    answer = tagged(gateway)
    assert answer.status == 400 and answer.header("x-tollgate-denied") == "missing_tag"
    answer = tagged(gateway, ("Environment", "mars"))
    assert answer.status == 403 and answer.header("x-tollgate-denied") == "tag_not_allowed"
    assert tagged(gateway, ("Environment", "prod")).status == 200
    assert provider.totals()["requests"] == 1


def test_keys_bound_models_upstreams_and_time(gateways, provider):
    config = gateways.config()
    config["keys"] += [
        {"name": "narrow", "secret": "tg_narrow_key_0011223344", "models": ["gpt-4o*"],
         "upstreams": ["openai"]},
        {"name": "old", "secret": "tg_old_key_00112233445566",
         "expires": "2020-01-01T00:00:00Z"}]
    gateway = gateways(config)
    narrow = "tg_narrow_key_0011223344"
    assert calls.send(gateway, calls.chat(), key=narrow).status == 200
    answer = calls.send(gateway, calls.chat(model="o3"), key=narrow)
    assert answer.status == 403 and answer.header("x-tollgate-denied") == "model_not_allowed"
    answer = calls.send(gateway, calls.messages(), key=narrow)
    assert answer.status == 403 and answer.header("x-tollgate-denied") == "endpoint_not_allowed"
    answer = calls.send(gateway, calls.chat(), key="tg_old_key_00112233445566")
    assert answer.status == 401 and answer.header("x-tollgate-denied") == "invalid_key"
    assert provider.totals()["requests"] == 1


def test_hashed_keys(gateways):
    import hashlib
    config = gateways.config()
    secret = "tg_hashed_key_00112233445566"
    config["keys"].append({"name": "hashed",
                           "hash": "sha256:" + hashlib.sha256(secret.encode()).hexdigest()})
    gateway = gateways(config)
    answer = calls.send(gateway, calls.chat(), key=secret)
    assert last_record(gateway, answer)["key"] == "hashed"


def test_key_in_each_place(gateway, provider):
    call = calls.chat()
    for headers, path in [
            ([("Authorization", f"Bearer {calls.KEY}")], call.full_path()),
            ([("x-api-key", calls.KEY)], call.full_path()),
            ([("api-key", calls.KEY)], call.full_path()),
            ([("x-goog-api-key", calls.KEY)], call.full_path()),
            ([], call.full_path() + f"?key={calls.KEY}")]:
        answer = gateway.request("POST", path, headers + [("Content-Type", "application/json")],
                                 call.data())
        assert answer.status == 200, (headers, path, answer)
    assert provider.totals()["denied"] == 0


def test_credentials_of_the_client(gateways, provider):
    from kit.procs import Provider
    config = gateways.config()
    config["upstreams"][0]["credentials"] = "client"
    config["upstreams"][0].pop("api_key")
    gateway = gateways(config)
    call = calls.chat()
    headers = [("Authorization", f"Bearer {Provider.SECRET}"), ("X-Tollgate-Key", calls.KEY),
               ("Content-Type", "application/json")]
    answer = gateway.request("POST", call.full_path(), headers, call.data())
    assert answer.status == 200 and last_record(gateway, answer)["key"] == "main"
    answer = gateway.request("POST", call.full_path(), headers[:1] + headers[2:], call.data())
    assert answer.status == 401


REFUSAL_SHAPES = {
    "chat": lambda body: body["error"]["message"] and body["error"]["code"],
    "responses": lambda body: body["error"]["message"] and body["error"]["code"],
    "messages": lambda body: body["type"] == "error" and body["error"]["type"],
    "generate": lambda body: body["error"]["status"] and body["error"]["code"] == 401,
}


@pytest.mark.parametrize("shape", REFUSAL_SHAPES)
def test_refusals_have_the_protocols_shape(gateway, shape):
    answer = calls.send(gateway, calls.SHAPES[shape](), key="tg_wrong")
    assert answer.status == 401 and answer.header("x-tollgate-denied") == "invalid_key"
    assert answer.header("content-type").startswith("application/json")
    assert REFUSAL_SHAPES[shape](answer.json())


def test_no_key_at_all(gateway):
    call = calls.chat()
    answer = gateway.request("POST", call.full_path(), [("Content-Type", "application/json")],
                             call.data())
    assert answer.status == 401


def test_unknown_endpoints(gateways, provider):
    gateway = gateways()
    headers = calls.chat().headers()
    answer = gateway.request("POST", "/openai/v1/unheard-of", headers, b"{}")
    assert answer.status == 403 and answer.header("x-tollgate-denied") == "endpoint_not_allowed"
    assert gateway.request("GET", "/openai/v1/models", headers).status == 200
    config = gateways.config()
    config["upstreams"][0]["unknown_endpoints"] = "allow"
    answer = gateways(config).request("POST", "/openai/v1/unheard-of", headers, b"{}")
    assert answer.status == 404 and answer.header("x-tollgate-denied") is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"not json", b'{"model":5}',
                                  b'{"model":"gpt-4o"', b'\xff\xfe{"model":"gpt-4o"}',
                                  b'{"model":"a","model":"gpt-4o","messages":[]}',
                                  b'{"messages":' + b"[" * 5000])
def test_bodies_that_are_not_what_they_should_be(gateway, provider, body):
    call = calls.chat()
    with gateway.connect() as connection:
        connection.send(request_bytes("POST", call.full_path(), call.headers(), body))
        answer = connection.read()
    assert 400 <= answer.status < 500
    assert "error" in answer.json()
    assert provider.totals()["billed"] == 0
    assert calls.send(gateway, call).status == 200


def test_what_a_key_may_still_spend(gateways, provider):
    gateway = gateways(limits=[{"name": "day", "unit": "usd", "limit": "5", "window": "day"}])
    calls.send(gateway, calls.chat())
    gateway.records(1)
    headers = [("Authorization", f"Bearer {calls.KEY}")]
    budget = gateway.request("GET", "/_tollgate/budget", headers)
    assert budget.status == 200 and b"day" in budget.body
    assert gateway.request("GET", "/_tollgate/usage", headers).status == 200
    assert gateway.request("GET", "/_tollgate/budget").status == 401
    assert provider.totals()["requests"] == 1


def test_outcome_of_a_task(gateway, provider):
    headers = [("Authorization", f"Bearer {calls.KEY}")]
    path = "/_tollgate/tasks/t-1/outcome"
    answer = gateway.request("PUT", path, headers, b'{"outcome":"completed"}')
    assert answer.status in (200, 204)
    assert gateway.request("PUT", path, headers, b'{"outcome":"x"}').status == 400
    assert gateway.request("PUT", path, headers, b'nonsense').status == 400
    assert gateway.request("PUT", path, [], b'{"outcome":"completed"}').status == 401
    assert provider.totals()["requests"] == 0
