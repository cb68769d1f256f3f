"""Clients that send on before they are answered: each request has its turn, and nobody else waits for theirs."""

import contextlib
import select
import signal
import socket
import ssl
import threading
import time

import pytest

from kit import calls
from kit.client import chunked, request_bytes
from kit.procs import wait_for

CALL = calls.chat()
ASKED = request_bytes("POST", "/openai/v1/chat/completions", CALL.headers(), CALL.data())
REFUSED = request_bytes("GET", "/nowhere", CALL.headers())
HEALTH = request_bytes("GET", "/_tollgate/healthz", [])
CONNECTIONS, SECONDS = 8, 3
REQUESTS = 60000
UPLOAD = 16 << 20
AHEAD = 120000
TIMES = 5   # the bytes come in one read nearly each time
LATE_S = 2   # a call that waits so long beside such a client is not served


class Pump:
    """Sends the same without pause from a thread of its own, and reads what is answered in another."""

    def __init__(self, connection, data):
        self.connection, self.data, self.read = connection, data, 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=one, daemon=True) for one in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        with contextlib.suppress(OSError, ValueError):
            while not self.stopping.is_set():
                self.connection.sock.sendall(self.data)

    def receive(self):
        with contextlib.suppress(OSError, ValueError):
            while got := len(self.connection.sock.recv(1 << 16)):
                self.read += got

    def stop(self):
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.connection.close()


def drain(raw):
    with contextlib.suppress(OSError):
        while raw.recv(1 << 20):
            pass


def slowest_call(gateway, ask):
    """The longest that one of the calls took that were made one after the other for SECONDS."""
    slowest, until = 0, time.monotonic() + SECONDS
    while (begun := time.monotonic()) < until:
        assert ask(gateway).status == 200
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


@pytest.mark.parametrize("data", [ASKED * 3, REFUSED * 3 + ASKED, ASKED + REFUSED],
                         ids=["asked", "mostly refused", "in turns"])
def test_requests_that_come_while_others_are_answered(gateways, say, data):
    """The end of one and the bytes of the next but one may come in one turn of the loop."""
    gateway = gateways(workers=1)
    pumps = []
    for _ in range(CONNECTIONS):
        connection = gateway.connect(shared=True)
        calls.send(gateway, CALL, connection)   # what comes with the handshake is read
        pumps.append(Pump(connection, data))
    slowest = slowest_call(gateway, lambda g: calls.send(g, CALL))
    for pump in pumps:
        pump.stop()
    assert min(pump.read for pump in pumps) > 0
    assert slowest < LATE_S
    assert calls.send(gateway, CALL).status == 200
    say(f"{sum(p.read for p in pumps) >> 10} KiB of answers, and another's call at most {1000 * slowest:.0f} ms")


def by_hand(gateway, version=ssl.TLSVersion.TLSv1_2):
    """A connection whose records the test sends itself: socket, TLS, what leaves it and what arrives."""
    context = ssl.create_default_context(cafile=gateway.certs.ca)
    context.maximum_version = version
    arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(arriving, leaving, server_hostname="localhost")
    raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            raw.sendall(leaving.read())
            arriving.write(raw.recv(1 << 16))
    return raw, tls, leaving, arriving


def records(gateway, data, count):
    """A connection, and that many records, each with the data, that may be sent on it as they are."""
    raw, tls, leaving, _ = by_hand(gateway)
    for _ in range(count):
        tls.write(data)
    return raw, leaving.read()


def test_a_request_a_record_keeps_no_worker(gateways, say):
    """TLS 1.2, whose records stay with OpenSSL: it has the next one when an answer is out, without end."""
    gateway = gateways(workers=1)
    calls.send(gateway, CALL)
    raw, flood = records(gateway, HEALTH, REQUESTS)
    with raw:
        sender = threading.Thread(target=raw.sendall, args=(flood,), daemon=True)
        answered = threading.Thread(target=lambda: drain(raw), daemon=True)
        answered.start()
        sender.start()
        slowest = slowest_call(gateway, lambda g: calls.send(g, CALL))
        sender.join()
        raw.shutdown(socket.SHUT_WR)
        answered.join()
    assert slowest < LATE_S
    say(f"{REQUESTS} requests at once, another's call at most {1000 * slowest:.0f} ms")


def test_a_fast_upload_keeps_no_worker(gateways, provider, say):
    """A body of chunks of one byte, all of which are here: calls of others are answered while it is read."""
    gateway = gateways(workers=1)
    calls.send(gateway, CALL)
    head = request_bytes("POST", "/openai/v1/chat/completions",
                         [*CALL.headers(), ("Transfer-Encoding", "chunked")], length=False)
    raw, tls, leaving, arriving = by_hand(gateway)
    tls.write(head)
    tls.write(chunked(CALL.data()[:-1] + b', "user": "')[:-5])
    for _ in range(UPLOAD >> 16):
        tls.write(b"1\r\nu\r\n" * (1 << 16))
    tls.write(chunked(b'"}'))
    answer, slowest, begun = bytearray(), 0, time.monotonic()
    with raw:
        sender = threading.Thread(target=raw.sendall, args=(leaving.read(),), daemon=True)
        sender.start()
        while not select.select([raw], [], [], 0)[0]:
            asked = time.monotonic()
            assert calls.send(gateway, CALL).status == 200
            slowest = max(slowest, time.monotonic() - asked)
        took = time.monotonic() - begun
        sender.join()
        while b"\r\n\r\n" not in answer:
            arriving.write(raw.recv(1 << 16))
            with contextlib.suppress(ssl.SSLWantReadError):
                answer += tls.read(1 << 16)
    assert answer.startswith(b"HTTP/1.1 200 ")
    say(f"{took:.1f} s, another's call at most {1000 * slowest:.0f} ms")
    assert slowest < took / 3


def test_much_behind_a_chunked_body(gateways):
    """A read may bring a body's end and many requests behind it: each is answered."""
    gateway = gateways(workers=1)
    call = request_bytes("POST", "/openai/v1/chat/completions",
                         [*CALL.headers(), ("Transfer-Encoding", "chunked")], length=False) + chunked(CALL.data())
    large = request_bytes("POST", "/openai/v1/chat/completions", CALL.headers(),
                          CALL.data()[:-1] + b', "user": "' + b"u" * (4 << 20) + b'"}')
    behind = AHEAD // len(HEALTH)

    def read(raw, tls, arriving, answers):
        """What comes until there are so many answers, or the end."""
        got = bytearray()
        while got.count(b"HTTP/1.1 ") < answers and (data := raw.recv(1 << 16)):
            arriving.write(data)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                while data := tls.read(1 << 16):
                    got += data
        return bytes(got)

    for _ in range(TIMES):
        raw, tls, leaving, arriving = by_hand(gateway, ssl.TLSVersion.TLSv1_3)
        with raw:
            tls.write(large)   # what comes behind it is read many records at a time, from a window that is open
            raw.sendall(leaving.read())
            assert read(raw, tls, arriving, 1).startswith(b"HTTP/1.1 200 ")
            tls.write(call + behind * HEALTH)
            gateway.process.signal(signal.SIGSTOP)
            sender = threading.Thread(target=raw.sendall, args=(leaving.read(),), daemon=True)
            sender.start()
            sender.join(1)
            gateway.process.signal(signal.SIGCONT)
            assert read(raw, tls, arriving, 1 + behind).count(b"HTTP/1.1 200 ") == 1 + behind
