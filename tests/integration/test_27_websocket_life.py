"""Sessions on WebSockets and what happens beside them: reloads, keys that go, Redis away, budgets
that run out in the middle, the process's end, HTTP/2; and what sound comes to."""

import base64
import hashlib
import json
import re
import signal
import socket
import ssl
import threading
import time
from decimal import Decimal

import pytest

from kit import calls, clocks
from kit.config import with_upstream
from kit.http2 import Answer, Connection
from kit.procs import is_sanitized, wait_for
from kit.websocket import CLOSE, GUID, TEXT, Closed, connect, frame
from test_27_websocket import CREATE, RESPONSES, budget, create, sound, split

OTHER = "tg_other_key_00112233445566"
MODEL = "gpt-realtime"
PCM_SECOND = 64000    # base64 of 24,000 samples of 16 bits
G711_SECOND = 10668   # of 8,000 of 8 bits
IN_TOKENS, OUT_TOKENS = 10, 20   # that a second comes to


def closed_with(socket):
    with pytest.raises(Closed) as closed:
        while True:
            socket.event()
    return closed.value


def in_force(gateway, n):
    """The n-th configuration is served by all workers."""
    wait_for("reload", lambda: gateway.log().count("configuration in force") >= n)
    time.sleep(0.2)


# ---- budgets ----------------------------------------------------------------------------------

EACH_UNIT = [{"name": unit, "unit": unit, "limit": 1000000, "window": "day"}
             for unit in ("usd", "requests", "tokens", "input_tokens", "output_tokens")]


def spent(gateway):
    """Of each limit, once nothing is reserved."""
    return {limit["name"]: budget(gateway, limit["name"]) for limit in EACH_UNIT}


def is_reserved(gateway):
    rows = gateway.request("GET", "/_tollgate/budget",
                           [("Authorization", f"Bearer {calls.KEY}")]).json()["budgets"]
    row, = [r for r in rows if r["budget"] == "requests"]
    return row["reserved_count"] == 1


def made_anew(gateway, redis):
    """Its counters, from its ledger."""
    gateway.process.stop()
    if redis:
        redis.command("FLUSHALL")
    gateway.start()
    return spent(gateway)


@pytest.mark.parametrize("engine", ["memory", "redis"])
def test_counters_equal_the_ledger(gateways, request, engine):
    """Answers are requests; the connection's record, and what was written down beside, are none."""
    redis = request.getfixturevalue("own_redis") if engine == "redis" else None
    gateway = gateways(redis=redis, limits=EACH_UNIT)
    with connect(gateway, sim={"Vad-Every": "3"}) as socket:
        socket.send({"type": "session.update", "session": {"type": "realtime", "audio": {
            "input": {"transcription": {"model": "gpt-4o-transcribe"}}}}})
        socket.event("session.updated")
        for _ in range(2):
            for _ in range(3):
                socket.send(sound())
            socket.event("response.done")
            socket.event("conversation.item.input_audio_transcription.completed")
        socket.send(CREATE)
        socket.event("response.done")
        assert socket.close() == 1000
    with connect(gateway, RESPONSES) as socket:
        socket.send(create())
        socket.event("response.completed")
    assert sorted(r["endpoint"] for r in gateway.records(8)) == [
        *["realtime"] * 3, "realtime.connect", *["realtime.transcription"] * 2, "responses",
        "responses.connect"]
    before = spent(gateway)
    assert before["requests"] == 4 and before["usd"] > 0
    assert made_anew(gateway, redis) == before


@pytest.mark.skipif(clocks.missing() is not None, reason=str(clocks.missing()))
@pytest.mark.parametrize("engine", ["memory", "redis"])
def test_room_reserved_before_midnight(gateways, request, tmp_path, engine):
    """An answer that the server begins after midnight counts on its own day, whenever its room was
    reserved; and once."""
    redis = request.getfixturevalue("own_redis") if engine == "redis" else None
    clock = clocks.Clocks(tmp_path)
    clock.step(clocks.DAY - time.time() % clocks.DAY - 20)
    gateway = gateways(redis=redis, limits=EACH_UNIT, env=clock.env)
    with connect(gateway, sim={"Vad-Every": "2"}) as socket:
        socket.send(sound())
        wait_for("room", lambda: is_reserved(gateway))
        clock.passes(30)
        socket.send(sound())
        socket.event("response.done")
        assert socket.close() == 1000
    records = gateway.records(2)
    wait_for("it is counted", lambda: spent(gateway)["requests"] == 1)
    before = spent(gateway)
    assert before["usd"] == sum(Decimal(r["cost_usd"]) for r in records) > 0
    assert made_anew(gateway, redis) == before


# ---- reloads, keys ------------------------------------------------------------------------------

def test_reload_drops_no_session(gateways, provider):
    """An answer goes on over a reload, the session too; new limits hold its next call, and count both."""
    gateway = gateways()
    with connect(gateway, RESPONSES, sim={"Event-Delay-Ms": "40"}) as socket:
        socket.send(create())
        socket.event("response.created")
        gateway.config["limits"] = [{"name": "two", "unit": "requests", "limit": 2,
                                     "window": "day"}]
        gateway.write()
        gateway.reload()
        in_force(gateway, 1)
        socket.event("response.completed")
        socket.send(create())
        socket.event("response.completed")
        socket.send(create())
        assert socket.event("error")["error"]["code"] == "budget_exhausted"
        assert socket.close() == 1000
    turns, _ = split(gateway, 3)
    assert [r["outcome"] for r in turns] == ["ok", "ok"]


@pytest.mark.parametrize("how", ["revoked", "removed", "upstream", "expired"])
def test_key_that_goes_in_mid_session(gateways, provider, how):
    """What runs is finished, nothing more goes up, and then the connection is closed with 1008."""
    config = gateways.config()
    config["keys"].append({"name": "other", "secret": OTHER})
    slow = how in ("expired", "revoked")   # takes a test longer than a short answer
    expires = int(time.time()) + (8 if is_sanitized() else 4)
    if how == "expired":
        config["keys"][-1]["expires"] = time.strftime("%Y-%m-%dT%H:%M:%SZ",
                                                      time.gmtime(expires))
    gateway = gateways(config)
    key = OTHER
    if how == "revoked":
        key = re.search(r"tg_[A-Za-z0-9_-]+", gateway.cli("key", "create", "--name", "made"))[0]
        gateway.reload()
        in_force(gateway, 1)
    rests = connect(gateway, RESPONSES, key=key)
    stays = connect(gateway, RESPONSES)
    runs = connect(gateway, RESPONSES, key=key, sim={
        "Event-Delay-Ms": "150", "Output-Tokens": "600" if slow else "30"})
    runs.send(create())
    runs.event("response.created")
    if how == "revoked":
        gateway.cli("key", "revoke", "made")
    elif how == "removed":
        del gateway.config["keys"][-1]
    elif how == "upstream":
        gateway.config["keys"][-1]["upstreams"] = ["anthropic"]
    else:
        time.sleep(max(0, expires + 0.1 - time.time()))
        rests.send({"type": "response.steer"})   # who says nothing is not looked at
    if how != "expired":
        gateway.write()
        gateway.reload()
        in_force(gateway, 2 if how == "revoked" else 1)
    closed = closed_with(rests)
    assert closed.code == 1008 and "valid no more" in closed.reason
    runs.send(create(event_id="late"))
    error = runs.event("error")["error"]
    assert error["code"] == "invalid_key" and error["event_id"] == "late"
    if slow:   # it goes on
        runs.event("response.output_text.delta")
        runs.connection.reset()
    else:
        runs.event("response.completed")
        assert closed_with(runs).code == 1008
    stays.send(create())
    stays.event("response.completed")
    assert stays.close() == 1000
    records = gateway.records(5)
    assert sorted(r["outcome"] for r in records if r["endpoint"] == "responses") == \
        ["client_abort" if slow else "ok", "ok"]
    assert sum(r.body.count(b"response.create") for r in provider.requests()) == 2


# ---- Redis away ---------------------------------------------------------------------------------

@pytest.mark.parametrize("on_failure", ["local", "refuse", "allow"])
def test_redis_away(gateways, provider, own_redis, on_failure):
    gateway = gateways(redis=own_redis, counters={"on_failure": on_failure, "timeout_ms": 100},
                       limits=[{"name": "day", "unit": "requests", "limit": 50,
                                "window": "day"}])
    with connect(gateway, RESPONSES) as socket:
        socket.send(create())
        socket.event("response.completed")
        own_redis.kill()
        for _ in range(3):
            socket.send(create())
            event = socket.event("response.completed", "error")
            if on_failure == "refuse":
                assert event["error"]["code"] == "counters_unavailable"
            else:
                assert event["type"] == "response.completed"
        own_redis.start()

        def served():
            socket.send(create())
            return socket.event("response.completed", "error")["type"] != "error"
        wait_for("service again on the same connection", served, 20, 0.2)
        assert socket.close() == 1000
    bills = len(provider.billed())
    turns, _ = split(gateway, bills + 1)
    assert all(r["outcome"] == "ok" for r in turns)
    if on_failure != "allow":   # every call that was made is in the counters in the end
        wait_for("all settled", lambda: budget(gateway, "day") >= bills, 15, 0.3)


# ---- budgets ------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", [RESPONSES, f"/openai/v1/realtime?model={MODEL}"])
def test_outgrown_and_cut(gateways, provider, path):
    """No room for the rest of an answer without a bound: the protocol's own error event."""
    realtime = "realtime" in path
    gateway = gateways(counters={"output_floor": 16}, workers=1, limits=[
        {"name": "small", "unit": "output_tokens", "limit": 300, "window": "day",
         "match": {"feature": "tiny"}, "on_exhausted": "cut"}])
    message = CREATE if realtime else create()
    with connect(gateway, path, sim={"Output-Tokens": "20"}) as socket:
        for _ in range(25):   # how little such calls take is learnt
            socket.send(message)
            socket.event("response.done", "response.completed")
        socket.close()
    with connect(gateway, path, headers=[("X-Tollgate-Feature", "tiny")],
                 sim={"Output-Tokens": "4000", "Event-Delay-Ms": "2"}) as socket:
        socket.send(message)
        error = socket.event("error", "response.done", "response.completed")
        assert error["type"] == "error" and error["error"]["code"] == "budget_exhausted"
        assert "small" in error["error"]["message"]
        if realtime:   # it can be told to stop, and the session stays
            seen = [r for r in provider.requests() if b"response.cancel" in r.body]
            wait_for("the cancel upstream", lambda: seen or [
                r for r in provider.requests() if b"response.cancel" in r.body])
            socket.close()
        else:
            assert closed_with(socket).code == 1008
    records = gateway.records(28)
    record, = [r for r in records if r.get("feature") == "tiny" and
               not r["endpoint"].endswith(".connect")]
    assert record["outcome"] == "cut" and 100 < record["usage"]["output_tokens"] <= 400
    assert budget(gateway, "small", [("X-Tollgate-Feature", "tiny")]) == record["usage"]["output_tokens"]


# ---- the process's end --------------------------------------------------------------------------

def test_drain_is_bounded(gateways, provider):
    """An answer that takes longer than drain_seconds is cut, recorded, and told with 1001."""
    gateway = gateways(drain_seconds=1)
    with connect(gateway, RESPONSES, sim={"Event-Delay-Ms": "500", "Output-Tokens": "60"}) as socket:
        socket.send(create())
        socket.event("response.output_text.delta")
        gateway.process.signal(signal.SIGTERM)
        assert closed_with(socket).code == 1001
    assert gateway.process.wait() == 0
    record, = [r for r in gateway.export() if r["endpoint"] == "responses"]
    assert record["outcome"] in ("upstream_abort", "client_abort", "interrupted", "cut")
    assert record["usage_source"] == "estimated" and Decimal(record["cost_usd"]) > 0


def test_second_sigterm(gateways, provider):
    gateway = gateways()
    with connect(gateway, RESPONSES, sim={"Hang": "1"}) as socket:
        socket.send(create(30, max_output_tokens=50))
        wait_for("the call upstream", lambda: provider.requests() and
                 b"response.create" in provider.requests()[0].body)
        gateway.process.signal(signal.SIGTERM)
        wait_for("the end of listening", gateway.refuses_connections)
        gateway.process.signal(signal.SIGTERM)
        assert closed_with(socket).code in (1001, None)
    assert gateway.process.wait() == 0
    records = gateway.export()
    assert sorted(r["endpoint"] for r in records) == ["responses", "responses.connect"]


def test_draining_opens_no_session(gateways, provider):
    """While an answer holds the end up, its own connection asks for no other."""
    gateway = gateways(workers=1)
    with connect(gateway, RESPONSES, sim={"Event-Delay-Ms": "60", "Output-Tokens": "80"}) as socket:
        socket.send(create())
        socket.event("response.created")
        gateway.process.signal(signal.SIGTERM)
        wait_for("draining", gateway.refuses_connections)   # so the worker knows
        socket.send(create(event_id="late"))
        error = socket.event("error")["error"]
        assert error["code"] == "draining" and error["event_id"] == "late"
        socket.event("response.completed")
        assert closed_with(socket).code == 1001
    assert gateway.process.wait() == 0


# ---- HTTP/2 -------------------------------------------------------------------------------------

def test_http2_offers_no_websocket(gateway, provider):
    """Extended CONNECT (RFC 8441) is not offered, so that clients take HTTP/1.1 for it; who asks
    all the same is refused, and the connection goes on."""
    with Connection(gateway) as connection:
        key = [("authorization", f"Bearer {calls.KEY}")]
        plain = connection.request("GET", RESPONSES, key)
        connection.wait(plain)
        answer = connection.answers[plain]
        assert answer.status == 403 and answer.header("x-tollgate-denied") == "endpoint_not_allowed"
        assert b"HTTP/1.1" in answer.body
        assert connection.h2.remote_settings.get(8, 0) == 0   # SETTINGS_ENABLE_CONNECT_PROTOCOL
    with Connection(gateway, validate=False) as connection:
        stream = connection.h2.get_next_available_stream_id()
        connection.answers[stream] = Answer()
        connection.h2.send_headers(stream, [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"),
            (":path", RESPONSES), (":authority", "localhost"),
            ("sec-websocket-version", "13"), ("authorization", f"Bearer {calls.KEY}")])
        connection.flush()
        connection.wait(stream)
        assert connection.answers[stream].reset == 1   # PROTOCOL_ERROR
        after = connection.request("GET", "/_tollgate/healthz", [])
        connection.wait(after)
        assert connection.answers[after].status == 200
    assert provider.requests() == []


# ---- sound --------------------------------------------------------------------------------------

FORMATS = {
    "preset": (None, PCM_SECOND),
    "pcm": ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}},
                       "output": {"format": {"type": "audio/pcm"}}}}, PCM_SECOND),
    "ulaw": ({"audio": {"input": {"format": {"type": "audio/pcmu"}},
                        "output": {"format": {"type": "audio/pcmu"}}}}, G711_SECOND),
    "alaw, as it was written before": (
        {"input_audio_format": "g711_alaw", "output_audio_format": "g711_alaw"}, G711_SECOND),
}


@pytest.mark.parametrize("name", FORMATS)
def test_sound_is_estimated_by_its_format(gateway, provider, name):
    """A session that breaks off: ten seconds heard, five said, in tokens of the format's speed."""
    session, second = FORMATS[name]
    sim = {"Sound-Bytes": str(second), "Output-Tokens": "8", "Event-Delay-Ms": "50",
           "Raw-Usage": "null"}
    with connect(gateway, sim=sim) as socket:
        socket.event("session.created")
        if session:
            socket.send({"type": "session.update", "session": session})
            socket.event("session.updated")
        for _ in range(10):
            socket.send({"type": "input_audio_buffer.append", "audio": "A" * second})
        socket.send(CREATE)
        for _ in range(5):
            socket.event("response.output_audio.delta")
        socket.connection.reset()
    turns, _ = split(gateway, 2)
    record, = turns
    assert record["usage_source"] == "estimated" and record["outcome"] == "client_abort"
    heard, said = (record["usage"][f"{side}_audio_tokens"] for side in ("input", "output"))
    assert 10 * IN_TOKENS <= heard <= 10 * IN_TOKENS + 1
    assert 5 * OUT_TOKENS <= said <= 7 * OUT_TOKENS


def test_cached_sound(gateway, provider):
    """Of what was read from the cache, sound has a rate of its own."""
    usage = {"total_tokens": 1010, "input_tokens": 1000, "output_tokens": 10,
             "input_token_details": {
                 "text_tokens": 400, "audio_tokens": 600, "cached_tokens": 700,
                 "cached_tokens_details": {"text_tokens": 200, "audio_tokens": 500}},
             "output_token_details": {"text_tokens": 4, "audio_tokens": 6}}
    path = "/openai/v1/realtime?model=gpt-realtime-mini"
    with connect(gateway, path, sim={"Raw-Usage": json.dumps(usage)}) as socket:
        socket.send(CREATE)
        socket.event("response.done")
        socket.close()
    (record,), _ = split(gateway, 2)
    assert record["usage"]["cache_read_tokens"] == 700
    assert record["usage"]["cache_read_audio_tokens"] == 500
    lines = {line["unit"]: int(line["quantity"]) for line in record["cost_lines"]}
    assert lines == {"in": 200, "cache_read": 200, "cache_read_audio": 500, "in_audio": 100,
                     "out": 4, "out_audio": 6}


def answer_and_close(certs, events):
    """An upstream that says those events, and closes, in one write, as soon as it is sent a message: its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.path("server.pem"), certs.path("server.key"))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with context.wrap_socket(listener.accept()[0], server_side=True) as peer:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += peer.recv(65536)
            nonce, = re.findall(rb"(?i)sec-websocket-key: (\S+)", head)
            accept = base64.b64encode(hashlib.sha1(nonce + GUID).digest())
            peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            peer.recv(65536)
            peer.sendall(b"".join(frame(TEXT, json.dumps(event), mask=None) for event in events) +
                         frame(CLOSE, b"\x03\xe8", mask=None))
            while peer.recv(65536):
                pass
    threading.Thread(target=serve, daemon=True).start()
    return f"https://127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer_that_may_be_fetched_and_the_end(gateways, certs, redis):
    """It ends with its connection, in one read: others that share Redis are not asked who counts it."""
    told = {"id": "resp_once", "object": "response", "status": "completed", "background": True, "model": "gpt-4o",
            "output": [], "usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}}
    events = [{"type": "response.created", "response": {**told, "status": "in_progress", "usage": None}},
              {"type": "response.completed", "response": told}]
    gateway = gateways(with_upstream(gateways.config(redis, workers=1), "openai",
                                     base_url=answer_and_close(certs, events)))
    with connect(gateway, RESPONSES) as session:
        session.send(create(background=True))
        assert session.event("response.completed")["response"]["id"] == "resp_once"
        assert closed_with(session).code == 1000
    (record,), _ = split(gateway, 2)
    assert record["usage"]["input_tokens"] == 9 and record["usage"]["output_tokens"] == 5
    assert calls.send(gateway, calls.messages()).status == 200


@pytest.mark.parametrize("engine", ["memory", "redis"])
def test_an_answer_nobody_asked_for_and_the_end(gateways, certs, request, engine):
    """The provider begins it, ends it and leaves, all in one read: it counts, though nothing was reserved yet."""
    redis = request.getfixturevalue("own_redis") if engine == "redis" else None
    told = {"id": "resp_own", "object": "realtime.response", "status": "completed",
            "usage": {"total_tokens": 14, "input_tokens": 9, "output_tokens": 5,
                      "input_token_details": {"text_tokens": 9}, "output_token_details": {"text_tokens": 5}}}
    events = [{"type": "response.created", "response": {**told, "status": "in_progress", "usage": None}},
              {"type": "response.done", "response": told}]
    gateway = gateways(with_upstream(gateways.config(redis, limits=EACH_UNIT), "openai",
                                     base_url=answer_and_close(certs, events)))
    with connect(gateway) as session:
        session.send({"type": "session.update", "session": {"type": "realtime"}})
        session.event("response.done")
        assert closed_with(session).code == 1000
    (record,), _ = split(gateway, 2)
    assert record["usage"]["input_tokens"] == 9 and record["usage"]["output_tokens"] == 5
    wait_for("it is counted", lambda: spent(gateway)["requests"] == 1)
    before = spent(gateway)
    assert before["tokens"] == 14 and before["usd"] > 0
    assert made_anew(gateway, redis) == before
