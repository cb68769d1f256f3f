"""The report on changes: who changed what, from each command that changes something, and what breaks its chain."""

import getpass
import hashlib
import json
import os
from datetime import datetime, timedelta, timezone

import pytest

from kit import calls
from kit.procs import run_cli, wait_for

LIMIT = {"name": "few", "unit": "requests", "limit": 3, "window": "month"}


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def changes(gateway):
    day = datetime.now(timezone.utc).date()
    return gateway.report("changes", "--from", str(day - timedelta(days=1)), "--to", str(day + timedelta(days=2)))["rows"]


def state(gateway, *names):
    return os.path.join(gateway.folder, gateway.config["state_dir"], *names)


def plan(gateway, folder, amount):
    file = folder / "plan.csv"
    file.write_text(f"month,team,amount_usd\n2026-11,search,{amount}\n")
    gateway.cli("import", "plan", str(file))
    return str(file)


def test_what_a_gateway_runs_with(gateways):
    gateway = gateways()
    rows = changes(gateway)
    assert [(r["action"], r["object"]) for r in rows] == [("start", "configuration"), ("start", "prices")]
    assert rows[0]["after_sha256"] == sha256_of(gateway.config_path) and rows[0]["before_sha256"] is None
    assert rows[0]["detail"] == gateway.config_path
    assert rows[1]["after_sha256"] == gateway.report("spend")["book"]
    gateway.stop()
    gateway.start()
    assert changes(gateway) == rows                        # nothing was changed meanwhile
    gateway.config["drain_seconds"] = 7
    gateway.write()
    gateway.reload()
    wait_for("the reload to be noted", lambda: len(changes(gateway)) == 3)
    last = changes(gateway)[-1]
    assert (last["action"], last["object"], last["status"]) == ("reload", "configuration", "good")
    assert (last["before_sha256"], last["after_sha256"]) == (rows[0]["after_sha256"], sha256_of(gateway.config_path))
    gateway.config["drain_seconds"] = "never"              # a configuration that is refused is none
    gateway.write()
    gateway.process.signal(1)
    wait_for("the refusal", lambda: "configuration refused" in gateway.log())
    gateway.config["drain_seconds"] = 7
    gateway.write()
    assert len(changes(gateway)) == 3


def test_what_commands_change(gateways, redis, tmp_path):
    gateway = gateways(redis=redis, limits=[LIMIT])
    before = len(changes(gateway))
    gateway.cli("key", "create", "ann", "--team", "search")
    keys = sha256_of(state(gateway, "keys.json"))
    gateway.cli("key", "revoke", "ann")
    file = plan(gateway, tmp_path, 100)
    plan(gateway, tmp_path, 100)                           # the same again changes nothing
    plan(gateway, tmp_path, 200)
    until = str(datetime.now(timezone.utc).date() + timedelta(days=3))
    gateway.cli("budget", "raise", "--limit", "few", "--to", "9", "--until", until, "--why", "a launch",
                "--who", "bea")
    month = (datetime.now(timezone.utc).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    gateway.cli("close", "--month", month, "--force")
    rows = changes(gateway)[before:]
    assert [(r["action"], r["object"]) for r in rows] == [
        ("key create", "keys"), ("key revoke", "keys"), ("import", "books/plan"), ("import", "books/plan"),
        ("budget raise", "limit/few"), ("close", "closed/" + month)]
    created, revoked, first, second, raised, closed = rows
    assert {r["status"] for r in rows} == {"good"}
    assert {r["actor"] for r in rows if r is not raised} == {getpass.getuser()} and raised["actor"] == "bea"
    assert (created["detail"], created["before_sha256"], created["after_sha256"]) == ("ann", None, keys)
    assert (revoked["before_sha256"], revoked["after_sha256"]) == (keys, sha256_of(state(gateway, "keys.json")))
    assert first["detail"] == file and second["before_sha256"] == first["after_sha256"]
    assert second["after_sha256"] == sha256_of(state(gateway, "books", "plan.csv"))
    assert "a launch" in raised["detail"] and f"to 9 until {until}" in raised["detail"]
    assert closed["after_sha256"] == sha256_of(state(gateway, "closed", month, "manifest.json"))
    assert [r["time"] for r in rows] == sorted(r["time"] for r in rows)
    gateway.reload()                                       # it takes keys up as the command left them
    assert len(changes(gateway)) == before + len(rows)


def test_corrections_and_repair(gateways, tmp_path):
    gateway = gateways()
    assert calls.send(gateway, calls.chat()).status == 200
    gateway.records(1)
    gateway.stop()
    book = tmp_path / "dearer.json"
    book.write_text(json.dumps({
        "schema": "tollgate-prices/1", "version": "2", "currency": "USD", "sources": {},
        "units": {"in": {"per": 1000000, "of": "token"}, "out": {"per": 1000000, "of": "token"}},
        "providers": {"openai": {"models": [{"id": calls.chat().model, "kind": "chat", "ids": [calls.chat().model],
                                             "prices": [{"from": None, "to": None,
                                                         "rates": {"in": "1000", "out": "1000"}}]}]}}}))
    gateway.config["prices"]["book"] = [*gateway.config["prices"]["book"], str(book)]
    gateway.write()
    gateway.cli("price", "reprice", "--apply", "--reason", "the contract", "--by", "cleo")
    gateway.cli("audit", "--repair")
    corrected, repaired = changes(gateway)[-2:]
    assert (corrected["action"], corrected["object"]) == ("price reprice", "ledger")
    assert "1 corrections by cleo" in corrected["detail"] and "the contract" in corrected["detail"]
    assert (repaired["action"], repaired["object"]) == ("audit --repair", "ledger")


def test_another_hand(gateways, tmp_path):
    """What was changed without a command is found by the next change, and by the gateway's next start."""
    gateway = gateways()
    plan(gateway, tmp_path, 100)
    file = state(gateway, "books", "plan.csv")
    with open(file, encoding="utf-8") as table:
        text = table.read()
    with open(file, "w", encoding="utf-8") as table:
        table.write(text.replace("100", "900"))
    plan(gateway, tmp_path, 300)
    assert changes(gateway)[-1]["status"] == "gap"
    gateway.cli("key", "create", "ann")
    with open(state(gateway, "keys.json"), "a", encoding="utf-8") as keys:
        keys.write("\n")
    gateway.reload()
    wait_for("the keys to be noted", lambda: changes(gateway)[-1]["action"] == "reload")
    assert changes(gateway)[-1]["after_sha256"] == sha256_of(state(gateway, "keys.json"))
    said = gateway.cli("audit")
    assert "1 of what had been changed without one" in said and "everything agrees" in said


@pytest.mark.parametrize("damage", ["altered", "taken out", "unreadable"])
def test_a_broken_chain(gateways, tmp_path, damage):
    gateway = gateways()
    for amount in (100, 200, 300):
        plan(gateway, tmp_path, amount)
    gateway.stop()
    good = gateway.cli("audit")
    trail = state(gateway, "trail.jsonl")
    assert hashlib.sha256(open(trail, "rb").read().splitlines()[-1]).hexdigest() in good
    lines = open(trail, encoding="utf-8").read().splitlines(keepends=True)
    if damage == "altered":
        lines[-2] = lines[-2].replace('"import"', '"export"')
    elif damage == "taken out":
        del lines[-2]
    else:
        lines[-2] = "what was here\n"
    with open(trail, "w", encoding="utf-8") as file:
        file.write("".join(lines))
    assert "altered" in {r["status"] for r in changes(gateway)}
    done = run_cli("audit", "-c", gateway.config_path, cwd=gateway.folder)
    assert done.returncode == 1 and "trail     DISAGREES: line " in done.stdout


def test_words_that_do_not_go_with_it(gateways):
    gateway = gateways()
    for words in (["--by", "team"], ["--grain", "day"], ["--top", "3"], ["--where", "team=a"], ["--strict"]):
        gateway.cli("report", "changes", *words, code=2)
    past = gateway.report("changes", "--month", "2020-01")
    assert past["rows"] == [] and past["data_quality"] is None
    page = gateway.admin("/api/v1/reports/changes?format=html")
    assert page.status == 200 and b"configuration" in page.body
