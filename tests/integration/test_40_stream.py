"""Streams: as soon as they arrive, byte for byte, at the client's own pace, and never a silent end."""

import json
import os
import re
import signal
import threading
import time

import pytest

from kit import calls, client, views
from kit.client import request_bytes, sse_events
from kit.procs import ROOT, wait_for


def open_stream(connection, call, sim=None, tags=()):
    connection.send(request_bytes("POST", call.full_path(), call.headers(tags=tags, sim=sim),
                                  call.data()))
    return connection.read_head()


@pytest.mark.parametrize("shape", calls.STREAMS)
def test_byte_for_byte(gateway, provider, shape):
    answer = calls.send(gateway, calls.SHAPES[shape]())
    seen, = provider.requests()
    assert answer.complete
    sent = views.body_of(seen.sent)
    if shape in ("chat-stream", "completions-stream"):
        assert answer.body == views.without_usage_event(sent) != sent
    else:
        views.check_client_got_what_was_sent(answer, seen)
    record = gateway.record(answer.header("x-tollgate-request-id"))
    views.check_usage(record, views.bill_of(provider, record))
    assert record["stream"] is True and record["outcome"] == "ok"


@pytest.mark.parametrize("every", [1, 3, 17])
@pytest.mark.parametrize("shape", ["chat-stream", "responses-stream", "messages-stream",
                                   "generate-sse", "generate-array"])
def test_split_anywhere(gateway, provider, shape, every):
    call = calls.SHAPES[shape]()
    answer = calls.send(gateway, call, sim={"Split_Every": every, "Split_Pause_Ms": 0,
                                            "Output_Tokens": 16})
    sent = views.body_of(provider.requests()[-1].sent)
    expected = views.without_usage_event(sent) if shape == "chat-stream" else sent
    assert answer.complete and answer.body == expected
    record = gateway.record(answer.header("x-tollgate-request-id"))
    views.check_usage(record, views.bill_of(provider, record))


@pytest.mark.parametrize("newline", ["lf", "crlf", "cr"])
@pytest.mark.parametrize("shape", ["chat-stream", "messages-stream", "generate-sse"])
def test_line_ends_and_comments(gateway, provider, shape, newline):
    answer = calls.send(gateway, calls.SHAPES[shape](), sim={"Newline": newline, "Comments": 2})
    sent = views.body_of(provider.requests()[-1].sent)
    expected = views.without_usage_event(sent) if shape == "chat-stream" else sent
    assert answer.body == expected
    record = gateway.record(answer.header("x-tollgate-request-id"))
    views.check_usage(record, views.bill_of(provider, record))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("shape", ["chat", "chat-stream-usage", "messages-stream", "generate-sse"])
def test_compressed_bytes_pass_as_they_came(gateway, provider, shape, coding):
    call = calls.SHAPES[shape]()
    call.extra.append(("Accept-Encoding", coding))
    answer = calls.send(gateway, call, sim={"Encoding": coding})
    seen = provider.requests()[-1]
    assert answer.header("content-encoding") == coding
    assert answer.body == views.body_of(seen.sent)
    record = gateway.record(answer.header("x-tollgate-request-id"))
    views.check_usage(record, views.bill_of(provider, record))
    assert record["usage_source"] == "provider"


def test_events_are_not_held(gateway):
    """Each event is with the client long before the next is sent."""
    with gateway.connect() as connection:
        start = time.monotonic()
        answer = open_stream(connection, calls.chat(stream=True),
                             {"Output_Tokens": 8, "Event_Delay_Ms": 100})
        first = []
        connection.read_body(answer, on_data=lambda data: first.append(
            time.monotonic() - start))
    assert first[0] < 0.35
    gaps = [b - a for a, b in zip(first, first[1:])]
    assert sum(gap > 0.05 for gap in gaps) >= 7


def test_leading_blanks_are_flushed(gateway):
    with gateway.connect() as connection:
        start = time.monotonic()
        answer = open_stream(connection, calls.chat(), {
            "Leading_Whitespace": 3, "Event_Delay_Ms": 150, "Framing": "chunked"})
        assert time.monotonic() - start < 0.6
        connection.read_body(answer)
    assert answer.body.startswith(b"\n\n\n") and answer.json()["usage"]


def resident_mib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.parametrize("shape", ["chat-stream", "generate-array"])
def test_slow_client_slows_its_provider(gateway, provider, shape):
    total = 300 * 200000
    call = calls.SHAPES[shape]()
    with gateway.connect(buffer=8192) as connection:
        before = resident_mib(gateway.process.pid)
        answer = open_stream(connection, call, {"Output_Tokens": 300, "Pad_Bytes": 200000})
        time.sleep(1.0)
        assert resident_mib(gateway.process.pid) - before < 24
        bill, = provider.billed()
        assert not bill["ended"]
        connection.read_body(answer)
        assert answer.complete and len(answer.body) > total
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "ok" and record["usage"]["output_tokens"] == 300


def test_client_that_never_reads(gateways, provider):
    gateway = gateways(bounds={"write_timeout_ms": 800})
    with gateway.connect(buffer=8192) as connection:
        open_stream(connection, calls.chat(stream=True), {"Output_Tokens": 300,
                                                          "Pad_Bytes": 200000})
        record, = gateway.records(1)
    assert record["outcome"] in ("client_abort", "timeout")
    bill, = provider.billed()
    assert not bill["complete"] and bill["bytes_sent"] < 30_000_000


def test_slow_provider_of_a_large_upload(gateway, provider):
    """Flow control the other way: a large request to a provider that reads slowly."""
    call = calls.chat(words=400000)
    before = resident_mib(gateway.process.pid)
    answer = calls.send(gateway, call, sim={"Read_Rate": 8000000}, timeout=30)
    assert answer.status == 200
    seen, = provider.requests()
    assert seen.body_bytes == len(call.data()) and call.data().startswith(seen.body)
    assert resident_mib(gateway.process.pid) - before < 64


ERROR_EVENTS = {
    "chat-stream": lambda events: "error" in json.loads(events[-1][1]),
    "chat-stream-usage": lambda events: "error" in json.loads(events[-1][1]),
    "completions-stream": lambda events: "error" in json.loads(events[-1][1]),
    "responses-stream": lambda events: events[-1][0] == "error"
    and json.loads(events[-1][1])["type"] == "error",
    "messages-stream": lambda events: events[-1][0] == "error"
    and json.loads(events[-1][1])["error"]["type"],
    "generate-sse": lambda events: json.loads(events[-1][1])["error"]["code"] >= 400,
}


@pytest.mark.parametrize("cut", ["close", "notify", "reset"])
@pytest.mark.parametrize("shape", ERROR_EVENTS)
def test_cut_stream_ends_in_an_error_event(gateway, provider, shape, cut):
    answer = calls.send(gateway, calls.SHAPES[shape](), sim={"Cut_After_Events": 5, "Cut": cut})
    sent = views.body_of(provider.requests()[-1].sent)
    events = sse_events(answer.body)
    assert ERROR_EVENTS[shape](events), answer.body[-600:]
    assert b"[DONE]" not in events[-1][2]
    before = b"".join(raw for _, _, raw in events[:-1])
    assert sent.startswith(before) and before
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "upstream_abort"
    assert record["usage_source"] in ("partial", "estimated", "provider")
    assert record["usage"]["input_tokens"] > 0 and record["usage"]["output_tokens"] > 0
    assert record["cost_usd"] not in (None, "0")


@pytest.mark.parametrize("shape", ERROR_EVENTS)
def test_well_framed_stream_without_its_end(gateway, provider, shape):
    """Not ours to patch: it passes as it came. Its record does not take it for whole."""
    answer = calls.send(gateway, calls.SHAPES[shape](), sim={"Cut_After_Events": 6,
                                                             "Cut": "clean"})
    assert answer.complete
    sent = views.body_of(provider.requests()[-1].sent)
    assert answer.body.startswith(sent)
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "upstream_abort"
    if shape != "generate-sse":   # which counts as it goes
        assert record["usage_source"] in ("partial", "estimated")
    assert record["usage"]["output_tokens"] > 0 and record["cost_usd"] not in (None, "0")


def test_cut_array_stream(gateway, provider):
    answer = calls.send(gateway, calls.generate(stream="array"), sim={"Cut_After_Events": 3})
    items = json.loads(answer.body)
    assert "error" in items[-1] and len(items) == 4
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "upstream_abort"


def test_cut_inside_an_event(gateway, provider):
    for cut in (1, 100, 333, 1000):
        answer = calls.send(gateway, calls.chat(stream=True), sim={"Cut_After_Bytes": cut})
        events = sse_events(answer.body)
        assert ERROR_EVENTS["chat-stream"](events), (cut, answer.body)


def test_compressed_stream_that_is_cut_is_not_patched(gateway, provider):
    """An error event in clear text inside gzip would be garbage: the connection breaks instead."""
    call = calls.SHAPES["chat-stream-usage"]()
    call.extra.append(("Accept-Encoding", "gzip"))
    answer = calls.send(gateway, call, sim={"Encoding": "gzip", "Cut_After_Events": 5})
    assert not answer.complete
    assert answer.body == views.body_of(provider.requests()[-1].sent)


@pytest.mark.parametrize("shape", ["chat-stream", "responses-stream", "messages-stream",
                                   "generate-sse", "generate-array"])
def test_error_inside_a_stream_passes(gateway, provider, shape):
    answer = calls.send(gateway, calls.SHAPES[shape](), sim={"Stream_Error": 4})
    sent = views.body_of(provider.requests()[-1].sent)
    assert answer.body == sent and answer.complete
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "provider_error"


def test_stalled_stream_times_out(gateways, provider):
    config = gateways.config()
    config["upstreams"][0]["idle_timeout_ms"] = 400
    gateway = gateways(config)
    answer = calls.send(gateway, calls.chat(stream=True), sim={"Cut_After_Events": 4,
                                                               "Cut": "stall"})
    assert ERROR_EVENTS["chat-stream"](sse_events(answer.body))
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "timeout"


@pytest.mark.parametrize("shape", ["chat-stream", "messages-stream", "generate-sse"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_client_leaves(gateway, provider, shape, end):
    with gateway.connect() as connection:
        answer = open_stream(connection, calls.SHAPES[shape](), {
            "Output_Tokens": 100, "Event_Delay_Ms": 50})
        connection._until(b"\n\n" if shape != "generate-sse" else b"\r\n\r\n")
        if end == "reset":
            connection.reset()
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "client_abort"
    if shape == "generate-sse":   # billed to its end, so read to its end
        assert record["usage_source"] == "provider"
    else:
        assert record["usage_source"] in ("partial", "estimated")
    assert record["usage"]["input_tokens"] > 0
    assert record["cost_usd"] not in (None, "0")


def test_client_leaves_after_done(gateway, provider):
    """After the terminator a hang-up is no abort."""
    with gateway.connect() as connection:
        answer = open_stream(connection, calls.chat(stream=True))
        connection._until(b"data: [DONE]\n\n")
        connection.reset()
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "ok" and record["usage_source"] == "provider"


def test_drain_learns_what_was_charged(gateways, provider):
    config = gateways.config()
    config["upstreams"][0]["on_client_gone"] = "drain"
    gateway = gateways(config)
    with gateway.connect() as connection:
        answer = open_stream(connection, calls.chat(stream=True), {"Event_Delay_Ms": 20})
        connection._until(b"\n\n")
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "client_abort" and record["usage_source"] == "provider"
    views.check_usage(record, views.bill_of(provider, record))


def drains_max():
    with open(os.path.join(ROOT, "proxy", "xchg_relay.c"), encoding="utf-8") as file:
        return int(re.search(r"DRAINS_MAX = (\d+)", file.read()).group(1))


def test_only_so_many_are_read_on_for_nobody(gateways, provider):
    """A worker reads on so many answers whose clients have left; others end at once."""
    most, more = drains_max(), 3
    config = gateways.config(workers=1)
    config["upstreams"][0] |= {"on_client_gone": "drain", "drain_ms": 600000}
    gateway = gateways(config)
    connections = []
    for _ in range(most + more):
        connections.append(connection := gateway.connect())   # one that waits for its turn is shut
        open_stream(connection, calls.chat(stream=True), {"Cut": "stall", "Cut_After_Events": 1})
        connection._until(b"\n\n")
    for connection in connections:
        connection.reset()
    left = wait_for("the ends", lambda: (lambda r: len(r) >= more and r)(gateway.export()), 60)
    time.sleep(0.5)
    assert [r["outcome"] for r in left] == ["client_abort"] * more
    assert len(gateway.export()) == more
    gateway.kill()


@pytest.mark.parametrize("shape, how, source", [
    ("chat-stream", "auto", None), ("chat-stream", "drain", "provider"),
    ("generate-sse", "auto", "provider"), ("generate-sse", "abort", None),
    ("chat", "auto", "provider"), ("chat", "abort", None)])
def test_what_a_provider_bills_all_the_same_is_read(gateways, provider, shape, how, source):
    config = gateways.config()
    for upstream in config["upstreams"]:
        upstream["on_client_gone"] = how
    gateway = gateways(config)
    call = calls.SHAPES[shape]()
    with gateway.connect() as connection:
        if shape == "chat":
            connection.send(request_bytes("POST", call.full_path(), call.headers(sim={
                "Delay_Ms": 500}), call.data()))
            wait_for("the call upstream", lambda: provider.totals()["requests"] == 1)
        else:
            open_stream(connection, call, {"Event_Delay_Ms": 20})
            connection._until(b"\n\n" if shape != "generate-sse" else b"\r\n\r\n")
    record, = gateway.records(1)
    assert record["outcome"] == "client_abort"
    if source:
        assert record["usage_source"] == source
        views.check_usage(record, views.bill_of(provider, record))
    else:
        assert record["usage_source"] in ("partial", "estimated")


def test_client_leaves_before_the_first_byte(gateway, provider):
    with gateway.connect() as connection:
        call = calls.chat()
        connection.send(request_bytes("POST", call.full_path(), call.headers(sim={
            "Delay_Ms": 700}), call.data()))
        wait_for("the call upstream", lambda: provider.totals()["requests"] == 1)
    record, = gateway.records(1)
    assert record["outcome"] == "client_abort" and record["cost_usd"] not in (None, "0")


def test_many_streams_at_once(gateway, provider):
    answers = []

    def run():
        answers.append(calls.send(gateway, calls.chat(stream=True), sim={"Event_Delay_Ms": 10}))
    threads = [threading.Thread(target=run) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 60 and all(a.complete for a in answers)
    records = gateway.records(60)
    assert all(r["usage"]["output_tokens"] == 16 for r in records)


def metric(gateway, name):
    text = gateway.admin("/metrics", token=False).body.decode()
    return int(re.search(rf"^{name} (\d+)$", text, re.MULTILINE)[1])


def test_first_of_many_waits_for_few(gateways):
    """Of requests that are there at once the first go up when some more are read, not all."""
    gateway, many = gateways(workers=1), 400
    call = calls.chat(stream=True)
    wire = request_bytes("POST", call.full_path(), call.headers(
        calls.KEY, sim={"First_Event_Delay_Ms": 4000, "Delay_Ms": 4000}), call.data())
    connections = [gateway.connect() for _ in range(many)]
    before = metric(gateway, "tollgate_journal_writes_total")
    gateway.process.signal(signal.SIGSTOP)
    for connection in connections:
        connection.send(wire)
    gateway.process.signal(signal.SIGCONT)
    wait_for("all are under way", lambda: metric(
        gateway, "tollgate_requests_running") == many)
    written = metric(gateway, "tollgate_journal_writes_total") - before
    assert written >= many // 32, "a turn of the loop takes more than it should"
    for connection in connections:
        assert connection.read().complete
        connection.close()
    assert len(gateway.records(many)) == many


def test_output_bound_is_truncated(gateway, provider):
    for shape, extra in [("chat-stream", {"max_tokens": 4}), ("messages-stream", {
            "max_tokens": 4}), ("generate-sse", {"max_tokens": 4}), ("responses", {
                "max_tokens": 4})]:
        answer = calls.send(gateway, calls.SHAPES[shape](**extra))
        record = gateway.record(answer.header("x-tollgate-request-id"))
        assert record["outcome"] == "truncated", shape
        assert record["usage"]["output_tokens"] == 4
