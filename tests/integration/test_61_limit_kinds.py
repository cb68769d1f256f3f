"""Every window, every thing to count by and to match, on both engines: one gateway each."""

import datetime
import json
import zoneinfo

import pytest

from kit import calls

ZONE = "America/New_York"
WINDOWS = ["hour", "day", "week", "month", "quarter", "year", "total"]
# What to count by -> two values of it, as tags of a request; key, model and upstream apart.
TAGS = {"team": "X-Tollgate-Team", "feature": "X-Tollgate-Feature",
        "environment": "X-Tollgate-Environment", "customer": "X-Tollgate-Customer",
        "user": "X-Tollgate-User", "task": "X-Tollgate-Task", "task_type": "X-Tollgate-Task-Type"}
KEYS = {"one": calls.KEY, "two": "tg_canary_two_8a0b6c1e94d34f72"}
DIMENSIONS = [*TAGS, "region", "key", "model", "upstream"]


@pytest.fixture(params=["memory", "redis"])
def engine(request):
    return request.getfixturevalue("redis") if request.param == "redis" else None


def windows_end(now):
    """When each window that holds now ends, by the calendar of the zone."""
    day = datetime.datetime(now.year, now.month, now.day, tzinfo=now.tzinfo)
    step = {"day": 1, "week": 7 - day.weekday()}
    ends = {name: datetime.datetime(*(day.date() + datetime.timedelta(n)).timetuple()[:3],
                                    tzinfo=now.tzinfo) for name, n in step.items()}
    for name, months in (("month", 1), ("quarter", 3), ("year", 12)):
        at = now.year * 12 + (now.month - 1) // months * months + months
        ends[name] = datetime.datetime(at // 12, at % 12 + 1, 1, tzinfo=now.tzinfo)
    hour = now.astimezone(datetime.timezone.utc).replace(minute=0, second=0, microsecond=0)
    return ends | {"hour": hour + datetime.timedelta(hours=1)}


def test_windows(gateways, engine):
    """Each window holds its limit and says when it resets, in the configured zone."""
    gateway = gateways(redis=engine, timezone=ZONE, limits=[
        {"name": w, "match": {"feature": w}, "unit": "requests", "limit": 1, "window": w}
        for w in WINDOWS])
    before = windows_end(datetime.datetime.now(zoneinfo.ZoneInfo(ZONE)))
    for window in WINDOWS:
        tags = [("X-Tollgate-Feature", window)]
        assert [calls.send(gateway, calls.chat(), tags=tags).status
                for _ in range(2)] == [200, 402], window
    rows = {r["budget"]: r for r in json.loads(gateway.admin("/api/v1/reports/budgets").body)["rows"]}
    after = windows_end(datetime.datetime.now(zoneinfo.ZoneInfo(ZONE)))
    for window in WINDOWS[:-1]:
        said = datetime.datetime.fromisoformat(rows[window]["window_end"].replace("Z", "+00:00"))
        assert said in (before[window], after[window]), window
        assert rows[window]["spent_count"] == 1
    assert not rows["total"]["window_end"]


VALUES = {"key": ["one", "two"], "model": ["gpt-4o", "gpt-4o-mini"],
          "upstream": ["openai", "anthropic"]}


def status_of(gateway, dimension, value):
    """What a request gets that has this value, and the dimension's name as its tag "probe"."""
    key, call, tags, free = KEYS["one"], calls.chat(), [], f"probe={dimension}"
    if dimension in TAGS:
        tags = [(TAGS[dimension], value)]
    elif dimension == "region":
        free += f", region={value}"
    elif dimension == "key":
        key = KEYS[value]
    elif dimension == "model":
        call = calls.chat(model=value)
    elif value == "anthropic":
        call = calls.messages()
    return calls.send(gateway, call, key=key, tags=[*tags, ("X-Tollgate-Tags", free)]).status


@pytest.mark.parametrize("how", ["per", "match"])
def test_scopes(gateways, engine, how):
    """A counter for each value, or for the matched one alone, of every tag and dimension."""
    def kind(dimension):
        value = VALUES.get(dimension, ["a"])[0]
        return {"match": {"probe": dimension}, "per": [dimension]} if how == "per" else \
            {"match": {"probe": dimension, dimension: value}}
    gateway = gateways(redis=engine, keys=[{"name": n, "secret": s} for n, s in KEYS.items()],
                       limits=[{"name": f"by-{d}", "unit": "requests", "limit": 1,
                                "window": "day", **kind(d)} for d in DIMENSIONS])
    for dimension in DIMENSIONS:
        first, second = VALUES.get(dimension, ["a", "b"])
        assert [status_of(gateway, dimension, v) for v in (first, first, second)] == [
            200, 402, 200], dimension
        if how == "per":
            assert status_of(gateway, dimension, second) == 402, dimension
    rows = json.loads(gateway.admin("/api/v1/reports/budgets").body)["rows"]
    for dimension in DIMENSIONS:
        mine = [r for r in rows if r["budget"] == f"by-{dimension}"]
        assert [r["spent_count"] for r in mine] == [1] * (2 if how == "per" else 1), dimension
        if how == "per" and dimension != "user":   # kept as a hash
            assert {r["scope"] for r in mine} == {
                f"{dimension}={v}" for v in VALUES.get(dimension, ["a", "b"])}
        for row in mine:   # its number leads to its lines
            lines = json.loads(gateway.admin(row["lines"]).body)
            assert lines["total"]["requests"] == row["ledger_spent_count"] == 1, row


def test_all_or_none_of_many(gateways, engine):
    """A request that one of nine limits refuses takes nothing in the other eight."""
    kinds = [("usd", "100", "day"), ("tokens", 100000, "hour"), ("input_tokens", 100000, "week"),
             ("output_tokens", 100000, "month"), ("requests", 1000, "3600s"),
             ("requests", 1000, "total"), ("usd", "100", "7200s"), ("concurrent", 50, None)]
    limits = [{"name": f"wide-{n}", "unit": unit, "limit": amount,
               **({"window": window} if window else {})}
              for n, (unit, amount, window) in enumerate(kinds)]
    limits.append({"name": "narrow", "unit": "requests", "limit": 2, "window": "year",
                   "per": ["team", "feature"]})
    gateway = gateways(redis=engine, limits=limits, counters={"leases": False})
    statuses = [calls.send(gateway, calls.chat()).status for _ in range(6)]
    assert statuses == [200] * 2 + [402] * 4
    gateway.records(2)
    rows = {r["budget"]: r for r in json.loads(gateway.admin("/api/v1/reports/budgets").body)["rows"]}
    for n, (unit, _, window) in enumerate(kinds):
        row = rows.get(f"wide-{n}")
        if unit == "concurrent":
            assert row is None or not row["reserved_count"]
        elif unit == "usd":
            assert float(row["reserved_usd"]) == 0 and float(row["spent_usd"]) > 0
            if window == "day":
                assert row["spent_usd"] == row["ledger_spent_usd"]
            lines = json.loads(gateway.admin(row["lines"]).body)
            assert float(lines["total"]["cost_usd"]) == float(row["ledger_spent_usd"]), window
        else:
            assert row["reserved_count"] == 0 and row["spent_count"] == row["ledger_spent_count"]
