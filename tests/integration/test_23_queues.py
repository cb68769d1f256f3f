"""Requests that wait for a connection to their upstream: whoever ends before them, and however, they have their turn."""

import contextlib
import socket
import ssl
import threading

import pytest

from kit import calls, client
from kit.procs import wait_for
from kit.scripted import PLAIN

CALL = calls.chat()
ASKED = client.request_bytes("POST", CALL.full_path(), CALL.headers(), CALL.data())
HEALTH = client.request_bytes("GET", "/_tollgate/healthz")
CONNECT_MS = 1000
FIRST_BYTE_MS = 1000


class Once:
    """An upstream whose first connection it holds without a word, shaken hands with or not; others as it is told."""

    def __init__(self, certs, shakes):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certs.path("server.pem"), certs.path("server.key"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.has_first = threading.Event()
        self.shakes, self.held = shakes, []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError, client.Broken):
            raw, _ = self.listener.accept()
            if self.shakes:
                raw = self.context.wrap_socket(raw, server_side=True)
                raw.recv(1 << 16)
            self.held.append(raw)
            self.has_first.set()
            while True:
                raw, _ = self.listener.accept()
                peer = client.Connection.__new__(client.Connection)
                peer.sock, peer.buffered, peer.ended = self.context.wrap_socket(raw, server_side=True), b"", None
                peer._until(b"\r\n\r\n")
                peer.send(PLAIN)
                self.held.append(raw)

    def refuse(self):
        """Nobody else is let in."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def stop(self):
        with contextlib.suppress(OSError):
            self.refuse()


def gateway_of(gateways, upstream, first_byte_ms=FIRST_BYTE_MS, **changes):
    config = gateways.config(workers=1, **changes)
    config["upstreams"][0] |= {"base_url": upstream.url, "max_connections": 1, "connect_timeout_ms": CONNECT_MS,
                               "first_byte_timeout_ms": first_byte_ms}
    return gateways(config)


def ask(gateway):
    connection = gateway.connect()
    connection.send(ASKED)
    return connection


def metric(gateway, name):
    for line in gateway.admin("/metrics", token=False).body.decode().splitlines():
        if line.startswith(name + " "):
            return int(line.rsplit(" ", 1)[1])
    raise AssertionError(name)


def ask_behind(gateway, upstream, n):
    """One that has the connection, and so many that wait for it."""
    first = ask(gateway)
    assert upstream.has_first.wait(20)
    behind = []
    for _ in range(n):
        behind.append(ask(gateway))
        wait_for("it waits", lambda: metric(gateway, "tollgate_requests_running") == len(behind) + 1)
    return first, behind


def test_behind_a_connection_that_is_never_made(gateways, certs):
    """What ran out of time to connect gives its place to the next, who has a time of his own."""
    upstream = Once(certs, shakes=False)
    gateway = gateway_of(gateways, upstream)
    first, (second,) = ask_behind(gateway, upstream, 1)
    assert first.read().status == 504
    assert second.read().status == 200
    upstream.stop()


@pytest.mark.parametrize("n", [1, 3])
def test_behind_one_whose_time_is_over(gateways, certs, n):
    """Its end gives the place to the next, who finds nobody there and ends in the same step."""
    upstream = Once(certs, shakes=True)
    gateway = gateway_of(gateways, upstream)
    first, behind = ask_behind(gateway, upstream, n)
    upstream.refuse()
    assert first.read().status == 504
    for connection in behind:
        assert connection.read().status in (502, 504)
    first.send(HEALTH)
    assert first.read("GET").status == 200


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("lets_in", [False, True])
def test_behind_one_at_the_end_of_the_process(gateways, certs, n, lets_in):
    """Who is told to end ends others, or begins them: each is told, once, and nobody stays."""
    upstream = Once(certs, shakes=True)
    gateway = gateway_of(gateways, upstream, 60000, drain_seconds=1)
    first, behind = ask_behind(gateway, upstream, n)
    if not lets_in:
        upstream.refuse()
    gateway.stop()
    for connection in [first, *behind]:
        assert connection.read().status in (502, 503)
    upstream.stop()
