"""OpenAI's agents: a session's usage grows and is told by sessions, turns and events; what it rises
by is counted once, whichever way it is seen; while it may run a worst case is held."""

import json
import threading
from decimal import Decimal

import pytest

from kit import calls, client, exact
from kit.config import BOOK
from kit.procs import wait_for
from test_51_other_measures import ask, http, record_of
from test_52_collected import BUDGET, day, settled
from test_59_sessions import held, less, refused, same

MODEL = "gpt-6-luna"
OTHER = "gpt-6-astra"
PATH = "/openai/v1/agents/sessions"
SESSION = PATH + "/sess_1"
NARROW = "tg_narrow_key_0011223344"
MESSAGE = {"events": [{"type": "agent.session.input.message",
                       "input": [{"role": "user", "content": "go on"}]}]}
NONE = {"type": "none"}

# input with cached, cached of it, output with reasoning, reasoning of it
FIRST = (5000, 1500, 900, 200)
LAST = (9000, 4000, 1700, 450)


@pytest.fixture(params=["memory", "redis"])
def engine(request):
    return request.getfixturevalue("redis") if request.param == "redis" else None


def usage(sums):
    """As the provider spells it; None: not known yet."""
    return sums and {"input_tokens": sums[0], "input_tokens_details": {"cached_tokens": sums[1]},
                     "output_tokens": sums[2],
                     "output_tokens_details": {"reasoning_tokens": sums[3]},
                     "total_tokens": sums[0] + sums[2]}


def agent(model=MODEL, **more):
    return {"id": "agent_1", "model": model, "service_tier": "auto", "instructions": None,
            "multi_agent": {"enabled": False, "max_concurrent_subagents": None}, "name": None,
            "reasoning": {"effort": "low", "summary": None}, "tools": [{"type": "web_search"}],
            "text": {"format": {"type": "text"}, "verbosity": "medium"}, **more}


def session(sums=None, status="idle", name="sess_1", cents=None, limit=None, **more):
    return {"id": name, "object": "agent.session", "status": status, "created_at": 1,
            "last_active_at": 2, "environment": NONE, "metadata": {}, "error": None,
            "required_actions": [], "vault_ids": [], "usage": usage(sums), "agent": agent(**more),
            "spend_control": {"limit": limit, "consumed": cents}}


def turn(sums, name="turn_1", status="completed", subagent=None):
    return {"id": name, "object": "agent.session.turn", "agent_id": "agent_1", "created_at": 1,
            "completed_at": 2, "error": None, "session_id": "sess_1", "started_at": 1,
            "status": status, "subagent_id": subagent, "usage": usage(sums)}


def listed(*turns):
    return {"object": "list", "data": list(turns), "has_more": False, "first_id": "a",
            "last_id": "b"}


def event(kind, **more):
    return {"type": "agent.session." + kind, "event_id": "e", "session_id": "sess_1",
            "obfuscation": "xxxx", **more}


def ended(sums, name="turn_1", told=True):
    return event("turn.completed", turn_id=name, turn=turn(sums if told else None, name),
                 usage=usage(sums))


def stream(*documents):
    return http("".join(f"event: {d['type']}\ndata: {json.dumps(d)}\n\n" for d in documents),
                "text/event-stream")


def price(sums, model=MODEL, tier=""):
    counts = {"in": sums[0] - sums[1], "cache_read": sums[1], "out": sums[2]}
    cost = exact.Book.folder(BOOK).cost({
        "provider": "openai", "model": model, "at": "2026-11-21", "tier": tier,
        "usage": {k: str(v) for k, v in counts.items() if v}})
    return cost["cost"]


def call(gateway, method, path, answer=None, body=None, key=calls.KEY):
    """answer: a document, or a whole answer."""
    data = json.dumps(body).encode() if body is not None else b""
    lines = [("Authorization", f"Bearer {key}"), ("OpenAI-Beta", "agents=v1"),
             ("X-Sim-Raw", answer if isinstance(answer, str) else http(answer))]
    if body is not None:
        lines.append(("Content-Type", "application/json"))
    with gateway.connect() as connection:
        connection.send(client.request_bytes(method, path, lines, data))
        return connection.read(method)


def look(gateway, answer, path=SESSION):
    return record_of(gateway, call(gateway, "GET", path, answer))


def create(gateway, answer=None, key=calls.KEY, **body):
    body = {"environment": NONE, "agent": {"model": MODEL}, "input": "go", **body}
    return call(gateway, "POST", PATH, answer or session(status="in_progress"), body, key)


def send(gateway, key=calls.KEY, path=SESSION):
    return call(gateway, "POST", path + "/events", http("", status="202 Accepted"), MESSAGE, key)


def counts(record):
    return tuple(record["usage"].get(f, 0) for f in (
        "input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens"))


def test_what_rose_is_counted_once(gateways, engine):
    gateway = gateways(redis=engine, limits=BUDGET)
    made = record_of(gateway, create(gateway))
    assert made["endpoint"] == "agents.sessions" and made["model_requested"] == MODEL
    assert made["cost_usd"] is None and made["usage_source"] == "none"
    worst = held(gateway)
    nothing = look(gateway, session(status="in_progress"))
    assert nothing["cost_usd"] == "0" and nothing["usage_source"] == "none"
    runs = look(gateway, session(FIRST, "in_progress", cents=3))
    assert runs["endpoint"] == "agents.sessions.fetched" and runs["usage_source"] == "provider"
    assert runs["model"] == MODEL and counts(runs) == FIRST
    assert runs["provider_cost_usd"] == "0.03"
    # The provider's counts are best effort, and tell of no searches and no containers.
    assert runs["price_status"] == "partial"
    same(runs, price(FIRST))
    # It is idle, and what it took is not known yet.
    look(gateway, session(None))
    assert day(gateway)[1] == worst
    gateway.stop()
    gateway.start()
    rests = look(gateway, session(LAST, cents=5))
    assert counts(rests) == less(LAST, FIRST) and rests["provider_cost_usd"] == "0.02"
    same(rests, price(less(LAST, FIRST)))
    again = [look(gateway, session(sums)) for sums in (LAST, FIRST)]
    assert [(r["cost_usd"], r["usage_source"]) for r in again] == [("0", "none")] * 2
    spent = Decimal(runs["cost_usd"]) + Decimal(rests["cost_usd"])
    wait_for("the budget", lambda: day(gateway)[1] == 0)
    assert abs(day(gateway)[0] - spent) < Decimal("0.00000001")
    sent = record_of(gateway, send(gateway))
    assert sent["endpoint"] == "agents.sessions.events" and sent["model_requested"] == MODEL
    assert held(gateway)
    if engine:
        gateway.cli("audit")


ONE, TWO, CHILD = (3000, 1000, 500, 100), (4000, 2000, 700, 150), (2000, 1000, 500, 200)


def plus(*sums):
    return tuple(map(sum, zip(*sums)))


def test_turns_tell_some_of_the_same(gateways, engine):
    """A session is the sum of its turns, subagents' too: nothing of it counts twice."""
    gateway = gateways(redis=engine, limits=BUDGET)
    create(gateway)
    held(gateway)
    first = look(gateway, turn(ONE), SESSION + "/turns/turn_1")
    assert first["endpoint"] == "agents.sessions.turns" and counts(first) == ONE
    assert first["model_requested"] == MODEL and first["price_status"] == "partial"
    same(first, price(ONE))
    assert day(gateway)[1] > 0     # other turns may run
    both = look(gateway, listed(turn(TWO, "turn_2"), turn(None, "turn_3"), turn(ONE)),
                SESSION + "/turns?order=desc")
    assert counts(both) == TWO
    again = look(gateway, turn(TWO, "turn_2"), SESSION + "/turns/turn_2")
    assert again["cost_usd"] == "0"
    whole = look(gateway, session(plus(ONE, TWO, CHILD)))
    assert counts(whole) == CHILD
    child = look(gateway, listed(turn(CHILD, "turn_9", subagent="sub_1")),
                 SESSION + "/subagents/sub_1/turns")
    assert child["cost_usd"] == "0" and child["endpoint"] == "agents.sessions.turns"
    same_child = look(gateway, turn(CHILD, "turn_9", subagent="sub_1"),
                      SESSION + "/subagents/sub_1/turns/turn_9")
    assert same_child["cost_usd"] == "0"
    wait_for("nothing held", lambda: day(gateway)[1] == 0)


def test_a_stream_tells_the_same(gateways):
    gateway = gateways(limits=BUDGET)
    create(gateway)
    worst = held(gateway)
    path = SESSION + "/events"
    begins = [event("turn.created", turn_id="turn_1", turn=turn(None, status="queued")),
              event("turn.in_progress", turn_id="turn_1", turn=turn(None, status="in_progress")),
              event("turn.output_text.delta", delta="hello", turn_id="turn_1", item_id="i")]
    # It runs on when the client leaves: it is held on.
    left = look(gateway, stream(event("in_progress", session=session(status="in_progress")),
                                *begins, ended(ONE)), path)
    assert left["endpoint"] == "agents.sessions.stream" and counts(left) == ONE
    assert left["model"] == MODEL
    assert day(gateway)[1] == worst
    # Of two turns the sum; the second is told beside the turn alone.
    rest = look(gateway, stream(ended(ONE), *begins, ended(TWO, "turn_2", told=False),
                                event("idle", session=session(None))), path)
    assert counts(rest) == TWO
    assert day(gateway)[1] == worst
    idle = look(gateway, stream(event("idle", session=session(plus(ONE, TWO, CHILD)))), path)
    assert counts(idle) == CHILD
    wait_for("nothing held", lambda: day(gateway)[1] == 0)
    send(gateway)
    held(gateway)
    on = look(gateway, stream(event("idle", session=session(plus(ONE, TWO, CHILD))), *begins), path)
    assert on["cost_usd"] == "0"
    assert day(gateway)[1] > 0


def test_the_call_that_begins_it_may_tell_its_end(gateways):
    """Its stream goes on until the session rests: then nothing is held, and it is counted here."""
    gateway = gateways(limits=BUDGET)
    began = event("created", session=session(status="in_progress"))
    made = record_of(gateway, create(gateway, stream(
        began, ended(FIRST), event("idle", session=session(FIRST))), stream=True))
    assert made["endpoint"] == "agents.sessions" and counts(made) == FIRST
    same(made, price(FIRST))
    wait_for("nothing held", lambda: day(gateway)[1] == 0)
    assert abs(day(gateway)[0] - Decimal(made["cost_usd"])) < Decimal("0.00000001")
    assert look(gateway, session(FIRST))["cost_usd"] == "0"
    # One that is left before: what it took is told, and counted, later.
    left = record_of(gateway, create(gateway, stream(
        dict(began, session=session(status="in_progress", name="sess_2")), ended(ONE)),
        stream=True))
    assert left["cost_usd"] is None and left["usage_source"] == "none"
    assert held(gateway)
    whole = look(gateway, session(ONE, name="sess_2"), PATH + "/sess_2")
    assert counts(whole) == ONE
    wait_for("nothing held", lambda: day(gateway)[1] == 0)


def item(name, action="search", status="completed", kind="web_search_call"):
    return {"id": name, "type": kind, "status": status, "turn_id": "turn_1",
            "action": action and {"type": action, "query": "x"}}


def test_searches_count_once_each(gateways, engine):
    """No usage tells of them: they are items, of streams and of lists."""
    gateway = gateways(redis=engine)
    record_of(gateway, create(gateway))
    look(gateway, session(None))

    def done(*items):
        return [event("turn.item.done", turn_id="turn_1", output_index=0, item=i) for i in items]
    streamed = look(gateway, stream(
        event("turn.item.added", item=item("ws_0")),
        *done(item("ws_1"), item("ws_2", None), item("ws_3", "open_page"), item("ws_1"),
              item("ws_4", status="in_progress"), item("cmd_1", kind="command_execution")),
        ended(ONE)), SESSION + "/events")
    assert streamed["usage"]["web_search_requests"] == 2 and counts(streamed) == ONE
    fee = exact.Book.folder(BOOK).cost({"provider": "openai", "model": MODEL, "at": "2026-11-21",
                                        "usage": {"web_search": "1"}})["cost"]
    assert fee > 0
    same(streamed, price(ONE) + 2 * fee)
    page = listed(item("ws_1"), item("ws_2"), item("ws_4"), item("ws_5", "find_in_page"),
                  item("ws_6", status="incomplete"), item("msg_1", kind="message"))
    for path in ("/items", "/turns/turn_1/items", "/subagents/s/items",
                 "/subagents/s/turns/t/items"):
        record = look(gateway, page, SESSION + path)
        assert record["endpoint"] == "agents.sessions.items"
        if path == "/items":
            assert record["usage"] == {"web_search_requests": 1, "session_seconds": 0}
            assert record["price_status"] == "partial" and record["model_requested"] == MODEL
            same(record, fee)
        else:
            assert record["cost_usd"] == "0" and record["usage_source"] == "none"
    gateway.stop()
    gateway.start()
    assert look(gateway, page, SESSION + "/items")["cost_usd"] == "0"
    many = listed(*(item(f"ws_m{n}") for n in range(100)))
    assert look(gateway, many, SESSION + "/items")["usage"]["web_search_requests"] == 100


@pytest.mark.parametrize("seen_at_rest", [True, False])
def test_a_session_that_rests_before_its_stream_is_left(gateways, provider, seen_at_rest):
    """What others were told while the stream went on holds: nothing is held afterwards."""
    gateway = gateways(limits=BUDGET)
    told = event("created", session=session(status="in_progress"))
    whole = f"event: {told['type']}\ndata: {json.dumps(told)}\n\n"
    body = json.dumps({"environment": NONE, "agent": {"model": MODEL}, "input": "x",
                       "stream": True}).encode()
    asked = len(provider.requests())
    with gateway.connect() as connection:
        connection.send(client.request_bytes("POST", PATH, [
            ("Authorization", f"Bearer {calls.KEY}"), ("Content-Type", "application/json"),
            ("X-Sim-Raw", http(whole, "text/event-stream", length=len(whole) + 9)),
            ("X-Sim-Raw-End", "stall")], body))
        wait_for("it runs", lambda: len(provider.requests()) > asked)
        look(gateway, session(FIRST, "idle" if seen_at_rest else "in_progress"))
    wait_for("its record", lambda: len(gateway.export()) == 2)
    assert (day(gateway)[1] == 0) == seen_at_rest


def test_nodes_that_look_at_once(gateways, redis):
    nodes = [gateways(redis=redis, name=name, node=name, limits=BUDGET)
             for name in ("east", "west")]
    record_of(nodes[0], create(nodes[0]))
    steps = [tuple(k * n for n in (1000, 300, 200, 50)) for k in range(1, 11)]

    def run(node, mine):
        for sums in mine:
            call(node, "GET", SESSION, session(sums, "in_progress"))
            call(node, "GET", SESSION + "/turns/turn_1", turn(sums))
    threads = [threading.Thread(target=run, args=(nodes[n % 2], steps)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    records = [r for node in nodes for r in node.records(4 * len(steps) + (node is nodes[0]))]
    assert plus(*(counts(r) for r in records if r.get("usage"))) == steps[-1]


def test_it_is_priced_as_its_agent_is_set(gateways):
    gateway = gateways()
    fast = look(gateway, session(FIRST, model="gpt-5.4", service_tier="priority"))
    same(fast, price(FIRST, "gpt-5.4", "priority"))
    assert fast["service_tier"] == "priority"
    # A turn does not say it: it is remembered.
    told = look(gateway, turn(LAST), SESSION + "/turns/turn_1")
    same(told, price(less(LAST, FIRST), "gpt-5.4", "priority"))
    assert told["service_tier"] == "priority"
    # Priced again they cost the same: a sum has no length, and keeps its tier.
    look(gateway, session(plus(LAST, (400000, 0, 5, 0)), model="gpt-5.4", service_tier="priority"))
    sheet = json.loads(gateway.cli("price", "reprice", "--all", "--format", "json"))
    assert [(r["requests"], r["changed"]) for r in sheet["rows"]] == [(3, 0)]


def test_the_providers_own_limit_is_the_worst_case(gateways):
    gateway = gateways(limits=[dict(BUDGET[0], limit="900"), *BUDGET[1:]])
    create(gateway, session(status="in_progress", limit=12345), spend_control={"limit": 12345})
    wait_for("what is held", lambda: day(gateway)[1] == Decimal("123.45"))
    look(gateway, session(FIRST, cents=7, limit=12345))
    wait_for("nothing held", lambda: day(gateway)[1] == 0)
    send(gateway)
    wait_for("what is held", lambda: day(gateway)[1] == Decimal("123.38"))
    over = look(gateway, session(LAST, "budget_reached", cents=12345, limit=12345))
    assert over["provider_cost_usd"] == "123.38"
    wait_for("nothing held", lambda: day(gateway)[1] == 0)


def test_what_the_provider_refuses_holds_nothing(gateways):
    gateway = gateways(limits=BUDGET)
    answer = create(gateway, http({"error": {"message": "no"}}, status="400 Bad Request"))
    assert answer.status == 400 and record_of(gateway, answer)["cost_usd"] == "0"
    settled(gateway, Decimal(0), Decimal(0), 1)


def narrow(gateways, **more):
    keys = [{"name": "main", "secret": calls.KEY},
            {"name": "narrow", "secret": NARROW, "models": [MODEL]}]
    return gateways(keys=keys, limits=BUDGET, **more)


def test_a_key_sets_no_other_models_to_work(gateways, provider, engine):
    gateway = narrow(gateways, redis=engine)

    def make(**body):
        return create(gateway, key=NARROW, answer=session(name="sess_2"), **body)
    assert make().status == 200
    refused(make(agent={"model": OTHER}))
    refused(make(agent={"model": MODEL, "multi_agent": {"enabled": True}}))
    refused(make(agent={}, agent_id="agent_9"))
    # What a saved agent may have others do is not said.
    refused(make(agent_id="agent_9"))
    assert make(agent={"model": MODEL, "multi_agent": {"enabled": False}},
                agent_id="agent_9").status == 200
    refused(send(gateway, NARROW))
    look(gateway, session(FIRST))
    assert send(gateway, NARROW).status == 202
    look(gateway, session(FIRST, model=OTHER))
    refused(send(gateway, NARROW))
    look(gateway, session(FIRST, multi_agent={"enabled": True}))
    refused(send(gateway, NARROW))
    look(gateway, session(FIRST))
    # Nor does it change the model of one that runs.
    seen = len(provider.requests())
    refused(call(gateway, "POST", SESSION, session(LAST), {"agent": {"model": OTHER}}, NARROW))
    for body in (b'{"agent":{"model":"gpt-6-\\u0061stra"}}',
                 b'{"agent":{"model":"gpt-6-luna","model":"gpt-6-astra"}}',
                 b'{"agent":{"model":"gpt-6-luna"},"agent":{"model":"gpt-6-astra"}}'):
        answer = ask(gateway, "POST", SESSION, body, http(session()))
        assert answer.status == 400
    assert len(provider.requests()) == seen
    update = record_of(gateway, call(gateway, "POST", SESSION, session(LAST),
                                     {"agent": {"model": MODEL}, "metadata": {"a": "b"}}, NARROW))
    assert update["endpoint"] == "agents.sessions.update" and counts(update) == less(LAST, FIRST)


def test_what_runs_without_a_call_is_refused(gateways):
    gateway = gateways(limits=BUDGET)
    for method, path in (("POST", "automations"), ("POST", "automations/a"),
                         ("POST", "automations/a/resume"), ("POST", "automations/a/invocations")):
        answer = call(gateway, method, "/openai/v1/agents/" + path, {}, {})
        assert answer.status == 403
        assert answer.header("x-tollgate-denied") == "endpoint_not_allowed"
    for method, path in (("POST", "automations/a/pause"), ("DELETE", "automations/a"),
                         ("GET", "automations"), ("GET", "automations/a")):
        assert call(gateway, method, "/openai/v1/agents/" + path, {}).status == 200


@pytest.mark.parametrize("told", [
    {"input_tokens": -5, "output_tokens": 1.5, "input_tokens_details": 7},
    {"input_tokens": 2**60, "input_tokens_details": [], "output_tokens_details": None},
    {"output_tokens_details": {"reasoning_tokens": 5}}, [], "x", 7])
def test_sums_that_are_none_count_nothing(gateways, told):
    gateway = gateways()
    for document, path in ((dict(session(), usage=told), SESSION),
                           (listed(dict(turn(None), usage=told)), SESSION + "/turns")):
        record = look(gateway, document, path)
        assert record["status"] == 200 and record["cost_usd"] == "0"
    same(look(gateway, session(FIRST)), price(FIRST))


def test_the_official_sdk(gateways, certs, monkeypatch):
    """Its paths, its streams and what it reads from the answers."""
    openai = pytest.importorskip("openai")
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    gateway = gateways(limits=BUDGET)
    with openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key=calls.KEY,
                       max_retries=0) as made:
        agents = getattr(made.beta, "agents", None)
        if agents is None:
            pytest.skip("this version of the SDK has no agents")

        def answer(document):
            return {"X-Sim-Raw": document if isinstance(document, str) else http(document)}
        saved = agents.create(model=MODEL, extra_headers=answer(
            {**agent(), "object": "agent", "created_at": 1, "updated_at": 1, "metadata": {}}))
        events = agents.sessions.create(
            agent_id=saved.id, environment=NONE, input="go", stream=True,
            extra_headers=answer(stream(
                event("created", session=session(status="in_progress")), ended(None),
                event("idle", session=session(None)))))
        assert [e.type for e in events] == [
            "agent.session." + word for word in ("created", "turn.completed", "idle")]
        held(gateway)
        got = agents.sessions.turns.list("sess_1", extra_headers=answer(listed(turn(FIRST))))
        assert got.data[0].usage.output_tokens == FIRST[2]
        one = agents.sessions.turns.retrieve("turn_1", session_id="sess_1",
                                             extra_headers=answer(turn(FIRST)))
        assert one.usage.total_tokens == FIRST[0] + FIRST[2]
        assert agents.sessions.retrieve(
            "sess_1", extra_headers=answer(session(LAST))).usage.input_tokens == LAST[0]
        wait_for("nothing held", lambda: day(gateway)[1] == 0)
        agents.sessions.events.create("sess_1", events=MESSAGE["events"], extra_headers=answer(
            http("", status="202 Accepted")))
        held(gateway)
        with agents.sessions.events.stream("sess_1", extra_headers=answer(stream(
                ended(ONE, "turn_2"), event("idle", session=session(plus(LAST, ONE)))))) as s:
            assert [e.type for e in s][-1] == "agent.session.idle"
        agents.sessions.delete("sess_1", extra_headers=answer(
            {"id": "sess_1", "object": "agent.session.deleted", "deleted": True}))
    records = gateway.records(8)
    assert [r["endpoint"] for r in records] == [
        "agents", "agents.sessions", "agents.sessions.turns", "agents.sessions.turns",
        "agents.sessions.fetched", "agents.sessions.events", "agents.sessions.stream",
        "agents.sessions.delete"]
    assert [r["cost_usd"] for r in records if r["endpoint"] in (
        "agents", "agents.sessions.delete")] == ["0", "0"]
    assert records[1]["model_requested"] == MODEL and records[1]["cost_usd"] is None
    assert [counts(records[i]) for i in (2, 4, 6)] == [FIRST, less(LAST, FIRST), ONE]
    assert records[3]["cost_usd"] == "0"


def test_a_stream_that_is_cut_ends_as_the_sdk_expects(gateways, certs, monkeypatch):
    """The gateway's own last event is an error to it, not an event of a session."""
    openai = pytest.importorskip("openai")
    if not hasattr(openai.OpenAI(api_key="x").beta, "agents"):
        pytest.skip("this version of the SDK has no agents")
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    gateway = gateways()
    whole = "".join(f"event: {d['type']}\ndata: {json.dumps(d)}\n\n"
                    for d in [event("in_progress", session=session(status="in_progress"))])
    cut = http(whole, "text/event-stream", length=len(whole) + 100)
    with openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key=calls.KEY,
                       max_retries=0) as made:
        with pytest.raises(openai.APIError):
            for _ in made.beta.agents.sessions.events.stream(
                    "sess_1", extra_headers={"X-Sim-Raw": cut}):
                pass
