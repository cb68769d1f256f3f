"""Where a virtual key may stand when a client can set no header, and that it ends there.

Browsers' WebSockets and signed links put the key into the query: Google's `key`, Azure's `api-key` and
`Authorization` (as OpenAI's library for browsers sends them), ElevenLabs' and AssemblyAI's."""

import json

import pytest

from kit import calls, client as http, http2
from kit.procs import Provider
from kit.websocket import connect

KEY = calls.KEY
SPOILT = "".join(f"%{ord(letter):02x}" for letter in KEY)
MODELS = "/openai/v1/models"
SPEAK = "/elevenlabs/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb"
NAMES = ["key", "access_token", "api-key", "xi-api-key", "xi_api_key", "authorization",
         "Authorization", "token", "single_use_token"]


@pytest.fixture(autouse=True)
def certificates(certs, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)


def ask(gateway, path, headers=(), method="GET", body=None):
    data = json.dumps(body).encode() if body is not None else b""
    lines = [*headers, *([("Content-Type", "application/json")] if data else [])]
    with gateway.connect() as connection:
        connection.send(http.request_bytes(method, path, lines, data))
        return connection.read(method)


def got(provider):
    """The only request that the provider saw: its target, and that it shows the provider's key alone."""
    seen, = provider.requests()
    head = seen.head.decode("latin-1")
    assert seen.header("authorization") == f"Bearer {Provider.SECRET}"
    assert "tg_" not in head and SPOILT not in head
    return seen.target


@pytest.mark.parametrize("name", NAMES)
def test_the_key_as_a_parameter(gateway, provider, name):
    assert ask(gateway, f"{MODELS}?limit=3&{name}={KEY}&after=x").status == 200
    assert got(provider) == "/v1/models?limit=3&after=x"
    record, = gateway.records(1)
    assert record["key"] == "main"


@pytest.mark.parametrize("query, left", [
    (f"token={SPOILT}", ""),
    (f"%74oken={KEY}&a=%41", "a=%41"),
    (f"TOKEN={KEY}", ""),
    (f"Authorization=Bearer+{KEY}", ""),
    (f"authorization=bearer%20{KEY}", ""),
    (f"token={KEY}&token={KEY}&b", "b"),                       # twice
    (f"token=of-the-provider&token={KEY}&c=1", "c=1"),         # behind one that is not ours
    (f"xi-api-key=of-the-provider&single_use_token=x&key={KEY}", ""),
    (f"token={KEY}&note=tg_of_somebody_else", ""),             # the form of one of ours, anywhere
])
def test_spellings(gateway, provider, query, left):
    assert ask(gateway, f"{MODELS}?{query}").status == 200
    assert got(provider) == f"/v1/models?{left}"


@pytest.mark.parametrize("query", [f"token={KEY}", "token=tg_of_somebody_else", f"any={SPOILT}",
                                   f"any={KEY}%", "token=single-use-of-the-provider",
                                   "xi_api_key=of-the-provider"])
def test_beside_a_header(gateway, provider, query):
    """The header's key decides; the provider gets one credential, and no key of ours."""
    assert ask(gateway, f"{MODELS}?{query}&limit=1", [("Authorization", f"Bearer {KEY}")]).status == 200
    assert got(provider) == "/v1/models?limit=1"


@pytest.mark.parametrize("field", [
    ("X-Foo", KEY), ("X-Foo", f"Bearer {KEY}"), ("x_api_key", KEY), ("X_Api_Key", "of-the-provider"),
    ("Api_Key", KEY), ("X-Foo", f"a; key={KEY}"), ("X-Foo", f'["{KEY}"]'), ("Referer", f"https://localhost/?key={KEY}"),
    ("baggage", f"a=b,key={KEY}"), ("User-Agent", f"{'long ' * 40}{KEY}"), ("X", KEY), (KEY, "x"),
    ("X-Foo", "tg_of_somebody_else"), ("x_forwarded_for", "10.0.0.1")], ids=str)
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_in_a_field_of_any_name(gateway, provider, field, version):
    """Twice: the second time most of the head is known."""
    name, value = field
    headers = [("Authorization", f"Bearer {KEY}"), (name, value), ("X-Bar", "kept")]
    for _ in range(2):
        if version == "2":
            with http2.Connection(gateway) as connection:
                assert connection.wait(connection.request("GET", MODELS, headers)).status == 200
        else:
            assert ask(gateway, MODELS, headers).status == 200
        seen = provider.requests()[-1]
        assert seen.header(name) is None and seen.header("x-bar") == "kept"
        assert got(provider) == "/v1/models"
        provider.reset()


@pytest.mark.parametrize("name", ["X-Foo", "x_api_key", "Api_Key", "X_Tollgate_Key"])
def test_a_field_of_another_name_is_no_credential(gateway, provider, name):
    assert ask(gateway, MODELS, [(name, KEY)]).status == 401
    assert provider.requests() == []


@pytest.mark.parametrize("query", ["token=of-the-provider", "single_use_token=x", f"other={KEY}",
                                   f"token={KEY}x", f"token={KEY}%", f"token=+{KEY}", "token="])
def test_what_names_no_key(gateway, provider, query):
    answer = ask(gateway, f"{MODELS}?{query}")
    assert answer.status == 401 and KEY.encode() not in answer.head + bytes(answer.body)
    assert provider.requests() == []


def test_credentials_of_the_client(gateways, provider):
    """Where apps bring the provider's credential theirs passes, in any place, but no key of ours."""
    config = gateways.config()
    config["upstreams"][0]["credentials"] = "client"
    config["upstreams"][0].pop("api_key")
    gateway = gateways(config)
    headers = [("X-Tollgate-Key", KEY), ("Authorization", f"Bearer {Provider.SECRET}")]
    answer = ask(gateway, f"{MODELS}?token=theirs&xi-api-key={KEY}&single_use_token=1", headers)
    assert answer.status == 200
    assert got(provider) == "/v1/models?token=theirs&single_use_token=1"


def test_a_desk_is_asked_so_too(gateway):
    for name in NAMES:
        assert ask(gateway, f"/_tollgate/budget?{name}={KEY}").status == 200, name


@pytest.mark.parametrize("query", [f"api-key={KEY}", f"Authorization=Bearer+{KEY}"])
def test_azure_in_a_browser(gateways, provider, query):
    """OpenAI's library sends Azure's key so where it runs in a browser."""
    config = gateways.config()
    config["upstreams"].append({**config["upstreams"][0], "name": "azure",
                                "protocol": "azure-openai", "deployments": {"voice": "gpt-realtime"}})
    gateway = gateways(config)
    path = f"/azure/openai/realtime?api-version=2025-04-01-preview&deployment=voice&{query}"
    with connect(gateway, path, key=None) as socket:
        assert socket.status == 101
        socket.close()
    seen, = provider.requests()
    assert seen.target == "/openai/realtime?api-version=2025-04-01-preview&deployment=voice"
    assert seen.header("api-key") == Provider.SECRET and "tg_" not in seen.head.decode("latin-1")


def test_a_key_alone_among_subprotocols_stays(gateway, provider):
    with connect(gateway, headers=[("Authorization", f"Bearer {KEY}"),
                                   ("Sec-WebSocket-Protocol", f"realtime, {KEY}")], key=None) as socket:
        assert socket.status == 101
        socket.close()
    assert provider.requests()[0].header("sec-websocket-protocol") == "realtime"


@pytest.fixture
def voices(gateways, certs, upstream):
    config = gateways.config()
    config["upstreams"] = [{"name": name, "protocol": name, "base_url": upstream.url,
                            "api_key": Provider.SECRET, "ca_file": certs.ca}
                           for name in ("elevenlabs", "assemblyai")]
    return gateways(config)


@pytest.mark.parametrize("query", [f"xi-api-key={KEY}", f"xi_api_key={KEY}", f"authorization=Bearer+{KEY}",
                                   f"single_use_token={KEY}", f"xi-api-key={KEY}&single_use_token=theirs"])
def test_elevenlabs(voices, upstream, query):
    upstream.answers["POST /v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb"] = (
        b"\xff\xfb" + bytes(99), "audio/mpeg", {"Packed": "no", "character-cost": "5"})
    answer = ask(voices, f"{SPEAK}?output_format=mp3_44100_128&{query}", method="POST", body={"text": "hello"})
    assert answer.status == 200
    (where, headers), = upstream.asked
    assert where == "POST /v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb?output_format=mp3_44100_128"
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["xi-api-key"] == Provider.SECRET and KEY not in str(headers)


def test_assemblyai(voices, upstream):
    upstream.answers["GET /v2/transcript/none"] = (
        b'{"id": "none", "status": "queued"}', "application/json", {"Packed": "no"})
    assert ask(voices, f"/assemblyai/v2/transcript/none?token={KEY}").status == 200
    (where, headers), = upstream.asked
    headers = {name.lower(): value for name, value in headers.items()}
    assert where.rstrip("?") == "GET /v2/transcript/none" and headers["authorization"] == Provider.SECRET


@pytest.mark.parametrize("path, status", [
    (f"/assemblyai/v3/ws?sample_rate=16000&token={KEY}", 403),
    ("/assemblyai/v3/ws?sample_rate=16000&token=single-use-of-the-provider", 401),
    (f"/elevenlabs/v1/speech-to-text/realtime?token={KEY}", 403),
    ("/elevenlabs/v1/text-to-speech/v/stream-input?single_use_token=theirs", 401)])
def test_sockets_of_voices_are_refused(voices, upstream, path, status):
    """Nothing can meter them; whose key it is is asked first, so a provider's own token opens nothing."""
    answer = ask(voices, path, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                                ("Sec-WebSocket-Version", "13"),
                                ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")])
    assert answer.status == status and upstream.asked == []
