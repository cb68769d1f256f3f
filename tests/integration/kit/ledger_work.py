"""Work that leaves something of each kind in the journal: calls, outcomes of their tasks, refusals."""

import json
import sqlite3

from . import calls, client
from .marked import Load

WAIT_S = 20
POOR = "tg_of_the_poor_7c1f"
REFUSED = 402
LIMITS = [{"name": "day", "unit": "usd", "limit": "1000000", "window": "day"},
          {"name": "poor", "unit": "requests", "limit": 1, "window": "month", "match": {"team": "poor"}}]


def with_poor(config):
    """With a key whose second request is refused."""
    config["limits"] = config["limits"] + LIMITS
    config["keys"].append({"name": "poor", "secret": POOR, "tags": {"team": "poor"}})
    return config


def database(gateway, **options):
    return sqlite3.connect(f"{gateway.folder}/var/ledger.db", isolation_level=None, timeout=WAIT_S, **options)


class Work:
    """What was done, to be compared with what the ledger holds of it."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.answered = []
        self.refused = self.outcomes = 0

    def ask(self, method, path, headers, body):
        """Status and id of a whole answer; None: there was none."""
        try:
            with self.gateway.connect(timeout=WAIT_S) as connection:
                connection.send(client.request_bytes(method, path, headers, body))
                answer = connection.read(method)
        except (OSError, client.Broken):
            return None, None
        return (answer.status, answer.header("x-tollgate-request-id")) if answer.complete else (None, None)

    def say(self, call, key=calls.KEY):
        """A call, and unless it is of the poor its task's outcome."""
        number = next(Load.numbers)
        status, ident = self.ask("POST", call.full_path(), call.headers(
            key, tags=[("X-Tollgate-Task", f"call-{number}")], sim={"Input_Tokens": number}), call.data())
        if status == 200:
            self.answered.append(ident)
        self.refused += status == REFUSED and key == POOR
        if status == 200 and key == calls.KEY:
            status, _ = self.ask("PUT", f"/_tollgate/tasks/call-{number}/outcome",
                                 [("Authorization", f"Bearer {key}"), ("Content-Type", "application/json")],
                                 json.dumps({"outcome": "completed"}).encode())
            self.outcomes += status in (200, 204)
            return 200 if status in (200, 204) else status
        return status

    def round(self):
        """A call, its outcome, a refusal: all three are answered as they should be."""
        return self.say(calls.chat()) == 200 and self.say(calls.chat(), POOR) == REFUSED

    def noted(self):
        """Refusals by that limit, and outcomes, that the ledger holds."""
        db = database(self.gateway)
        try:
            return (db.execute("SELECT coalesce(sum(count), 0) FROM denied JOIN word ON word.id=limit_name "
                               "WHERE text='poor'").fetchone()[0],
                    db.execute("SELECT count(*) FROM task WHERE outcome != 0").fetchone()[0])
        finally:
            db.close()
