"""The four views of a call that must agree: client, provider, ledger, counters."""

from decimal import Decimal

from . import prices
from .client import sse_events

USAGE = ["cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
         "reasoning_tokens"]


def bill_of(provider, record):
    """The provider's own bill for a record."""
    bills = provider.billed()
    named = record.get("provider_request_id")
    if named is None:   # no such header: the bill is the only one of the model
        found = [b for b in bills if b["model"] == record["model"] and not b["request_id"]]
    else:
        found = [b for b in bills if named in (b["request_id"], b["response_id"])]
    assert len(found) == 1, f"{len(found)} bills for {record.get('provider_request_id')}"
    return found[0]


def check_usage(record, bill):
    usage = record["usage"]
    assert usage["input_tokens"] == bill["input_tokens"]
    assert usage.get("output_tokens", 0) == bill["output_tokens"]
    for name in USAGE:
        assert usage.get(name, 0) == bill[name], name


def check_cost(record, provider_name, model, bill, multiplier="1"):
    """The record's cost is the book's for the bill, to the last digit, and its lines sum up."""
    expected = prices.cost(provider_name, model, bill, multiplier)
    assert Decimal(record["cost_usd"]) == expected, (record["cost_usd"], str(expected))
    assert Decimal(record["list_cost_usd"]) == prices.cost(provider_name, model, bill)
    total = Decimal(0)
    for line in record["cost_lines"]:
        product = Decimal(line["quantity"]) * Decimal(line["rate_usd_per_million"]) / 1000000
        assert Decimal(line["cost_usd"]) == product, line
        total += product
    assert total == expected


def body_of(sent):
    """The body of the wire bytes that the provider sent (one final response)."""
    while True:
        head, rest = sent.split(b"\r\n\r\n", 1)
        if head.split(b" ")[1].startswith(b"1"):
            sent = rest
            continue
        break
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    out = b""
    while rest:
        line, rest = rest.split(b"\r\n", 1)
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        out += rest[:size]
        rest = rest[size + 2:]
    return out


def without_usage_event(body):
    """A chat stream without the event that only the proxy asked for."""
    import json
    out = b""
    for _, data, raw in sse_events(body, comments=True):
        if data not in ("", "[DONE]"):
            event = json.loads(data)
            if event.get("choices") == [] and event.get("usage"):
                continue
        out += raw
    return out


def check_client_got_what_was_sent(response, seen):
    """Status, end-to-end headers and body are the provider's, byte for byte."""
    assert response.status == seen.status
    assert response.body == body_of(seen.sent)
    theirs = seen.sent.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")[1:]
    hop = {"connection", "transfer-encoding", "content-length", "keep-alive"}
    ours = [f"{k}: {v}" for k, v in response.headers]
    for line in theirs:
        if line.split(":")[0].lower() not in hop:
            assert line in ours, f"{line!r} not among {ours}"
    added = [line for line in ours if line not in theirs and
             line.split(":")[0].lower() not in hop]
    for line in added:
        assert line.lower().startswith("x-tollgate-"), f"added {line!r}"


def check_provider_got(seen, call, secret, key):
    """Credential swapped, gateway headers gone, body and target unchanged."""
    text = seen.head.decode("latin-1").lower()
    assert key not in text and "x-tollgate" not in text and "tg_" not in text
    assert secret in seen.head.decode("latin-1")
    assert seen.body == call.data()
    assert seen.target.endswith(call.path)
