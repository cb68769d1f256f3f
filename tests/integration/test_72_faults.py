"""Every allocation and every system call of the request path fails once.

A request runs, the Nth call of a worker fails (in each way that such a call can), and so on until
none is left to fail. Whatever fails: the client gets an answer or an end, the next request is
served, what the provider billed is in the ledger once, nothing stays reserved and no descriptor
open. What the system may do at any time (a signal, less than was asked) shows nowhere.

A small allocation that fails ends the process (docs/design.md, "Memory"): then the same must hold
of the one that is started after it.

TOLLGATE_FAULTS=all walks through all of them; else a sample. TOLLGATE_FAULTS_SEED chooses it.
"""

import os
import ssl
import time

import pytest

from kit import calls, client, fault_walk, faults, http2, websocket
from kit.marked import Books, Load
from kit.procs import wait_for
from kit.settled import at_rest, settled_books

SAMPLE_CALLS = 4         # of each scenario and mode
SAMPLE_ALLOCATIONS = 12  # of each scenario
AFTER_S = 0.05           # what follows an answer
WAIT_S = 20              # in which a request ends, however it ends
DAY = {"name": "day", "unit": "usd", "limit": "1000000", "window": "day"}
BOUNDS = {"head_timeout_ms": 2000, "body_timeout_ms": 2000, "write_timeout_ms": 4000,
          "websocket_idle_ms": 4000}
OWN = {401, 402, 408, 429, 500, 502, 503, 504}
GONE = (OSError, client.Broken, websocket.Closed, ssl.SSLError)

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(faults.missing() is not None, reason=str(faults.missing()))]


class End(Exception):
    """The gateway ended the connection: no answer, or half of one."""


def marked(call, sim=None, key=calls.KEY):
    number = next(Load.numbers)
    return call.headers(key, tags=[("X-Tollgate-Task", f"call-{number}")],
                        sim={"Input_Tokens": number, **(sim or {})})


def http1(gateway, call, key=calls.KEY):
    """Status and id of a whole answer."""
    try:
        with gateway.connect(timeout=WAIT_S) as connection:
            connection.send(client.request_bytes("POST", call.full_path(), marked(call, key=key),
                                                 call.data()))
            answer = connection.read("POST")
    except TimeoutError:
        raise
    except GONE as gone:
        raise End() from gone
    if not answer.complete:
        raise End()
    return answer.status, answer.header("x-tollgate-request-id")


def plain(gateway):
    return http1(gateway, calls.chat())


def stream(gateway):
    return http1(gateway, calls.SHAPES["messages-stream"]())


def refused(gateway):
    return http1(gateway, calls.chat(), "tg_of_nobody")


def over_http2(gateway):
    call = calls.SHAPES["chat-stream"]()
    try:
        with http2.Connection(gateway, timeout=WAIT_S) as connection:
            answer = connection.wait(connection.request("POST", call.full_path(), marked(call),
                                                        call.data()))
    except TimeoutError:
        raise
    except GONE as gone:
        raise End() from gone
    except AssertionError as gone:   # no ALPN, since no handshake
        raise End() from gone
    if not answer.ended:
        raise End()
    return answer.status, answer.header("x-tollgate-request-id")


def over_websocket(gateway):
    try:
        with websocket.connect(gateway) as socket:
            if socket.status != 101:
                return socket.status, socket.id
            socket.send({"type": "response.create"})
            said = socket.event("response.done", "error")["type"]
            ident = socket.id
            socket.close()
            return (200 if said == "response.done" else 503), ident
    except TimeoutError:
        raise
    except GONE as gone:
        raise End() from gone


SCENARIOS = {"plain": (plain, 200), "stream": (stream, 200), "refused": (refused, 401),
             "http2": (over_http2, 200), "websocket": (over_websocket, 200)}


class Walk(fault_walk.Walk):
    """Requests to a gateway while its worker's calls fail."""

    def __init__(self, gateways, provider, redis, folder, name):
        super().__init__(name, folder, "worker")
        self.run, self.good = SCENARIOS[name]
        self.provider = provider
        config = gateways.config(redis, limits=[DAY], bounds=BOUNDS, workers=1)
        for upstream in config["upstreams"]:
            upstream.update(connect_timeout_ms=2000, first_byte_timeout_ms=4000,
                            idle_timeout_ms=4000)
        config["env"] = self.faults.env
        self.gateway = gateways(config)
        self.answered = []
        self.warm()
        self.descriptors = self.open_descriptors()

    def warm(self):
        for _ in range(3):
            status, ident = self.run(self.gateway)
            assert status == self.good
            self.note(status, ident)
        self.next_is_served()

    def note(self, status, ident):
        if status == 200 and ident:
            self.answered.append(ident)

    def next_is_served(self):
        status, ident = plain(self.gateway)
        assert status == 200
        self.note(status, ident)

    def open_descriptors(self):
        """Once nothing rests that may: a reload closes pooled connections."""
        folder = f"/proc/{self.gateway.process.pid}/fd"
        self.gateway.reload()
        seen = []

        def still():
            seen.append(len(os.listdir(folder)))
            return len(seen) > 5 and len(set(seen[-5:])) == 1
        wait_for("as many descriptors for a while", still, 20, 0.1)
        return seen[-1]

    def count_once(self):
        self.note(*self.run(self.gateway))
        time.sleep(AFTER_S)

    def one(self, kind, mode, after):
        """One request, one failure. False: there were not so many calls."""
        self.faults.arm(kind, mode, after)
        outcome = None
        try:
            status, ident = self.run(self.gateway)
            self.note(status, ident)
            outcome = status
        except End:
            outcome = "end"
        except TimeoutError:
            outcome = "nothing"
        if not self.faults.has_fired():
            time.sleep(AFTER_S)   # what follows the answer: its record, its settlement
        fired = self.faults.disarm()
        at = f"{self.name} {after}: {fired}: {outcome}"
        if not fired.fired:
            return False
        self.counts["fired"] += 1
        self.judge(kind, fired, outcome, at)
        self.counts["answered" if outcome == self.good else "refused or ended"] += 1
        self.must_serve(kind, fired, at)
        return True

    def must_serve(self, kind, fired, at):
        for again in (True, False):
            try:
                self.next_is_served()
                return
            except (End, AssertionError, TimeoutError):
                if not (again and kind == faults.ALLOCATION and self.see_to_end(kind, fired, at, 5)):
                    break   # else it was about to
        self.problems.append(f"{at}; the next one is not served")

    def judge(self, kind, fired, outcome, at):
        if outcome == "nothing":
            self.problems.append(at)
        if self.see_to_end(kind, fired, at):
            return
        if fired.is_harmless():
            if outcome != self.good:
                self.problems.append(f"{at}, though that may be at any time")
        elif outcome not in ("end", self.good) and outcome not in OWN:
            self.problems.append(at)

    def check(self, say):
        """At the end: books, counters, descriptors."""
        super().check(say)
        if self.name == "websocket":   # their handshakes have records without a price
            at_rest(self.gateway)
            books = Books(self.gateway, self.provider).check()
            calls_made = [r for r in books.records if r["endpoint"] == "realtime" and
                          r.get("cost_usd")]
            bills = [b for b in self.provider.billed() if b["model"] == "gpt-realtime"]
            assert len(calls_made) >= len(bills) > 0
        else:
            settled_books(self.gateway, self.provider, self.answered)
        if self.counts["ended"] == 0:
            wait_for("no descriptor more than before",
                     lambda: self.open_descriptors() <= self.descriptors, 30)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_call_fails(gateways, provider, redis, tmp_path, say, name):
    walk = Walk(gateways, provider, redis, tmp_path, name)
    for mode in faults.MODES:
        walk.walk(faults.CALL, mode, SAMPLE_CALLS)
    walk.check(say)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_allocation_fails(gateways, provider, redis, tmp_path, say, name):
    walk = Walk(gateways, provider, redis, tmp_path, name)
    walk.walk(faults.ALLOCATION, 0, SAMPLE_ALLOCATIONS)
    walk.check(say)
