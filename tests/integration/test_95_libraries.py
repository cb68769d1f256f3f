"""Libraries that may be missing: the gateway says so, does without, and uses them once they are there."""

import os
import shutil
import subprocess
import time

import pytest

from kit import calls, client as http, clouds, procs, receivers, views
from kit.procs import Provider, wait_for

CURL = "libcurl.so.4"
SAID = "libcurl cannot be loaded: no alert and no token request goes out"
ALERT = {"name": "day", "unit": "usd", "limit": "0.0001", "window": "day", "mode": "warn", "alerts": [50, 100]}


def other_library():
    """Any library that this process has, and that has no function of libcurl's."""
    with open("/proc/self/maps", encoding="ascii") as file:
        for line in file:
            path = line.split()[-1]
            if os.path.basename(path).startswith(("libz.", "libzstd.", "libexpat.", "libm.")):
                return path
    pytest.skip("no such library here")
    return None


@pytest.fixture(params=["no library", "not that library"])
def hidden(request, tmp_path):
    """A folder before the system's, in which a file stands that is not libcurl; and the words that say so."""
    folder = tmp_path / "lib"
    folder.mkdir()
    if request.param == "no library":
        (folder / CURL).write_bytes(b"this is no library\n" * 99)
        return folder, "invalid ELF header"
    shutil.copy(other_library(), folder / CURL)
    return folder, "undefined symbol: curl_"


def test_alerts_wait_for_libcurl(gateways, hidden):
    """They are kept, over a restart too, in their order, and no try is counted against the receiver."""
    folder, reason = hidden
    hooks = receivers.Receiver()
    gateway = gateways(limits=[ALERT], env={"LD_LIBRARY_PATH": str(folder)}, alerts={
        "every_seconds": 1, "digest_day": "never", "routes": [{"channels": ["hook"]}], "fallback": ["ops"],
        "channels": [{"name": name, "type": "webhook", "url": hooks.url("/" + name), "allow_private": True,
                      "secret": "hook-secret-4471"} for name in ("hook", "ops")]})
    assert calls.send(gateway, calls.chat(words=3000, max_tokens=16)).status == 200   # calls go on
    wait_for("the log", lambda: SAID in gateway.log())
    time.sleep(2.5)   # it is tried again meanwhile
    gateway.stop()
    log = gateway.process.log_after_end()
    assert log.count(SAID) == 1 and reason in log   # once, however often it is tried
    assert "not delivered" not in log and hooks.got == []
    gateway.start()
    wait_for("the log", lambda: gateway.log().count(SAID) == 2)
    os.unlink(folder / CURL)
    sent = wait_for("what waited", lambda: hooks.taken("/hook"))
    assert sent[0]["type"].startswith("budget.") and hooks.taken("/ops") == []
    assert len(hooks.got) == len({body["id"] for body in sent})
    assert "libcurl is there now" in gateway.log()
    hooks.stop()


def test_tokens_wait_for_libcurl(gateways, certs, provider, hidden):
    folder, _ = hidden
    server = clouds.TokenServer(certs, [Provider.SECRET])
    config = clouds.with_upstreams(gateways.config(), clouds.upstream(
        certs, provider, "entra", "azure-openai", provider="azure",
        entra={"tenant_id": "tenant", "client_id": "app", "client_secret": "CANARYENTRA/1",
               "authority": server.url, "ca_file": certs.ca}))
    gateway = gateways(config, env={"LD_LIBRARY_PATH": str(folder)})
    call = calls.Call("entra", "/openai/v1/chat/completions", calls.chat().body, "azure", "gpt-4o")
    refused = calls.send(gateway, call)
    assert refused.status == 502 and b"no access token" in refused.body
    assert "libcurl cannot be loaded" in gateway.log() and server.forms == []
    assert calls.send(gateway, calls.chat()).status == 200   # an upstream that has a key
    os.unlink(folder / CURL)
    wait_for("a token", lambda: calls.send(gateway, call).status == 200, 20, 0.3)
    server.close()


# ---- built without libipsec-mb -----------------------------------------------------------------------

PLAIN = os.environ.get("TOLLGATE_PLAIN", os.path.join(procs.ROOT, "build", "debug", "plain", "tollgate"))


@pytest.fixture
def plain(gateways, monkeypatch):
    if not os.path.exists(PLAIN):
        pytest.skip("no gateway without libipsec-mb: make BUILD=debug plain")
    with open(PLAIN, "rb") as file:
        assert b"libIPSec_MB" not in file.read()
    monkeypatch.setenv("TOLLGATE_BIN", PLAIN)
    return gateways()


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                   "TLS_CHACHA20_POLY1305_SHA256"])
def test_each_cipher_without_libipsec_mb(plain, certs, provider, suite):
    """Records are sealed and opened by OpenSSL's ciphers, on both sides of the gateway."""
    call = calls.chat(words=4000)
    ask = http.request_bytes("POST", call.full_path(), [*call.headers(), ("Connection", "close")],
                             call.data())
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{plain.port}", "-CAfile", certs.ca, "-tls1_3",
         "-ciphersuites", suite, "-ign_eof", "-quiet", "-servername", "localhost"],
        input=ask, capture_output=True, timeout=20, check=False)
    assert done.stdout.startswith(b"HTTP/1.1 200 OK\r\n"), done
    seen, = provider.requests()
    assert seen.body == call.data() and done.stdout.endswith(seen.sent[-200:])
    record, = plain.records(1)
    views.check_usage(record, views.bill_of(provider, record))


@pytest.mark.slow
def test_shapes_without_libipsec_mb(plain, provider):
    """Answers of a megabyte, streams, and a connection that is used again, all by TLS 1.3."""
    with plain.connect() as connection:
        assert connection.sock.version() == "TLSv1.3"
        for stream in (False, True, False):
            more = {"stream_options": {"include_usage": True}} if stream else {}
            call = calls.chat(words=30, stream=stream, **more)
            connection.send(http.request_bytes("POST", call.full_path(), call.headers(
                sim={"Output_Tokens": 2000} if stream else {"pad_bytes": 1_000_000}), call.data()))
            answer = connection.read("POST")
            assert answer.status == 200
            views.check_client_got_what_was_sent(answer, provider.requests()[-1])
    for record in plain.records(3):
        views.check_usage(record, views.bill_of(provider, record))
