"""Libraries that may be missing: the gateway says so, does without, and uses them once they are there."""

import os
import shutil
import time

import pytest

from kit import calls, clouds, procs, receivers
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
