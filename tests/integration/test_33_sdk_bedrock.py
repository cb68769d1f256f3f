"""AWS's own SDK through the gateway: bearer and signed, towards an AWS that checks signatures."""

import json

import pytest

from kit import calls, clouds, views
from kit.procs import Provider, wait_for

boto3 = pytest.importorskip("boto3")
urllib3 = pytest.importorskip("urllib3")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError, EventStreamError  # noqa: E402

CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
OTHER = "cohere.command-r-v1:0"
ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"


@pytest.fixture
def config(gateways, certs, provider):
    def upstream(name, **more):
        return clouds.upstream(certs, provider, name, "bedrock",
                               deployments={ARN: CLAUDE}, **more)
    return clouds.with_upstreams(
        gateways.config(), upstream("bedrock"),
        upstream("signed", aws=clouds.aws(), provider="bedrock"),
        upstream("temporary", aws=clouds.aws("FwoGZXIvYXdzEXAMPLE//token=="),
                 provider="bedrock"))


@pytest.fixture
def gateway(gateways, config):
    return gateways(config)


@pytest.fixture
def connect(certs, monkeypatch):
    """A client of the runtime, which shows a virtual key as bearer or as the id that it signs
    with; sim: headers for the provider."""
    def make(gateway, upstream="bedrock", key=calls.KEY, signs=False, sim=None, attempts=1):
        monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
        own = {"aws_access_key_id": key, "aws_secret_access_key": "anything"}
        if not signs:
            monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
            own = {}
        client = boto3.client(
            "bedrock-runtime", endpoint_url=f"{gateway.url}/{upstream}", verify=certs.ca,
            region_name="eu-west-1", config=Config(
                retries={"total_max_attempts": attempts, "mode": "standard"}, read_timeout=20),
            **own)
        headers = {"X-Sim-" + k.replace("_", "-"): str(v) for k, v in (sim or {}).items()}
        client.meta.events.register(
            "before-sign.bedrock-runtime",
            lambda request, **_: [request.headers.add_header(*h) for h in headers.items()])
        return client
    return make


def messages(words=9):
    return [{"role": "user", "content": [{"text": calls.prompt(words)}]}]


def claude_body(words=9, **more):
    return json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64, "messages": [
        {"role": "user", "content": [{"type": "text", "text": calls.prompt(words)}]}], **more})


def four_views(gateway, provider, endpoint, stream, model=CLAUDE):
    record, = gateway.records(1)
    bill = views.bill_of(provider, record)
    assert bill["input_tokens"] == 9
    views.check_usage(record, bill)
    views.check_cost(record, "bedrock", model, bill)
    assert record["outcome"] == "ok" and record["usage_source"] == "provider"
    assert record["protocol"] == "bedrock" and record["endpoint"] == endpoint
    assert record["stream"] == stream and record["provider_request_id"].startswith("amzn-sim-")
    return record


def check_credential(provider, upstream):
    seen, = provider.requests()
    sent = seen.header("authorization")
    assert calls.KEY not in seen.head.decode()
    if upstream == "bedrock":
        assert sent == f"Bearer {Provider.SECRET}" and seen.header("x-amz-date") is None
    else:
        assert sent.startswith(f"AWS4-HMAC-SHA256 Credential={Provider.AWS[0]}/")
        assert (seen.header("x-amz-security-token") is not None) == (upstream == "temporary")


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("upstream", ["bedrock", "signed", "temporary"])
def test_converse(connect, gateway, provider, upstream, signs):
    answer = connect(gateway, upstream, signs=signs).converse(modelId=CLAUDE,
                                                              messages=messages())
    assert answer["usage"]["inputTokens"] == 9 and answer["stopReason"] == "end_turn"
    record = four_views(gateway, provider, "converse", False)
    assert record["model_requested"] == CLAUDE
    check_credential(provider, upstream)
    assert provider.requests()[0].target == "/model/" + CLAUDE.replace(":", "%3A") + "/converse"


@pytest.mark.parametrize("upstream", ["bedrock", "signed"])
def test_converse_stream(connect, gateway, provider, upstream):
    answer = connect(gateway, upstream, signs=upstream == "signed").converse_stream(
        modelId=CLAUDE, messages=messages())
    events = list(answer["stream"])
    text = "".join(e["contentBlockDelta"]["delta"]["text"] for e in events
                   if "contentBlockDelta" in e)
    assert len(text.split(" ")) == 16
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 16
    four_views(gateway, provider, "converse-stream", True)
    check_credential(provider, upstream)


def test_cache(connect, gateway, provider):
    answer = connect(gateway, sim={"Cached-Tokens": 3, "Cache-Write-5m": 2,
                                   "Cache-Write-1h": 1}).converse(modelId=CLAUDE,
                                                                  messages=messages())
    assert answer["usage"]["inputTokens"] == 3
    record = four_views(gateway, provider, "converse", False)
    assert record["usage"]["cache_write_1h_tokens"] == 1


def test_invoke_claude(connect, gateway, provider):
    answer = connect(gateway, "signed").invoke_model(modelId=CLAUDE, body=claude_body())
    assert json.loads(answer["body"].read())["usage"]["input_tokens"] == 9
    record = four_views(gateway, provider, "invoke", False)
    assert record["model"] == "claude-of-bedrock" and record["price_match"] == "exact"


def test_invoke_claude_stream(connect, gateway, provider):
    answer = connect(gateway, "signed").invoke_model_with_response_stream(modelId=CLAUDE,
                                                                          body=claude_body())
    events = [json.loads(e["chunk"]["bytes"]) for e in answer["body"]]
    assert events[-1]["type"] == "message_stop"
    four_views(gateway, provider, "invoke-with-response-stream", True)


@pytest.mark.parametrize("stream", [False, True])
def test_invoke_other(connect, gateway, provider, stream):
    """Counts in headers, or in the metrics of the last event, alone."""
    client = connect(gateway)
    body = json.dumps({"prompt": calls.prompt(9), "max_tokens": 64})
    if stream:
        answer = client.invoke_model_with_response_stream(modelId=OTHER, body=body)
        assert len(list(answer["body"])) == 16
    else:
        assert client.invoke_model(modelId=OTHER, body=body)["body"].read()
    four_views(gateway, provider, "invoke-with-response-stream" if stream else "invoke",
               stream, OTHER)


def test_arn(connect, gateway, provider):
    """What the ARN stands for is told by the configuration, and limited and priced as that."""
    connect(gateway, "signed", signs=True).converse(modelId=ARN, messages=messages())
    record = four_views(gateway, provider, "converse", False)
    assert record["model_requested"] == ARN and record["model"] == CLAUDE
    assert "%3A123456789012%3A" in provider.requests()[0].target


def test_count_tokens_is_free(connect, gateway, provider):
    answer = connect(gateway, "signed", signs=True).count_tokens(
        modelId=CLAUDE, input={"converse": {"messages": messages()}})
    assert answer["inputTokens"] == 9
    record, = gateway.records(1)
    assert record["cost_usd"] == "0" and provider.billed() == []


def test_budget_is_used_up(gateways, config, connect, provider):
    gateway = gateways(config, limits=[{"name": "broke", "unit": "usd", "limit": "0.00",
                                        "window": "total"}])
    with pytest.raises(ClientError) as caught:
        connect(gateway, attempts=3).converse(modelId=CLAUDE, messages=messages())
    error = caught.value.response
    assert error["Error"]["Code"] == "ServiceQuotaExceededException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert error["ResponseMetadata"]["RetryAttempts"] == 0
    assert "broke" in error["Error"]["Message"] and provider.requests() == []


def test_wrong_key(connect, gateway, provider):
    for signs in (False, True):
        with pytest.raises(ClientError) as caught:
            connect(gateway, key="tg_no", signs=signs).converse(modelId=CLAUDE,
                                                                messages=messages())
        assert caught.value.response["Error"]["Code"] == "UnrecognizedClientException"
    assert provider.requests() == []


@pytest.mark.parametrize("status,code", [(400, "ValidationException"),
                                         (429, "ThrottlingException"),
                                         (503, "ServiceUnavailableException")])
def test_provider_errors_pass(connect, gateway, status, code):
    with pytest.raises(ClientError) as caught:
        connect(gateway, sim={"Status": status}).converse(modelId=CLAUDE, messages=messages())
    assert caught.value.response["Error"]["Code"] == code
    record, = gateway.records(1)
    assert record["outcome"] == "provider_error" and record["cost_usd"] == "0"


def test_attempts_of_one_call(connect, gateway):
    with pytest.raises(ClientError):
        connect(gateway, sim={"Status": 503}, attempts=3).converse(modelId=CLAUDE,
                                                                   messages=messages())
    assert sorted(r["attempt"] for r in gateway.records(3)) == [1, 2, 3]


def test_exception_in_stream(connect, gateway):
    with pytest.raises(EventStreamError) as caught:
        list(connect(gateway, sim={"Stream-Error": 3}).converse_stream(
            modelId=CLAUDE, messages=messages())["stream"])
    assert caught.value.response["Error"]["Code"] == "internalServerException"
    record, = gateway.records(1)
    assert record["outcome"] == "provider_error"


@pytest.mark.parametrize("invoke", [False, True])
def test_cut_stream_ends_in_an_exception(connect, gateway, invoke):
    """The provider dies between two events: the gateway says so in a frame of its own."""
    client = connect(gateway, sim={"Cut-After-Events": 4})
    got = []
    with pytest.raises(EventStreamError) as caught:
        if invoke:
            stream = client.invoke_model_with_response_stream(modelId=CLAUDE,
                                                              body=claude_body())["body"]
        else:
            stream = client.converse_stream(modelId=CLAUDE, messages=messages())["stream"]
        for event in stream:
            got.append(event)
    assert len(got) == 4
    assert caught.value.response["Error"]["Code"] == "serviceUnavailableException"
    record, = gateway.records(1)
    assert record["outcome"] == "upstream_abort"
    assert record["usage_source"] == "partial" if invoke else "estimated"
    assert record["usage"]["input_tokens"] > 0


def test_cut_within_a_frame(connect, gateway):
    """Nothing can follow half a frame: the connection breaks, and the SDK does not take it
    for the end."""
    with pytest.raises(urllib3.exceptions.ProtocolError):
        list(connect(gateway, sim={"Cut-After-Bytes": 900}).converse_stream(
            modelId=CLAUDE, messages=messages())["stream"])
    record, = gateway.records(1)
    assert record["outcome"] == "upstream_abort"


def test_keys_rotate_on_reload(gateways, certs, provider, connect):
    name = "signed"
    old = clouds.upstream(certs, provider, name, "bedrock", aws=clouds.aws(secret="old secret"))
    gateway = gateways(clouds.with_upstreams(gateways.config(), old))
    client = connect(gateway, name, signs=True)
    with pytest.raises(ClientError) as caught:
        client.converse(modelId=CLAUDE, messages=messages())
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401
    gateway.config["upstreams"][-1]["aws"] = clouds.aws()
    gateway.write()
    gateway.reload()
    wait_for("the reload", lambda: "configuration in force" in gateway.log())

    def works():
        try:
            return client.converse(modelId=CLAUDE, messages=messages())
        except ClientError:
            return None
    assert wait_for("the new key", works)["usage"]["inputTokens"] == 9
