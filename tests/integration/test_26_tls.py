"""TLS of the proxy listener: names, tickets, client certificates; and what must not be seen."""

import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile

import pytest

from kit import calls, client, http2, procs
from kit.config import merge, with_upstream
from kit.procs import Provider, run_cli, wait_for

CALL = calls.chat(words=3)


@pytest.fixture
def config(gateways):
    return gateways.config()


def reload(gateway, **listen):
    """SIGHUP with another listen.proxy; returns once it is in force."""
    before = gateway.log().count("configuration in force")
    gateway.config["listen"]["proxy"].update(listen)
    gateway.write()
    gateway.reload()
    wait_for("the reload", lambda: gateway.log().count("configuration in force") > before)


def named(gateway, name, context=None):
    """The DNS names in the certificate that a client gets who asks for name."""
    context = context or gateway.context
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as raw:
        with context.wrap_socket(raw, server_hostname=name) as sock:
            return [value for kind, value in sock.getpeercert()["subjectAltName"]
                    if kind == "DNS"]


def pair(certs, name):
    return {"certificate": certs.path(f"{name}.pem"), "private_key": certs.path(f"{name}.key")}


def any_name(certs):
    context = client.tls_context(certs.ca)
    context.check_hostname = False
    return context


# ---- several names --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def leaves(certs):
    certs.leaf("one", "DNS:one.example,DNS:both.example")
    certs.leaf("two", "DNS:two.example,DNS:both.example")
    certs.leaf("wild", "DNS:*.wild.example")
    certs.leaf("exact", "DNS:a.wild.example")
    certs.leaf("renewed", "DNS:one.example,DNS:renewed.example")
    return certs


def test_a_client_gets_the_certificate_of_the_name_it_asks_for(gateways, leaves):
    gateway = gateways(listen={"proxy": {
        "certificates": [pair(leaves, n) for n in ("one", "two", "wild", "exact")]}})
    loose = any_name(leaves)
    first = named(gateway, "localhost")
    assert "localhost" in first
    for name, expected in (("one.example", "one.example"), ("TWO.example", "two.example"),
                           ("both.example", "one.example"), ("b.wild.example", "*.wild.example"),
                           ("a.wild.example", "a.wild.example")):
        assert expected in named(gateway, name), name   # and it verifies, by name too
    for name in ("x.y.wild.example", "wild.example", "unknown.example"):
        assert named(gateway, name, loose) == first, name
    with gateway.connect(name="two.example") as connection:
        assert calls.send(gateway, CALL, connection).status == 200


def test_the_list_alone_and_its_faults(gateways, leaves, config, tmp_path):
    gateway = gateways(listen={"proxy": {"certificate": None, "private_key": None,
                                         "certificates": [pair(leaves, "server")]}})
    assert calls.send(gateway, CALL).status == 200
    for entry, words in (({"certificate": leaves.path("one.pem")}, "private_key"),
                         ({**pair(leaves, "one"), "private_key": leaves.path("two.key")},
                          "is not the private key of"),
                         ({**pair(leaves, "one"), "certificate": "none.pem"}, "none.pem")):
        faulty = tmp_path / "faulty.json"
        faulty.write_text(json.dumps(merge(config, {"listen": {"proxy": {
            "certificates": [entry]}}})))
        done = run_cli("check", "-c", str(faulty))
        assert done.returncode == 2 and words in done.stderr, done.stderr


def test_reload_of_certificates_drops_nothing(gateways, leaves, tmp_path):
    for end in ("pem", "key"):
        shutil.copy(leaves.path(f"one.{end}"), tmp_path / f"live.{end}")
    live = {"certificate": str(tmp_path / "live.pem"),
            "private_key": str(tmp_path / "live.key")}
    gateway = gateways(listen={"proxy": {"certificates": [live]}})
    with gateway.connect(name="one.example") as connection:
        assert calls.send(gateway, CALL, connection).status == 200
        for end in ("pem", "key"):   # a new certificate with a new key
            shutil.copy(leaves.path(f"renewed.{end}"), tmp_path / f"live.{end}")
        reload(gateway)
        assert "renewed.example" in named(gateway, "one.example")
        assert calls.send(gateway, CALL, connection).status == 200
        shutil.copy(leaves.path("two.key"), tmp_path / "live.key")   # no pair: refused whole
        gateway.reload()
        wait_for("the refusal", lambda: "configuration refused" in gateway.log())
        assert "renewed.example" in named(gateway, "one.example")
        assert calls.send(gateway, CALL, connection).status == 200


# ---- sessions -------------------------------------------------------------------------------


def handshake(gateway, context, session=None):
    """(resumed?, session) of one connection with a request, so that its ticket has come."""
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as raw:
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as sock:
            sock.sendall(client.request_bytes("GET", "/_tollgate/healthz"))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            return sock.session_reused, sock.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_on_every_worker_and_over_a_reload(gateways, certs, version):
    gateway = gateways(workers=4)
    context = client.tls_context(certs.ca, version)
    resumed, session = handshake(gateway, context)
    assert not resumed
    for turn in range(12):   # the kernel spreads them over the workers
        if turn == 6:
            reload(gateway)
        resumed, again = handshake(gateway, context, session)
        assert resumed, turn
        # Each ticket of TLS 1.3 is for one use: with the next connection comes another.
        assert (again.id != session.id) == (version == ssl.TLSVersion.TLSv1_3), turn
        session = again


def test_no_renegotiation_and_nothing_old(gateway, certs):
    def s_client(*args, stdin=b""):
        return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}",
                               "-CAfile", certs.ca, *args], input=stdin, capture_output=True,
                              timeout=30)
    # "R" asks for it; nothing of the kind is answered, and no HTTP follows.
    done = s_client("-tls1_2", stdin=b"R\n")
    assert b"no renegotiation" in (done.stdout + done.stderr).lower()
    done = s_client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode != 0
    assert b"OCSP response: no response sent" in s_client("-status").stdout
    assert calls.send(gateway, CALL).status == 200


@pytest.mark.parametrize("words, said", [
    (["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA"], "handshake failure"),       # no forward secrecy
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES256-SHA"], "handshake failure"),   # no AEAD
    (["-tls1_2", "-cipher", "NULL:aNULL:@SECLEVEL=0"], "handshake failure"),
    (["-alpn", "http/1.0,foo"], "no application protocol"),   # RFC 7301, 3.2: another protocol's bytes are not taken
    (["-tls1_2", "-alpn", "h3"], "no application protocol")])
def test_what_no_handshake_agrees_on(gateway, certs, words, said):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-CAfile",
                           certs.ca, *words], input=b"", capture_output=True, timeout=30, check=False)
    assert done.returncode != 0 and said in done.stderr.decode(), done.stderr
    assert calls.send(gateway, CALL).status == 200


def test_no_compression_and_no_early_data(gateway, certs, tmp_path):
    """RFC 8446, 8: what can be replayed is not taken; RFC 7525, 3.3: what is packed tells of what is in it."""
    ticket, early = str(tmp_path / "ticket"), tmp_path / "early"
    early.write_bytes(client.request_bytes("GET", "/_tollgate/healthz"))

    def ask(*words):
        return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-CAfile", certs.ca,
                               "-ign_eof", *words], capture_output=True, timeout=30, check=False,
                              input=client.request_bytes("GET", "/_tollgate/healthz", [("Connection", "close")])).stdout
    assert b"Compression: NONE" in ask("-tls1_2", "-comp")
    first = ask("-sess_out", ticket)
    assert b"HTTP/1.1 200" in first and b"Max Early Data: 0" in first
    again = ask("-sess_in", ticket, "-early_data", str(early))
    assert b"Early data was accepted" not in again and again.count(b"HTTP/1.1 200") <= 1


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_with_little_memory_gets_small_records(gateway, certs, version):
    """RFC 6066, 4: who asked for 512 bytes a record refuses a larger one."""
    request = client.request_bytes("POST", CALL.full_path(), CALL.headers(
        sim={"pad_bytes": 100_000}) + [("Connection", "close")], CALL.data())
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}",
                           "-CAfile", certs.ca, version, "-maxfraglen", "512", "-quiet"],
                          input=request, capture_output=True, timeout=30)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), done.stderr
    assert len(json.loads(body)["choices"][0]["message"]["content"]) > 100_000, done.stderr


# ---- client certificates --------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(certs):
    """Client certificates, and another authority with a certificate of the same names."""
    certs.other_authority("client-ca")
    certs.other_authority("false-ca")
    for name, ca in (("search", "client-ca"), ("false-search", "false-ca")):
        certs.leaf(name, "DNS:search.apps,URI:spiffe://corp/search", usage="clientAuth", ca=ca,
                   common="shared-name")
    certs.leaf("plain", None, usage="clientAuth", ca="client-ca", common="plain-app")
    certs.leaf("double", "DNS:search.apps,DNS:billing.apps", usage="clientAuth", ca="client-ca")
    certs.leaf("finger", "DNS:nobody.apps", usage="clientAuth", ca="client-ca")
    certs.leaf("nobody", "DNS:elsewhere.apps", usage="clientAuth", ca="client-ca",
               common="plain-app")
    certs.leaf("server-only", "DNS:search.apps", usage="serverAuth", ca="client-ca")
    return certs


def with_certificate(certs, name, version=None):
    context = client.tls_context(certs.ca, version)
    if name:
        context.load_cert_chain(certs.path(f"{name}.pem"), certs.path(f"{name}.key"))
    return context


def fingerprint(certs, name):
    with open(certs.path(f"{name}.pem"), encoding="ascii") as file:
        der = ssl.PEM_cert_to_DER_cert(file.read())
    return "sha256:" + hashlib.sha256(der).hexdigest().upper()


@pytest.fixture
def trusting(gateways, people, config):
    def make(mode="optional", **more):
        keys = [*config["keys"],
                {"name": "by-name", "certificate": "search.apps", "tags": {"team": "search"}},
                {"name": "by-other-name", "certificate": "billing.apps"},
                {"name": "by-common", "certificate": "plain-app"},
                {"name": "by-finger", "certificate": fingerprint(people, "finger")}]
        return gateways(keys=keys, listen={"proxy": {
            "client_ca": people.path("client-ca.pem"), "client_certificates": mode}}, **more)
    return make


def ask(gateway, certs, name, key=None, headers=()):
    """Status and, where it is 200, the name of the key that was recorded."""
    with gateway.connect(context=with_certificate(certs, name)) as connection:
        own = [] if key is None else [("Authorization", f"Bearer {key}")]
        connection.send(client.request_bytes(
            "POST", CALL.full_path(), [("Content-Type", "application/json"), *own, *headers],
            CALL.data()))
        response = connection.read()
    if response.status != 200:
        return response.status, None
    record = gateway.record(response.header("x-tollgate-request-id"))
    return response.status, record["key"]


def test_a_certificate_stands_for_its_key(trusting, people):
    gateway = trusting()
    for name, key, expected in (
            ("search", None, (200, "by-name")),
            ("plain", None, (200, "by-common")),
            ("finger", None, (200, "by-finger")),
            ("nobody", None, (401, None)),        # a common name beside other names is none
            ("double", None, (401, None)),        # two keys: none
            (None, None, (401, None)),
            ("search", calls.KEY, (200, "main")),   # what is explicit wins
            (None, calls.KEY, (200, "main")),
            ("search", "unused", (200, "by-name")),   # what SDKs insist on
            ("search", "tg_unknown-or-revoked", (401, None))):
        assert ask(gateway, people, name, key) == expected, (name, key)


def test_only_a_verified_chain_counts(trusting, people):
    gateway = trusting()
    for name in ("false-search", "server-only"):
        with pytest.raises((ssl.SSLError, ConnectionError, client.Broken)):
            ask(gateway, people, name)
    # Nor do headers with which other proxies speak of certificates.
    assert ask(gateway, people, None, headers=[
        ("X-Forwarded-Client-Cert", "Subject=\"CN=plain-app\";DNS=search.apps"),
        ("X-SSL-Client-Verify", "SUCCESS"), ("X-Client-Cert", "search.apps")])[0] == 401


def test_required_and_off(trusting, people):
    gateway = trusting("required")
    assert ask(gateway, people, "search") == (200, "by-name")
    with pytest.raises((ssl.SSLError, ConnectionError, client.Broken)):
        ask(gateway, people, None, calls.KEY)
    with gateway.connect(context=with_certificate(people, "search")) as connection:
        assert calls.send(gateway, CALL, connection, key=calls.KEY).status == 200
        reload(gateway, client_certificates="off")
        assert ask(gateway, people, "search")[0] == 401
        assert ask(gateway, people, "search", calls.KEY) == (200, "main")


def test_authorities_that_are_taken_away_count_no_more(trusting, people):
    """On connections that are open, and for sessions that would be resumed."""
    gateway = trusting()
    context = with_certificate(people, "search")
    head = [("Content-Type", "application/json")]
    call = client.request_bytes("POST", CALL.full_path(), head, CALL.data())
    assert not handshake(gateway, context)[0]
    resumed, session = handshake(gateway, context, handshake(gateway, context)[1])
    assert resumed
    with gateway.connect(context=context) as connection:
        connection.send(call)
        assert connection.read().status == 200
        reload(gateway, client_ca=people.path("false-ca.pem"))
        connection.send(call)
        assert connection.read().status == 401
    with pytest.raises((ssl.SSLError, ConnectionError)):   # a full handshake, which fails
        handshake(gateway, context, session)
    assert ask(gateway, people, "false-search") == (200, "by-name")


def test_a_resumed_session_keeps_its_identity(trusting, people):
    gateway = trusting()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = with_certificate(people, "search", version)
        session = handshake(gateway, context)[1]
        with socket.create_connection(("127.0.0.1", gateway.port), 20) as raw:
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as sock:
                assert sock.session_reused
                sock.sendall(client.request_bytes("GET", "/_tollgate/budget"))
                assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_certificates_over_http2(trusting, people, monkeypatch):
    gateway = trusting()
    plain = ssl.create_default_context

    def context(*args, **options):
        made = plain(*args, **options)
        made.load_cert_chain(people.path("search.pem"), people.path("search.key"))
        return made
    monkeypatch.setattr(ssl, "create_default_context", context)
    with http2.Connection(gateway) as connection:
        stream = connection.request("GET", "/_tollgate/budget", [])
        assert connection.wait(stream).status == 200


def test_faults_of_client_certificates(people, config, tmp_path):
    for listen, key, words in (
            ({"client_certificates": "required"}, {}, "without client_ca"),
            ({"client_ca": people.path("search.key")}, {}, "holds no PEM certificate"),
            ({"client_ca": people.path("none.pem")}, {}, "authorities (client_ca)"),
            ({}, {"certificate": "sha256:12"}, "64 hex digits"),
            ({}, {"certificate": ""}, "keys[].certificate"),
            ({}, {"name": "b", "certificate": "same"}, "stands for one key")):
        keys = [{"name": "a", "certificate": "same"}, {"name": "c", "secret": "s3cr3t-of-c", **key}]
        path = tmp_path / "faulty.json"
        path.write_text(json.dumps(merge(config, {"keys": keys, "listen": {"proxy": listen}})))
        done = run_cli("check", "-c", str(path))
        assert done.returncode == 2 and words in done.stderr, (words, done.stderr)
    path.write_text(json.dumps(merge(config, {"keys": keys[:1]})))
    done = run_cli("check", "-c", str(path))
    assert done.returncode == 0 and "client_ca" in done.stderr   # it stands for nothing so


# ---- what must not be seen --------------------------------------------------------------------

CANARIES = {
    "PROVIDER_KEY": Provider.SECRET,
    "WRONG_KEY": "sk-canary-of-another-provider-5517",
    "HOOK": "https://hooks.example/services/canary-of-a-webhook-9a3",
    "VIRTUAL": "tg_canary-of-a-virtual-key-77e1",
    "REDIS_PASSWORD": "canary-of-redis-password-20b4",
}


def private_lines(path):
    """Pieces of the key's body, as it stands in the file."""
    with open(path, encoding="ascii") as file:
        return [line.strip() for line in file if "-----" not in line and len(line) > 20]


def written(folder):
    for at, _, names in os.walk(folder):
        for name in names:
            if name != "tollgate.json" and not name.endswith((".key", "admin.token")):
                with open(os.path.join(at, name), "rb") as file:
                    yield os.path.join(at, name), file.read()


def test_secrets_are_nowhere(gateways, certs, config, provider):
    config = with_upstream(config, "openai", api_key="${PROVIDER_KEY}")
    config = with_upstream(config, "anthropic", api_key="${WRONG_KEY}")
    config = with_upstream(config, "gemini", base_url="https://127.0.0.1:1", api_key="${WRONG_KEY}")
    config = merge(config, {
        "log": {"level": "debug"},
        "keys": [{"name": "main", "secret": "${VIRTUAL}"}],
        "counters": {"backend": "redis", "timeout_ms": 50,
                     "url": "redis://:${REDIS_PASSWORD}@127.0.0.1:1/0"},
        "alerts": {"channels": [{"name": "h", "type": "slack", "url": "${HOOK}"}]}})
    gateway = gateways(config=config, env=CANARIES)
    seen = []
    for call in (calls.chat(), calls.chat(stream=True), calls.messages(), calls.generate()):
        seen.append(calls.send(gateway, call, key=CANARIES["VIRTUAL"]))
    seen.append(calls.send(gateway, calls.chat(), key=CANARIES["VIRTUAL"] + "x"))
    for name in ("key", "api-key", "xi-api-key", "xi_api_key", "token", "single_use_token",
                 "authorization", "any"):   # taken; unknown, spoilt, in a place that is none
        for value in (CANARIES["VIRTUAL"], CANARIES["VIRTUAL"] + "x", CANARIES["VIRTUAL"] + "%"):
            seen.append(gateway.request("GET", f"/openai/v1/models?{name}={value}"))
    assert [r.status for r in seen[-24:-3]] == [200, 401, 401] * 7
    assert {r.status for r in seen[-3:]} == {401}
    for path in ("/gemini/v1beta/models", "/nobody/v1", "/_tollgate/budget", "/_tollgate/nothing"):
        seen.append(gateway.request("GET", f"{path}?token={CANARIES['VIRTUAL']}&model=%zz"))
    assert 200 not in {r.status for r in seen[-4:]}   # upstream away, unknown, malformed
    seen.append(gateway.request("GET", f"/{CANARIES['VIRTUAL']}/v1", [
        ("X-Tollgate-Key", CANARIES["VIRTUAL"])]))
    seen += [gateway.admin(path, token=False) for path in ("/metrics", "/healthz", "/readyz")]
    assert {r.status for r in seen[:2]} == {200} and 401 in {r.status for r in seen}
    # Faulty files with the secret in the wrong place.
    for change in ({"log": {"level": CANARIES["HOOK"]}}, {"limits": CANARIES["WRONG_KEY"]},
                   {"workers": "${WRONG_KEY}"}):
        refused = gateway.log().count("configuration refused")
        gateway.config = merge(config, change)
        gateway.write()
        gateway.reload()
        wait_for("the refusal", lambda: gateway.log().count("configuration refused") > refused)
    gateway.config = config
    gateway.write()
    said = [gateway.cli("check"), gateway.cli("help", "configuration"), gateway.export()]
    with open(f"/proc/{gateway.process.pid}/cmdline", "rb") as file:
        command = file.read()
    token = gateway.token()
    gateway.stop()
    secrets = [*CANARIES.values(), token, *private_lines(certs.path("server.key"))]
    assert len(secrets) >= 7
    texts = [("an answer", r.head + bytes(r.body)) for r in seen]
    texts += [("a command", repr(text).encode()) for text in said]
    texts += [("cmdline", command), *written(gateway.folder)]
    assert len([name for name, _ in texts if "/var/" in name]) >= 3
    for name, text in texts:
        for secret in secrets:
            assert secret.encode() not in text, (name, secret)


@pytest.mark.skipif(os.geteuid() != 0, reason="starts the gateway as another user")
def test_another_process_of_the_user_reads_nothing(config, certs):
    """No core dump, and the environment is closed to others of the same user."""
    nobody = 65534
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        shutil.copy(certs.path("server.pem"), folder)
        shutil.copy(certs.path("server.key"), folder)
        os.chmod(folder, 0o755)
        binary = os.path.join(folder, "tollgate")
        shutil.copy(procs.tollgate_binary(), binary)
        for name in (folder, *[os.path.join(folder, n) for n in os.listdir(folder)]):
            os.chown(name, nobody, nobody)
        config = merge(config, {"listen": {"proxy": {
            "certificate": "server.pem", "private_key": "server.key"}}})
        for upstream in config["upstreams"]:
            upstream.pop("ca_file")
        config["prices"] = {"book": [os.path.join(folder, "book")]}
        shutil.copytree(os.path.join(procs.ROOT, "pricing", "book"), os.path.join(folder, "book"))
        path = os.path.join(folder, "c.json")
        with open(path, "w", encoding="ascii") as out:
            json.dump(config, out)
        os.chmod(path, 0o644)

        def drop():
            os.setgid(nobody)
            os.setuid(nobody)

        def start(**env):
            process = procs.Process("tollgate", [binary, "serve", "-c", path], folder,
                                    {"CANARY": "canary-of-the-environment", **env}, drop)
            process.first_line()
            return process

        def read(process):
            return subprocess.run(["cat", f"/proc/{process.pid}/environ"], preexec_fn=drop,
                                  capture_output=True, check=False).stdout

        def core_limit(process):
            with open(f"/proc/{process.pid}/limits", encoding="ascii") as file:
                return [l.split()[4:6] for l in file if l.startswith("Max core file size")][0]

        process = start()
        try:
            assert read(process) == b"" and core_limit(process) == ["0", "0"]
        finally:
            assert process.stop() == 0
        process = start(TOLLGATE_CORE_DUMPS="1")   # the switch, which also shows that it is seen
        try:
            assert b"canary-of-the-environment" in read(process)
            assert "core dumps are possible" in process.log()
        finally:
            assert process.stop() == 0
