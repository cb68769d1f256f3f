"""The report on maturity: shares that can be counted by hand, from both places."""

import json
from datetime import datetime, timezone
from fractions import Fraction

from kit import calls
from kit.procs import wait_for

MONTH = datetime.now(timezone.utc).strftime("%Y-%m")
# A dollar an input token, nothing for output.
DOLLARS = {"schema": "tollgate-prices/1", "version": "1", "currency": "USD", "sources": {},
           "units": {"in": {"per": 1000000, "of": "token"}, "out": {"per": 1000000, "of": "token"}},
           "providers": {"openai": {"models": [{
               "id": "ours", "kind": "chat", "ids": ["ours"],
               "prices": [{"from": None, "to": None, "rates": {"in": "1000000", "out": "0"}}]}]}}}


def test_by_hand(gateways, provider, tmp_path):
    book = tmp_path / "dollars.json"
    book.write_text(json.dumps(DOLLARS))
    monthly = {"unit": "usd", "limit": "1000", "window": "month"}
    gateway = gateways(
        prices={"book": [*gateways.config()["prices"]["book"], str(book)]},
        keys=[{"name": "main", "secret": calls.KEY, "tags": {}}],
        limits=[{"name": "a", "match": {"team": "a"}, **monthly},
                {"name": "all", **monthly}, {"name": "prod-b", "match": {"team": "b", "environment": "prod"}, **monthly}],
        alerts={"channels": [{"name": "ops", "type": "webhook", "url": "https://127.0.0.1:9/", "secret": "s" * 32}],
                "routes": [{"match": {"team": "b"}, "channels": ["ops"]},
                           {"match": {"team": "c"}, "events": ["budget.*"], "channels": ["ops"]}]})
    with gateway.connect() as connection:
        for team, feature, words in (("a", "chat", 45), ("b", "chat", 35), ("c", None, 5), (None, "chat", 15)):
            tags = [("X-Tollgate-Environment", "prod")]
            tags += [("X-Tollgate-Team", team)] if team else []
            tags += [("X-Tollgate-Feature", feature)] if feature else []
            assert calls.send(gateway, calls.chat(model="ours", words=words), connection, tags=tags).status == 200
        assert calls.send(gateway, calls.chat(model="nobody-knows-this"), connection).status == 200
    gateway.records(5)
    report = gateway.report("maturity", "--month", MONTH)
    told = {row["indicator"]: (row["value"], row["level"], row["count"], row["of_count"], row["cost_usd"],
                               row["of_cost_usd"]) for row in report["rows"]}
    # What a month will come to is not known before there are days to tell from.
    assert told.pop("forecast_error")[:2] == (None, None)
    third = round(float(Fraction(1, 3)), 6)
    assert told == {
        "team_coverage": (0.85, "walk", None, None, "85", "100"),
        "tag_coverage": (0.8, "walk", None, None, "80", "100"),
        "teams_with_budget": (third, "crawl", 1, 3, None, None),
        "alert_routing": (third, "crawl", 1, 3, None, None),
        "price_coverage": (0.8, "crawl", 4, 5, None, None),
        "metered_usage": (1, "run", 5, 5, None, None),
        "time_to_acknowledge": (None, None, None, None, None, None),
        "reconciled_cost": (None, None, None, None, None, None)}
    for row in report["rows"]:
        if row["lines"]:
            total = gateway.admin(row["lines"]).json()["total"]
            assert (total["cost_usd"] if row["cost_usd"] else total["requests"]) == (row["cost_usd"] or row["count"])
    # With a fallback, everybody's alerts are told to somebody.
    gateway.config["alerts"]["fallback"] = ["ops"]
    gateway.write()
    gateway.reload()

    def routing():
        return gateway.admin(f"/api/v1/reports/maturity?month={MONTH}").json()["rows"][3]
    wait_for("the new configuration", lambda: routing()["level"] != "crawl", 10, 0.2)
    assert (routing()["indicator"], routing()["value"], routing()["level"]) == ("alert_routing", 1, "run")
    assert gateway.report("maturity", "--month", MONTH)["rows"][3] == routing()
    for form in ("table", "csv", "html"):
        here = gateway.cli("report", "maturity", "--month", MONTH, "--format", form)
        assert "alert_routing" in here and "run" in here
