"""The price book: golden costs, random books against exact fractions, names, lint."""

import csv
import json
import os
import random
import subprocess
from fractions import Fraction

import pytest

from kit import exact, procs
from kit.config import BOOK

GOLDEN = os.path.join(procs.ROOT, "..", "shared", "prices", "golden.json")
VECTORS = os.path.join(procs.ROOT, "tests", "vectors", "prices")
SEEDS = int(os.environ.get("TOLLGATE_PRICE_SEEDS", "12"))   # more by hand
QUERIES = 150


def tollgate(*words, stdin=None):
    return subprocess.run([procs.tollgate_binary(), *words], input=stdin, text=True, check=False,
                          capture_output=True, cwd=procs.ROOT)


def costs_of(queries, *source):
    """One process, one answer a query."""
    lines = "".join(json.dumps(query) + "\n" for query in queries)
    done = tollgate("price", "cost", *source, "--input", "-", stdin=lines)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(queries)
    return answers


def compare(query, got, want):
    """Every digit and every word."""
    def dollars(text):
        return Fraction(text) if text is not None else Fraction(0)

    said = f"{json.dumps(query)}\ngot {json.dumps(got)}\nwant {want}"
    assert got["status"] == want["status"], said
    assert dollars(got["cost_usd"]) == want["cost"], said
    assert dollars(got["list_cost_usd"]) == want["list"], said
    assert got["price_match"] == want["match"], said
    assert set(got["flags"]) == want["flags"], said
    lines = {line["unit"]: (Fraction(str(line["quantity"])), Fraction(line["cost_usd"]))
             for line in got["cost_lines"]}
    assert lines == want["lines"], said
    # The lines are the cost, to the last digit.
    assert sum((amount for _, amount in lines.values()), Fraction(0)) == want["cost"], said


# ---- golden ----------------------------------------------------------------------------


def test_golden_costs():
    if not os.path.exists(GOLDEN):
        pytest.skip("../shared/prices/golden.json is absent")
    with open(GOLDEN, encoding="utf-8") as file:
        golden = json.load(file)
    queries = [case["query"] for case in golden]
    book = exact.Book.folder(BOOK)
    for case, got in zip(golden, costs_of(queries, "--book", BOOK)):
        if case["want_cost"].startswith("unpriced"):
            assert got["status"] == "unpriced" and got["cost_usd"] is None, case["name"]
        else:
            assert got["cost_usd"] == case["want_cost"], case["name"]
        flags = [f for f in case.get("flags", []) if not f.startswith("match:")]
        assert got["flags"] == flags, case["name"]
        match = [f[6:] for f in case.get("flags", []) if f.startswith("match:")] or ["exact"]
        if got["status"] != "unpriced":
            assert [got["price_match"]] == match, case["name"]
        compare(case["query"], got, book.cost(case["query"]))


@pytest.mark.parametrize("name", ["vectors.json"])
def test_vectors_hold_by_a_second_hand(name):
    """The vectors of the unit tests, against the fractions: so that those are tested too."""
    with open(os.path.join(VECTORS, "book.json"), encoding="utf-8") as file:
        book = exact.Book([json.load(file)])
    with open(os.path.join(VECTORS, name), encoding="utf-8") as file:
        vectors = json.load(file)
    queries = [dict(v["query"], provider=v["query"]["provider"].lower()) for v in vectors
               if v["query"]["provider"].lower() in book.providers]
    assert len(queries) > 40
    path = os.path.join(VECTORS, "book.json")
    for query, got in zip(queries, costs_of(queries, "--book", path)):
        compare(query, got, book.cost(query))


def test_a_model_costs_about_the_same_wherever_it_is_sold():
    """Prices by the piece: the resellers' beside the makers'; a rate in another unit would show."""
    def rates(provider, model):
        with open(os.path.join(BOOK, f"{provider}.json"), encoding="utf-8") as file:
            models = json.load(file)["providers"][provider]["models"]
        return next(m for m in models if m["id"] == model)["prices"][0]["rates"]

    for sold, made in (("imagen-4.0-fast", "imagen-4.0-fast-generate-001"),
                       ("imagen-4.0-preview", "imagen-4.0-generate-001"),
                       ("imagen-4.0-ultra", "imagen-4.0-ultra-generate-001"),
                       ("flash-image-2.5", "gemini-2.5-flash-image")):
        assert rates("together", f"google/{sold}")["image"] == rates("gemini", made)["image"]


CONFLICTS = os.path.join(procs.ROOT, "docs", "price-conflicts.csv")
CATALOGUES = os.path.join(procs.ROOT, "..", "shared", "prices", "conflicts.json")


def test_conflicts_are_decided():
    """What catalogues disagree on is decided in a list, and the book has what the list says."""
    with open(CONFLICTS, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    book, at = exact.Book.folder(BOOK), exact.moment("2026-11-21T12:00:00Z")
    for row in rows:
        assert row["why"], row
        model = book.find(book.providers[row["provider"]], row["model"])[0]
        period = [p for p in model["prices"]
                  if (p.get("from") is None or exact.moment(p["from"]) <= at)
                  and (p.get("to") is None or at < exact.moment(p["to"]))][0]
        kind, _, rest = row["rates"].partition(" ")
        rates, meters = period["rates"], ["in", "out", "cache_read"]
        if kind == "variant":
            rates = [v["rates"] for v in period["variants"] if v["when"] == json.loads(rest)][0]
        elif kind == "meter":
            meters = [rest]
        assert "/".join(rates.get(meter, "-") for meter in meters) == row["decided"], row
    if not os.path.exists(CATALOGUES):
        pytest.skip("../shared/prices/conflicts.json is absent: the list alone was checked")
    with open(CATALOGUES, encoding="utf-8") as file:
        conflicts = json.load(file)
    listed = {(row["provider"], row["model"], row["rates"]) for row in rows}
    missing = [c for c in conflicts if (c["provider"], c["id"], c["what"]) not in listed]
    assert not missing


# ---- show ------------------------------------------------------------------------------


def show(*words, good=0):
    done = tollgate("price", "show", "--book", BOOK, *words)
    assert done.returncode == good, done.stderr
    return done.stdout


def shown(*words):
    return json.loads(show("--format", "json", *words))["models"]


def test_show_finds_a_model_as_a_request_would():
    book = exact.Book.folder(BOOK)
    names = {"gpt-5.5-2026-04-23": "openai", "gpt-5.5-20300101": "openai",
             "gpt-5.5": "openai", "models/gemini-2.5-pro": "gemini",
             "eu.anthropic.claude-opus-4-5-20251101-v1:0": "bedrock",
             "ft:gpt-4o-mini:org::1": "openai"}
    kinds = set()
    for name, provider in names.items():
        model, match = book.find(book.providers[provider], name)[:2]
        found = shown(name, "-p", provider)
        assert [(m["id"], m["match"]) for m in found] == [(model["id"], match)], name
        kinds.add(match)
        table = show(name, "-p", provider)
        assert (f"({match})" in table) == (match != "exact")
    assert len(kinds) >= 3, kinds
    assert all(any(name.startswith("claude-opus-4-5") for name in m["ids"]) and "match" not in m
               for m in shown("claude-opus-4-5*"))
    assert show("no-such-model", good=1) == ""
    assert shown("gpt-5.5", "-p", "OpenAI")


def test_show_by_date_and_by_unit():
    book = exact.Book.folder(BOOK)
    model = next(m for m in book.providers["openai"]["models"].values() if len(m["prices"]) > 1)
    periods = model["prices"]
    for at, period in ((before(periods[0]["to"]), periods[0]), (periods[1]["from"], periods[1])):
        base = shown(model["id"], "-p", "openai", "--at", at)[0]["periods"]
        assert len(base) == 1 and base[0]["cards"][0]["rates"]["in"]["usd"] == period["rates"]["in"]
    assert len(shown(model["id"], "-p", "openai", "--all")[0]["periods"]) == len(periods)
    videos = shown("--unit", "video_sec", "-p", "openai")
    assert videos and all(set(card["rates"]) == {"video_sec"} for m in videos
                          for p in m["periods"] for card in p["cards"])
    assert {m["id"] for m in videos} >= {"sora-2", "sora-2-pro"}
    assert show("gpt-5.5", "--unit", "video_sec", good=1) == ""


def test_show_says_the_same_in_every_format():
    rows = list(csv.DictReader(show("gpt-5.5", "-p", "openai", "--format", "csv").splitlines()))
    model = shown("gpt-5.5", "-p", "openai")[0]
    told = {(p["from"] or "", meter, rate["usd"], str(rate["per"]))
            for p in model["periods"] for card in p["cards"]
            for meter, rate in card["rates"].items()}
    assert {(r["from"], r["unit"], r["usd"], r["per"]) for r in rows} == told
    assert {(r["provider"], r["model"], r["match"], r["confidence"]) for r in rows} == \
        {("openai", "gpt-5.5", "exact", model["confidence"])}
    table = show("gpt-5.5", "-p", "openai")
    assert "\x1b" not in table and all(usd in table for _, _, usd, _ in told)
    # the short form that reports have
    for words in (["csv"], ["json"]):
        assert show("gpt-5.5", "-p", "openai", "-o", *words) == \
            show("gpt-5.5", "-p", "openai", "--format", *words)


@pytest.mark.parametrize("words", [
    ["show", "--unit", "bananas"], ["show", "--tier", "batch"], ["show", "--format", "html"],
    ["show", "--at", "yesterday"], ["show", "a", "b"], ["show", "-u", "openai"],
    ["cost", "--all"], ["cost", "--format", "csv"], ["cost", "-p", "openai"],
    ["cost", "-p", "openai", "-m", "gpt-5.5", "bananas=1"], ["lint", "--at", "2026-01-01"],
    ["lint", "-c", "nowhere.json"], ["buy"], [],
])
def test_words_that_are_none_are_bad_usage(words):
    done = tollgate("price", *words)
    assert done.returncode == 2 and done.stdout == "" and done.stderr, words


def test_the_answer_no_is_1(tmp_path):
    def status(*words):
        return tollgate("price", *words).returncode
    cost = ["cost", "--book", BOOK, "-p", "openai", "-m"]
    assert status(*cost, "gpt-5.5", "in=1") == 0
    assert status(*cost, "gpt-5.5", "page=1") == 1      # no rate for it
    assert status(*cost, "no-such-model", "in=1") == 1
    assert status("lint", "--book", BOOK) == 0
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    assert status("lint", "--book", str(bad)) == 1
    assert status("show", "--book", str(bad)) == 2
    config = tmp_path / "tollgate.json"
    whole = {"upstreams": [{"name": "openai", "protocol": "openai", "api_key": "none",
                            "base_url": "https://localhost:1"}],
             "prices": {"book": ["bad.json"]}}
    config.write_text(json.dumps(whole))
    assert status("lint", "-c", str(config)) == 1
    config.write_text(json.dumps(whole | {"nonsense": 1}))
    assert status("lint", "-c", str(config)) == 2


# ---- random books ----------------------------------------------------------------------

UNITS = {
    "in": (1000000, "token", None), "out": (1000000, "token", None),
    "cache_read": (1000000, "token", "in"), "cache_write": (1000000, "token", "in"),
    "cache_write_1h": (1000000, "token", "cache_write"), "in_audio": (1000000, "token", "in"),
    "out_reasoning": (1000000, "token", "out"), "out_citation": (1000000, "token", None),
    "audio_sec": (3600, "second", None), "image": (1, "image", None),
    "web_search": (1000, "call", None), "request": (1000, "request", None),
    "code_call": (1000, "call", None), "code_session": (1, "session", None),
    "maps_search": (1000, "prompt", None), "page": (1000, "page", None),
}
TIERS = ["batch", "flex", "priority", "provisioned"]
REGIONS = ["us", "eu", "jp"]
MODELS = ["alpha", "alpha-mini", "beta", "beta-2", "ft:alpha"]
INSTANTS = ["2026-03-01T00:00:00Z", "2026-05-15T12:34:56Z", "2026-08-01T00:00:00+02:00"]


class Maker:
    """A random book, and queries that meet its corners."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, values, most=None):
        n = self.random.randint(0, min(len(values), most or len(values)))
        return self.random.sample(list(values), n)

    def chance(self, one_in):
        return self.random.randrange(one_in) == 0

    def decimal(self, most, decimals):
        text = str(self.random.randint(0, most))
        digits = self.random.randint(0, decimals)
        return text + ("." + "".join(self.random.choice("0123456789") for _ in range(digits))
                       if digits else "")

    def rates(self, meters):
        return {m: self.decimal(40, 4) for m in meters}

    def when(self):
        when = {}
        if self.chance(2):
            when["tier"] = self.random.choice(TIERS[:3])
        if self.chance(3):
            when["region"] = self.some(REGIONS, 2) or ["us"]
        if self.chance(3):
            when["ctx_min"] = self.random.choice([1, 1000, 200000, 200001])
        if self.chance(4):
            when["size"] = self.random.choice(["small", "large"])
        if self.chance(5):
            when["search_ctx"] = self.random.choice(["low", "high"])
        if self.chance(5):
            when["window"] = {"tz": self.random.choice(["UTC", "Asia/Shanghai", "Europe/Berlin"]),
                              "hours": [["01:00", "04:30"], ["22:00", "00:15"]]}
            if self.chance(2):
                when["window"]["days"] = ["mon", "wed", "sun"]
            if self.chance(2):
                when["window"]["not_on"] = "off"
        return when or {"tier": "batch"}

    def variants(self):
        made, seen = [], set()
        for _ in range(self.random.randint(0, 6)):
            when = self.when()
            key = json.dumps(when, sort_keys=True)
            if key in seen:
                continue
            seen.add(key)
            made.append({"when": when,
                         "rates": self.rates(self.some(UNITS, 5) or ["in", "out"])})
        return made

    def prices(self):
        cuts = sorted(self.some(INSTANTS), key=exact.moment)
        edges = [None] + cuts + [None]
        if self.chance(4):
            edges = edges[1:]       # no price before the first instant
        return [{"from": a, "to": b,
                 "rates": self.rates(["in", "out"] + self.some(UNITS, 6)),
                 "variants": self.variants()} for a, b in zip(edges, edges[1:])] or \
            [{"from": None, "to": None, "rates": {"in": "1"}}]

    def model(self, name):
        model = {"id": name, "kind": "chat", "ids": [name] + [f"{name}-x"][:self.random.randint(0, 1)],
                 "prices": self.prices(), "prov": {"src": "made", "confidence": "confirmed"}}
        if self.chance(2):
            model["dated"] = [name]
        if self.chance(4):
            model["web_search_unit"] = "grounded_prompt"
        return model

    def book(self):
        names = self.random.sample(MODELS, self.random.randint(1, len(MODELS)))
        provider = {
            "strip": ["models/", "arn:*:x/"][:self.random.randint(0, 2)], "suffixes": [":fast"],
            "geo_prefixes": ["eu.", "us."], "calendars": {"off": ["2026-05-10..2026-05-20"]},
            "tier_multipliers": {t: self.random.choice(["0.5", "0.67", "1.8"])
                                 for t in self.some(TIERS[:3])},
            "tier_keeps": self.some(["cache_read", "in"]),
            "fees": self.rates(self.some(["web_search", "code_session", "image"])),
            "modifiers": [{"id": f"m{i}", "when": {"region": self.some(REGIONS, 2) or ["eu"]},
                           "multiply": self.random.choice(["1.1", "1.05", "0.9"]),
                           "meters": self.random.choice(["token", "all"]),
                           **({"only": self.some(names)} if self.chance(2) else {})}
                          for i in range(self.random.randint(0, 2))],
            "minimums": {m: 10 for m in self.some(["audio_sec", "request"])},
            "stand_ins": [{"used": "code_call", "charge": "code_session", "quantity": 1}]
            [:self.random.randint(0, 1)],
            "models": [self.model(name) for name in names],
        }
        return {"schema": "tollgate-prices/1", "currency": "USD",
                "sources": {"made": {"what": "made", "published": "2026-01-01",
                                     "retrieved": "2026-01-01"}},
                "units": {m: {"per": per, "of": of, "dir": "in",
                              **({"falls_to": falls} if falls else {})}
                          for m, (per, of, falls) in UNITS.items()},
                "providers": {"acme": provider}}

    def rules(self):
        made = []
        for _ in range(self.random.randint(0, 5)):
            match = {}
            if self.chance(2):
                match["model"] = self.random.choice(["alpha*", "beta", "*", "a?pha"])
            if self.chance(3):
                match["provider"] = "acme"
            if self.chance(3):
                match["tier"] = self.random.choice(TIERS)
            if self.chance(3):
                match["upstream"] = self.random.choice(["main", "ma*"])
            rule = {"match": match}
            if self.chance(2):
                rule["rates"] = self.rates(self.some(UNITS, 3) or ["in"])
            else:
                rule["multiplier"] = self.random.choice(["0", "0.93", "0.5", "1"])
                if self.chance(2):
                    rule["meters"] = "token"
            if self.chance(3):
                rule["from"] = INSTANTS[0]
            made.append(rule)
        return made

    def query(self):
        name = self.random.choice(MODELS + ["gamma"])
        name = self.random.choice([name] * 6 + [name.upper(), f"{name}-x", f"{name}-20260423",
                                                f"{name}-2026-04-23", f"{name}@default",
                                                f"models/{name}", f"arn:a:x/{name}:fast",
                                                f"eu.{name}", f"us.{name}-20260101",
                                                f"ft:{name}:org::1", f"{name}-2026-04-2",
                                                f"{name}:20230824-v2", f"{name}:2023-07-21",
                                                f"{name}-20230824-v2"])
        at = self.random.choice(
            [moment for cut in INSTANTS for moment in (cut, before(cut))] +
            [f"2026-{self.random.randint(1, 12):02}-{self.random.randint(1, 28):02}T"
             f"{self.random.randint(0, 23):02}:{self.random.randint(0, 59):02}:30Z"
             for _ in range(6)])
        usage = {m: self.random.choice([0, 1, 3, 999, self.random.randint(0, 10**6),
                                        self.random.randint(0, 2**53 - 1)])
                 for m in self.some(UNITS, 6)}
        usage = {m: f"{n % 10**6}.{n % 1000:03}" if m in exact.TIME_METERS
                 else n for m, n in usage.items()}
        query = {"provider": "acme", "model": name, "at": at, "usage": usage,
                 "input_total": self.random.choice([0, 1, 999, 1000, 199999, 200000, 200001]),
                 "upstream": "main", "counted": self.chance(2)}
        for key, values in (("tier", TIERS + ["default", "BATCH"]), ("region", REGIONS + ["EU"]),
                            ("size", ["small", "LARGE", "odd"]), ("search_ctx", ["low", "high"])):
            if self.chance(2):
                query[key] = self.random.choice(values)
        if self.chance(4):
            query["model_requested"] = self.random.choice(MODELS)
        return query


def before(text):
    """A microsecond before that instant."""
    import datetime
    when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (when - datetime.timedelta(microseconds=1)).isoformat()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_books_cost_what_fractions_say(seed, tmp_path):
    maker = Maker(seed)
    book, rules = maker.book(), maker.rules()
    (tmp_path / "book.json").write_text(json.dumps(book))
    (tmp_path / "tollgate.json").write_text(json.dumps({
        "upstreams": [{"name": "main", "protocol": "openai", "base_url": "https://localhost:1",
                       "api_key": "none", "provider": "acme"}],
        "prices": {"book": ["book.json"], "rules": rules}}))
    queries = [maker.query() for _ in range(QUERIES)]
    want = exact.Book([book], rules)
    answers = costs_of(queries, "-c", str(tmp_path / "tollgate.json"))
    for query, got in zip(queries, answers):
        compare(query, got, want.cost(query))
