"""Event streams both ways at once over HTTP/2: Bedrock's InvokeModelWithBidirectionalStream."""

import json
import os
import subprocess
import time
from decimal import Decimal

import pytest

from kit import calls, clouds, config as config_module, procs
from kit.procs import Provider, wait_for

h2 = pytest.importorskip("h2")
import h2.exceptions  # noqa: E402
from kit import duplex, events, http2  # noqa: E402

STARTED = events.said("completionStart", sessionId="s-1", completionId="c-1")
ENDED = events.said("completionEnd", stopReason="END_TURN")


def echo(call):
    """Answers each event as it comes, then tells what the session took."""
    call.answer()
    call.say(STARTED)
    n = 0
    while (heard := call.hear()) is not None:
        n += 1
        call.say({"event": {"textOutput": {"content": "heard", "of": heard["event"]}}})
    call.say(events.usage((10, 20 * n), (3, 40 * n)), ENDED)
    call.end()


@pytest.fixture
def sonics(certs):
    made = []

    def make(plays, **more):
        made.append(duplex.Sonic(certs, plays, **more))
        return made[-1]
    yield make
    for sonic in made:
        sonic.stop()


@pytest.fixture
def gateway_of(gateways, certs):
    """A gateway whose upstream "sonic" is that provider."""
    def make(sonic, upstream=(), **changes):
        entry = {"name": "sonic", "protocol": "bedrock", "base_url": sonic.url,
                 "api_key": Provider.SECRET, "ca_file": certs.ca, **dict(upstream)}
        if "aws" in entry:
            del entry["api_key"]
        config = clouds.with_upstreams(gateways.config(), entry)
        return gateways(config_module.merge(config, changes))
    return make


def check_cost(record, text_in, speech_in, text_out, speech_out):
    """By the book's four rates of the model."""
    rates = (("0.06", text_in), ("3.4", speech_in), ("0.24", text_out), ("13.6", speech_out))
    assert Decimal(record["cost_usd"]) == \
        sum(Decimal(rate) * n for rate, n in rates) / 1000000, record


def test_both_ways_at_once(gateway_of, sonics):
    """Each event is answered before the next one is said; the record has the session's sums."""
    sonic = sonics(echo)
    gateway = gateway_of(sonic)
    with duplex.Session(gateway) as session:
        session.say(events.said("sessionStart"))
        assert session.head() == 200
        assert session.hear() == STARTED
        assert session.hear()["event"]["textOutput"]["of"] == events.said("sessionStart")["event"]
        for n in range(5):
            session.say(events.said("audioInput", content="A" * 1000, n=n))
            assert session.hear()["event"]["textOutput"]["of"]["audioInput"]["n"] == n
        session.end()
        assert session.rest()[-1] == ENDED
        assert session.got.ended and session.got.header("content-type") == duplex.EVENTS
        request_id = session.got.header("x-tollgate-request-id")
    record, = gateway.records(1)
    assert record["id"] == request_id and record["outcome"] == "ok"
    assert record["usage_source"] == "provider" and record["stream"] is True
    assert record["endpoint"] == "invoke-with-bidirectional-stream"
    assert record["model_requested"] == duplex.MODEL
    assert record["provider_request_id"] == "amzn-sim-duplex"
    usage = record["usage"]
    assert (usage["input_tokens"], usage["input_audio_tokens"]) == (130, 120)
    assert (usage["output_tokens"], usage["output_audio_tokens"]) == (243, 240)
    check_cost(record, 10, 120, 3, 240)
    call, = sonic.calls
    assert sonic.agreed == ["h2"]
    assert call.header(":path") == duplex.PATH.format("amazon.nova-sonic-v1%3A0")
    assert call.header("authorization") == f"Bearer {Provider.SECRET}"
    assert call.header("content-type") == duplex.EVENTS
    assert record["bytes_in"] == call.bytes
    assert not any(calls.KEY in value for _, value in call.headers)


def test_large_answers(gateway_of, sonics):
    """Windows are opened as the client reads, and every byte arrives."""
    said = [events.said("audioOutput", content=f"{n:04}" * 16384) for n in range(40)]

    def plays(call):
        call.answer()
        call.say(*said)
        call.end()
    gateway = gateway_of(sonics(plays))
    with duplex.Session(gateway) as session:
        session.end()
        assert session.rest() == said
        size = len(session.got.body)
    record, = gateway.records(1)
    assert size > 3 << 20 and record["bytes_out"] == size
    assert record["usage_source"] == "none" and record["cost_usd"] is None


def test_only_http2(gateway_of, sonics):
    sonic = sonics(echo)
    gateway = gateway_of(sonic)
    answer = gateway.request("POST", "/sonic" + duplex.PATH.format(duplex.MODEL),
                             [("Authorization", f"Bearer {calls.KEY}"),
                              ("Content-Type", duplex.EVENTS)], b"")
    assert answer.status == 403 and "HTTP/2 alone" in answer.json()["message"]
    assert answer.header("x-tollgate-denied") == "endpoint_not_allowed"
    assert not sonic.calls


SIGNING = (("content-type", duplex.EVENTS), ("x-amz-content-sha256", events.SIGNED),
           ("x-amz-date", "20260101T000000Z"))
ASKED = [events.said("sessionStart"), events.said("audioInput", content="B" * 5000),
         events.said("sessionEnd")]


def listen(call):
    """Takes all, then answers."""
    call.heard = []
    while (got := call.take()) is not None:
        call.heard.append(got)
    call.answer()
    call.say(STARTED, events.usage((1, 2), (3, 4)), ENDED)
    call.end()


def say_signed(session, *said, last=True):
    """As SDKs do: each message in an envelope, an empty one behind them."""
    chain = events.Chain("anything", "eu-west-1", "bedrock", "0" * 64)
    for n, event in enumerate(said):
        session.send(chain.sign(events.chunk(event), 1767225600000 + n))
    if last:
        session.send(chain.sign(b"", 1767225610000))
    session.end()


def sign_in():
    """The head of a client that signs with a virtual key as its id."""
    return [("authorization", f"AWS4-HMAC-SHA256 Credential={calls.KEY}/20260101/eu-west-1/"
             "bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + "0" * 64),
            *SIGNING]


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("upstream", ["bearer", "signed", "temporary"])
def test_signatures(gateway_of, sonics, upstream, signs):
    """Whatever the client does, AWS gets a chain of signatures by our credentials that it can
    check, its last link empty; and who takes a key gets bare messages."""
    sonic = sonics(listen)
    aws = {} if upstream == "bearer" else {
        "aws": clouds.aws("FwoGZXIvYXdzEXAMPLE//token==" if upstream == "temporary" else None)}
    gateway = gateway_of(sonic, aws)
    with duplex.Session(gateway, headers=sign_in() if signs else None) as session:
        if signs:
            say_signed(session, *ASKED)
        else:
            session.say(*ASKED)
            session.end()
        assert session.head() == 200
        assert session.rest()[-1] == ENDED
    record, = gateway.records(1)
    assert record["outcome"] == "ok" and record["usage"]["input_tokens"] == 3
    call, = sonic.calls
    assert not any(calls.KEY in value for _, value in call.headers)
    if upstream == "bearer":
        assert [raw for _, _, raw in call.heard] == [events.chunk(e) for e in ASKED]
        assert call.header("authorization") == f"Bearer {Provider.SECRET}"
        assert call.header("x-amz-content-sha256") is None
        return
    assert call.header("x-amz-content-sha256") == events.SIGNED
    assert (call.header("x-amz-security-token") is not None) == (upstream == "temporary")
    want, have = events.head_signature(call.headers, Provider.AWS[1])
    assert have == want
    chain = events.Chain(Provider.AWS[1], Provider.AWS[2], "bedrock", have)
    assert all(chain.opens(fields, payload) for fields, payload, _ in call.heard)
    assert [payload for _, payload, _ in call.heard] == [events.chunk(e) for e in ASKED] + [b""]


def test_a_head_of_as_many_lines_as_may_be(gateway_of, sonics):
    """128, the Host and the framing among them: what is added on the way up has room beside."""
    sonic = sonics(listen)
    gateway = gateway_of(sonic, {"aws": clouds.aws("FwoGZXIvYXdzEXAMPLE//token==")})
    fields = [("authorization", f"Bearer {calls.KEY}"), ("content-type", duplex.EVENTS)]
    fields += [(f"x-more-{i}", "v") for i in range(128 - 2 - len(fields))]
    with duplex.Session(gateway, headers=fields) as session:
        session.say(*ASKED)
        session.end()
        assert session.head() == 200 and session.rest()[-1] == ENDED
    with duplex.Session(gateway, headers=[*fields, ("x-one-more", "v")]) as session:
        assert session.head() == 431
    call, = sonic.calls
    assert all(call.header(name) == "v" for name, value in fields if value == "v")


MODULES = os.path.join(procs.ROOT, "build", "aws-js", "node_modules")


def speak(gateway, certs, upstream="sonic", said=ASKED, **more):
    """What AWS's SDK for JavaScript hears."""
    given = {"modules": MODULES, "endpoint": f"{gateway.url}/{upstream}", "key": calls.KEY,
             "model": duplex.MODEL, "events": said, **more}
    done = subprocess.run(
        ["node", os.path.join(procs.ROOT, "tests", "integration", "kit", "sonic.mjs"),
         json.dumps(given)], capture_output=True, text=True, timeout=60,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": certs.ca})
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not os.path.isdir(MODULES), reason="no AWS SDK for JavaScript: make aws-js")
@pytest.mark.parametrize("bearer", [False, True])
@pytest.mark.parametrize("aws", [False, True])
def test_aws_sdk(gateway_of, sonics, certs, aws, bearer):
    """Its events, however it shows its key, arrive one by one, and so do their answers."""
    sonic = sonics(echo)
    gateway = gateway_of(sonic, {"aws": clouds.aws()} if aws else {})
    heard = speak(gateway, certs, bearer=bearer)
    assert all("event" in e for e in heard), heard
    assert [e["event"]["textOutput"]["of"] for e in heard if "textOutput" in e["event"]] == \
        [e["event"] for e in ASKED]
    assert heard[0] == STARTED and heard[-1] == ENDED
    record, = gateway.records(1)
    assert record["outcome"] == "ok" and record["usage_source"] == "provider"
    check_cost(record, 10, 60, 3, 120)


def talker(step, steps, pause=0.0, ends=True):
    """Tells every so often that the session took another `step` tokens a side."""
    def plays(call):
        call.answer()
        call.say(STARTED)
        then = ((0, 0), (0, 0))
        for n in range(1, steps + 1):
            now = ((n, step * n - n), (2 * n, step * n - 2 * n))
            call.say(events.usage(*now, since=then))
            call.told = now
            then = now
            time.sleep(pause)
        if ends:
            call.say(ENDED)
            call.end()
    return plays


def limit(name="small", **more):
    return {"name": name, "match": {}, "mode": "enforce", "unit": "usd", "window": "month",
            "limit": "1", **more}


@pytest.fixture(params=["memory", "redis"])
def engine(request):
    return request.getfixturevalue("redis") if request.param == "redis" else None


def row_of(gateway):
    def given_back():
        row, = gateway.admin("/api/v1/reports/budgets").json()["rows"]
        return row if not Decimal(row["reserved_usd"]) else None
    return wait_for("what was reserved to go back", given_back, 5, 0.1)


@pytest.mark.parametrize("on_exhausted", ["finish", "cut"])
def test_a_budget_ends_a_session(gateway_of, gateways, certs, sonics, engine, on_exhausted):
    """What is reserved grows with what the session took; where a budget has no more, it is cut,
    whatever that limit says of answers: this one only the client would end."""
    sonic = sonics(talker(1000, 1000, pause=0.002, ends=False))
    gateway = gateway_of(sonic, limits=[limit(on_exhausted=on_exhausted)], workers=1,
                         **({"counters": gateways.config(engine)["counters"]}))
    with duplex.Session(gateway) as session:
        session.say(*ASKED)
        assert session.head() == 200
        said = session.rest()
        assert session.got.ended
    name, text = said[-1]
    assert name == "serviceQuotaExceededException" and '"small"' in text and "cut" in text
    record, = gateway.records(1)
    assert record["outcome"] == "cut" and record["usage_source"] == "partial"
    told = [e["event"]["usageEvent"] for e in said[:-1] if "usageEvent" in e["event"]]
    assert record["usage"]["input_tokens"] == told[-1]["totalInputTokens"]
    cost = Decimal(record["cost_usd"])
    # All that fitted was used: steps double, so that is more than half of it.
    assert Decimal("0.4") < cost <= 1
    assert Decimal(row_of(gateway)["spent_usd"]) == cost
    wait_for("the provider's end", lambda: sonic.open == 0, 5)


def test_a_rate_cap_lets_a_session_end(gateway_of, sonics):
    """As it would let an answer: whoever comes next has no room."""
    sonic = sonics(talker(3000, 20))
    gateway = gateway_of(sonic, limits=[limit(unit="tokens", window="60s", limit=20000)],
                         workers=1)
    for status in (200, 429):
        with duplex.Session(gateway) as session:
            session.end()
            assert session.head() == status
            session.connection.wait(session.stream)
    first, = gateway.records(1)
    assert first["outcome"] == "ok" and first["usage"]["output_tokens"] == 60000
    assert len(sonic.calls) == 1


@pytest.mark.parametrize("small", [{"limit": "0.01"},
                                   {"unit": "input_tokens", "limit": 4000},
                                   {"unit": "output_tokens", "limit": 4000}])
def test_no_room_at_all(gateway_of, sonics, small):
    """Refused by its head, before AWS hears of it, while the client still speaks: as much input
    is reserved as output."""
    sonic = sonics(echo)
    gateway = gateway_of(sonic, limits=[limit(**small)])
    with duplex.Session(gateway) as session:
        session.say(*ASKED)
        assert session.head() == 400   # as AWS says that a quota is used up
        answer = session.connection.wait(session.stream)
        assert answer.header("x-tollgate-denied") == "budget_exhausted"
    assert not sonic.calls and gateway.records(0) == []


@pytest.mark.parametrize("how, outcome", [("reset", "upstream_abort"), ("gone", "upstream_abort"),
                                          ("exception", "provider_error"),
                                          ("broken", "upstream_abort"), ("quiet", "ok")])
def test_ends(gateway_of, sonics, how, outcome):
    """What was told before the end counts, however that comes; the client is told of it."""
    def plays(call):
        call.answer()
        call.say(STARTED, events.usage((5, 100), (7, 200)))
        call.take()
        if how == "reset":
            call.give_back()
        elif how == "gone":
            call.sock.close()
        elif how == "exception":
            call.fail("modelStreamErrorException", "no more")
        elif how == "broken":
            call.send(events.chunk(ENDED)[:-1] + b"\0")
            call.give_back()
        else:
            call.end()
    gateway = gateway_of(sonics(plays))
    with duplex.Session(gateway) as session:
        session.say(ASKED[0])
        try:
            said = session.rest()
        except events.Broken:
            said = None
            session.connection.wait(session.stream)   # or it is the client that left first
    record, = gateway.records(1)
    assert record["outcome"] == outcome, record
    assert record["usage_source"] == ("provider" if how == "quiet" else "partial")
    check_cost(record, 5, 100, 7, 200)
    if how == "quiet":
        assert session.got.ended and "usageEvent" in said[-1]["event"]
    elif said:
        name = "modelStreamErrorException" if how == "exception" else "serviceUnavailableException"
        assert said[-1][0] == name


def test_the_client_leaves(gateway_of, sonics):
    """The provider is told at once, and what it had said counts."""
    sonic = sonics(talker(1000, 3, ends=False))
    gateway = gateway_of(sonic)
    with duplex.Session(gateway) as session:
        session.say(ASKED[0])
        for _ in range(4):
            session.hear()
    record, = gateway.records(1)
    assert record["outcome"] == "client_abort" and record["usage_source"] == "partial"
    assert record["usage"]["input_tokens"] == 3000
    wait_for("the provider's end", lambda: sonic.open == 0, 5)


# ---- who does not keep to the rules ----

def refused(session):
    """The exception that ends an answer, or the error in its place."""
    if session.head() != 200:
        answer = session.connection.wait(session.stream)
        return json.loads(answer.body)["message"]
    return session.rest()[-1][1]


def waits(call):
    call.answer()
    call.say(STARTED, events.usage((1, 1), (1, 1)))
    while call.take() is not None:
        pass


BAD = {
    "text": b"this is no message of an event stream",
    "checksum": events.chunk(ASKED[0])[:-1] + b"\0",
    "two in one": events.Chain("s", "r", "s", "").sign(events.chunk(ASKED[0]) * 2, 0),
    "broken off": None,
}


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("what", BAD)
def test_a_client_that_sends_no_messages(gateway_of, sonics, what, early):
    """Nothing of what is no message goes on; what went before counts."""
    sonic = sonics((lambda call: [call.step() for _ in range(9)]) if early else waits)
    gateway = gateway_of(sonic)
    with duplex.Session(gateway) as session:
        session.say(ASKED[0])
        if not early:
            assert session.hear() == STARTED
            assert "usageEvent" in session.hear()["event"]
        if BAD[what] is None:
            session.send(events.chunk(ASKED[1])[:-4])
            session.end()
        else:
            session.send(BAD[what])
        assert "event messages" in refused(session)
    record, = gateway.records(1)
    assert record["outcome"] == "client_abort"
    if not early:
        assert record["usage"]["input_tokens"] == 2 and record["usage_source"] == "partial"
    wait_for("the provider's end", lambda: sonic.open == 0, 5)
    for call in sonic.calls:    # there is none where all of it came before the connection
        assert all(raw == events.chunk(ASKED[0]) for _, _, raw in call.inbox)
        assert not call.buffer


def test_a_message_that_is_too_large(gateway_of, sonics):
    """Up to the bound they pass, whatever their number."""
    sonic = sonics(listen)
    gateway = gateway_of(sonic)
    most = (2 << 20) - 16
    with duplex.Session(gateway) as session:
        for _ in range(3):
            session.send(events.message([], b"x" * most))
        session.end()
        assert session.head() == 200
        session.rest()
    assert [len(payload) for _, payload, _ in sonic.calls[0].heard] == [most] * 3
    with duplex.Session(gateway) as session:
        data = events.message([], b"x" * (most + 1))
        try:
            session.send(data)
        except (h2.exceptions.H2Error, OSError):
            pass    # it is reset while it sends
        assert "larger than" in refused(session)


def memory(gateway):
    """Resident bytes."""
    with open(f"/proc/{gateway.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("side", ["client", "provider"])
def test_who_does_not_read_holds_the_other(gateway_of, sonics, side):
    """Windows hold from end to end: no more is taken from one side than the other takes."""
    large = events.message([], b"x" * 60000)

    def plays(call):
        call.reads = side != "provider"
        call.answer()
        call.put = 0
        if side == "provider":
            while not call.all_in:
                call.step(1)
            return
        while True:
            call.send(large)
            call.put += len(large)
    sonic = sonics(plays)
    gateway = gateway_of(sonic, workers=1)
    with duplex.Session(gateway, acknowledge=side != "client") as session:
        assert session.head() == 200
        before, sent = memory(gateway), 0
        until = time.monotonic() + 3
        while time.monotonic() < until:
            room = session.connection.h2.local_flow_control_window(session.stream)
            if side == "provider" and room >= len(large):
                session.send(large)
                sent += len(large)
            else:
                try:
                    session.connection.step(0.2)
                except (TimeoutError, OSError):
                    pass
        held = sent if side == "provider" else sonic.calls[0].put
        assert 100000 < held < 2 << 20, held
        assert memory(gateway) - before < 16 << 20
    wait_for("the provider's end", lambda: sonic.open == 0, 10)
    record, = gateway.records(1)
    assert record["outcome"] == "client_abort"


def settings_of(name):
    """What a provider sends instead of an answer."""
    def plays(call):
        sock = call.sock
        if name == "no HTTP/2":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        elif name == "a frame for nobody":
            sock.sendall(bytes([0, 0, 4, 1, 4, 0, 0, 0, 9]) + b"abcd")
        elif name == "fields without end":
            call.h2.send_headers(call.stream, [(":status", "200")] + [
                (f"x-{n}", "y" * 8000) for n in range(12)])
            call.flush()
        elif name == "data before a head":
            sock.sendall(bytes([0, 0, 1, 0, 0, 0, 0, 0, call.stream]) + b"x")
        elif name == "pings without end":
            for _ in range(200):
                sock.sendall(bytes([0, 0, 8, 6, 0, 0, 0, 0, 0, *range(8)]) * 100)
        elif name == "frames that nobody knows, without end":
            for _ in range(200):
                sock.sendall(bytes([0, 0, 2, 0xfa, 0, 0, 0, 0, 0, 1, 2]) * 100)
        elif name == "heads that are no last ones":
            for _ in range(100):
                call.h2.send_headers(call.stream, [(":status", "103")])
            call.flush()
        elif name == "GOAWAY":
            sock.sendall(bytes([0, 0, 8, 7, 0, 0, 0, 0, 0]) + bytes(8))
        call.step(3)
    return plays


@pytest.mark.parametrize("what", [
    "no HTTP/2", "a frame for nobody", "fields without end", "data before a head",
    "pings without end", "frames that nobody knows, without end", "heads that are no last ones", "GOAWAY"])
def test_a_provider_that_breaks_the_rules(gateway_of, sonics, what):
    sonic = sonics(settings_of(what))
    gateway = gateway_of(sonic)
    with duplex.Session(gateway) as session:
        session.say(ASKED[0])
        assert session.head() == 502
    record, = gateway.records(1)
    assert record["outcome"] == "upstream_abort", record
    wait_for("the provider's end", lambda: sonic.open == 0, 5)


def test_a_provider_without_http2(gateway_of, sonics):
    """Refused before anything is sent."""
    sonic = sonics(echo, alpn="http/1.1")
    gateway = gateway_of(sonic)
    with duplex.Session(gateway) as session:
        assert session.head() == 502
        assert "agree on HTTP/2" in refused(session)
    record, = gateway.records(1)
    assert record["outcome"] == "upstream_abort" and record["cost_usd"] == "0"
    assert not sonic.calls


@pytest.mark.parametrize("head", [False, True])
def test_a_provider_that_says_nothing(gateway_of, sonics, head):
    """Whoever goes on speaking waits no longer for the first word; behind it, for the next."""
    def plays(call):
        if head:
            call.answer()
            call.say(STARTED)
        while True:
            call.take()
    gateway = gateway_of(sonics(plays), {"first_byte_timeout_ms": 1000,
                                         "idle_timeout_ms": 1000})
    with duplex.Session(gateway) as session:
        if head:
            assert session.hear() == STARTED
            name, _ = session.rest()[-1]
            assert name == "modelTimeoutException"
        else:
            until = time.monotonic() + 8
            while session.got.status is None and time.monotonic() < until:
                session.say(ASKED[0])
                try:
                    session.connection.step(0.2)
                except (TimeoutError, OSError):
                    pass
            assert session.head() == 504 and time.monotonic() < until
    record, = gateway.records(1)
    assert record["outcome"] == "timeout"


def test_the_process_ends(gateway_of, sonics):
    """A session that outlives the time to end is cut, and recorded."""
    sonic = sonics(talker(3, 100000, pause=0.05, ends=False))
    gateway = gateway_of(sonic, drain_seconds=1)
    with duplex.Session(gateway) as session:
        assert session.hear() == STARTED
        assert "usageEvent" in session.hear()["event"]
        gateway.process.signal(15)
        name, _ = session.rest()[-1]
        assert name == "serviceUnavailableException"
    assert gateway.process.wait() == 0
    record, = gateway.records(1)
    assert record["outcome"] == "interrupted" and record["usage_source"] == "partial"


def test_models_of_a_key(gateway_of, gateways, sonics):
    sonic = sonics(echo)
    key = {"name": "main", "secret": calls.KEY, "tags": {"team": "search"}}
    gateway = gateway_of(sonic, keys=[{**key, "models": ["amazon.nova-lite-*"]}])
    with duplex.Session(gateway) as session:
        assert session.head() == 403
    assert not sonic.calls


def test_many_at_once(gateway_of, sonics):
    """Each has a connection of its own to the provider, which ends with it; what the pool may
    have at most, they have together."""
    sonic = sonics(echo)
    gateway = gateway_of(sonic, {"max_connections": 4}, workers=1)
    connection = http2.Connection(gateway)
    sessions = [duplex.Session(gateway) for _ in range(12)]
    for session in sessions:
        session.say(*ASKED)
        session.end()
    for session in sessions:
        assert session.head() == 200 and session.rest()[-1] == ENDED
        session.connection.close()
    connection.close()
    assert all(r["outcome"] == "ok" for r in gateway.records(12))
    assert len(sonic.calls) == 12
    wait_for("all connections to end", lambda: sonic.open == 0, 5)


@pytest.mark.parametrize("how", ["same", "disabled", "upstream", "expired"])
def test_a_key_that_is_taken_away(gateway_of, sonics, how):
    """A reload leaves a session alone, unless it takes its key away; so does a key's last day."""
    sonic = sonics(talker(3, 100000, pause=0.02, ends=False))
    key = {"name": "main", "secret": calls.KEY, "tags": {"team": "search"}}
    if how == "expired":
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
        gateway = gateway_of(sonic, keys=[{**key, "expires": soon}])
    else:
        gateway = gateway_of(sonic, keys=[key])
    with duplex.Session(gateway) as session:
        assert session.hear() == STARTED
        assert "usageEvent" in session.hear()["event"]
        if how != "expired":
            gateway.config["keys"] = [{**key, **{
                "same": {}, "disabled": {"enabled": False},
                "upstream": {"upstreams": ["openai"]}}[how]}]
            gateway.write()
            gateway.reload()
        if how == "same":
            wait_for("the reload", lambda: "configuration in force" in gateway.log(), 10)
            for _ in range(50):
                assert "usageEvent" in session.hear()["event"]
        else:
            name, text = session.rest()[-1]
            assert "key" in text, name
    record, = gateway.records(1)
    assert record["outcome"] == ("client_abort" if how == "same" else "cut")
    assert record["usage_source"] == "partial"
