"""Requests of the four protocols, and the provider that stands behind each."""

import json

WORD = "word"
CANARY_PROMPT = "CANARYPROMPT7731"
KEY = "tg_canary_main_5f3c9d27a1b84e60"


def prompt(words):
    """A text of so many words, one of them a canary that no record may hold."""
    return " ".join([CANARY_PROMPT] + [WORD] * (words - 1)) if words else ""


class Call:
    """One request: where it goes and what it holds."""

    def __init__(self, upstream, path, body, provider, model, auth="bearer", extra=()):
        self.upstream = upstream
        self.path = path
        self.body = body
        self.provider = provider
        self.model = model
        self.auth = auth
        self.extra = list(extra)

    def data(self):
        return json.dumps(self.body).encode() if self.body is not None else b""

    def headers(self, key=KEY, tags=(), sim=None):
        name = {"bearer": "Authorization", "x-api-key": "x-api-key",
                "google": "x-goog-api-key"}[self.auth]
        value = f"Bearer {key}" if self.auth == "bearer" else key
        out = [(name, value), ("Content-Type", "application/json"), *self.extra, *tags]
        out += [("X-Sim-" + k.replace("_", "-"), str(v)) for k, v in (sim or {}).items()]
        return out

    def full_path(self):
        return f"/{self.upstream}{self.path}"


def chat(words=10, stream=False, model="gpt-4o", max_tokens=None, upstream="openai", **more):
    body = {"model": model, "messages": [{"role": "user", "content": prompt(words)}]}
    if stream:
        body["stream"] = True
    if max_tokens is not None:
        body["max_completion_tokens"] = max_tokens
    body.update(more)
    return Call(upstream, "/v1/chat/completions", body, "openai", model)


def completions(words=10, stream=False, model="gpt-3.5-turbo-instruct", max_tokens=16, **more):
    body = {"model": model, "prompt": prompt(words), "max_tokens": max_tokens, **more}
    if stream:
        body["stream"] = True
    return Call("openai", "/v1/completions", body, "openai", model)


def responses(words=10, stream=False, model="gpt-4o", max_tokens=None, **more):
    body = {"model": model, "input": prompt(words), **more}
    if stream:
        body["stream"] = True
    if max_tokens is not None:
        body["max_output_tokens"] = max_tokens
    return Call("openai", "/v1/responses", body, "openai", model)


def embeddings(words=10, model="text-embedding-3-small", **more):
    return Call("openai", "/v1/embeddings", {"model": model, "input": prompt(words), **more},
                "openai", model)


def messages(words=10, stream=False, model="claude-sonnet-4-5", max_tokens=64, **more):
    body = {"model": model, "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": prompt(words)}], **more}
    if stream:
        body["stream"] = True
    return Call("anthropic", "/v1/messages", body, "anthropic", model, "x-api-key",
                [("anthropic-version", "2023-06-01")])


def generate(words=10, stream=None, model="gemini-2.5-flash", max_tokens=None, **more):
    """stream: None (plain), "sse" or "array"."""
    body = {"contents": [{"role": "user", "parts": [{"text": prompt(words)}]}], **more}
    if max_tokens is not None:
        body["generationConfig"] = {"maxOutputTokens": max_tokens}
    method = {None: "generateContent", "sse": "streamGenerateContent?alt=sse",
              "array": "streamGenerateContent"}[stream]
    return Call("gemini", f"/v1beta/models/{model}:{method}", body, "gemini", model, "google")


# Every shape of answer that is metered: name, maker, is it a stream, does it have events.
SHAPES = {
    "chat": lambda **o: chat(**o),
    "chat-stream": lambda **o: chat(stream=True, **o),
    "chat-stream-usage": lambda **o: chat(stream=True,
                                          stream_options={"include_usage": True}, **o),
    "completions": lambda **o: completions(**o),
    "completions-stream": lambda **o: completions(stream=True, **o),
    "responses": lambda **o: responses(**o),
    "responses-stream": lambda **o: responses(stream=True, **o),
    "embeddings": lambda **o: embeddings(**o),
    "messages": lambda **o: messages(**o),
    "messages-stream": lambda **o: messages(stream=True, **o),
    "generate": lambda **o: generate(**o),
    "generate-sse": lambda **o: generate(stream="sse", **o),
    "generate-array": lambda **o: generate(stream="array", **o),
}
STREAMS = [name for name in SHAPES if "stream" in name or name.startswith("generate-")]


def send(target, call, connection=None, key=KEY, tags=(), sim=None, method="POST", **options):
    """Sends a call through the gateway; its response."""
    from .client import request_bytes
    data = request_bytes(method, call.full_path(), call.headers(key, tags, sim), call.data())
    if connection is not None:
        connection.send(data)
        return connection.read(method)
    with target.connect(**options) as own:
        own.send(data)
        return own.read(method)
