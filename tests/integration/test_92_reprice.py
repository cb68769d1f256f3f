"""Prices that change after the fact: dry runs, corrections, and that no line ever changes."""

import json
import os
import signal
import subprocess
import threading
from decimal import Decimal

import pytest

from kit import calls, procs
from kit.procs import wait_for
from test_51_other_measures import ask, http, record_of


ALWAYS = ["--from", "2026-01-01", "--to", "2032-01-01"]


def entry(model, *periods):
    return {"id": model, "kind": "chat", "prices": [
        {"from": a, "to": b, "rates": rates} for a, b, rates in periods],
        "prov": {"src": "made", "confidence": "confirmed"}}


def book_of(*models):
    return {"schema": "tollgate-prices/1", "currency": "USD",
            "sources": {"made": {"what": "made", "published": "2026-01-01",
                                 "retrieved": "2026-01-01"}},
            "units": {m: {"per": 1000000, "of": "token", "dir": d}
                      for m, d in (("in", "in"), ("out", "out"))},
            "providers": {"made": {"models": list(models)}}}


FIRST = book_of(entry("alpha", (None, None, {"in": "2", "out": "8"})),
                entry("beta", (None, None, {"in": "0.001", "out": "0.003"})))


class Shop:
    """A gateway with a book of its own beside its configuration, and its bills."""

    def __init__(self, gateways, tmp_path, **more):
        self.book = tmp_path / "own-book.json"
        self.write(FIRST)
        self.gateway = None
        self.gateways = gateways
        self.more = more

    def write(self, book):
        self.book.write_text(json.dumps(book))

    def start(self):
        config = self.gateways.config(**self.more)
        config["prices"] = {"book": [str(self.book)]}
        for upstream in config["upstreams"]:
            upstream["provider"] = "made"
        self.gateway = self.gateways(config)
        return self.gateway

    def spend(self, n, model="alpha", team="search", **more):
        with self.gateway.connect() as connection:
            for _ in range(n):
                answer = calls.send(self.gateway, calls.chat(words=10, model=model), connection,
                                    tags=[("X-Tollgate-Team", team)], **more)
                assert answer.status == 200

    def reprice(self, *words, good=0):
        done = subprocess.run([procs.tollgate_binary(), "price", "reprice", "-c",
                               self.gateway.config_path, "--format", "json", *words],
                              text=True, capture_output=True, check=False, timeout=120)
        assert done.returncode == good, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    def price(self, book, counts):
        rates = {m["id"]: m["prices"][-1]["rates"] for m in book["providers"]["made"]["models"]}
        return sum((Decimal(rates[model]["in"]) * 10 + Decimal(rates[model]["out"]) * 16)
                   * n for model, n in counts.items()) / Decimal(10**6)


@pytest.fixture
def shop(gateways, provider, tmp_path):
    made = Shop(gateways, tmp_path)
    made.start()
    return made


def originals(records):
    return [r for r in records if "corrects" not in r]


def total(records):
    return sum(Decimal(r["cost_usd"]) for r in records if r["cost_usd"] is not None)


def ledger_is_whole(gateway):
    """Everything derived from the records agrees with them, and so do two reports."""
    records = gateway.export()
    for by in ("team", "model", "price_id"):
        report = gateway.report("spend", "--by", by, *ALWAYS)
        assert Decimal(report["total"]["cost_usd"]) == total(records), by
        assert sum(Decimal(row["cost_usd"] or 0) for row in report["rows"]) == total(records), by
        assert report["total"]["requests"] == len(originals(records)), by
    lines = gateway.report("lines", *ALWAYS)
    assert Decimal(lines["total"]["cost_usd"]) == total(records)
    assert lines["total"]["requests"] == len(originals(records))
    return lines


def test_the_same_book_changes_nothing(shop):
    shop.spend(3)
    shop.spend(2, model="beta", team="billing")
    shop.gateway.records(5)
    before = shop.gateway.export()
    report = shop.reprice("--all")
    assert report["total"]["requests"] == 5 and report["total"]["changed"] == 0
    assert Decimal(report["total"]["difference_usd"]) == 0
    assert Decimal(report["total"]["old_usd"]) == total(before) == \
        shop.price(FIRST, {"alpha": 3, "beta": 2})
    shop.reprice("--apply", "--reason", "none")
    assert shop.gateway.export() == before


def test_a_new_price_is_shown_and_then_applied_once(shop):
    shop.spend(4)
    shop.spend(3, model="beta", team="billing")
    shop.gateway.records(7)
    before = shop.gateway.export()
    second = book_of(entry("alpha", (None, None, {"in": "1", "out": "8.5"})),
                     entry("beta", (None, None, {"in": "0.001", "out": "0.003"})))
    shop.write(second)
    dry = shop.reprice()
    assert [(r["team"], r["model"], r["changed"]) for r in dry["rows"]] == [("search", "alpha", 4)]
    want = shop.price(second, {"alpha": 4}) - shop.price(FIRST, {"alpha": 4})
    assert Decimal(dry["total"]["difference_usd"]) == want
    assert shop.gateway.export() == before, "a dry run wrote"

    applied = shop.reprice("--apply", "--reason", "vendor's notice of 1 November", "--by", "ann")
    assert applied == dry | {"as_of": applied["as_of"]}
    after = shop.gateway.export()
    corrections = [r for r in after if "corrects" in r]
    assert originals(after) == before, "a line changed"
    assert len(corrections) == 4
    assert total(after) == shop.price(second, {"alpha": 4, "beta": 3})
    by_id = {r["id"]: r for r in before}
    for each in corrections:
        corrected = by_id[each["corrects"]]
        assert each["reason"] == "vendor's notice of 1 November" and each["corrected_by"] == "ann"
        assert (each["start"], each["end"]) == (corrected["start"], corrected["end"])
        assert each["team"] == "search" and "usage" not in each
        assert each["book"] != corrected["book"]
        assert sum(Decimal(line["cost_usd"]) for line in each["cost_lines"]) == \
            Decimal(each["cost_usd"])
    lines = ledger_is_whole(shop.gateway)
    assert sorted(r["corrects"] for r in lines["rows"] if r.get("corrects")) == \
        sorted(r["corrects"] for r in corrections)

    shop.reprice("--apply", "--reason", "again")
    assert shop.gateway.export() == after, "applying twice changed something"
    # And back: the ledger ends where it began, by lines of its own.
    shop.write(FIRST)
    shop.reprice("--apply", "--reason", "the notice was wrong")
    assert total(shop.gateway.export()) == total(before)
    assert len(shop.gateway.export()) == len(after) + 4
    ledger_is_whole(shop.gateway)


def test_of_two_corrections_of_one_charge_the_first_holds(shop):
    """Both read the ledger before it has either: what both add would be the price of no book."""
    shop.spend(3)
    before = shop.gateway.records(3)
    books = [book_of(entry("alpha", (None, None, {"in": price, "out": "8"})))
             for price in ("3", "5")]
    gateway = shop.gateway.process.pid
    os.kill(gateway, signal.SIGSTOP)    # what is journalled is not taken in meanwhile
    try:
        for book in books:
            shop.write(book)
            assert shop.reprice("--apply", "--reason", "dearer")["total"]["changed"] == 3
    finally:
        os.kill(gateway, signal.SIGCONT)
    wait_for("the corrections", lambda: len(shop.gateway.export()) >= 6)
    shop.gateway.stop()
    assert total(shop.gateway.export()) == shop.price(books[0], {"alpha": 3})
    # Asked again, the second is made of what the first left.
    shop.reprice("--apply", "--reason", "dearer")
    after = shop.gateway.export()
    assert total(after) == shop.price(books[1], {"alpha": 3})
    assert len(after) == 9 and originals(after) == sorted(before, key=lambda r: r["id"])
    ledger_is_whole(shop.gateway)


def test_what_had_no_price_gets_one(shop):
    shop.spend(2)
    shop.spend(2, model="gamma", team="billing")
    shop.gateway.records(4)
    before = shop.gateway.export()
    assert [r["cost_usd"] for r in before].count(None) == 2
    second = book_of(*FIRST["providers"]["made"]["models"],
                     entry("gamma", (None, None, {"in": "3", "out": "0"})))
    shop.write(second)
    dry = shop.reprice()
    assert dry["total"]["late_priced"] == 2
    shop.reprice("--apply", "--reason", "gamma has a price")
    after = shop.gateway.export()
    assert originals(after) == before
    assert total(after) == shop.price(second, {"alpha": 2, "gamma": 2})
    requests = shop.gateway.report("requests", "--by", "model")
    row = [r for r in requests["rows"] if r["model"] == "gamma"][0]
    assert Decimal(row["cost_usd"]) == shop.price(second, {"gamma": 2})
    ledger_is_whole(shop.gateway)
    # A book that no longer knows a model leaves what was charged.
    shop.write(book_of(entry("alpha", (None, None, {"in": "2", "out": "8"}))))
    gone = shop.reprice("--all")
    assert gone["total"]["unpriced"] == 2 and gone["total"]["changed"] == 0


def test_a_price_change_in_mid_month_splits_at_its_instant(shop):
    """Requests on both sides of the instant from which a price holds, known only afterwards."""
    shop.spend(3)
    records = shop.gateway.records(3)
    instant = max(r["start"] for r in records)
    shop.spend(2)
    records = shop.gateway.records(5)
    late = [r for r in records if r["start"] >= instant]
    assert len(late) == 3
    shop.write(book_of(entry("alpha", (None, instant, {"in": "2", "out": "8"}),
                             (instant, None, {"in": "4", "out": "8"})),
                       entry("beta", (None, None, {"in": "1", "out": "1"}))))
    shop.reprice("--apply", "--reason", "known since today")
    corrections = [r for r in shop.gateway.export() if "corrects" in r]
    assert {r["corrects"] for r in corrections} == {r["id"] for r in late}
    assert all(Decimal(r["cost_usd"]) == Decimal("0.00002") for r in corrections)
    assert all(r["price_id"].endswith("@" + instant) for r in corrections)


def test_without_a_gateway_the_database_is_written(shop):
    shop.spend(3)
    shop.gateway.records(3)
    shop.gateway.stop()
    shop.write(book_of(entry("alpha", (None, None, {"in": "0", "out": "0"}))))
    shop.reprice("--apply", "--reason", "free after all")
    after = shop.gateway.export()
    assert len(after) == 6 and total(after) == 0
    shop.reprice("--apply", "--reason", "again")
    assert shop.gateway.export() == after
    ledger_is_whole(shop.gateway)


def test_closed_books_get_the_correction_in_the_next_open_ones(shop):
    shop.spend(2)
    shop.gateway.records(2)
    shop.gateway.stop()
    # As if December 2030 were closed: what is in such a folder is the business of `close`.
    os.makedirs(os.path.join(os.path.dirname(shop.gateway.config_path), "var", "closed", "2030-12"))
    shop.write(book_of(entry("alpha", (None, None, {"in": "3", "out": "8"}))))
    before = shop.gateway.export()
    shop.reprice("--apply", "--reason", "found in the audit")
    after = shop.gateway.export()
    assert originals(after) == before
    corrections = [r for r in after if "corrects" in r]
    assert {r["end"] for r in corrections} == {"2031-01-01T00:00:00.000000Z"}
    open_books = shop.gateway.report("spend", "--month", "2031-01", "--by", "team")
    assert Decimal(open_books["total"]["cost_usd"]) == Decimal("0.00002")
    assert open_books["total"]["requests"] == 0 and len(open_books["rows"]) == 1
    ledger_is_whole(shop.gateway)


def test_budgets_hold_what_was_charged_at_the_time(gateways, provider, tmp_path):
    shop = Shop(gateways, tmp_path, limits=[{"name": "month", "unit": "usd", "limit": "100",
                                             "window": "month"}])
    shop.start()
    shop.spend(3)
    shop.gateway.records(3)
    before = shop.gateway.report("budgets")["rows"][0]["spent_usd"]
    shop.write(book_of(entry("alpha", (None, None, {"in": "1000", "out": "1000"}))))
    shop.reprice("--apply", "--reason", "dearer")
    assert shop.gateway.report("budgets")["rows"][0]["spent_usd"] == before


def test_what_a_crash_ended_is_priced_again_as_the_estimate_that_it_is(shop, provider):
    calls_begun = threading.Thread(target=hang, args=(shop.gateway,))
    calls_begun.start()
    wait_for("the call", lambda: provider.requests())
    shop.gateway.kill()
    calls_begun.join(30)
    shop.gateway.start()
    record = shop.gateway.records(1)[0]
    assert record["outcome"] == "interrupted" and record["usage_source"] == "estimated"
    same = shop.reprice("--all")
    assert same["total"]["requests"] == 1 and same["total"]["changed"] == 0
    twice = book_of(entry("alpha", (None, None, {"in": "4", "out": "16"})))
    shop.write(twice)
    shop.reprice("--apply", "--reason", "twice as dear")
    correction = [r for r in shop.gateway.export() if "corrects" in r]
    assert [r["corrects"] for r in correction] == [record["id"]]
    assert correction[0]["cost_usd"] == record["cost_usd"] and Decimal(record["cost_usd"]) > 0
    ledger_is_whole(shop.gateway)


def hang(gateway):
    try:
        calls.send(gateway, calls.chat(words=10, model="alpha", max_tokens=100),
                   sim={"Hang": 1})
    except Exception:   # the gateway is killed under it
        pass


def with_batches(*models):
    book = book_of(*models)
    book["providers"]["made"]["tier_multipliers"] = {"batch": "0.5"}
    return book


def long_and_short(short, long):
    """A model whose input is dearer where there are 150000 tokens of it."""
    made = entry("beta", (None, None, {"in": short, "out": "1"}))
    made["prices"][0]["variants"] = [{"when": {"ctx_min": 150000}, "rates": {"in": long, "out": "1"}}]
    return made


def batch(gateway, answers, name):
    body = "".join(json.dumps({"response": {"status_code": 200, "body": {
        "object": "chat.completion", "model": model, "choices": [], "usage": {
            "prompt_tokens": n, "completion_tokens": 10, "total_tokens": n + 10}}}}) + "\n"
        for model, n in answers)
    return record_of(gateway, ask(gateway, "GET", f"/openai/v1/files/{name}/content",
                                  raw=http(body, "application/octet-stream")))


def test_batches_are_priced_again_by_their_parts(gateways, provider, tmp_path):
    shop = Shop(gateways, tmp_path)
    shop.write(with_batches(entry("alpha", (None, None, {"in": "2", "out": "8"})),
                            long_and_short("1", "3")))
    gateway = shop.start()
    answers = [("alpha", 100)] * 30 + [("beta", 1000), ("beta", 120000), ("beta", 150000)] * 3
    record = batch(gateway, answers, "file-1")
    assert sum(p["answers"] for p in record["parts"]) == len(answers)
    assert sum(p["usage"]["input_tokens"] for p in record["parts"]) == \
        record["usage"]["input_tokens"] == sum(n for _, n in answers)
    # 149,999 and 150,000 are of one class of lengths, 130,000 and 200,000 of two.
    other = batch(gateway, [("beta", 130000), ("beta", 149999)], "file-2")

    def want(alpha_in, short, long, step=150000):
        sums = sum(Decimal(n) * (alpha_in if model == "alpha" else long if n >= step else short)
                   + 10 * (8 if model == "alpha" else 1) for model, n in answers)
        return sums / 2 / 10**6

    assert Decimal(record["cost_usd"]) == want(2, 1, 3)
    assert shop.reprice("--all")["total"]["changed"] == 0
    shop.write(with_batches(entry("alpha", (None, None, {"in": "4", "out": "8"})),
                            long_and_short("1.5", "5")))
    dry = shop.reprice()
    assert dry["total"]["changed"] == 2
    shop.reprice("--apply", "--reason", "new rates")
    change = {r["corrects"]: Decimal(r["cost_usd"]) for r in gateway.export() if "corrects" in r}
    assert change[record["id"]] == want(4, Decimal("1.5"), 5) - want(2, 1, 3)
    assert change[other["id"]] == Decimal("0.5") * 279999 / 2 / 10**6
    ledger_is_whole(gateway)
    assert shop.reprice()["total"]["changed"] == 0


def test_a_step_within_a_group_leaves_the_record_as_it_is(gateways, provider, tmp_path):
    """Two lengths that were alike by the old book, and are not by the new one."""
    shop = Shop(gateways, tmp_path)
    plain = entry("beta", (None, None, {"in": "1", "out": "1"}))
    shop.write(with_batches(plain))
    gateway = shop.start()
    batch(gateway, [("beta", 140000), ("beta", 160000)], "file-1")
    shop.write(with_batches(long_and_short("2", "3")))
    done = subprocess.run([procs.tollgate_binary(), "price", "reprice", "-c",
                           gateway.config_path, "--format", "json", "--all"],
                          text=True, capture_output=True, check=True)
    assert json.loads(done.stdout)["total"]["changed"] == 0
    assert "1 that were priced in parts" in done.stderr


def test_shares_are_priced_again(gateways, provider, tmp_path):
    """Of an answer that several models made together; the name that they have together has no
    price."""
    shop = Shop(gateways, tmp_path)
    gateway = shop.start()
    took = [("alpha", 1000, 100), ("beta", 3000, 50)]
    record = record_of(gateway, ask(
        gateway, "POST", "/openai/v1/chat/completions", {"model": "both", "messages": []},
        http({"model": "both", "choices": [], "usage": {
            "prompt_tokens": 4000, "completion_tokens": 150, "total_tokens": 4150},
            "usage_breakdown": {"models": [{"model": model, "usage": {
                "prompt_tokens": read, "completion_tokens": written}}
                for model, read, written in took]}})))
    assert len(record["parts"]) == 2 and record["price_status"] == "ok"
    assert shop.reprice("--all")["total"]["changed"] == 0
    shop.write(book_of(entry("alpha", (None, None, {"in": "7", "out": "0"})),
                       entry("beta", (None, None, {"in": "11", "out": "13"}))))
    shop.reprice("--apply", "--reason", "new rates")
    change, = [r for r in gateway.export() if "corrects" in r]
    assert Decimal(record["cost_usd"]) + Decimal(change["cost_usd"]) == \
        Decimal(7 * 1000 + 11 * 3000 + 13 * 50) / 10**6
    ledger_is_whole(gateway)


def test_another_models_part_is_priced_again(gateways, provider, tmp_path):
    shop = Shop(gateways, tmp_path)
    gateway = shop.start()
    usage = {"input_tokens": 1000, "output_tokens": 100, "iterations": [
        {"type": "message", "input_tokens": 1000, "output_tokens": 100},
        {"type": "advisor_message", "model": "beta", "input_tokens": 2000, "output_tokens": 50}]}
    record = record_of(gateway, ask(
        gateway, "POST", "/anthropic/v1/messages", dict(calls.messages().body, model="alpha"),
        http({"type": "message", "model": "alpha", "content": [], "stop_reason": "end_turn",
              "usage": usage}), x_api_key=calls.KEY))
    assert [(p["model"], p["usage"]["input_tokens"]) for p in record["parts"]] == [("beta", 2000)]
    assert shop.reprice("--all")["total"]["changed"] == 0
    shop.write(book_of(entry("alpha", (None, None, {"in": "3", "out": "8"})),
                       entry("beta", (None, None, {"in": "7", "out": "0.003"}))))
    shop.reprice("--apply", "--reason", "new rates")
    change = [Decimal(r["cost_usd"]) for r in gateway.export() if "corrects" in r]
    assert change == [Decimal("0.001") + (7 - Decimal("0.001")) * 2000 / 10**6]
    ledger_is_whole(gateway)


def test_it_can_be_stopped_and_words_are_checked(shop):
    shop.spend(1)
    shop.gateway.records(1)
    shop.reprice("--apply", good=2)                     # no reason
    shop.reprice("--format", "html", good=2)
    shop.reprice("--where", "team", good=2)
    missing = subprocess.run([procs.tollgate_binary(), "price", "reprice"], check=False,
                             capture_output=True, text=True)
    assert missing.returncode == 2
    help_text = subprocess.run([procs.tollgate_binary(), "price", "reprice", "--help"],
                               check=False, capture_output=True, text=True)
    assert help_text.returncode == 0 and "--apply" in help_text.stdout
