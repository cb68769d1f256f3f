"""HTTP/1.1: what is ambiguous is refused, what is not travels unchanged."""

import json
import time

import pytest

from kit import calls, client, views
from kit.client import request_bytes
from kit.config import with_upstream
from kit.procs import Provider, wait_for

CALL = calls.chat()
BODY = CALL.data()
AUTH = f"Authorization: Bearer {calls.KEY}\r\n".encode()
PATH = b"POST /openai/v1/chat/completions HTTP/1.1\r\n"


def head(*lines, start=PATH, host=b"Host: localhost\r\n"):
    return start + host + AUTH + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


LENGTH = b"Content-Length: %d" % len(BODY)

# RFC 9112 and RFC 9110 sections that each one breaks.
MALFORMED = {
    "6.3 both framings": head(LENGTH, b"Transfer-Encoding: chunked") + client.chunked(BODY),
    "6.3 lengths differ": head(LENGTH, b"Content-Length: 5") + BODY,
    "6.3 length list differs": head(b"Content-Length: %d, 5" % len(BODY)) + BODY,
    "6.3 negative length": head(b"Content-Length: -5") + BODY,
    "6.3 signed length": head(b"Content-Length: +%d" % len(BODY)) + BODY,
    "6.3 hex length": head(b"Content-Length: 0x10") + BODY,
    "6.3 length overflows": head(b"Content-Length: 99999999999999999999999") + BODY,
    "6.1 unknown coding": head(b"Transfer-Encoding: gzip, chunked") + client.chunked(BODY),
    "6.1 chunked not last": head(b"Transfer-Encoding: chunked, identity") + client.chunked(BODY),
    "6.1 chunked twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")
    + client.chunked(BODY),
    "6.1 odd chunked": head(b"Transfer-Encoding: xchunked") + client.chunked(BODY),
    "6.1 chunked in 1.0": head(b"Transfer-Encoding: chunked", start=PATH.replace(
        b"1.1", b"1.0")) + client.chunked(BODY),
    "5.1 blank before colon": head(b"Content-Length : %d" % len(BODY)) + BODY,
    "5.2 folded": head(LENGTH, b"X-A: b\r\n c") + BODY,
    "2.2 bare LF": head(LENGTH).replace(b"\r\n", b"\n") + BODY,
    "2.2 bare CR": head(LENGTH, b"X-A: b\rc") + BODY,
    "2.2 blank before first header": PATH + b" Host: localhost\r\n" + AUTH + LENGTH
    + b"\r\n\r\n" + BODY,
    "5.5 NUL in value": head(LENGTH, b"X-A: b\0c") + BODY,
    "5.1 empty name": head(LENGTH, b": b") + BODY,
    "5.6.2 space in name": head(LENGTH, b"X A: b") + BODY,
    "3.2 no Host": head(LENGTH, host=b"") + BODY,
    "3.2 two Hosts": head(LENGTH, b"Host: other") + BODY,
    "3 two spaces": head(LENGTH, start=PATH.replace(b"POST /", b"POST  /")) + BODY,
    "3 no version": head(LENGTH, start=PATH.replace(b" HTTP/1.1", b"")) + BODY,
    "2.3 version 2.0": head(LENGTH, start=PATH.replace(b"1.1", b"2.0")) + BODY,
    "2.3 lower case": head(LENGTH, start=PATH.replace(b"HTTP", b"http")) + BODY,
    "3.2 raw bytes in target": head(LENGTH, start=PATH.replace(b"v1", b"v1\x01")) + BODY,
    "7.1 bad chunk size": head(b"Transfer-Encoding: chunked") + b"G\r\n",
    "7.1 chunk size overflows": head(b"Transfer-Encoding: chunked") + b"f" * 40 + b"\r\n",
    "7.1 negative chunk": head(b"Transfer-Encoding: chunked") + b"-1\r\n",
    "7.1 chunk too long": head(b"Transfer-Encoding: chunked") + b"3\r\nabcdef\r\n0\r\n\r\n",
    "7.1 bare LF": head(b"Transfer-Encoding: chunked") + b"3\nabc\n0\n\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http at all\r\n\r\n",
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_is_refused_and_closed(gateway, provider, fault):
    with gateway.connect() as connection:
        connection.send(MALFORMED[fault])
        answer = connection.read()
        assert answer.status == 400, answer
        assert connection.at_end()
    assert provider.totals()["requests"] == 0
    assert provider.totals()["malformed"] == 0


@pytest.mark.parametrize("fault", ["6.3 both framings", "6.3 lengths differ",
                                   "7.1 chunk too long"])
def test_nothing_is_smuggled_behind_a_refusal(gateway, provider, fault):
    second = head(LENGTH) + BODY
    with gateway.connect() as connection:
        connection.send(MALFORMED[fault] + second)
        assert connection.read().status == 400
        assert connection.at_end()
    assert provider.totals()["billed"] == 0


def test_equal_lengths_or_none_but_one_request(gateway, provider):
    with gateway.connect() as connection:
        connection.send(head(LENGTH) + BODY + head(LENGTH) + BODY)
        first, second = connection.read(), connection.read()
        assert first.status == second.status == 200
    assert provider.totals()["billed"] == 2
    assert [s.body for s in provider.requests()] == [BODY, BODY]


@pytest.mark.parametrize("every", [1, 7])
def test_split_requests(gateway, provider, every):
    with gateway.connect() as connection:
        connection.send(head(LENGTH) + BODY, every=every)
        assert connection.read().status == 200
        connection.send(head(b"Transfer-Encoding: chunked") + client.chunked(BODY, 5), every=every)
        assert connection.read().status == 200
    assert [s.body for s in provider.requests()] == [BODY, BODY]


def test_chunked_requests_with_extensions_and_trailers(gateway, provider):
    body = client.chunked(BODY, 9, ';a="b"')
    body = body[:-2] + b"X-Trailer: yes\r\n\r\n"
    with gateway.connect() as connection:
        connection.send(head(b"Transfer-Encoding: chunked") + body)
        assert connection.read().status == 200
        connection.send(head(LENGTH) + BODY)
        assert connection.read().status == 200
    assert provider.requests()[0].body == BODY


def test_head_too_large(gateways):
    gateway = gateways(bounds={"head_bytes": 8192})
    for lines in ([b"X-Long: " + b"a" * 9000], [b"X-%d: b" % i + b"c" * 100 for i in range(90)]):
        with gateway.connect() as connection:
            connection.send(head(LENGTH, *lines))
            answer = connection.read()
            assert answer.status == 431
            assert answer.header("x-tollgate-denied") == "headers_too_large"
            assert connection.at_end()


def test_too_many_headers(gateway):
    with gateway.connect() as connection:
        connection.send(head(LENGTH, *[b"X-%d: b" % i for i in range(200)]) + BODY)
        assert connection.read().status == 431


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_body_too_large(gateways, provider, framing):
    gateway = gateways(bounds={"body_bytes": 4096})
    big = calls.chat(words=3000).data()
    with gateway.connect() as connection:
        if framing == "length":
            connection.send(head(b"Content-Length: %d" % len(big)))
        else:
            connection.send(head(b"Transfer-Encoding: chunked"))
            try:
                connection.send(client.chunked(big))
            except OSError:
                pass
        answer = connection.read()
        assert answer.status == 413
        assert answer.header("x-tollgate-denied") == "body_too_large"
        assert "error" in answer.json()
    assert provider.totals()["requests"] == 0


def test_slow_head(gateways):
    gateway = gateways(bounds={"head_timeout_ms": 300})
    with gateway.connect() as connection:
        connection.send(b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: local")
        start = time.monotonic()
        answer = connection.read()
        assert answer.status == 408 and time.monotonic() - start < 3
        assert connection.at_end()


def test_slow_body(gateways, provider):
    gateway = gateways(bounds={"body_timeout_ms": 300})
    with gateway.connect() as connection:
        connection.send(head(b"Content-Length: 100") + b"{")
        answer = connection.read()
        assert answer.status == 408
        assert answer.header("x-tollgate-denied") == "request_timeout"
    assert provider.totals()["billed"] == 0


def test_idle_connection_is_closed(gateways):
    gateway = gateways(bounds={"keepalive_timeout_ms": 300})
    with gateway.connect() as connection:
        assert calls.send(gateway, CALL, connection).status == 200
        assert connection.at_end(3)


def test_client_that_says_nothing(gateways):
    gateway = gateways(bounds={"head_timeout_ms": 300})
    with gateway.connect() as connection:
        assert connection.at_end(3)
    raw = client.Connection("127.0.0.1", gateway.port)
    assert raw.at_end(5)
    raw.close()


def test_keep_alive_and_one_upstream_connection(gateways, provider):
    gateway = gateways(workers=1)
    with gateway.connect() as connection:
        for _ in range(10):
            assert calls.send(gateway, CALL, connection).status == 200
    assert len({seen.connection for seen in provider.requests()}) == 1


def test_connection_close(gateway):
    with gateway.connect() as connection:
        connection.send(head(LENGTH, b"Connection: close") + BODY)
        answer = connection.read()
        assert answer.status == 200 and answer.header("connection") == "close"
        assert connection.at_end()


def test_http_1_0(gateway):
    with gateway.connect() as connection:
        connection.send(head(LENGTH, start=PATH.replace(b"1.1", b"1.0")) + BODY)
        answer = connection.read()
        assert answer.status == 200 and answer.json()["object"] == "chat.completion"
        assert connection.at_end()


def test_pipelining(gateway, provider):
    with gateway.connect() as connection:
        connection.send((head(LENGTH) + BODY) * 5)
        answers = [connection.read() for _ in range(5)]
    assert [a.status for a in answers] == [200] * 5
    assert len({a.header("x-tollgate-request-id") for a in answers}) == 5
    assert provider.totals()["billed"] == 5


def test_head_request(gateway, provider):
    with gateway.connect() as connection:
        connection.send(request_bytes("HEAD", "/openai/v1/models", CALL.headers()))
        answer = connection.read("HEAD")
        assert answer.status == 200 and answer.header("content-length")
        assert calls.send(gateway, CALL, connection).status == 200
    assert provider.requests()[0].method == "HEAD"


def test_informational(gateway):
    answer = calls.send(gateway, CALL, sim={"Informational": "102,103"})
    assert answer.status == 200
    assert [status for status, _ in answer.informational] in ([], [102, 103], [103])


def test_expect_continue(gateway, provider):
    with gateway.connect() as connection:
        connection.send(head(LENGTH, b"Expect: 100-continue"))
        assert connection._until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.send(BODY)
        assert connection.read().status == 200
    assert provider.requests()[0].body == BODY


def test_expect_is_not_granted_to_a_wrong_key(gateway):
    with gateway.connect() as connection:
        connection.send(head(LENGTH, b"Expect: 100-continue").replace(b"tg_", b"tg_wrong"))
        answer = connection.read()
        assert answer.status == 401 and answer.informational == []


def test_unknown_expectation(gateway):
    with gateway.connect() as connection:
        connection.send(head(LENGTH, b"Expect: something") + BODY)
        assert connection.read().status in (200, 417)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("shape", ["chat", "chat-stream-usage", "messages", "messages-stream",
                                   "generate", "generate-sse", "generate-array"])
def test_response_framings(gateway, provider, framing, shape):
    call = calls.SHAPES[shape]()
    answer = calls.send(gateway, call, sim={"Framing": framing})
    assert answer.complete
    views.check_client_got_what_was_sent(answer, provider.requests()[-1])
    assert gateway.record(answer.header("x-tollgate-request-id"))["outcome"] == "ok"


def test_hop_by_hop_headers_stay(gateway, provider):
    extra = [("Connection", "keep-alive, X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "5"),
             ("TE", "trailers"), ("Proxy-Authorization", "Basic eA=="), ("X-Kept", "2")]
    with gateway.connect() as connection:
        connection.send(request_bytes("POST", CALL.full_path(), CALL.headers() + extra, BODY))
        assert connection.read().status == 200
    seen = provider.requests()[0]
    assert seen.header("x-kept") == "2"
    for name in ("x-mine", "keep-alive", "te", "proxy-authorization"):
        assert seen.header(name) is None, name
    assert seen.header("host") == f"127.0.0.1:{provider.port}"


def test_unusual_but_legal_target(gateway, provider):
    path = "/openai/v1/models?a=%2F..%2f&b=c%20d&e=~!$'()*,;:@"
    answer = gateway.request("GET", path, CALL.headers())
    assert answer.status in (200, 404)
    assert provider.requests()[0].target == path.removeprefix("/openai")


@pytest.mark.parametrize("path", ["/openai/../anthropic/v1/messages", "/openai/v1/../../x",
                                  "/openai/v1/%2e%2e/%2e%2e/x", "//openai/v1/models"])
def test_paths_that_climb(gateway, provider, path):
    answer = gateway.request("GET", path, CALL.headers())
    for seen in provider.requests():
        assert ".." not in seen.target and "%2e%2e" not in seen.target.lower()
    assert answer.status in (400, 403, 404)


def test_raw_response_faults_become_502(gateway, provider):
    raws = {
        "garbage": "not http at all%0d%0a%0d%0a",
        "both": "HTTP/1.1 200 OK%0d%0aContent-Length: 2%0d%0aTransfer-Encoding: chunked%0d%0a"
                "%0d%0a2%0d%0ahi%0d%0a0%0d%0a%0d%0a",
        "two lengths": "HTTP/1.1 200 OK%0d%0aContent-Length: 2%0d%0aContent-Length: 3%0d%0a"
                       "%0d%0ahi",
        "folded": "HTTP/1.1 200 OK%0d%0aX: a%0d%0a b%0d%0aContent-Length: 0%0d%0a%0d%0a",
        "bare lf": "HTTP/1.1 200 OK%0aContent-Length: 0%0a%0a",
        "empty": "%0d%0a",
    }
    for name, raw in raws.items():
        answer = calls.send(gateway, CALL, sim={"Raw": raw})
        assert answer.status == 502, name
        assert answer.header("x-tollgate-denied") == "upstream_unreachable", name
        assert "error" in answer.json()
    records = gateway.records(len(raws))
    assert all(r["outcome"] != "ok" for r in records)


@pytest.mark.parametrize("delta", ["+9", "-9"])
def test_wrong_content_length(gateway, provider, delta):
    answer = calls.send(gateway, calls.chat(), sim={"Length_Delta": delta, "Connection": "close"})
    if delta == "+9":
        assert not answer.complete or answer.status == 502
    request_id = answer.header("x-tollgate-request-id")
    record = gateway.record(request_id)
    if delta == "+9":
        assert record["outcome"] == "upstream_abort"
    # The connection with bytes to spare must not serve another call.
    assert calls.send(gateway, calls.chat()).status == 200


def test_surplus_bytes_do_not_answer_the_next_call(gateways, provider):
    gateway = gateways(workers=1)
    raw = ("HTTP/1.1 200 OK%0d%0aContent-Length: 2%0d%0a%0d%0ahi"
           "HTTP/1.1 200 OK%0d%0aContent-Length: 4%0d%0a%0d%0aevil")
    with gateway.connect() as connection:
        answer = calls.send(gateway, CALL, connection, sim={"Raw": raw, "Raw_End": "keep"})
        assert answer.body == b"hi" or answer.status == 502
        second = calls.send(gateway, CALL, connection)
        assert second.body != b"evil" and second.json()["object"] == "chat.completion"


def test_stale_upstream_connections(gateways, provider):
    """The provider closes kept connections without a word; no call is lost or sent twice."""
    gateway = gateways(workers=1)
    with gateway.connect() as connection:
        for _ in range(5):
            answer = calls.send(gateway, CALL, connection, sim={"Close_After": 1})
            assert answer.status == 200, answer
            time.sleep(0.02)
    assert provider.totals()["billed"] == 5


def test_early_answer_of_the_provider(gateway, provider):
    big = calls.chat(words=100000)
    answer = calls.send(gateway, big, sim={"Early": 1, "Status": 413})
    assert answer.status == 413 and "error" in answer.json()


def test_provider_that_reads_slowly(gateway, provider):
    big = calls.chat(words=40000)
    answer = calls.send(gateway, big, sim={"Read_Rate": 2000000})
    assert answer.status == 200
    assert provider.requests()[0].body == big.data()


def test_unknown_upstream_and_root(gateway):
    for path in ("/nowhere/v1/chat/completions", "/", "/_tollgate/nothing"):
        answer = gateway.request("POST", path, CALL.headers(), BODY)
        assert answer.status == 404, path
        if "nowhere" in path:
            assert answer.header("x-tollgate-denied") == "unknown_upstream"


def test_base_path_of_an_upstream(gateway, provider):
    answer = calls.send(gateway, calls.chat(upstream="local"))
    assert answer.status == 200
    assert provider.requests()[0].target == "/served/under/v1/chat/completions"


@pytest.mark.parametrize("base,path", [("/v1", "/v1"), ("/v1", ""), ("", "/v1")])
def test_a_version_stands_once(gateways, provider, base, path):
    """Base addresses of providers and of SDKs both may end in it."""
    gateway = gateways(with_upstream(gateways.config(), "openai", base_url=provider.url + base))
    answer = gateway.request("POST", f"/openai{path}/chat/completions", CALL.headers(), BODY)
    assert answer.status == 200
    assert provider.requests()[0].target == "/v1/chat/completions"


def test_every_answer_has_an_id(gateway):
    seen = set()
    for call, key in [(CALL, calls.KEY), (CALL, "tg_wrong"), (calls.chat(upstream="nowhere"),
                                                            calls.KEY)]:
        answer = calls.send(gateway, call, key=key)
        seen.add(answer.header("x-tollgate-request-id"))
    assert len(seen) == 3 and None not in seen


def test_wrong_upstream_certificate(gateways, certs, provider):
    other = certs.other_authority()
    config = gateways.config()
    config["upstreams"][0]["ca_file"] = other
    gateway = gateways(config)
    answer = calls.send(gateway, CALL)
    assert answer.status == 502 and answer.header("x-tollgate-denied") == "upstream_unreachable"
    assert provider.totals()["requests"] == 0


def test_wrong_upstream_name(gateways, certs, provider, tmp_path):
    certs.leaf("elsewhere", "DNS:elsewhere.example")
    own = Provider(tmp_path, certs, cert="elsewhere")
    try:
        config = gateways.config()
        config["upstreams"][0]["base_url"] = own.url
        answer = calls.send(gateways(config), CALL)
        assert answer.status == 502
    finally:
        own.stop()


def test_upstream_not_listening(gateways):
    from kit.procs import free_port
    config = gateways.config()
    config["upstreams"][0]["base_url"] = f"https://127.0.0.1:{free_port()}"
    gateway = gateways(config)
    answer = calls.send(gateway, CALL)
    assert answer.status == 502
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] in ("provider_error", "upstream_abort") 
    assert record.get("status") in (None, 502)   # the provider said nothing
    assert json.loads(json.dumps(record["cost_usd"])) in ("0", None)


def test_upstream_that_never_answers(gateways):
    config = gateways.config()
    config["upstreams"][0]["first_byte_timeout_ms"] = 300
    gateway = gateways(config)
    answer = calls.send(gateway, CALL, sim={"Hang": 1})
    assert answer.status == 504 and answer.header("x-tollgate-denied") == "upstream_timeout"
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "timeout"


def test_connections_are_bounded(gateways):
    gateway = gateways(bounds={"connections": 8}, workers=1)
    held = []
    try:
        for _ in range(20):
            try:
                held.append(gateway.connect(timeout=3))
            except OSError:
                break
        served = 0
        for connection in held:
            try:
                served += calls.send(gateway, CALL, connection).status == 200
            except (OSError, client.Broken):
                pass
        assert 1 <= served <= 8
    finally:
        for connection in held:
            connection.close()
    assert wait_for("room again", lambda: calls.send(gateway, CALL).status == 200)
