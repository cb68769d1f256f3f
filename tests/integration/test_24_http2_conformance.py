"""HTTP/2 by the sections of RFC 9113, frame by frame: what a server must refuse, and how, and what
it must take. Written with bytes of its own, so that no library stands between."""

import socket
import ssl

import pytest

from conftest import Gateways
from kit import calls

hpack = pytest.importorskip("hpack")   # reads the answers alone

@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certs, shared_provider):
    """One for all: what a connection does is no other's."""
    made = Gateways(tmp_path_factory.mktemp("conformance"), certs, shared_provider)
    yield made()
    made.finish()


def abuse(gateway, kind):
    text = gateway.admin("/metrics", token=False).body.decode()
    line, = (x for x in text.splitlines() if f'{{kind="{kind}"}}' in x)
    return int(line.rsplit(" ", 1)[1])


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, \
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(10)
ENHANCE_YOUR_CALM = 11


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def number(n):
    return n.to_bytes(4, "big")


def fields(*pairs):
    """HPACK: literals without indexing, as short as that."""
    out = b""
    for name, value in pairs:
        out += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return out


PSEUDO = ((":method", "GET"), (":scheme", "https"), (":path", "/_tollgate/healthz"),
          (":authority", "localhost"))
GET = fields(*PSEUDO)
POST = fields((":method", "POST"), (":scheme", "https"), (":path", "/openai/v1/chat/completions"),
              (":authority", "localhost"), ("authorization", "Bearer " + calls.KEY))


def get(stream=1, flags=END_STREAM | END_HEADERS, block=GET):
    return frame(HEADERS, flags, stream, block)


def post(stream=1, block=POST):
    """A request whose body is to come."""
    return frame(HEADERS, END_HEADERS, stream, block)


def setting(name, value):
    return frame(SETTINGS, 0, 0, name.to_bytes(2, "big") + number(value))


class Raw:
    """A connection that has said its preface."""

    def __init__(self, gateway, settings=b""):
        context = ssl.create_default_context(cafile=gateway.certs.ca)
        context.set_alpn_protocols(["h2"])
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", gateway.port), 10),
                                        server_hostname="localhost", suppress_ragged_eofs=True)
        self.bytes = b""
        self.decoder = hpack.Decoder()
        self.sock.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass   # it was refused before it was all written

    def exactly(self, n):
        while len(self.bytes) < n:
            try:
                piece = self.sock.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return None
            self.bytes += piece
        out, self.bytes = self.bytes[:n], self.bytes[n:]
        return out

    def frame(self):
        """(kind, flags, stream, payload), None at the end."""
        head = self.exactly(9)
        if head is None:
            return None
        payload = self.exactly(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def until(self, *kinds):
        """The next frame of these kinds that is no answer to our SETTINGS."""
        while True:
            got = self.frame()
            assert got, "the connection ended"
            if got[0] in kinds and not (got[0] == SETTINGS):
                return got

    def outcome(self, stream=1):
        """("goaway", code), ("reset", code) of the stream, or its ("status", text)."""
        while True:
            got = self.frame()
            if got is None:
                return ("closed", None)
            kind, flags, at, payload = got
            if kind == GOAWAY:
                return ("goaway", int.from_bytes(payload[4:8], "big"))
            if kind == RST_STREAM and at == stream:
                return ("reset", int.from_bytes(payload, "big"))
            if kind == HEADERS:
                found = dict(self.decoder.decode(payload))
                if at == stream:
                    return ("status", found[":status"])

    def is_alive(self, stream=101):
        self.send(get(stream))
        return self.outcome(stream) == ("status", "200")


CONNECTION = [
    # 4.2: sizes
    ("4.2 SETTINGS larger than SETTINGS_MAX_FRAME_SIZE", frame(SETTINGS, 0, 0, b"\0" * 16386),
     FRAME_SIZE_ERROR),
    ("4.2 HEADERS larger than SETTINGS_MAX_FRAME_SIZE", get(block=GET + b"\0" * 16385),
     FRAME_SIZE_ERROR),
    # 4.3, 6.10: a header block is one piece
    ("4.3 a block that is broken off by DATA", get(flags=END_STREAM) + frame(DATA, 0, 1, b"x"),
     PROTOCOL_ERROR),
    ("4.3 a block that is broken off by PRIORITY",
     get(flags=END_STREAM) + frame(PRIORITY, 0, 1, b"\0\0\0\0\xff"), PROTOCOL_ERROR),
    ("4.3 a block that is broken off by another stream", get(flags=END_STREAM) + get(3),
     PROTOCOL_ERROR),
    ("5.5 a block that is broken off by a frame of an unknown type",
     get(flags=END_STREAM) + frame(0xfa, 0, 0, b"x"), PROTOCOL_ERROR),
    ("4.3 a name that is in no table", get(block=b"\xfe"), COMPRESSION_ERROR),
    ("4.3 a table size update beyond the bound", get(block=b"\x3f\xe1\xff\x03" + GET),
     COMPRESSION_ERROR),
    # 5.1: states
    ("5.1 RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, number(CANCEL)), PROTOCOL_ERROR),
    ("5.1 WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, number(1)), PROTOCOL_ERROR),
    # 6.x: each frame
    ("6.1 padding longer than DATA", post() + frame(DATA, PADDED, 1, b"\x05abc"), PROTOCOL_ERROR),
    ("6.2 HEADERS without a stream", frame(HEADERS, 5, 0, GET), PROTOCOL_ERROR),
    ("6.2 padding longer than HEADERS", frame(HEADERS, 5 | PADDED, 1, b"\xff" + GET),
     PROTOCOL_ERROR),
    ("6.3 PRIORITY without a stream", frame(PRIORITY, 0, 0, b"\0\0\0\0\xff"), PROTOCOL_ERROR),
    ("6.4 RST_STREAM without a stream", frame(RST_STREAM, 0, 0, number(CANCEL)), PROTOCOL_ERROR),
    ("6.4 RST_STREAM of three bytes", post() + frame(RST_STREAM, 0, 1, b"\0\0\0"),
     FRAME_SIZE_ERROR),
    ("6.5 SETTINGS of a stream", frame(SETTINGS, 0, 1, b""), PROTOCOL_ERROR),
    ("6.5 an acknowledgement with a payload", frame(SETTINGS, ACK, 0, b"\0" * 6),
     FRAME_SIZE_ERROR),
    ("6.5.2 ENABLE_PUSH of 2", setting(2, 2), PROTOCOL_ERROR),
    ("6.5.2 MAX_FRAME_SIZE below its least", setting(5, 16383), PROTOCOL_ERROR),
    ("6.5.2 MAX_FRAME_SIZE above its most", setting(5, 1 << 24), PROTOCOL_ERROR),
    ("6.6 PUSH_PROMISE of a client", post() + frame(PUSH_PROMISE, 4, 1, number(2) + GET),
     PROTOCOL_ERROR),
    ("6.7 PING of a stream", frame(PING, 0, 1, b"12345678"), PROTOCOL_ERROR),
    ("6.7 PING of six bytes", frame(PING, 0, 0, b"123456"), FRAME_SIZE_ERROR),
    ("6.8 GOAWAY of a stream", frame(GOAWAY, 0, 1, number(0) * 2), PROTOCOL_ERROR),
    ("6.9 WINDOW_UPDATE of three bytes", frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), FRAME_SIZE_ERROR),
    ("6.9.1 a window beyond 2^31-1", frame(WINDOW_UPDATE, 0, 0, number(0x7fffffff)) * 2,
     FLOW_CONTROL_ERROR),
    ("6.10 CONTINUATION without a stream", frame(CONTINUATION, 4, 0, GET), PROTOCOL_ERROR),
    ("6.10 CONTINUATION after a block that had ended", post() + frame(CONTINUATION, 4, 1, GET),
     PROTOCOL_ERROR),
]


@pytest.mark.parametrize("section,data,code", CONNECTION, ids=[c[0] for c in CONNECTION])
def test_connection_errors(gateway, section, data, code):
    """5.4.1: GOAWAY with the code, then the end."""
    with Raw(gateway) as raw:
        raw.send(data)
        assert raw.outcome(stream=-1) == ("goaway", code)
        while raw.frame():
            pass


STREAM = [
    ("5.1 DATA on a stream whose request has ended", get() + frame(DATA, 1, 1, b"x"),
     {("goaway", STREAM_CLOSED), ("reset", STREAM_CLOSED)}),
    ("5.1 HEADERS on a stream whose request has ended", get() + get(),
     {("goaway", STREAM_CLOSED), ("reset", STREAM_CLOSED)}),
    ("6.3 PRIORITY of four bytes", post() + frame(PRIORITY, 0, 1, b"\0\0\0\0"),
     {("reset", FRAME_SIZE_ERROR), ("goaway", FRAME_SIZE_ERROR)}),
    ("6.9 WINDOW_UPDATE of zero", post() + frame(WINDOW_UPDATE, 0, 1, number(0)),
     {("reset", PROTOCOL_ERROR), ("goaway", PROTOCOL_ERROR)}),
    ("6.9.1 a stream's window beyond 2^31-1",
     post() + frame(WINDOW_UPDATE, 0, 1, number(0x7fffffff)),
     {("reset", FLOW_CONTROL_ERROR), ("goaway", FLOW_CONTROL_ERROR)}),
    ("8.1 trailers that do not end the request", post() + frame(HEADERS, END_HEADERS, 1,
                                                              fields(("x-a", "b"))),
     {("reset", PROTOCOL_ERROR), ("goaway", PROTOCOL_ERROR)}),
    ("8.1 pseudo-header fields in trailers", post() + get(block=fields((":method", "GET"))),
     {("reset", PROTOCOL_ERROR), ("goaway", PROTOCOL_ERROR)}),
    ("8.3 :status in a request", get(block=GET + fields((":status", "200"))),
     {("reset", PROTOCOL_ERROR)}),
    ("8.3 a pseudo-header field after a regular one",
     get(block=fields(("x-a", "b")) + GET), {("reset", PROTOCOL_ERROR)}),
    ("8.3 a pseudo-header field twice", get(block=GET + fields((":path", "/x"))),
     {("reset", PROTOCOL_ERROR)}),
    ("8.3.1 no :method", get(block=fields(*PSEUDO[1:])), {("reset", PROTOCOL_ERROR)}),
    ("8.3.1 no :scheme", get(block=fields(PSEUDO[0], *PSEUDO[2:])), {("reset", PROTOCOL_ERROR)}),
    ("8.3.1 no :path", get(block=fields(*PSEUDO[:2], PSEUDO[3])), {("reset", PROTOCOL_ERROR)}),
    ("8.3.1 an empty :path", get(block=fields(*PSEUDO[:2], (":path", ""), PSEUDO[3])),
     {("reset", PROTOCOL_ERROR)}),
    ("8.1.1 more data than Content-Length", post(block=POST + fields(("content-length", "3"))) +
     frame(DATA, 0, 1, b"ab") + frame(DATA, 1, 1, b"cd"), {("reset", PROTOCOL_ERROR)}),
    ("8.1.1 less data than Content-Length", post(block=POST + fields(("content-length", "9"))) +
     frame(DATA, 1, 1, b"ab"), {("reset", PROTOCOL_ERROR)}),
    ("8.2.1 a blank in a name", get(block=GET + fields(("x a", "b"))),
     {("reset", PROTOCOL_ERROR), ("status", "400")}),
    ("8.2.1 a value that ends in a blank", get(block=GET + fields(("x-a", "b "))),
     {("reset", PROTOCOL_ERROR), ("status", "400"), ("status", "200")}),
]


@pytest.mark.parametrize("section,data,codes", STREAM, ids=[c[0] for c in STREAM])
def test_stream_errors(gateway, provider, section, data, codes):
    """5.4.2: RST_STREAM with the code, or more strictly the connection's end; no upstream call."""
    with Raw(gateway) as raw:
        raw.send(data)
        got = raw.outcome()
        if got == ("status", "200"):   # the request before was answered first: what came after it?
            got = raw.outcome() if ("status", "200") not in codes else got
        assert got in codes
        if got[0] == "reset":
            assert raw.is_alive(), "other streams go on"
    assert provider.requests() == []


TAKEN = [
    ("4.1 frames of unknown types are passed over", frame(0xfa, 0xff, 0, b"12345678") + get()),
    ("4.1 undefined flags mean nothing", frame(PING, 0xfe, 0, b"12345678") + get()),
    ("4.1 the reserved bit means nothing", frame(PING, 0, 1 << 31, b"12345678") + get()),
    ("6.2 padding and priority", frame(HEADERS, 5 | PADDED | WITH_PRIORITY, 1,
                                       b"\x03" + b"\0\0\0\0\x10" + GET + b"\0\0\0")),
    ("6.3 priorities of streams that are idle", frame(PRIORITY, 0, 7, b"\0\0\0\0\x10") + get()),
    ("6.5.2 unknown settings", setting(0xff, 1) + get()),
    ("6.5.2 the least window at the beginning", setting(4, 65535) + get()),
    ("6.7 an answer to a PING that was not asked", frame(PING, ACK, 0, b"12345678") + get()),
    ("6.9 a larger window of the connection", frame(WINDOW_UPDATE, 0, 0, number(1000)) + get()),
    ("6.10 a block in many pieces", get(flags=END_STREAM, block=GET[:1]) +
     b"".join(frame(CONTINUATION, 0, 1, GET[i:i + 1]) for i in range(1, 6)) +
     frame(CONTINUATION, 4, 1, GET[6:])),
    ("6.10 an empty piece", get(flags=END_STREAM) + frame(CONTINUATION, 4, 1, b"")),
    ("4.3 a table size update at the beginning", get(block=b"\x20" + GET)),
]


@pytest.mark.parametrize("section,data", TAKEN, ids=[c[0] for c in TAKEN])
def test_taken(gateway, section, data):
    with Raw(gateway) as raw:
        raw.send(data)
        assert raw.outcome() == ("status", "200")


def test_ping(gateway):
    """6.7: answered with the same payload."""
    with Raw(gateway) as raw:
        raw.send(frame(PING, 0, 0, b"tollgate"))
        assert raw.until(PING) == (PING, ACK, 0, b"tollgate")


def test_settings(gateway):
    """3.4, 6.5.3: the server's own come first; the client's are acknowledged."""
    with Raw(gateway) as raw:
        kind, flags, stream, payload = raw.frame()
        assert (kind, flags, stream, len(payload) % 6) == (SETTINGS, 0, 0, 0)
        while (got := raw.frame())[0] != SETTINGS:
            pass
        assert got == (SETTINGS, ACK, 0, b"")


def test_windows_of_requests(gateway):
    """6.5.2, 6.9: what a client may send before it hears more: 256 KiB of a stream, 1 MiB of a connection."""
    with Raw(gateway) as raw:
        *_, payload = raw.frame()
        settings = {int.from_bytes(payload[i:i + 2], "big"): int.from_bytes(payload[i + 2:i + 6], "big")
                    for i in range(0, len(payload), 6)}
        assert settings[4] == 256 << 10   # SETTINGS_INITIAL_WINDOW_SIZE
        assert raw.until(WINDOW_UPDATE) == (WINDOW_UPDATE, 0, 0, number((1 << 20) - 65535))


def test_window(gateway):
    """6.9.2: a window of three bytes takes three; what is granted later goes out."""
    with Raw(gateway, settings=b"\0\4" + number(3)) as raw:
        raw.send(get())
        got = raw.until(DATA)
        assert len(got[3]) == 3 and not got[1] & END_STREAM
        raw.send(frame(PING, 0, 0, b"nomore??"))
        assert raw.until(DATA, PING)[0] == PING
        raw.send(setting(4, 8))   # five more
        assert len(raw.until(DATA)[3]) == 5
        raw.send(frame(WINDOW_UPDATE, 0, 1, number(100000)))
        while not raw.until(DATA)[1] & END_STREAM:
            pass


def test_window_below_zero(gateway):
    """6.9.2: settings may take back what was granted; nothing goes out until it is above zero."""
    with Raw(gateway, settings=b"\0\4" + number(3)) as raw:
        raw.send(get())
        assert len(raw.until(DATA)[3]) == 3
        raw.send(setting(4, 1) + frame(WINDOW_UPDATE, 0, 1, number(2)) +
                 frame(PING, 0, 0, b"nothing?"))
        assert raw.until(DATA, PING)[0] == PING
        raw.send(frame(WINDOW_UPDATE, 0, 1, number(2)))
        assert len(raw.until(DATA)[3]) == 2


def test_frames_of_an_answer(gateway):
    """4.2: none is larger than the client takes by default."""
    with Raw(gateway) as raw:
        raw.send(frame(WINDOW_UPDATE, 0, 0, number(1 << 20)) + get())
        largest, ended = 0, False
        while not ended:
            kind, flags, stream, payload = raw.frame()
            largest = max(largest, len(payload))
            ended = stream == 1 and kind in (DATA, HEADERS) and flags & END_STREAM
        assert 0 < largest <= 16384


def test_number_below(gateway):
    """5.1.1: a stream of a number lower than one before is not served. nghttp2 takes it for one that
    was closed and passes it over, where a connection error is asked for."""
    with Raw(gateway) as raw:
        raw.send(post(5) + get(3) + frame(PING, 0, 0, b"answered"))
        assert raw.until(HEADERS, RST_STREAM, PING)[0] == PING
        assert raw.is_alive()


@pytest.mark.parametrize("name,flood", [
    ("empty DATA", post() + frame(DATA, 0, 1, b"") * 30000),
    ("PRIORITY", frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 30000),
    ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, number(1)) * 30000),
    ("empty CONTINUATION", get(flags=END_STREAM) + frame(CONTINUATION, 0, 1, b"") * 30000),
    # What nghttp2 passes over without a word: unknown types, those of extensions, closed streams.
    ("an unknown type", frame(0xfa, 0, 0, b"") * 30000),
    ("an unknown type of a stream", post() + frame(0x42, 0xff, 1, b"1234567") * 30000),
    ("ALTSVC", frame(0xa, 0, 0, b"\0\1xy") * 30000),
    ("ORIGIN", frame(0xc) * 30000),
    ("PRIORITY_UPDATE", frame(0x10, 0, 0, number(1) + b"u=1") * 30000),
    ("DATA of a stream that was taken back",
     post() + frame(RST_STREAM, 0, 1, number(CANCEL)) + frame(DATA, 0, 1, b"") * 30000),
    ("WINDOW_UPDATE of a stream that was taken back",
     post() + frame(RST_STREAM, 0, 1, number(CANCEL)) + frame(WINDOW_UPDATE, 0, 1, number(1)) * 30000),
    ("GOAWAY", post() + frame(GOAWAY, 0, 0, number(0) * 2) * 30000),
])
@pytest.mark.parametrize("every", [None, 40009], ids=["at once", "cut"])
def test_frames_that_do_nothing(gateway, name, flood, every):
    """10.5: frames without an effect, by the ten thousand, end the connection."""
    before = abuse(gateway, "http2_frames")
    with Raw(gateway) as raw:
        raw.sock.settimeout(20)
        for at in range(0, len(flood), every or len(flood)):
            raw.send(flood[at:at + (every or len(flood))])
        got = raw.outcome(stream=-1)
        assert got[0] in ("goaway", "closed"), got
        assert got[1] in (None, ENHANCE_YOUR_CALM)
    assert abuse(gateway, "http2_frames") == before + 1
    assert calls.send(gateway, calls.chat()).status == 200


def test_frames_that_do_something_pay(gateway, provider):
    """A body in pieces of a byte, with frames of another time between: slow, and taken."""
    body = calls.chat(words=4000).data()
    pieces = b"".join(frame(DATA, 0, 1, body[i:i + 1]) + frame(0xfa) for i in range(len(body)))
    assert len(body) > 20000
    with Raw(gateway) as raw:
        raw.send(post() + pieces + frame(DATA, END_STREAM, 1, b""))
        assert raw.outcome() == ("status", "200")
    seen, = provider.requests()
    assert seen.body == body
