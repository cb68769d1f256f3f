"""TLS to Redis: limits hold over it, and whoever cannot be verified is given nothing.

Needs a program that was built with libhiredis_ssl; without it such a URL is refused, which is
tested there.
"""

import contextlib
import json
import re
import shutil
import socket
import ssl
import threading
import time

import pytest

from kit import calls
from kit.marked import Load
from kit.procs import run_cli, wait_for
from kit.redis_tls import Silent, TlsCluster, TlsRedis, TlsSentinels, missing
from kit.settled import settled_books

DAY = {"name": "day", "unit": "usd", "limit": "1000000", "window": "day"}
FEW = {"name": "few", "unit": "requests", "limit": 3, "window": "day"}
PASSWORD = "canary-of-redis-9471"


@pytest.fixture
def tls(request):
    """The test needs TLS to Redis."""
    if missing():
        pytest.skip(missing())


@pytest.fixture
def secure(tls, certs, tmp_path):
    """Makes Redis servers that speak TLS; the test may kill them."""
    made = []

    def make(*args, **options):
        folder = tmp_path / f"redis-tls{len(made)}"
        folder.mkdir()
        made.append(TlsRedis(folder, certs, *args, **options))
        return made[-1]
    yield make
    for one in made:
        one.stop()


def counters(redis, certs, **more):
    return {"backend": "redis", "url": getattr(redis, "url", redis), "timeout_ms": 500,
            "ca_file": certs.ca, **more}


def statuses(gateway, count):
    return [calls.send(gateway, calls.chat()).status for _ in range(count)]


def connected(gateway):
    page = gateway.admin("/metrics").body.decode()
    return re.search(r"^tollgate_limiter_connected (\d)", page, re.M)[1] == "1"


def lost(gateway):
    """What the log says of the counters that were lost."""
    return "\n".join(line for line in gateway.log().splitlines() if "lost the counters" in line)


def refused(gateway, why):
    """Nothing is admitted, soon, and the log says why."""
    try:
        wait_for(f"the log says {why!r}", lambda: re.search(why, lost(gateway)), 10)
    except AssertionError as late:
        raise AssertionError(f"{late}\n{gateway.log()}") from late
    before = time.monotonic()
    assert statuses(gateway, 3) == [503] * 3
    assert time.monotonic() - before < 5
    wait_for("the workers to say that they are not", lambda: not connected(gateway), 10)
    assert gateway.admin("/readyz").status == 200      # it serves: on_failure decides


@pytest.mark.skipif(not missing(), reason="this program speaks TLS to Redis")
@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster", "rediss+sentinel"])
def test_without_the_library_the_url_is_refused(tmp_path, scheme):
    """By check and at the start, with the line and what to do; never spoken in the clear."""
    path = tmp_path / "tollgate.json"
    path.write_text('{\n "counters": {\n  "url": "%s://u:%s@127.0.0.1:1/main"\n }\n}\n'
                    % (scheme, PASSWORD))
    for command in ("check", "serve"):
        done = run_cli(command, "-c", str(path), cwd=str(tmp_path))
        assert done.returncode != 0
        said = done.stdout + done.stderr
        assert re.search(r"tollgate\.json:3\b.*counters\.url: TLS to Redis.*libhiredis_ssl.*"
                         r"or use redis://", said), said
        assert PASSWORD not in said


@pytest.mark.parametrize("leases", [False, True])
def test_limits_hold(gateways, secure, certs, leases):
    redis = secure(extra=["--requirepass", ""])
    usd = {"name": "roomy", "unit": "usd", "limit": "1000", "window": "day"}
    gateway = gateways(counters=counters(redis, certs, leases=leases), limits=[FEW, usd])
    assert statuses(gateway, 5) == [200] * 3 + [402] * 2
    wait_for("the workers to say that they are connected", lambda: connected(gateway), 10)
    by_tls, plain = redis.by_tls()
    assert by_tls >= 2 and plain == 0
    gateway.records(3)
    assert '"spent_count":3' in gateway.cli("budget", "status", "--format", "json").replace(" ", "")
    assert "counters" in gateway.cli("audit")


@pytest.mark.parametrize("fault, why", [
    ("other-ca", "certificate verify failed: self-signed certificate in certificate chain"),
    ("name", "certificate verify failed: hostname mismatch"),
    ("address", "certificate verify failed: IP address mismatch"),
    ("expired", "certificate verify failed: certificate has expired"),
])
def test_whoever_cannot_be_verified_is_given_nothing(gateways, secure, certs, fault, why):
    """Neither the password nor a command is sent; who waits is told soon."""
    members = {"on_failure": "refuse"}
    if fault == "expired":
        certs.leaf("redis-expired", "DNS:localhost,IP:127.0.0.1", days=-1)
        redis = secure("redis-expired")
    elif fault == "other-ca":
        redis = secure()
        members["ca_file"] = certs.other_authority("redis-other-ca")
    else:
        certs.leaf("redis-else", "DNS:elsewhere.example,IP:127.0.0.9")
        redis = secure("redis-else")
    host = "127.0.0.1" if fault == "address" else "localhost"
    url = f"rediss://:{PASSWORD}@{host}:{redis.secure}/0"
    gateways.canaries.append(PASSWORD)
    gateway = gateways(counters=counters(url, certs, **members), limits=[FEW])
    refused(gateway, why)
    assert "cmd=auth" not in redis.command("INFO", "commandstats")
    assert redis.command("DBSIZE") == 0
    done = run_cli("budget", "reset", "--limit", "few", "--why", "x", "-c", gateway.config_path,
                   cwd=gateway.folder)
    assert done.returncode == 1 and why in done.stderr, done
    done = run_cli("audit", "-c", gateway.config_path, cwd=gateway.folder)
    assert done.returncode != 0 and why in done.stderr, done


def test_a_name_of_its_own(gateways, secure, certs):
    """Every node is verified by the name that the configuration gives."""
    certs.leaf("redis-named", "DNS:counters.example")
    redis = secure("redis-named")
    gateway = gateways(counters=counters(redis, certs, server_name="counters.example"), limits=[FEW])
    assert statuses(gateway, 4) == [200] * 3 + [402]
    assert "spent" in gateway.cli("budget", "status", "--format", "json")


@pytest.mark.parametrize("shown", [True, False])
def test_certificates_of_clients(gateways, secure, certs, shown):
    redis = secure(clients=True)
    certs.leaf("gateway", None, usage="clientAuth")
    pair = {"certificate": certs.path("gateway.pem"), "private_key": certs.path("gateway.key")}
    gateway = gateways(counters=counters(redis, certs, on_failure="refuse",
                                         **(pair if shown else {})), limits=[FEW])
    if shown:
        assert statuses(gateway, 4) == [200] * 3 + [402]
        return
    wanted = "certificate required|want a client's certificate"
    refused(gateway, wanted)
    done = run_cli("budget", "reset", "--limit", "few", "--why", "x", "-c", gateway.config_path,
                   cwd=gateway.folder)
    assert done.returncode == 1 and re.search(wanted, done.stderr), done


def test_in_the_clear_at_a_port_of_tls(gateways, secure, certs):
    redis = secure()
    gateway = gateways(counters={"backend": "redis", "url": f"redis://localhost:{redis.secure}",
                                 "timeout_ms": 300, "on_failure": "refuse"}, limits=[FEW])
    refused(gateway, r"does it want TLS \(rediss://\)")
    assert gateway.log().count("lost the counters") < 20


def test_tls_at_a_port_in_the_clear(gateways, secure, certs):
    redis = secure()
    gateway = gateways(counters=counters(f"rediss://localhost:{redis.port}", certs,
                                         on_failure="refuse", timeout_ms=300), limits=[FEW])
    before = time.monotonic()
    assert statuses(gateway, 1) == [503]
    assert time.monotonic() - before < 3
    wait_for("the log says why", lambda: re.search(
        "no answer to the TLS handshake|wrong version number", lost(gateway)), 10)


def test_a_port_that_says_nothing(gateways, tls, certs):
    """The handshake has its time; meanwhile others are answered, and commands end too."""
    silent = Silent()
    gateway = gateways(counters=counters(f"rediss://localhost:{silent.port}", certs,
                                         on_failure="refuse", timeout_ms=300), limits=[FEW])
    refused(gateway, "no answer to the TLS handshake")
    before = time.monotonic()
    done = run_cli("budget", "reset", "--limit", "few", "--why", "x", "-c", gateway.config_path,
                   cwd=gateway.folder)
    assert done.returncode == 1 and "no answer to the TLS handshake" in done.stderr
    assert time.monotonic() - before < 6
    silent.close()


def test_a_restart_of_redis(gateways, secure, certs):
    redis = secure()
    gateway = gateways(counters=counters(redis, certs, on_failure="refuse"), limits=[FEW])
    assert statuses(gateway, 2) == [200] * 2
    redis.kill()
    wait_for("it is noticed", lambda: statuses(gateway, 1) == [503], 10)
    redis.start()
    wait_for("it is back", lambda: statuses(gateway, 1) != [503], 20)
    wait_for("the third of three was let through, no fourth",
             lambda: statuses(gateway, 1) == [402], 10)
    gateway.records(3)


def test_authorities_are_read_again(gateways, secure, certs, tmp_path):
    """A reload takes what the files hold now, for connections from then on."""
    redis = secure()
    other = certs.other_authority("redis-later-ca")
    path = tmp_path / "authorities.pem"
    shutil.copy(other, path)
    gateway = gateways(counters=counters(redis, certs, ca_file=str(path), on_failure="refuse"),
                       limits=[FEW])
    refused(gateway, "certificate verify failed")
    path.write_text("no certificate")
    gateway.reload()
    wait_for("the reload is refused", lambda: "holds no PEM certificate" in gateway.log(), 10)
    shutil.copy(certs.ca, path)
    gateway.reload()
    wait_for("it is trusted now", lambda: statuses(gateway, 1) == [200], 20)


# ---- many servers ---------------------------------------------------------------------------


def more(load, count=20, seconds=30):
    """So many more calls are answered."""
    had = len(load.answered)
    wait_for("calls to be answered", lambda: len(load.answered) >= had + count, seconds)


@pytest.fixture
def several(tls, certs, tmp_path):
    """Makes a set of servers, which ends with the test."""
    made = []

    def make(kind):
        folder = tmp_path / kind.__name__.lower()
        folder.mkdir()
        made.append(kind(folder, certs))
        return made[-1]
    yield make
    for one in made:
        one.stop()


@pytest.mark.slow
def test_a_cluster(gateways, provider, several, certs):
    """The slot moves to another node under load: it is followed by TLS, and nothing is lost."""
    cluster = several(TlsCluster)
    gateway = gateways(counters=counters(cluster, certs, on_failure="refuse", leases=False),
                       limits=[DAY])
    slot = cluster.slot("{tollgate}:")
    first = cluster.owner(slot)
    load = Load(gateway, 4)
    more(load)
    cluster.move(slot, cluster.nodes[(cluster.nodes.index(first) + 1) % 3])
    more(load)
    now = cluster.owner(slot)
    assert now is not first
    by_tls, plain = now.by_tls()
    assert by_tls >= 2 and plain == 0
    load.stop()
    settled_books(gateway, provider, load.answered)


@pytest.mark.slow
def test_sentinels(gateways, provider, several, certs):
    """Sentinels are asked by TLS, and the replica that takes over is spoken to by it."""
    sentinels = several(TlsSentinels)
    gateway = gateways(counters=counters(sentinels, certs, on_failure="refuse"), limits=[DAY])
    load = Load(gateway, 4)
    more(load)
    sentinels.master.kill()
    wait_for("another master", lambda: sentinels.named() == sentinels.replica.secure, 30)
    more(load)
    by_tls, plain = sentinels.replica.by_tls()
    assert by_tls >= 2 and plain == 0
    load.stop()
    settled_books(gateway, provider, load.answered)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TlsCluster, TlsSentinels])
def test_a_node_that_cannot_be_verified(gateways, several, certs, kind):
    """Whoever is named by another is verified as well: here by a name that none of them has."""
    servers = several(kind)
    gateway = gateways(counters=counters(servers, certs, on_failure="refuse",
                                         server_name="counters.example"), limits=[FEW])
    refused(gateway, "certificate verify failed: hostname mismatch")


# ---- much at once ---------------------------------------------------------------------------


def test_long_commands_and_answers(gateways, secure, certs):
    """Longer than a record of TLS, either way: the script, many scopes, many calls at once."""
    redis = secure()
    per = {"name": "each", "unit": "usd", "limit": "1000", "window": "day", "per": ["customer"]}
    gateway = gateways(counters=counters(redis, certs, leases=False), limits=[DAY, per])
    redis.command("SCRIPT", "FLUSH")      # the whole script is sent again
    load = Load(gateway, 8)
    more(load, 120)
    load.stop()
    answered = [calls.send(gateway, calls.chat(), tags=[("X-Tollgate-Customer", f"{'long-name-' * 6}{n}")])
                for n in range(200)]
    assert {one.status for one in answered} == {200}
    gateway.cli("audit")
    rows = json.loads(gateway.cli("budget", "status", "--format", "json"))["rows"]
    assert len(rows) > 200


def test_faults_of_others_are_theirs(gateways, secure, certs):
    """Clients whose handshakes fail on the worker that speaks to Redis do it no harm."""
    gateway = gateways(counters=counters(secure(), certs, leases=False), limits=[DAY], workers=1)
    load = Load(gateway, 2)
    more(load)
    distrustful = ssl.create_default_context()
    for n in range(60):
        with socket.create_connection(("127.0.0.1", gateway.port), 5) as sock:
            if n % 2:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    sock.recv(100)
                continue
            with pytest.raises(ssl.SSLError):
                distrustful.wrap_socket(sock, server_hostname="localhost")
    more(load)
    load.stop()
    assert not lost(gateway)


def test_a_handshake_that_dribbles(gateways, tls, certs):
    """A byte now and then puts nothing off: the bound is of the whole handshake."""
    silent = Silent()
    stopping = threading.Event()

    def dribble():
        while not stopping.is_set():
            try:
                sock, _ = silent.listener.accept()
            except OSError:
                return
            threading.Thread(target=feed, args=(sock,), daemon=True).start()

    def feed(sock):
        try:
            for byte in b"\x16\x03\x03\x40\x00" + bytes(200):
                if stopping.wait(0.2):
                    break
                sock.sendall(bytes([byte]))
        except OSError:
            pass
        sock.close()
    threading.Thread(target=dribble, daemon=True).start()
    gateway = gateways(counters=counters(f"rediss://localhost:{silent.port}", certs,
                                         on_failure="refuse", timeout_ms=300), limits=[FEW])
    refused(gateway, "no answer to the TLS handshake")
    before = time.monotonic()
    done = run_cli("budget", "reset", "--limit", "few", "--why", "x", "-c", gateway.config_path,
                   cwd=gateway.folder)
    assert done.returncode == 1 and "no answer to the TLS handshake" in done.stderr
    assert time.monotonic() - before < 6
    stopping.set()
    silent.close()


@pytest.mark.parametrize("members, said", [
    ({"certificate": "x.pem"}, "one of certificate and private_key"),
    ({"url": "redis://localhost", "ca_file": "x.pem"}, "counters.ca_file is of TLS"),
    ({"url": "unix:///x", "tls_verify": False}, "counters.tls_verify is of TLS"),
    ({"ca_file": "absent.pem"}, "could not read the authorities (counters.ca_file)"),
])
def test_what_check_says(gateways, tls, tmp_path, members, said):
    """Nothing of it is passed over."""
    config = gateways.config(counters={"backend": "redis", "url": "rediss://localhost", **members})
    path = tmp_path / "tollgate.json"
    path.write_text(json.dumps(config))
    done = run_cli("check", "-c", str(path), cwd=str(tmp_path))
    assert done.returncode != 0 and said in done.stdout + done.stderr, done


def test_not_verified_is_warned_of(gateways, secure, certs):
    certs.leaf("redis-else", "DNS:elsewhere.example")
    redis = secure("redis-else")
    gateway = gateways(counters={"backend": "redis", "url": redis.url, "timeout_ms": 500,
                                 "tls_verify": False}, limits=[FEW])
    assert statuses(gateway, 4) == [200] * 3 + [402]
    done = run_cli("check", "-c", gateway.config_path, cwd=gateway.folder)
    assert "Redis is not verified" in done.stdout + done.stderr
