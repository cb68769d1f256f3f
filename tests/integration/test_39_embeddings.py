"""Voyage and Jina: embeddings of text, of chunks with their context and of images, rankings and
classes, by the fields in which each tells what it took."""

import json
from decimal import Decimal

import pytest

from kit.procs import Provider
from test_39_voices import answer, ask
from test_51_other_measures import record_of

LIST = {"object": "list", "data": [{"object": "embedding", "embedding": [0.1], "index": 0}]}


@pytest.fixture
def settings(gateways, certs, upstream):
    def make(**changes):
        config = gateways.config(**changes)
        config["upstreams"] = [
            {"name": name, "protocol": "openai", "provider": name, "base_url": upstream.url,
             "api_key": Provider.SECRET, "ca_file": certs.ca} for name in ("voyage", "jina")]
        return config
    return make


@pytest.fixture
def gateway(gateways, settings):
    return gateways(settings())


# upstream and path, request, what the answer has, usage of the record, dollars
CALLS = {
    "voyage text": (
        "/voyage/v1/embeddings", {"model": "voyage-3.5", "input": ["a", "b"]},
        {**LIST, "model": "voyage-3.5", "usage": {"total_tokens": 1000}},
        {"input_tokens": 1000}, "0.00006"),
    "voyage chunks": (
        "/voyage/v1/contextualizedembeddings", {"model": "voyage-context-3", "inputs": [["a", "b"]]},
        {"object": "list", "data": [LIST], "model": "voyage-context-3",
         "usage": {"total_tokens": 1000}}, {"input_tokens": 1000}, "0.00018"),
    "voyage image": (   # text at 0.12 a million, pixels at 0.60 a billion
        "/voyage/v1/multimodalembeddings",
        {"model": "voyage-multimodal-3", "inputs": [{"content": [
            {"type": "text", "text": "a"},
            {"type": "image_base64", "image_base64": "data:image/png;base64,AAAA"}]}]},
        {**LIST, "model": "voyage-multimodal-3", "usage": {
            "text_tokens": 1000, "image_pixels": 560000, "total_tokens": 2000}},
        {"input_tokens": 2000, "input_image_tokens": 1000}, "0.000456"),
    "voyage ranking": (
        "/voyage/v1/rerank", {"model": "rerank-2.5", "query": "q", "documents": ["a", "b"]},
        {"object": "list", "data": [{"relevance_score": 0.4, "index": 0}], "model": "rerank-2.5",
         "usage": {"total_tokens": 1000}}, {"input_tokens": 1000}, "0.00005"),
    "jina text": (
        "/jina/v1/embeddings", {"model": "jina-embeddings-v2-base-en", "input": ["a"]},
        {**LIST, "model": "jina-embeddings-v2-base-en",
         "usage": {"total_tokens": 1000, "prompt_tokens": 1000}},
        {"input_tokens": 1000}, "0.00002"),
    "jina vectors": (
        "/jina/v1/multi-vector", {"model": "jina-colbert-v2", "input": ["a"]},
        {"object": "list", "data": [{"embeddings": [[0.1]]}], "model": "jina-colbert-v2",
         "usage": {"total_tokens": 1000}}, {"input_tokens": 1000}, "0.00002"),
    "jina ranking": (
        "/jina/v1/rerank", {"model": "jina-reranker-v2-base-multilingual", "query": "q",
                            "documents": ["a", "b"]},
        {"model": "jina-reranker-v2-base-multilingual", "usage": {"total_tokens": 1000},
         "results": [{"index": 0, "relevance_score": 0.2}]}, {"input_tokens": 1000}, "0.00002"),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_each_call_took(gateway, upstream, call):
    path, body, told, usage, cost = CALLS[call]
    answer(upstream, "POST /" + path.split("/", 2)[2], told)
    record = record_of(gateway, ask(gateway, "POST", path, body))
    assert record["usage"] == usage and record["usage_source"] == "provider"
    assert record["price_status"] == "ok" and Decimal(record["cost_usd"]) == Decimal(cost)


def test_classes_of_a_model_without_a_price(gateways, settings, upstream):
    gateway = gateways(settings())
    answer(upstream, "POST /v1/classify", {"usage": {"total_tokens": 196}, "data": []})
    record = record_of(gateway, ask(gateway, "POST", "/jina/v1/classify", {
        "model": "jina-embeddings-v3", "input": ["a"], "labels": ["b"]}))
    assert record["usage"] == {"input_tokens": 196} and record["cost_usd"] is None


@pytest.mark.parametrize("count, fits", [(4, True), (5, False)])
def test_images_are_reserved_by_what_they_may_cost(gateways, settings, upstream, count, fits):
    """Not by the bytes that they have in the body: at most 2 million pixels each, 0.0012 dollars."""
    gateway = gateways(settings(limits=[
        {"name": "day", "unit": "usd", "limit": "0.0050", "window": "day"}]))
    answer(upstream, "POST /v1/multimodalembeddings", CALLS["voyage image"][2])
    image = {"type": "image_base64", "image_base64": "data:image/png;base64," + "A" * 400000}
    asked = ask(gateway, "POST", "/voyage/v1/multimodalembeddings", {
        "model": "voyage-multimodal-3", "inputs": [{"content": [image] * count}]})
    assert (asked.status == 200) is fits, asked.body
    if not fits:
        assert json.loads(asked.body)["error"]["code"] == "budget_exhausted"
