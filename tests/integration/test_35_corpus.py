"""Recorded traffic through the running gateway: the client gets exactly the recorded bytes,
and the record's usage is what the recording's description expects."""

import json
import os

import pytest

from kit import calls, client
from kit.config import BOOK, with_upstream

# Fields of `expected` against those of the record. Nothing is said where a case has null.
FIELDS = {
    "input_total": "input_tokens", "output_total": "output_tokens",
    "input_cached_read": "cache_read_tokens",
    "input_cache_write_5m": "cache_write_5m_tokens",
    "input_cache_write_1h": "cache_write_1h_tokens",
    "input_audio": "input_audio_tokens", "input_image": "input_image_tokens",
    "output_reasoning": "reasoning_tokens", "output_audio": "output_audio_tokens",
    "output_image": "output_image_tokens",
}
AUTH = {"openai": ("Authorization", f"Bearer {calls.KEY}"), "anthropic": ("x-api-key", calls.KEY),
        "gemini": ("x-goog-api-key", calls.KEY)}


def request_of(case):
    """Body, content type and path of the recorded request, or of one that would get the answer."""
    meta = case.meta
    body = case.request
    kind = meta.get("request_content_type") or "application/json"
    if body is None:
        model = meta.get("model_request") or meta.get("model_response") or "unknown-model"
        made = {"model": model, "stream": bool(meta.get("stream"))}
        if case.protocol == "anthropic":
            made.update(max_tokens=64, messages=[{"role": "user", "content": "x"}])
        elif case.protocol == "gemini":
            made = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
        elif "responses" in case.endpoint:
            made["input"] = "x"
        elif "embeddings" in case.endpoint:
            made = {"model": model, "input": "x"}
        else:
            made["messages"] = [{"role": "user", "content": "x"}]
        body = json.dumps(made).encode()
    return body, kind


def path_of(case):
    """The recorded path below the upstream's base."""
    path = case.meta.get("path") or ""
    query = (case.meta.get("url") or "").partition("?")[2]
    if query and "?" not in path:
        path += "?" + query
    for mark in ("/chat/completions", "/responses", "/completions", "/embeddings"):
        if case.protocol == "openai" and path.split("?")[0].endswith(mark):
            return "/v1" + mark
    return path


def mine(corpus):
    return [case for case in corpus if case.protocol and case.meta.get("path")
            and case.meta.get("method", "POST") == "POST"]


def billed(expected):
    """What is billed: iterations that the top-level counts leave out belong to it."""
    added = expected.get("iterations_sum")
    if not added or "compaction" not in added.get("by_type", {}):
        return expected
    return dict(expected, input_total=added["input_total"], output_total=added["output_total"],
                input_cached_read=added["input_cached_read"])


def usage_problems(case, record):
    expected = billed(case.meta["expected"])
    usage = record.get("usage") or {}
    if case.meta["expected"].get("anomalies"):
        return   # no arithmetic fits these: they only must survive
    if not expected.get("usage_reported", True):
        if record.get("usage_source") == "provider":
            yield "usage_source is provider where none was reported"
        return
    for theirs, ours in FIELDS.items():
        want = expected.get(theirs)
        if want is None:
            continue
        got = usage.get(ours, 0)
        if got != want:
            yield f"{ours} is {got}, expected {want}"
    writes = expected.get("input_cache_write_total")
    if writes is not None:
        got = usage.get("cache_write_5m_tokens", 0) + usage.get("cache_write_1h_tokens", 0)
        if got != writes:
            yield f"cache writes are {got}, expected {writes}"


def upstream_of(case):
    """Its protocol's own upstream, or one named as the server that speaks OpenAI's."""
    return case.protocol if case.provider in AUTH and case.protocol == case.provider else \
        f"{case.provider}-compatible"


def corpus_config(gateways, corpus):
    config = gateways.config()
    names = [upstream["name"] for upstream in config["upstreams"]]
    for case in mine(corpus):
        name = upstream_of(case)
        if name not in names:
            names.append(name)
            upstream = dict(config["upstreams"][0], name=name)
            if os.path.exists(os.path.join(BOOK, f"{case.provider}.json")):
                upstream["provider"] = case.provider
            config["upstreams"].append(upstream)
    for name in names:
        config = with_upstream(config, name, unknown_endpoints="allow", inject_usage=False)
    return config


def replay(gateway, connection, case):
    body, kind = request_of(case)
    upstream = upstream_of(case)
    headers = [AUTH[case.protocol], ("Content-Type", kind), ("X-Sim-Replay", case.id)]
    if case.protocol == "anthropic":
        headers.append(("anthropic-version", "2023-06-01"))
    connection.send(client.request_bytes("POST", f"/{upstream}{path_of(case)}", headers, body))
    return connection.read()


def test_corpus(gateways, corpus, capsys):
    gateway = gateways(corpus_config(gateways, corpus))
    problems, ids = [], {}
    cases = mine(corpus)
    assert len(cases) > 200
    connection = None
    for case in cases:
        try:
            connection = connection or gateway.connect(timeout=15)
            answer = replay(gateway, connection, case)
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
        if answer.status != case.meta["status"] or answer.body != case.body:
            problems.append(f"{case.id}: other bytes: {answer}")
        ids[answer.header("x-tollgate-request-id")] = case
    records = {r["id"]: r for r in gateway.records(len(ids), exactly=False)}
    for identity, case in ids.items():
        record = records.get(identity)
        if record is None:
            if case.meta["expected"].get("billable") is not False:
                problems.append(f"{case.id}: no record")
            continue
        problems += [f"{case.id}: {text}" for text in usage_problems(case, record)]
    with capsys.disabled():
        print(f"\ncorpus: {len(ids)} of {len(corpus)} cases replayed, "
              f"{len(problems)} problems")
    assert not problems, "\n".join(problems)


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 7])
def test_corpus_split(gateways, corpus, every):
    """The same for streams that arrive in small pieces."""
    gateway = gateways(corpus_config(gateways, corpus))
    streams = [c for c in mine(corpus) if c.meta.get("stream") and len(c.body) < 3000
               and c.meta["status"] == 200 and c.meta.get("model_request")
               and b'"model"' in (c.request or b'"model"')
               and not c.meta["expected"].get("anomalies")][:30]
    ids = {}
    for case in streams:
        body, kind = request_of(case)
        upstream = upstream_of(case)
        headers = [AUTH[case.protocol], ("Content-Type", kind), ("X-Sim-Replay", case.id),
                   ("X-Sim-Split-Every", every), ("X-Sim-Split-Pause-Ms", 0)]
        if case.protocol == "anthropic":
            headers.append(("anthropic-version", "2023-06-01"))
        with gateway.connect() as connection:
            connection.send(client.request_bytes("POST", f"/{upstream}{path_of(case)}", headers,
                                                 body))
            answer = connection.read()
        assert answer.body == case.body, case.id
        ids[answer.header("x-tollgate-request-id")] = case
    records = {r["id"]: r for r in gateway.records(len(ids), exactly=False)}
    problems = [f"{case.id}: {text}" for identity, case in ids.items()
                for text in usage_problems(case, records[identity])]
    assert not problems, "\n".join(problems)
