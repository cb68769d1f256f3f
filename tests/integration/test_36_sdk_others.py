"""Official SDKs of other providers, and what OpenAI's has beside chat, on recorded answers:
each reads what it would read from its provider, and raises its own errors."""

import io

import pytest

from kit import calls, forms
from kit.config import with_upstream


@pytest.fixture(autouse=True)
def certificates(certs, monkeypatch, corpus):
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)


@pytest.fixture
def gateway(gateways):
    config = gateways.config()
    for name, protocol in (("cohere", "cohere"), ("mistral", "mistral"), ("ollama", "ollama"),
                           ("groq", "openai")):
        config["upstreams"].append(dict(config["upstreams"][0], name=name, protocol=protocol))
    config["keys"][0]["models"] = ["*"]
    config["keys"].append({"name": "small", "secret": "tg_small_key_of_one_model",
                           "models": ["nothing-*"]})
    return gateways(with_upstream(config, "ollama", provider="openai"))


def sim(case):
    return {"X-Sim-Replay": case}


def last(gateway, count=1):
    record = gateway.records(count)[-1]
    assert record["usage_source"] == "provider", record
    return record


SMALL = "tg_small_key_of_one_model"
ASK = [{"role": "user", "content": "hello"}]


# ---- Cohere ----------------------------------------------------------------------------------

class TestCohere:
    CHAT = "cohere/v2-chat/plain/openllmetry--test_sequential_chain"
    STREAM = ("cohere/v2-chat/stream/"
              "openllmetry--test_cohere_v2_chat_legacy_with_tool_calls_and_streaming")
    EMBED = "cohere/v2-embed/plain/ruby_llm--embedding_basic_functionality_cohere_embed-v4_0_can_handle_a"
    RERANK = "cohere/v2-rerank/plain/openllmetry--test_cohere_v2_rerank_legacy"

    @pytest.fixture
    def client(self, gateway):
        cohere = pytest.importorskip("cohere")
        return lambda key=calls.KEY: cohere.ClientV2(api_key=key,
                                                     base_url=gateway.url + "/cohere")

    def test_chat(self, client, gateway):
        answer = client().chat(model="command-r-08-2024", messages=ASK,
                               request_options={"additional_headers": sim(self.CHAT)})
        assert answer.usage.billed_units.input_tokens == 377
        record = last(gateway)
        assert record["usage"]["input_tokens"] == 377 and record["usage"]["output_tokens"] == 90
        assert record["endpoint"] == "chat" and float(record["cost_usd"]) > 0

    def test_stream(self, client, gateway):
        events = list(client().chat_stream(
            model="command-r", messages=ASK,
            request_options={"additional_headers": sim(self.STREAM)}))
        assert events[-1].type == "message-end"
        record = last(gateway)
        assert record["stream"] and record["usage"]["output_tokens"] == 28

    def test_embed_and_rerank(self, client, gateway):
        client().embed(model="embed-v4.0", texts=["x"], input_type="search_document",
                       embedding_types=["float"],
                       request_options={"additional_headers": sim(self.EMBED)})
        assert last(gateway)["usage"]["input_tokens"] == 7
        client().rerank(model="rerank-english-v3.0", query="x", documents=["a", "b"],
                        request_options={"additional_headers": sim(self.RERANK)})
        assert last(gateway, 2)["usage"] == {"search_units": 1}

    def test_refusal(self, client, gateway):
        cohere = pytest.importorskip("cohere")
        with pytest.raises(cohere.errors.UnauthorizedError):
            client("nobody").chat(model="command-r", messages=ASK)
        with pytest.raises(cohere.errors.ForbiddenError) as error:
            client(SMALL).chat(model="command-r", messages=ASK)
        assert "command-r" in error.value.body["message"]


# ---- Mistral ---------------------------------------------------------------------------------

class TestMistral:
    @pytest.fixture
    def client(self, gateway):
        mistralai = pytest.importorskip("mistralai")
        maker = getattr(mistralai, "Mistral", None)
        if maker is None:
            from mistralai.client import Mistral as maker
        return lambda key=calls.KEY: maker(api_key=key, server_url=gateway.url + "/mistral")

    @staticmethod
    def case(corpus, kind, endpoint="chat-completions"):
        return next(c for c in corpus if c.provider == "mistral" and c.endpoint == endpoint
                    and c.kind == kind and c.meta["status"] == 200
                    and c.meta["provenance"] == "recorded-exchange"
                    and not c.expected.get("anomalies") and c.expected["output_total"])

    def test_chat(self, client, gateway, corpus):
        case = self.case(corpus, "plain")
        answer = client().chat.complete(model="mistral-small-latest", messages=ASK,
                                        http_headers=sim(case.id))
        assert answer.usage.completion_tokens == case.expected["output_total"]
        assert last(gateway)["usage"]["output_tokens"] == case.expected["output_total"]

    def test_stream(self, client, gateway, corpus):
        case = self.case(corpus, "stream")
        events = list(client().chat.stream(model="mistral-small-latest", messages=ASK,
                                           http_headers=sim(case.id)))
        assert events[-1].data.usage.completion_tokens == case.expected["output_total"]
        assert last(gateway)["usage"]["output_tokens"] == case.expected["output_total"]

    def test_refusal(self, client):
        with pytest.raises(Exception) as error:
            client(SMALL).chat.complete(model="mistral-small-latest", messages=ASK)
        assert error.value.status_code == 403 and "mistral-small-latest" in str(error.value.body)


# ---- Ollama ----------------------------------------------------------------------------------

class TestOllama:
    CHAT = "ollama/native-chat/plain/openinference--test_chat_with_callable_tool"
    STREAM = "ollama/native-chat/stream/langchaingo--testdata-TestWithFormat"
    EMBED = "ollama/native-embed/plain/langchaingo--TestCreateEmbedding-1"

    @pytest.fixture
    def client(self, gateway):
        ollama = pytest.importorskip("ollama")
        return lambda case=None, key=calls.KEY: ollama.Client(
            host=gateway.url + "/ollama",
            headers={"Authorization": f"Bearer {key}", **(sim(case) if case else {})})

    def test_chat(self, client, gateway):
        answer = client(self.CHAT).chat(model="qwen3", messages=ASK)
        assert answer.eval_count == 145
        assert last(gateway)["usage"] == {"input_tokens": 310, "output_tokens": 145}

    def test_stream(self, client, gateway):
        parts = list(client(self.STREAM).chat(model="gemma3:1b", messages=ASK, stream=True))
        assert parts[-1].done and len(parts) > 2
        record = last(gateway)
        assert record["stream"] and record["usage"] == {"input_tokens": 25, "output_tokens": 9}

    def test_embed(self, client, gateway):
        client(self.EMBED).embed(model="nomic-embed-text", input="x")
        assert last(gateway)["usage"] == {"input_tokens": 9}

    def test_refusal(self, client):
        ollama = pytest.importorskip("ollama")
        with pytest.raises(ollama.ResponseError) as error:
            client(key=SMALL).chat(model="qwen3", messages=ASK)
        assert error.value.status_code == 403 and "qwen3" in error.value.error


# ---- Groq ------------------------------------------------------------------------------------

class TestGroq:
    @pytest.fixture
    def client(self, gateway):
        groq = pytest.importorskip("groq")
        return lambda case=None, key=calls.KEY: groq.Groq(
            api_key=key, base_url=gateway.url + "/groq", max_retries=0,
            default_headers=sim(case) if case else {})

    def test_stream(self, client, gateway):
        case = "groq/chat-completions/stream/fantasy--groq-kimi-k2-simple_streaming"
        chunks = list(client(case).chat.completions.create(model="kimi", messages=ASK,
                                                           stream=True))
        usage = next(c.x_groq.usage for c in reversed(chunks) if c.x_groq and c.x_groq.usage)
        record = last(gateway)
        assert record["usage"]["output_tokens"] == usage.completion_tokens
        assert record["usage"]["input_tokens"] == usage.prompt_tokens

    def test_refusal(self, client):
        groq = pytest.importorskip("groq")
        with pytest.raises(groq.PermissionDeniedError):
            client(key=SMALL).chat.completions.create(model="kimi", messages=ASK)


# ---- what OpenAI's has beside chat -------------------------------------------------------------

class TestOpenAIMedia:
    @pytest.fixture
    def client(self, gateway):
        openai = pytest.importorskip("openai")
        return lambda case=None, key=calls.KEY: openai.OpenAI(
            api_key=key, base_url=gateway.url + "/openai/v1", max_retries=0,
            default_headers=sim(case) if case else {})

    def test_transcription(self, client, gateway):
        sound = io.BytesIO(forms.wav(7))
        sound.name = "sound.wav"
        answer = client("openai/audio-transcriptions/plain/ai-gateway--audio-transcription-basic"
                        ).audio.transcriptions.create(model="whisper-1", file=sound)
        assert answer.text.startswith("The sun")
        record = last(gateway)
        assert record["usage"] == {"audio_seconds": 7}
        assert record["model_requested"] == "whisper-1"

    def test_a_form_names_a_model_that_is_not_allowed(self, client):
        openai = pytest.importorskip("openai")
        with pytest.raises(openai.PermissionDeniedError):
            client(key=SMALL).audio.transcriptions.create(
                model="whisper-1", file=("sound.wav", forms.wav(1)))

    def test_speech_image_and_moderation(self, client, gateway):
        case = "openai/audio-speech/plain/ruby_llm--speech_basic_functionality_openai_gpt-4o-mini-tts_can_speak"
        client(case).audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="hello")
        record, = gateway.records(1)
        assert record["usage_source"] == "estimated" and record["usage"]["characters"] == 5
        case = "openai/images/plain/ai-gateway--image-generation-basic"
        client(case).images.generate(model="dall-e-3", prompt="a duck", size="1024x1024")
        record = gateway.records(2)[-1]
        assert record["usage"] == {"images": 1} and float(record["cost_usd"]) > 0
        case = "openai/moderations/plain/dd-trace-py--v1-moderation"
        client(case).moderations.create(input="x")
        record = gateway.records(3)[-1]
        assert record["cost_usd"] == "0" and record["usage_source"] == "none"

    def test_a_response_is_retrieved(self, client, gateway):
        case = "openai/responses-retrieve/plain/ruby-openai--responses_retrieve"
        assert client(case).responses.retrieve("resp_x").usage.total_tokens > 0
        assert gateway.records(1)[0]["cost_usd"] == "0"
