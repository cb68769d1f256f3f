"""Bodies that are compressed, large, or not what they say: passed on untouched, read within bounds."""

import gzip
import json
import os
import re
import time
import urllib.parse
import zlib

import pytest

from kit import calls
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


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["chat-stream-usage", "messages-stream", "generate-array"])
def test_hundreds_of_megabytes(gateway, provider, shape):
    """TOLLGATE_LARGE_MB=2000 for more."""
    megabytes = int(os.environ.get("TOLLGATE_LARGE_MB", "300"))
    call = calls.SHAPES[shape]()
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
    assert peak_mib(gateway.process.pid) - before < 32
    record = gateway.record(head.header("x-tollgate-request-id"))
    assert record["usage"]["output_tokens"] == megabytes
    assert record["usage_source"] == "provider" and record["outcome"] == "ok"


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
