"""The recorded traffic, read in place."""

import functools
import json
import os

from .procs import ROOT

FOLDER = os.path.join(ROOT, "..", "shared", "corpus")

# provider folder -> protocol of the upstream that serves it; None: its own choice by endpoint.
CELLS = {
    ("openai", "chat-completions"): "openai", ("openai", "responses"): "openai",
    ("openai", "completions"): "openai", ("openai", "embeddings"): "openai",
    ("anthropic", "messages"): "anthropic", ("anthropic", "count-tokens"): "anthropic",
    ("gemini", "generateContent"): "gemini", ("gemini", "streamGenerateContent"): "gemini",
    ("gemini", "countTokens"): "gemini", ("gemini", "embedContent"): "gemini",
}
# Servers that speak OpenAI's chat, responses, completions or embeddings under a name of their own.
OPENAI_ENDPOINTS = {"chat-completions", "responses", "completions", "embeddings",
                    "openai-compat", "tgi-chat-completions"}
# These count apart from OpenAI and have protocols of their own, or are no HTTP of this kind.
OTHER = {"azure-openai", "azure-foundry", "bedrock", "bedrock-mantle", "cohere", "mistral",
         "ollama", "vertex", "perplexity"}


class Case:
    def __init__(self, identity):
        self.id = identity
        self.folder = os.path.join(FOLDER, identity)
        with open(os.path.join(self.folder, "meta.json"), encoding="utf-8") as file:
            self.meta = json.load(file)
        self.provider, self.endpoint, self.kind = identity.split("/")[:3]

    @property
    def body(self):
        with open(os.path.join(self.folder, "response.body"), "rb") as file:
            return file.read()

    @property
    def request(self):
        name = self.meta.get("request_file")
        if not name:
            return None
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    @property
    def protocol(self):
        known = CELLS.get((self.provider, self.endpoint))
        if known:
            return known
        if self.provider not in OTHER and self.endpoint in OPENAI_ENDPOINTS:
            return "openai"
        return None


@functools.lru_cache(maxsize=1)
def cases():
    """Every case, in order of its name; empty where the folder is absent."""
    found = []
    for folder, _, names in sorted(os.walk(FOLDER)):
        if "meta.json" in names:
            found.append(Case(os.path.relpath(folder, FOLDER)))
    return found
