"""WebSockets: relayed frame by frame, metered answer by answer, limited before each."""

import json
import signal
import struct
import time
from decimal import Decimal

import pytest

from kit import calls, views
from kit.config import with_upstream
from kit.procs import Provider, wait_for
from kit.websocket import BINARY, CLOSE, PING, PONG, TEXT, Closed, connect, frame

CREATE = {"type": "response.create"}
RESPONSES = "/openai/v1/responses"
MODEL = "gpt-realtime"
SOCKET_TURNS_MAX = 64


def item(words):
    return {"type": "conversation.item.create",
            "item": {"type": "message", "role": "user",
                     "content": [{"type": "input_text", "text": calls.prompt(words)}]}}


def sound(n=1):
    return {"type": "input_audio_buffer.append", "audio": "A" * 6400 * n}


def create(words=9, **more):
    return {"type": "response.create", "model": "gpt-4o", "input": calls.prompt(words), **more}


def metric(gateway, name):
    text = gateway.admin("/metrics", token=False).body.decode()
    value, = [line.split()[1] for line in text.splitlines() if line.startswith(name + " ")]
    return int(value)


def budget(gateway, name, tags=()):
    """What is spent of a limit, and reserved, once nothing is."""
    def settled():
        connection = gateway.request("GET", "/_tollgate/budget",
                                     [("Authorization", f"Bearer {calls.KEY}"), *tags])
        row, = [r for r in connection.json()["budgets"] if r["budget"] == name]
        held, = [v for k, v in row.items() if k.startswith("reserved_")]
        spent, = [v for k, v in row.items() if k.startswith("spent_")]
        return (Decimal(spent),) if Decimal(held) == 0 else None
    return wait_for(f"{name} settled", settled, 10, 0.1)[0]


def split(gateway, n):
    """The records of the calls, oldest first, and that of the connection."""
    records = sorted(gateway.records(n), key=lambda r: r["start"])
    turns = [r for r in records if not r["endpoint"].endswith(".connect")]
    connection, = [r for r in records if r["endpoint"].endswith(".connect")]
    assert connection["cost_usd"] == "0" and connection["usage_source"] == "none"
    assert connection.get("status", 101) == 101   # not known of one that was interrupted
    return turns, connection


def check(gateway, provider, turns, connection, model=MODEL):
    """Each turn is the provider's bill, priced by the book; and so are the counters."""
    for record in turns:
        bill = views.bill_of(provider, record)
        views.check_usage(record, bill)
        views.check_cost(record, "openai", model, bill)
        assert record["usage_source"] == "provider" and record["outcome"] == "ok"
        assert (record["key"], record["team"]) == ("main", "search")
    ids = [r["id"] for r in [*turns, connection]]
    assert len(set(ids)) == len(ids)
    total = gateway.report("spend")["total"]["cost_usd"]
    assert Decimal(total) == sum(Decimal(r["cost_usd"]) for r in turns)
    totals = provider.totals()
    assert totals["leaks"] == 0 and totals["malformed"] == 0


def test_realtime_turns(gateway, provider):
    with connect(gateway, sim={"Reasoning-Tokens": "0"}) as socket:
        assert socket.status == 101 and socket.header("x-request-id") == "req_ws"
        assert socket.event()["type"] == "session.created"
        for words in (9, 3, 4):
            socket.send(item(words))
            socket.send(CREATE)
            assert socket.event("response.done")["response"]["status"] == "completed"
        assert socket.close() == 1000
        identity = socket.id
    turns, connection = split(gateway, 4)
    assert connection["id"] == identity and connection["outcome"] == "ok"
    assert [r["usage"]["input_tokens"] for r in turns] == [9, 28, 48]
    assert {r["endpoint"] for r in turns} == {"realtime"}
    check(gateway, provider, turns, connection)
    seen, = provider.requests()
    assert seen.header("authorization") == f"Bearer {Provider.SECRET}"
    assert seen.header("sec-websocket-extensions") is None
    messages = [json.loads(line) for line in seen.body.splitlines()[:-1]]
    assert messages == [m for words in (9, 3, 4) for m in (item(words), CREATE)]
    assert metric(gateway, "tollgate_websockets_total") == 1
    assert metric(gateway, "tollgate_websockets_open") == 0
    # What passed is what the provider sent, byte for byte.
    sent = seen.sent.split(b"\r\n\r\n", 1)[1]
    assert sent == b"".join(frame(op, p, final, None) for final, op, p in socket.frames)


def test_responses_lanes(gateway, provider):
    """Several at once, on lanes; each is its own record."""
    with connect(gateway, RESPONSES) as socket:
        for lane in ("a", "b", "a"):
            socket.send(create(5, stream_id=lane, max_output_tokens=8))
        for _ in range(3):
            assert socket.event("response.incomplete")["stream_id"] in "ab"
        assert socket.close() == 1000
    turns, connection = split(gateway, 4)
    assert {r["endpoint"] for r in turns} == {"responses"}
    assert connection["endpoint"] == "responses.connect"
    assert [r["outcome"] for r in turns] == ["truncated"] * 3
    for record in turns:
        bill = views.bill_of(provider, record)
        assert (bill["input_tokens"], bill["output_tokens"]) == (5, 8)
        views.check_cost(record, "openai", "gpt-4o", bill)


def test_budget_refuses_and_connection_stays(gateways, provider):
    gateway = gateways(limits=[{"name": "small", "unit": "requests", "limit": 2,
                                "window": "day"}])
    with connect(gateway, RESPONSES) as socket:
        for _ in range(2):
            socket.send(create())
            socket.event("response.completed")
        socket.send(create(event_id="mine", stream_id="x"))
        error = socket.event()
        assert error["type"] == "error" and error["status"] == 402
        assert error["stream_id"] == "x"
        assert error["error"]["code"] == "budget_exhausted"
        assert error["error"]["type"] == "insufficient_quota"
        assert error["error"]["event_id"] == "mine" and "small" in error["error"]["message"]
        socket.raw(frame(PING, b"still there"))
        while not socket.control:
            socket.read_frame()
            if socket.frames[-1][1] == PONG:
                socket.control.append(socket.frames[-1])
        assert socket.close() == 1000
    turns, _ = split(gateway, 3)
    assert len(turns) == 2 and provider.totals()["requests"] == 1
    assert len(provider.billed()) == 2
    seen, = provider.requests()
    assert seen.body.count(b"response.create") == 2
    assert budget(gateway, "small") == 2


def test_spend_is_hard_and_settled(gateways, provider):
    """What a call may take at the most is reserved before it goes, and given back."""
    limit = [{"name": "usd", "unit": "usd", "limit": "0.02", "window": "day"}]
    gateway = gateways(limits=limit)
    with connect(gateway, RESPONSES) as socket:
        socket.send(create(max_output_tokens=3000))
        assert socket.event("error")["error"]["code"] == "budget_exhausted"
        socket.send(create(max_output_tokens=16))
        socket.event("response.completed", "response.incomplete")
        socket.close()
    (record,), _ = split(gateway, 2)
    assert 0 <= budget(gateway, "usd") - Decimal(record["cost_usd"]) < Decimal("1e-9")


def test_models_of_a_key(gateways, provider):
    keys = [{"name": "main", "secret": calls.KEY, "models": ["gpt-4o", MODEL]}]
    gateway = gateways(keys=keys)
    with connect(gateway, "/openai/v1/realtime?model=gpt-audio") as socket:
        assert socket.status == 403 and socket.header("x-tollgate-denied") == "model_not_allowed"
    with connect(gateway, RESPONSES) as socket:
        socket.send(create(model="gpt-5"))
        assert socket.event("error")["error"]["code"] == "model_not_allowed"
        socket.send(create())
        socket.event("response.completed")
    with connect(gateway) as socket:
        socket.send({"type": "session.update", "session": {
            "audio": {"input": {"transcription": {"model": "whisper-1"}}}}})
        assert socket.event("error")["error"]["code"] == "model_not_allowed"
    assert b"whisper" not in b"".join(r.body for r in provider.requests())


def test_server_vad_and_transcripts(gateway, provider):
    """Answers that the server begins by itself are counted, and what it writes down too."""
    with connect(gateway, sim={"Vad-Every": "3"}) as socket:
        socket.send({"type": "session.update", "session": {"type": "realtime", "audio": {
            "input": {"transcription": {"model": "gpt-4o-transcribe"}}}}})
        socket.event("session.updated")
        for _ in range(2):
            for _ in range(3):
                socket.send(sound())
            socket.event("response.done")
            socket.event("conversation.item.input_audio_transcription.completed")
        assert socket.close() == 1000
    turns, _ = split(gateway, 5)
    heard = [r for r in turns if r["endpoint"] == "realtime.transcription"]
    answers = [r for r in turns if r["endpoint"] == "realtime"]
    assert len(heard) == 2 and len(answers) == 2
    for record in heard:
        assert record["model"] == "gpt-4o-transcribe" and record["usage_source"] == "provider"
        assert record["usage"]["input_tokens"] == record["usage"]["input_audio_tokens"] == 26
        assert Decimal(record["cost_usd"]) > 0
    for record in answers:
        views.check_usage(record, views.bill_of(provider, record))
    assert len(provider.billed()) == 4


def test_sound_needs_room(gateways, provider):
    """Sound is let up only where the answer that it may begin has room; silence afterwards."""
    gateway = gateways(limits=[{"name": "two", "unit": "requests", "limit": 2,
                                "window": "day"}])
    with connect(gateway, sim={"Vad-Every": "1"}) as socket:
        for _ in range(2):
            socket.send(sound())
            socket.event("response.done")
        for _ in range(5):
            socket.send(sound())
        assert socket.event("error")["error"]["code"] == "budget_exhausted"
        socket.close()
    seen, = provider.requests()
    assert seen.body.count(b"input_audio_buffer.append") == 2
    turns, _ = split(gateway, 3)
    assert len(turns) == 2
    assert budget(gateway, "two") == 2


@pytest.mark.parametrize("how", ["client", "client-close", "provider", "provider-close"])
def test_broken_off(gateways, provider, how):
    """Whoever leaves in the middle: the record is an estimate, never nothing."""
    gateway = gateways(limits=[{"name": "day", "unit": "tokens", "limit": 1000000,
                                "window": "day"}])
    sim = {"Output-Tokens": "400", "Event-Delay-Ms": "5"}
    if how == "provider":
        sim["Cut-After-Events"] = "20"
    if how == "provider-close":
        sim["Close-After-Events"] = "20"
    with connect(gateway, RESPONSES, sim=sim) as socket:
        socket.send(create(30))
        for _ in range(10):
            socket.event()
        if how == "client":
            socket.connection.reset()
        elif how == "client-close":
            socket.close()
        else:
            with pytest.raises(Closed) as closed:
                while True:
                    socket.event()
            assert closed.value.code == (1014 if how == "provider" else 1011)
    (record,), connection = split(gateway, 2)
    abort = "client_abort" if how.startswith("client") else "upstream_abort"
    assert record["outcome"] == abort and record["usage_source"] == "estimated"
    assert record["usage"]["input_tokens"] > 0 and 0 < record["usage"]["output_tokens"] < 400
    assert Decimal(record["cost_usd"]) > 0
    assert budget(gateway, "day") == (record["usage"]["input_tokens"] +
                                              record["usage"]["output_tokens"])


def test_errors_of_the_provider_cost_nothing(gateway, provider):
    with connect(gateway, sim={"Fail": "1"}) as socket:
        socket.send(dict(CREATE, event_id="mine"))
        assert socket.event("error")["error"]["code"] == "slow_down"
        socket.close()
    (record,), _ = split(gateway, 2)
    assert record["outcome"] == "provider_error" and record["status"] == 429
    assert record["cost_usd"] == "0"


def test_killed_and_started_again(gateways, provider):
    """A call that a killed gateway left is recorded at its worst case, once."""
    gateway = gateways(workers=1)
    assert gateway.request("GET", "/_tollgate/health").status   # its storage is used again
    with connect(gateway, RESPONSES, sim={"Hang": "1"}) as socket:
        socket.send(create(30, max_output_tokens=50))
        wait_for("the call upstream", lambda: provider.requests() and
                 b"response.create" in provider.requests()[0].body)
        gateway.kill()
        gateway.start()
    turns, connection = split(gateway, 2)
    assert [r["outcome"] for r in [*turns, connection]] == ["interrupted"] * 2
    assert turns[0]["usage"]["output_tokens"] == 50 and Decimal(turns[0]["cost_usd"]) > 0


def test_going_away(gateways, provider):
    """At the end, what rests is closed at once; what runs is finished; then all is settled."""
    gateway = gateways(workers=1)
    rests = connect(gateway)
    rests.event()
    runs = connect(gateway, RESPONSES, sim={"Event-Delay-Ms": "40"})
    runs.send(create())
    runs.event("response.created")
    gateway.process.signal(signal.SIGTERM)
    with pytest.raises(Closed) as closed:
        while True:
            rests.event()
    assert closed.value.code == 1001
    runs.event("response.completed")
    with pytest.raises(Closed) as closed:
        runs.event()
    assert closed.value.code == 1001
    assert gateway.process.wait() == 0
    record, = [r for r in gateway.export() if r["endpoint"] == "responses"]
    assert record["outcome"] == "ok"


# ---- handshake ------------------------------------------------------------------------------------

def test_browser_key(gateway, provider):
    """Browsers send their key as a subprotocol; it stays here, and the others travel."""
    offered = f"realtime, openai-insecure-api-key.{calls.KEY}, openai-beta.realtime-v1"
    with connect(gateway, key=None, headers=[("Sec-WebSocket-Protocol", offered)]) as socket:
        assert socket.status == 101 and socket.header("sec-websocket-protocol") == "realtime"
        socket.close()
    seen, = provider.requests()
    assert seen.header("sec-websocket-protocol") == "realtime, openai-beta.realtime-v1"
    assert seen.header("authorization") == f"Bearer {Provider.SECRET}"
    with connect(gateway, key=None, headers=[
            ("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.tg_wrong")]) as socket:
        assert socket.status == 401


def test_no_extension(gateway, provider):
    with connect(gateway, headers=[("Sec-WebSocket-Extensions",
                                    "permessage-deflate; client_max_window_bits")]) as socket:
        assert socket.status == 101 and socket.header("sec-websocket-extensions") is None
        socket.close()
    assert provider.requests()[0].header("sec-websocket-extensions") is None


def test_upstream_shakes_hands_badly(gateway, provider):
    for sim in ({"Bad-Accept": "1"}, {"Extension": "1"}, {"Subprotocol": "other"}):
        with connect(gateway, sim=sim) as socket:
            assert socket.status == 502, sim
            assert socket.header("x-tollgate-denied") == "upstream_unreachable"
    for record in gateway.records(3):
        assert record["outcome"] == "upstream_abort" and record["cost_usd"] == "0"


BAD_HANDSHAKES = [
    {"version": "12"}, {"nonce": "short"}, {"nonce": "!" * 24},
    {"headers": [("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEA==")]},
    {"headers": [("Sec-WebSocket-Protocol", "a, , b")]},
]


def test_client_shakes_hands_badly(gateway, provider):
    for options in BAD_HANDSHAKES:
        with connect(gateway, **options) as socket:
            assert socket.status == 400, options
            assert socket.header("x-tollgate-denied") == "bad_request"
    assert provider.requests() == []


def test_upstream_refuses(gateway, provider):
    with connect(gateway, sim={"Status": "429"}) as socket:
        assert socket.status == 429 and json.loads(socket.answer)["error"]
    record, = gateway.records(1)
    assert record["status"] == 429 and record["cost_usd"] == "0"


def test_nothing_else_is_upgraded(gateway, provider):
    for path in ("/openai/v1/live/sessions", "/openai/v1/realtime/calls",
                 "/anthropic/v1/realtime", "/gemini/ws/x.BidiGenerateMusic"):
        with connect(gateway, path) as socket:
            assert socket.status in (200, 401, 403, 404), path
            assert socket.header("upgrade") is None
    for seen in provider.requests():
        assert seen.header("upgrade") is None and seen.header("sec-websocket-key") is None


def test_without_upgrade(gateway, provider):
    with gateway.connect() as connection:
        connection.send(f"GET {RESPONSES} HTTP/1.1\r\nHost: x\r\n"
                        f"Authorization: Bearer {calls.KEY}\r\n\r\n".encode())
        answer = connection.read()
    assert answer.status == 403 and answer.header("x-tollgate-denied") == "endpoint_not_allowed"
    assert "WebSocket" in answer.json()["error"]["message"]


# ---- frames ---------------------------------------------------------------------------------------

BAD_FRAMES = {
    "unmasked": frame(TEXT, "{}", mask=None), "reserved bit": frame(TEXT, "{}", reserved=0x40),
    "opcode": frame(3, "{}"), "long ping": frame(PING, b"x" * 126),
    "ping in pieces": frame(PING, b"x", final=False), "rest of nothing": frame(0, "{}"),
    "text in text": frame(TEXT, "{", final=False) + frame(TEXT, "}"),
    "long length": bytes([0x81, 0xfe, 0, 2, 1, 2, 3, 4, 0, 0]),
    "half a code": frame(CLOSE, b"\x03"), "code 1005": frame(CLOSE, b"\x03\xed"),
    "huge": bytes([0x81, 0xff]) + struct.pack(">Q", 1 << 63) + b"mask",
}


BAD_TEXT = {
    "a byte": b'{"type":"session.update","x":"\xff"}', "overlong": b'{"type":"session.update","x":"\xc0\xaf"}',
    "surrogate": b'{"type":"session.update","x":"\xed\xa0\x80"}', "cut short": b'{"type":"session.update","x":"\xc3"}',
    "beyond": b'{"type":"session.update","x":"\xf4\x90\x80\x80"}', "in a name": b'{"ty\xffpe":"response.create"}',
}


def test_6455_8_1_text_that_is_no_utf_8(gateway, provider):
    """The connection fails with 1007, and nothing of it goes up; cut between two frames it may be whole."""
    for name, text in BAD_TEXT.items():
        for data in (frame(TEXT, text), frame(TEXT, text[:30], final=False) + frame(0, text[30:])):
            with connect(gateway) as socket:
                socket.event()
                socket.raw(data)
                with pytest.raises(Closed) as closed:
                    while True:
                        socket.event()
                assert closed.value.code == 1007, name
    with connect(gateway) as socket:
        socket.event()
        text = json.dumps({**item(2), "event_id": "\u00e9\u4e16\U0001f600" * 9}, ensure_ascii=False).encode()
        cut = text.index(b"\xc3") + 1
        socket.raw(frame(TEXT, text[:cut], final=False) + frame(0, text[cut:]))
        socket.event("conversation.item.added")
    passed = b"".join(seen.body for seen in provider.requests()).splitlines()
    assert [line for line in passed if line != b"close"] == [text]
    assert metric(gateway, "tollgate_websocket_faults_total") == 2 * len(BAD_TEXT)


def test_client_breaks_rules(gateway, provider):
    for name, bad in BAD_FRAMES.items():
        for every in (None, 1):
            with connect(gateway) as socket:
                socket.event()
                socket.raw(bad, every)
                with pytest.raises(Closed) as closed:
                    while True:
                        socket.event()
                assert closed.value.code == 1002, name
    assert provider.totals()["malformed"] == 0
    assert metric(gateway, "tollgate_websocket_faults_total") == 2 * len(BAD_FRAMES)


def test_upstream_breaks_rules(gateway, provider):
    raws = ["8182000000007b7d", "c1027b7d", "83027b7d", "80027b7d", "89fe0000", "8801ff",
            "887e0002"]
    for raw in raws:
        with connect(gateway, sim={"Raw-Frames": raw}) as socket:
            with pytest.raises(Closed) as closed:
                while True:
                    socket.event()
            assert closed.value.code == 1014, raw
    for record in gateway.records(len(raws)):
        assert record["outcome"] == "upstream_abort"


FLOODS = {
    "pings": frame(PING, b""), "pings with a payload": frame(PING, b"x" * 125), "pongs": frame(PONG, b""),
    "empty messages' pieces": frame(0, b"", final=False),
}


@pytest.mark.parametrize("name", FLOODS)
def test_client_floods(gateway, provider, name):
    """RFC 6455 5.4, 5.5: nothing bounds empty pieces and control frames; IDLE_FRAMES_MAX of them within a minute do."""
    with connect(gateway) as socket:
        socket.event()
        if "pieces" in name:
            socket.raw(frame(TEXT, b"", final=False))
        with pytest.raises(Closed) as closed:
            try:
                for _ in range(30):
                    socket.raw(FLOODS[name] * 1000)
            except OSError:
                pass
            while True:
                socket.event()
        assert closed.value.code in (1008, None)   # a reset may overtake the word
    wait_for("counted", lambda: metric(gateway, 'tollgate_abuse_total{kind="websocket_frames"}') == 1)
    record, = gateway.records(1)
    assert record["outcome"] == "client_abort"
    wait_for("its end", lambda: metric(gateway, "tollgate_websockets_open") == 0)


def test_upstream_floods(gateway, provider):
    with connect(gateway, sim={"Raw-Frames": "8900" * 10001}) as socket:
        with pytest.raises(Closed) as closed:
            while True:
                socket.event()
        assert closed.value.code == 1014
    assert metric(gateway, 'tollgate_abuse_total{kind="websocket_frames"}') == 1
    record, = gateway.records(1)
    assert record["outcome"] == "upstream_abort"


def test_pings_between_work_are_no_flood(gateway, provider):
    """A message in pieces of a byte, each behind a ping; and pings now and then."""
    text = json.dumps({**item(2), "event_id": "e" * 12000})
    with connect(gateway) as socket:
        socket.event()
        pieces = [frame(TEXT if i == 0 else 0, text[i], final=i == len(text) - 1) for i in range(len(text))]
        socket.raw(b"".join(frame(PONG, b"") + piece for piece in pieces))
        assert socket.event()["type"] == "conversation.item.added"
        assert socket.close() == 1000
    assert len(pieces) > 10000
    assert metric(gateway, 'tollgate_abuse_total{kind="websocket_frames"}') == 0


def test_message_bound(gateways, provider):
    gateway = gateways(bounds={"body_bytes": 5000})
    for size, good in ((5000, True), (5001, False)):
        text = json.dumps(item(2))
        text += " " * (size - len(text))
        for pieces in (1, 3):
            with connect(gateway) as socket:
                socket.event()
                step = -(-size // pieces)
                for at in range(0, size, step):
                    socket.raw(frame(TEXT if at == 0 else 0, text[at:at + step],
                                     final=at + step >= size))
                if good:
                    assert socket.event()["type"] == "conversation.item.added"
                    socket.close()
                    continue
                with pytest.raises(Closed) as closed:
                    socket.event()
                assert closed.value.code == 1009


STRANGE = [
    "{", "[]", "\"x\"", "{}", '{"type":1}', '{"type":"response.create","type":"x"}',
    '{"Type":"response.create","type":"session.update"}', '{"type":"a"} {"type":"b"}',
    '{"type":"response.create","response":{},"response":{}}',
]


def test_strange_messages_do_not_pass(gateway, provider):
    with connect(gateway) as socket:
        socket.event()
        for text in STRANGE:
            socket.raw(frame(TEXT, text.encode("latin-1")))
            assert socket.event("error")["error"]["code"] == "bad_request", text
        socket.send(item(1))
        socket.event("conversation.item.added")
    seen, = provider.requests()
    assert seen.body.splitlines()[0] == json.dumps(item(1)).encode()


def test_spelled_otherwise(gateway, provider):
    """Escapes, order, frames in pieces, a ping between them: it is the same message."""
    text = '{"event_id":"e", "\\u0074ype":"response\\u002ecreate"}'
    with connect(gateway) as socket:
        socket.raw(frame(TEXT, text[:9], final=False) + frame(PING, b"p") +
                   frame(0, text[9:20], final=False) + frame(0, text[20:]), 1)
        socket.event("response.done")
        assert socket.control == [(PONG, b"p")]
        socket.close()
    turns, _ = split(gateway, 2)
    assert len(turns) == 1
    assert provider.requests()[0].body.splitlines()[0] == text.encode()


def test_frames_of_the_server_stay_as_they_are(gateway, provider):
    sim = {"Frame-Bytes": "7", "Ping-Between": "1", "Binary": "1"}
    with connect(gateway, RESPONSES, sim=sim) as socket:
        socket.send(create())
        socket.event("response.completed")
        socket.close()
    turns, connection = split(gateway, 2)
    assert turns[0]["usage_source"] == "provider"
    seen, = provider.requests()
    sent = seen.sent.split(b"\r\n\r\n", 1)[1]
    assert sent == b"".join(frame(op, p, final, None) for final, op, p in socket.frames)
    assert {op for _, op, _ in socket.frames} >= {0, BINARY, PING}


def test_large_messages(gateway, provider):
    """Megabytes each way, and a client that reads late."""
    with connect(gateway, RESPONSES, sim={"Pad-Bytes": str(1 << 18)}) as socket:
        words = "word " * 400000
        socket.send({"type": "response.create", "model": "gpt-4o", "input": words})
        time.sleep(0.3)
        socket.event("response.completed")
        socket.close()
    (record,), _ = split(gateway, 2)
    assert record["usage"]["input_tokens"] == 400000
    assert record["bytes_out"] > 16 << 18


def test_idle(gateways, provider):
    gateway = gateways(bounds={"websocket_idle_ms": 1000})
    with connect(gateway) as socket:
        socket.event()
        with pytest.raises(Closed) as closed:
            socket.event()
        assert closed.value.code == 1001
    record, = gateway.records(1)
    assert record["outcome"] == "ok"


def test_answer_that_does_not_come(gateways, provider):
    """A call has its own deadline; the connection outlives it."""
    config = with_upstream(gateways.config(), "openai", first_byte_timeout_ms=300)
    gateway = gateways(config)
    with connect(gateway, RESPONSES, sim={"Hang": "1"}) as socket:
        socket.send(create())
        assert socket.event("error")["error"]["code"] == "upstream_timeout"
        assert socket.close() == 1000
    (record,), _ = split(gateway, 2)
    assert record["outcome"] == "timeout" and record["usage_source"] == "estimated"


def test_turns_are_bounded(gateway, provider):
    """So many answers at once, and no more; the connection stays."""
    with connect(gateway, RESPONSES, sim={"Hang": "1"}) as socket:
        for n in range(SOCKET_TURNS_MAX):
            socket.send(create(2, event_id=str(n)))
        socket.send(create(2, event_id="last"))
        error = socket.event("error")["error"]
        assert error["code"] == "rate_limited" and error["event_id"] == "last"
        socket.raw(frame(PING, b"x"))
        with pytest.raises(Closed):
            socket.close()
            socket.read()
    turns, _ = split(gateway, SOCKET_TURNS_MAX + 1)
    assert {r["usage_source"] for r in turns} == {"estimated"}


def test_refusals_are_bounded(gateway, provider):
    """A client that only sends nonsense, and reads none of what it is told, is read no more."""
    with connect(gateway) as socket:
        socket.connection.sock.settimeout(3)
        bad = frame(TEXT, "{}") * 4096
        with pytest.raises((TimeoutError, OSError)):
            for _ in range(400):
                socket.raw(bad)


def test_many_calls(gateway, provider):
    """Each is its own record; nothing of it stays."""
    with connect(gateway, RESPONSES, sim={"Output-Tokens": "1"}) as socket:
        for _ in range(60):
            socket.send(create(2))
            socket.event("response.completed")
        assert socket.close() == 1000
    turns, connection = split(gateway, 61)
    check(gateway, provider, turns, connection, "gpt-4o")


def test_gemini_live(gateway, provider):
    path = ("/gemini/ws/google.ai.generativelanguage.v1beta.GenerativeService."
            "BidiGenerateContent")
    with connect(gateway, path + "?key=" + calls.KEY, key=None) as socket:
        socket.send({"setup": {"model": "models/gemini-2.5-flash"}})
        socket.event("setupComplete")
        for words in (6, 7):
            socket.raw(frame(BINARY, json.dumps({"clientContent": {
                "turns": [{"role": "user", "parts": [{"text": calls.prompt(words)}]}],
                "turnComplete": True}})))
            while "usageMetadata" not in socket.event("serverContent"):
                pass
        socket.close()
    turns, connection = split(gateway, 3)
    assert connection["endpoint"] == "live.connect"
    assert [(r["usage"]["input_tokens"], r["usage"]["output_tokens"]) for r in turns] == \
        [(6, 16), (29, 16)]
    assert {r["model"] for r in turns} == {"gemini-2.5-flash"}
    assert calls.KEY not in provider.requests()[0].head.decode()


def test_gemini_refusal_closes(gateways, provider):
    """Live has no event for it: the connection's end says why."""
    gateway = gateways(limits=[{"name": "none", "unit": "requests", "limit": 0,
                                "window": "day"}])
    path = "/gemini/ws/x.BidiGenerateContent"
    with connect(gateway, path) as socket:
        socket.send({"setup": {"model": "models/gemini-2.5-flash"}})
        socket.event("setupComplete")
        socket.send({"clientContent": {"turns": [], "turnComplete": True}})
        with pytest.raises(Closed) as closed:
            socket.event()
        assert (closed.value.code, closed.value.reason) == (1008, "budget_exhausted")
