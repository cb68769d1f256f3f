"""The topology of docker-compose.yml: two gateways, one Redis, one budget."""

import json
import os
import shutil
import subprocess
import threading
from decimal import Decimal

import pytest

from kit import calls
from kit.procs import ROOT, wait_for

ROOM = Decimal("0.02")
LIMITS = [{"name": "shared", "unit": "usd", "limit": str(ROOM), "window": "day"}]


def two(gateways, redis, limits):
    return [gateways(redis=redis, name=name, node=name, limits=limits)
            for name in ("east", "west")]


def test_one_budget(gateways, provider, redis):
    nodes = two(gateways, redis, LIMITS)
    answers = []

    def run(node):
        for _ in range(10):
            answers.append(calls.send(node, calls.chat(max_tokens=40),
                                      sim={"Output_Tokens": 40}))
    threads = [threading.Thread(target=run, args=(nodes[n % 2],)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    passed = sum(a.status == 200 for a in answers)
    assert 0 < passed < len(answers) == 120
    assert {a.status for a in answers} == {200, 402}

    def both():
        found = [r for node in nodes for r in node.export()]
        return found if len(found) >= passed else None
    records = wait_for("all records", both, 15, 0.1)
    assert len(records) == passed == provider.totals()["billed"]
    assert sum(Decimal(r["cost_usd"]) for r in records) <= ROOM
    assert {r["node"] for r in records} == {"east", "west"}
    assert len({r["id"] for r in records}) == passed


def test_what_one_spends_the_other_sees(gateways, redis):
    limits = [{"name": "three", "unit": "requests", "limit": 3, "window": "day"}]
    east, west = two(gateways, redis, limits)
    assert calls.send(east, calls.chat()).status == 200
    assert calls.send(west, calls.chat()).status == 200
    assert calls.send(east, calls.chat()).status == 200
    for node in (east, west):
        assert calls.send(node, calls.chat()).status in (402, 429)


def test_one_node_dies(gateways, provider, redis):
    """What the dead one had reserved counts as spent until its own journal says otherwise."""
    east, west = two(gateways, redis, [{"name": "ten", "unit": "requests", "limit": 10,
                                        "window": "day"}])
    for _ in range(3):
        assert calls.send(east, calls.chat()).status == 200
    thread = threading.Thread(target=lambda: ignore(lambda: calls.send(
        east, calls.chat(), sim={"Delay_Ms": 3000}, timeout=5)))
    thread.start()
    wait_for("the slow call", lambda: provider.totals()["requests"] == 4)
    east.kill()
    thread.join()
    statuses = []
    for _ in range(8):
        statuses.append(calls.send(west, calls.chat()).status)
    assert statuses.count(200) <= 7
    east.start()
    assert east.records(4)[-1]["outcome"] == "interrupted"
    assert provider.totals()["billed"] <= 11


def ignore(call):
    try:
        call()
    except Exception:   # the gateway was killed: any end will do
        pass


def compose():
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker"):
        done = subprocess.run(["docker", "compose", "version"], capture_output=True)
        if done.returncode == 0:
            return ["docker", "compose"]
    return None


@pytest.mark.provider_only
@pytest.mark.parametrize("profiles", [[], ["simulated"]])
def test_compose_file(profiles):
    command = compose()
    if command is None:
        pytest.skip("no docker-compose")
    for profile in profiles:
        command += ["--profile", profile]
    environment = dict(os.environ, OPENAI_API_KEY="x", ANTHROPIC_API_KEY="x", GEMINI_API_KEY="x",
                       TOLLGATE_KEY="tg_x")
    done = subprocess.run(command + ["-f", os.path.join(ROOT, "docker-compose.yml"), "config"],
                          cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for service in ["redis:", "gateway-1:", "gateway-2:"]:
        assert service in done.stdout, service
    assert ("provider:" in done.stdout) == bool(profiles) or "profiles:" in done.stdout


def test_compose_configuration_is_valid(certs, tmp_path):
    """The configuration that the compose file mounts passes `tollgate check`."""
    from kit.procs import run_cli
    source = os.path.join(ROOT, "tests", "demo", "compose", "tollgate.json")
    folder = tmp_path / "etc"
    (folder / "tls").mkdir(parents=True)
    for name in ("server.pem", "server.key", "ca.pem"):
        shutil.copy(certs.path(name), folder / "tls" / name)
    with open(source, encoding="utf-8") as file:
        text = file.read().replace("/usr/share/tollgate/book", os.path.join(ROOT, "pricing",
                                                                            "book"))
    text = text.replace("/etc/tollgate", str(folder)).replace("/var/lib/tollgate",
                                                              str(tmp_path / "var"))
    path = folder / "tollgate.json"
    path.write_text(text)
    done = run_cli("check", "-c", str(path), cwd=str(folder), env={
        "TOLLGATE_KEY": calls.KEY, "PROVIDER_KEY": "sk-x", "TOLLGATE_NODE": "one"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.dumps(text)
