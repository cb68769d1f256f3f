"""The official OpenAI SDK through the gateway: base URL and key changed, nothing else."""

import pytest

from kit import calls, views
from kit.procs import Provider

openai = pytest.importorskip("openai")


@pytest.fixture
def client(gateway, certs, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    with openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key=calls.KEY) as made:
        yield made


MESSAGES = [{"role": "user", "content": calls.prompt(9)}]


def four_views(gateway, provider, model, endpoint, stream, words=9):
    """What must be true of the one call that was made; returns its record."""
    record, = gateway.records(1)
    bill = views.bill_of(provider, record)
    assert bill["input_tokens"] == words
    views.check_usage(record, bill)
    views.check_cost(record, "openai", model, bill)
    assert record["outcome"] == "ok" and record["status"] == 200
    assert record["usage_source"] == "provider"
    assert (record["upstream"], record["protocol"], record["key"]) == ("openai", "openai", "main")
    assert record["model_requested"] == model and record["stream"] == stream
    assert endpoint.replace("/", ".") in record["endpoint"].replace("/", ".")
    seen, = provider.requests()
    assert seen.header("authorization") == f"Bearer {Provider.SECRET}"
    assert seen.header("user-agent").startswith("OpenAI/Python")
    spent = gateway.report("spend")["total"]
    assert spent["cost_usd"] == record["cost_usd"]
    return record


def test_chat(client, gateway, provider):
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert answer.usage.prompt_tokens == 9 and answer.usage.completion_tokens == 16
    four_views(gateway, provider, "gpt-4o", "chat/completions", False)


def test_chat_headers(client, gateway, provider):
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES)
    record = four_views(gateway, provider, "gpt-4o", "chat/completions", False)
    assert raw.headers["x-tollgate-request-id"] == record["id"]
    assert raw.headers["x-tollgate-cost-usd"] == record["cost_usd"]
    assert raw.headers["x-tollgate-tokens"] == "in=9, out=16"
    assert raw.headers["x-request-id"] == record["provider_request_id"]


def test_chat_stream_without_usage(client, gateway, provider):
    text = ""
    for chunk in client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True):
        text += chunk.choices[0].delta.content or ""   # as careless as much app code is
        assert chunk.usage is None
    assert len(text.split(" ")) == 16
    four_views(gateway, provider, "gpt-4o", "chat/completions", True)
    assert provider.requests()[0].json()["stream_options"] == {"include_usage": True}


def test_chat_stream_with_usage(client, gateway, provider):
    last = None
    for chunk in client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True,
                                                stream_options={"include_usage": True}):
        last = chunk
    assert last.choices == [] and last.usage.total_tokens == 25
    four_views(gateway, provider, "gpt-4o", "chat/completions", True)


def test_responses(client, gateway, provider):
    answer = client.responses.create(model="gpt-4o", input=calls.prompt(9))
    assert answer.usage.input_tokens == 9 and answer.status == "completed"
    four_views(gateway, provider, "gpt-4o", "responses", False)


def test_responses_stream(client, gateway, provider):
    with client.responses.stream(model="gpt-4o", input=calls.prompt(9)) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().usage.output_tokens == 16
    four_views(gateway, provider, "gpt-4o", "responses", True)


def test_completions(client, gateway, provider):
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=calls.prompt(9))
    assert answer.usage.total_tokens == 25
    four_views(gateway, provider, "gpt-3.5-turbo-instruct", "completions", False)


def test_completions_stream(client, gateway, provider):
    for chunk in client.completions.create(model="gpt-3.5-turbo-instruct",
                                           prompt=calls.prompt(9), stream=True):
        assert chunk.choices
    four_views(gateway, provider, "gpt-3.5-turbo-instruct", "completions", True)


def test_embeddings(client, gateway, provider):
    answer = client.embeddings.create(model="text-embedding-3-small", input=calls.prompt(9))
    assert len(answer.data[0].embedding) == 8
    four_views(gateway, provider, "text-embedding-3-small", "embeddings", False)


def test_models_pass_and_cost_nothing(client, gateway, provider):
    assert [m.id for m in client.models.list()]
    for record in gateway.export():
        assert record["cost_usd"] in ("0", None) and not record.get("usage")


def test_any_compatible_server(gateway, certs, provider, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    with openai.OpenAI(base_url=gateway.url + "/local/v1", api_key=calls.KEY) as client:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    record, = gateway.records(1)
    assert record["upstream"] == "local" and record["usage"]["input_tokens"] == 9


def test_async_client(gateway, certs, provider, monkeypatch):
    import asyncio
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)

    async def many():
        async with openai.AsyncOpenAI(base_url=gateway.url + "/openai/v1",
                                      api_key=calls.KEY) as client:
            return await asyncio.gather(*[
                client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
                for _ in range(40)])
    answers = asyncio.run(many())
    assert len({answer.id for answer in answers}) == 40
    records = gateway.records(40)
    assert len({r["id"] for r in records}) == 40 == provider.totals()["billed"]


def attempts(provider):
    return len(provider.requests())


@pytest.mark.parametrize("status,error", [
    (400, "BadRequestError"), (401, "AuthenticationError"), (403, "PermissionDeniedError"),
    (404, "NotFoundError"), (422, "UnprocessableEntityError")])
def test_provider_errors_pass(client, gateway, provider, status, error):
    with pytest.raises(getattr(openai, error)) as caught:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES,
                                       extra_headers={"X-Sim-Status": str(status)})
    assert caught.value.status_code == status and caught.value.request_id
    record, = gateway.records(1)
    assert record["outcome"] == "provider_error" and record["status"] == status
    assert record["cost_usd"] in ("0", None)
    assert attempts(provider) == 1


@pytest.mark.parametrize("status,error", [(429, "RateLimitError"), (500, "InternalServerError")])
def test_retries_are_attempts_of_their_own(client, gateway, provider, status, error):
    with pytest.raises(getattr(openai, error)):
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_headers={
            "X-Sim-Status": str(status), "X-Sim-Header": "retry-after-ms: 1"})
    assert attempts(provider) == 3
    records = gateway.records(3)
    first = min(r["attempt"] for r in records)
    assert sorted(r["attempt"] - first for r in records) == [0, 1, 2]


def test_wrong_key(gateway, certs, provider, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    with openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key="tg_wrong") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.models.list()
    assert caught.value.code == "invalid_api_key" or caught.value.code == "invalid_key"
    assert attempts(provider) == 0 and gateway.export() == []


BROKE = [{"name": "broke", "unit": "usd", "limit": "0.00", "window": "total"}]


def test_budget_402_is_tried_once(gateways, certs, provider, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    gateway = gateways(limits=BROKE)
    with openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key=calls.KEY) as client:
        for stream in (False, True):
            with pytest.raises(openai.APIStatusError) as caught:
                client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=stream)
            error = caught.value
            assert error.status_code == 402
            assert error.response.headers["x-should-retry"] == "false"
            assert "retry-after" not in error.response.headers
            assert error.response.headers["x-tollgate-denied"] == "budget_exhausted"
            assert "broke" in str(error)
    assert attempts(provider) == 0 and gateway.export() == []
    text = gateway.admin("/metrics").body.decode()
    denied = [line for line in text.splitlines() if "_refused_" in line and "budget_" in line]
    assert denied and denied[0].split(" ")[-1] == "2"   # one attempt each


def test_cut_stream_raises(client, gateway, provider):
    stream = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True,
                                            extra_headers={"X-Sim-Cut-After-Events": "6"})
    with pytest.raises(openai.APIError):
        for _ in stream:
            pass
    record, = gateway.records(1)
    assert record["outcome"] == "upstream_abort"
    assert record["usage_source"] in ("partial", "estimated")
    assert record["usage"]["output_tokens"] > 0 and record["cost_usd"] not in (None, "0")


def test_stream_left_by_the_client(client, gateway, provider):
    stream = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True,
                                            extra_headers={"X-Sim-Event-Delay-Ms": "100"})
    next(iter(stream))
    stream.close()
    record, = gateway.records(1)
    assert record["outcome"] == "client_abort"
    assert record["usage_source"] in ("partial", "estimated", "provider")
    assert record["cost_usd"] not in (None, "0")
