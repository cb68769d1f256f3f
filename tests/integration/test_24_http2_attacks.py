"""HTTP/2 as an attacker writes it: requests that would be others in HTTP/1.1, streams without end that are
taken back, heads that unpack to more than they are.  Bytes of its own, as in test_24_http2_conformance."""

import time

import pytest

from conftest import Gateways
from kit import calls
from kit.scripted import Scripted
from kit.config import base_config
from test_24_http2_conformance import (
    ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GET,
    HEADERS, PING, POST, PRIORITY, PROTOCOL_ERROR, PSEUDO, RST_STREAM, SETTINGS, STREAM_CLOSED,
    WINDOW_UPDATE, Raw, abuse, fields, frame, get, number, post, setting)

BODY = calls.chat().data()
ENDED = END_STREAM | END_HEADERS
AUTHORIZATION = ("authorization", "Bearer " + calls.KEY)
LENGTH = ("content-length", str(len(BODY)))
MALFORMED = ("reset", PROTOCOL_ERROR)
REFUSED = ("status", "400")


@pytest.fixture(scope="module")
def upstream(certs):
    made = Scripted(certs)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certs, upstream):
    made = Gateways(tmp_path_factory.mktemp("attacks"), certs, upstream)
    yield made(base_config(certs, upstream, workers=1))
    made.finish()


def head(*more, method="POST", scheme="https", path="/openai/v1/chat/completions", authority="localhost"):
    pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    return fields(*[one for one in pseudo if one[1] is not None], AUTHORIZATION, *more)



# ---- requests that would be others in HTTP/1.1 -----------------------------------------------------

# What nghttp2 or the reader of requests may say to each; none may reach the upstream.
DOWNGRADE = {
    ("9113 8.2.1", "names are lower-case tokens; values hold no NUL, CR or LF, and no blank at an end"): {
        "LF in a value": head(("x-a", "b\nContent-Length: 0")),
        "CR in a value": head(("x-a", "b\rTransfer-Encoding: chunked")),
        "a request in a value": head(("x-a", "b\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n")),
        "NUL in a value": head(("x-a", "b\0c")), "DEL in a value": head(("x-a", "b\x7f")),
        "blank first": head(("x-a", " b")), "tab first": head(("x-a", "\tb")), "blank last": head(("x-a", "b ")),
        "line end in a name": head(("x\r\nTransfer-Encoding", "chunked")), "NUL in a name": head(("x\0", "b")),
        "colon in a name": head(("x:a", "b")), "blank in a name": head(("x a", "b")),
        "upper case": head(("Transfer-Encoding", "chunked")), "empty name": head(("", "b")),
        "colon behind a name": head(("transfer-encoding:", "chunked")),
    },
    ("9113 8.2.2", "fields of a connection make a request malformed; TE says trailers or nothing"): {
        f"{name}: {value}": head((name, value)) for name, value in [
            ("transfer-encoding", "chunked"), ("transfer-encoding", "identity"), ("connection", "close"),
            ("proxy-connection", "keep-alive"), ("keep-alive", "5"), ("upgrade", "h2c"),
            ("te", "trailers, deflate"), ("te", "chunked")]
    },
    ("9113 8.1.1", "Content-Length is one number, and that of the data (H2.CL)"): {
        f"length {value!r}": head(("content-length", value)) for value in [
            "0", "1", str(len(BODY) - 1), str(len(BODY) + 1), f"+{len(BODY)}", f"-{len(BODY)}",
            f"{len(BODY)}, {len(BODY)}", hex(len(BODY)), f" {len(BODY)}", f"{len(BODY)} ",
            str(2**64 + len(BODY)), "", "abc"]
    } | {"twice": head(LENGTH, LENGTH), "twice, and another": head(LENGTH, ("content-length", "0"))},
    ("9113 8.3.1", ":method is a token, :path begins with a slash, neither holds a blank"): {
        "request line in :path": head(path="/openai/v1/models HTTP/1.1\r\nX: y"),
        "blank in :path": head(path="/openai/v1/x y"), "tab in :path": head(path="/openai/v1/x\ty"),
        "NUL in :path": head(path="/openai/v1/\0"), "DEL in :path": head(path="/openai/v1/\x7f"),
        "bytes above ASCII": head(path="/openai/v1/\xe9"), "fragment": head(path="/openai/v1/models#x"),
        "backslash": head(path="/openai\\v1"), "absolute": head(path="https://localhost/openai/v1/models"),
        "absolute, another": head(path="https://evil/openai/v1/models"), "star": head(path="*"),
        "no slash": head(path="openai/v1/models"), "two slashes": head(path="//openai/v1/models"),
        "encoded line end": head(path="/openai/v1/%0d%0aX:y"), "dots": head(path="/openai/v1/../../x"),
        "empty": head(path=""),
        "request line in :method": head(method="GET /x HTTP/1.1\r\nX:"), "blank in :method": head(method="P T"),
        "NUL in :method": head(method="G\0T"), "no :method": head(method=""), "TRACE": head(method="TRACE"),
        "CONNECT": head(method="CONNECT"), "CONNECT alone": head(method="CONNECT", scheme=None, path=None),
    },
    ("9113 8.3.1, 9110 7.2", "one authority, a valid one; Host says the same, or nothing"): {
        "another Host": head(("host", "evil")), "another port": head(("host", "localhost:8443")),
        "Host twice": head(("host", "localhost"), ("host", "localhost"), authority=None),
        "no authority": head(authority=None), "empty": head(authority=""),
        "list": head(authority="localhost,evil"), "line end": head(authority="localhost\r\nX: y"),
        "port too large": head(authority="localhost:65536"), "path": head(authority="localhost/x"),
        "userinfo": head(authority="user@localhost"), "open bracket": head(authority="[::1"),
        "fragment": head(authority="localhost#x"), "Host with a blank": head(("host", "local host"), authority=None),
    },
    ("9110 4.2", ":scheme is HTTP's"): {
        "ftp": head(scheme="ftp"), "an URL": head(scheme="https://localhost/x?"), "empty": head(scheme=""),
        "blank": head(scheme="ht tp"), "file": head(scheme="file"), "none": head(scheme=None),
    },
    ("8441 3", "extended CONNECT is not offered"): {
        "websocket": fields((":method", "CONNECT"), (":protocol", "websocket"), *PSEUDO[1:], AUTHORIZATION),
    },
}


@pytest.mark.parametrize("block", [
    pytest.param(block, id=f"{section}: {name}")
    for (section, _), named in DOWNGRADE.items() for name, block in named.items()])
def test_nothing_is_smuggled_downwards(gateway, upstream, block):
    before = len(upstream.asked)
    with Raw(gateway) as raw:
        raw.send(post(block=block) + frame(DATA, END_STREAM, 1, BODY))
        assert raw.outcome() in (MALFORMED, REFUSED)
        raw.send(post(3, head(LENGTH)) + frame(DATA, END_STREAM, 3, BODY))
        assert raw.outcome(3) == ("status", "200")    # the others of its connection go on
    asked, = upstream.asked[before:]
    assert asked.start == "POST /v1/chat/completions HTTP/1.1" and asked.body == BODY


@pytest.mark.parametrize("more, gone", [
    ([("transfer_encoding", "chunked")], "transfer_encoding"), ([("content_length", "5")], "content_length"),
    ([("http2-settings", "AAMAAABk")], "http2-settings"), ([("expect", "100-continue")], "expect"),
    ([("te", "trailers")], "te"), ([("cookie", "a=b"), ("cookie", "c=d")], "cookie"),
    ([("proxy-authorization", "Basic eA==")], "proxy-authorization"), ([("host", "LocalHost")], "x-none"),
    ([("trailer", "content-length")], "trailer")])
def test_fields_that_end_here(gateway, upstream, more, gone):
    """RFC 9113 8.2.2, RFC 9110 7.6.1: what is of this hop, in any spelling, is not of the next."""
    with Raw(gateway) as raw:
        raw.send(post(block=head(*more)) + frame(DATA, END_STREAM, 1, BODY))
        assert raw.outcome() == ("status", "200")
    asked = upstream.asked[-1]
    assert asked.all(gone) == [] and asked.body == BODY
    assert asked.all("host") == [upstream.url.removeprefix("https://")]
    assert asked.all("content-length") == [str(len(BODY))] and asked.all("transfer-encoding") == []


@pytest.mark.parametrize("trailers, outcome", [
    ([("content-length", "5")], MALFORMED), ([("transfer-encoding", "chunked")], MALFORMED),
    ([("connection", "close")], MALFORMED), ([("x-a", "b\r\nc: d")], MALFORMED), ([(":path", "/x")], MALFORMED),
    ([("authorization", "Bearer x")], ("status", "200")), ([("host", "evil")], ("status", "200")),
    ([("x-tollgate-user", "evil"), ("x-a", "b")], ("status", "200"))])
def test_trailers_end_here(gateway, upstream, trailers, outcome):
    """RFC 9110 6.5.1: none is merged into a head, neither ours nor the one that goes up."""
    before = len(upstream.asked)
    with Raw(gateway) as raw:
        raw.send(post(block=head()) + frame(DATA, 0, 1, BODY) + frame(HEADERS, ENDED, 1, fields(*trailers)))
        assert raw.outcome() == outcome
    asked = upstream.asked[before:]
    assert len(asked) == (outcome[0] == "status")
    for one in asked:
        assert one.body == BODY and b"evil" not in one.head and one.all("x-a") == []
        assert one.all("authorization") != ["Bearer x"]
    assert "evil" not in str(gateway.export())


# ---- streams that are taken back, and heads that swell ------------------------------------------------

def flood(gateway, pieces, seconds=20):
    """How the connection ended, and how many pieces it took until then; nobody else suffers."""
    before, began = abuse(gateway, "http2_frames"), time.monotonic()
    sent = 0
    with Raw(gateway) as raw:
        raw.sock.settimeout(seconds)
        try:
            for piece in pieces:
                raw.sock.sendall(piece)
                sent += 1
        except OSError:
            pass
        try:
            got = raw.outcome(stream=-1)
        except OSError:   # it was written to after its end
            got = ("closed", None)
    assert time.monotonic() - began < seconds
    assert abuse(gateway, "http2_frames") == before + 1
    assert calls.send(gateway, calls.chat()).status == 200
    return got, sent


def streams(n, *frames):
    """The same n times, each on a stream of its own; frames are made by its number."""
    return (b"".join(one(i) for one in frames) for i in range(1, 2 * n, 2))


def asks(i):
    return post(i, head()) + frame(DATA, END_STREAM, i, BODY)


ENDLESS_MAX = 40000   # more than sockets hold while a gateway under a sanitizer has not read them
ENDLESS = {
    # CVE-2023-44487
    "rapid reset": (lambda i: frame(RST_STREAM, 0, i, number(CANCEL)),),
    # CVE-2025-8671: what makes the server take the stream back
    "a window beyond 2^31-1": (lambda i: frame(WINDOW_UPDATE, 0, i, number(0x7fffffff)),),
    "a window of zero": (lambda i: frame(WINDOW_UPDATE, 0, i, number(0)),),
    "data behind the end": (lambda i: frame(DATA, END_STREAM, i, b"x"),),
    "a head behind the end": (lambda i: get(i),),
    "a priority of four bytes": (lambda i: frame(PRIORITY, 0, i, b"\0\0\0\0"),),
    "a priority of itself": (lambda i: frame(PRIORITY, 0, i, number(i) + b"\x10"),),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_streams_taken_back_without_end(gateway, upstream, name):
    """Each is a request to us and a few bytes to him: H2_RESETS_BURST of them, and some a second."""
    before = len(upstream.asked)
    got, sent = flood(gateway, streams(ENDLESS_MAX, asks, *ENDLESS[name]))
    assert got in {("goaway", code) for code in (PROTOCOL_ERROR, STREAM_CLOSED, ENHANCE_YOUR_CALM, 6)} | {
        ("closed", None)}
    assert sent < ENDLESS_MAX and len(upstream.asked) - before <= 1500


@pytest.mark.parametrize("name, made", [
    ("malformed", lambda i: get(i, block=GET + fields((":status", "200")))),
    ("name of upper case", lambda i: get(i, block=GET + fields(("X-A", "b")))),
    ("another Host", lambda i: get(i, block=GET + fields(("host", "evil")))),
    ("length that lies", lambda i: post(i, POST + fields(("content-length", "3"))) + frame(DATA, 1, i, b"ab")),
    ("trailers that do not end", lambda i: post(i) + frame(HEADERS, END_HEADERS, i, fields(("x-a", "b")))),
    ("more than may be open", post)])
def test_requests_that_are_none_without_end(gateway, name, made):
    got, _ = flood(gateway, streams(4000, made))
    assert got in (("goaway", ENHANCE_YOUR_CALM), ("closed", None)), name


def test_streams_taken_back_now_and_then(gateway):
    """A client that gives up calls, as all do, keeps its connection."""
    before = abuse(gateway, "http2_frames")
    with Raw(gateway) as raw:
        for piece in streams(150, post, lambda i: frame(RST_STREAM, 0, i, number(CANCEL))):
            raw.send(piece)
        assert raw.is_alive(1001)
        time.sleep(1.2)   # fifty a second are forgiven
        for i in range(1003, 1003 + 2 * 90, 2):
            raw.send(post(i) + frame(RST_STREAM, 0, i, number(CANCEL)))
        assert raw.is_alive(3001)
    assert abuse(gateway, "http2_frames") == before


def literal(name, value):
    """HPACK: a field that goes into the table."""
    def length(n):
        out, n = bytes([127]), n - 127
        while n >= 128:
            out, n = out + bytes([n % 128 + 128]), n // 128
        return out + bytes([n])
    assert len(name) < 127 <= len(value)
    return b"\x40" + bytes([len(name)]) + name + length(len(value)) + value


SWOLLEN = GET + literal(b"x-bomb", b"v" * 3900)   # and \xbe says it again


def test_a_head_that_swells(gateway):
    """RFC 7541 7.3: 16 KB name a field of 4 KB sixteen thousand times; RFC 9113 10.5.1."""
    got, sent = flood(gateway, [get(1, block=SWOLLEN + b"\xbe" * 12000)] +
                      [get(i, block=GET + b"\xbe" * 16000) for i in range(3, 200, 2)])
    assert got in (("goaway", ENHANCE_YOUR_CALM), ("closed", None)) and sent <= 100


def test_a_head_that_swells_in_pieces(gateway):
    got, _ = flood(gateway, [frame(HEADERS, END_STREAM, 1, SWOLLEN)] +
                   [frame(CONTINUATION, 0, 1, b"\xbe" * 16000)] * 100)
    assert got in (("goaway", ENHANCE_YOUR_CALM), ("closed", None))


def test_trailers_that_swell(gateway):
    got, _ = flood(gateway, [post(block=head()) + frame(DATA, 0, 1, BODY) + frame(
        HEADERS, ENDED, 1, literal(b"x-bomb", b"v" * 3900) + b"\xbe" * 12000)])
    assert got in (("goaway", ENHANCE_YOUR_CALM), ("closed", None))


def test_a_head_that_is_too_large_is_told(gateway):
    """Up to four times bounds.head_bytes it is an answer, and the connection goes on."""
    with Raw(gateway) as raw:
        raw.send(get(1, block=SWOLLEN + b"\xbe" * 40))
        assert raw.outcome() == ("status", "431")
        assert raw.is_alive()


@pytest.mark.parametrize("name, pieces", [
    ("SETTINGS", [frame(SETTINGS) * 100] * 600), ("PING", [frame(PING, 0, 0, b"12345678") * 100] * 600),
    ("settings of one name", [frame(SETTINGS, 0, 0, (b"\0\1" + number(4096)) * 2000)] * 9),
    ("the table's size", [setting(1, 0) + setting(1, 4096)] * 9000),
    ("the window's size", [setting(4, 0) + setting(4, 65535)] * 9000),
    ("acknowledgements", [frame(SETTINGS, ACK) * 100] * 300)])
def test_control_frames_without_end(gateway, name, pieces):
    got, _ = flood(gateway, pieces)
    assert got in (("goaway", ENHANCE_YOUR_CALM), ("goaway", PROTOCOL_ERROR), ("closed", None)), name


def test_no_compression_state_is_guessed(gateway):
    """9113 4.3: a block that cannot be unpacked is the connection's end, and counted."""
    got, _ = flood(gateway, [get(block=b"\xfe")])
    assert got == ("goaway", COMPRESSION_ERROR)
