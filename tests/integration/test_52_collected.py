"""Work that goes on after its answer, over several nodes: counted once, whoever fetches it, and
never zero to a budget while nobody has."""

import glob
import json
import os
import resource
import signal
import threading
import time
from decimal import Decimal

import pytest

from kit import calls, sandbox
from kit.procs import wait_for
from test_51_other_measures import USAGE, ask, cost, http, lines, record_of, response
from test_65_desk import budget, by_name

BUDGET = [{"name": "day", "unit": "usd", "limit": "5", "window": "day"},
          {"name": "few", "unit": "requests", "limit": 100, "window": "day"},
          {"name": "parallel", "unit": "concurrent", "limit": 99}]
# 1000 at 2.50 and 200 at 10 dollars a million
PRICE = Decimal("0.0045")
BOUND = 5000
BATCH = "/openai/v1/files/file-9/content"


@pytest.fixture(params=["memory", "redis"])
def engine(request):
    return request.getfixturevalue("redis") if request.param == "redis" else None


def two(gateways, redis):
    return [gateways(redis=redis, name=name, node=name, limits=BUDGET)
            for name in ("east", "west")]


def begin(gateway, name="resp_1"):
    """A background response: the record says unknown, the budget its worst case."""
    record = record_of(gateway, ask(gateway, "POST", "/openai/v1/responses",
                                    {"model": "gpt-4o", "input": "x", "background": True,
                                     "max_output_tokens": BOUND},
                                    http(response("queued", name=name))))
    assert record["usage_source"] == "none" and record["cost_usd"] is None


def fetch(gateway, status="completed", usage=USAGE, name="resp_1"):
    answer = ask(gateway, "GET", f"/openai/v1/responses/{name}",
                 raw=http(response(status, usage, name=name)))
    assert answer.status == 200
    return record_of(gateway, answer), answer


def day(gateway):
    """What the budgets say once nothing runs: an answer is here before its end is settled."""
    def rested():
        rows = by_name(budget(gateway))
        return rows if rows["parallel"]["reserved_count"] == 0 else None
    rows = wait_for("nothing runs", rested)
    return Decimal(rows["day"]["spent_usd"]), Decimal(rows["day"]["reserved_usd"]), \
        rows["few"]["spent_count"]


def settled(gateway, spent, reserved, requests):
    wait_for("the budget", lambda: day(gateway) == (spent, reserved, requests) or
             print(day(gateway)))


def held(gateway):
    """What is reserved while nothing runs: the bound of the answer, and of its prompt."""
    spent, reserved, _ = wait_for("what is held", lambda: day(gateway)[1] > 0 and day(gateway))
    assert spent == 0
    assert Decimal(BOUND) / 100000 <= reserved < Decimal(BOUND) / 100000 + Decimal("0.001")
    return reserved


def test_the_worst_case_stands_until_it_is_collected(gateways, engine):
    gateway = gateways(redis=engine, limits=BUDGET)
    begin(gateway)
    worst = held(gateway)
    begin(gateway, "resp_2")
    settled(gateway, Decimal(0), 2 * worst, 2)
    early, _ = fetch(gateway, "in_progress", None)
    assert early["cost_usd"] == "0"
    settled(gateway, Decimal(0), 2 * worst, 3)
    record, answer = fetch(gateway)
    assert Decimal(record["cost_usd"]) == PRICE
    assert Decimal(answer.header("x-tollgate-cost-usd")) == PRICE
    settled(gateway, PRICE, worst, 4)
    failed, _ = fetch(gateway, "failed", None, "resp_2")    # nothing will come of it
    assert failed["usage_source"] == "none"
    settled(gateway, PRICE, Decimal(0), 5)
    if engine:
        gateway.cli("audit")


def test_whoever_fetches_it_first(gateways, redis):
    east, west = two(gateways, redis)
    begin(east)
    worst = held(west)
    for node in (west, east):   # neither restart gives it back
        node.stop()
        node.start()
        assert held(node) == worst
    assert Decimal(fetch(west)[0]["cost_usd"]) == PRICE
    for node in (east, west, east):
        record, answer = fetch(node)
        assert record["usage_source"] == "none" and record["cost_usd"] == "0"
        assert answer.header("x-tollgate-cost-usd") == "0"
    settled(east, PRICE, Decimal(0), 5)


def test_all_at_once(gateways, redis):
    east, west = two(gateways, redis)
    begin(east)
    records = []

    def run(node):
        records.append(fetch(node)[0])
    threads = [threading.Thread(target=run, args=((east, west)[n % 2],)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(records) == 16
    assert sorted(r["usage_source"] for r in records) == ["none"] * 15 + ["provider"]
    settled(west, PRICE, Decimal(0), 17)


def test_a_batch_that_the_other_node_goes_on_with(gateways, redis):
    east, west = two(gateways, redis)
    body, kind = lines(0, 20), "application/octet-stream"
    cut = ask(east, "GET", BATCH, raw=http(body[:len(body) // 2], kind, length=len(body)),
              X_Sim_Raw_End="cut")
    assert cut.status == 502
    first = east.records(1)
    rest = [record_of(node, ask(node, "GET", BATCH, raw=http(body, kind)))
            for node in (west, east, west)]
    assert 0 < first[0]["usage"]["input_tokens"] < 2000
    assert first[0]["usage"]["input_tokens"] + rest[0]["usage"]["input_tokens"] == 2000
    # half of 2.50 and 10 dollars a million
    assert cost(first + rest) == Decimal("0.0035")
    assert [r["cost_usd"] for r in rest[1:]] == ["0", "0"]


def test_a_batch_of_known_bounds_is_held(gateways, engine):
    gateway = gateways(redis=engine, limits=BUDGET)
    made = ask(gateway, "POST", "/anthropic/v1/messages/batches", {"requests": [
        {"custom_id": str(n), "params": {
            "model": "claude-haiku-4-5", "max_tokens": 1000,
            "messages": [{"role": "user", "content": "x"}]}} for n in range(3)]},
        http({"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress"}),
        x_api_key=calls.KEY)
    assert record_of(gateway, made)["cost_usd"] is None
    # 3000 tokens at 5 dollars a million at the most
    spent, reserved, _ = wait_for("what is held", lambda: day(gateway)[1] > 0 and day(gateway))
    assert spent == 0 and reserved >= Decimal("0.0075")
    body = "".join(json.dumps({"custom_id": str(n), "result": {"type": "succeeded", "message": {
        "type": "message", "model": "claude-haiku-4-5", "stop_reason": "end_turn",
        "usage": {"input_tokens": 1000, "output_tokens": 100, "service_tier": "batch"}}}}) + "\n"
        for n in range(3))
    record = record_of(gateway, ask(
        gateway, "GET", "/anthropic/v1/messages/batches/msgbatch_1/results",
        raw=http(body, "application/x-jsonl"), x_api_key=calls.KEY))
    # half of 1 and 5 dollars a million
    assert Decimal(record["cost_usd"]) == 3 * Decimal("0.00075")
    settled(gateway, 3 * Decimal("0.00075"), Decimal(0), 2)


def has_redis(gateway):
    """Each worker that lost it has it back."""
    log = gateway.log()
    return log.count("counters in redis are back") >= log.count("lost the counters in redis")


def test_without_redis_each_node_counts_by_what_it_knows(gateways, own_redis):
    east, west = two(gateways, own_redis)
    begin(east)
    held(west)
    own_redis.kill()
    began = time.monotonic()
    record, _ = fetch(west)
    assert Decimal(record["cost_usd"]) == PRICE and time.monotonic() - began < 5
    assert fetch(west)[0]["cost_usd"] == "0"
    # Redis is back with nothing: the claim of that time comes late, and holds.
    own_redis.start()
    wait_for("the claim", lambda: own_redis.command("KEYS", "*}:k:*"), 20)
    wait_for("Redis at the other node", lambda: has_redis(east), 20, 0.1)
    assert fetch(east)[0]["cost_usd"] == "0"
    # Both count what both fetch meanwhile; that is found.
    own_redis.kill()
    wait_for("its absence", lambda: not has_redis(east) and not has_redis(west), 20, 0.1)
    assert [fetch(node, name="resp_2")[0]["cost_usd"] for node in (east, west)] == ["0.0045"] * 2
    own_redis.start()
    wait_for("the doubt", lambda: "counted by two nodes" in east.log() + west.log(), 20, 0.1)


# ---- killed -----------------------------------------------------------------------------------

PAGE = {"batch_request_id": "r/1", "batch_result": {"response": {"chat_get_completion": {
    "id": "c1", "object": "chat.completion", "model": "grok-4", "choices": [],
    "usage": {"prompt_tokens": 700, "completion_tokens": 20, "total_tokens": 720}}}}}
SESSION = {"type": "session", "id": "sesn_1", "status": "idle", "agent": {
    "type": "agent", "id": "agent_1", "version": 1, "multiagent": None,
    "model": {"id": "claude-haiku-4-5", "speed": "standard"}}, "stats": {"active_seconds": 9},
    "usage": {"input_tokens": 1000, "output_tokens": 200}}
KINDS = {"answer": ("/openai/v1/responses/resp_1", http(response("completed", USAGE))),
         "lines": (BATCH, http(lines(0, 20), "application/octet-stream")),
         "page": ("/xai/v1/batches/batch_1/results", http({"results": [PAGE]})),
         "sums": ("/anthropic/v1/sessions/sesn_1", http(SESSION))}


def sizes(gateway, names):
    return [os.path.getsize(path) for path in glob.glob(os.path.join(gateway.folder, "var", names))]


def no_longer(gateway):
    """What is written to a file behind where the journal ends fails."""
    end = max(sizes(gateway, "journal/*.tgj"))
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (end, end))


@pytest.mark.skipif(sandbox.wanted(), reason="bounds of a sandboxed process are not the test's to set")
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_before_its_record_is_written(gateways, engine, kind, times):
    """What a killed process had claimed, and told its client, but not recorded: the next counts it."""
    path, raw = KINDS[kind]
    config = gateways.config(engine, limits=BUDGET, workers=1)
    config["upstreams"].append(dict(config["upstreams"][0], name="xai", protocol="openai",
                                    provider="xai"))
    gateway = gateways(config, preexec=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
    for n in range(times):
        begun, noted = sizes(gateway, "journal/*.tgj"), sum(sizes(gateway, "collected"))
        answers = []
        fetching = threading.Thread(target=lambda: answers.append(
            ask(gateway, "GET", path, raw=raw, X_Sim_Delay_Ms=1000, x_api_key=calls.KEY)))
        fetching.start()
        wait_for("its begin", lambda: max(sizes(gateway, "journal/*.tgj")) > max(begun))
        no_longer(gateway)
        fetching.join(30)
        assert answers[0].status == 200
        wait_for("its note", lambda: sum(sizes(gateway, "collected")) > noted)
        gateway.kill()
        gateway.start()
        assert len(gateway.records(n + 1)) == n + 1
    found = [record_of(gateway, ask(gateway, "GET", path, raw=raw, x_api_key=calls.KEY))
             for _ in range(2)]
    assert [r["usage_source"] for r in found] == ["provider", "none"]
    assert Decimal(found[0]["cost_usd"]) > 0 and found[1]["cost_usd"] == "0"
    gateway.stop()
    gateway.start()     # what was counted stands
    last = record_of(gateway, ask(gateway, "GET", path, raw=raw, x_api_key=calls.KEY))
    assert last["cost_usd"] == "0"
    assert cost(gateway.records(times + 3)) == Decimal(found[0]["cost_usd"])
