"""Starting, checking, reloading, draining and stopping."""

import json
import os
import re
import signal
import stat
import threading
import time

import pytest

from kit import calls, client, procs
from kit.procs import run_cli, wait_for


def test_ready_line_and_clean_end(gateway):
    assert gateway.port > 0 and gateway.admin_port > 0
    assert calls.send(gateway, calls.chat()).status == 200
    gateway.stop()
    assert gateway.process.lines == [gateway.process.lines[0]]


def test_health(gateway):
    assert gateway.request("GET", "/_tollgate/healthz").status == 200
    assert gateway.admin("/healthz", token=False).status == 200
    assert gateway.admin("/readyz", token=False).status == 200


def test_admin_wants_its_token(gateway):
    path = os.path.join(gateway.folder, "var", "admin.token")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert gateway.admin("/api/v1/reports/spend", token=False).status == 401
    assert gateway.admin("/api/v1/reports/spend").status == 200
    assert gateway.admin("/metrics", token=False).status == 200   # for the scraper


def test_an_answer_of_the_admin_listener_waits_for_nothing(gateway):
    """Behind the tickets of a new connection it would stay 40 ms, until the client says it has them."""
    def seconds():
        before = time.monotonic()
        assert gateway.admin("/metrics").status == 200
        return time.monotonic() - before
    assert min(seconds() for _ in range(20)) < 0.03


def test_metrics_text(gateway):
    for _ in range(3):
        calls.send(gateway, calls.chat())
    answer = gateway.admin("/metrics")
    assert answer.header("content-type").startswith("text/plain")
    lines = answer.body.decode().splitlines()
    names = {line.split("{")[0].split(" ")[0] for line in lines if line and line[0] != "#"}
    assert names and all(name.startswith(("tollgate_", "process_")) for name in names)
    typed = {line.split(" ")[2] for line in lines if line.startswith("# TYPE ")}
    base = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert base <= typed | names


def faulty(config, change):
    change(config)
    return config


FAULTS = {
    "unknown field": (lambda c: c.update(worker=3), ["worker", "workers", "line"]),
    "unknown inner field": (lambda c: c["listen"]["proxy"].update(prot=3), ["prot", "port"]),
    "wrong type": (lambda c: c.update(workers="two"), ["workers"]),
    "unknown protocol": (lambda c: c["upstreams"][0].update(protocol="opanai"),
                         ["protocol", "openai", "line"]),
    "key twice": (lambda c: c["keys"].append(dict(c["keys"][0], secret="tg_other_0123456789")),
                  ["main"]),
    "bad limit": (lambda c: c["limits"].append({"name": "x", "unit": "usd", "limit": "1.2.3",
                                               "window": "day"}), ["limit"]),
    "bad window": (lambda c: c["limits"].append({"name": "x", "unit": "usd", "limit": "1",
                                                "window": "fortnight"}), ["window", "quarter", "line"]),
    "missing certificate": (lambda c: c["listen"]["proxy"].update(certificate="no/such.pem"),
                            ["no/such.pem"]),
    "missing book": (lambda c: c["prices"].update(book=["no/such/book"]), ["no/such/book"]),
    "missing environment": (lambda c: c["upstreams"][0].update(api_key="${NO_SUCH_VARIABLE_X}"),
                            ["NO_SUCH_VARIABLE_X"]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_faults_are_named(gateways, fault, command, tmp_path):
    change, words = FAULTS[fault]
    config = gateways.config()
    change(config)
    path = tmp_path / "faulty.json"
    path.write_text(json.dumps(config, indent=1))
    done = run_cli(command, "-c", str(path), cwd=str(tmp_path), timeout=30)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "ready" not in done.stdout
    for word in words:
        assert word in said or (word == "line" and re.search(r":\d+", said)), (word, said)


def test_check_is_content_with_a_good_one(gateways, tmp_path):
    path = tmp_path / "good.json"
    path.write_text("// comments are allowed\n" + json.dumps(gateways.config()))
    done = run_cli("check", "-c", str(path), cwd=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_bad_usage():
    for args in [["serve"], ["nonsense"], ["check", "--nonsense"], ["report", "-c"]]:
        assert run_cli(*args).returncode == 2, args
    assert run_cli("--version").returncode == 0
    assert run_cli("help").returncode == 0
    for command in ["serve", "check", "key", "report", "export", "price"]:
        assert run_cli(command, "--help").returncode == 0, command


def test_environment_in_strings(gateways, certs, provider):
    config = gateways.config(env={"PROVIDER_SECRET": procs.Provider.SECRET})
    for upstream in config["upstreams"]:
        upstream["api_key"] = "${PROVIDER_SECRET}"
    assert calls.send(gateways(config), calls.chat()).status == 200


def reloaded(gateway, mark):
    gateway.reload()
    wait_for("reload", mark)


def test_reload_takes_new_keys_and_drops_no_connection(gateway):
    other = "tg_other_key_00112233445566"
    with gateway.connect() as connection:
        assert calls.send(gateway, calls.chat(), connection).status == 200
        assert calls.send(gateway, calls.chat(), key=other).status == 401
        gateway.config["keys"].append({"name": "other", "secret": other})
        gateway.write()
        reloaded(gateway, lambda: calls.send(gateway, calls.chat(), key=other).status == 200)
        assert calls.send(gateway, calls.chat(), connection).status == 200


def test_reload_of_a_stream_that_runs(gateway):
    got = {}

    def run():
        got["answer"] = calls.send(gateway, calls.chat(stream=True), sim={
            "Event_Delay_Ms": 60})

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.2)
    gateway.reload()
    thread.join(20)
    assert got["answer"].complete and got["answer"].body.endswith(b"data: [DONE]\n\n")
    assert gateway.process.running()


def sched_of(pid, task):
    """Name, policy, niceness of a thread, and its turn in nanoseconds where the kernel tells."""
    with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii") as file:
        head, rest = file.read().rsplit(") ", 1)
    fields, turn = rest.split(), None
    try:
        with open(f"/proc/{pid}/task/{task}/sched", encoding="ascii") as file:
            found = re.search(r"^se\.slice +: +(\d+)$", file.read(), re.MULTILINE)
        turn = int(found.group(1)) if found else None
    except OSError:   # a kernel without
        pass
    return head.split("(", 1)[1], int(fields[38]), int(fields[16]), turn


def test_workers_go_before_what_can_wait(gateway):
    """base/urgency.h; Linux 6.12 and later keep the turns that a thread asks for."""
    pid = gateway.process.pid
    own = os.getpriority(os.PRIO_PROCESS, 0)
    patient = (3, min(19, own + 5))
    found = {}

    def named():
        found.clear()
        for task in os.listdir(f"/proc/{pid}/task"):
            name, *rest = sched_of(pid, task)
            found[name] = tuple(rest)
        return {"worker-0", "ingest", "reports"} <= set(found)
    wait_for("the threads have names", named)
    wait_for("ingest is patient", lambda: named() and found["ingest"][:2] == patient)
    wait_for("reports are", lambda: named() and found["reports"][:2] == patient)
    policy, nice, turn = found["worker-0"]
    assert (policy, nice) == (0, own)
    kernel = tuple(int(n) for n in re.findall(r"\d+", os.uname().release)[:2])
    if turn is not None and kernel >= (6, 12):
        assert turn == 100000 < found["ingest"][2]


def test_nothing_is_loaded_that_is_not_wanted(gateway):
    """libcurl brings megabytes; it comes with the first alert or token (test_93, test_34)."""
    with open(f"/proc/{gateway.process.pid}/maps", encoding="utf-8") as file:
        libraries = {line.split()[-1].rsplit("/", 1)[-1].split(".so")[0]
                     for line in file if ".so" in line}
    assert {"libssl", "libsqlite3"} <= libraries
    assert not libraries & {"libcurl", "libgnutls", "libldap-2", "libkrb5"}


def test_faulty_reload_is_refused_whole(gateway):
    good = json.dumps(gateway.config)
    gateway.config["keys"].append({"name": "other", "secret": "tg_other_key_00112233445566"})
    gateway.config["nonsense"] = 1
    gateway.write()
    gateway.reload()
    wait_for("the refusal in the log", lambda: "nonsense" in gateway.process.log())
    assert calls.send(gateway, calls.chat()).status == 200
    assert calls.send(gateway, calls.chat(), key="tg_other_key_00112233445566").status == 401
    gateway.config = json.loads(good)
    gateway.write()


def test_signals_right_after_the_ready_line(gateways):
    """Whoever reads the line may signal at once."""
    for number in range(6):
        gateway = gateways(name=f"quick{number}")
        gateway.reload()
        time.sleep(0.1)
        assert gateway.process.running(), "SIGHUP ended it"
        gateway.stop()


def test_new_certificate_on_reload(gateway, certs):
    def serial():
        with gateway.connect() as connection:
            return connection.sock.getpeercert()["serialNumber"]
    before = serial()
    certs.leaf("renewed", "DNS:localhost,IP:127.0.0.1")
    os.chmod(certs.path("renewed.key"), 0o644)  # the gateway may be another user's
    gateway.config["listen"]["proxy"].update(certificate=certs.path("renewed.pem"),
                                             private_key=certs.path("renewed.key"))
    gateway.write()
    reloaded(gateway, lambda: serial() != before)


def test_drain_finishes_what_runs(gateway):
    call = calls.chat(stream=True)
    with gateway.connect() as connection:
        connection.send(client.request_bytes("POST", call.full_path(), call.headers(sim={
            "Event_Delay_Ms": 60}), call.data()))
        answer = connection.read_head()
        gateway.process.signal(signal.SIGTERM)
        wait_for("the end of listening", gateway.refuses_connections)
        with pytest.raises((OSError, client.Broken, AssertionError)):
            refused = calls.send(gateway, calls.chat(), timeout=2)
            assert refused.status == 200
        connection.read_body(answer)
        assert answer.complete and answer.body.endswith(b"data: [DONE]\n\n")
    assert gateway.process.wait() == 0
    assert len(gateway.export()) == 1
    assert gateway.export()[0]["outcome"] == "ok"


def test_drain_is_bounded(gateways):
    gateway = gateways(drain_seconds=1)
    call = calls.chat(stream=True)
    with gateway.connect() as connection:
        connection.send(client.request_bytes("POST", call.full_path(), call.headers(sim={
            "Event_Delay_Ms": 2000}), call.data()))
        connection.read_head()
        start = time.monotonic()
        gateway.process.signal(signal.SIGTERM)
        assert gateway.process.wait() == 0
        assert time.monotonic() - start < 8
    record, = gateway.export()
    assert record["outcome"] != "ok" and record["usage_source"] in ("partial", "estimated")


def test_second_sigterm_ends_at_once_without_loss(gateway):
    call = calls.chat(stream=True)
    with gateway.connect() as connection:
        connection.send(client.request_bytes("POST", call.full_path(), call.headers(sim={
            "Event_Delay_Ms": 2000}), call.data()))
        connection.read_head()
        gateway.process.signal(signal.SIGTERM)
        wait_for("the end of listening", gateway.refuses_connections)
        start = time.monotonic()
        gateway.process.signal(signal.SIGTERM)
        assert gateway.process.wait() == 0
        assert time.monotonic() - start < 5
    assert len(gateway.export()) == 1


def test_keys_by_command(gateway):
    made = gateway.cli("key", "create", "--name", "made", "--team", "infra")
    secret = re.search(r"tg_[A-Za-z0-9_-]+", made)[0]
    listed = gateway.cli("key", "list")
    assert "made" in listed and secret not in listed
    reloaded(gateway, lambda: calls.send(gateway, calls.chat(), key=secret).status == 200)
    gateway.cli("key", "revoke", "--name", "made")
    reloaded(gateway, lambda: calls.send(gateway, calls.chat(), key=secret).status == 401)
    for folder, _, names in os.walk(gateway.folder):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                assert secret.encode() not in file.read(), name


def test_tls_versions(gateway):
    import ssl
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client.tls_context(gateway.certs.ca, version)
        assert calls.send(gateway, calls.chat(), context=context).status == 200
    old = client.tls_context(gateway.certs.ca)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        calls.send(gateway, calls.chat(), context=old)
    assert calls.send(gateway, calls.chat()).status == 200
