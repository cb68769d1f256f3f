"""The configuration that tests start from."""

import copy
import os

from .calls import KEY
from .procs import ROOT, Provider

BOOK = os.path.join(ROOT, "pricing", "book")


def base_config(certs, provider, redis=None, **changes):
    """Four protocols on one simulated provider, one key, no limits."""
    def upstream(name, protocol, **more):
        return {"name": name, "protocol": protocol, "base_url": provider.url,
                "api_key": Provider.SECRET, "ca_file": certs.ca, **more}
    config = {
        "listen": {
            "proxy": {"address": "127.0.0.1", "port": 0, "certificate": certs.path("server.pem"),
                      "private_key": certs.path("server.key")},
            "admin": {"address": "127.0.0.1", "port": 0, "token_file": "var/admin.token"},
        },
        "workers": 2,
        "state_dir": "var",
        "drain_seconds": 10,
        "counters": {"backend": "redis", "url": redis.url, "timeout_ms": 500}
        if redis else {"backend": "memory"},
        "ledger": {"backend": "sqlite", "path": "var/ledger.db", "sync": "interval"},
        "timezone": "UTC",
        "upstreams": [
            upstream("openai", "openai"),
            upstream("anthropic", "anthropic"),
            upstream("gemini", "gemini"),
            upstream("local", "openai", base_url=provider.url + "/served/under",
                     provider="openai"),
        ],
        "keys": [{"name": "main", "secret": KEY, "tags": {"team": "search"}}],
        "limits": [],
        "prices": {"book": [BOOK]},
    }
    return merge(config, changes)


def merge(into, changes):
    """A copy of a configuration with members replaced, objects member by member."""
    out = copy.deepcopy(into)
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(out.get(name), dict):
            out[name] = merge(out[name], value)
        else:
            out[name] = copy.deepcopy(value)
    return out


def with_upstream(config, name, **changes):
    """A copy in which one upstream has other members."""
    out = copy.deepcopy(config)
    for upstream in out["upstreams"]:
        if upstream["name"] == name:
            upstream.update(changes)
    return out
