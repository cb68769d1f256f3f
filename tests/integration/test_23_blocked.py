"""One side takes nothing for a while: the gateway rests meanwhile, nothing is lost, and who leaves is noticed."""

import hashlib
import os
import select
import socket
import ssl
import threading
import time

import pytest

from kit import calls, client, http2
from kit.procs import is_sanitized, wait_for
from kit.scripted import Script, Scripted

MIB = 1 << 20
SECONDS = 2
LEFT_S = 5
# Of a core, more than a gateway takes that has nothing to do; a sanitizer makes each look dearer.
BUSY_S = (0.3 if is_sanitized() else 0.1) * SECONDS
BODY = os.urandom(MIB) * 24
ASKED = 200000
HINTS = 90   # 4 MiB and more
HEALTH = client.request_bytes("GET", "/_tollgate/healthz")
PATH = "/local/v1/uploads"
WAYS = ["TLS 1.3", "TLS 1.2", "h2"]
AUTH = ("Authorization", "Bearer " + calls.KEY)


def cpu_s(gateway):
    with open(f"/proc/{gateway.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rests(gateway, idle):
    """It takes as much of the processor as the one that has nothing to do, and little more."""
    before = cpu_s(gateway), cpu_s(idle)
    time.sleep(SECONDS)
    taken, least = cpu_s(gateway) - before[0], cpu_s(idle) - before[1]
    assert taken < least + BUSY_S, f"{taken:.2f} s in {SECONDS} s, an idle gateway {least:.2f} s"
    return taken


class Stalled:
    """An upstream that reads no more than a request's head until it may; then it answers with the body's digest."""

    def __init__(self, certs, is_tls):
        self.context = None
        if is_tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certs.path("server.pem"), certs.path("server.key"))
        self.may_read, self.has_head, self.left = (threading.Event() for _ in range(3))
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.url = f"http{'s' if is_tls else ''}://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        raw, _ = self.listener.accept()
        raw.settimeout(60)
        peer = client.Connection.__new__(client.Connection)
        peer.sock = self.context.wrap_socket(raw, server_side=True) if self.context else raw
        peer.buffered, peer.ended = b"", None
        _, headers = client.parse_head(peer._until(b"\r\n\r\n"))
        self.has_head.set()
        look = select.poll()
        look.register(peer.sock.fileno(), select.POLLRDHUP)
        while not self.may_read.is_set():
            if look.poll(50):
                self.left.set()
                return
        response = client.Response()
        response.status, response.headers = 200, headers
        peer.read_body(response)
        if not response.complete:
            self.left.set()
            peer.close()
            return
        body = hashlib.sha256(response.body).hexdigest().encode()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        peer.close()

    def stop(self):
        self.may_read.set()
        self.listener.close()


class Sender:
    """Sends from a thread of its own, until it is done or cannot."""

    def __init__(self, send, pieces):
        self.send, self.pieces, self.sent = send, pieces, 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            for piece in self.pieces:
                self.send(piece)
                self.sent += len(piece)
        except OSError:
            pass

    def wait_stuck(self):
        def stuck():
            before = self.sent
            time.sleep(0.5)
            return self.sent == before
        wait_for("nothing more goes", stuck, 60)
        assert self.thread.is_alive(), "all was taken"


@pytest.fixture
def idle(gateways):
    return gateways(workers=1)


def pieces(data, size=65536):
    return [data[at:at + size] for at in range(0, len(data), size)]


def stalled_gateway(gateways, upstream, **changes):
    config = gateways.config(workers=1, **changes)
    for each in config["upstreams"]:
        if each["name"] == "local":
            each |= {"base_url": upstream.url, "unknown_endpoints": "allow", "on_client_gone": "abort"}
    return gateways(config)


def connect(gateway, way, timeout=60, **options):
    if way == "h2":
        return http2.Connection(gateway, timeout=timeout)
    context = client.tls_context(gateway.certs.ca, ssl.TLSVersion.TLSv1_2 if way == "TLS 1.2" else None)
    return gateway.connect(context=context, timeout=timeout, **options)


def begin_upload(gateway, way, data, **options):
    """The request's head and those bytes of its body: connection, stream, and who sends them."""
    connection = connect(gateway, way, **options)
    head = [AUTH, ("Content-Length", str(len(BODY)))]
    if way == "h2":
        stream = connection.request("POST", PATH, head, end=False)
        return connection, stream, Sender(lambda piece: connection.send(stream, piece, end=False), pieces(data))
    connection.send(client.request_bytes("POST", PATH, head, length=False))
    return connection, None, Sender(connection.send, pieces(data))


@pytest.mark.parametrize("is_tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("way", WAYS)
def test_upload_that_nobody_takes(gateways, certs, idle, say, way, is_tls):
    upstream = Stalled(certs, is_tls)
    gateway = stalled_gateway(gateways, upstream)
    connection, stream, sender = begin_upload(gateway, way, BODY)
    assert upstream.has_head.wait(20)
    sender.wait_stuck()
    say(f"{sender.sent >> 10} KiB on their way, {rests(gateway, idle):.2f} s of {SECONDS}")
    upstream.may_read.set()
    sender.thread.join(60)
    if way == "h2":
        connection.h2.end_stream(stream)
        connection.flush()
        answer = connection.wait(stream)
    else:
        answer = connection.read()
    assert answer.status == 200 and answer.body == hashlib.sha256(BODY).hexdigest().encode()
    connection.close()
    upstream.stop()


def leave(connection, end):
    if end == "reset":
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.sock.close()
    else:
        connection.sock.shutdown(socket.SHUT_WR)


def notices(gateway):
    record, = gateway.records(1, LEFT_S)
    assert record["outcome"] == "client_abort"


def lies(port, peer):
    """What lies in the socket of that port and peer: bytes that were not sent, and that were not read."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if fields[1].endswith(f":{port:04X}") and fields[2].endswith(f":{peer:04X}"):
                return [int(n, 16) for n in fields[4].split(":")]
    raise AssertionError("no such connection")


def is_read(gateway, own):
    for _ in range(15):
        if lies(gateway.port, own)[1] == 0:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("end", ["end", "reset"])
@pytest.mark.parametrize("way", WAYS)
def test_upload_whose_client_leaves(gateways, certs, idle, way, end):
    """Its last bytes have come, and nobody reads them."""
    upstream = Stalled(certs, True)
    gateway = stalled_gateway(gateways, upstream)
    connection, _, sender = begin_upload(gateway, way, BODY if way == "h2" else b"", timeout=1)
    own = connection.sock.getsockname()[1]
    sender.thread.join(20)   # over HTTP/2 until its window ends
    for piece in pieces(BODY) if way != "h2" else []:
        connection.send(piece)
        if not is_read(gateway, own):
            break
    wait_for("all is there", lambda: lies(own, gateway.port)[0] == 0)
    assert upstream.has_head.is_set() and gateway.export() == []
    leave(connection, end)
    notices(gateway)
    upstream.may_read.set()   # the end stands behind what was sent
    assert upstream.left.wait(20)
    rests(gateway, idle)
    connection.close()
    upstream.stop()


def receive_all(connection, n):
    """So many bytes."""
    got = bytearray()
    while len(got) < n and (data := connection.recv(1 << 20)):
        got += data
    return bytes(got)


@pytest.mark.parametrize("way", ["TLS 1.3", "TLS 1.2"])
def test_answers_that_nobody_reads(gateways, idle, say, way):
    """A client that asks on and on: an answer of the gateway's own waits, and more of its bytes do."""
    gateway = gateways(workers=1)
    connection = connect(gateway, way, buffer=4096, shared=True)
    connection.send(HEALTH)
    answer = connection.read("GET")
    size = len(answer.head) + len(answer.body)
    sender = Sender(connection.send, [HEALTH * 500] * (ASKED // 500))
    sender.wait_stuck()
    say(f"{sender.sent >> 10} KiB asked, {rests(gateway, idle):.2f} s of {SECONDS}")
    got = receive_all(connection, ASKED * size)
    sender.thread.join(60)
    assert len(got) == ASKED * size and got.count(answer.body) == ASKED
    connection.close()


def test_streams_that_nobody_reads(gateways, provider, idle):
    """HTTP/2: answers that wait for a socket, and frames that go on coming."""
    gateway = gateways(workers=1)
    call = calls.chat(stream=True)
    with http2.Connection(gateway, timeout=60) as connection:
        streams = [connection.call(call, sim={"Output_Tokens": 40, "Pad_Bytes": 20000}) for _ in range(50)]
        time.sleep(1)
        rests(gateway, idle)
        for stream in streams:
            answer = connection.wait(stream)
            assert answer.status == 200 and answer.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("way", ["TLS 1.3", "TLS 1.2"])
@pytest.mark.parametrize("leaves", [False, True])
def test_pipeline_behind_a_slow_answer(gateways, certs, idle, say, way, leaves):
    """What comes ahead fills what may be held; then its sender waits, and the gateway rests."""
    upstream = Stalled(certs, True)
    gateway = stalled_gateway(gateways, upstream)
    connection = connect(gateway, way, timeout=1)
    connection.send(client.request_bytes("POST", PATH, [AUTH], b"slow"))
    assert upstream.has_head.wait(20)
    sender = Sender(connection.send, [HEALTH * 500] * 4000)
    sender.thread.join(60)   # at the first that does not go
    assert 0 < sender.sent < 4000 * 500 * len(HEALTH)
    say(f"{sender.sent >> 10} KiB ahead, {rests(gateway, idle):.2f} s of {SECONDS}")
    if leaves:
        leave(connection, "reset")
        notices(gateway)
        assert upstream.left.wait(20)
        upstream.stop()
        return
    upstream.may_read.set()
    answer = connection.read()
    assert answer.status == 200 and answer.body == hashlib.sha256(b"slow").hexdigest().encode()
    for _ in range(1000):
        assert connection.read("GET").status == 200
    connection.close()
    upstream.stop()


def test_refusal_behind_hints_that_nobody_reads(gateways, certs):
    """Heads before the answer's wait in part when the request turns out to be none: they end before it is refused."""
    upstream = Scripted(certs)
    hint = b"HTTP/1.1 103 Early Hints\r\n" + (b"Link: <" + b"a" * 5000 + b">\r\n") * 10 + b"\r\n"
    upstream.scripts["hints"] = Script(hint * HINTS, early=True)
    gateway = stalled_gateway(gateways, upstream)
    with gateway.connect(buffer=4096) as connection:
        connection.send(client.request_bytes("POST", PATH, [
            AUTH, ("X-Script", "hints"), ("Transfer-Encoding", "chunked")], length=False) + b"1\r\nx\r\n")
        own = connection.sock.getsockname()[1]

        def stuck():
            before = lies(gateway.port, own)[0]
            time.sleep(0.3)
            return lies(gateway.port, own)[0] == before > 0
        wait_for("no more hints go", stuck)
        connection.send(b"no size\r\n")
        answer = connection.read()
    assert answer.status == 400 and answer.complete
    assert 0 < len(answer.informational) < HINTS
    assert all(head == hint for _, head in answer.informational)
    upstream.stop()
