"""Bodies that are compressed, large, or not what they say: passed on untouched, read within bounds."""

import gzip
import json
import os
import re
import time
import urllib.parse
import zlib

import pytest

from kit import calls, procs
from kit.client import request_bytes

ANSWER = {"id": "c-1", "object": "chat.completion", "model": "gpt-4o",
          "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"},
                       "finish_reason": "stop"}],
          "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}}


def raw(body, content_type="application/json", length=None):
    head = (f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body) if length is None else length}\r\n\r\n").encode()
    return urllib.parse.quote_from_bytes(head + body)


def metric(gateway, name):
    text = gateway.admin("/metrics", token=False).body.decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


def send_body(gateway, body, coding, sim):
    call = calls.chat()
    headers = call.headers(sim=sim) + [("Content-Encoding", coding)]
    with gateway.connect() as connection:
        connection.send(request_bytes("POST", call.full_path(), headers, body))
        return connection.read("POST")


# ---- compressed requests -------------------------------------------------------------------

@pytest.mark.parametrize("coding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_request(gateway, provider, coding, pack):
    body = pack(calls.chat(words=200, stream=True, model="gpt-4o-mini").data())
    answer = send_body(gateway, body, coding, {"Raw": raw(json.dumps(ANSWER).encode())})
    assert answer.status == 200 and json.loads(answer.body) == ANSWER
    seen = provider.requests()[-1]
    assert seen.body == body      # it travels as it came
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["model_requested"] == "gpt-4o-mini"
    assert record["usage"]["input_tokens"] == 11 and record["usage_source"] == "provider"


def test_compressed_request_is_bounded(gateway, provider):
    start = time.monotonic()
    bomb = send_body(gateway, gzip.compress(b" " * (200 << 20)), "gzip", {})
    assert bomb.status == 413 and bomb.header("x-tollgate-denied") == "body_too_large"
    assert time.monotonic() - start < 30
    whole = gzip.compress(calls.chat().data())
    for coding, body in (("gzip", calls.chat().data()), ("gzip", whole[:-3]), ("deflate", whole),
                         ("compress", whole), ("gzip, gzip", whole)):
        answer = send_body(gateway, body, coding, {})
        assert answer.status == 400 and answer.header("x-tollgate-denied") == "bad_request"
    assert not provider.requests()


# ---- large answers -------------------------------------------------------------------------

def peak_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) / 1024


# What a sanitizer keeps of freed memory is no memory of the gateway's.
SMALL_QUARANTINE = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:quarantine_size_mb=4"}
GROWTH_MIB = 32


@pytest.mark.slow
@pytest.mark.parametrize("shape,megabytes", [("chat-stream-usage", 200), ("messages-stream", 50),
                                             ("generate-array", 50)])
def test_hundreds_of_megabytes(gateways, provider, shape, megabytes):
    """TOLLGATE_LARGE_MB=2000 for more."""
    megabytes = int(os.environ.get("TOLLGATE_LARGE_MB", megabytes))
    gateway = gateways(env=SMALL_QUARANTINE)
    call = calls.SHAPES[shape](max_tokens=megabytes)
    before, total, tail = peak_mib(gateway.process.pid), 0, b""
    with gateway.connect() as connection:
        connection.send(request_bytes("POST", call.full_path(), call.headers(
            sim={"Output_Tokens": megabytes, "Pad_Bytes": 1_000_000}), call.data()))
        head = connection.read_head()
        while tail[-5:] != b"0\r\n\r\n":
            data = connection.sock.recv(1 << 20)
            assert data, total
            total += len(data)
            tail = (tail + data)[-5:]
    assert head.status == 200 and total > 1_000_000 * megabytes
    assert peak_mib(gateway.process.pid) - before < GROWTH_MIB
    record = gateway.record(head.header("x-tollgate-request-id"))
    assert record["usage"]["output_tokens"] == megabytes
    assert record["usage_source"] == "provider"
    assert record["outcome"] in ("ok", "truncated")


# ---- answers that are not what they say ------------------------------------------------------

USAGES = {   # what stands in "usage", and whether that is counted as inconsistent
    "beyond 2^53": ('{"prompt_tokens":9007199254740993,"completion_tokens":3}', True),
    "beyond 2^64": ('{"prompt_tokens":99999999999999999999,"completion_tokens":3}', True),
    "exponent": ('{"prompt_tokens":1e400,"completion_tokens":1e-400}', True),
    "negative": ('{"prompt_tokens":-5,"completion_tokens":3}', True),
    "fraction": ('{"prompt_tokens":1.5,"completion_tokens":3}', True),
    "text": ('{"prompt_tokens":"11","completion_tokens":"3"}', False),
    "array": ("[11,3]", False),
    "null": ("null", False),
}


@pytest.mark.parametrize("name", USAGES)
def test_odd_usage(gateway, provider, name):
    text, inconsistent = USAGES[name]
    body = json.dumps(ANSWER).replace(json.dumps(ANSWER["usage"]), text).encode()
    answer = calls.send(gateway, calls.chat(), sim={"Raw": raw(body)})
    assert answer.status == 200 and answer.body == body
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["usage_source"] in ("none", "partial", "estimated")
    for count in record.get("usage", {}).values():
        assert 0 <= count < 10_000
    if inconsistent:
        assert metric(gateway, "tollgate_tap_inconsistent_total") == 1


BODIES = {
    "not JSON": b"<html>an error page</html>",
    "empty": b"",
    "cut": json.dumps(ANSWER).encode()[:-20],
    "two documents": json.dumps(ANSWER).encode() * 2,
    "not UTF-8": b'{"choices":[{"message":{"content":"\xff\xfe"}}],"usage":"\xc3"}',
    "only brackets": b"]]]]}}}}",
}


@pytest.mark.parametrize("name", BODIES)
def test_answer_that_is_no_document(gateway, provider, name):
    answer = calls.send(gateway, calls.chat(), sim={"Raw": raw(BODIES[name])})
    assert answer.status == 200 and answer.body == BODIES[name]
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["usage_source"] != "provider" or name == "two documents"
    if name not in ("empty", "not UTF-8"):
        assert metric(gateway, "tollgate_tap_undecodable_total") == 1


# ---- answers that are too much -----------------------------------------------------------------

def chunk(**members):
    return "data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o",
                                  "choices": [], **members}) + "\n\n"


def with_extra(extra):
    """The answer with one more member ahead of its usage."""
    return json.dumps(ANSWER).replace('"usage"', f'"extra": {extra}, "usage"').encode()


MILLION = 1_000_000
DEPTH = 10_000
KEYS = "{" + ",".join(f'"k{i}":{i}' for i in range(MILLION)) + "}"
DELTA = chunk(choices=[{"index": 0, "delta": {"content": "hi "}}])

# name: body, type, usage as the record has it (None: the provider's was not read), the counter.
TOO_MUCH = {
    "a million keys": (with_extra(KEYS), "application/json", (11, 3), None),
    "a million keys at the top": (b'{"usage":{"prompt_tokens":11,"completion_tokens":3},'
                                  + KEYS[1:].encode(), "application/json", (11, 3), None),
    "a million keys in usage": (json.dumps(ANSWER).replace('"prompt_tokens"', KEYS[1:-1]
                                + ', "prompt_tokens"').encode(), "application/json", (11, 3), None),
    "a million usages": (b'{"choices":[],' + b'"usage":{"prompt_tokens":7,"completion_tokens":2},'
                         * (MILLION // 10) + with_extra("0")[1:], "application/json", (11, 3), None),
    "depth 10,000": (with_extra("[" * DEPTH + "]" * DEPTH), "application/json", None, "undecodable"),
    "depth 10,000, never closed": (b'{"a":' * DEPTH, "application/json", None, "undecodable"),
    "depth 10,000 in an event": ((DELTA + chunk(x=0).replace('"x": 0', '"x": ' + "[" * DEPTH
                                  + "]" * DEPTH) + "data: [DONE]\n\n").encode(),
                                 "text/event-stream", None, "undecodable"),
    "one name of a megabyte": (with_extra('{"' + "n" * MILLION + '": 1}'), "application/json",
                               (11, 3), None),
    "one number of a megabyte": (with_extra("1" * MILLION), "application/json", None, "undecodable"),
    "one line of ten megabytes": (b"data: " + b"x" * (10 * MILLION) + b"\n\n",
                                  "text/event-stream", None, "undecodable"),
    "a million empty events": (b"data:\n\n" * MILLION + chunk(usage=ANSWER["usage"]).encode()
                               + b"data: [DONE]\n\n", "text/event-stream", (11, 3), None),
    "usage that grows": (("".join(DELTA + chunk(usage={"prompt_tokens": 11, "completion_tokens": n})
                                  for n in range(1, 201)) + "data: [DONE]\n\n").encode(),
                         "text/event-stream", (11, 200), None),
}
SECONDS_MAX = 30   # far more than any takes, far less than what grows with the square


@pytest.fixture(scope="module")
def replays(tmp_path_factory, certs):
    """A provider that answers with what stands in TOO_MUCH, by number."""
    folder = tmp_path_factory.mktemp("replays")
    for number, (body, kind, _, _) in enumerate(TOO_MUCH.values()):
        case = folder / str(number)
        case.mkdir()
        (case / "response.body").write_bytes(body)
        (case / "meta.json").write_text(json.dumps({"status": 200, "response_content_type": kind}))
    (folder / "log").mkdir()
    own = procs.Provider(folder / "log", certs, ["--replay", str(folder)])
    yield own
    assert own.stop() == 0


@pytest.mark.parametrize("number", range(len(TOO_MUCH)), ids=list(TOO_MUCH))
def test_too_much(gateways, replays, number):
    """Passed on untouched, in bounded memory and time, and never taken for what it is not."""
    body, kind, usage, counter = list(TOO_MUCH.values())[number]
    config = gateways.config(workers=1)
    config["upstreams"][0]["base_url"] = replays.url
    gateway = gateways(config, env=SMALL_QUARANTINE)
    calls.send(gateway, calls.chat(), sim={"Status": 500})   # what the first call allocates
    before, start = peak_mib(gateway.process.pid), time.monotonic()
    call = calls.SHAPES["chat-stream-usage" if "event" in kind else "chat"]()
    answer = calls.send(gateway, call, sim={"Replay": number})
    assert time.monotonic() - start < SECONDS_MAX
    assert answer.status == 200 and answer.body == body
    assert peak_mib(gateway.process.pid) - before < GROWTH_MIB
    record = gateway.record(answer.header("x-tollgate-request-id"))
    if usage:
        assert record["usage_source"] == "provider"
        assert (record["usage"]["input_tokens"], record["usage"]["output_tokens"]) == usage
    else:
        assert record["usage_source"] in ("none", "estimated", "partial")
        for count in record.get("usage", {}).values():
            assert 0 <= count <= len(body)
    if counter:
        assert metric(gateway, f"tollgate_tap_{counter}_total") == 1
    assert calls.send(gateway, calls.chat()).status == 200


@pytest.mark.parametrize("claimed,end", [(1, "close"), (1_000_000, "close"), (2**62, "close"),
                                         (-100, "keep")])
def test_lengths_that_lie(gateway, provider, claimed, end):
    """More than came: the client is told that it broke off.  Less: what is behind it is nobody's."""
    body = json.dumps(ANSWER).encode()
    answer = calls.send(gateway, calls.chat(), sim={"Raw": raw(body, length=len(body) + claimed),
                                                    "Raw_End": end})
    record = gateway.records(1)[0]
    for count in record.get("usage", {}).values():
        assert 0 <= count < 10_000
    if claimed > 0:
        assert record["outcome"] == "upstream_abort"
        assert not answer.complete or answer.status == 502
    else:
        assert answer.status == 200 and answer.body == body[:claimed]
        assert record["usage_source"] != "provider"
    assert calls.send(gateway, calls.chat()).status == 200
