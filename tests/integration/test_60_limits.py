"""Budgets and rate caps, on both engines, and what holds while Redis is away."""

import threading
import time
from decimal import Decimal

import pytest

from kit import calls, client, prices, views
from kit.config import with_upstream
from kit.procs import wait_for

ENGINES = ["memory", "redis"]
SETTLED_SECONDS = 0.01   # in which an answered call has given back what it did not use


@pytest.fixture(params=ENGINES)
def engine(request):
    """A Redis for one of the two engines, None for the other."""
    return request.getfixturevalue("redis") if request.param == "redis" else None


def limit(name="budget", **members):
    return {"name": name, "unit": "usd", "limit": "1", "window": "day", **members}


def budget_row(gateway, name="budget"):
    report = gateway.admin("/api/v1/reports/budgets").json()
    rows = [r for r in report["rows"] if name in r.values()]
    assert rows, report
    return rows[0]


def refused(answer, name="budget"):
    assert answer.status == 402, answer
    assert answer.header("x-tollgate-denied") == "budget_exhausted"
    assert answer.header("x-should-retry") == "false"
    assert answer.header("retry-after") is None and answer.header("retry-after-ms") is None
    assert name in answer.body.decode()
    return answer


def test_budget_runs_out(gateways, provider, engine):
    """Spent to the limit and not over: what fits passes, what does not is refused."""
    one = prices.cost("openai", "gpt-4o", {"input_tokens": 10, "output_tokens": 16,
                                           "cache_read_tokens": 0, "cache_write_5m_tokens": 0,
                                           "cache_write_1h_tokens": 0})
    room = one * 40
    gateway = gateways(redis=engine, limits=[limit(limit=str(room))])
    passed = 0
    for _ in range(60):
        answer = calls.send(gateway, calls.chat(words=10, max_tokens=16))
        if answer.status != 200:
            break
        passed += 1
        time.sleep(SETTLED_SECONDS)
    refused(answer)
    # The worst case of a call is larger than its cost, so the last few may not fit.
    assert 20 <= passed <= 40
    records = gateway.records(passed)
    spent = sum(Decimal(r["cost_usd"]) for r in records)
    assert spent == one * passed <= room
    assert provider.totals()["billed"] == passed
    message = answer.json()["error"]["message"]
    assert str(room.normalize()) in message or f"{room:.2f}" in message, message


def test_hard_under_concurrency(gateways, provider, engine):
    """Many at once: the sum of what is admitted never exceeds the limit."""
    room = Decimal("0.01")
    gateway = gateways(redis=engine, limits=[limit(limit=str(room))])
    answers = []

    def run():
        for _ in range(8):
            answers.append(calls.send(gateway, calls.chat(words=20, max_tokens=60),
                                      sim={"Output_Tokens": 60}))
    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    passed = [a for a in answers if a.status == 200]
    for answer in answers:
        if answer.status != 200:
            refused(answer)
    assert len(answers) == 128 and passed and len(passed) < 128
    records = gateway.records(len(passed))
    assert sum(Decimal(r["cost_usd"]) for r in records) <= room
    assert provider.totals()["billed"] == len(passed)


@pytest.mark.parametrize("unit,size,used", [("tokens", 1000, 26), ("input_tokens", 400, 10),
                                            ("output_tokens", 600, 16), ("requests", 12, 1)])
def test_units(gateways, provider, engine, unit, size, used):
    gateway = gateways(redis=engine, limits=[limit(unit=unit, limit=size, window="hour")])
    passed = 0
    for _ in range(size + 1):
        answer = calls.send(gateway, calls.chat(words=10, max_tokens=16))
        if answer.status != 200:
            break
        passed += 1
        time.sleep(SETTLED_SECONDS)
    assert answer.status in (402, 429)
    assert passed * used <= size
    assert passed >= size // used // 3


def test_rate_cap(gateways, provider, engine):
    gateway = gateways(redis=engine, limits=[limit("rpm", per=["key"], unit="requests", limit=5,
                                                   window="60s")])
    statuses = [calls.send(gateway, calls.chat()) for _ in range(8)]
    assert [a.status for a in statuses] == [200] * 5 + [429] * 3
    answer = statuses[-1]
    assert answer.header("x-tollgate-denied") == "rate_limited"
    assert 1 <= int(answer.header("retry-after")) <= 60
    assert 0 < int(answer.header("retry-after-ms")) <= 60000
    assert provider.totals()["billed"] == 5


def test_rolling_window_rolls(gateways, engine):
    gateway = gateways(redis=engine, limits=[limit("quick", unit="requests", limit=2,
                                                   window="2s")])
    assert [calls.send(gateway, calls.chat()).status for _ in range(3)] == [200, 200, 429]
    assert wait_for("the window to roll",
                    lambda: calls.send(gateway, calls.chat()).status == 200, 6, 0.2)


def test_concurrent(gateways, engine):
    gateway = gateways(redis=engine, limits=[{"name": "parallel", "unit": "concurrent",
                                              "limit": 3}])
    answers = []

    def run():
        answers.append(calls.send(gateway, calls.chat(), sim={"Delay_Ms": 600}).status)
    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(answers) == [200] * 3 + [429] * 3
    assert calls.send(gateway, calls.chat()).status == 200


def test_warn_lets_through(gateways, provider, engine):
    gateway = gateways(redis=engine, limits=[limit(limit="0.0001", mode="warn",
                                                   alerts=[50, 100])])
    for _ in range(5):
        assert calls.send(gateway, calls.chat()).status == 200
    assert provider.totals()["billed"] == 5


def test_scopes(gateways, provider, engine):
    gateway = gateways(redis=engine, limits=[
        limit("per-team", per=["team"], unit="requests", limit=2, window="hour"),
        limit("prod-only", match={"environment": "prod"}, unit="requests", limit=1,
              window="hour")])

    def send(team, environment="dev"):
        return calls.send(gateway, calls.chat(), tags=[("X-Tollgate-Team", team),
                                                       ("X-Tollgate-Environment",
                                                        environment)]).status
    assert [send("a"), send("a"), send("a")] == [200, 200, 402] or \
        [send("c"), send("c"), send("c")] == [200, 200, 429]
    assert send("b", "prod") == 200
    assert send("d", "prod") in (402, 429)
    assert send("d") == 200


def test_refusal_reserves_nothing(gateways, engine):
    """All limits of a request or none: a call that one refuses leaves the other as it was."""
    gateway = gateways(redis=engine, limits=[
        limit("wide", unit="requests", limit=3, window="hour"),
        limit("narrow", match={"feature": "x"}, unit="requests", limit=1, window="hour")])

    def send(feature):
        return calls.send(gateway, calls.chat(), tags=[("X-Tollgate-Feature", feature)]).status
    assert send("x") == 200
    assert [send("x") for _ in range(5)] == [send("x")] * 5
    assert [send("y"), send("y")] == [200, 200]
    assert send("y") != 200


@pytest.mark.parametrize("sim,what", [
    ({"Status": 500}, "error"), ({"Status": 429}, "limited")])
def test_reservation_is_returned(gateways, engine, sim, what):
    """Calls that cost nothing leave the budget whole."""
    gateway = gateways(redis=engine, limits=[limit(limit="0.002")])
    for _ in range(20):
        answer = calls.send(gateway, calls.chat(max_tokens=60), sim=sim)
        assert answer.status != 402, what
    assert calls.send(gateway, calls.chat(max_tokens=60)).status == 200


def test_counters_equal_the_ledger(gateways, provider, engine):
    gateway = gateways(redis=engine, limits=[limit(limit="100")])
    for shape in ("chat", "chat-stream", "messages", "messages-stream", "generate",
                  "generate-sse", "responses", "embeddings"):
        assert calls.send(gateway, calls.SHAPES[shape]()).status == 200
    records = gateway.records(8)
    spent = sum(Decimal(r["cost_usd"]) for r in records)

    # What was taken from a lease is told within half a second, and what is idle is given back.
    def settled():
        row = budget_row(gateway)
        return row if Decimal(row.get("reserved_usd") or 0) == 0 else None
    row = wait_for("nothing to be reserved", settled, 5, 0.1)
    # Limits count whole nano-dollars, each request rounded up.
    assert abs(Decimal(row["spent_usd"]) - spent) <= Decimal("0.000000008")
    assert provider.totals()["billed"] == 8


def test_a_restart_forgets_nothing(gateways, engine):
    gateway = gateways(redis=engine, limits=[limit(unit="requests", limit=3, window="day")])
    assert [calls.send(gateway, calls.chat()).status for _ in range(2)] == [200, 200]
    gateway.records(2)
    gateway.process.stop()
    gateway.start()
    statuses = [calls.send(gateway, calls.chat()).status for _ in range(2)]
    assert statuses[0] == 200 and statuses[1] in (402, 429)


def test_a_reload_keeps_counters(gateways, engine):
    gateway = gateways(redis=engine, limits=[limit(unit="requests", limit=3, window="day")])
    assert calls.send(gateway, calls.chat()).status == 200
    gateway.config["limits"][0]["limit"] = 2
    gateway.write()
    gateway.reload()
    wait_for("reload", lambda: "reload" in gateway.process.log().lower())
    time.sleep(0.2)
    statuses = [calls.send(gateway, calls.chat()).status for _ in range(2)]
    assert statuses[0] == 200 and statuses[1] in (402, 429)


# ---- Redis away ---------------------------------------------------------------------------

ON_FAILURE = {"local": 200, "allow": 200, "refuse": 503}


@pytest.mark.parametrize("how", ["killed", "frozen", "never there"])
@pytest.mark.parametrize("on_failure", ON_FAILURE)
def test_redis_away(gateways, provider, own_redis, on_failure, how):
    if how == "never there":
        own_redis.kill()
    gateway = gateways(redis=own_redis, counters={"on_failure": on_failure, "timeout_ms": 100},
                       limits=[limit(limit="50")])
    before = 0
    if how != "never there":
        assert calls.send(gateway, calls.chat()).status == 200
        before = 1
    if how == "killed":
        own_redis.kill()
    if how == "frozen":
        own_redis.freeze()
    slowest = 0.0
    for _ in range(6):
        start = time.monotonic()
        answer = calls.send(gateway, calls.chat())
        slowest = max(slowest, time.monotonic() - start)
        assert answer.status == ON_FAILURE[on_failure], answer
        if on_failure == "refuse":
            assert answer.header("x-tollgate-denied") == "counters_unavailable"
    assert slowest < 1.0
    if on_failure != "refuse":
        records = gateway.records(before + 6)
        assert all(r["outcome"] == "ok" for r in records)
    own_redis.thaw() if how == "frozen" else None
    if how == "killed":
        own_redis.start()
    if how != "never there":
        wait_for("service again", lambda: calls.send(gateway, calls.chat()).status == 200)
        spent = sum(Decimal(r["cost_usd"]) for r in gateway.export())
        wait_for("what was admitted meanwhile is settled",
                 lambda: Decimal(budget_row(gateway)["spent_usd"]) >= spent, 15, 0.3)


@pytest.mark.parametrize("redis_is", ["away since", "away later"])
def test_local_after_a_start(gateways, provider, own_redis, redis_is):
    """A process that has just begun knows what was spent before it, also of what nobody asks for."""
    gateway = gateways(redis=own_redis, counters={"on_failure": "local", "timeout_ms": 100},
                       limits=[{"name": "few", "unit": "requests", "limit": 5, "window": "day"}])
    for _ in range(3):
        assert calls.send(gateway, calls.chat()).status == 200
    wait_for("records", lambda: len(gateway.export()) == 3)
    if redis_is == "away since":
        own_redis.kill()
    gateway.kill()
    gateway.start()
    if redis_is == "away later":
        own_redis.kill()
    statuses = [calls.send(gateway, calls.chat()).status for _ in range(4)]
    assert statuses[:2] == [200, 200] and set(statuses[2:]) <= {402, 429}, statuses
    own_redis.start()
    wait_for("what was admitted meanwhile to be told", lambda: int(
        budget_row(gateway, "few")["spent_count"] or 0) == 5, 15, 0.3)


def test_running_streams_do_not_feel_it(gateways, own_redis):
    gateway = gateways(redis=own_redis, limits=[limit(limit="50")])
    got = []

    def run():
        got.append(calls.send(gateway, calls.chat(stream=True), sim={"Event_Delay_Ms": 50}))
    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.2)
    own_redis.kill()
    thread.join(20)
    assert got[0].complete and b"[DONE]" in got[0].body
    assert gateway.records(1)[0]["outcome"] == "ok"


def test_redis_emptied(gateways, redis):
    """Counters come back from the ledger before anything is admitted against zero."""
    gateway = gateways(redis=redis, limits=[limit(unit="requests", limit=4, window="day")])
    for _ in range(3):
        assert calls.send(gateway, calls.chat()).status == 200
    gateway.records(3)
    redis.command("FLUSHALL")
    statuses = [calls.send(gateway, calls.chat()).status for _ in range(4)]
    assert statuses.count(200) == 1, statuses


def test_redis_never_holds_secrets(gateways, redis):
    gateway = gateways(redis=redis, limits=[limit(per=["key"], limit="5")])
    calls.send(gateway, calls.chat())
    gateway.records(1)
    for key in redis.command("KEYS", "*"):
        kind = redis.command("TYPE", key)
        content = key + str({"hash": lambda: redis.command("HGETALL", key),
                             "string": lambda: redis.command("GET", key),
                             "zset": lambda: redis.command("ZRANGE", key, 0, -1),
                             "list": lambda: redis.command("LRANGE", key, 0, -1),
                             "set": lambda: redis.command("SMEMBERS", key)}.get(
                                 kind, lambda: "")())
        assert calls.KEY not in content and calls.CANARY_PROMPT not in content


def test_stream_that_outgrows_its_reservation(gateways, provider, engine):
    """A call without an output bound still ends up in the counters with what it cost."""
    gateway = gateways(redis=engine, limits=[limit(limit="5")])
    answer = calls.send(gateway, calls.chat(stream=True), sim={"Output_Tokens": 20000,
                                                               "Tokens_Per_Event": 200})
    record = gateway.record(answer.header("x-tollgate-request-id"))
    views.check_usage(record, views.bill_of(provider, record))
    row = budget_row(gateway)
    assert Decimal(row["spent_usd"]) >= Decimal(record["cost_usd"]) - Decimal("0.000000001")


def growing(gateways, engine, on_exhausted, **counters):
    """A gateway that has learnt how little calls without a bound take, and a small limit."""
    gateway = gateways(redis=engine, counters={"output_floor": 16, **counters}, workers=1,
                       limits=[limit("small", unit="output_tokens", limit=300,
                                     match={"feature": "tiny"}, on_exhausted=on_exhausted)])
    for _ in range(25):
        assert calls.send(gateway, calls.chat(), sim={"Output_Tokens": 20}).status == 200
    return gateway


UNTOLD = {"Output_Tokens": 4000, "Event_Delay_Ms": 2}


def test_outgrown_and_cut(gateways, provider, engine):
    """No room for the rest: the stream ends in an error event, and what was taken is kept."""
    gateway = growing(gateways, engine, "cut")
    answer = calls.send(gateway, calls.chat(stream=True), tags=[("X-Tollgate-Feature", "tiny")], sim=UNTOLD)
    assert answer.status == 200
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "cut"
    # Steps double what is reserved: 23, 46, ... and the one that does not fit is not taken.
    assert 100 < record["usage"]["output_tokens"] <= 300
    last = [line for line in answer.body.decode().splitlines() if line.startswith("data: ")][-1]
    assert "budget" in last and "small" in last and '"error"' in last, last

    def given_back():
        row = budget_row(gateway, "small")
        return row if row.get("reserved_count") == 0 else None
    row = wait_for("what was reserved to go back", given_back, 5, 0.1)
    assert row["spent_count"] == record["usage"]["output_tokens"]


@pytest.mark.parametrize("model", ["gpt-4o", "chat-prod"])
def test_outgrown_budget(gateways, engine, model):
    """A step costs what the model costs that answers, also where it is deployed under another name."""
    config = with_upstream(gateways.config(engine, counters={"output_floor": 16}, workers=1, limits=[
        limit("small", limit="0.004", match={"feature": "tiny"}, on_exhausted="cut")]),
        "openai", deployments={"chat-prod": "gpt-4o"})
    gateway = gateways(config)
    for _ in range(25):
        assert calls.send(gateway, calls.chat(model=model), sim={"Output_Tokens": 20}).status == 200
    answer = calls.send(gateway, calls.chat(stream=True, model=model), tags=[("X-Tollgate-Feature", "tiny")],
                        sim=UNTOLD)
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "cut" and record["usage"]["output_tokens"] > 100
    assert Decimal("0.001") < Decimal(record["cost_usd"]) <= Decimal("0.004")


def test_outgrown_and_finished(gateways, provider, engine):
    gateway = growing(gateways, engine, "finish")
    answer = calls.send(gateway, calls.chat(stream=True), tags=[("X-Tollgate-Feature", "tiny")],
                        sim={"Output_Tokens": 900, "Event_Delay_Ms": 1})
    assert answer.status == 200 and answer.body.rstrip().endswith(b"data: [DONE]")
    record = gateway.record(answer.header("x-tollgate-request-id"))
    assert record["outcome"] == "ok" and record["usage"]["output_tokens"] == 900

    def given_back():
        row = budget_row(gateway, "small")
        return row if row.get("reserved_count") == 0 else None
    assert wait_for("settled", given_back, 5, 0.1)["spent_count"] == 900
    # whoever comes now has no room
    assert calls.send(gateway, calls.chat(), tags=[("X-Tollgate-Feature", "tiny")]).status == 402


def test_own_bound_is_never_cut(gateways, provider, engine):
    """What a request bounds itself was reserved whole."""
    gateway = growing(gateways, engine, "cut")
    answer = calls.send(gateway, calls.chat(stream=True, max_tokens=200),
                        tags=[("X-Tollgate-Feature", "tiny")], sim={"Output_Tokens": 200})
    assert answer.body.rstrip().endswith(b"data: [DONE]")


@pytest.mark.parametrize("tags", [[("X-Tollgate-Feature", "tiny")], []], ids=["limited", "free"])
def test_outgrown_and_killed(gateways, provider, engine, tags):
    """What a killed process leaves of a stream is what was reserved for it by then: no less than
    the client had, and not much more."""
    gateway = growing(gateways, engine, "finish")
    call = calls.chat(stream=True)
    with gateway.connect() as connection:
        connection.send(client.request_bytes("POST", call.full_path(),
                                             call.headers(calls.KEY, tags, UNTOLD), call.data()))
        got = b""
        while got.count(b"data: ") < 600:
            got += connection.recv()
        gateway.kill()
    seen = got.count(b"data: ") - 1    # the first says who speaks; the others, a token or some
    gateway.start()
    record, = [r for r in gateway.records(26) if r["outcome"] == "interrupted"]
    assert record["usage_source"] == "estimated"
    assert seen <= record["usage"]["output_tokens"] <= 8 * seen
    assert record["model"] == "gpt-4o" and Decimal(record["cost_usd"]) > Decimal(seen) / 100000
    spent = wait_for("its window", lambda: budget_row(gateway, "small"))["spent_count"]
    assert spent == (record["usage"]["output_tokens"] if tags else 0)
