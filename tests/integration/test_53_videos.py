"""Videos: jobs that are charged by their seconds when they are done, once, whoever asks; their
worst case is reserved from the start."""

from decimal import Decimal

import pytest

from kit import calls, clouds, exact
from kit.config import BOOK
from kit.procs import wait_for
from test_51_other_measures import ask, http, record_of
from test_52_collected import BUDGET, day, settled

openai = pytest.importorskip("openai")
PRO, LARGE = "sora-2-pro", "1792x1024"
VEO = "veo-3.0-generate-001"


def dollars(provider, model, seconds, **details):
    cost = exact.Book.folder(BOOK).cost({"provider": provider, "model": model, "at": "2026-11-21",
                                         "usage": {"video_sec": str(seconds)}, **details})["cost"]
    return Decimal(cost.numerator) / Decimal(cost.denominator)


def video(status, name="video_1", seconds="8", model="sora-2", size="720x1280", **more):
    return http({"id": name, "object": "video", "model": model, "status": status,
                 "seconds": seconds, "size": size, **more})


def begin(gateway, body=None, name="video_1", **answer):
    body = {"model": "sora-2", "prompt": "a duck", "seconds": "8", **(body or {})}
    record = record_of(gateway, ask(gateway, "POST", "/openai/v1/videos", body,
                                    video("queued", name, **answer)))
    assert record["usage_source"] == "none" and record["cost_usd"] is None
    return record


def fetch(gateway, status="completed", name="video_1", **answer):
    return record_of(gateway, ask(gateway, "GET", f"/openai/v1/videos/{name}",
                                  raw=video(status, name, **answer)))


@pytest.fixture(params=["memory", "redis"])
def engine(request):
    return request.getfixturevalue("redis") if request.param == "redis" else None


def test_a_video_is_charged_once_when_it_is_done(gateways, engine):
    gateway = gateways(redis=engine, limits=BUDGET)
    price = dollars("openai", "sora-2", 8)
    begin(gateway)
    settled(gateway, Decimal(0), price, 1)
    early = fetch(gateway, "in_progress")
    assert early["cost_usd"] == "0"
    done = [fetch(gateway) for _ in range(2)]
    assert [r["usage_source"] for r in done] == ["provider", "none"]
    assert done[0]["usage"] == {"video_seconds": 8} and Decimal(done[0]["cost_usd"]) == price
    assert done[1]["cost_usd"] == "0"
    settled(gateway, price, Decimal(0), 4)
    begin(gateway, name="video_2")
    settled(gateway, price, price, 5)
    failed = fetch(gateway, "failed", "video_2", error={"code": "moderation_blocked"})
    assert failed["usage_source"] == "none"
    settled(gateway, price, Decimal(0), 6)
    gateway.stop()
    gateway.start()
    assert fetch(gateway)["cost_usd"] == "0"


def test_its_size_has_a_price(gateways):
    gateway = gateways(limits=BUDGET)
    large = dollars("openai", PRO, 4, size=LARGE)
    assert large > dollars("openai", PRO, 4)
    begin(gateway, {"model": PRO, "size": LARGE, "seconds": "4"}, model=PRO, size=LARGE,
          seconds="4")
    settled(gateway, Decimal(0), large, 1)
    record = fetch(gateway, model=PRO, size=LARGE, seconds="4")
    assert Decimal(record["cost_usd"]) == large and record["size"] == LARGE
    settled(gateway, large, Decimal(0), 2)


def test_one_that_says_no_length_reserves_the_longest(gateways):
    gateway = gateways(limits=BUDGET)
    begin(gateway, {"seconds": None}, seconds="4")
    settled(gateway, Decimal(0), dollars("openai", "sora-2", 12), 1)
    assert Decimal(fetch(gateway, seconds="4")["cost_usd"]) == dollars("openai", "sora-2", 4)


def test_a_budget_that_has_no_room_for_it(gateways, provider):
    gateway = gateways(limits=[{"name": "day", "unit": "usd", "limit": "0.7", "window": "day"}])
    answer = ask(gateway, "POST", "/openai/v1/videos",
                 {"model": "sora-2", "prompt": "a duck", "seconds": "8"})
    assert answer.status == 402 and provider.requests() == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_sdk_makes_one(gateways, provider, certs, monkeypatch):
    gateway = gateways(limits=BUDGET)
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    with openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key=calls.KEY) as client:
        job = client.videos.create(prompt="a duck", model=PRO, seconds="8", size=LARGE)
        price = dollars("openai", PRO, 8, size=LARGE)
        assert job.status == "queued"
        settled(gateway, Decimal(0), price, 1)
        done = wait_for("the video", lambda: (lambda v: v.status == "completed" and v)(
            client.videos.retrieve(job.id)))
    assert done.seconds == "8"
    spent = wait_for("its cost", lambda: day(gateway)[1] == 0 and day(gateway)[0])
    assert spent == price


def test_a_job_that_is_known_by_its_path_alone(gateways):
    """xAI: an id and no state at first, a length and no id at last."""
    gateway = gateways(limits=BUDGET)
    begun = record_of(gateway, ask(gateway, "POST", "/openai/v1/videos/generations",
                                   {"model": "sora-2", "prompt": "a duck", "duration": 6},
                                   http({"request_id": "job-1"})))
    assert begun["usage_source"] == "none"
    settled(gateway, Decimal(0), dollars("openai", "sora-2", 6), 1)
    path = "/openai/v1/videos/job-1"
    assert record_of(gateway, ask(gateway, "GET", path, raw=http({"status": "pending"})))[
        "cost_usd"] == "0"
    answer = http({"status": "done", "model": "sora-2", "video": {"url": "x", "duration": 6}})
    done = [record_of(gateway, ask(gateway, "GET", path, raw=answer)) for _ in range(2)]
    assert [r["usage_source"] for r in done] == ["provider", "none"]
    assert Decimal(done[0]["cost_usd"]) == dollars("openai", "sora-2", 6)
    settled(gateway, dollars("openai", "sora-2", 6), Decimal(0), 4)


def test_the_simulated_operation(gateways, provider):
    gateway = gateways(limits=BUDGET)
    begun = ask(gateway, "POST", f"/gemini/v1beta/models/{VEO}:predictLongRunning",
                {"instances": [{"prompt": "a duck"}], "parameters": {"durationSeconds": 6}},
                x_goog_api_key=calls.KEY)
    path = f"/gemini/v1beta/{begun.json()['name']}"
    wait_for("the video", lambda: ask(gateway, "GET", path, x_goog_api_key=calls.KEY)
             .json().get("done"))
    spent = wait_for("its cost", lambda: day(gateway)[1] == 0 and day(gateway)[0])
    assert spent == dollars("gemini", VEO, 6)


def test_the_sdk_of_google_makes_one(gateways, certs, provider, monkeypatch):
    """On Vertex, the only place where it does."""
    genai = pytest.importorskip("google.genai")
    from google.oauth2.credentials import Credentials
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    gateway = gateways(clouds.with_upstreams(
        gateways.config(limits=BUDGET), clouds.upstream(certs, provider, "vertex", "vertex")))
    client = genai.Client(
        vertexai=True, project="p", location="us-central1",
        credentials=Credentials(token=calls.KEY),
        http_options=genai.types.HttpOptions(base_url=gateway.url + "/vertex"))
    job = client.models.generate_videos(
        model=VEO, source=genai.types.GenerateVideosSource(prompt="a duck"),
        config=genai.types.GenerateVideosConfig(duration_seconds=6, number_of_videos=1))
    assert not job.done
    wait_for("the video", lambda: client.operations.get(job).done)
    spent = wait_for("its cost", lambda: day(gateway)[1] == 0 and day(gateway)[0])
    assert spent == dollars("vertex", VEO, 6)


def operation(done, samples=1, name=f"models/{VEO}/operations/op1", **more):
    said = {"name": name}
    if done:
        said |= {"done": True, "response": {"generateVideoResponse": {"generatedSamples": [
            {"video": {"uri": "x"}}] * samples}}, **more}
    return http(said)


def veo(gateway, path, raw, body=None, method="POST", upstream="gemini"):
    return record_of(gateway, ask(gateway, method, f"/{upstream}/{path}", body, raw,
                                  x_goog_api_key=calls.KEY))


def test_an_operation_of_google_tells_how_many_not_how_long(gateways):
    gateway = gateways(limits=BUDGET)
    price = dollars("gemini", VEO, 12)
    record = veo(gateway, f"v1beta/models/{VEO}:predictLongRunning", operation(False),
                 {"instances": [{"prompt": "a duck"}],
                  "parameters": {"durationSeconds": 6, "sampleCount": 2}})
    assert record["usage_source"] == "none"
    settled(gateway, Decimal(0), price, 1)
    path = f"v1beta/models/{VEO}/operations/op1"
    assert veo(gateway, path, operation(False), method="GET")["cost_usd"] == "0"
    gateway.stop()      # what was asked for is remembered
    gateway.start()
    done = [veo(gateway, path, operation(True, 2), method="GET") for _ in range(2)]
    assert [r["usage_source"] for r in done] == ["provider", "none"]
    assert done[0]["usage"] == {"video_seconds": 12} and Decimal(done[0]["cost_usd"]) == price
    settled(gateway, price, Decimal(0), 4)
    # One that began elsewhere is taken for the longest, and says so; one that made none is free.
    other = veo(gateway, path + "2", operation(True, name=f"models/{VEO}/operations/op12"),
                method="GET")
    assert other["usage"] == {"video_seconds": 12} and other["usage_source"] == "partial"
    none = veo(gateway, path + "3", operation(True, 0, name=f"models/{VEO}/operations/op13"),
               method="GET")
    assert none["cost_usd"] == "0" and none["usage_source"] == "none"


def test_vertex_asks_for_its_operations_by_post(gateways, certs, provider):
    config = clouds.with_upstreams(gateways.config(limits=BUDGET),
                                   clouds.upstream(certs, provider, "vertex", "vertex"))
    gateway = gateways(config)
    place = f"v1/projects/p/locations/us-central1/publishers/google/models/{VEO}"
    name = f"projects/p/locations/us-central1/publishers/google/models/{VEO}/operations/77"
    veo(gateway, place + ":predictLongRunning", operation(False, name=name),
        {"instances": [{"prompt": "a duck"}], "parameters": {"durationSeconds": 8}},
        upstream="vertex")
    price = dollars("vertex", VEO, 8)
    settled(gateway, Decimal(0), price, 1)
    answer = http({"name": name, "done": True, "response": {"videos": [{"gcsUri": "gs://x"}]}})
    done = veo(gateway, place + ":fetchPredictOperation", answer, {"operationName": name},
               upstream="vertex")
    assert done["usage"] == {"video_seconds": 8} and Decimal(done["cost_usd"]) == price
    settled(gateway, price, Decimal(0), 2)
