"""The recorded traffic, read in place."""

import functools
import json
import os
import re

from .procs import ROOT

FOLDER = os.path.join(ROOT, "..", "shared", "corpus")

# Providers that have a protocol of their own; all others speak OpenAI's.
PROTOCOLS = {"anthropic": "anthropic", "gemini": "gemini", "vertex": "vertex",
             "azure-openai": "azure-openai", "azure-foundry": "azure-openai",
             "bedrock": "bedrock", "bedrock-mantle": "bedrock", "cohere": "cohere",
             "mistral": "mistral", "ollama": "ollama"}
# Another gateway's recordings name the protocol in their path.
BEHIND = {"converse": "bedrock", "gemini": "vertex"}


class Case:
    def __init__(self, identity):
        self.id = identity
        self.folder = os.path.join(FOLDER, identity)
        with open(os.path.join(self.folder, "meta.json"), encoding="utf-8") as file:
            self.meta = json.load(file)
        self.provider, self.endpoint, self.kind = identity.split("/")[:3]
        self.expected = self.meta["expected"]

    def _read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    @property
    def body(self):
        return self._read("response.body")

    @property
    def request(self):
        name = self.meta.get("request_file")
        return self._read(name) if name else None

    @property
    def protocol(self):
        if self.provider == "pydantic-gateway":
            return BEHIND.get(self.meta["dialect"], "openai")
        return PROTOCOLS.get(self.provider, "openai")

    @property
    def left_out(self):
        """Why it cannot be replayed as an HTTP exchange; None where it can."""
        if self.meta["dialect"] == "realtime":
            return "WebSocket frames: test_corpus_websockets replays them"
        return None

    @property
    def path(self):
        """The recorded path, without what the recording hides and what stood before the API."""
        path = re.sub("^<[^>]*>", "", self.meta["path"])
        if self.provider == "pydantic-gateway":
            path = re.sub("^(/proxy)?/[^/]*", "", path)
        query = (self.meta.get("url") or "").partition("?")[2]
        if query and "?" not in path:
            path += "?" + query
        return re.sub("<([A-Z_]+)>", r"\1", path)


@functools.lru_cache(maxsize=1)
def cases():
    """Every case, in order of its name; empty where the folder is absent."""
    found = []
    for folder, _, names in sorted(os.walk(FOLDER)):
        if "meta.json" in names:
            found.append(Case(os.path.relpath(folder, FOLDER)))
    return found
