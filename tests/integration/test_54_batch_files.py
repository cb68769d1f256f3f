"""Batches whose requests are in a file: what they may take is known from the upload, reserved
when the batch begins, and given back when it is done; its output costs the price of batches."""

import json
from decimal import Decimal

import pytest

from kit import calls, exact, forms
from kit.config import BOOK
from kit.procs import wait_for
from test_51_other_measures import ask, cost, http, lines, record_of
from test_52_collected import BUDGET, day, settled

BOUND = 1000


def request(n, model="gpt-4o", bound=BOUND, text="x", url="/v1/chat/completions"):
    body = {"model": model, "max_tokens": bound, "messages": [{"role": "user", "content": text}]}
    return json.dumps({"custom_id": str(n), "method": "POST", "url": url,
                       "body": {k: v for k, v in body.items() if v is not None}})


def file_of(requests):
    return ("\n".join(requests) + "\n").encode()


def upload(gateway, content, name="file-8", upstream="openai", chunked=False):
    body = forms.form(forms.field("purpose", "batch"),
                      forms.file("file", content, "requests.jsonl", "application/jsonl"))
    raw = http({"id": name, "object": "file", "purpose": "batch", "bytes": len(content)})
    path = f"/{upstream}/v1/files"
    if not chunked:
        return record_of(gateway, ask(gateway, "POST", path, body, raw, forms.KIND))
    head = [("Authorization", f"Bearer {calls.KEY}"), ("Content-Type", forms.KIND),
            ("X-Sim-Raw", raw), ("Transfer-Encoding", "chunked")]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (
        body[i:i + 97] for i in range(0, len(body), 97))) + b"0\r\n\r\n"
    text = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in head) + "\r\n"
    with gateway.connect() as connection:
        connection.send(text.encode() + chunks)
        return record_of(gateway, connection.read("POST"))


def begin(gateway, file="file-8", name="batch_1"):
    return ask(gateway, "POST", "/openai/v1/batches", {
        "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"},
        http({"id": name, "object": "batch", "status": "validating", "input_file_id": file,
              "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}))


def poll(gateway, status, name="batch_1", **more):
    return record_of(gateway, ask(gateway, "GET", f"/openai/v1/batches/{name}", raw=http(
        {"id": name, "object": "batch", "status": status, **more})))


def output_price(tokens, model="gpt-4o", provider="openai"):
    cost_of = exact.Book.folder(BOOK).cost({
        "provider": provider, "model": model, "at": "2026-11-21", "tier": "batch",
        "usage": {"out": tokens}})["cost"]
    return Decimal(cost_of.numerator) / Decimal(cost_of.denominator)


def reserved(gateway, at_least):
    """Little more than the output's bound: prompts are short."""
    spent, held, _ = wait_for("what is held", lambda: day(gateway)[1] > 0 and day(gateway))
    assert spent == 0 and at_least <= held < at_least * Decimal("1.2"), (held, at_least)
    return held


@pytest.fixture(params=["memory", "redis"])
def engine(request):
    return request.getfixturevalue("redis") if request.param == "redis" else None


def test_from_upload_to_output(gateways, engine):
    gateway = gateways(redis=engine, limits=BUDGET)
    stored = upload(gateway, file_of(request(n) for n in range(20)))
    assert stored["cost_usd"] == "0" and stored["usage_source"] == "none"
    gateway.stop()      # what was counted is remembered
    gateway.start()
    begun = record_of(gateway, begin(gateway))
    assert begun["cost_usd"] is None
    held = reserved(gateway, output_price(20 * BOUND))
    assert poll(gateway, "in_progress")["cost_usd"] == "0"
    settled(gateway, Decimal(0), held, 3)
    done = poll(gateway, "completed", output_file_id="file-9",
                usage={"input_tokens": 2000, "output_tokens": 200, "total_tokens": 2200})
    assert done["cost_usd"] == "0"      # told by the lines of its output, one by one
    settled(gateway, Decimal(0), Decimal(0), 4)
    record = record_of(gateway, ask(gateway, "GET", "/openai/v1/files/file-9/content",
                                    raw=http(lines(0, 20), "application/octet-stream")))
    # half of 2.50 and 10 dollars a million
    assert cost([record]) == Decimal("0.0035")
    settled(gateway, Decimal("0.0035"), Decimal(0), 5)


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_one_that_comes_to_nothing_is_given_back(gateways, status):
    gateway = gateways(limits=BUDGET)
    upload(gateway, file_of([request(0)]))
    begin(gateway)
    reserved(gateway, output_price(BOUND))
    poll(gateway, status)
    settled(gateway, Decimal(0), Decimal(0), 3)


def test_each_line_by_its_own_model_and_bound(gateways):
    gateway = gateways(limits=BUDGET)
    upload(gateway, file_of([request(0), request(1, "gpt-4o-mini", 5000),
                             json.dumps({"custom_id": "no request"}), "no JSON", "{broken"]),
           chunked=True)
    begin(gateway)
    reserved(gateway, output_price(BOUND) + output_price(5000, "gpt-4o-mini"))


def test_a_line_that_is_too_long_is_counted_by_its_length(gateways):
    gateway = gateways(limits=BUDGET)
    upload(gateway, file_of([request(0), request(1, text="word " * 400000)]))
    begin(gateway)
    held = day(gateway)[1]
    one = exact.Book.folder(BOOK).cost({"provider": "openai", "model": "gpt-4o", "tier": "batch",
                                        "at": "2026-11-21", "usage": {"in": 2000000 // 3}})["cost"]
    assert held > Decimal(one.numerator) / Decimal(one.denominator)


@pytest.mark.parametrize("cut", [1, 300, 2000])
def test_a_file_that_comes_in_parts(gateways, cut):
    """Wherever lines are cut: what is reserved is never less than of the file in one piece."""
    gateway = gateways(limits=BUDGET)
    content = file_of(request(n) for n in range(20))
    assert ask(gateway, "POST", "/openai/v1/uploads",
               {"purpose": "batch", "filename": "r.jsonl", "bytes": len(content),
                "mime_type": "application/jsonl"},
               http({"id": "upload_1", "object": "upload", "status": "pending"})).status == 200
    for n, part in enumerate((content[:cut], content[cut:])):
        body = forms.form(forms.file("data", part, "part", "application/octet-stream"))
        record_of(gateway, ask(gateway, "POST", "/openai/v1/uploads/upload_1/parts", body,
                               http({"id": f"part_{n}", "object": "upload.part"}), forms.KIND))
    record_of(gateway, ask(gateway, "POST", "/openai/v1/uploads/upload_1/complete",
                           {"part_ids": ["part_0", "part_1"]},
                           http({"id": "upload_1", "object": "upload", "status": "completed",
                                 "file": {"id": "file-8", "object": "file", "purpose": "batch"}})))
    assert begin(gateway).status == 200
    spent, held, _ = wait_for("what is held", lambda: day(gateway)[1] > 0 and day(gateway))
    whole = output_price(20 * BOUND)
    # a line that is cut has the bound of its model, in each of its pieces
    assert spent == 0 and whole <= held < whole + 2 * output_price(16384) + whole / 5


def test_a_budget_without_room_for_it(gateways, provider):
    gateway = gateways(limits=[{"name": "day", "unit": "usd", "limit": "0.05", "window": "day"}])
    upload(gateway, file_of(request(n) for n in range(20)))
    seen = len(provider.requests())
    answer = begin(gateway)
    assert answer.status == 402 and answer.header("x-tollgate-denied") == "budget_exhausted"
    assert len(provider.requests()) == seen
    upload(gateway, file_of([request(0)]), "file-7")
    assert begin(gateway, "file-7").status == 200


def test_a_file_that_nobody_saw_has_no_price(gateways):
    """The configuration says what becomes of it, as of all that has none."""
    gateway = gateways(limits=BUDGET)
    assert begin(gateway, "file-elsewhere").status == 200
    settled(gateway, Decimal(0), Decimal(0), 1)
    config = gateways.config(limits=BUDGET)
    config.setdefault("prices", {})["on_unpriced"] = "refuse"
    strict = gateways(config)
    answer = begin(strict, "file-elsewhere")
    assert answer.status == 403 and answer.header("x-tollgate-denied") == "model_not_priced"
    upload(strict, file_of([request(0)]))
    assert begin(strict).status == 200


@pytest.mark.parametrize("protocol, path, body", [
    ("mistral", "v1/batch/jobs", {"input_files": ["elsewhere"], "model": "mistral-large-2512",
                                  "endpoint": "/v1/chat/completions"}),
    ("gemini", "v1beta/models/gemini-2.5-flash:batchGenerateContent",
     {"batch": {"inputConfig": {"fileName": "files/elsewhere"}}})])
def test_a_model_that_has_a_price_does_not_price_a_file(gateways, protocol, path, body):
    """Of such a batch one request's worst case is reserved, where it may begin at all."""
    for mode, status in (("flag", 200), ("refuse", 403)):
        config = gateways.config(limits=BUDGET)
        config["upstreams"].append(dict(config["upstreams"][0], name=f"{protocol}-1",
                                        protocol=protocol, provider=protocol))
        config.setdefault("prices", {})["on_unpriced"] = mode
        gateway = gateways(config)
        answer = ask(gateway, "POST", f"/{protocol}-1/{path}", body, http({"id": "job-1"}),
                     x_goog_api_key=calls.KEY)
        assert answer.status == status
        if status == 200:
            wait_for("what is held", lambda: day(gateway)[1] > 0)


def test_mistral_names_the_model_in_its_job(gateways):
    config = gateways.config(limits=BUDGET)
    config["upstreams"].append(dict(config["upstreams"][0], name="mistral", protocol="mistral"))
    gateway = gateways(config)
    upload(gateway, file_of(request(n, None) for n in range(4)), upstream="mistral")
    model = "mistral-large-2512"
    answer = ask(gateway, "POST", "/mistral/v1/batch/jobs",
                 {"input_files": ["file-8"], "model": model, "endpoint": "/v1/chat/completions"},
                 http({"id": "job-1", "object": "batch", "status": "QUEUED"}))
    assert answer.status == 200
    reserved(gateway, output_price(4 * BOUND, model, "mistral"))
    ask(gateway, "GET", "/mistral/v1/batch/jobs/job-1",
        raw=http({"id": "job-1", "object": "batch", "status": "SUCCESS"}))
    settled(gateway, Decimal(0), Decimal(0), 3)
