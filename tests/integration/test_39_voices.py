"""Who speaks and listens: ElevenLabs, Deepgram, AssemblyAI.  Characters, credits and seconds, as the
head of an answer, its body or the request tells them; and their own SDKs."""

import json
from decimal import Decimal

import pytest

from kit import calls, client as http, forms
from kit.procs import Provider, wait_for
from test_51_other_measures import record_of
from test_65_desk import budget, by_name

SOUND = b"\xff\xfb\x90\x00" + bytes(4000)
VOICE = "JBFqnCBsd6RMkjVDRZzb"
SPEAK = f"/elevenlabs/v1/text-to-speech/{VOICE}"
LISTEN = "/deepgram/v1/listen?model=nova-3"
TEXT = "Grüße, 世界! 👍"
KEYS = {"elevenlabs": "Xi-Api-Key", "deepgram": "Authorization", "assemblyai": "Authorization"}
MINUTE = {"nova-3": Decimal("0.0077"), "multilingual": Decimal("0.0092")}
DAY = [{"name": "day", "unit": "usd", "limit": "5", "window": "day"},
       {"name": "parallel", "unit": "concurrent", "limit": 99}]


@pytest.fixture(autouse=True)
def certificates(certs, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)


@pytest.fixture
def settings(gateways, certs, upstream):
    def make(**changes):
        config = gateways.config(**changes)
        config["upstreams"] = [
            {"name": name, "protocol": name, "base_url": upstream.url,
             "api_key": Provider.SECRET, "ca_file": certs.ca}
            for name in ("elevenlabs", "deepgram", "assemblyai")]
        config["keys"].append({"name": "small", "secret": "tg_small_key_of_one_model",
                               "models": ["nothing-*"]})
        return config
    return make


@pytest.fixture
def gateway(gateways, settings):
    return gateways(settings())


def ask(gateway, method, path, body=None, kind="application/json", **headers):
    headers = {"Authorization": f"Bearer {calls.KEY}", **{
        name.replace("_", "-"): text for name, text in headers.items()}}
    if body is not None:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers["Content-Type"] = kind
    lines = [(name, text) for name, text in headers.items() if text]
    with gateway.connect() as connection:
        connection.send(http.request_bytes(method, path, lines, body or b""))
        return connection.read(method)


def answer(provider, where, body, kind="application/json", **head):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    # "Packed": as it stands, whatever the request says that it takes
    provider.answers[where] = (data, kind, {"Packed": "no", **{
        name.replace("_", "-"): value for name, value in head.items()}})


def heard(seconds, channels=1, **metadata):
    return {"metadata": {"request_id": "dg-1", "duration": seconds, "channels": channels,
                         "models": ["a-b"], "model_info": {"a-b": {
                             "name": "general-nova-3", "arch": "nova-3"}}, **metadata},
            "results": {"channels": [{"alternatives": [{"transcript": "hello"}]}] * channels}}


def spent(gateway):
    def rested():
        rows = by_name(budget(gateway))
        return rows if rows["parallel"]["reserved_count"] == 0 else None
    row = wait_for("nothing runs", rested)["day"]
    return Decimal(row["spent_usd"]), Decimal(row["reserved_usd"])


# ---- keys --------------------------------------------------------------------------------------

@pytest.mark.parametrize("header, value", [
    ("xi-api-key", calls.KEY), ("Authorization", f"Token {calls.KEY}"),
    ("Authorization", calls.KEY), ("Authorization", f"Bearer {calls.KEY}")])
def test_a_key_comes_as_each_sdk_sends_it(gateway, upstream, header, value):
    answer(upstream, f"POST /v1/text-to-speech/{VOICE}", SOUND, "audio/mpeg",
           character_cost="12")
    answered = ask(gateway, "POST", SPEAK, {"text": TEXT}, **{
        "Authorization": "", header.replace("-", "_"): value})
    assert answered.status == 200 and answered.body == SOUND
    _, seen = upstream.asked[-1]
    seen = {name.lower(): text for name, text in seen.items()}
    assert seen["xi-api-key"] == Provider.SECRET and "authorization" not in seen
    assert record_of(gateway, answered)["key"] == "main"


def test_the_provider_is_shown_its_own_key_alone(gateway, upstream):
    answer(upstream, "POST /v1/listen", heard(1))
    answer(upstream, "GET /v2/transcript/none", {"id": "none", "status": "queued"})
    assert ask(gateway, "POST", LISTEN, SOUND, kind="audio/mpeg").status == 200
    assert ask(gateway, "GET", "/assemblyai/v2/transcript/none").status == 200
    assert [headers["authorization" if "authorization" in headers else "Authorization"]
            for _, headers in upstream.asked] == [
        f"Token {Provider.SECRET}", Provider.SECRET]


@pytest.mark.parametrize("path, shape", [
    (SPEAK, lambda body: body["detail"]),
    (LISTEN, lambda body: {"message": body["err_msg"], "code": body["err_code"]}),
    ("/assemblyai/v2/transcript", lambda body: {"message": body["error"],
                                                "code": body["code"]})])
def test_refusals_have_the_providers_shape(gateway, path, shape):
    body = {"text": "x", "url": "https://a.test/x.wav", "audio_url": "https://a.test/x.wav",
            "speech_models": ["universal-2"]}
    nobody = ask(gateway, "POST", path, body, Authorization="Bearer nobody")
    assert nobody.status == 401 and shape(json.loads(nobody.body))["code"] == "invalid_key"
    other = ask(gateway, "POST", path, body,
                Authorization="Bearer tg_small_key_of_one_model")
    assert other.status == 403
    assert "may not use" in shape(json.loads(other.body))["message"]


@pytest.mark.parametrize("path", [
    f"/elevenlabs/v1/text-to-speech/{VOICE}/stream-input?model_id=eleven_flash_v2_5",
    f"/elevenlabs/v1/text-to-speech/{VOICE}/multi-stream-input",
    "/elevenlabs/v1/speech-to-text/realtime", "/elevenlabs/v1/convai/conversation",
    "/deepgram/v1/listen?model=nova-3", "/deepgram/v2/listen?model=flux-general-en",
    "/deepgram/v1/speak?model=aura-2-thalia-en", "/deepgram/v1/agent/converse",
    "/assemblyai/v3/ws?sample_rate=16000", "/assemblyai/v3/token?expires_in_seconds=60",
    "/elevenlabs/v1//convai/conversation/token?agent_id=a",
    "/elevenlabs/v1/user"])
def test_what_nothing_here_can_meter_is_refused(gateway, upstream, path):
    refused = ask(gateway, "GET", path, Upgrade="websocket", Connection="Upgrade",
                  Sec_WebSocket_Version="13", Sec_WebSocket_Key="x3JJHMbDL1EzLkh9GBhXDw==")
    assert refused.status == 403 and b"endpoint_not_allowed" in refused.body
    assert b"nothing here can meter this endpoint" in refused.body
    assert upstream.asked == []


@pytest.mark.parametrize("path, body", [
    (SPEAK, {"text": "x", "model": "eleven_v3", "model_id": "eleven_flash_v2_5"}),
    (SPEAK, {"text": "x", "model": "eleven_v3"}),
    (SPEAK, {"text": "x", "model_id": ["eleven_v3", "eleven_flash_v2_5"]}),
    ("/elevenlabs/v1/speech-to-text", [("model", "eleven_v3"), ("model_id", "scribe_v1")]),
    ("/elevenlabs/v1/audio-isolation", [("model_id", "eleven_v3")]),
    ("/assemblyai/v2/transcript", {"audio_url": "https://a.test/x", "model": "eleven_v3"}),
    ("/deepgram/v1/read", {"text": "x", "model": "eleven_v3"})])
def test_another_member_opens_no_other_model(gateways, settings, upstream, path, body):
    """Only what the provider itself takes the model from says whether a key may use it."""
    config = settings()
    config["keys"][0]["models"] = ["eleven_v3"]
    if isinstance(body, list):
        sent, kind = forms.form(*[forms.field(*one) for one in body],
                                forms.file("file", forms.wav(1))), forms.KIND
    else:
        sent, kind = body, "application/json"
        if isinstance(body.get("model_id"), list):    # the name twice, and one that is escaped
            sent = b'{"text":"x","model_id":"eleven_v3","model_id":"eleven\\u005fflash_v2_5"}'
    refused = ask(gateways(config), "POST", path, sent, kind=kind)
    assert refused.status in (400, 403) and upstream.asked == []


# ---- speech ------------------------------------------------------------------------------------

@pytest.mark.parametrize("path, kind", [
    ("", "audio/mpeg"), ("/stream", "audio/mpeg"), ("/with-timestamps", "application/json"),
    ("/stream/with-timestamps", "text/event-stream"),
    ("/stream/with-timestamps", "application/json")])
def test_credits_are_what_the_head_says(gateway, upstream, path, kind):
    body = SOUND if kind == "audio/mpeg" else (
        b'{"audio_base64":"//uQ","alignment":null}\n{"audio_base64":"","alignment":null}\n')
    answer(upstream, f"POST /v1/text-to-speech/{VOICE}{path}", body, kind,
           character_cost="17", request_id="el-1")
    answered = ask(gateway, "POST", SPEAK + path + "?output_format=mp3_44100_128",
                   {"text": TEXT, "model_id": "eleven_v3"})
    assert answered.body == body
    record = record_of(gateway, answered)
    assert record["usage"] == {"characters": 17} and record["usage_source"] == "provider"
    assert record["model"] == "eleven_v3" and record["provider_request_id"] == "el-1"
    assert record["price_status"] == "ok"
    assert Decimal(record["cost_usd"]) == Decimal(17) / 10000


@pytest.mark.parametrize("model, credits", [
    (None, len(TEXT)), ("eleven_flash_v2_5", (len(TEXT) + 1) // 2), ("eleven_v3", len(TEXT))])
def test_credits_that_no_head_says_are_estimated(gateway, upstream, model, credits):
    answer(upstream, f"POST /v1/text-to-speech/{VOICE}", SOUND, "audio/mpeg")
    record = record_of(gateway, ask(gateway, "POST", SPEAK, {
        "text": TEXT, **({"model_id": model} if model else {})}))
    assert record["usage"] == {"characters": credits}
    assert record["usage_source"] == "estimated" and record["price_status"] == "ok"
    assert Decimal(record["cost_usd"]) == Decimal(credits) / 10000


def test_a_count_that_is_none_is_not_believed(gateway, upstream):
    for text in ("-5", "1e3", "12.5", "99999999999999999999"):
        answer(upstream, f"POST /v1/text-to-speech/{VOICE}", SOUND, "audio/mpeg",
               character_cost=text)
        record = record_of(gateway, ask(gateway, "POST", SPEAK, {"text": TEXT}))
        assert record["usage"] == {"characters": len(TEXT)}, text
        assert record["usage_source"] == "estimated"


def test_a_sound_effect_is_charged_by_the_piece(gateway, upstream):
    answer(upstream, "POST /v1/sound-generation", SOUND, "audio/mpeg",
           character_cost="100")
    record = record_of(gateway, ask(gateway, "POST", "/elevenlabs/v1/sound-generation",
                                    {"text": "a door", "duration_seconds": 5}))
    assert record["usage"] == {"characters": 100} and record["price_status"] == "ok"
    assert Decimal(record["cost_usd"]) == Decimal("0.12")


def test_a_dialogue_is_reserved_and_counted(gateway, upstream):
    answer(upstream, "POST /v1/text-to-dialogue", SOUND, "audio/mpeg",
           character_cost="11")
    record = record_of(gateway, ask(gateway, "POST", "/elevenlabs/v1/text-to-dialogue", {
        "inputs": [{"text": "hello", "voice_id": VOICE}, {"text": "there", "voice_id": VOICE}]}))
    assert record["model"] == "eleven_v3" and record["usage"] == {"characters": 11}


def test_music_is_charged_by_what_was_asked_for(gateway, upstream):
    answer(upstream, "POST /v1/music", SOUND, "audio/mpeg", character_cost="900")
    path = "/elevenlabs/v1/music"
    record = record_of(gateway, ask(gateway, "POST", path, {
        "prompt": "a march", "music_length_ms": 30000}))
    assert record["usage"] == {"audio_seconds": 30} and record["usage_source"] == "estimated"
    assert Decimal(record["cost_usd"]) == Decimal("0.15")
    unknown = record_of(gateway, ask(gateway, "POST", path, {"prompt": "a march"}))
    assert unknown["usage_source"] == "none" and unknown["cost_usd"] is None


def test_what_nobody_tells_is_no_zero_to_a_budget(gateways, settings, upstream):
    """Music as long as it may be, sound from elsewhere whose length is missing; no errors."""
    gateway = gateways(settings(limits=DAY))
    answer(upstream, "POST /v1/music", SOUND, "audio/mpeg")
    answer(upstream, "POST /v1/listen", {"metadata": {}, "results": {}})
    for path, body in (("/elevenlabs/v1/music", {"prompt": "a march"}),
                       (LISTEN, {"url": "https://a.test/x.wav"})):
        assert record_of(gateway, ask(gateway, "POST", path, body))["cost_usd"] is None
    held = 10 * Decimal("0.3") + 60 * MINUTE["nova-3"]
    assert spent(gateway) == (0, held)
    del upstream.answers["POST /v1/listen"]
    assert ask(gateway, "POST", LISTEN, {"url": "https://a.test/x.wav"}).status == 404
    assert spent(gateway) == (0, held)


def test_deepgrams_speech(gateway, upstream):
    answer(upstream, "POST /v1/speak", SOUND, "audio/mpeg", dg_char_count="1000",
           dg_request_id="dg-7", dg_model_name="aura-2-thalia-en")
    record = record_of(gateway, ask(gateway, "POST", "/deepgram/v1/speak?model=aura-2-thalia-en",
                                    {"text": TEXT}))
    assert record["usage"] == {"characters": 1000} and record["usage_source"] == "provider"
    assert record["provider_request_id"] == "dg-7" and record["model"] == "aura-2-thalia-en"
    assert Decimal(record["cost_usd"]) == Decimal("0.03")
    default = record_of(gateway, ask(gateway, "POST", "/deepgram/v1/speak", {"text": TEXT}))
    assert default["model"] == "aura-asteria-en"
    assert Decimal(default["cost_usd"]) == Decimal("0.015")


# ---- Deepgram listens ----------------------------------------------------------------------------

@pytest.mark.parametrize("query, channels, rate", [
    ("", 1, "nova-3"), ("&language=multi", 1, "multilingual"),
    ("&multichannel=true", 2, "nova-3")])
def test_seconds_of_each_channel(gateway, upstream, query, channels, rate):
    answer(upstream, "POST /v1/listen", heard(90.5, channels))
    for body, kind in ((forms.wav(3), "audio/wav"), (SOUND, "application/octet-stream"),
                       ({"url": "https://a.test/x.wav"}, "application/json")):
        record = record_of(gateway, ask(gateway, "POST", LISTEN + query, body, kind=kind))
        assert record["usage"] == {"audio_seconds": 90.5 * channels}
        assert record["usage_source"] == "provider" and record["price_status"] == "ok"
        assert record["model"] == "nova-3"
        assert abs(Decimal(record["cost_usd"])
                   - MINUTE[rate] * Decimal("90.5") * channels / 60) < Decimal("1e-17")
    assert [where for where, _ in upstream.asked] == [
        f"POST /v1/listen?model=nova-3{query}"] * 3


def test_one_path_has_the_models_of_its_query(gateway, upstream):
    """Routes of paths are remembered: what stands behind the path must not be."""
    answer(upstream, "POST /v1/listen", heard(60))
    models = ["nova-3", "nova-2", "nova-3", "nova-3-general"]
    assert [record_of(gateway, ask(gateway, "POST", f"/deepgram/v1/listen?model={model}", SOUND,
                                   kind="audio/mpeg"))["model"] for model in models] == models


@pytest.mark.parametrize("query", [
    "model=nova-3&model=nova-2", "model=nova-3&mod%65l=nova-2", "model=%zz", "mode+l=x&model=nova-3"])
def test_a_query_that_reads_two_ways_is_refused(gateway, upstream, query):
    refused = ask(gateway, "POST", f"/deepgram/v1/listen?{query}", SOUND, kind="audio/mpeg")
    assert refused.status == 400 and upstream.asked == []


@pytest.mark.parametrize("query, metadata", [
    ("&diarize=true", {}), ("&keyterm=tollgate", {}), ("&redact=pii", {}), ("&detect_entities=true", {}),
    ("", {"diarize_info": {"model_uuid": "x"}}),
    ("", {"summary_info": {"input_tokens": 90, "output_tokens": 9}})])
def test_what_costs_extra_makes_the_price_partial(gateway, upstream, query, metadata):
    answer(upstream, "POST /v1/listen", heard(60, **metadata))
    record = record_of(gateway, ask(gateway, "POST", LISTEN + query, SOUND, kind="audio/mpeg"))
    assert record["price_status"] == "partial"
    assert Decimal(record["cost_usd"]) == MINUTE["nova-3"]
    assert record["usage"]["audio_seconds"] == 60
    if "summary_info" in metadata:
        assert (record["usage"]["input_tokens"], record["usage"]["output_tokens"]) == (90, 9)


def test_a_transcript_that_goes_elsewhere_is_unknown(gateways, settings, upstream):
    gateway = gateways(settings(limits=DAY))
    answer(upstream, "POST /v1/listen", {"request_id": "dg-2"})
    record = record_of(gateway, ask(gateway, "POST", LISTEN + "&callback=https://a.test/",
                                    forms.wav(120), kind="audio/wav"))
    assert record["usage_source"] == "none" and record["cost_usd"] is None
    assert spent(gateway) == (0, 2 * MINUTE["nova-3"])  # held, as nobody may ever tell


@pytest.mark.parametrize("body, kind, seconds", [
    (forms.wav(120), "audio/wav", 120), ({"url": "https://a.test/x.wav"}, "application/json", 3600)])
def test_the_worst_case_of_sound(gateways, settings, upstream, body, kind, seconds):
    """By the head of the file; of sound that comes from elsewhere, an hour."""
    price = MINUTE["nova-3"] * seconds / 60
    limits = [{"name": "day", "unit": "usd", "limit": str(price), "window": "day"}]
    gateway = gateways(settings(limits=limits))
    answer(upstream, "POST /v1/listen", heard(6))
    fits = ask(gateway, "POST", LISTEN, body, kind=kind)
    assert fits.status == 200
    record_of(gateway, fits)
    refused = ask(gateway, "POST", LISTEN, body, kind=kind)
    assert refused.status == 402 and json.loads(refused.body)["err_code"] == "budget_exhausted"
    assert len(upstream.asked) == 1


def test_limits_of_tokens_do_not_hold_sound_up(gateways, settings, upstream):
    gateway = gateways(settings(limits=[
        {"name": "few", "unit": "tokens", "limit": 5, "window": "day"}]))
    answer(upstream, "POST /v1/listen", heard(6))
    answer(upstream, "POST /v1/speak", SOUND, "audio/mpeg", dg_char_count="900")
    assert ask(gateway, "POST", LISTEN, {"url": "https://a.test/x.wav"}).status == 200
    assert ask(gateway, "POST", "/deepgram/v1/speak", {"text": "word " * 180}).status == 200


# ---- ElevenLabs listens ------------------------------------------------------------------------

def scribe(gateway, *fields):
    return record_of(gateway, ask(
        gateway, "POST", "/elevenlabs/v1/speech-to-text",
        forms.form(forms.field("model_id", "scribe_v2"), *fields), kind=forms.KIND))


WORDS = {"language_code": "eng", "text": "hello", "words": [{"text": "hello", "type": "word"}],
         "transcription_id": "tr_1", "audio_duration_secs": 36}
SCRIBED = "POST /v1/speech-to-text"


def test_transcripts_of_scribe(gateway, upstream):
    file = forms.file("file", forms.wav(40))
    answer(upstream, SCRIBED, WORDS)
    told = scribe(gateway, file)
    assert told["usage"] == {"audio_seconds": 36} and told["usage_source"] == "provider"
    assert told["model"] == "scribe_v2" and Decimal(told["cost_usd"]) == Decimal("0.0022")
    answer(upstream, SCRIBED, {**WORDS, "audio_duration_secs": None,
                                         "transcription_id": None})
    silent = scribe(gateway, file)
    assert silent["usage"] == {"audio_seconds": 40} and silent["usage_source"] == "estimated"
    answer(upstream, SCRIBED, {"transcripts": [WORDS, WORDS], "transcription_id": "tr_2",
                                         "audio_duration_secs": 36})
    assert scribe(gateway, file, forms.field("use_multi_channel", "true"))["usage"] == {
        "audio_seconds": 72}
    answer(upstream, SCRIBED, {**WORDS, "transcription_id": "tr_3", "words": [
        {"text": "a", "channel_index": 0}, {"text": "b", "channel_index": 2}]})
    assert scribe(gateway, file)["usage"] == {"audio_seconds": 108}
    answer(upstream, SCRIBED, {**WORDS, "transcription_id": "tr_4"})
    assert scribe(gateway, file, forms.field("keyterms", "tollgate"))["price_status"] == "partial"


def test_a_transcript_of_scribe_counts_once(gateway, upstream):
    """Whether its answer told it, or the request that fetches it."""
    answer(upstream, SCRIBED, WORDS)
    assert scribe(gateway, forms.file("file", forms.wav(40)))["usage_source"] == "provider"
    answer(upstream, SCRIBED, {"message": "Request accepted", "transcription_id": "tr_9"})
    begun = scribe(gateway, forms.field("source_url", "https://a.test/x"),
                   forms.field("webhook", "true"))
    assert begun["usage_source"] == "none" and begun["cost_usd"] is None
    for name, expected in (("tr_1", ["none"] * 2), ("tr_9", ["provider", "none"])):
        path = f"/v1/speech-to-text/transcripts/{name}"
        answer(upstream, f"GET {path}", {**WORDS, "transcription_id": name})
        assert [record_of(gateway, ask(gateway, "GET", "/elevenlabs" + path))["usage_source"]
                for _ in expected] == expected


# ---- AssemblyAI --------------------------------------------------------------------------------

def transcript(status, name="t-1", **more):
    return {"id": name, "status": status, "audio_url": "https://a.test/x.wav",
            "audio_duration": 120 if status == "completed" else None, "error": None,
            "speech_models": ["universal-3-pro", "universal-2"], "speaker_labels": False,
            "speech_model_used": "universal-2" if status == "completed" else None, **more}


def begin(gateway, provider, url="https://a.test/x.wav", name="t-1", **more):
    answer(provider, "POST /v2/transcript", transcript("queued", name))
    record = record_of(gateway, ask(gateway, "POST", "/assemblyai/v2/transcript", {
        "audio_url": url, "speech_models": ["universal-3-pro", "universal-2"], **more}))
    assert record["usage_source"] == "none" and record["cost_usd"] is None
    assert record["model"] == "universal-3-pro"


def poll(gateway, provider, status, name="t-1", **more):
    path = f"/v2/transcript/{name}"
    answer(provider, f"GET {path}", transcript(status, name, **more))
    return record_of(gateway, ask(gateway, "GET", "/assemblyai" + path))


@pytest.mark.parametrize("engine", ["memory", "redis"])
def test_a_transcript_counts_once_however_often_it_is_polled(gateways, settings, request, engine,
                                                             upstream):
    redis = request.getfixturevalue("redis") if engine == "redis" else None
    nodes = [gateways(settings(redis=redis, limits=DAY), name=name, node=name)
             for name in (("east", "west") if redis else ("east",))]
    east, west = nodes[0], nodes[-1]
    begin(east, upstream)
    assert spent(east) == (0, Decimal("0.21"))    # an hour, until somebody tells
    assert poll(west, upstream, "processing")["cost_usd"] == "0"
    done = [poll(node, upstream, "completed") for node in (west, east, west, east)]
    assert [record["usage_source"] for record in done] == ["provider"] + ["none"] * 3
    assert done[0]["usage"] == {"audio_seconds": 120} and done[0]["model"] == "universal-2"
    assert Decimal(done[0]["cost_usd"]) == Decimal("0.005") and done[0]["price_status"] == "ok"
    east.stop()
    east.start()
    assert poll(east, upstream, "completed")["cost_usd"] == "0"
    assert spent(east) == (Decimal("0.005"), 0)


def test_a_transcript_that_failed_is_given_back(gateways, settings, upstream):
    gateway = gateways(settings(limits=DAY))
    begin(gateway, upstream)
    assert spent(gateway)[1] > 0
    failed = poll(gateway, upstream, "error", error="no speech")
    assert failed["usage_source"] == "none" and spent(gateway) == (0, 0)


def test_sound_that_was_uploaded_here_is_reserved_by_its_length(gateways, settings,
                                                               upstream):
    gateway = gateways(settings(limits=DAY))
    url = "https://cdn.assemblyai.com/upload/6f5b3c"
    answer(upstream, "POST /v2/upload", {"upload_url": url})
    sound = forms.wav(600)
    sent = ask(gateway, "POST", "/assemblyai/v2/upload", sound, kind="application/octet-stream")
    assert sent.status == 200 and record_of(gateway, sent)["cost_usd"] == "0"
    gateway.stop()
    gateway.start()
    begin(gateway, upstream, url)
    assert spent(gateway) == (0, Decimal("0.035"))   # ten minutes at 0.21 an hour
    # what is called so elsewhere is not that file: an hour
    for name, other in (("t-2", "https://a.test/6f5b3c"), ("t-3", "https://a.test/x?" + url)):
        before = spent(gateway)[1]
        begin(gateway, upstream, other, name)
        assert spent(gateway)[1] - before == Decimal("0.21")


def test_sound_is_counted_whatever_its_file_is_called(gateway, upstream):
    """Where only the request tells how long it was."""
    path = f"/v1/voice-changer/{VOICE}"
    answer(upstream, f"POST {path}", SOUND, "audio/mpeg")
    for name in ("", 'a\\"b.wav', "a;b.wav"):
        part = forms.file("audio", forms.wav(60), filename=name)
        record = record_of(gateway, ask(gateway, "POST", "/elevenlabs" + path,
                                        forms.form(part), kind=forms.KIND))
        assert record["usage"] == {"audio_seconds": 60}, name
        assert Decimal(record["cost_usd"]) == Decimal("0.12")


def test_what_a_transcript_did_beside_makes_its_price_partial(gateway, upstream):
    begin(gateway, upstream, speaker_labels=True)
    assert poll(gateway, upstream, "completed",
                speaker_labels=True)["price_status"] == "partial"


def test_all_models_that_a_transcript_names_must_be_allowed(gateways, settings,
                                                           upstream):
    config = settings()
    config["keys"][0]["models"] = ["universal-3-pro"]
    refused = ask(gateways(config), "POST", "/assemblyai/v2/transcript", {
        "audio_url": "https://a.test/x.wav", "speech_models": ["universal-3-pro", "universal-2"]})
    assert refused.status == 403 and b"universal-2" in refused.body
    assert upstream.asked == []


@pytest.mark.parametrize("body", [
    b'{"text": "x", "model_id": "eleven\\u005fv3"}',
    b'{"text": "x", "model_id": "eleven_v3", "model_id": "eleven_multilingual_v2"}'])
def test_a_model_that_is_not_spelled_plainly_is_refused(gateways, settings, upstream,
                                                        body):
    """It would count as the endpoint's own, which this key may use, and be another."""
    config = settings()
    config["keys"][0]["models"] = ["eleven_multilingual_v2"]
    gateway = gateways(config)
    assert ask(gateway, "POST", SPEAK, body).status == 400
    assert ask(gateway, "POST", SPEAK, {"text": "x", "model_id": "eleven_v3"}).status == 403
    assert upstream.asked == []


# ---- their SDKs --------------------------------------------------------------------------------

def last(gateway, count=1):
    return gateway.records(count)[-1]


class TestElevenLabs:
    @pytest.fixture
    def client(self, gateway):
        elevenlabs = pytest.importorskip("elevenlabs")
        return lambda key=calls.KEY: elevenlabs.ElevenLabs(
            api_key=key, base_url=gateway.url + "/elevenlabs")

    def test_speech(self, client, gateway, upstream):
        answer(upstream, f"POST /v1/text-to-speech/{VOICE}", SOUND, "audio/mpeg",
               character_cost="3")
        sound = b"".join(client().text_to_speech.convert(
            VOICE, text="hello", model_id="eleven_flash_v2_5"))
        assert sound == SOUND
        record = last(gateway)
        assert record["usage"] == {"characters": 3} and record["stream"] is False
        assert Decimal(record["cost_usd"]) == Decimal("0.0003")

    def test_transcript(self, client, gateway, upstream):
        answer(upstream, SCRIBED, WORDS)
        text = client().speech_to_text.convert(model_id="scribe_v1", file=forms.wav(1))
        assert text.text == "hello"
        assert last(gateway)["usage"] == {"audio_seconds": 36}

    def test_refusal(self, client):
        from elevenlabs.core.api_error import ApiError
        with pytest.raises(ApiError) as error:
            client("tg_small_key_of_one_model").text_to_speech.convert(
                VOICE, text="hello", model_id="eleven_v3").__next__()
        assert error.value.status_code == 403
        assert "eleven_v3" in error.value.body["detail"]["message"]


class TestDeepgram:
    @pytest.fixture
    def client(self, gateway):
        deepgram = pytest.importorskip("deepgram")
        from deepgram.environment import DeepgramClientEnvironment
        base = gateway.url + "/deepgram"
        where = DeepgramClientEnvironment(base=base, production=base, agent=base, agent_rest=base)
        return lambda key=calls.KEY: deepgram.DeepgramClient(api_key=key, environment=where)

    def test_transcripts(self, client, gateway, upstream):
        answer(upstream, "POST /v1/listen", {**heard(30), "metadata": {
            **heard(30)["metadata"], "sha256": "0", "created": "2026-11-22T00:00:00Z"}})
        media = client().listen.v1.media
        assert media.transcribe_file(request=forms.wav(1), model="nova-3",
                                     smart_format=True).metadata.duration == 30
        assert media.transcribe_url(url="https://a.test/x.wav", model="nova-3",
                                    language="multi").metadata.duration == 30
        records = gateway.records(2)
        assert [r["usage"] for r in records] == [{"audio_seconds": 30}] * 2
        assert sorted(Decimal(r["cost_usd"]) for r in records) == [
            MINUTE["nova-3"] / 2, MINUTE["multilingual"] / 2]

    def test_speech(self, client, gateway, upstream):
        answer(upstream, "POST /v1/speak", SOUND, "audio/mpeg", dg_char_count="5")
        assert b"".join(client().speak.v1.audio.generate(
            text="hello", model="aura-2-thalia-en")) == SOUND
        assert last(gateway)["usage"] == {"characters": 5}

    def test_refusal(self, client):
        from deepgram.core.api_error import ApiError
        with pytest.raises(ApiError) as error:
            client("tg_small_key_of_one_model").listen.v1.media.transcribe_file(
                request=SOUND, model="nova-3")
        assert error.value.status_code == 403


class TestAssemblyAI:
    @pytest.fixture
    def library(self, gateway):
        library = pytest.importorskip("assemblyai")
        library.settings.api_key = calls.KEY
        library.settings.base_url = gateway.url + "/assemblyai"
        library.settings.polling_interval = 0.1
        return library

    def test_transcribe(self, library, gateway, upstream, tmp_path):
        file = tmp_path / "x.wav"
        file.write_bytes(forms.wav(60))
        answer(upstream, "POST /v2/upload",
               {"upload_url": "https://cdn.assemblyai.com/upload/77"})
        answer(upstream, "POST /v2/transcript", transcript("queued"))
        answer(upstream, "GET /v2/transcript/t-1", transcript("completed", text="hello"))
        done = library.Transcriber().transcribe(str(file), library.TranscriptionConfig(
            speech_models=["universal-2"]))
        assert done.text == "hello" and done.audio_duration == 120
        records = gateway.records(3)
        assert [r["endpoint"] for r in records] == ["upload", "transcript", "transcript.fetched"]
        assert records[-1]["usage"] == {"audio_seconds": 120}
        assert Decimal(records[-1]["cost_usd"]) == Decimal("0.005")

    def test_refusal(self, library):
        library.settings.api_key = "tg_small_key_of_one_model"
        with pytest.raises(library.types.TranscriptError) as error:
            library.Transcriber().submit("https://a.test/x.wav", library.TranscriptionConfig(
                speech_models=["universal-2"]))
        assert "universal-2" in str(error.value)
