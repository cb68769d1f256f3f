"""The official Google GenAI SDK through the gateway."""

import pytest

from kit import calls, views
from kit.procs import Provider

genai = pytest.importorskip("google.genai")
MODEL = "gemini-2.5-flash"


@pytest.fixture
def client(gateway, certs, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    return connect(gateway)


def connect(gateway, key=calls.KEY):
    return genai.Client(api_key=key, http_options=genai.types.HttpOptions(
        base_url=gateway.url + "/gemini"))


def four_views(gateway, provider, stream, model=MODEL):
    record, = gateway.records(1)
    bill = views.bill_of(provider, record)
    assert bill["input_tokens"] == 9
    views.check_usage(record, bill)
    views.check_cost(record, "gemini", model, bill)
    assert record["outcome"] == "ok" and record["usage_source"] == "provider"
    assert record["protocol"] == "gemini" and record["stream"] == stream
    assert record["model_requested"] == model
    seen, = provider.requests()
    assert seen.header("x-goog-api-key") == Provider.SECRET
    return record


def test_generate(client, gateway, provider):
    answer = client.models.generate_content(model=MODEL, contents=calls.prompt(9))
    assert answer.usage_metadata.prompt_token_count == 9
    four_views(gateway, provider, False)


def test_generate_stream(client, gateway, provider):
    text = "".join(chunk.text for chunk in client.models.generate_content_stream(
        model=MODEL, contents=calls.prompt(9)))
    assert len(text.split(" ")) == 16
    four_views(gateway, provider, True)


def test_array_stream(gateway, provider):
    answer = calls.send(gateway, calls.generate(words=9, stream="array"))
    assert len(answer.json()) == 16
    four_views(gateway, provider, True)


def test_key_in_the_query(gateway, provider):
    call = calls.generate(words=9)
    path = call.full_path() + f"?key={calls.KEY}"
    headers = [("Content-Type", "application/json")]
    answer = gateway.request("POST", path, headers, call.data())
    assert answer.status == 200
    four_views(gateway, provider, False)
    assert calls.KEY not in provider.requests()[0].target


def test_thoughts_are_output(client, gateway, provider):
    answer = client.models.generate_content(model=MODEL, contents=calls.prompt(9), config={
        "http_options": {"headers": {"X-Sim-Reasoning-Tokens": "7"}}})
    assert answer.usage_metadata.thoughts_token_count == 7
    record = four_views(gateway, provider, False)
    assert record["usage"]["reasoning_tokens"] == 7 and record["usage"]["output_tokens"] == 23


def test_embed(client, gateway, provider):
    client.models.embed_content(model="gemini-embedding-001", contents=calls.prompt(9))
    record, = gateway.records(1)
    assert record["usage"]["input_tokens"] == 9


def test_count_tokens_is_free(client, gateway, provider):
    assert client.models.count_tokens(model=MODEL,
                                      contents=calls.prompt(9)).total_tokens == 9
    assert gateway.report("spend")["total"]["cost_usd"] in ("0", None)


@pytest.mark.parametrize("status,kind", [(400, "ClientError"), (503, "ServerError")])
def test_provider_errors_pass(client, gateway, provider, status, kind):
    with pytest.raises(getattr(genai.errors, kind)) as caught:
        client.models.generate_content(model=MODEL, contents="x", config={
            "http_options": {"headers": {"X-Sim-Status": str(status)}}})
    assert caught.value.code == status
    record, = gateway.records(1)
    assert record["outcome"] == "provider_error" and record["status"] == status


def test_budget_402_is_tried_once(gateways, certs, provider, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    gateway = gateways(limits=[{"name": "broke", "unit": "usd", "limit": "0.00",
                                "window": "total"}])
    with pytest.raises(genai.errors.ClientError) as caught:
        client = connect(gateway)
        client.models.generate_content(model=MODEL, contents="x")
    assert caught.value.code == 402 and caught.value.status == "RESOURCE_EXHAUSTED"
    assert len(provider.requests()) == 0


def test_a_rate_cap_says_when_to_try_again(gateways, certs, provider, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    gateway = gateways(limits=[{"name": "slow", "unit": "requests", "window": "60s", "limit": 1}])
    client = connect(gateway)
    client.models.generate_content(model=MODEL, contents="x")
    with pytest.raises(genai.errors.ClientError) as caught:
        client.models.generate_content(model=MODEL, contents="x")
    assert caught.value.code == 429
    info, = [each for each in caught.value.details["error"]["details"]
             if each["@type"] == "type.googleapis.com/google.rpc.RetryInfo"]
    assert info["retryDelay"].endswith("s") and 0 < float(info["retryDelay"][:-1]) <= 60
    headers = caught.value.response.headers
    assert float(info["retryDelay"][:-1]) == int(headers["retry-after-ms"]) / 1000


def test_wrong_key(gateway, certs, provider, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    with pytest.raises(genai.errors.ClientError) as caught:
        client = connect(gateway, "tg_no")
        client.models.generate_content(model=MODEL, contents="x")
    assert caught.value.code == 401 and len(provider.requests()) == 0


def test_cut_stream_raises(client, gateway, provider):
    with pytest.raises(Exception):
        for _ in client.models.generate_content_stream(model=MODEL, contents="x", config={
                "http_options": {"headers": {"X-Sim-Cut-After-Events": "3"}}}):
            pass
    record, = gateway.records(1)
    assert record["outcome"] == "upstream_abort"


def test_error_in_stream(client, gateway, provider):
    with pytest.raises(genai.errors.APIError):
        for _ in client.models.generate_content_stream(model=MODEL, contents="x", config={
                "http_options": {"headers": {"X-Sim-Stream-Error": "3"}}}):
            pass
    record, = gateway.records(1)
    assert record["outcome"] == "provider_error"
