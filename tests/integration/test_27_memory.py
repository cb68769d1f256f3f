"""What a gateway takes of its own, beside the program and its libraries, and what it gives back."""

import re
import socket
import ssl
import time

import pytest

from kit import calls, client, faults
from kit.procs import is_sanitized, wait_for

pytestmark = pytest.mark.skipif(is_sanitized(), reason="its heap is not the one that is sold")

STARTED_KIB = 6700      # of a gateway that has served nothing: most of it is the price book as read
RELOADED_KIB = 1500     # more, after the configuration was read again
CROWD = 600             # connections that shake hands at once
SHAKING_KIB = 76        # of each, and its upstream's, when all have their first bytes
STREAM_KIB = 48         # of each once the crowd's holes are given back
LEFT_KIB = 20           # of each when it has gone
CALM_S = 30             # until they are: some seconds in which the worker is at work half the time


def own_kib(gateway):
    with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"RssAnon:\s+(\d+) kB", file.read())[1])


NO_FAULTS = faults.missing()
WARM, COUNTED = 100, 100
OF_A_REQUEST = 1.2   # the reservation's, in memory; and what the tick took of resting connections
OF_A_STREAM = 16     # and its buffers, which it gives back at its end, since streams are many and long
OF_AN_EVENT = 0.1    # its buffer towards the client, which others have while it rests


@pytest.mark.skipif(bool(NO_FAULTS), reason=NO_FAULTS or "")
@pytest.mark.parametrize("shape", calls.SHAPES)
def test_a_request_allocates_nothing(gateways, provider, tmp_path, shape):
    """After a warm-up: the worker's calls of malloc, calloc and realloc.  (With Redis, hiredis makes some thirty
    a call of it, which leases make rare.)"""
    counter = faults.Faults(tmp_path)
    config = gateways.config(workers=1, limits=[
        {"name": "day", "unit": "usd", "limit": "1000000", "window": "day"}])
    config["env"] = counter.env
    gateway = gateways(config)
    call = calls.SHAPES[shape](words=40)
    streams = "stream" in shape or shape.startswith("generate-")

    def each(tokens, n=COUNTED):
        with gateway.connect() as connection:
            for turn in range(n + WARM):
                if turn == WARM:
                    counter.count(faults.ALLOCATION, 0)
                assert calls.send(gateway, call, connection, sim={"Output-Tokens": tokens}).status == 200
            return counter.disarm().seen / n
    seen = each(16)
    print(f"{shape}: {seen:.2f} allocations a request")
    assert seen <= (OF_A_STREAM if streams else OF_A_REQUEST)
    if streams:
        more = each(416, 20) - seen
        print(f"{shape}: {more:.2f} more for 400 events more")
        assert more <= 400 * OF_AN_EVENT


def reloads(gateway):
    text = gateway.admin("/metrics", token=False).body.decode()
    return int(re.search(r"^tollgate_reloads_total\S* (\d+)", text, re.M)[1])


def test_just_started(gateways):
    own = own_kib(gateways(workers=1))
    print(f"{own} KiB")
    assert own < STARTED_KIB


def test_reload_gives_back(gateways):
    """The configuration that was, and what reading the new one took."""
    gateway = gateways(workers=1)
    before = own_kib(gateway)
    for n in range(3):
        gateway.reload()
        wait_for("reload", lambda done=n + 1: reloads(gateway) == done)
    print(f"{own_kib(gateway) - before} KiB more")
    wait_for("it is given back", lambda: own_kib(gateway) - before < RELOADED_KIB, CALM_S)


class Shaking:
    """A client whose handshake goes on when it is told to."""

    def __init__(self, gateway):
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = gateway.context.wrap_bio(self.into, self.out, server_hostname="localhost")
        self.sock = socket.create_connection(("127.0.0.1", gateway.port), 30)
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.sock.sendall(self.out.read())

    def _until(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                data = self.sock.recv(65536)
                assert data, "closed"
                self.into.write(data)

    def finish(self):
        self._until(self.tls.do_handshake)
        self.sock.sendall(self.out.read())

    def send(self, data):
        self.tls.write(data)
        self.sock.sendall(self.out.read())

    def read(self):
        return self._until(lambda: self.tls.read(65536))


@pytest.mark.slow
def test_crowd_leaves_no_holes(gateways):
    """Handshakes of many at once lie side by side in the heap, between what stays of each."""
    gateway = gateways(workers=1, bounds={"head_timeout_ms": 60000})
    before = own_kib(gateway)
    call = calls.chat(stream=True)
    wire = client.request_bytes("POST", call.full_path(), call.headers(
        calls.KEY, sim={"Event_Delay_Ms": 1000, "Output_Tokens": 60}), call.data())

    def each():
        return (own_kib(gateway) - before) / CROWD

    crowd = [Shaking(gateway) for _ in range(CROWD)]
    for one in crowd:
        one.finish()
    for one in crowd:
        one.send(wire)
    for one in crowd:
        assert one.read().startswith(b"HTTP/1.1 200")
    most = each()
    wait_for("holes are given back", lambda: each() < STREAM_KIB, CALM_S)
    time.sleep(1)
    stays = each()
    for one in crowd:
        one.sock.close()
    wait_for("all is given back", lambda: each() < LEFT_KIB, CALM_S)
    print(f"{most:.1f} KiB each, {stays:.1f} that stay, {each():.1f} when they have gone")
    assert most < SHAKING_KIB
