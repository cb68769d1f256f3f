"""The simulated provider itself: what the other tests lean on."""

import gzip
import json
import re
import time
import zlib

import pytest

from kit import calls, client, views
from kit.procs import Provider

pytestmark = pytest.mark.provider_only
KEY = Provider.SECRET
# Under TLS a reset may look like an end without close_notify.
ENDS = {"notify": ("notify",), "eof": ("eof",), "reset": ("eof", "reset")}


def send(provider, call, sim=None, key=KEY, method="POST", **options):
    data = client.request_bytes(method, call.path, call.headers(key, sim=sim), call.data())
    with provider.connect(**options) as connection:
        connection.send(data)
        return connection.read(method)


@pytest.mark.parametrize("shape", calls.SHAPES)
def test_answers_and_bills(provider, shape):
    call = calls.SHAPES[shape](words=7)
    answer = send(provider, call)
    assert answer.status == 200 and answer.complete
    bill, = provider.billed()
    assert bill["input_tokens"] == 7 and bill["model"] == call.model
    assert bill["output_tokens"] == (0 if shape == "embeddings" else 16)
    assert bill["complete"] and bill["ended"]
    assert views.body_of(provider.requests()[-1].sent) == answer.body


@pytest.mark.parametrize("shape", calls.SHAPES)
def test_wrong_key(provider, shape):
    answer = send(provider, calls.SHAPES[shape](), key="sk-wrong")
    assert answer.status == 401
    assert "error" in answer.json()
    assert provider.billed() == []


def test_usage_only_where_asked(provider):
    def has_usage(body):
        return any('"usage":{"prompt' in data for _, data, _ in client.sse_events(body))
    assert not has_usage(send(provider, calls.chat(stream=True)).body)
    assert has_usage(send(provider, calls.SHAPES["chat-stream-usage"]()).body)
    assert not has_usage(send(provider, calls.SHAPES["chat-stream-usage"](),
                              sim={"No_Usage": 1}).body)


def test_prompt_cache(provider):
    def call():
        return calls.messages(words=3, system=[
            {"type": "text", "text": "one two three", "cache_control":
             {"type": "ephemeral", "ttl": "1h"}},
            {"type": "text", "text": "four five", "cache_control": {"type": "ephemeral"}}])
    first = send(provider, call()).json()["usage"]
    assert first["cache_creation"] == {"ephemeral_5m_input_tokens": 2,
                                       "ephemeral_1h_input_tokens": 3}
    assert (first["input_tokens"], first["cache_read_input_tokens"]) == (3, 0)
    second = send(provider, call()).json()["usage"]
    assert (second["input_tokens"], second["cache_read_input_tokens"],
            second["cache_creation_input_tokens"]) == (3, 5, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_asked_again(provider, stream):
    """What it keeps of its last answer shows in nothing: ids, bills and answers are as those of the first."""
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    same, other = calls.chat(words=3, **more), calls.chat(words=4, **more)
    two, padded = {"Output_Tokens": 2}, {"Output_Tokens": 2, "Pad_Bytes": 3}
    asked = [(same, None)] * 5 + [(other, None), (same, two), (same, two), (same, padded), (same, two),
                                  (same, None), (other, None)]
    with provider.connect() as connection:
        answers = []
        for call, sim in asked:
            connection.send(client.request_bytes("POST", call.path, call.headers(KEY, sim=sim), call.data()))
            answers.append(connection.read("POST"))
    bills = provider.billed()
    assert len(bills) == len(asked)
    said = {}
    for (call, sim), answer, bill in zip(asked, answers, bills):
        events = ([json.loads(data) for _, data, _ in client.sse_events(answer.body) if data != "[DONE]"]
                  if stream else [answer.json()])
        assert answer.status == 200 and {event["id"] for event in events} == {bill["response_id"]}
        assert answer.header("x-request-id") == bill["request_id"]
        assert bill["request_id"][-12:] == bill["response_id"][-12:]
        words, output = 3 if call is same else 4, 2 if sim else 16
        usage = events[-1]["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (words, output)
        assert (bill["input_tokens"], bill["output_tokens"]) == (words, output)
        assert bill["complete"] and bill["stream"] == stream
        assert all(abs(event["created"] - time.time()) < 30 for event in events)
        said.setdefault((words, str(sim)), set()).add(re.sub(rb'"(id|created)":[^,]*,', b"", answer.body))
    assert len({bill["response_id"] for bill in bills}) == len(asked)
    assert len(said) == 4 and all(len(one) == 1 for one in said.values())


def test_stamps_are_times_of_writing(provider):
    before = time.monotonic_ns()
    answer = send(provider, calls.chat(stream=True, max_tokens=4),
                  sim={"Stamp": 1, "Event_Delay_Ms": 20})
    after = time.monotonic_ns()
    stamps = [int(found) for found in re.findall(rb"@ns=(\d{19})", answer.body)]
    assert len(stamps) == 4 and before < stamps[0] and stamps[-1] < after
    assert all(b - a >= 15_000_000 for a, b in zip(stamps, stamps[1:]))
    assert b"@ns=" not in send(provider, calls.chat(stream=True)).body


def test_output_bound(provider):
    answer = send(provider, calls.chat(max_tokens=5)).json()
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("coding,decode", [
    ("gzip", gzip.decompress), ("deflate", zlib.decompress)])
@pytest.mark.parametrize("shape", ["chat", "chat-stream"])
def test_encoding(provider, coding, decode, shape):
    plain = send(provider, calls.SHAPES[shape]())
    answer = send(provider, calls.SHAPES[shape](), sim={"Encoding": coding})
    assert answer.header("content-encoding") == coding
    assert len(decode(answer.body)) == len(plain.body)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("shape", ["chat", "chat-stream"])
def test_framing(provider, framing, shape):
    answer = send(provider, calls.SHAPES[shape](), sim={"Framing": framing})
    assert answer.complete and answer.framing == framing


@pytest.mark.parametrize("cut,ended", [("close", "eof"), ("notify", "notify"),
                                       ("reset", "reset")])
def test_cut(provider, cut, ended):
    call = calls.SHAPES["chat-stream"]()
    with provider.connect() as connection:
        connection.send(client.request_bytes("POST", call.path, call.headers(KEY, sim={
            "Cut_After_Events": 4, "Cut": cut}), call.data()))
        answer = connection.read()
        assert not answer.complete
        assert len(client.sse_events(answer.body)) == 4 or cut == "reset"
        assert connection.ended in ENDS[ended]
    bill, = provider.billed()
    assert not bill["complete"] and bill["output_tokens"] <= 3


def test_cut_bytes(provider):
    answer = send(provider, calls.chat(), sim={"Cut_After_Bytes": 10})
    assert not answer.complete and len(answer.body) == 10


@pytest.mark.parametrize("delta", ["+7", "-7"])
def test_wrong_length(provider, delta):
    call = calls.chat()
    with provider.connect(timeout=1) as connection:
        connection.send(client.request_bytes("POST", call.path, call.headers(KEY, sim={
            "Length_Delta": delta, "Connection": "close"}), call.data()))
        answer = connection.read()
        assert answer.complete == (delta == "-7")
        assert len(connection.buffered) == (7 if delta == "-7" else 0)


def test_split_and_pace(provider):
    start = time.monotonic()
    answer = send(provider, calls.chat(), sim={"Split": "3,40,200", "Split_Pause_Ms": 30,
                                               "Delay_Ms": 60})
    assert answer.complete and time.monotonic() - start >= 0.15
    answer = send(provider, calls.chat(stream=True), sim={"Split_Every": 5, "Split_Pause_Ms": 0})
    assert answer.complete and answer.body.endswith(b"[DONE]\n\n")
    answer = send(provider, calls.chat(stream=True), sim={"Event_Delay_Ms": 5})
    assert answer.arrivals[-1][0] - answer.arrivals[0][0] >= 0.06


def test_informational_and_leading_blanks(provider):
    answer = send(provider, calls.chat(), sim={"Informational": "102,103",
                                               "Leading_Whitespace": 3})
    assert [s for s, _ in answer.informational] == [102, 103]
    assert answer.body.startswith(b"\n\n\n{") and answer.json()["object"] == "chat.completion"


@pytest.mark.parametrize("newline,mark", [("crlf", b"\r\n"), ("cr", b"\r"), ("lf", b"\n")])
def test_newlines(provider, newline, mark):
    answer = send(provider, calls.chat(stream=True), sim={"Newline": newline, "Comments": 2})
    assert answer.body.startswith(b": keep-alive" + mark * 2)
    assert len(client.sse_events(answer.body)) == 16 + 3


def test_raw(provider):
    raw = "HTTP/1.1 200 OK%0d%0aContent-Length: 2%0d%0a%0d%0ahi"
    answer = send(provider, calls.chat(), sim={"Raw": raw})
    assert answer.head == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" and answer.body == b"hi"


def test_hang_reset_disconnect(provider):
    call = calls.chat()
    for sim, ended in [("Reset", "reset"), ("Disconnect", "notify")]:
        with provider.connect() as connection:
            connection.send(client.request_bytes("POST", call.path,
                                                 call.headers(KEY, sim={sim: 1}), call.data()))
            assert connection.at_end() and connection.ended in ENDS[ended]
    with provider.connect() as connection:
        connection.send(client.request_bytes("POST", call.path, call.headers(KEY, sim={
            "Hang": 1}), call.data()))
        assert not connection.at_end(0.2)


@pytest.mark.parametrize("status,shape,kind", [
    (429, "chat", "rate_limit_exceeded"), (529, "messages", "overloaded_error"),
    (503, "generate", "UNAVAILABLE")])
def test_errors(provider, status, shape, kind):
    answer = send(provider, calls.SHAPES[shape](), sim={"Status": status, "Retry_After": 7})
    assert answer.status == status and kind in answer.body.decode()
    assert answer.header("retry-after") == (None if shape == "generate" else "7")
    assert provider.billed() == []


@pytest.mark.parametrize("shape", calls.STREAMS)
def test_error_in_stream(provider, shape):
    if shape.startswith("completions"):
        pytest.skip("as chat")
    answer = send(provider, calls.SHAPES[shape](), sim={"Stream_Error": 5})
    assert answer.complete and b'"error"' in answer.body
    if shape == "generate-array":
        assert "error" in json.loads(answer.body)[-1]


def test_request_framing_and_expect(provider):
    call = calls.chat()
    headers = call.headers(KEY)
    with provider.connect() as connection:
        connection.send(client.request_bytes("POST", call.path, headers + [
            ("Transfer-Encoding", "chunked")], length=False) + client.chunked(call.data(), 7))
        assert connection.read().status == 200
        connection.send(client.request_bytes("POST", call.path, headers + [
            ("Expect", "100-continue"), ("Content-Length", str(len(call.data())))], length=False))
        time.sleep(0.05)
        connection.send(call.data())
        answer = connection.read()
        assert answer.status == 200 and [s for s, _ in answer.informational] == [100]
    seen = provider.requests()
    assert [s.framing for s in seen] == ["chunked", "length"]
    assert [s.nth for s in seen] == [1, 2] and seen[0].connection == seen[1].connection
    assert seen[0].body == seen[1].body == call.data()


def test_slow_reader_of_requests(provider):
    call = calls.chat(words=20000)
    start = time.monotonic()
    assert send(provider, call, sim={"Read_Pause_Ms": 150}).status == 200
    assert time.monotonic() - start > 0.14
    start = time.monotonic()
    assert send(provider, call, sim={"Read_Rate": 400000}).status == 200
    assert time.monotonic() - start > 0.1


def test_early_answer(provider):
    call = calls.chat()
    with provider.connect() as connection:
        connection.send(client.request_bytes("POST", call.path, call.headers(KEY, sim={
            "Early": 1, "Status": 413}) + [("Content-Length", "1000000")], length=False))
        answer = connection.read()
        assert answer.status == 413 and answer.header("connection") == "close"


def test_head_and_pipelining(provider):
    call = calls.chat()
    one = client.request_bytes("POST", call.path, call.headers(KEY), call.data())
    with provider.connect() as connection:
        connection.send(one * 3)
        assert [connection.read().status for _ in range(3)] == [200] * 3
        connection.send(client.request_bytes("HEAD", "/v1/models", call.headers(KEY)))
        answer = connection.read("HEAD")
        assert answer.status == 200 and answer.body == b"" and answer.header("content-length")


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n",
])
def test_malformed(provider, data):
    with provider.connect() as connection:
        connection.send(data)
        assert connection.read().status == 400
    assert provider.totals()["malformed"] == 1


def test_slow_client_stops_the_provider(provider):
    call = calls.chat(stream=True)
    with provider.connect(buffer=8192) as connection:
        connection.send(client.request_bytes("POST", call.path, call.headers(KEY, sim={
            "Output_Tokens": 200, "Pad_Bytes": 200000}), call.data()))
        connection.read_head()
        time.sleep(0.3)
    time.sleep(0.1)
    bill, = provider.billed()
    assert not bill["complete"] and bill["bytes_sent"] < 20_000_000


def test_replay(provider, corpus):
    case = corpus[0]
    call = calls.chat()
    answer = send(provider, call, sim={"Replay": case.id})
    assert answer.body == case.body and answer.status == case.meta["status"]
