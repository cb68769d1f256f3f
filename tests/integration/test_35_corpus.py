"""Recorded traffic through the running gateway: the client gets exactly the recorded bytes,
and the record's usage, and where it is from, is what the recording's description expects."""

import collections
import json
import os
import random

import pytest

from kit import calls, client, forms, websocket
from kit.codings import DECODERS
from kit.config import BOOK, with_upstream

# Fields of `expected` against those of the record. Nothing is said where a case has null.
FIELDS = {
    "input_total": "input_tokens", "output_total": "output_tokens",
    "input_cached_read": "cache_read_tokens",
    "input_cache_write_5m": "cache_write_5m_tokens",
    "input_cache_write_1h": "cache_write_1h_tokens",
    "input_audio": "input_audio_tokens", "input_image": "input_image_tokens",
    "output_reasoning": "reasoning_tokens", "output_audio": "output_audio_tokens",
    "output_image": "output_image_tokens", "input_audio_seconds": "audio_seconds",
}
TOOLS = {"web_search_requests": "web_search_requests", "search_units": "search_units",
         "output_items.web_search_call": "web_search_requests",
         "grounding.webSearchQueries": "web_search_requests",
         "output_items.file_search_call": "file_search_requests",
         "output_items.code_interpreter_call": "code_execution_requests"}
AUTH = {"anthropic": "x-api-key", "gemini": "x-goog-api-key", "azure-openai": "api-key"}

# Cases whose record says otherwise than their description, with the reason.
KNOWN = {
    "xai/responses/stream/ai--__fixtures__-xai-x-search-tool":
        "its items are searches of X; the provider's own count says no web search",
}


def request_of(case):
    """Body and content type of the recorded request, or of one that would get the answer."""
    meta, body = case.meta, case.request
    kind = meta.get("request_content_type") or "application/json"
    if meta["method"] == "GET":
        return b"", None
    if body is not None and body.lstrip()[:1] in (b"{", b"-"):
        return body, kind
    if case.endpoint == "audio-transcriptions":    # forms that the recording left out
        model = meta.get("model_request") or meta.get("model_response") or "whisper-1"
        stream = forms.field("stream", "true") if meta.get("stream") else b""
        return forms.form(forms.file("file", forms.wav(1)), stream,
                          forms.field("model", model)), forms.KIND
    made = {"model": meta.get("model_request") or meta.get("model_response") or "unknown-model",
            "stream": bool(meta.get("stream")), "max_tokens": 64, "input": "x",
            "messages": [{"role": "user", "content": "x"}]}
    if case.protocol in ("gemini", "vertex"):
        made = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    if case.endpoint == "embeddings" or "images" in case.endpoint:
        del made["messages"]
    return json.dumps(made).encode(), "application/json"


def mine(corpus):
    return [case for case in corpus if not case.left_out]


def billed(expected):
    """What is billed: iterations that the top-level counts leave out belong to it."""
    added = expected.get("iterations_sum")
    if not added or "compaction" not in added.get("by_type", {}):
        return expected
    return dict(expected, input_total=added["input_total"], output_total=added["output_total"],
                input_cached_read=added["input_cached_read"])


def source_problem(case, record):
    """Is it said where the counts are from?"""
    source, expected = record.get("usage_source"), case.expected
    if record.get("outcome") == "upstream_abort":
        yield "it is taken for broken off"
    allowed = {"estimated", "none"}
    if expected["billable"] is False:
        allowed = {"none"}
    elif expected["billable"] is None:     # text came, then an error, and no count
        allowed = {"partial", "estimated"}
    elif expected.get("usage_reported"):
        allowed = {"provider"}
        if expected.get("input_total") is None and expected.get("output_total"):
            allowed = {"partial"}          # the prompt was cached, and its count left out
    elif record.get("cost_usd") not in (None, "0"):
        allowed = {"estimated"}
    if source not in allowed:
        yield f"usage_source is {source}, not {' or '.join(sorted(allowed))}"


def is_told_again(case):
    """A stored response that is fetched was counted when it was made, if not in the background."""
    return case.endpoint == "responses-retrieve" and not json.loads(case.body).get("background")


def usage_problems(case, record):
    expected, usage = billed(case.expected), record.get("usage") or {}
    if is_told_again(case):
        if record["usage_source"] != "none" or record["cost_usd"] != "0":
            yield f"told again, and counted: {record}"
        return
    if expected.get("anomalies") or case.id in KNOWN:
        return   # no arithmetic fits these: they only must survive
    yield from source_problem(case, record)
    if not expected.get("usage_reported", True) or expected["billable"] is False:
        return
    for theirs, ours in FIELDS.items():
        want, got = expected.get(theirs), usage.get(ours, 0)
        if want is not None and float(got) != want:
            yield f"{ours} is {got}, expected {want}"
    for theirs, ours in TOOLS.items():
        want, got = expected["server_tools"].get(theirs), usage.get(ours, 0)
        if want and got != want:
            yield f"{ours} is {got}, expected {want}"
    writes = expected.get("input_cache_write_total")
    got = usage.get("cache_write_5m_tokens", 0) + usage.get("cache_write_1h_tokens", 0)
    if writes is not None and got != writes:
        yield f"cache writes are {got}, expected {writes}"


def upstream_of(case):
    return f"{case.provider}-{case.protocol}"


def corpus_config(gateways, cases):
    config = gateways.config()
    names = []
    for case in cases:
        name = upstream_of(case)
        if name in names:
            continue
        names.append(name)
        upstream = dict(config["upstreams"][0], name=name, protocol=case.protocol)
        if os.path.exists(os.path.join(BOOK, f"{case.provider}.json")):
            upstream["provider"] = case.provider
        config["upstreams"].append(upstream)
    for name in names:
        config = with_upstream(config, name, inject_usage=False)
    return config


def replay(gateway, connection, case, *headers):
    body, kind = request_of(case)
    name = AUTH.get(case.protocol, "Authorization")
    value = calls.KEY if name != "Authorization" else f"Bearer {calls.KEY}"
    lines = [(name, value), ("X-Sim-Replay", case.id), *headers]
    if kind:
        lines.append(("Content-Type", kind))
    connection.send(client.request_bytes(case.meta["method"],
                                         f"/{upstream_of(case)}{case.path}", lines, body))
    return connection.read()


def run(gateway, corpus, vary):
    """Replays every case; vary says with which headers, and how its body is to be read."""
    problems, ids, connection = [], {}, None
    for case in corpus:
        headers, decode = vary(case)
        try:
            connection = connection or gateway.connect(timeout=15)
            answer = replay(gateway, connection, case, *headers)
        except (client.Broken, OSError) as problem:
            problems.append(f"{case.id}: {problem!r}")
            connection = None
            continue
        if answer.header("connection") == "close":
            connection.close()
            connection = None
        if answer.header("x-tollgate-denied"):
            problems.append(f"{case.id}: refused: {answer}")
            continue
        if answer.status != case.meta["status"] or decode(answer.body) != case.body:
            problems.append(f"{case.id}: other bytes: {answer}")
        ids[answer.header("x-tollgate-request-id")] = case
    records = {r["id"]: r for r in gateway.records(len(ids), exactly=False)}
    for identity, case in ids.items():
        if identity not in records:
            problems.append(f"{case.id}: no record")
        else:
            problems += [f"{case.id}: {text}"
                         for text in usage_problems(case, records[identity])]
    return problems, len(ids)


def test_corpus(gateways, corpus, say):
    """All of it, and the list of what is left out, by reason."""
    gateway = gateways(corpus_config(gateways, mine(corpus)))
    problems, ran = run(gateway, mine(corpus), lambda case: ((), bytes))
    reasons = collections.Counter(case.left_out for case in corpus if case.left_out)
    # A record keeps all that its price came from: the same book prices every one the same.
    again = json.loads(gateway.cli("price", "reprice", "--all", "--format", "json"))
    problems += [f"reprice differs: {row}" for row in again["rows"] if row["changed"]]
    say(f"corpus: {ran} of {len(corpus)} cases replayed, {len(problems)} problems")
    for reason, n in reasons.items():
        say(f"corpus: {n} not replayed: {reason}")
    assert not problems, "\n".join(problems)
    assert ran + sum(reasons.values()) == len(corpus)


def test_corpus_split_and_packed(gateways, corpus):
    """The same in every coding, cut at random."""
    gateway = gateways(corpus_config(gateways, mine(corpus)))
    dice = random.Random(7)

    def vary(case):
        coding = dice.choice(list(DECODERS))
        headers = [("X-Sim-Encoding", coding)] if coding else []
        every = dice.randint(max(7, len(case.body) // 40), max(50, len(case.body) // 4))
        headers += [("X-Sim-Split-Every", every), ("X-Sim-Split-Pause-Ms", 0)]
        return headers, DECODERS[coding]

    problems, _ = run(gateway, mine(corpus), vary)
    assert not problems, "\n".join(problems)


@pytest.mark.slow
def test_corpus_every_byte(gateways, corpus):
    """A sample of every provider's streams, a byte at a time."""
    gateway = gateways(corpus_config(gateways, mine(corpus)))
    sample = {}
    for case in mine(corpus):
        if case.meta.get("stream") and len(case.body) < 3000:
            sample.setdefault((case.provider, case.endpoint), case)
    problems, ran = run(gateway, list(sample.values()),
                        lambda case: ([("X-Sim-Split-Every", 1), ("X-Sim-Split-Pause-Ms", 0)],
                                      bytes))
    assert ran > 20
    assert not problems, "\n".join(problems)


# ---- WebSockets ------------------------------------------------------------------------------

def speak(socket, case):
    """Both sides of a recorded session; gives what differs from it."""
    for line in case.body.splitlines():
        if not line:
            continue
        data = line.split(b'"data": ', 1)[1][:-1]
        if json.loads(line)["direction"] == "sent":
            socket.send(data)
        elif socket.read() != data:
            return f"other bytes than {data[:200]!r}"
    return None if socket.close() == 1000 else "not closed in order"


def session_problems(case, records):
    """One record a turn and one a transcript, and their sums are what is expected."""
    expected = case.expected
    heard = [r for r in records if r["endpoint"].endswith(".transcription")]
    turns = [r for r in records if r not in heard and not r["endpoint"].endswith(".connect")]
    if len(heard) != expected.get("transcriptions", 0) or len(turns) != expected["turns"]:
        yield f"{len(turns)} turns, {len(heard)} transcripts"
    if expected.get("anomalies"):
        return
    for record in turns + heard:
        if record["usage_source"] != "provider":
            yield f"usage is {record['usage_source']}"
    for theirs, ours in FIELDS.items():
        want, got = expected.get(theirs), sum(r["usage"].get(ours, 0) for r in turns)
        if want is not None and got != want:
            yield f"{ours} is {got}, expected {want}"


def test_corpus_websockets(gateways, corpus, say):
    """Recorded sessions: each frame as it was, each turn counted."""
    cases = [case for case in corpus if case.left_out]
    gateway = gateways(corpus_config(gateways, cases))
    problems, known = [], set()
    for case in cases:
        with websocket.connect(gateway, f"/{upstream_of(case)}{case.path}",
                               sim={"Replay": case.id}) as socket:
            told = speak(socket, case)
        want = case.expected["turns"] + case.expected.get("transcriptions", 0) + 1
        records = [r for r in gateway.records(len(known) + want, exactly=False)
                   if r["id"] not in known]
        known |= {r["id"] for r in records}
        problems += [f"{case.id}: {text}" for text in
                     ([told] if told else []) + list(session_problems(case, records))]
    say(f"corpus: {len(cases)} sessions replayed, {len(problems)} problems")
    assert cases and not problems, "\n".join(problems)
