"""The official SDKs on WebSockets: base URL and key changed, nothing else."""

import asyncio
import signal
import ssl
from decimal import Decimal

import pytest

from kit import calls, views
from kit.procs import Provider, wait_for

openai = pytest.importorskip("openai")
websockets = pytest.importorskip("websockets")
exceptions = pytest.importorskip("websockets.exceptions")

REALTIME = "gpt-realtime"
LIMIT_2 = [{"name": "two", "unit": "requests", "limit": 2, "window": "day"}]


@pytest.fixture(autouse=True)
def trust(certs, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)


def client(gateway, made=openai.OpenAI, **options):
    return made(base_url=gateway.url + "/openai/v1", api_key=calls.KEY, **options)


def plainly(certs):
    """For the SDK's clients that are not async: they read in a thread and write in another, and Python's ssl has
    no lock between: a ticket of TLS 1.3, which comes behind the handshake, may then swallow what is
    written just then, one time in hundreds.  TLS 1.2 sends nothing behind its handshake."""
    context = ssl.create_default_context(cafile=certs.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return {"websocket_connection_options": {"ssl": context}}


def message(words):
    return {"type": "message", "role": "user",
            "content": [{"type": "input_text", "text": calls.prompt(words)}]}


def until(connection, *kinds):
    for event in connection:
        if event.type in kinds:
            return event
    raise AssertionError(f"the connection ended before {kinds}")


def turns_of(gateway, n):
    """The calls' records, without the connection's, which costs nothing."""
    records = gateway.records(n + 1)
    connection, = [r for r in records if r["endpoint"].endswith(".connect")]
    assert connection["cost_usd"] == "0" and connection["outcome"] == "ok"
    return [r for r in records if r is not connection]


def check(gateway, provider, records, model, upstream="openai"):
    """Usage by the provider's own bill, cost by the book, the report by both."""
    for record in records:
        bill = views.bill_of(provider, record)
        views.check_usage(record, bill)
        views.check_cost(record, upstream, model, bill)
        assert record["usage_source"] == "provider" and record["stream"] is True
    seen = provider.requests()[0]
    assert seen.header("user-agent").removeprefix("Async").startswith("OpenAI/Python")
    assert calls.KEY.encode() not in seen.head
    spent = gateway.report("spend")["total"]
    assert Decimal(spent["cost_usd"]) == sum(Decimal(r["cost_usd"]) for r in records)


def test_realtime(gateway, provider):
    with client(gateway).realtime.connect(model=REALTIME, **plainly(gateway.certs)) as connection:
        assert until(connection, "session.created").session.model == REALTIME
        connection.session.update(session={"type": "realtime", "instructions": "be brief"})
        until(connection, "session.updated")
        for words in (5, 7):
            connection.conversation.item.create(item=message(words))
            connection.response.create()
            done = until(connection, "response.done")
            assert done.response.status == "completed" and done.response.usage.output_tokens == 16
    records = turns_of(gateway, 2)
    assert [r["endpoint"] for r in records] == ["realtime"] * 2
    check(gateway, provider, records, REALTIME)
    assert provider.requests()[0].header("authorization") == f"Bearer {Provider.SECRET}"


def test_realtime_async(gateway, provider):
    async def talk():
        made = client(gateway, openai.AsyncOpenAI)
        async with made.realtime.connect(model=REALTIME) as connection:
            await connection.conversation.item.create(item=message(6))
            await connection.response.create(response={"max_output_tokens": 8})
            text = ""
            async for event in connection:
                if event.type == "response.output_text.delta":
                    text += event.delta
                if event.type == "response.done":
                    return text, event.response.usage

    text, usage = asyncio.run(talk())
    record, = turns_of(gateway, 1)
    assert text and (usage.input_tokens, usage.output_tokens) == (
        record["usage"]["input_tokens"], record["usage"]["output_tokens"]) == (6, 8)
    check(gateway, provider, [record], REALTIME)


def test_realtime_sessions_at_once(gateway, provider):
    """Twelve at a time, each with its own conversation: no answer is another's."""
    async def talk(made, n):
        async with made.realtime.connect(model=REALTIME) as connection:
            await connection.conversation.item.create(item=message(n))
            await connection.response.create()
            async for event in connection:
                if event.type == "response.done":
                    return n, event.response.usage.input_tokens

    async def all_talk():
        made = client(gateway, openai.AsyncOpenAI)
        return await asyncio.gather(*(talk(made, n) for n in range(3, 15)))

    pairs = asyncio.run(all_talk())
    assert all(n == tokens for n, tokens in pairs)
    records = [r for r in gateway.records(24) if r["endpoint"] == "realtime"]
    assert sorted(r["usage"]["input_tokens"] for r in records) == list(range(3, 15))


def test_realtime_refusal_is_an_event(gateways, provider):
    """A budget that is used up is an error event of the protocol; the connection stays."""
    gateway = gateways(limits=LIMIT_2)
    with client(gateway).realtime.connect(model=REALTIME, **plainly(gateway.certs)) as connection:
        for _ in range(2):
            connection.response.create()
            until(connection, "response.done")
        connection.response.create(event_id="mine")
        event = until(connection, "error")
        assert event.error.code == "budget_exhausted" and event.error.event_id == "mine"
        connection.conversation.item.create(item=message(1))
        until(connection, "conversation.item.added")
    assert len(turns_of(gateway, 2)) == 2 and len(provider.billed()) == 2


def test_wrong_key(gateway, provider):
    made = openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key="tg_nobody", max_retries=0)
    with pytest.raises(exceptions.InvalidStatus) as refused:
        made.realtime.connect(model=REALTIME, **plainly(gateway.certs)).enter()
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["x-tollgate-denied"] == "invalid_key"
    assert provider.requests() == []


def test_responses(gateway, provider):
    with client(gateway).responses.connect(**plainly(gateway.certs)) as connection:
        for words, bound in ((9, 100), (4, 8)):
            connection.response.create(model="gpt-4o", input=calls.prompt(words),
                                       max_output_tokens=bound)
            event = until(connection, "response.completed", "response.incomplete")
            assert event.response.usage.input_tokens == words
    records = turns_of(gateway, 2)
    assert [r["outcome"] for r in records] == ["ok", "truncated"]
    assert {r["endpoint"] for r in records} == {"responses"}
    check(gateway, provider, records, "gpt-4o")


def test_responses_async_lanes(gateway, provider):
    async def talk():
        made = client(gateway, openai.AsyncOpenAI)
        async with made.responses.connect() as connection:
            for lane in ("a", "b", "c"):
                await connection.response.create(model="gpt-4o", input=calls.prompt(5),
                                                 stream_id=lane)
            lanes = set()
            async for event in connection:
                if event.type == "response.completed":
                    lanes.add(event.stream_id)
                    if len(lanes) == 3:
                        return lanes

    assert asyncio.run(talk()) == {"a", "b", "c"}
    check(gateway, provider, turns_of(gateway, 3), "gpt-4o")


def test_drain_is_a_close_that_the_sdk_understands(gateway, provider):
    """At the gateway's end the SDK's loop ends, in order, with 1001."""
    with client(gateway).realtime.connect(model=REALTIME, **plainly(gateway.certs)) as connection:
        until(connection, "session.created")
        connection.response.create()
        until(connection, "response.done")
        gateway.process.signal(signal.SIGTERM)
        assert list(connection) == []   # ConnectionClosedOK is its end of iteration
        assert connection._connection.close_code == 1001
    assert gateway.process.wait() == 0
    assert [r["outcome"] for r in gateway.export() if r["endpoint"] == "realtime"] == ["ok"]


def test_azure_realtime(gateways, provider):
    """A deployment's name, the key in api-key; priced and limited as what is deployed."""
    config = gateways.config()
    config["upstreams"].append({**config["upstreams"][0], "name": "azure",
                                "protocol": "azure-openai", "deployments": {"voice": REALTIME}})
    gateway = gateways(config)
    made = openai.AzureOpenAI(azure_endpoint=gateway.url + "/azure", api_key=calls.KEY,
                              api_version="2025-04-01-preview")
    with made.realtime.connect(model="voice", **plainly(gateway.certs)) as connection:
        connection.conversation.item.create(item=message(5))
        connection.response.create()
        until(connection, "response.done")
    record, = turns_of(gateway, 1)
    assert record["protocol"] == "azure-openai" and record["usage"]["input_tokens"] == 5
    assert record["cost_usd"] not in (None, "0")
    seen, = provider.requests()
    assert seen.header("api-key") == Provider.SECRET and seen.header("authorization") is None


def test_gemini_live(gateway, provider):
    genai = pytest.importorskip("google.genai")
    made = genai.Client(api_key=calls.KEY, http_options={"base_url": gateway.url + "/gemini"})

    async def talk():
        async with made.aio.live.connect(model="gemini-2.5-flash") as session:
            await session.send_client_content(
                turns={"role": "user", "parts": [{"text": calls.prompt(6)}]},
                turn_complete=True)
            counts = None
            async for answer in session.receive():
                if answer.usage_metadata:
                    counts = answer.usage_metadata
            return counts

    counts = asyncio.run(talk())
    record, = turns_of(gateway, 1)
    assert (counts.prompt_token_count, counts.response_token_count) == (
        record["usage"]["input_tokens"], record["usage"]["output_tokens"]) == (6, 16)
    assert record["model"] == "gemini-2.5-flash"
    seen = wait_for("the handshake", provider.requests)[0]
    assert seen.header("x-goog-api-key") == Provider.SECRET
