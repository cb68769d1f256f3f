"""Addresses of the provider in its answers lead to the gateway, so that clients that follow them
show their virtual key to nobody else, and are metered."""

import json
import warnings
from decimal import Decimal

import pytest

from kit import calls, http2
from kit.config import with_upstream
from test_51_other_measures import ask, record_of

BATCHES = "/v1/messages/batches"
RESULTS = [{"custom_id": str(n), "result": {"type": "succeeded", "message": {
    "id": f"msg_{n}", "type": "message", "role": "assistant", "model": "claude-haiku-4-5",
    "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 1000, "output_tokens": 100, "service_tier": "batch"}}}}
    for n in range(2)]
JSONL = "".join(json.dumps(line) + "\n" for line in RESULTS).encode()


@pytest.fixture
def shop(gateways, upstream):
    def start(base="", **changes):
        config = with_upstream(gateways.config(None), "anthropic", base_url=upstream.url + base,
                               **changes)
        config["upstreams"].append(dict(config["upstreams"][0], name="replicate",
                                        base_url=upstream.url + "/v1"))
        return gateways(config)
    return start


def batch(url, name="msgbatch_1", status="ended"):
    return {"id": name, "type": "message_batch", "processing_status": status,
            "request_counts": {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0,
                               "expired": 0},
            "created_at": "2026-11-21T10:00:00Z", "expires_at": "2026-11-22T10:00:00Z",
            "ended_at": "2026-11-21T11:00:00Z", "archived_at": None, "cancel_initiated_at": None,
            "results_url": url and f"{url}{BATCHES}/{name}/results"}


def dump(value):
    return json.dumps(value).encode()


def test_the_sdk_gets_its_results_through_the_gateway(shop, upstream, certs, monkeypatch):
    anthropic = pytest.importorskip("anthropic")
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    warnings.simplefilter("ignore", DeprecationWarning)
    gateway = shop()
    upstream.answers = {
        "POST " + BATCHES: dump(batch(None, status="in_progress")),
        f"GET {BATCHES}/msgbatch_1": dump(batch(upstream.url)),
        f"POST {BATCHES}/msgbatch_1/cancel": dump(batch(upstream.url)),
        f"GET {BATCHES}/msgbatch_1/results": (JSONL, "application/x-jsonl", {})}
    with anthropic.Anthropic(base_url=gateway.url + "/anthropic", api_key=calls.KEY) as client:
        params = {"model": "claude-haiku-4-5", "max_tokens": 100,
                  "messages": [{"role": "user", "content": "x"}]}
        made = client.messages.batches.create(requests=[
            {"custom_id": str(n), "params": params} for n in range(2)])
        assert made.results_url is None
        ours = f"{gateway.url}/anthropic{BATCHES}/msgbatch_1/results"
        assert client.messages.batches.retrieve("msgbatch_1").results_url == ours
        assert client.messages.batches.cancel("msgbatch_1").results_url == ours
        for _ in range(2):
            lines = list(client.messages.batches.results("msgbatch_1"))
            assert [line.result.message.usage.output_tokens for line in lines] == [100, 100]
    assert all(calls.KEY not in value for _, headers in upstream.asked
               for value in headers.values())
    told = [r for r in gateway.records(7) if r["endpoint"] == "messages.batches.results"]
    # 1000 at 1 and 100 at 5 dollars a million, halved, twice; counted once
    assert sorted(Decimal(r["cost_usd"]) for r in told) == [0, Decimal("0.0015")]


def test_a_list_and_what_is_left_alone(shop, upstream):
    gateway = shop()
    plain = dump({"data": [batch(upstream.url, "msgbatch_1"), batch(upstream.url, "msgbatch_2"),
                           batch("https://elsewhere.example", "msgbatch_3"),
                           batch(upstream.url + ".evil.example", "msgbatch_4"),
                           batch(None, "msgbatch_5")],
                  "has_more": False, "first_id": upstream.url + "/stays", "last_id": "é\u2028"})
    upstream.answers = {"GET " + BATCHES: plain}
    expected = plain
    for name in ("msgbatch_1", "msgbatch_2"):
        path = f"{BATCHES}/{name}"
        expected = expected.replace(f'"{upstream.url}{path}'.encode(),
                                    f'"https://localhost/anthropic{path}'.encode())
    assert expected != plain
    answer = ask(gateway, "GET", "/anthropic" + BATCHES + "?limit=20")
    assert answer.body == expected
    assert upstream.asked[-1][1]["Accept-Encoding"] == "identity"
    packed = ask(gateway, "GET", "/anthropic" + BATCHES, Accept_Encoding="gzip, br")
    assert packed.body == answer.body and packed.header("content-encoding") is None
    # "https:\/\/" is the same; in chunks; compressed all the same
    escaped = plain.replace(b"/", b"\\/")
    upstream.answers["GET " + BATCHES] = (escaped, "application/json",
                                          {"Transfer-Encoding": "chunked"})
    seen = ask(gateway, "GET", "/anthropic" + BATCHES)
    assert json.loads(seen.body) == json.loads(answer.body)
    assert seen.body.count(b"\\/") < escaped.count(b"\\/")
    with http2.Connection(gateway) as connection:
        answer = connection.wait(connection.request(
            "GET", "/anthropic" + BATCHES, [("x-api-key", calls.KEY)], authority="gate.example:444"))
        assert json.loads(answer.body)["data"][1]["results_url"] == (
            f"https://gate.example:444/anthropic{BATCHES}/msgbatch_2/results")
    # neither HTTP/1.0 without a name, nor another endpoint, nor what is no JSON
    with gateway.connect() as connection:
        connection.send(
            f"GET /anthropic{BATCHES} HTTP/1.0\r\nx-api-key: {calls.KEY}\r\n\r\n".encode())
        assert connection.read("GET").body == escaped
    upstream.answers["GET /v1/models"] = plain
    assert ask(gateway, "GET", "/anthropic/v1/models").body == plain
    for body in (plain[:300], b"\x00" + plain, plain[5:], b"[" * 2000 + plain, b" "):
        upstream.answers["GET " + BATCHES] = body
        got = ask(gateway, "GET", "/anthropic" + BATCHES).body
        assert got.replace(b"https://localhost/anthropic", upstream.url.encode()) == body


def test_off_and_below_a_path(shop, upstream):
    gateway = shop(rewrite_urls=False)
    plain = dump(batch(upstream.url))
    upstream.answers = {f"GET {BATCHES}/msgbatch_1": plain}
    packed = ask(gateway, "GET", f"/anthropic{BATCHES}/msgbatch_1", Accept_Encoding="gzip")
    assert packed.header("content-encoding") == "gzip"
    assert ask(gateway, "GET", f"/anthropic{BATCHES}/msgbatch_1").body == plain
    gateway.stop()
    gateway = shop("/base")
    upstream.answers = {f"GET /base{BATCHES}/msgbatch_1": dump(batch(upstream.url + "/base")),
                        f"GET /base{BATCHES}/msgbatch_2": dump(batch(upstream.url))}
    seen = json.loads(ask(gateway, "GET", f"/anthropic{BATCHES}/msgbatch_1").body)
    assert seen["results_url"].endswith(f"/anthropic{BATCHES}/msgbatch_1/results")
    assert upstream.url not in seen["results_url"]
    other = json.loads(ask(gateway, "GET", f"/anthropic{BATCHES}/msgbatch_2").body)
    assert other["results_url"].startswith(upstream.url)


def test_predictions(shop, upstream):
    gateway = shop()
    urls = {"get": upstream.url + "/v1/predictions/p1", "web": "https://replicate.com/p/p1",
            "cancel": upstream.url + "/v1/predictions/p1/cancel",
            "stream": "https://stream.replicate.com/v1/files/x"}
    made = {"id": "p1", "status": "starting", "input": {"get": urls["get"]}, "urls": urls}
    upstream.answers = {"POST /v1/models/a/b/predictions": dump(made),
                        "GET /v1/predictions/p1": dump(dict(made, status="succeeded")),
                        "GET /v1/predictions": dump({"next": upstream.url + "/v1/predictions?c=1",
                                                     "previous": None, "results": [made]})}
    answer = ask(gateway, "POST", "/replicate/models/a/b/predictions",
                 {"input": {"prompt": "x"}})
    seen = json.loads(answer.body)
    assert seen["urls"]["get"].endswith("/replicate/predictions/p1")
    assert upstream.url not in json.dumps(seen["urls"])
    assert seen["input"] == made["input"] and seen["urls"]["stream"] == urls["stream"]
    assert record_of(gateway, answer)["endpoint"] == "predictions"
    page = json.loads(ask(gateway, "GET", "/replicate/predictions").body)
    assert page["next"].endswith("/replicate/predictions?c=1")
    assert page["results"][0]["urls"] == seen["urls"]
