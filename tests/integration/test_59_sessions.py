"""Agents that a provider lets run by themselves: a session tells sums, and what they rise by is
counted once, over nodes, streams and restarts; while it may run a worst case is held."""

import json
import random
import threading
from decimal import Decimal

import pytest

from kit import calls, client, exact
from kit.config import BOOK
from kit.procs import wait_for
from test_51_other_measures import ask, http, record_of
from test_52_collected import BUDGET, day, settled

MODEL = "claude-sonnet-4-6"
PATH = "/anthropic/v1/sessions"
SESSION = PATH + "/sesn_1"
NARROW = "tg_narrow_key_0011223344"
MESSAGE = {"events": [{"type": "user.message", "content": [{"type": "text", "text": "go on"}]}]}
FIELDS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "5m", "1h", "searches",
          "ms", "cents")


@pytest.fixture(params=["memory", "redis"])
def engine(request):
    return request.getfixturevalue("redis") if request.param == "redis" else None


def usage(sums):
    """As the provider spells it."""
    return {"input_tokens": sums[0], "output_tokens": sums[1], "cache_read_input_tokens": sums[2],
            "cache_creation": {"ephemeral_5m_input_tokens": sums[3],
                               "ephemeral_1h_input_tokens": sums[4]},
            "server_tool_use": {"web_search_requests": sums[5], "web_fetch_requests": 9},
            "active_seconds": sums[6] / 1000,
            "list_cost": {"amount": str(sums[7]), "currency": "USD"}}


def session(sums=None, status="idle", model=MODEL, name="sesn_1", agent=None, **more):
    return {"type": "session", "id": name, "status": status,
            "agent": {"type": "agent", "id": "agent_1", "version": 1, "multiagent": None,
                      "model": {"id": model, "speed": "standard"}, **(agent or {})},
            "stats": {"active_seconds": 99999}, "usage": usage(sums) if sums else {}, **more}


def price(sums, model=MODEL, tier="", region=""):
    """What so much costs, by the second hand."""
    counts = {"in": sums[0], "out": sums[1], "cache_read": sums[2], "cache_write": sums[3],
              "cache_write_1h": sums[4], "web_search": sums[5],
              "session_sec": Decimal(sums[6]) / 1000}
    cost = exact.Book.folder(BOOK).cost({
        "provider": "anthropic", "model": model, "at": "2026-11-21", "tier": tier,
        "region": region, "usage": {k: str(v) for k, v in counts.items() if v}})
    return cost["cost"]


def call(gateway, method, path, body=None, answer=None, key=calls.KEY):
    return ask(gateway, method, path, body, http(answer) if answer is not None else None,
               x_api_key=key)


def look(gateway, sums, **more):
    return record_of(gateway, call(gateway, "GET", SESSION, answer=session(sums, **more)))


def begin(gateway, **more):
    """A session that rests: nothing runs, nothing costs."""
    record = record_of(gateway, call(gateway, "POST", PATH, {
        "agent": "agent_1", "environment_id": "env_1", **more}, session()))
    assert record["endpoint"] == "sessions"
    return record


def send(gateway, **more):
    return record_of(gateway, call(gateway, "POST", SESSION + "/events", MESSAGE,
                                   {"data": [{"id": "sevt_1"}]}, **more))


def same(record, cost):
    """To the last digit that the ledger has."""
    assert abs(exact.Fraction(record["cost_usd"]) - cost) <= exact.ATTO * 8


def held(gateway):
    return wait_for("what is held", lambda: day(gateway)[1] > 0 and day(gateway)[1])


FIRST = (1000, 500, 20000, 300, 70, 2, 61500, 7)
LAST = (1800, 900, 45000, 300, 170, 3, 125250, 12)


def less(a, b):
    return tuple(x - y for x, y in zip(a, b))


def test_what_rose_is_counted_once(gateways, engine):
    gateway = gateways(redis=engine, limits=BUDGET)
    made = begin(gateway)
    assert made["cost_usd"] == "0" and made["usage_source"] == "none"
    settled(gateway, Decimal(0), Decimal(0), 1)
    sent = send(gateway)
    assert sent["cost_usd"] is None and sent["usage_source"] == "none"
    assert sent["model_requested"] == MODEL
    worst = held(gateway)
    # One call of the model, and an hour at 0.08.
    assert worst > Decimal("0.08")
    runs = look(gateway, FIRST, status="running")
    assert runs["usage_source"] == "provider" and runs["model"] == MODEL
    assert runs["usage"] == {
        "input_tokens": 1000 + 20000 + 300 + 70, "cache_read_tokens": 20000,
        "cache_write_5m_tokens": 300, "cache_write_1h_tokens": 70, "output_tokens": 500,
        "web_search_requests": 2, "session_seconds": 61.5}
    same(runs, price(FIRST))
    assert runs["provider_cost_usd"] == "0.07"
    assert day(gateway)[1] == worst
    gateway.stop()
    gateway.start()
    rests = look(gateway, LAST)
    same(rests, price(less(LAST, FIRST)))
    assert rests["provider_cost_usd"] == "0.05"
    again = [look(gateway, sums) for sums in (LAST, FIRST)]
    assert [(r["cost_usd"], r["usage_source"]) for r in again] == [("0", "none")] * 2
    spent = Decimal(runs["cost_usd"]) + Decimal(rests["cost_usd"])
    wait_for("the budget", lambda: day(gateway)[1] == 0)
    assert abs(day(gateway)[0] - spent) < Decimal("0.00000001")
    if engine:
        gateway.cli("audit")


def test_nodes_that_look_in_turn_and_at_once(gateways, redis):
    nodes = [gateways(redis=redis, name=name, node=name, limits=BUDGET)
             for name in ("east", "west")]
    records, rng = [], random.Random(7)
    steps = [tuple(k * n for n in (100, 50, 2000, 30, 7, 1, 1500, 1)) for k in range(1, 25)]

    def run(node, mine):
        for sums in mine:
            records.append(look(node, sums, status="running"))

    for k, sums in enumerate(steps[:8]):    # in turn, now one, now the other
        run(nodes[k % 2], [sums])
        assert records[-1]["usage"]["output_tokens"] == 50
    threads = [threading.Thread(target=run, args=(nodes[n % 2], rng.sample(steps[8:], 16)))
               for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    records.append(look(nodes[0], steps[-1]))

    def total(field):
        return sum(Decimal(str(r.get("usage", {}).get(field, 0))) for r in records)
    assert len(records) == 8 + 64 + 1
    assert total("output_tokens") == steps[-1][1]
    assert total("input_tokens") == sum(steps[-1][i] for i in (0, 2, 3, 4))
    assert total("session_seconds") == Decimal(steps[-1][6]) / 1000
    assert sum(Decimal(r.get("provider_cost_usd") or 0) for r in records) == \
        Decimal(steps[-1][7]) / 100


def events(*documents):
    return http("".join(f"event: {d['type']}\ndata: {json.dumps(d)}\n\n" for d in documents),
                "text/event-stream")


def test_a_stream_tells_the_same_sums(gateways):
    """Its events for each call of the model tell the same once more, and count nothing."""
    gateway = gateways(limits=BUDGET)
    begin(gateway)
    send(gateway)
    worst = held(gateway)
    span = {"type": "span.model_request_end", "id": "e1", "model_usage": {
        "input_tokens": 9999, "output_tokens": 9999, "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0}}
    running, idle = ({"type": f"session.status_{word}", "id": "e2"} for word in ("running", "idle"))
    told = [{"type": "session.usage", "id": "e3", "usage": usage(sums)} for sums in (FIRST, LAST)]
    # It runs on when the client leaves: it is held on.
    first = record_of(gateway, ask(gateway, "GET", SESSION + "/events/stream", x_api_key=calls.KEY,
                                   raw=events(running, span, told[0])))
    same(first, price(FIRST))
    assert first["endpoint"] == "sessions.stream" and first["model"] == MODEL
    assert day(gateway)[1] == worst
    rest = record_of(gateway, ask(gateway, "GET", SESSION + "/events/stream", x_api_key=calls.KEY,
                                  raw=events(running, span, told[0], told[1], idle)))
    same(rest, price(less(LAST, FIRST)))
    wait_for("nothing held", lambda: day(gateway)[1] == 0)
    assert look(gateway, LAST)["cost_usd"] == "0"


def test_it_is_priced_as_its_agent_is_set(gateways):
    gateway = gateways()
    fast = {"model": {"id": "claude-opus-4-8", "speed": "fast", "inference_geo": "us"}}
    record = look(gateway, FIRST, agent=fast)
    same(record, price(FIRST, "claude-opus-4-8", "fast", "us"))
    assert record["service_tier"] == "fast" and record["region"] == "us"
    # The events do not say it: it is remembered.
    told = {"type": "session.usage", "id": "e3", "usage": usage(LAST)}
    stream = record_of(gateway, ask(gateway, "GET", SESSION + "/events/stream", x_api_key=calls.KEY,
                                    raw=events(told)))
    same(stream, price(less(LAST, FIRST), "claude-opus-4-8", "fast", "us"))


@pytest.mark.parametrize("team, exactly", [
    ({"type": "coordinator", "agents": [{"type": "agent", "id": "a2", "model": {"id": MODEL}}]},
     True),
    ({"type": "coordinator", "agents": [{"type": "agent", "model": {"id": "claude-opus-4-6"}}]},
     False),
    ({"type": "coordinator", "agents": [{"type": "advisor", "model": "claude-opus-4-6"}]}, False),
    ({"type": "multiagent_20261001", "subagents": {"type": "enabled", "predefined_agents": [],
                                                   "inline_agents": {"type": "enabled"}}}, False),
])
def test_of_several_models_the_sum_is_no_models_price(gateways, team, exactly):
    gateway = gateways()
    record = look(gateway, FIRST, agent={"multiagent": team})
    same(record, price(FIRST))
    assert record["price_status"] == ("ok" if exactly else "partial")


def test_the_providers_own_limit_is_the_worst_case(gateways):
    gateway = gateways(limits=[dict(BUDGET[0], limit="900"), *BUDGET[1:]])
    limit = {"type": "limit", "max_list_cost": {"amount": "12345", "currency": "USD"}}
    made = record_of(gateway, call(gateway, "POST", PATH, {
        "agent": {"type": "agent_with_overrides", "id": "agent_1", "model": MODEL},
        "environment_id": "env_1", "budget": limit, "initial_events": MESSAGE["events"]},
        session(status="running", budget=limit)))
    assert made["cost_usd"] is None and made["model_requested"] == MODEL
    wait_for("what is held", lambda: day(gateway)[1] == Decimal("123.45"))
    look(gateway, FIRST, budget=limit)
    wait_for("nothing held", lambda: day(gateway)[1] == 0)
    send(gateway)   # 7 cents of it are gone
    wait_for("what is held", lambda: day(gateway)[1] == Decimal("123.38"))
    refused = call(gateway, "POST", SESSION + "/events", MESSAGE,
                   {"type": "error", "error": {"type": "invalid_request_error"}})
    assert refused.status == 200    # as the provider says it
    send(gateway)   # the newest stands for all
    wait_for("what is held", lambda: day(gateway)[1] == Decimal("123.38"))


def test_what_the_provider_refuses_holds_nothing(gateways):
    gateway = gateways(limits=BUDGET)
    begin(gateway)
    answer = ask(gateway, "POST", SESSION + "/events", MESSAGE, x_api_key=calls.KEY,
                 raw=http({"type": "error", "error": {"type": "invalid_request_error"}},
                          status="400 Bad Request"))
    assert answer.status == 400 and record_of(gateway, answer)["cost_usd"] == "0"
    settled(gateway, Decimal(0), Decimal(0), 2)


def narrow(gateways, **more):
    keys = [{"name": "main", "secret": calls.KEY},
            {"name": "narrow", "secret": NARROW, "models": ["claude-sonnet-*"]}]
    return gateways(keys=keys, limits=BUDGET, **more)


def refused(answer):
    assert answer.status == 403 and answer.header("x-tollgate-denied") == "model_not_allowed"


def ask_as(gateway, key, method, path, body, answer):
    """With one key alone."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [("x-api-key", key), ("Content-Type", "application/json"), ("X-Sim-Raw", http(answer))]
    with gateway.connect() as connection:
        connection.send(client.request_bytes(method, path, lines, data))
        return connection.read(method)


def test_a_key_sets_no_other_models_to_work(gateways, provider, engine):
    """Of an agent the model is known once an answer has told it; a session keeps its own."""
    gateway = narrow(gateways, redis=engine)
    sent = {"data": []}

    def events_to(name, key=NARROW):
        return ask_as(gateway, key, "POST", f"{PATH}/{name}/events", MESSAGE, sent)

    def create(agent, key=NARROW, **more):
        return ask_as(gateway, key, "POST", PATH,
                      {"agent": agent, "environment_id": "e", **more}, session(name="sesn_2"))
    refused(events_to("sesn_1"))
    assert events_to("sesn_1", calls.KEY).status == 200
    look(gateway, FIRST)
    assert events_to("sesn_1").status == 200
    look(gateway, FIRST, model="claude-opus-4-6")
    refused(events_to("sesn_1"))
    look(gateway, FIRST, agent={"multiagent": {"type": "coordinator", "agents": [
        {"type": "advisor", "model": "claude-opus-4-6"}]}})
    refused(events_to("sesn_1"))
    # One that rests costs nothing; set to work at once it has to name the model itself.
    assert create("agent_9").status == 200
    refused(create("agent_9", initial_events=MESSAGE["events"]))
    over = {"type": "agent_with_overrides", "id": "agent_9", "model": MODEL}
    assert create(over, initial_events=MESSAGE["events"]).status == 200
    refused(create(dict(over, model={"id": "claude-opus-4-6"}), initial_events=MESSAGE["events"]))
    seen = len(provider.requests())
    for odd in ({**over, "model": "claude-s\\u006fnnet-4-6"},):
        body = json.dumps({"agent": odd, "environment_id": "e"}).replace("\\\\u", "\\u").encode()
        assert ask_as(gateway, NARROW, "POST", PATH, body, session()).status == 400
    assert len(provider.requests()) == seen


def test_what_one_node_learnt_the_others_know(gateways, redis):
    east, west = (narrow(gateways, redis=redis, name=name, node=name) for name in ("e", "w"))
    look(east, FIRST)
    answer = ask_as(west, NARROW, "POST", SESSION + "/events", MESSAGE, {"data": []})
    assert answer.status == 200
    assert record_of(west, answer)["model_requested"] == MODEL


def test_an_agent_tells_its_model(gateways):
    gateway = gateways(limits=BUDGET)
    made = record_of(gateway, call(gateway, "POST", "/anthropic/v1/agents", {
        "name": "x", "model": MODEL}, {"type": "agent", "id": "agent_1", "model": {"id": MODEL}}))
    assert made["cost_usd"] == "0" and made["endpoint"] == "agents"
    begun = begin(gateway, initial_events=MESSAGE["events"])
    assert begun["model_requested"] == MODEL and begun["cost_usd"] is None
    assert held(gateway) > Decimal("0.08")


@pytest.mark.parametrize("told", [
    {"input_tokens": -5, "output_tokens": 1.5, "active_seconds": "x", "list_cost": {"amount": 9}},
    {"input_tokens": 2**60, "cache_creation": [], "server_tool_use": 7, "list_cost": None},
    None, [], "x"])
def test_sums_that_are_none_count_nothing(gateways, told):
    gateway = gateways()
    record = record_of(gateway, call(gateway, "GET", SESSION, answer=dict(session(), usage=told)))
    assert record["status"] == 200 and record["cost_usd"] == "0"
    same(look(gateway, FIRST), price(FIRST))


def test_the_official_sdk(gateways, certs, monkeypatch):
    """Its paths, its query and what it reads from the answers."""
    anthropic = pytest.importorskip("anthropic")
    if not hasattr(anthropic.Anthropic(api_key="x").beta, "sessions"):
        pytest.skip("this version of the SDK has no sessions")
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    gateway = gateways(limits=BUDGET)

    def answer(document):
        return {"X-Sim-Raw": document if isinstance(document, str) else http(document)}
    with anthropic.Anthropic(base_url=gateway.url + "/anthropic", api_key=calls.KEY) as made:
        beta = made.beta
        beta.environments.create(name="x", extra_headers=answer({"type": "environment", "id": "e"}))
        beta.agents.create(name="x", model=MODEL, extra_headers=answer(
            {"type": "agent", "id": "agent_1", "model": {"id": MODEL}}))
        made = beta.sessions.create(agent="agent_1", environment_id="e",
                                    extra_headers=answer(session()))
        assert made.agent.model.id == MODEL
        beta.sessions.events.send(made.id, events=MESSAGE["events"],
                                  extra_headers=answer({"data": []}))
        held(gateway)
        told = {"type": "session.usage", "id": "e3", "usage": usage(FIRST),
                "processed_at": "2026-11-22T00:00:00Z"}
        idle = {"type": "session.status_idle", "id": "e4", "stop_reason": {"type": "end_turn"},
                "processed_at": "2026-11-22T00:00:00Z"}
        with beta.sessions.events.stream(made.id, extra_headers=answer(events(told, idle))) as s:
            assert [event.type for event in s] == ["session.usage", "session.status_idle"]
        wait_for("nothing held", lambda: day(gateway)[1] == 0)
        got = beta.sessions.retrieve(made.id, extra_headers=answer(session(LAST)))
        assert got.usage.output_tokens == LAST[1]
        beta.sessions.archive(made.id, extra_headers=answer(session(LAST)))
        beta.sessions.delete(made.id, extra_headers=answer({"type": "session_deleted", "id": "x"}))
    records = gateway.records(8)
    assert [r["endpoint"] for r in records] == [
        "environments", "agents", "sessions", "sessions.events", "sessions.stream",
        "sessions.fetched", "sessions.archive", "sessions.delete"]
    assert [r["cost_usd"] for r in records[:4]] == ["0", "0", "0", None]
    same(records[4], price(FIRST))
    same(records[5], price(less(LAST, FIRST)))
    assert [r["cost_usd"] for r in records[6:]] == ["0", "0"]


# ---- dreams ------------------------------------------------------------------------------

DREAM = "/anthropic/v1/dreams"


def dream(sums=None, status="running", session_id="sesn_d", model=MODEL):
    """sums: input, output, read from the cache, written to it."""
    told = dict(zip(("input_tokens", "output_tokens", "cache_read_input_tokens",
                     "cache_creation_input_tokens"), sums or (0, 0, 0, 0)))
    return {"type": "dream", "id": "drm_1", "status": status, "session_id": session_id,
            "model": {"id": model, "speed": "standard"}, "usage": told, "outputs": []}


def dreams(gateway, key=calls.KEY, model=MODEL):
    return ask_as(gateway, key, "POST", DREAM, {
        "model": model, "inputs": [{"type": "memory_store", "memory_store_id": "m"},
                                   {"type": "sessions", "session_ids": ["sesn_1"]}]},
        dream(status="pending", session_id=None))


def look_at_dream(gateway, *told):
    return record_of(gateway, call(gateway, "GET", DREAM + "/drm_1", answer=dream(*told)))


def test_a_dream_and_its_session_tell_the_same(gateways, engine):
    gateway = gateways(redis=engine, limits=BUDGET)
    made = record_of(gateway, dreams(gateway))
    assert made["endpoint"] == "dreams" and made["cost_usd"] is None
    assert made["model_requested"] == MODEL
    worst = held(gateway)
    assert look_at_dream(gateway, None, "pending", None)["cost_usd"] == "0"
    first = look_at_dream(gateway, (1000, 500, 20000, 400))
    assert first["endpoint"] == "dreams.fetched" and first["model"] == MODEL
    assert first["usage"] == {
        "input_tokens": 21400, "cache_read_tokens": 20000, "cache_write_5m_tokens": 400,
        "output_tokens": 500, "session_seconds": 0}
    # For how long it wrote to the cache, and was at work, it does not tell.
    assert first["price_status"] == "partial"
    same(first, price((1000, 500, 20000, 400, 0, 0, 0)))
    assert day(gateway)[1] == worst
    # 300 for five minutes and 100 for an hour: told and counted before, as is all but the time.
    sums = (1000, 500, 20000, 300, 100, 0, 60000, 5)
    session_seen = record_of(gateway, call(gateway, "GET", PATH + "/sesn_d",
                                           answer=session(sums, name="sesn_d")))
    assert session_seen["usage"] == {"session_seconds": 60}
    done = look_at_dream(gateway, (1500, 800, 20000, 450), "completed")
    assert done["usage"] == {"input_tokens": 550, "cache_write_5m_tokens": 50,
                             "output_tokens": 300, "session_seconds": 0}
    wait_for("nothing held", lambda: day(gateway)[1] == 0)
    assert look_at_dream(gateway, (1500, 800, 20000, 450), "completed")["cost_usd"] == "0"


def test_a_session_that_is_told_to_be_a_dream_later(gateways):
    gateway = gateways()
    sums = (1000, 500, 20000, 300, 100, 0, 60000, 5)
    record_of(gateway, call(gateway, "GET", PATH + "/sesn_d", answer=session(sums, name="sesn_d")))
    assert look_at_dream(gateway, (1000, 500, 20000, 400))["cost_usd"] == "0"
    more = look_at_dream(gateway, (1000, 500, 20000, 420))
    assert more["usage"] == {"input_tokens": 20, "cache_write_5m_tokens": 20,
                             "session_seconds": 0}


def test_a_key_dreams_with_no_other_model(gateways, provider):
    gateway = narrow(gateways)
    assert dreams(gateway, NARROW).status == 200
    assert dreams(gateway, NARROW, {"id": MODEL, "speed": "standard"}).status == 200
    seen = len(provider.requests())
    refused(dreams(gateway, NARROW, "claude-opus-4-6"))
    refused(dreams(gateway, NARROW, {"id": "claude-opus-4-6"}))
    for odd in (7, [MODEL], {"id": 7}, {}, None, {"id": [MODEL]}):
        assert dreams(gateway, calls.KEY, odd).status == 400
    answer = call(gateway, "POST", "/anthropic/v1/messages", {
        "model": {"id": MODEL}, "max_tokens": 5, "messages": []}, {})
    assert answer.status == 400 and len(provider.requests()) == seen


def test_what_runs_by_a_timetable_may_be_stopped_alone(gateways):
    gateway = gateways(limits=BUDGET)
    for path in ("deployments", "deployments/d", "deployments/d/run", "deployments/d/unpause"):
        answer = call(gateway, "POST", "/anthropic/v1/" + path, {}, {})
        assert answer.status == 403
        assert answer.header("x-tollgate-denied") == "endpoint_not_allowed"
    for path in ("pause", "archive"):
        assert call(gateway, "POST", f"/anthropic/v1/deployments/d/{path}", {}, {}).status == 200
