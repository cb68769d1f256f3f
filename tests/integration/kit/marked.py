"""Clients whose calls can be told apart in the provider's books and in the ledger.

Each call has a number of its own: the provider bills it as the call's input tokens, the ledger
has it in the name of the call's task. So every bill belongs to one record, also where the
process died before it could learn the provider's id of the call.
"""

import itertools
import random
import threading
import time
from decimal import Decimal

from . import calls, client, prices, views
from .client import request_bytes

FIRST = 1000
PROVIDER_OF = {"gpt-4o": "openai", "claude-sonnet-4-5": "anthropic",
               "gemini-2.5-flash": "gemini"}
SHAPES = ["chat", "chat-stream", "messages", "messages-stream", "generate-sse", "generate",
          "responses", "responses-stream"]


class Load:
    """Threads that call without pause, plain and streaming; some hang up in the middle."""

    numbers = itertools.count(FIRST)

    def __init__(self, gateway, threads=8, shapes=None, seed=0, sim=None):
        self.gateway = gateway
        self.shapes = shapes or SHAPES
        self.sim = sim or {"Event_Delay_Ms": 1, "Delay_Ms": 2}
        self.stopping = False
        self.lock = threading.Lock()
        self.answered = []     # ids of whole answers
        self.refused = 0
        self.sent = 0
        self.threads = [threading.Thread(target=self.run, args=(random.Random(seed * 1000 + n),),
                                         daemon=True)
                        for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, chance):
        connection = None
        while not self.stopping:
            number = next(Load.numbers)
            call = calls.SHAPES[chance.choice(self.shapes)]()
            data = request_bytes("POST", call.full_path(), call.headers(
                tags=[("X-Tollgate-Task", f"call-{number}")],
                sim={"Input_Tokens": number, **self.sim}), call.data())
            try:
                connection = connection or self.gateway.connect(timeout=10)
                connection.send(data)
                self.sent += 1
                if chance.random() < 0.15:
                    connection.sock.recv(chance.choice([1, 200]))
                    connection.reset()
                    connection = None
                    continue
                answer = connection.read("POST")
                with self.lock:
                    if answer.status == 200 and answer.complete:
                        self.answered.append(answer.header("x-tollgate-request-id"))
                    else:
                        self.refused += 1
            except (OSError, client.Broken, AssertionError, ValueError):
                if connection:
                    connection.close()
                connection = None
                time.sleep(0.01)
        if connection:
            connection.close()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(30)
        return self


class Books:
    """The provider's bills against the ledger's records, call by call."""

    def __init__(self, gateway, provider):
        self.bills = {b["input_tokens"]: b for b in provider.billed()
                      if b["input_tokens"] >= FIRST}
        self.records = gateway.export()
        self.exact = 0
        self.estimated = 0
        self.unbilled = 0
        self.difference = Decimal(0)

    def check(self, answered=()):
        """Fails with the first call that does not agree; itself where all do."""
        ids = [r["id"] for r in self.records]
        assert len(ids) == len(set(ids)), "an id twice"
        missing = set(answered) - set(ids)
        assert not missing, f"{len(missing)} answered calls without a record"
        of_call = {}
        for record in self.records:
            task = record.get("task", "")
            if not task.startswith("call-"):
                continue
            assert task not in of_call, f"{task} twice"
            of_call[task] = record
        billed_cost = ledger_cost = Decimal(0)
        for number, bill in self.bills.items():
            record = of_call.pop(f"call-{number}", None)
            assert record, f"the provider billed call {number}, the ledger has no record of it"
            provider_name = PROVIDER_OF[bill["model"]]
            cost = prices.cost(provider_name, bill["model"], bill)
            billed_cost += cost
            ledger_cost += Decimal(record["cost_usd"])
            if record["usage_source"] == "provider":
                views.check_usage(record, bill)
                views.check_cost(record, provider_name, bill["model"], bill)
                self.exact += 1
            else:
                assert record["usage_source"] in ("estimated", "partial"), record
                self.estimated += 1
                self.difference += Decimal(record["cost_usd"]) - cost
        for record in of_call.values():   # what the provider never billed
            assert record["outcome"] != "ok", record
            self.unbilled += 1
            self.difference += Decimal(record["cost_usd"])
            ledger_cost += Decimal(record["cost_usd"])
        assert ledger_cost - billed_cost == self.difference, "sums differ by more than estimates"
        return self

    def cost_as_limits_count(self):
        """Each request rounded up to nano-dollars."""
        nano = Decimal(10) ** 9
        return sum(-(-Decimal(r["cost_usd"]) * nano // 1) for r in self.records
                   if r["cost_usd"]) / nano

    def __str__(self):
        return (f"bills {len(self.bills)}, records {len(self.records)}: exact {self.exact}, "
                f"estimated {self.estimated}, never billed {self.unbilled}, estimates off by "
                f"{self.difference:+f} USD")
