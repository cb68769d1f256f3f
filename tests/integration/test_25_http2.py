"""HTTP/2 to clients: the same exchanges, whatever the client speaks; and its own ways to be bad."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from kit import calls, views
from kit.config import with_upstream
from kit.procs import Provider, is_sanitized
from kit.scripted import ANSWER, PLAIN, Script, Scripted

pytest.importorskip("h2")
from h2.errors import ErrorCodes  # noqa: E402
from h2.settings import SettingCodes  # noqa: E402
from kit import http2  # noqa: E402
from test_24_http2_conformance import abuse  # noqa: E402

PAUSE = "Event_Delay_Ms"


@pytest.fixture
def scripted(certs):
    made = Scripted(certs)
    yield made
    made.stop()


def memory(gateway):
    """Resident bytes."""
    with open(f"/proc/{gateway.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def check_record(gateway, provider, call, n=1):
    record = gateway.records(n)[-1]
    bill = views.bill_of(provider, record)
    views.check_usage(record, bill)
    views.check_cost(record, call.provider, call.model, bill)
    assert record["outcome"] == "ok" and record["usage_source"] == "provider"
    return record


@pytest.mark.parametrize("shape", calls.SHAPES)
def test_shapes(gateway, provider, shape):
    """Every metered shape: what the client got, what the provider got, record, cost."""
    call = calls.SHAPES[shape]()
    with http2.Connection(gateway) as client:
        answer = client.wait(client.call(call))
        assert (answer.status, answer.ended, answer.reset) == (200, True, None)
        assert not answer.header("connection") and not answer.header("transfer-encoding")
    record = check_record(gateway, provider, call)
    assert answer.header("x-tollgate-request-id") == record["id"]
    assert record["bytes_out"] == len(answer.body)
    seen, = provider.requests()
    assert seen.header("host") == f"127.0.0.1:{provider.port}"


def test_same_bytes(gateway, provider):
    """The body of an HTTP/2 answer is that of the HTTP/1.1 answer to the same request."""
    call = calls.chat(stream=True)
    sim = {"Split_Every": "100"}
    plain = calls.send(gateway, call, sim=sim)
    with http2.Connection(gateway) as client:
        answer = client.wait(client.call(call, sim=sim))
    def rest(body):   # ids and times differ from call to call
        return [line.split(b'"choices"')[-1] for line in body.split(b"\n")]
    assert rest(answer.body) == rest(plain.body)


def test_openai_sdk(gateway, certs, provider, monkeypatch):
    openai = pytest.importorskip("openai")
    httpx = pytest.importorskip("httpx2")
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    with httpx.Client(http2=True) as http, \
            openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key=calls.KEY,
                          http_client=http) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=[{"role": "user", "content": calls.prompt(9)}])
        assert raw.http_response.http_version == "HTTP/2"
        assert raw.parse().usage.prompt_tokens == 9
        text = ""
        for chunk in client.chat.completions.create(
                model="gpt-4o", stream=True,
                messages=[{"role": "user", "content": calls.prompt(9)}]):
            text += chunk.choices[0].delta.content or ""
        assert len(text.split(" ")) == 16
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="tg_wrong").models.list()
    assert len(gateway.records(2)) == 2


def test_many_at_once(gateways, redis):
    """Streams of one connection share a budget like anybody's: none is let through too many."""
    gateway = gateways(redis=redis, limits=[
        {"name": "few", "per": ["key"], "unit": "requests", "limit": 30, "window": "day"}])
    with http2.Connection(gateway) as client:
        ids = [client.call(calls.chat(stream=i % 2 == 0), sim={PAUSE: "1"}) for i in range(50)]
        answers = [client.wait(i) for i in ids]
    assert sorted(a.status for a in answers) == [200] * 30 + [402] * 20
    assert all(a.ended for a in answers)
    assert len(gateway.records(30)) == 30


def test_streams_limit(gateways):
    """More than may be open at once are refused by the protocol, and may be sent again."""
    gateway = gateways(bounds={"http2_streams": 5})
    with http2.Connection(gateway) as client:
        client.step()
        assert client.h2.remote_settings.max_concurrent_streams == 5
        sim = {"Ttfb_Ms": "300"}
        ids = [client.call(calls.chat(), sim=sim) for _ in range(5)]
        answers = [client.wait(i) for i in ids]
        assert {a.status for a in answers} == {200}
        assert client.wait(client.call(calls.chat())).status == 200


def test_not_offered(gateways):
    gateway = gateways(bounds={"http2_streams": 0})
    with pytest.raises(ssl.SSLError):   # no protocol in common
        http2.Connection(gateway)
    assert calls.send(gateway, calls.chat()).status == 200


def test_slow_reader(gateway, provider):
    """A window that stays shut stops the provider; memory stays bounded; then all arrives."""
    call = calls.chat(stream=True, max_tokens=6000)
    before = memory(gateway)
    with http2.Connection(gateway, acknowledge=False) as client:
        stream = client.call(call, sim={"Output_Tokens": "6000"})
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            try:
                client.step(timeout=0.3)
            except TimeoutError:
                pass
        answer = client.answers[stream]
        assert answer.status == 200 and len(answer.body) <= 65535
        most = (32 if is_sanitized(b"__tsan_init") else 8) << 20   # ThreadSanitizer's own beside
        assert memory(gateway) - before < most
        client.sock.settimeout(20)
        client.acknowledge = True
        client.h2.increment_flow_control_window(1 << 24, stream)
        client.h2.increment_flow_control_window(1 << 24)
        client.flush()
        answer = client.wait(stream, 60)
        assert answer.ended and answer.body.endswith(b"data: [DONE]\n\n")
    check_record(gateway, provider, call)


@pytest.mark.parametrize("room", [0, 1, None], ids=["nothing", "one byte", "all but the end"])
def test_answer_that_nobody_takes(gateways, room):
    """A client that asks and opens no window: its exchange is over, its answer waits so long as any would."""
    gateway = gateways(bounds={"keepalive_timeout_ms": 700, "write_timeout_ms": 300})
    with http2.Connection(gateway, acknowledge=False) as client:
        before = client.wait(client.request("GET", "/_tollgate/healthz", []))
        assert before.status == 200
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE:
                                   len(before.body) - 1 if room is None else room})
        stream = client.request("GET", "/_tollgate/healthz", [])
        other = client.request("GET", "/_tollgate/healthz", [])
        client.h2.increment_flow_control_window(len(before.body), other)
        client.flush()
        assert client.wait(other).body == before.body
        answer = client.wait(stream)
        assert (answer.status, answer.ended, answer.reset) == (200, False, ErrorCodes.CANCEL)
        assert client.wait_end() == ErrorCodes.NO_ERROR   # it rests: that has a bound too
    assert abuse(gateway, "slow_reader") == 1


def test_large_upload(gateway, provider):
    """A prompt of many windows."""
    call = calls.chat(words=300000)
    with http2.Connection(gateway) as client:
        answer = client.wait(client.call(call), 60)
    assert answer.status == 200
    record = check_record(gateway, provider, call)
    assert record["usage"]["input_tokens"] == 300000
    assert record["bytes_in"] == len(call.data())


def test_upload_without_length(gateway, provider):
    """No Content-Length: the provider gets one all the same, as metered bodies are held."""
    call = calls.chat()
    with http2.Connection(gateway) as client:
        stream = client.request("POST", call.full_path(), call.headers(), end=False)
        for i in range(0, len(call.data()), 7):
            client.send(stream, call.data()[i:i + 7], end=False)
        client.h2.end_stream(stream)
        client.flush()
        assert client.wait(stream).status == 200
    seen, = provider.requests()
    assert seen.body == call.data() and seen.header("content-length") == str(len(call.data()))


def test_head_and_get(gateway):
    with http2.Connection(gateway) as client:
        answer = client.wait(client.request("GET", "/_tollgate/healthz", []))
        assert answer.status == 200 and answer.body
        answer = client.wait(client.request("HEAD", "/_tollgate/healthz", []))
        assert answer.ended and answer.body == b""


@pytest.mark.parametrize("lines, status", [(128, 200), (129, 502)])
def test_answer_of_as_many_lines_as_may_be(gateways, scripted, lines, status):
    """Whatever the client speaks: ours have room beside them."""
    scripted.scripts["lines"] = Script(PLAIN.replace(b"\r\n\r\n", b"".join(
        b"\r\nX-More-%d: v" % i for i in range(lines - 2)) + b"\r\n\r\n"))
    gateway = gateways(with_upstream(gateways.config(None), "openai", base_url=scripted.url))
    call = calls.chat()
    fields = [*call.headers(), ("X-Script", "lines")]
    plain = gateway.request("POST", call.full_path(), fields, call.data())
    with http2.Connection(gateway) as client:
        answer = client.wait(client.request("POST", call.full_path(), fields, call.data()))
    assert (plain.status, answer.status, answer.ended) == (status, status, True)
    if status == 200:
        assert answer.body == plain.body == ANSWER
        assert all(answer.header(f"x-more-{i}") == "v" for i in range(lines - 2))


@pytest.mark.parametrize("more, status", [(0, 200), (1, 502)])
def test_answer_of_the_largest_head_that_may_be(gateways, scripted, more, status):
    """Of RESPONSE_HEAD_BYTES, in as many lines as may be: whatever the client speaks."""
    head = PLAIN[:PLAIN.index(b"\r\n\r\n")]
    size = (64 << 10) + more - len(head) - 4
    lines = [b"\r\nX-More-%03d: " % i for i in range(126)]
    each = size // len(lines)
    whole = [line.ljust(each, b"v") for line in lines]
    whole[-1] += b"v" * (size - each * len(lines))
    scripted.scripts["large"] = Script(head + b"".join(whole) + b"\r\n\r\n" + ANSWER)
    gateway = gateways(with_upstream(gateways.config(None), "openai", base_url=scripted.url))
    call = calls.chat()
    fields = [*call.headers(), ("X-Script", "large")]
    assert gateway.request("POST", call.full_path(), fields, call.data()).status == status
    with http2.Connection(gateway) as client:
        client.h2.decoder.max_header_list_size = 1 << 20
        answer = client.wait(client.request("POST", call.full_path(), fields, call.data()))
    assert (answer.status, answer.ended) == (status, True)


def test_early_answer(gateway):
    """Refused while the upload runs: the whole answer, then the stream is let go."""
    with http2.Connection(gateway) as client:
        stream = client.request("POST", "/openai/v1/chat/completions",
                                [("authorization", "Bearer tg_wrong")], end=False)
        client.send(stream, b"{" + b" " * 10000, end=False)
        answer = client.wait(stream)
        assert answer.status == 401 and b"invalid_key" in answer.body
        until = time.monotonic() + 5
        while answer.reset is None and time.monotonic() < until:
            client.step()
        assert answer.reset == ErrorCodes.NO_ERROR
        assert client.wait(client.call(calls.chat())).status == 200


def test_client_reset(gateway, provider):
    """RST_STREAM is a client that hung up: the provider is let go, the record says so."""
    with http2.Connection(gateway) as client:
        stream = client.call(calls.chat(stream=True, max_tokens=500),
                             sim={"Output_Tokens": "500", PAUSE: "20"})
        while len(client.answers[stream].body) < 500:
            client.step()
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
        client.flush()
        record, = gateway.records(1)
        assert record["outcome"] == "client_abort"
        assert record["usage"]["output_tokens"] < 500
        assert client.wait(client.call(calls.chat())).status == 200


def test_uploads_that_are_taken_back(gateway):
    """What came of them and was not read is given back to the connection, whose window all share."""
    call = calls.chat()
    with http2.Connection(gateway) as client:
        assert client.wait(client.call(call)).status == 200
        window, sent = client.h2.outbound_flow_control_window, 0
        piece = b" " * client.h2.max_outbound_frame_size
        while sent <= window:
            stream = client.request("POST", call.full_path(), call.headers(), end=False)
            while client.h2.outbound_flow_control_window < len(piece):
                client.step()
            client.h2.send_data(stream, piece)
            client.h2.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()   # both at once: nothing was read between them
            sent += len(piece)
        assert client.wait(client.call(call)).status == 200


def test_client_leaves(gateway):
    """The connection goes with ten streams in it: ten records."""
    with http2.Connection(gateway) as client:
        ids = [client.call(calls.chat(stream=True, max_tokens=500),
                           sim={"Output_Tokens": "500", PAUSE: "20"}) for _ in range(10)]
        while not all(client.answers[i].body for i in ids):
            client.step()
    records = gateway.records(10)
    assert {r["outcome"] for r in records} == {"client_abort"}


def test_upstream_breaks(gateway):
    """A stream whose provider dies does not end in a clean END_STREAM."""
    with http2.Connection(gateway) as client:
        answer = client.wait(client.call(calls.chat(stream=True),
                                         sim={"Cut_After_Bytes": "700"}))
        assert answer.status == 200
        assert answer.reset is not None or b'"error"' in answer.body
        assert not answer.body.endswith(b"[DONE]\n\n")
        assert client.wait(client.call(calls.chat())).status == 200
    assert gateway.records(2)[0]["outcome"] == "upstream_abort"


def test_drain(gateway):
    """SIGTERM: what runs ends whole, GOAWAY says that nothing new is taken, exit 0."""
    with http2.Connection(gateway) as client:
        stream = client.call(calls.chat(stream=True, max_tokens=60),
                             sim={"Output_Tokens": "60", PAUSE: "15"})
        while not client.answers[stream].body:
            client.step()
        gateway.process.signal(signal.SIGTERM)
        answer = client.wait(stream)
        assert answer.ended and answer.body.endswith(b"[DONE]\n\n")
        assert client.wait_end() == ErrorCodes.NO_ERROR
    assert gateway.process.wait(20) == 0


def test_idle(gateways):
    gateway = gateways(bounds={"keepalive_timeout_ms": 400})
    with http2.Connection(gateway) as client:
        assert client.wait_end(10) == ErrorCodes.NO_ERROR


# ---- refused by what stands behind: the one reader of requests ------------------------------

def test_head_too_large(gateway):
    with http2.Connection(gateway) as client:
        stream = client.request("GET", "/openai/v1/models",
                                [(f"x-filler-{i}", "v" * 900) for i in range(80)])
        assert client.wait(stream).status == 431
        assert client.wait(client.call(calls.chat())).status == 200


@pytest.mark.parametrize("method,path,authority,status", [
    ("CONNECT", None, "example.com:443", 400),
    ("POST", "/nowhere/v1/chat/completions", "localhost", 401),
    ("GET", "/openai/v1/../../secret", "localhost", 400),
    ("GET", "/x", "two hosts", 400),
    ("GET", "/x", "user@host", 400),
])
def test_refused(gateway, method, path, authority, status):
    with http2.Connection(gateway, validate=False) as client:
        if method == "CONNECT":
            stream = client.h2.get_next_available_stream_id()
            client.answers[stream] = http2.Answer()
            client.h2.send_headers(stream, [(":method", method), (":authority", authority)],
                                   end_stream=True)
            client.flush()
        else:
            stream = client.request(method, path, [], authority=authority)
        answer = client.wait(stream)
        assert answer.status == status or answer.reset == ErrorCodes.PROTOCOL_ERROR


# ---- RFC 9113: what a client may not do ------------------------------------------------------

@pytest.mark.parametrize("section,fields", [
    ("8.2.1 names in lower case", [("X-Upper", "1")]),
    ("8.2.1 no line breaks in values", [("x-evil", "a\r\nhost: other")]),
    ("8.2.2 no connection-specific fields", [("connection", "close")]),
    ("8.2.2 no connection-specific fields", [("transfer-encoding", "chunked")]),
    ("8.2.2 no connection-specific fields", [("keep-alive", "5")]),
    ("8.2.2 TE holds nothing but trailers", [("te", "gzip")]),
    ("8.3 no unknown pseudo-header fields", [(":fun", "1")]),
    ("8.1.1 Content-Length is the length of the data", [("content-length", "5")]),
    ("8.1.1 one Content-Length", [("content-length", "0"), ("content-length", "1")]),
])
def test_malformed(gateway, provider, section, fields):
    """RFC 9113 8.1.1: malformed requests are stream errors of type PROTOCOL_ERROR."""
    with http2.Connection(gateway, validate=False) as client:
        stream = client.request("POST", "/openai/v1/chat/completions",
                                [("authorization", "Bearer " + calls.KEY), *fields])
        answer = client.wait(stream)
        assert answer.status is None and answer.reset == ErrorCodes.PROTOCOL_ERROR, section
    assert provider.requests() == []


def frame(kind, flags, stream, payload):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) +
            stream.to_bytes(4, "big") + payload)


@pytest.mark.parametrize("section,data,code", [
    ("5.1.1 streams of clients are odd", frame(1, 5, 2, b"\x82\x84\x87"),
     ErrorCodes.PROTOCOL_ERROR),
    ("6.1 DATA belongs to a stream", frame(0, 0, 0, b"x"), ErrorCodes.PROTOCOL_ERROR),
    ("5.1 DATA on an idle stream", frame(0, 0, 9, b"x"), ErrorCodes.PROTOCOL_ERROR),
    ("6.5 SETTINGS has entries of six bytes", frame(4, 0, 0, b"12345"),
     ErrorCodes.FRAME_SIZE_ERROR),
    ("6.5.2 a window of at most 2^31-1", frame(4, 0, 0, b"\0\4\x80\0\0\0"),
     ErrorCodes.FLOW_CONTROL_ERROR),
    ("6.9 no WINDOW_UPDATE of zero", frame(8, 0, 0, b"\0\0\0\0"), ErrorCodes.PROTOCOL_ERROR),
    ("6.10 CONTINUATION follows a header block", frame(9, 4, 1, b"\x82"),
     ErrorCodes.PROTOCOL_ERROR),
    ("4.2 frames of at most SETTINGS_MAX_FRAME_SIZE", frame(0, 0, 1, b"x" * 16385),
     ErrorCodes.FRAME_SIZE_ERROR),
    ("4.3 a header block that does not decode", frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"),
     ErrorCodes.COMPRESSION_ERROR),
])
def test_broken_frames(gateway, section, data, code):
    with http2.Connection(gateway) as client:
        client.step()
        try:
            client.raw(data)
        except OSError:
            pass   # it was refused before it was all written
        assert client.wait_end() == code, section
    assert calls.send(gateway, calls.chat()).status == 200


def test_bad_preface(gateway):
    context = ssl.create_default_context(cafile=gateway.certs.ca)
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw, \
            context.wrap_socket(raw, server_hostname="localhost") as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        left = b""
        while piece := sock.recv(4096):
            left += piece
        assert b"HTTP/1.1" not in left
    assert calls.send(gateway, calls.chat()).status == 200


# ---- abuse -----------------------------------------------------------------------------------

def test_rapid_reset(gateway):
    """Streams begun and taken back without end: the connection is ended, nobody else suffers."""
    with http2.Connection(gateway) as client:
        try:
            for _ in range(2000):
                stream = client.request("POST", "/openai/v1/chat/completions",
                                        calls.chat().headers(), end=False)
                client.h2.reset_stream(stream, ErrorCodes.CANCEL)
                client.flush()
        except OSError:
            pass
        try:
            client.wait_end()
        except OSError:
            pass
    assert calls.send(gateway, calls.chat()).status == 200
    assert len(gateway.records(1)) == 1


def test_floods(gateway):
    """PING and SETTINGS that nobody reads the answers of; a header block without end."""
    before = memory(gateway)
    floods = [frame(6, 0, 0, b"12345678") * 1000, frame(4, 0, 0, b"") * 1000]
    for flood in floods:
        with http2.Connection(gateway) as client:
            client.sock.settimeout(2)
            try:
                for _ in range(300):
                    client.raw(flood)
            except OSError:
                pass
    with http2.Connection(gateway) as client:
        client.raw(frame(1, 0, 1, b"\x82"))
        try:
            for _ in range(5000):
                client.raw(frame(9, 0, 1, b"\x84" * 100))
        except OSError:
            pass
    assert memory(gateway) - before < 64 << 20   # a sanitizer keeps what was freed
    assert calls.send(gateway, calls.chat()).status == 200


def test_header_block_without_end(gateways):
    """RFC 9113 10.5: a block that is begun and not ended has a deadline."""
    gateway = gateways(bounds={"head_timeout_ms": 500})
    with http2.Connection(gateway) as client:
        client.step()
        client.raw(frame(1, 0, 1, b"\x82"))
        client.wait_end(10)


@pytest.mark.skipif(not shutil.which("h2load"), reason="no h2load")
def test_h2load(gateway, certs, tmp_path, provider):
    """Some thousand requests by nghttp2's own load generator: none fails, each is recorded."""
    call, body = calls.chat(), tmp_path / "body"
    body.write_bytes(call.data())
    headers = [part for n, v in call.headers() for part in ("-H", f"{n}: {v}")]
    done = subprocess.run(["h2load", "-n", "1000", "-c", "4", "-m", "20", "-d", str(body), *headers,
                           gateway.url + call.full_path()], capture_output=True, text=True,
                          timeout=120, check=True)
    assert "1000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout
    assert "Application protocol: h2" in done.stdout
    assert len(gateway.records(1000)) == 1000
    assert provider.totals()["requests"] == 1000


def test_secret_of_provider(gateway):
    """No byte of the provider's key comes back."""
    with http2.Connection(gateway) as client:
        answer = client.wait(client.call(calls.chat()))
    assert Provider.SECRET.encode() not in answer.body
    assert all(Provider.SECRET not in value for _, value in answer.headers)
    assert os.path.exists(gateway.folder)
