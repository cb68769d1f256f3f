"""Peers that want to hurt: floods, slowness, sizes. Each meets a bound and is counted; memory is bounded."""

import gzip
import os
import re
import resource
import socket
import ssl
import threading
import time

import pytest

import test_24_http2_conformance as http2_frames
from kit import calls, client
from kit.config import with_upstream
from kit.procs import ROOT, is_sanitized, wait_for
from kit.scripted import Scripted

MIB = 1 << 20
# What the process has beside what it holds for peers: program, ledger, threads, and what malloc
# keeps of what was given back.
CONSTANT_BYTES = 48 * MIB
IDLE_BYTES = 8 << 10     # of the heap, by a client's connection that rests
STREAM_BYTES = 36 << 10  # by one with a stream, its upstream's connection included
IDLE = int(os.environ.get("TOLLGATE_TEST_IDLE", "2000"))   # 10000 takes half a minute


def memory(gateway):
    """Resident bytes."""
    with open(f"/proc/{gateway.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def metric(gateway, name, labels=""):
    text = gateway.admin("/metrics", token=False).body.decode()
    for line in text.splitlines():
        if line.startswith(name + labels + " "):
            return int(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no {name}{labels}")


def abuse(gateway, kind):
    return metric(gateway, "tollgate_abuse_total", f'{{kind="{kind}"}}')


def counted(gateway, kind, at_least=1):
    wait_for(f"{kind} counted", lambda: abuse(gateway, kind) >= at_least)


def held(gateway):
    return metric(gateway, "tollgate_memory_held_bytes")


class Peak:
    """The most that a gateway had resident while a block ran."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.before = memory(gateway)
        self.bytes = 0

    def __enter__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def _look(self):
        while not self.over.wait(0.01):
            self.bytes = max(self.bytes, memory(self.gateway))

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


# ---- connections -------------------------------------------------------------------------------

def test_connections_of_one_address(gateways):
    """The one too many is closed at once; others of the address go on; leaving makes room."""
    gateway = gateways(bounds={"connections_per_address": 3})
    open_ones = [gateway.connect() for _ in range(3)]
    with pytest.raises((OSError, ssl.SSLError)):
        gateway.connect()
    counted(gateway, "connections_per_address")
    for connection in open_ones:
        connection.send(client.request_bytes("GET", "/_tollgate/healthz"))
        assert connection.read("GET").status == 200
    open_ones.pop().close()
    def one_more():
        try:
            return gateway.connect()
        except (OSError, ssl.SSLError):
            return None
    open_ones.append(wait_for("room for another", one_more))
    for connection in open_ones:
        connection.close()


def test_full_house_makes_room(gateways):
    """Where all connections are taken, one that rests is closed for one that comes."""
    gateway = gateways(workers=1, bounds={"connections": 4, "connections_per_address": 100})
    idle = [gateway.connect() for _ in range(4)]
    assert calls.send(gateway, calls.chat()).status == 200
    assert abuse(gateway, "idle_closed") == 1 and abuse(gateway, "connections") == 0
    assert idle[0].at_end()   # the oldest
    for connection in idle:
        connection.close()


def test_full_house_of_work(gateways, provider):
    """No connection at work is closed for another: that one is."""
    gateway = gateways(workers=1, bounds={"connections": 3, "connections_per_address": 100})
    call = calls.chat(stream=True, max_tokens=200)
    busy = []
    for _ in range(3):
        connection = gateway.connect()
        connection.send(client.request_bytes(
            "POST", call.full_path(), [*call.headers(), ("X-Sim-Event-Delay-Ms", "20"),
                                       ("X-Sim-Output-Tokens", "100")], call.data()))
        busy.append(connection)
    heads = [connection.read_head() for connection in busy]
    with pytest.raises((OSError, ssl.SSLError)):
        gateway.connect()
    counted(gateway, "connections")
    for connection, head in zip(busy, heads):
        connection.read_body(head)
        assert head.status == 200 and head.complete and head.body.endswith(b"data: [DONE]\n\n")
        connection.close()
    assert abuse(gateway, "idle_closed") == 0


# ---- slowness ----------------------------------------------------------------------------------

FAST = {"head_timeout_ms": 300, "body_timeout_ms": 300, "write_timeout_ms": 700}


def test_silent(gateways):
    """A handshake that is not begun, one that is not followed by anything."""
    gateway = gateways(bounds=FAST)
    with socket.create_connection(("127.0.0.1", gateway.port)), gateway.connect():
        counted(gateway, "silent", 2)


def test_slow_head(gateways):
    gateway = gateways(bounds=FAST)
    with gateway.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: lo")
        assert connection.read().status == 408
    assert abuse(gateway, "slow_head") == 1


@pytest.mark.parametrize("way", ["HTTP/1.1", "HTTP/2", "HTTP/2, continued"])
def test_head_that_dribbles(gateways, way):
    """A byte now and then puts nothing off: the time is the whole head's."""
    gateway = gateways(bounds=FAST)
    if way == "HTTP/1.1":
        connection, head = gateway.connect(), b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"b" * 1000
        send = connection.send
    else:
        connection = http2_frames.Raw(gateway)
        block = http2_frames.GET + http2_frames.fields(("x-a", "b" * 200)) * 5
        head = http2_frames.get(block=block)
        if "continued" in way:
            head = http2_frames.get(flags=1, block=block[:40]) + http2_frames.frame(
                http2_frames.CONTINUATION, 0, 1, block[40:])
        send = connection.sock.sendall
    began = time.monotonic()
    with connection, pytest.raises(OSError):
        for byte in head:
            send(bytes([byte]))
            if abuse(gateway, "slow_head"):
                raise OSError("it was ended")
            time.sleep(0.02)
    assert time.monotonic() - began < 5 and abuse(gateway, "slow_head") == 1


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/local/v1/uploads"])
def test_slow_body(gateways, path):
    """Held or streamed."""
    config = gateways.config(bounds=FAST)
    for upstream in config["upstreams"]:
        upstream["unknown_endpoints"] = "allow"
    gateway = gateways(config)
    with gateway.connect() as connection:
        connection.send(client.request_bytes("POST", path, [
            ("Authorization", "Bearer " + calls.KEY), ("Content-Length", "1000")], b"",
            length=False) + b"{")
        assert connection.read().status == 408
    assert abuse(gateway, "slow_body") == 1


def never_read(gateway, path_and_headers, n=1):
    """Connections that ask for a long answer and read nothing of it."""
    call, sim = path_and_headers
    out = []
    for _ in range(n):
        connection = gateway.connect(buffer=4096)
        connection.send(client.request_bytes("POST", call.full_path(), [
            *call.headers(), *((f"X-Sim-{k}", v) for k, v in sim.items())], call.data()))
        out.append(connection)
    return out


LONG = (calls.chat(stream=True, max_tokens=8000),
        {"Output-Tokens": "8000", "Pad-Bytes": "4000", "Tokens-Per-Event": "4"})


def test_slow_reader(gateways, provider):
    gateway = gateways(bounds=FAST)
    connection, = never_read(gateway, LONG)
    counted(gateway, "slow_reader")
    record, = gateway.records(1)
    assert record["outcome"] == "client_abort"
    connection.close()


# ---- sizes -------------------------------------------------------------------------------------

def test_header_flood(gateway):
    with gateway.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 129 + b"\r\n")
        assert connection.read().status == 431
    with gateway.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 70000)
        assert connection.read().status == 431
    assert abuse(gateway, "header_flood") == 2


@pytest.mark.parametrize("more, status", [(-1, 200), (1, 431)])
def test_the_largest_head_that_may_be(gateways, certs, more, status):
    """With the greatest bound that can be set: up to it a request goes through."""
    upstream = Scripted(certs)
    gateway = gateways(with_upstream(gateways.config(bounds={"head_bytes": MIB}), "openai",
                                     base_url=upstream.url))
    call = calls.chat()
    fields = [*call.headers(), *((f"X-Long-{i}", "v" * 9000) for i in range(110))]
    left = MIB + more - len(client.request_bytes("POST", call.full_path(), [
        *fields, ("X-Last", "")], call.data())) + len(call.data())
    data = client.request_bytes("POST", call.full_path(), [*fields, ("X-Last", "v" * left)], call.data())
    with gateway.connect() as connection:
        connection.send(data)
        assert connection.read().status == status
    if status == 200:
        asked, = upstream.asked
        assert asked.body == call.data() and asked.all("x-last") == ["v" * left]
    upstream.stop()


def test_large_body(gateways):
    gateway = gateways(bounds={"body_bytes": 10000})
    call = calls.chat()
    for body in (b"", client.chunked(b"x" * 10001)):
        extra = ("Content-Length", "10001") if not body else ("Transfer-Encoding", "chunked")
        with gateway.connect() as connection:
            connection.send(client.request_bytes("POST", call.full_path(),
                                                 [*call.headers(), extra], length=False) + body)
            assert connection.read().status == 413
    assert abuse(gateway, "large_body") == 2


def own_body_max():
    with open(os.path.join(ROOT, "proxy", "xchg_request.c"), encoding="utf-8") as file:
        return int(re.search(r"OWN_BODY_MAX_BYTES = (\d+) << 10", file.read()).group(1)) << 10


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("more, status", [(0, 200), (1, 413)])
def test_large_body_on_our_own_path(gateway, more, status, framing):
    """It is parsed whole, into many times its size that nothing else bounds."""
    body = b'{"outcome":"completed"}'.ljust(own_body_max() + more)
    fields = [("Authorization", "Bearer " + calls.KEY)]
    with gateway.connect() as connection:
        if framing == "length":
            connection.send(client.request_bytes("PUT", "/_tollgate/tasks/t/outcome", fields, body))
        else:
            connection.send(client.request_bytes("PUT", "/_tollgate/tasks/t/outcome", [
                *fields, ("Transfer-Encoding", "chunked")], length=False) + client.chunked(body))
        assert connection.read().status == status
    assert abuse(gateway, "large_body") == (status == 413)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_large_body_that_is_not_held(gateways, certs, framing):
    """The bound is of what is held: a file goes through, however large."""
    upstream = Scripted(certs)
    gateway = gateways(with_upstream(gateways.config(bounds={"body_bytes": 10000}), "openai",
                                     base_url=upstream.url))
    body = os.urandom(MIB)
    fields = [("Authorization", "Bearer " + calls.KEY), ("Content-Type", "application/octet-stream")]
    with gateway.connect() as connection:
        if framing == "length":
            connection.send(client.request_bytes("POST", "/openai/v1/files", fields, body))
        else:
            connection.send(client.request_bytes("POST", "/openai/v1/files", [
                *fields, ("Transfer-Encoding", "chunked")], length=False) + client.chunked(body))
        assert connection.read().status == 200
    asked, = upstream.asked
    assert asked.body == body
    assert abuse(gateway, "large_body") == 0
    upstream.stop()


def test_compression_bomb(gateway, provider):
    call = calls.chat()
    packed = gzip.compress(b'{"model":"gpt-4o","messages":"' + b" " * (64 * MIB) + b'"}')
    answer = gateway.request("POST", call.full_path(), [
        *call.headers(), ("Content-Encoding", "gzip")], packed)
    assert answer.status == 413
    assert abuse(gateway, "compression_bomb") == 1 and provider.requests() == []


def test_tiny_pieces(gateway, provider):
    """A chunk and a TLS record for each byte: slow for its sender, the same request for us."""
    call = calls.chat(words=50)
    with gateway.connect() as connection:
        connection.send(client.request_bytes("POST", call.full_path(), [
            *call.headers(), ("Transfer-Encoding", "chunked")], length=False))
        for piece in client.chunked(call.data(), 1).split(b"\r\n")[:-1]:
            connection.send(piece + b"\r\n")
        assert connection.read().status == 200
    seen, = provider.requests()
    assert seen.body == call.data()


def test_huge_chunk(gateway, provider):
    """A chunk size beyond any number, and one that is never filled."""
    call = calls.chat()
    for size in (b"f" * 17, b"7fffffffffffffff"):
        with gateway.connect() as connection:
            connection.send(client.request_bytes("POST", call.full_path(), [
                *call.headers(), ("Transfer-Encoding", "chunked")], length=False) +
                size + b"\r\n{}")
            if len(size) > 16:
                assert connection.read().status == 400
    assert held(gateway) < 8 * MIB and provider.requests() == []


# ---- memory ------------------------------------------------------------------------------------

def upload(gateway, size, results, started):
    """A chat of so many bytes, all sent before the answer is read; its status and code."""
    call = calls.chat()
    body = call.data()[:-1] + b', "user": "' + b"u" * size + b'"}'
    try:
        with gateway.connect() as connection:
            started.wait(30)
            try:
                connection.send(client.request_bytes("POST", call.full_path(), call.headers(), body))
            except OSError:
                pass   # refused before it was all sent
            answer = connection.read()
            results.append((answer.status, answer.header("x-tollgate-denied")))
    except (OSError, client.Broken, AssertionError) as problem:
        results.append((0, repr(problem)))


@pytest.mark.slow
def test_many_large_uploads(gateways, provider):
    """Five times the bound at once: what fits is served, the rest told so, nothing grows beyond."""
    bound = 64 * MIB
    gateway = gateways(bounds={"memory_bytes": bound})
    assert calls.send(gateway, calls.chat()).status == 200
    results, started = [], threading.Barrier(40)
    threads = [threading.Thread(target=upload, args=(gateway, 8 * MIB, results, started))
               for _ in range(40)]
    with Peak(gateway) as peak:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert peak.bytes < bound + CONSTANT_BYTES, f"{peak.bytes >> 20} MiB"
    assert len(results) == 40
    refused = [r for r in results if r == (503, "overloaded")]
    served = [r for r in results if r[0] == 200]
    lost = [r for r in results if r[0] == 0]   # closed while it still sent
    assert len(refused) + len(served) + len(lost) == 40, results
    assert refused and served, results
    # Who had not begun to send when memory got tight rested, and went first.
    told = abuse(gateway, "memory")
    assert len(refused) <= told <= len(refused) + len(lost), results
    assert told + abuse(gateway, "idle_closed") >= len(refused) + len(lost), results
    wait_for("all is given back", lambda: held(gateway) < 4 * MIB)
    assert calls.send(gateway, calls.chat()).status == 200
    assert len(gateway.records(len(served) + 2)) == len(served) + 2


@pytest.mark.slow
def test_slow_readers_of_a_fast_provider(gateways, provider):
    """Eight megabytes each for forty clients that take nothing: some hundred KiB each are held."""
    gateway = gateways()
    before = memory(gateway)
    with Peak(gateway) as peak:
        open_ones = never_read(gateway, LONG, 40)
        time.sleep(2)
        assert 40 * 16384 < held(gateway) < 40 * 512 * 1024
    assert peak.bytes - before < 40 * 512 * 1024 + 8 * MIB, f"{(peak.bytes - before) >> 10} KiB"
    for connection in open_ones:
        connection.close()
    wait_for("all is given back", lambda: held(gateway) < 8 * MIB)


def test_what_comes_ahead_is_left_to_its_sender(gateways, provider):
    """Requests behind one that is under way: as much as the system's own buffers and 64 KiB of ours take."""
    gateway = gateways(workers=1)
    call = calls.chat()
    behind = client.request_bytes("GET", "/_tollgate/healthz") * 2000
    with gateway.connect(timeout=2) as connection:
        connection.send(client.request_bytes("POST", call.full_path(), [*call.headers(), ("X-Sim-Hang", "1")],
                                             call.data()))
        wait_for("it is under way", lambda: len(provider.requests()) == 1)
        with pytest.raises(OSError):
            for _ in range(64 * MIB // len(behind)):
                connection.send(behind)
        assert held(gateway) < 2 * MIB


def test_who_is_refused_and_sends_on(gateways):
    """Some of what is on its way is still taken, so that the refusal arrives: 1 MiB, and the system's own buffers."""
    gateway = gateways(workers=1)
    head = client.request_bytes("POST", "/openai/v1/chat/completions",
                                [("Authorization", "Bearer tg_nobody"), ("Content-Length", str(1 << 34))])
    sent = 0
    with gateway.connect(timeout=5) as connection:
        connection.send(head)
        with pytest.raises(OSError):
            while sent < 256 * MIB:
                connection.send(b"x" * 65536)
                sent += 65536
    assert sent < 24 * MIB


@pytest.mark.slow
def test_connections_to_a_provider_that_rest(gateways, provider):
    """A crowd's connections are not all kept: 512 of a worker and upstream."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    gateway, crowd = gateways(workers=1, bounds={"connections_per_address": 1000}), 560

    def to_provider():
        with open("/proc/net/tcp", encoding="ascii") as file:
            lines = [line.split() for line in file][1:]
        return sum(line[2].endswith(f":{provider.port:04X}") and line[3] == "01" for line in lines)
    others, connections = to_provider(), []
    call, start = calls.chat(), time.monotonic()
    for _ in range(20):
        assert calls.send(gateway, call).status == 200
    delay_s = int(max(15, 4 * crowd * (time.monotonic() - start) / 20))   # until all are under way
    try:
        for _ in range(crowd):
            connections.append(gateway.connect(timeout=2 * delay_s))
            connections[-1].send(client.request_bytes("POST", call.full_path(), [
                *call.headers(), ("X-Sim-Delay-Ms", str(1000 * delay_s))], call.data()))
        wait_for("all are under way", lambda: to_provider() - others == crowd, delay_s - 1)
        for connection in connections:
            assert connection.read().status == 200
        assert to_provider() - others == 512
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("size, status", [(30000, 200), (60000, 200), (70000, 502)])
def test_the_head_of_an_answer_is_bounded(gateways, upstream, size, status):
    """64 KiB, in lines that are each of a size that any reader takes."""
    upstream.answers["POST /v1/chat/completions"] = (b"{}", "application/json", {
        f"X-Long-{i}": "v" * 5000 for i in range(size // 5000)})
    gateway = gateways(with_upstream(gateways.config(None), "openai", base_url=upstream.url))
    call = calls.chat()
    assert gateway.request("POST", call.full_path(), call.headers(), call.data()).status == status


@pytest.mark.slow
def test_many_idle_connections(gateways):
    """Accounted for at what they take, given their buffers back, none dropped while there is room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = min(IDLE, hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, n + 500)), hard))
    gateway = gateways(bounds={"connections": 3 * n, "keepalive_timeout_ms": 300000,
                               "head_timeout_ms": 300000})
    before = memory(gateway)
    raw = []
    try:
        for _ in range(n):
            sock = socket.create_connection(("127.0.0.1", gateway.port))
            raw.append(gateway.context.wrap_socket(sock, server_hostname="localhost"))
        assert metric(gateway, "tollgate_connections_open") == n
        wait_for("buffers are given back", lambda: held(gateway) < n * 17 * 1024, 30)
        took = memory(gateway) - before
        print(f"{n} idle: {took / n / 1024:.1f} KiB each, held {held(gateway) / n / 1024:.1f}")
        assert took < held(gateway) + CONSTANT_BYTES
        assert calls.send(gateway, calls.chat()).status == 200
    finally:
        for sock in raw:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_for("all is given back", lambda: held(gateway) < 4 * MIB)


def test_what_rests_takes_little(gateways):
    """Of the heap, beside what the process has anyway: a connection that rests, a stream that runs."""
    if is_sanitized():
        pytest.skip("this build's heap is not the one that is sold")
    gateway, many = gateways(workers=1), 200
    call = calls.chat(stream=True)
    wire = client.request_bytes("POST", call.full_path(), call.headers(
        calls.KEY, sim={"Event_Delay_Ms": 1000, "Output_Tokens": 10}), call.data())
    assert calls.send(gateway, call).complete   # what the first call alone takes
    time.sleep(1)
    before = metric(gateway, "tollgate_heap_used_bytes")

    def taken(most):
        """A slow machine needs a while until there is no more of it than that."""
        found = []
        wait_for(f"{most} bytes at most", lambda: found.append(
            metric(gateway, "tollgate_heap_used_bytes") - before) or found[-1] < most, 10, 0.2)
        return found[-1]
    connections = [gateway.connect() for _ in range(many)]
    for connection in connections:
        assert calls.send(gateway, calls.chat(), connection).status == 200
    time.sleep(3)   # those that rest give back what a request wants, and the ledger has its part
    idle = taken(many * IDLE_BYTES)
    for connection in connections:
        connection.send(wire)
    heads = [connection.read_head() for connection in connections]
    time.sleep(1.5)   # the first pause, and the ledger's thread has had its part
    streams = taken(many * STREAM_BYTES)
    print(f"{idle / many / 1024:.1f} KiB a connection, {streams / many / 1024:.1f} KiB a stream")
    for connection, head in zip(connections, heads):
        connection.read_body(head)
        assert head.complete
        connection.close()


@pytest.mark.slow
def test_idle_connections_go_first(gateways, provider):
    """Near the bound connections that rest are closed, and what runs goes on."""
    gateway = gateways(workers=1, bounds={"memory_bytes": 8 * MIB, "connections": 2000})
    call, sim = calls.chat(stream=True, max_tokens=300), "15"
    with gateway.connect() as busy:
        busy.send(client.request_bytes("POST", call.full_path(), [
            *call.headers(), ("X-Sim-Event-Delay-Ms", sim), ("X-Sim-Output-Tokens", "200")],
            call.data()))
        head = busy.read_head()
        raw = []
        for _ in range(140):   # 48 KiB each while they are fresh
            raw.append(socket.create_connection(("127.0.0.1", gateway.port), 5))
        counted(gateway, "idle_closed")
        assert held(gateway) <= 8 * MIB
        busy.read_body(head)
        assert head.complete and head.body.endswith(b"data: [DONE]\n\n")
        for sock in raw:
            sock.close()
    wait_for("service again", lambda: calls.send(gateway, calls.chat()).status == 200)
