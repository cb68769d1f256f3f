"""`tollgate audit`: content with what is right, live or stopped; names what is damaged."""

import json
import os
import sqlite3
import time

import pytest

from kit import calls
from kit.marked import Load
from kit.procs import run_cli, wait_for

LIMITS = [{"name": "day", "unit": "usd", "limit": "1000", "window": "day"},
          {"name": "team-month", "unit": "requests", "limit": 100000, "window": "month",
           "per": ["team"]}]


def audit(gateway, *options):
    done = run_cli("audit", "-c", gateway.config_path, *options, cwd=gateway.folder)
    return done.returncode, done.stdout + done.stderr


def some_traffic(gateway):
    for shape in ("chat", "chat-stream", "messages", "generate-sse", "embeddings"):
        for feature in ("answer", "rank"):
            assert calls.send(gateway, calls.SHAPES[shape](), tags=[
                ("X-Tollgate-Feature", feature), ("X-Tollgate-Task", f"task-{shape}")]
            ).status == 200
    gateway.records(10)


@pytest.fixture
def stopped(gateways, redis):
    """An installation with some traffic, its gateway gone."""
    gateway = gateways(redis=redis, limits=LIMITS)
    some_traffic(gateway)
    gateway.process.stop()
    return gateway


def test_live_and_stopped_agree(gateways, redis):
    gateway = gateways(redis=redis, limits=LIMITS)
    some_traffic(gateway)
    load = Load(gateway, 4)
    time.sleep(0.5)
    code, said = audit(gateway)
    load.stop()
    assert (code, said.count("DISAGREES")) == (0, 0), said
    for what in ("journal", "ledger", "reports", "counters", "everything agrees"):
        assert what in said
    gateway.process.stop()
    code, said = audit(gateway)
    assert code == 0, said
    assert "DISAGREES" not in said and "\r" not in said


def test_without_limits_or_traffic(gateways):
    gateway = gateways()
    wait_for("a ledger", lambda: os.path.exists(gateway.folder + "/var/ledger.db"))
    code, said = audit(gateway)
    assert code == 0, said


# What is done to the database, and what must be named.
DAMAGE = {
    "rollup": ("UPDATE rollup SET cost_nano=cost_nano+1 WHERE rowid_is_first", "rollup of the"),
    "rollup-gone": ("DELETE FROM rollup WHERE level=1", "is missing"),
    "line-cost": ("UPDATE line SET cost_nano=cost_nano+1 WHERE seq=3", "differs from its record"),
    # Of its rollup, or of its task where no other line had that rollup.
    "line-gone": ("DELETE FROM line WHERE seq=4", "from its lines"),
    "record": ("UPDATE record SET body=x'0102' WHERE seq=5", "line 5: its record cannot be read"),
    "task": ("UPDATE task SET body=x'' WHERE name='task-chat'", "task \"task-chat\""),
    "combo": ("UPDATE combo SET team=feature WHERE id=1", "differs from its record"),
}


def damage(gateway, what):
    """Does it; what must be named then."""
    sql, named = DAMAGE[what]
    sql = sql.replace("WHERE rowid_is_first", "WHERE level=0 AND bucket=(SELECT max(bucket) FROM "
                      "rollup WHERE level=0)")
    database = sqlite3.connect(os.path.join(gateway.folder, "var", "ledger.db"))
    assert database.execute(sql).rowcount > 0
    database.commit()
    database.close()
    return named


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_to_the_ledger_is_named(stopped, what):
    named = damage(stopped, what)
    code, said = audit(stopped)
    assert code == 1 and named in said, said
    assert "DISAGREES" in said and "does not agree with itself" in said


def answers(gateway):
    """What reports say of it, but for the moment that they are of."""
    said = []
    for name, by in (("spend", "team,feature"), ("requests", "model"), ("tasks", "task")):
        answer = json.loads(gateway.cli("report", name, "--by", by, "--format", "json"))
        said.append([answer["rows"], answer["total"]])
    return said


@pytest.mark.parametrize("what", [w for w in DAMAGE if w != "record"])
def test_damage_is_repaired(stopped, what):
    before = answers(stopped)
    damage(stopped, what)
    code, said = audit(stopped, "--repair")
    assert code == 0 and "made anew of 10 records" in said and "everything agrees" in said, said
    assert answers(stopped) == before


def test_what_cannot_be_repaired_is_told(stopped):
    damage(stopped, "record")
    code, said = audit(stopped, "--repair")
    assert code == 1 and "1 records cannot be read" in said and "DISAGREES" in said, said


def test_nothing_is_repaired_under_a_gateway_that_runs(gateways):
    gateway = gateways()
    some_traffic(gateway)
    code, said = audit(gateway, "--repair")
    assert code == 2 and "stop it first" in said, said
    assert audit(gateway)[0] == 0


def test_a_record_that_only_the_journal_has_is_named(gateways):
    gateway = gateways()
    some_traffic(gateway)
    path = os.path.join(gateway.folder, "var", "ledger.db")
    database = sqlite3.connect(path, timeout=10)
    database.execute("DELETE FROM line WHERE seq=7")
    database.execute("DELETE FROM record WHERE seq=7")
    database.commit()
    database.close()
    code, said = audit(gateway)   # the gateway runs, so its segments are there
    assert code == 1 and "is not in the ledger" in said and "journal w0" in said, said


def test_damage_inside_the_journal_is_named(gateways):
    gateway = gateways()
    some_traffic(gateway)
    folder = os.path.join(gateway.folder, "var", "journal")
    name = max((n for n in os.listdir(folder) if n.endswith(".tgj")),
               key=lambda n: os.path.getsize(os.path.join(folder, n)))
    with open(os.path.join(folder, name), "r+b") as file:
        file.seek(16 + 60)
        byte = file.read(1)
        file.seek(16 + 60)
        file.write(bytes([byte[0] ^ 0x10]))
    code, said = audit(gateway)
    assert code == 1 and f"journal {name} at byte 16: an entry that does not check" in said, said


def counter_keys(redis):
    return [k for k in redis.command("KEYS", "{tollgate}:c:*") if ":usd:" in k or "day" in k]


@pytest.mark.parametrize("by", [1, -1], ids=["more", "less"])
def test_a_counter_that_differs_is_named(stopped, redis, by):
    assert audit(stopped)[0] == 0
    for key in counter_keys(redis):
        value = int(redis.command("HGET", key, "s"))
        redis.command("HSET", key, "s", value + by)
    code, said = audit(stopped)
    assert code == 1 and "limit \"day\"" in said, said


def test_no_ledger_is_said(gateways):
    gateway = gateways()
    gateway.process.stop()
    for suffix in ("", "-wal", "-shm"):
        path = os.path.join(gateway.folder, "var", "ledger.db" + suffix)
        if os.path.exists(path):
            os.unlink(path)
    code, said = audit(gateway)
    assert code == 2 and "could not open the ledger" in said, said
