"""The official Anthropic SDK through the gateway."""

import warnings

import pytest

from kit import calls, views
from kit.procs import Provider

anthropic = pytest.importorskip("anthropic")
MODEL = "claude-sonnet-4-5"
MESSAGES = [{"role": "user", "content": calls.prompt(9)}]
ASK = {"model": MODEL, "max_tokens": 64, "messages": MESSAGES}


@pytest.fixture(autouse=True)
def certificates(certs, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    warnings.simplefilter("ignore", DeprecationWarning)


@pytest.fixture
def client(gateway):
    with anthropic.Anthropic(base_url=gateway.url + "/anthropic", api_key=calls.KEY) as made:
        yield made


def four_views(gateway, provider, stream, words=9, count=1):
    record = gateway.records(count)[-1]
    bill = views.bill_of(provider, record)
    assert bill["input_tokens"] == words
    views.check_usage(record, bill)
    views.check_cost(record, "anthropic", MODEL, bill)
    assert record["outcome"] == "ok" and record["usage_source"] == "provider"
    assert record["protocol"] == "anthropic" and record["stream"] == stream
    seen = provider.requests()[-1]
    credentials = [seen.header("x-api-key"), seen.header("authorization")]
    assert Provider.SECRET in credentials or f"Bearer {Provider.SECRET}" in credentials
    assert seen.header("anthropic-version")
    return record


def test_message(client, gateway, provider):
    answer = client.messages.create(**ASK)
    assert answer.usage.input_tokens == 9 and answer.stop_reason == "end_turn"
    record = four_views(gateway, provider, False)
    assert answer._request_id == record["provider_request_id"]


def test_message_stream(client, gateway, provider):
    with client.messages.stream(**ASK) as stream:
        final = stream.get_final_message()
    assert final.usage.output_tokens == 16
    four_views(gateway, provider, True)


def test_old_header(gateway, provider):
    """x-api-key, as older SDKs and curl send it."""
    answer = calls.send(gateway, calls.messages(words=9))
    assert answer.status == 200
    four_views(gateway, provider, False)


def test_auth_token(gateway, provider):
    with anthropic.Anthropic(base_url=gateway.url + "/anthropic",
                             auth_token=calls.KEY) as client:
        client.messages.create(**ASK)
    four_views(gateway, provider, False)


@pytest.mark.parametrize("stream", [False, True])
def test_cache_writes_and_reads(client, gateway, provider, stream):
    ask = dict(ASK, system=[
        {"type": "text", "text": "one two three four",
         "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "five six", "cache_control": {"type": "ephemeral"}}])

    def send():
        if not stream:
            return client.messages.create(**ask)
        with client.messages.stream(**ask) as running:
            return running.get_final_message()
    first = send()
    assert first.usage.cache_creation.ephemeral_1h_input_tokens == 4
    record = four_views(gateway, provider, stream, words=15)
    assert record["usage"]["cache_write_1h_tokens"] == 4
    assert record["usage"]["cache_write_5m_tokens"] == 2
    assert send().usage.cache_read_input_tokens == 6
    record = four_views(gateway, provider, stream, words=15, count=2)
    assert record["usage"]["cache_read_tokens"] == 6


def test_count_tokens_is_free(client, gateway, provider):
    counted = client.messages.count_tokens(model=MODEL, messages=MESSAGES)
    assert counted.input_tokens == 9
    assert gateway.report("spend")["total"]["cost_usd"] in ("0", None)


@pytest.mark.parametrize("status,error", [
    (400, "BadRequestError"), (401, "AuthenticationError"), (403, "PermissionDeniedError"),
    (404, "NotFoundError")])
def test_provider_errors_pass(client, gateway, provider, status, error):
    with pytest.raises(getattr(anthropic, error)) as caught:
        client.messages.create(**ASK, extra_headers={"X-Sim-Status": str(status)})
    assert caught.value.status_code == status
    record, = gateway.records(1)
    assert record["outcome"] == "provider_error" and record["status"] == status


def test_budget_402_is_tried_once(gateways, provider):
    gateway = gateways(limits=[{"name": "broke", "unit": "usd", "limit": "0.00",
                                "window": "total"}])
    with anthropic.Anthropic(base_url=gateway.url + "/anthropic", api_key=calls.KEY) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(**ASK)
    assert caught.value.status_code == 402
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "billing_error"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in caught.value.response.headers
    assert len(provider.requests()) == 0


def test_wrong_key(gateway, provider):
    with anthropic.Anthropic(base_url=gateway.url + "/anthropic", api_key="tg_no") as client:
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.create(**ASK)
    assert len(provider.requests()) == 0


def test_cut_stream_raises(client, gateway, provider):
    with pytest.raises(anthropic.APIError):
        with client.messages.stream(**ASK, extra_headers={
                "X-Sim-Cut-After-Events": "8"}) as stream:
            stream.get_final_message()
    record, = gateway.records(1)
    assert record["outcome"] == "upstream_abort" and record["usage_source"] == "partial"
    assert record["usage"]["input_tokens"] == 9
    assert record["usage"]["output_tokens"] >= 4   # not the placeholder of message_start


def test_error_event_in_stream(client, gateway, provider):
    with pytest.raises(anthropic.APIStatusError):
        with client.messages.stream(**ASK, extra_headers={
                "X-Sim-Stream-Error": "6"}) as stream:
            stream.get_final_message()
    record, = gateway.records(1)
    assert record["outcome"] == "provider_error"
