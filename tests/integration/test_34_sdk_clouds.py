"""Azure, Vertex and Claude on clouds through the gateway, with the SDKs that people use there."""

import json
from decimal import Decimal

import pytest

from kit import calls, clouds, views
from kit.procs import Provider, run_cli, wait_for

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
genai = pytest.importorskip("google.genai")
pytest.importorskip("google.auth")
pytest.importorskip("boto3")

CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
CLAUDE_VERTEX = "claude-sonnet-4-5@20250929"
GEMINI = "gemini-2.5-flash"
PLACE = "/v1/projects/p/locations/us-central1"


@pytest.fixture
def config(gateways, certs, provider, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)

    def upstream(name, protocol, **more):
        return clouds.upstream(certs, provider, name, protocol, **more)
    return clouds.with_upstreams(
        gateways.config(),
        upstream("azure", "azure-openai",
                 deployments={"chat-prod": "gpt-4o", "small": "text-embedding-3-small",
                              "overflow": "gpt-4o-mini"}),
        upstream("azure-bearer", "azure-openai", key_header="authorization", provider="azure"),
        upstream("vertex", "vertex"), upstream("bedrock", "bedrock"))


@pytest.fixture
def gateway(gateways, config):
    return gateways(config)


def four_views(gateway, provider, book, model, stream, priced=None):
    record, = gateway.records(1)
    bill = views.bill_of(provider, record)
    assert bill["input_tokens"] == 9
    views.check_usage(record, bill)
    views.check_cost(record, book, priced or model, bill)
    assert record["usage_source"] == "provider" and record["stream"] == stream
    assert record["model_requested"] == model
    seen, = provider.requests()
    assert calls.KEY not in seen.head.decode()
    return record


# ---- Azure -------------------------------------------------------------------------------------

def azure(gateway, upstream="azure", key=calls.KEY):
    return openai.AzureOpenAI(azure_endpoint=f"{gateway.url}/{upstream}", api_key=key,
                              api_version="2024-10-21", max_retries=0)


def chat():
    return [{"role": "user", "content": calls.prompt(9)}]


def test_azure_deployment(gateway, provider):
    """The deployment's name says nothing: it is priced and limited as what is deployed."""
    answer = azure(gateway).chat.completions.create(model="chat-prod", messages=chat())
    assert answer.usage.prompt_tokens == 9
    record = four_views(gateway, provider, "azure", "chat-prod", False, "gpt-4o")
    assert record["protocol"] == "azure-openai" and record["endpoint"] == "chat.completions"
    seen, = provider.requests()
    assert seen.target == "/openai/deployments/chat-prod/chat/completions?api-version=2024-10-21"
    assert seen.header("api-key") == Provider.SECRET and seen.header("authorization") is None


def test_azure_stream(gateway, provider):
    chunks = list(azure(gateway).chat.completions.create(model="chat-prod", messages=chat(),
                                                         stream=True))
    assert all(chunk.usage is None for chunk in chunks)
    four_views(gateway, provider, "azure", "chat-prod", True, "gpt-4o")


def test_azure_spillover(gateway, provider):
    """What another deployment answered, the one that was asked for being full, has its price."""
    header = "x-ms-deployment-name: %s"
    azure(gateway).chat.completions.create(
        model="chat-prod", messages=chat(), extra_headers={"X-Sim-Header": header % "overflow"})
    four_views(gateway, provider, "azure", "chat-prod", False, "gpt-4o-mini")


def test_azure_bearer(gateway, provider):
    azure(gateway, "azure-bearer").chat.completions.create(model="gpt-4o", messages=chat())
    four_views(gateway, provider, "azure", "gpt-4o", False)
    seen, = provider.requests()
    assert seen.header("authorization") == f"Bearer {Provider.SECRET}"
    assert seen.header("api-key") is None


def test_azure_v1(gateway, provider):
    client = openai.OpenAI(base_url=gateway.url + "/azure/openai/v1", api_key=calls.KEY)
    client.chat.completions.create(model="chat-prod", messages=chat())
    four_views(gateway, provider, "azure", "chat-prod", False, "gpt-4o")
    assert provider.requests()[0].target == "/openai/v1/chat/completions"


def test_azure_responses_and_embeddings(gateway, provider):
    azure(gateway).responses.create(model="chat-prod", input=calls.prompt(9))
    azure(gateway).embeddings.create(model="small", input=calls.prompt(9))
    records = gateway.records(2)
    assert [r["endpoint"] for r in records] == ["responses", "embeddings"]
    assert [r["usage"]["input_tokens"] for r in records] == [9, 9]
    assert all(r["cost_usd"] and r["cost_usd"] != "0" for r in records)


def test_azure_models_of_a_key(gateways, config, provider):
    """A key's models may be named as deployed or as what they are."""
    keys = [{"name": name, "secret": f"tg_{name}_0123456789", "models": models}
            for name, models in (("real", ["gpt-4o"]), ("named", ["chat-*"]), ("other", ["o3"]))]
    gateway = gateways({**config, "keys": config["keys"] + keys})
    for name in ("real", "named"):
        azure(gateway, key=f"tg_{name}_0123456789").chat.completions.create(
            model="chat-prod", messages=chat())
    with pytest.raises(openai.PermissionDeniedError) as caught:
        azure(gateway, key="tg_other_0123456789").chat.completions.create(
            model="chat-prod", messages=chat())
    assert caught.value.code == "model_not_allowed" and len(provider.requests()) == 2


def test_azure_entra(gateways, config, certs, provider):
    server = clouds.TokenServer(certs, [Provider.SECRET])
    gateway = gateways(clouds.with_upstreams(config, clouds.upstream(
        certs, provider, "entra", "azure-openai", provider="azure",
        entra={"tenant_id": "tenant", "client_id": "app", "client_secret": "CANARYENTRA/1",
               "authority": server.url, "ca_file": certs.ca})))
    azure(gateway, "entra").chat.completions.create(model="gpt-4o", messages=chat())
    four_views(gateway, provider, "azure", "gpt-4o", False)
    assert provider.requests()[0].header("authorization") == f"Bearer {Provider.SECRET}"
    (path, form), = server.forms
    assert path == "/tenant/oauth2/v2.0/token" and form["client_secret"] == "CANARYENTRA/1"
    assert form["grant_type"] == "client_credentials" and form["client_id"] == "app"
    gateway.check_logs(["CANARYENTRA"])
    server.close()


# ---- Vertex ------------------------------------------------------------------------------------

def vertex(gateway, upstream="vertex"):
    from google.oauth2.credentials import Credentials
    return genai.Client(vertexai=True, project="p", location="us-central1",
                        credentials=Credentials(token=calls.KEY),
                        http_options=genai.types.HttpOptions(
                            base_url=f"{gateway.url}/{upstream}"))


def test_vertex(gateway, provider):
    client = vertex(gateway)
    answer = client.models.generate_content(model=GEMINI, contents=calls.prompt(9))
    assert answer.usage_metadata.prompt_token_count == 9
    record = four_views(gateway, provider, "vertex", GEMINI, False)
    assert record["protocol"] == "vertex" and record["endpoint"] == "generateContent"
    seen, = provider.requests()
    assert seen.header("authorization") == f"Bearer {Provider.SECRET}"
    assert "/projects/p/locations/us-central1/publishers/google/models/" in seen.target


def test_vertex_stream(gateway, provider):
    client = vertex(gateway)
    text = "".join(chunk.text for chunk in client.models.generate_content_stream(
        model=GEMINI, contents=calls.prompt(9)))
    assert len(text.split(" ")) == 16
    four_views(gateway, provider, "vertex", GEMINI, True)


def test_vertex_openai(gateway, provider):
    client = openai.OpenAI(base_url=f"{gateway.url}/vertex{PLACE}/endpoints/openapi",
                           api_key=calls.KEY, max_retries=0)
    client.chat.completions.create(model="google/" + GEMINI, messages=chat())
    four_views(gateway, provider, "vertex", "google/" + GEMINI, False, GEMINI)
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="tg_no").chat.completions.create(model="m", messages=chat())


def test_vertex_budget(gateways, config, provider):
    gateway = gateways(config, limits=[{"name": "broke", "unit": "usd", "limit": "0.00",
                                        "window": "total"}])
    client = vertex(gateway)
    with pytest.raises(genai.errors.ClientError) as caught:
        client.models.generate_content(model=GEMINI, contents="x")
    assert caught.value.code == 402 and caught.value.status == "RESOURCE_EXHAUSTED"
    with pytest.raises(anthropic.APIStatusError) as caught:
        claude_vertex(gateway).messages.create(model=CLAUDE_VERTEX, max_tokens=8,
                                               messages=chat())
    assert caught.value.status_code == 402
    assert caught.value.body["error"]["type"] == "billing_error"
    assert provider.requests() == []


@pytest.fixture
def token_server(certs):
    made = []

    def make(tokens, **options):
        made.append(clouds.TokenServer(certs, tokens, **options))
        return made[-1]
    yield make
    for server in made:
        server.close()


def with_account(config, certs, provider, account):
    return clouds.with_upstreams(config, clouds.upstream(
        certs, provider, "account", "vertex", provider="vertex",
        google={"credentials": account.path, "ca_file": certs.ca}))


def test_vertex_service_account(gateways, config, certs, provider, token_server, tmp_path):
    """A signed statement becomes a token before the gateway is ready; the key stays here."""
    server = token_server([Provider.SECRET])
    account = clouds.ServiceAccount(tmp_path, server.url)
    gateway = gateways(with_account(config, certs, provider, account))
    client = vertex(gateway, "account")
    client.models.generate_content(model=GEMINI, contents=calls.prompt(9))
    four_views(gateway, provider, "vertex", GEMINI, False)
    (path, form), = server.forms
    claims = account.claims(form)
    assert path == "/token" and claims["iss"] == account.EMAIL
    assert claims["aud"] == server.url + "/token" and claims["exp"] - claims["iat"] == 3600
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    gateway.check_logs([account.private.splitlines()[5], form["assertion"]])


def test_tokens_are_renewed(gateways, config, certs, provider, token_server, tmp_path):
    """Before one expires there is another; what cannot be renewed is not sent."""
    server = token_server(["ya29.first", Provider.SECRET], life=5)
    account = clouds.ServiceAccount(tmp_path, server.url)
    gateway = gateways(with_account(config, certs, provider, account))
    client = vertex(gateway, "account")
    with pytest.raises(genai.errors.ClientError) as caught:   # the provider takes the second
        client.models.generate_content(model=GEMINI, contents="x")
    assert caught.value.code == 401
    wait_for("the second token", lambda: len(server.forms) >= 2, 20)
    assert server.when[1] - server.when[0] < 5

    def works():
        try:
            return client.models.generate_content(model=GEMINI, contents="x")
        except genai.errors.APIError:
            return None
    assert wait_for("an answer", works, 20)
    server.status = 400
    before = len(provider.requests())

    def refused():
        try:
            client.models.generate_content(model=GEMINI, contents="x")
        except genai.errors.ServerError as problem:
            return problem
        return None
    problem = wait_for("the token to expire", refused, 20, 0.3)
    assert problem.code == 502 and "no access token" in str(problem)
    assert len(provider.requests()) >= before
    assert "invalid_grant" in gateway.log() and Provider.SECRET not in gateway.log()


def test_tokens_stay_over_a_reload(gateways, config, certs, provider, token_server, tmp_path):
    server = token_server([Provider.SECRET])
    account = clouds.ServiceAccount(tmp_path, server.url)
    gateway = gateways(with_account(config, certs, provider, account))
    gateway.reload()
    wait_for("the reload", lambda: gateway.log().count("configuration in force") == 1)
    client = vertex(gateway, "account")
    wait_for("an answer", lambda: client.models.generate_content(model=GEMINI, contents="x"))
    assert len(server.forms) == 1
    clouds.ServiceAccount(tmp_path, server.url)   # another key in the same file
    gateway.reload()
    wait_for("the reload", lambda: gateway.log().count("configuration in force") == 2)
    assert len(server.forms) == 2
    assert client.models.generate_content(model=GEMINI, contents="x")


def test_a_bad_key_file_is_told(config, certs, provider, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"type": "service_account", "client_email": "a",
                                "private_key": "CANARYKEY"}))
    file = tmp_path / "tollgate.json"
    file.write_text(json.dumps(clouds.with_upstreams(config, clouds.upstream(
        certs, provider, "account", "vertex", provider="vertex",
        google={"credentials": str(path)}))))
    done = run_cli("check", "-c", str(file), cwd=str(tmp_path))
    told = done.stdout + done.stderr
    assert done.returncode == 2 and "bad.json" in told and "CANARYKEY" not in told


# ---- Claude on clouds --------------------------------------------------------------------------

def claude_vertex(gateway, region="global"):
    return anthropic.AnthropicVertex(region=region, project_id="p", access_token=calls.KEY,
                                     base_url=gateway.url + "/vertex/v1", max_retries=0)


def claude_bedrock(gateway, signs):
    key = {"aws_access_key": calls.KEY, "aws_secret_key": "anything"} if signs else \
        {"api_key": calls.KEY}
    return anthropic.AnthropicBedrock(aws_region="eu-west-1", base_url=gateway.url + "/bedrock",
                                      max_retries=0, **key)


def say(client, model, stream):
    if not stream:
        return client.messages.create(model=model, max_tokens=64, messages=chat()).usage
    with client.messages.stream(model=model, max_tokens=64, messages=chat()) as events:
        return events.get_final_message().usage


@pytest.mark.parametrize("stream", [False, True])
def test_claude_on_vertex(gateway, provider, stream):
    assert say(claude_vertex(gateway), CLAUDE_VERTEX, stream).output_tokens == 16
    record = four_views(gateway, provider, "vertex", CLAUDE_VERTEX, stream)
    assert record["endpoint"] == ("streamRawPredict" if stream else "rawPredict")


def test_the_region_of_the_path_has_a_price(gateway, provider):
    for region in ("global", "us-east5"):
        say(claude_vertex(gateway, region), CLAUDE_VERTEX, False)
    everywhere, there = (Decimal(r["cost_usd"]) for r in gateway.records(2))
    assert there == everywhere * Decimal("1.1")


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_claude_on_bedrock(gateway, provider, stream, signs):
    assert say(claude_bedrock(gateway, signs), CLAUDE, stream).output_tokens == 16
    four_views(gateway, provider, "bedrock", CLAUDE, stream)
    assert provider.requests()[0].header("authorization") == f"Bearer {Provider.SECRET}"


def test_claude_counts_for_free(gateway, provider):
    assert claude_vertex(gateway).messages.count_tokens(
        model=CLAUDE_VERTEX, messages=chat()).input_tokens == 9
    record, = gateway.records(1)
    assert record["cost_usd"] == "0" and provider.billed() == []
