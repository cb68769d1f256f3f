"""`ledger.keep_days`: single requests go when they are old; sums, audit, budgets stay right.

Requests become old by having their times moved back in the journal before a ledger is made of it.
"""

import glob
import json
import os
import shutil
import sqlite3
import struct
from datetime import datetime, timedelta, timezone

import pytest

from kit import calls
from kit.procs import run_cli, wait_for

KEEP, OLD, NEW = 5, 10, 10          # days kept; calls that are older, and that are not
HEADER, OVERHEAD, END = 16, 9, 2    # of a journal file, of an entry; the kind of a finished record
PARTS = 0x7F                        # the first byte of a record that names what it shares
EVER = {"name": "ever", "unit": "requests", "limit": 100000, "window": "total", "per": ["team"]}
POLYNOMIAL = 0x82F63B78
TABLE = []
for byte in range(256):
    value = byte
    for _ in range(8):
        value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    TABLE.append(value)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def earlier(payload, micros):
    """The record, whole or in parts, with its start moved back; its length stays."""
    at = 18    # tag, length and 16 bytes of the id
    if payload[0] == PARTS:    # how far before it stands what it shares, and the id
        at = 1 + 16 + next(i for i, b in enumerate(payload[1:], 1) if b < 0x80)
    else:
        assert payload[:2] == b"\x01\x10"
    assert payload[at] == 2
    size, at = payload[at + 1], at + 2
    number = sum((b & 0x7F) << 7 * i for i, b in enumerate(payload[at:at + size]))
    assert number % 2 == 0
    number -= 2 * micros
    moved = bytes((number >> 7 * i & 0x7F) | (0x80 if i < size - 1 else 0) for i in range(size))
    return payload[:at] + moved + payload[at + size:]


def age(path, days, which):
    """Moves finished records of a journal file back; which(n) says whether the n-th is."""
    with open(path, "rb") as file:
        data = file.read()
    out, at, n = [data[:HEADER]], HEADER, 0
    while at + OVERHEAD <= len(data):
        size, _, kind = struct.unpack_from("<IIB", data, at)
        payload = data[at + OVERHEAD:at + OVERHEAD + size]
        if kind == END:
            payload = earlier(payload, days * 86400 * 10**6) if which(n) else payload
            n += 1
        body = bytes([kind]) + payload
        out.append(struct.pack("<II", size, crc32c(body)) + body)
        at += OVERHEAD + size
    with open(path, "wb") as file:
        file.write(b"".join(out))
    return n


def ask(gateway, name, *options):
    done = run_cli("report", name, "-c", gateway.config_path, "--format", "json", *options,
                   cwd=gateway.folder)
    return done.returncode, json.loads(done.stdout) if done.returncode == 0 else done.stderr


def spent(gateway):
    code, report = ask(gateway, "budgets")
    assert code == 0, report
    return [int(row["spent_count"]) for row in report["rows"]]


def lines(gateway, sql="SELECT count(*) FROM line"):
    database = sqlite3.connect(os.path.join(gateway.folder, "var", "ledger.db"), timeout=10)
    try:
        return database.execute(sql).fetchone()[0]
    finally:
        database.close()


@pytest.fixture
def aged(gateways, redis):
    """A configuration that keeps some days, and a journal in which half of the calls are old."""
    gateway = gateways(redis=redis, limits=[EVER], ledger={"keep_days": KEEP})
    for i in range(OLD + NEW):
        assert calls.send(gateway, calls.SHAPES["chat"](), tags=[
            ("X-Tollgate-Team", "search"), ("X-Tollgate-Customer", f"c{i % 3}")]).status == 200
    gateway.records(OLD + NEW)
    journal = os.path.join(gateway.folder, "var", "journal")
    kept = os.path.join(gateway.folder, "kept")
    shutil.copytree(journal, kept)
    gateway.process.stop()
    assert not glob.glob(journal + "/*.tgj"), "ingested segments are removed"
    for path in glob.glob(os.path.join(gateway.folder, "var", "ledger.db*")):
        os.unlink(path)
    seen, gateway.moved = 0, []
    for path in sorted(glob.glob(kept + "/*.tgj")):
        first = seen
        seen += age(path, KEEP + 15, lambda n, first=first: first + n < OLD)
        shutil.move(path, journal)
        gateway.moved.append(os.path.basename(path))
    assert seen == OLD + NEW
    for key in redis.command("KEYS", "*"):
        redis.command("DEL", key)
    return gateway


def test_old_lines_go_and_sums_stay(aged):
    aged.start()
    wait_for("old lines are deleted", lambda: lines(aged) == NEW, 20)
    assert lines(aged, "SELECT count(*) FROM record") == NEW
    left = os.listdir(os.path.join(aged.folder, "var", "journal"))
    assert aged.moved and not set(aged.moved) & set(left), left
    log = aged.process.log()
    assert f"lines={OLD} keep_days={KEEP}" in log, log

    # the total of the limit was counted from both when Redis was empty, and again is
    assert spent(aged) == [OLD + NEW]
    aged.process.stop()
    done = run_cli("audit", "-c", aged.config_path, cwd=aged.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are deleted" in done.stdout and f"{NEW} lines" in done.stdout

    old = (datetime.now(timezone.utc) - timedelta(days=KEEP + 30)).date().isoformat()
    code, report = ask(aged, "spend", "--by", "team", "--from", old)
    assert code == 0, report
    assert [r["requests"] for r in report["rows"]] == [OLD + NEW]
    for question in (["spend", "--by", "customer"], ["tasks"], ["lines"]):
        code, said = ask(aged, *question, "--from", old)
        assert code != 0 and "are kept from" in said, said
    done = run_cli("export", "-c", aged.config_path, "--from", old, cwd=aged.folder)
    assert done.returncode != 0 and "ledger.keep_days" in done.stderr and not done.stdout
    recent = (datetime.now(timezone.utc) - timedelta(days=1)).date().isoformat()
    code, report = ask(aged, "spend", "--by", "customer", "--from", recent)
    assert code == 0 and sum(r["requests"] for r in report["rows"]) == NEW, report


def test_counters_are_made_anew_from_sums(aged, redis):
    aged.start()
    wait_for("old lines are deleted", lambda: lines(aged) == NEW, 20)
    aged.process.stop()
    for key in redis.command("KEYS", "*"):
        redis.command("DEL", key)
    aged.start()
    wait_for("counters say both halves", lambda: spent(aged) == [OLD + NEW], 20)


@pytest.mark.parametrize("keep, limit, named", [
    (1, None, "at least 2"),
    (30, {"window": "month", "per": ["customer"]}, "counts by customer"),
    (300, {"window": "year", "match": {"experiment": "a"}}, "counts by experiment"),
    (20, {"window": "20d", "per": ["user"]}, "counts by user"),
    (40, {"window": "month", "per": ["customer"]}, None),
    (2, {"window": "total", "per": ["team", "model"]}, None),
])
def test_what_could_not_be_counted_anew_is_refused(gateways, keep, limit, named):
    limits = [{"name": "l", "unit": "requests", "limit": 5, **limit}] if limit else []
    gateway = gateways()
    with open(gateway.config_path, encoding="utf-8") as file:
        config = json.load(file)
    config["limits"] = limits
    config.setdefault("ledger", {})["keep_days"] = keep
    path = os.path.join(gateway.folder, "kept.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    done = run_cli("check", "-c", path, cwd=gateway.folder)
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == (named is None), said
    assert named is None or named in said, said
