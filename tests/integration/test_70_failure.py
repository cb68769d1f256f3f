"""What must survive: a killed process, a torn file, a full disk, a ledger that somebody locks."""

import contextlib
import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from decimal import Decimal

import pytest

from kit import calls, client
from kit.procs import wait_for

KILLS, ANSWERED = 4, 100   # so many answers at least before the kills


class Load:
    """Clients that call without pause until told to stop."""

    def __init__(self, gateway, threads=8):
        self.gateway = gateway
        self.stopping = False
        self.answered = []
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        shapes = ["chat", "chat-stream", "messages", "messages-stream", "generate-sse", "responses"]
        connection = None
        count = number
        while not self.stopping:
            count += 1
            call = calls.SHAPES[shapes[count % len(shapes)]]()
            try:
                connection = connection or self.gateway.connect(timeout=10)
                answer = calls.send(self.gateway, call, connection, tags=[
                    ("X-Tollgate-Task", f"task-{number}")], sim={"Event_Delay_Ms": 1})
                if answer.complete and answer.status == 200:
                    self.answered.append(answer.header("x-tollgate-request-id"))
            except (OSError, client.Broken, AssertionError, ValueError):
                if connection:
                    connection.close()
                connection = None
                time.sleep(0.02)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(30)


def ledger_against_provider(gateway, provider, answered):
    """Every billed call is in the ledger exactly once, every answered one as answered."""
    billed = provider.billed()
    records = gateway.export()
    ids = [r["id"] for r in records]
    assert len(ids) == len(set(ids)), "a record twice"
    assert set(answered) <= set(ids), f"{len(set(answered) - set(ids))} answered, not recorded"
    by_provider = {}
    for record in records:
        if record.get("provider_request_id"):
            by_provider.setdefault(record["provider_request_id"], []).append(record)
    assert all(len(found) == 1 for found in by_provider.values()), "a bill recorded twice"
    # A killed process cannot know the provider's id of what had no answer yet: those calls are
    # there as interrupted, one each.
    unknown = [b for b in billed if b["request_id"] and b["request_id"] not in by_provider]
    interrupted = [r for r in records if r["outcome"] == "interrupted"]
    nameless = [r for r in interrupted if not r.get("provider_request_id")]
    assert len(unknown) <= len(nameless), (len(unknown), len(nameless))
    assert len(records) >= len(billed)
    for bill in billed:
        for record in by_provider.get(bill["request_id"], []):
            if record["outcome"] == "ok":
                assert record["usage"]["output_tokens"] == bill["output_tokens"]
    return records


@pytest.mark.parametrize("engine", ["memory", "redis"])
def test_kill_under_load(gateways, provider, redis, engine):
    gateway = gateways(redis=redis if engine == "redis" else None, limits=[
        {"name": "day", "unit": "usd", "limit": "100", "window": "day"}])
    answered = []
    for _ in range(KILLS):
        load = Load(gateway)
        time.sleep(0.7)
        wait_for("answers", lambda: len(load.answered) > ANSWERED / KILLS, 30)
        gateway.kill()
        load.stop()
        answered += load.answered
        gateway.start()
    assert len(answered) > ANSWERED
    assert calls.send(gateway, calls.chat()).status == 200
    wait_for("all that was answered", lambda: set(answered) <= {r["id"] for r in
                                                                gateway.export()}, 20, 0.3)
    records = ledger_against_provider(gateway, provider, answered)
    interrupted = [r for r in records if r["outcome"] == "interrupted"]
    for record in interrupted:
        assert record["usage_source"] in ("estimated", "partial", "none")
    # Reports over the lines agree with the lines.
    total = gateway.report("spend")["total"]
    assert Decimal(total["cost_usd"]) == sum(Decimal(r["cost_usd"]) for r in records
                                             if r["cost_usd"] is not None)


def segments(gateway):
    found = []
    for folder, _, names in os.walk(os.path.join(gateway.folder, "var")):
        for name in names:
            if "ledger.db" not in name and not name.endswith((".token", ".json", ".salt")):
                found.append(os.path.join(folder, name))
    return [path for path in found if os.path.getsize(path) > 0]


@pytest.mark.parametrize("damage", ["torn", "garbage", "flipped"])
def test_damaged_journal_tail(gateways, provider, damage):
    gateway = gateways()
    ids = [calls.send(gateway, calls.chat()).header("x-tollgate-request-id") for _ in range(20)]
    gateway.records(20)
    late = [calls.send(gateway, calls.chat()).header("x-tollgate-request-id") for _ in range(5)]
    gateway.kill()
    paths = segments(gateway)
    assert paths
    path = max(paths, key=os.path.getmtime)
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        if damage == "torn":
            file.truncate(size - 7)
        elif damage == "garbage":
            file.seek(0, os.SEEK_END)
            file.write(os.urandom(333))
        else:
            file.seek(size - 9)
            byte = file.read(1)
            file.seek(size - 9)
            file.write(bytes([byte[0] ^ 0x40]))
    gateway.start()
    assert calls.send(gateway, calls.chat()).status == 200
    wait_for("the old records", lambda: set(ids) <= {r["id"] for r in gateway.export()}, 15, 0.2)
    found = [r["id"] for r in gateway.export()]
    assert len(found) == len(set(found))
    assert len(set(found) & set(late)) >= 4   # the damaged one at most is an interrupted one
    said = gateway.process.log()
    if damage != "flipped":
        assert "torn" in said or "cut" in said or "damaged" in said or "journal" in said, said


def test_ledger_lost_and_made_again_from_what_is_there(gateways, provider):
    """Without its ledger the gateway still starts and records."""
    gateway = gateways()
    calls.send(gateway, calls.chat())
    gateway.records(1)
    gateway.process.stop()
    for suffix in ("", "-wal", "-shm"):
        path = os.path.join(gateway.folder, "var", "ledger.db" + suffix)
        if os.path.exists(path):
            os.unlink(path)
    gateway.start()
    answer = calls.send(gateway, calls.chat())
    assert gateway.record(answer.header("x-tollgate-request-id"))["outcome"] == "ok"


def test_locked_ledger_stops_no_traffic(gateways, provider):
    gateway = gateways()
    calls.send(gateway, calls.chat())
    gateway.records(1)
    lock = sqlite3.connect(os.path.join(gateway.folder, "var", "ledger.db"), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        slowest = 0.0
        for _ in range(30):
            start = time.monotonic()
            assert calls.send(gateway, calls.chat()).status == 200
            slowest = max(slowest, time.monotonic() - start)
        assert slowest < 1.0
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    gateway.records(31)


HOLDER = """
import sqlite3, sys
lock = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
lock.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held_by_another(gateway):
    """Another process holds the ledger locked."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, f"{gateway.folder}/var/ledger.db"], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        yield
        holder.stdin.close()


def ready(gateway):
    answer = gateway.admin("/readyz", token=False)
    return answer.status, answer.body.decode().strip()


@pytest.mark.slow
@pytest.mark.parametrize("engine, on_failure", [
    ("memory", "local"), ("redis", "local"), ("redis", "allow")])
def test_starts_while_the_ledger_is_locked(gateways, provider, own_redis, engine, on_failure):
    """It serves and journals; limits know nothing until the ledger does, and nothing is lost."""
    counters = {"on_failure": on_failure}
    gateway = gateways(redis=own_redis if engine == "redis" else None,
                       counters=counters if engine == "redis" else {},
                       limits=[{"name": "hard", "match": {"feature": "x"}, "unit": "requests",
                                "limit": 4, "window": "day"}])
    limited = [("X-Tollgate-Feature", "x")]
    answered, streams = [], []

    def call(status, tags=()):
        answer = calls.send(gateway, calls.chat(), tags=tags)
        assert answer.status == status, answer
        if status == 200:
            answered.append(answer.header("x-tollgate-request-id"))
        return answer

    def stream(tags):
        """One that runs when the process is killed, or while the ledger opens."""
        def run():
            try:
                answer = calls.send(gateway, calls.chat(stream=True), tags=tags, timeout=30,
                                    sim={"Event_Delay_Ms": 150, "Output_Tokens": 16})
                if answer.complete and answer.status == 200:
                    answered.append(answer.header("x-tollgate-request-id"))
            except (OSError, client.Broken):
                pass
        before = provider.totals()["requests"]
        streams.append(threading.Thread(target=run))
        streams[-1].start()
        wait_for("the stream to run", lambda: provider.totals()["requests"] > before)

    call(200, limited)
    stream(limited)                            # cut off: counts as well
    gateway.records(1)
    with held_by_another(gateway):
        call(200, limited)
        for _ in range(2):                     # the journals of several that never saw the ledger
            gateway.kill()
            gateway.start()
            assert ready(gateway) == (503, "the ledger cannot be opened yet")
            call(200)
            unknown = call(200 if on_failure == "allow" else 503, limited)
            if on_failure != "allow":
                assert unknown.header("x-tollgate-denied") == "counters_unavailable"
        assert len(gateway.export()) == 1
        wait_for("the gauge", lambda: re.search(r"^tollgate_ledger_waiting_bytes [1-9]",
                                                gateway.admin("/metrics", token=False).body.decode(),
                                                re.M))
        stream(())                             # from before to after
    wait_for("the ledger to open", lambda: ready(gateway) == (200, "ready"))
    wait_for("limits to be known, and used up", lambda: calls.send(
        gateway, calls.chat(), tags=limited).status in (402, 429))
    for each in streams:
        each.join(30)
    assert len(answered) == 5 or on_failure == "allow", "the last stream was cut"
    wait_for("all bills", lambda: len(gateway.export()) == provider.totals()["billed"])
    records = gateway.export()
    assert len({r["id"] for r in records}) == len(records)
    assert set(answered) <= {r["id"] for r in records}    # cut off where the kill came too soon
    assert "interrupted" in [r["outcome"] for r in records]
    held = [r for r in records if r.get("feature") == "x"]
    assert len(held) == 4 if on_failure != "allow" else len(held) > 4
    assert gateway.cli("audit").rstrip().endswith("everything agrees")
    assert "recovered what an earlier process left" in gateway.log()


def test_frozen_ledger_reader_blocks_nothing(gateways, provider):
    gateway = gateways()
    calls.send(gateway, calls.chat())
    gateway.records(1)
    path = os.path.join(gateway.folder, "var", "ledger.db")
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    table = reader.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchone()[0]
    reader.execute(f'SELECT * FROM "{table}" LIMIT 1').fetchall()
    for _ in range(20):
        assert calls.send(gateway, calls.chat()).status == 200
    gateway.records(21)
    reader.close()


def small_disk(path, megabytes=32):
    os.makedirs(path)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", path],
                          capture_output=True)
    if done.returncode != 0:
        pytest.skip("a full disk needs a tmpfs, and that root")


def fill(path):
    """Takes what room there is."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def test_full_disk(gateways, provider, tmp_path):
    """Refused before the call, not after; once there is room, all goes on and nothing is lost."""
    disk = str(tmp_path / "disk")
    small_disk(disk)
    filler = os.path.join(disk, "filler")
    try:
        config = gateways.config(state_dir=os.path.join(disk, "var"),
                                 ledger={"path": os.path.join(disk, "var", "ledger.db")})
        config["listen"]["admin"]["token_file"] = os.path.join(disk, "var", "admin.token")
        gateway = gateways(config)
        answered = [calls.send(gateway, calls.chat()).header("x-tollgate-request-id")]
        fill(filler)
        statuses = []
        for _ in range(400):
            answer = calls.send(gateway, calls.chat())
            statuses.append(answer.status)
            if answer.status == 200:
                answered.append(answer.header("x-tollgate-request-id"))
        assert set(statuses) <= {200, 503}
        assert provider.totals()["billed"] == len(answered)
        assert statuses[-1] == 503, "a call went out that could not be recorded"
        os.unlink(filler)
        wait_for("service again", lambda: calls.send(gateway, calls.chat()).status == 200, 15, 0.3)
        wait_for("all records", lambda: set(answered) <= {r["id"] for r in gateway.export()}, 20,
                 0.3)
        gateway.stop()
    finally:
        for made in gateways.made:
            for process in made.processes:
                process.kill()
        subprocess.run(["umount", "-l", disk], check=False)


def test_few_descriptors(gateways, provider):
    """Out of descriptors it goes on serving those whom it has, and recovers."""
    gateway = gateways(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80)),
                       workers=1)
    held = []
    for _ in range(120):
        try:
            held.append(client.Connection("127.0.0.1", gateway.port, timeout=5))
        except OSError:
            break
    time.sleep(0.3)
    assert gateway.process.running()
    for connection in held:
        connection.close()
    wait_for("service again", lambda: serves(gateway), 20, 0.3)


def serves(gateway):
    try:
        return calls.send(gateway, calls.chat(), timeout=3).status == 200
    except (OSError, client.Broken):
        return False


def test_the_other_starter_is_refused(gateways):
    """Two processes on one state folder would write one journal."""
    from kit.procs import run_cli
    gateway = gateways()
    config = dict(gateway.config)
    path = os.path.join(gateway.folder, "second.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(config, out)
    try:
        done = run_cli("serve", "-c", path, cwd=gateway.folder, timeout=10)
        assert done.returncode != 0 and "ready" not in done.stdout
    except subprocess.TimeoutExpired as late:
        raise AssertionError("a second gateway runs on the same state") from late
    assert calls.send(gateway, calls.chat()).status == 200


def test_clean_restart_loses_and_repeats_nothing(gateways, provider):
    gateway = gateways()
    for _ in range(3):
        load = Load(gateway, 4)
        time.sleep(0.4)
        load.stop()
        gateway.process.stop()
        gateway.start()
    records = gateway.records(provider.totals()["billed"])
    assert all(r["outcome"] == "ok" for r in records)
    assert not [r for r in records if r["outcome"] == "interrupted"]


def test_database_is_sound_after_kills(gateways, provider):
    gateway = gateways()
    for _ in range(3):
        load = Load(gateway, 4)
        time.sleep(0.3)
        gateway.process.signal(signal.SIGKILL)
        gateway.process.wait()
        load.stop()
        gateway.start()
    path = os.path.join(gateway.folder, "var", "ledger.db")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
