"""Alerts: once a window, to the team's own channel, through receivers that fail, hang and throttle."""

import email
import email.policy
import hashlib
import hmac
import json
import os
import re
import subprocess
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from kit import calls, procs
from kit.alerting import OLD_SECRET, PAGER, SECRET, alerts, budget, settled, spend, start
from kit.procs import run_cli, wait_for

HISTORY = os.path.join(os.path.dirname(procs.provider_binary()), "history")

def test_thresholds_once_each_and_the_highest_alone(gateways, hooks):
    gateway = start(gateways, hooks, [{"match": {"team": "search"}, "channels": ["slack", "pager", "hook"]}],
                    [budget(limit="0.01")], fallback=["ops"])
    spend(gateway, 2400)  # past a half, at once past four fifths or not as prices have it
    told, = settled(hooks, "/hook", 1)
    assert told["type"] == "budget.threshold" and told["status"] == "firing" and told["version"] == 1
    assert told["tags"]["team"] == "search" and told["details"]["Budget"].startswith("$0.01")
    assert told["dedup_key"].startswith("tollgate:search-day:") and told["dedup_key"].endswith((":50", ":80"))
    spend(gateway, 8000)
    first, last = settled(hooks, "/hook", 2)
    assert last["type"] == "budget.exhausted" and last["severity"] == "critical"
    assert last["dedup_key"].endswith(":actual:100")
    slack = hooks.taken("/slack-T0KEN")
    assert len(slack) == 2 and slack[1]["text"].startswith("[critical] search-day")
    assert {b["type"] for b in slack[1]["blocks"]} == {"header", "section", "context"}
    pager = hooks.taken("/pager")
    # What is worse takes the place of what was told: its incident would stay open for ever.
    assert [p["event_action"] for p in pager] == ["trigger", "trigger", "resolve"]
    assert pager[2]["dedup_key"] == pager[0]["dedup_key"] == first["dedup_key"]
    assert pager[1]["routing_key"] == PAGER and pager[1]["payload"]["severity"] == "critical"
    assert pager[1]["dedup_key"] == last["dedup_key"]
    assert hooks.taken("/ops") == []  # a route took them


def test_signature_and_idempotency(gateways, hooks):
    gateway = start(gateways, hooks, [{"channels": ["hook"]}], [budget()])
    spend(gateway, 3000)
    settled(hooks, "/hook", 1)
    _, _, headers, body = hooks.got[0]
    parts = headers["X-Tollgate-Signature"].split(",")
    stamp = parts[0].removeprefix("t=")
    assert abs(time.time() - int(stamp)) < 300
    wanted = [hmac.new(s.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
              for s in (SECRET, OLD_SECRET)]
    assert [p.removeprefix("v1=") for p in parts[1:]] == wanted
    assert headers["Idempotency-Key"] == json.loads(body)["id"]


@pytest.mark.slow
def test_each_team_its_own_channel(gateways, hooks):
    routes = [{"match": {"team": "search"}, "events": ["budget.*"], "channels": ["hook"]},
              {"match": {"team": "billing"}, "channels": ["slack"]}]
    gateway = start(gateways, hooks, routes, [budget(match={}, per=["team"])], fallback=["ops"])
    for team in ("search", "billing", "labs<!channel>"):
        spend(gateway, 3000, team)
    wait_for("three", lambda: len(hooks.taken("/hook")) + len(hooks.taken("/slack-T0KEN")) +
             len(hooks.taken("/ops")) >= 3, 15)
    time.sleep(2)
    assert [t["tags"]["team"] for t in hooks.taken("/hook")] == ["search"]
    assert len(hooks.taken("/slack-T0KEN")) == 1 and "billing" in json.dumps(hooks.taken("/slack-T0KEN"))
    assert [t["tags"]["team"] for t in hooks.taken("/ops")] == ["labs<!channel>"]


def test_slack_pings_nobody(gateways, hooks):
    gateway = start(gateways, hooks, [{"channels": ["slack"]}], [budget(match={}, per=["team"])])
    spend(gateway, 3000, "<!channel>&co")
    settled(hooks, "/slack-T0KEN", 1)
    sent = hooks.taken("/slack-T0KEN")[0]
    assert "<!channel>" not in sent["text"] and "&lt;!channel&gt;&amp;co" in json.dumps(sent["blocks"])


@pytest.mark.slow
def test_receivers_that_fail_and_throttle(gateways, hooks):
    hooks.answers = [503, (429, {"Retry-After": "2"}), 500]
    gateway = start(gateways, hooks, [{"channels": ["hook"]}], [budget()])
    spend(gateway, 3000)
    wait_for("the fourth try", lambda: len(hooks.taken("/hook")) == 1, 40)
    assert [status for status, *_ in hooks.got] == [503, 429, 500, 200]
    assert len({json.loads(body)["id"] for *_, body in hooks.got}) == 1
    time.sleep(2)
    assert len(hooks.got) == 4


@pytest.mark.slow
def test_a_refusal_is_told_elsewhere(gateways, hooks):
    hooks.answers = [404]
    gateway = start(gateways, hooks, [{"channels": ["slack"]}], [budget()], fallback=["ops"])
    spend(gateway, 3000)
    settled(hooks, "/ops", 2)
    failed, lost = hooks.taken("/ops")
    assert failed["type"] == "alerting.failed" and "slack" in failed["title"]
    assert lost["type"].startswith("budget.")


@pytest.mark.slow
def test_a_receiver_that_hangs_delays_no_request_and_no_other(gateways, hooks):
    hooks.answers = ["hang"]
    gateway = start(gateways, hooks, [{"channels": ["hook", "slack"]}], [budget()])
    spend(gateway, 3000)
    time.sleep(2.5)  # one of the two hangs by now
    began = time.monotonic()
    spend(gateway, 10)
    assert time.monotonic() - began < 3
    wait_for("the other", lambda: len(hooks.taken()) >= 1, 15)
    hooks.release.set()
    wait_for("both", lambda: len(hooks.taken()) == 2, 40)


@pytest.mark.slow
def test_a_restart_neither_repeats_nor_loses(gateways, hooks):
    hooks.answers = [503] * 3
    gateway = start(gateways, hooks, [{"channels": ["hook"]}], [budget()])
    spend(gateway, 3000)
    wait_for("a try", lambda: len(hooks.got) >= 1, 15)
    gateway.kill()
    hooks.answers = []
    gateway.start()
    told, = settled(hooks, "/hook", 1, 30)
    assert told["id"] == json.loads(hooks.got[0][3])["id"]
    gateway.stop()
    gateway.start()
    time.sleep(3)
    assert len(hooks.taken("/hook")) == 1


def test_a_raised_budget_takes_it_back(gateways, hooks):
    gateway = start(gateways, hooks, [{"channels": ["hook", "pager"]}], [budget()])
    spend(gateway, 3000)
    settled(hooks, "/hook", 1)
    gateway.config["limits"][0]["limit"] = "100"
    gateway.write()
    gateway.reload()
    fired, resolved = settled(hooks, "/hook", 2)
    assert resolved["status"] == "resolved" and resolved["dedup_key"] == fired["dedup_key"]
    assert [p["event_action"] for p in hooks.taken("/pager")] == ["trigger", "resolve"]


def test_unpriced_models_and_untagged_spend(gateways, hooks):
    gateway = gateways(alerts=alerts(hooks, [{"events": ["data_quality.*"], "channels": ["hook"]}],
                                     untagged_percent=10),
                       keys=[{"name": "main", "secret": calls.KEY}])
    assert calls.send(gateway, calls.chat(model="nobody-knows-this")).status == 200
    assert calls.send(gateway, calls.chat(words=100)).status == 200
    told = settled(hooks, "/hook", 2, 20)
    assert {t["type"] for t in told} == {"data_quality.unpriced", "data_quality.untagged"}
    unpriced, = [t for t in told if t["type"] == "data_quality.unpriced"]
    assert unpriced["tags"] == {"model": "nobody-knows-this", "upstream": "openai"}


@pytest.mark.slow
def test_trouble_with_redis_and_its_end(gateways, hooks, own_redis):
    gateway = gateways(redis=own_redis, alerts=alerts(hooks, [{"channels": ["hook"]}]),
                       limits=[budget(limit="1000")])
    spend(gateway)
    own_redis.kill()
    told, = settled(hooks, "/hook", 1, 20)
    assert told["type"] == "gateway.trouble" and told["severity"] == "critical"
    own_redis.start()
    _, over = settled(hooks, "/hook", 2, 20)
    assert over["status"] == "resolved"


def test_mail(gateways, hooks, mailbox):
    box = {"name": "mail", "type": "email", "url": mailbox.url, "from": "tollgate@example.com",
           "to": ["a@example.com", "b@example.com"], "require_tls": False, "allow_private": True}
    mailbox.answers = ["451 try again"]
    gateway = start(gateways, hooks, [{"channels": ["mail"]}], [budget(name="Suche-ä")], channels=[box])
    spend(gateway, 3000)
    wait_for("a message", lambda: mailbox.messages, 20)
    assert mailbox.tries == 2
    sender, to, text = mailbox.messages[0]
    assert sender == "tollgate@example.com" and to == ["a@example.com", "b@example.com"]
    message = email.message_from_bytes(text, policy=email.policy.default)
    assert message["Subject"].startswith("[critical] Suche-ä") and message["Message-ID"]
    assert {p.get_content_type() for p in message.iter_parts()} == {"text/plain", "text/html"}
    gateway.config["limits"][0]["limit"] = "100"
    gateway.write()
    gateway.reload()
    wait_for("its end", lambda: len(mailbox.messages) == 2, 20)
    reply = email.message_from_bytes(mailbox.messages[1][2], policy=email.policy.default)
    assert reply["In-Reply-To"] == message["Message-ID"] and reply["Subject"].startswith("[resolved]")


def test_private_addresses_are_refused_unless_allowed(gateways, hooks):
    config = alerts(hooks, [{"channels": ["hook"]}])
    for channel in config["channels"]:
        if channel["name"] == "hook":
            channel["url"] = channel["url"].replace("http://", "https://")
            del channel["allow_private"]
    gateway = gateways(alerts=config, limits=[budget()])
    spend(gateway, 3000)
    wait_for("a try", lambda: "not delivered yet" in gateway.log(), 20)
    assert hooks.got == []


@pytest.mark.parametrize("change,says", [
    ({"routes": [{"channels": ["nobody"]}]}, "there is no channel"),
    ({"channels": [{"name": "x", "type": "slack", "url": "http://example.com/"}]}, "https://"),
    ({"channels": [{"name": "x", "type": "webhook", "url": "https://example.com/"}]}, "secret"),
    ({"channels": [{"name": "x", "type": "pagerduty"}]}, "routing_key"),
    ({"channels": [{"name": "x", "type": "email", "url": "smtp://h"}]}, "from"),
    ({"channels": [{"name": "x", "type": "email", "url": "smtp://h", "from": "Tollgate <t@example.com>",
                    "to": ["a@example.com"]}]}, "from is no mail address"),
    ({"channels": [{"name": "x", "type": "email", "url": "smtp://h", "from": "t@example.com",
                    "to": ["a@example.com", "b@example.com, c@example.com"]}]}, "b@example.com, c@example.com"),
    ({"fallback": ["ghost"]}, "there is no channel"),
    ({"quiet_hours": "22-7"}, "no span of a day"),
    ({"quiet_hours": "24:00-07:00"}, "no span of a day"),
    ({"mutes": [{"until": "tomorrow"}]}, "alerts.mutes[].until"),
    ({"mutes": [{"events": ["budget.*"]}]}, "until"),
])
def test_faulty_configuration(gateways, tmp_path, change, says):
    path = tmp_path / "tollgate.json"
    path.write_text(json.dumps(gateways.config(alerts=change)))
    done = run_cli("check", "-c", str(path), cwd=str(tmp_path))
    assert done.returncode == 2 and says in done.stdout + done.stderr


def test_digest_report(gateways, hooks):
    gateway = start(gateways, hooks, [], [
        budget(limit="1"), {"name": "teams-month", "per": ["team", "feature"], "unit": "usd", "limit": "0.5",
                            "window": "month", "mode": "warn"}])
    spend(gateway, 100)
    spend(gateway, 50, "b%,=")
    gateway.records(2)
    report = gateway.report("digest")
    assert {row["team"] for row in report["rows"]} == {"search", "b%,="}
    assert report["total"]["week_usd"] == gateway.report("spend")["total"]["cost_usd"]
    assert report["rows"][0]["moved_most"].startswith("gpt-4o")
    # The nearest of its budgets, as the report on budgets has it.
    used = sorted(row["used_ratio"] for row in gateway.report("budgets")["rows"] if row["budget"] == "teams-month")
    assert {row["budget"] for row in report["rows"]} == {"teams-month"} and 0 < used[0] < used[1]
    assert sorted(row["budget_used_ratio"] for row in report["rows"]) == used
    # The first row of what could be saved, with what it is made of; and the week's lines.
    first = {}
    for row in gateway.report("savings", "--last", "7d", "--by", "team")["rows"]:
        first.setdefault(row["team"], row)
    for row in report["rows"]:
        best = first[row["team"]]
        assert row["top_saving"].startswith(best["rule"]) and best["model"] in row["top_saving"]
        assert f": {best['requests']} requests of " in row["top_saving"]
        assert abs(Decimal(row["top_saving_usd"]) - Decimal(best["monthly_saving_usd"])) < Decimal("1e-6")
        lines = gateway.admin(row["lines"]).json()
        assert Decimal(lines["total"]["cost_usd"]) == Decimal(row["week_usd"])


@pytest.mark.slow
def test_weekly_digest_once_a_week(gateways, hooks):
    """The last one's time is set back by a week: one is due, and only one."""
    gateway = start(gateways, hooks, [{"match": {"team": "search"}, "events": ["digest.*"], "channels": ["hook"]}],
                    fallback=["ops"], digest_day="monday", digest_hour=0)
    spend(gateway, 100)
    path = os.path.join(gateway.folder, "var", "alerts.json")
    wait_for("its first note", lambda: os.path.exists(path) and json.load(open(path))["digest_us"] != "0", 20)
    assert hooks.got == []
    gateway.stop()
    state = json.load(open(path))
    state["digest_us"] = str(int(state["digest_us"]) - 7 * 86400 * 10**6)
    json.dump(state, open(path, "w"))
    gateway.start()
    mine, = settled(hooks, "/hook", 1, 20)
    assert mine["type"] == "digest.weekly" and mine["tags"] == {"team": "search"}
    assert "Projected month end" in mine["details"] or "This month" in mine["details"]
    assert re.search(r"a month: model at \S+, model gpt-4o, instead gpt-4o-mini: 1 requests of 0\.\d+ USD",
                     mine["details"]["Top saving"]), mine["details"]
    assert len(hooks.taken("/ops")) == 1
    gateway.stop()
    gateway.start()
    time.sleep(3)
    assert len(hooks.taken()) == 2


# What tells of each kind of alert, in the words that every channel has.
KINDS = {"threshold": "of its budget", "forecast": "will not last", "anomaly": "Unusual spend",
         "unpriced": "No price for model", "untagged": "of spend has no team",
         "trouble": "trouble with its counters"}


def unfinished_window():
    """A calendar window that is neither so young that it has no forecast nor about to end."""
    now = datetime.now(timezone.utc)
    if 3 <= now.day <= 26:
        return "month"
    return "year" if now.month > 1 or now.day > 3 else "week"


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists(HISTORY), reason=f"no {HISTORY}")
def test_every_kind_reaches_every_channel(gateways, hooks, mailbox, own_redis, tmp_path):
    """Over weeks of history with a spike of yesterday; receivers fail, hang and throttle at first."""
    box = {"name": "mail", "type": "email", "url": mailbox.url, "from": "tollgate@example.com",
           "to": ["a@example.com"], "require_tls": False, "allow_private": True}
    everywhere = [{"channels": ["slack", "pager", "hook", "mail"]}]
    state = tmp_path / "weeks" / "var"
    state.mkdir(parents=True)
    subprocess.run([HISTORY, str(state), "45", "40", "1"], check=True, timeout=120)
    window = unfinished_window()
    gateway = gateways(
        name="weeks", redis=own_redis, keys=[{"name": "main", "secret": calls.KEY}],
        alerts=alerts(hooks, everywhere, [box], untagged_percent=1, anomaly_usd="0.01", anomaly_percent=5),
        limits=[{"name": "roomy", "unit": "usd", "limit": "100000", "window": window, "alerts": [100]}])
    gateway.stop()
    outlook, = gateway.report("forecast", "--scope", "budgets")["rows"]
    spent, end = Decimal(outlook["spent_usd"]), Decimal(outlook["forecast_usd"])
    assert 0 < spent < end
    gateway.config["limits"] = [
        {"name": "half", "unit": "usd", "limit": f"{spent * 2:.6f}", "window": window, "alerts": [50]},
        {"name": "short", "unit": "usd", "limit": f"{(spent + end) / 2:.6f}", "window": window, "alerts": [100]}]
    gateway.write()
    hooks.answers = [503, "hang", (429, {"Retry-After": "1"}), 500, (429, {"Retry-After": "1"})]
    mailbox.answers = ["451 try again", "421 busy"]
    gateway.start()
    assert calls.send(gateway, calls.chat(model="nobody-knows-this")).status == 200
    for _ in range(4):
        assert calls.send(gateway, calls.chat(words=9000)).status == 200
    own_redis.kill()

    def told():
        return {
            "slack": [m["text"] for m in hooks.taken("/slack-T0KEN")],
            "pager": [m["payload"]["summary"] for m in hooks.taken("/pager") if "payload" in m],
            "hook": [m["title"] for m in hooks.taken("/hook") if m["status"] == "firing"],
            "mail": [email.message_from_bytes(text, policy=email.policy.default)["Subject"]
                     for _, _, text in mailbox.messages],
        }

    def missing():
        return {(channel, kind) for channel, texts in told().items()
                for kind, says in KINDS.items() if not any(says in text for text in texts)}
    try:
        wait_for("six kinds at four channels", lambda: not missing(), 90, 0.5)
    except AssertionError:
        raise AssertionError(f"missing: {sorted(missing())}") from None
    first = {m["id"] for m in hooks.taken("/hook")}
    metrics = gateway.admin("/metrics").body.decode()
    counts = {(c, r): int(n) for c, r, n in
              re.findall(r'tollgate_alerts_total\{channel="(\w+)",result="(\w+)"\} (\d+)', metrics)}
    assert all(counts[kind, "sent"] >= 6 for kind in ("slack", "pagerduty", "webhook", "email"))
    assert sum(counts[kind, "retried"] for kind in ("slack", "pagerduty", "webhook")) >= 4
    assert counts["email", "retried"] >= 2
    assert int(re.search(r"^tollgate_alerts_firing (\d+)", metrics, re.M)[1]) >= 6
    # A restart repeats none of what still holds.
    gateway.stop()
    gateway.start()
    time.sleep(7)
    again = [m for m in hooks.taken("/hook") if m["id"] not in first and m["status"] == "firing"]
    assert [m["title"] for m in again if "trouble" not in m["title"]] == []
    spike = [m for m in hooks.taken("/hook") if m["type"] == "anomaly.detected"
             and m["tags"].get("team") == "labs" and " up to " in m["title"]]
    assert spike and spike[0]["details"]["What moved most"] and spike[0]["details"]["Expected"].startswith("$")
    forecast = [m for m in hooks.taken("/hook") if m["type"] == "budget.forecast"]
    assert {m["dedup_key"].split(":")[1] for m in forecast} >= {"short"}


def test_maintenance_mutes_until_its_end(gateways, hooks):
    until = datetime.now(timezone.utc) + timedelta(seconds=9)
    gateway = start(gateways, hooks, [{"channels": ["hook"]}], [budget()], mutes=[
        {"match": {"team": "search"}, "events": ["budget.*"], "reason": "a load test",
         "until": until.strftime("%Y-%m-%dT%H:%M:%SZ")}])
    spend(gateway, 3000)
    time.sleep(max(0, (until - datetime.now(timezone.utc)).total_seconds() - 1.5))
    assert hooks.got == []
    told, = settled(hooks, "/hook", 1)
    assert told["type"] == "budget.exhausted"


def test_quiet_hours_keep_what_only_informs(gateways, hooks):
    now = datetime.now(timezone.utc)
    gateway = start(gateways, hooks, [{"channels": ["hook"]}],
                    [budget(name="low", limit="0.01", alerts=[1]), budget(name="gone", alerts=[100])],
                    quiet_hours=f"{now - timedelta(minutes=2):%H:%M}-{now + timedelta(minutes=90):%H:%M}")
    spend(gateway, 3000)
    told, = settled(hooks, "/hook", 1)  # the other one waits, and holds nothing up
    assert told["dedup_key"].startswith("tollgate:gone:")
    state = json.load(open(os.path.join(gateway.folder, "var", "alerts.json")))
    waiting, = state["waiting"]
    assert waiting["alert"]["key"].startswith("tollgate:low:")
    assert int(waiting["next_us"]) > (now + timedelta(minutes=80)).timestamp() * 1e6


@pytest.mark.skipif(not os.path.exists(HISTORY), reason=f"no {HISTORY}")
def test_an_anomaly_is_opened_and_closed_once(gateways, hooks, mailbox, tmp_path):
    """Yesterday's spike is told to every channel once, and once more when it no longer counts as one."""
    box = {"name": "mail", "type": "email", "url": mailbox.url, "from": "tollgate@example.com",
           "to": ["a@example.com"], "require_tls": False, "allow_private": True}
    state = tmp_path / "spike" / "var"
    state.mkdir(parents=True)
    subprocess.run([HISTORY, str(state), "45", "40", "1"], check=True, timeout=120)
    route = [{"match": {"team": "labs"}, "channels": ["slack", "pager", "hook", "mail"]}, {"channels": []}]
    # More than the team's dearest hour, whose own oddity would be told too, and less than the day's spike.
    gateway = gateways(name="spike", alerts=alerts(hooks, route, [box], anomaly_usd="0.08", anomaly_percent=5))

    def told():
        mails = [email.message_from_bytes(text, policy=email.policy.default) for _, _, text in mailbox.messages]
        return ([(m["type"], m["status"]) for m in hooks.taken("/hook")],
                [m["event_action"] for m in hooks.taken("/pager")],
                len(hooks.taken("/slack-T0KEN")), len(mails))

    def keys():
        return {m["dedup_key"] for m in hooks.taken("/hook")} | {m["dedup_key"] for m in hooks.taken("/pager")}

    opened = ([("anomaly.detected", "firing")], ["trigger"], 1, 1)
    closed = ([*opened[0], ("anomaly.closed", "resolved")], ["trigger", "resolve"], 2, 2)
    wait_for("the anomaly at every channel", lambda: told() == opened, 60, 0.3)
    key, = keys()
    row, = [r for r in gateway.report("anomalies", "--by", "team", "--last", "7d")["rows"] if r["team"] == "labs"]
    assert key == "tollgate:anomaly:" + row["id"] and row["status"] == "open"
    gateway.stop()
    gateway.start()
    time.sleep(3)  # looks at it again, and says nothing
    assert told() == opened
    gateway.config["alerts"]["anomaly_usd"] = "1000000"
    gateway.write()
    gateway.reload()
    wait_for("its end at every channel", lambda: told() == closed, 60, 0.3)
    gateway.stop()
    gateway.start()
    time.sleep(3)
    assert told() == closed and keys() == {key}
    first, last = [email.message_from_bytes(text, policy=email.policy.default) for _, _, text in mailbox.messages]
    assert last["In-Reply-To"] == first["Message-ID"] != last["Message-ID"]


@pytest.mark.slow
def test_many_at_once(gateways, hooks, mailbox):
    """The pager opens and closes each; people get twenty and one message that names the others."""
    teams = [f"team-{n:02}" for n in range(30)]
    channel = {"name": "mail", "type": "email", "url": mailbox.url, "from": "tollgate@example.com",
               "to": ["a@example.com"], "allow_private": True, "require_tls": False}
    gateway = start(gateways, hooks, [{"channels": ["slack", "pager", "hook", "mail"]}],
                    [budget(match={}, per=["team"], alerts=[100], limit="100")], channels=[channel])
    for team in teams:
        spend(gateway, team=team)

    def told(limit, done, people):
        gateway.config["limits"][0]["limit"] = limit
        gateway.write()
        gateway.reload()
        wait_for("all of them", lambda: len(hooks.taken("/pager")) >= done and len(hooks.taken("/hook")) >= done and
                 len(hooks.taken("/slack-T0KEN")) >= people and len(mailbox.messages) >= people, 40)
        time.sleep(1.7)
        assert len(hooks.taken("/slack-T0KEN")) == len(mailbox.messages) == people
        assert len(hooks.taken("/hook")) == done
        keys = {each["dedup_key"] for each in hooks.taken("/pager")[done - 30:done]}
        assert len(hooks.taken("/pager")) == done and len(keys) == 30
        texts = [json.dumps(each) for each in hooks.taken("/slack-T0KEN")[people - 21:]]
        assert all(sum(team in text for text in texts) == 1 for team in teams)
        assert "10 more alerts at once" in texts[-1]
        return keys
    assert told("0.0000001", 30, 21) == told("100", 60, 42)     # what was opened is closed, all of it
    assert [each["event_action"] for each in hooks.taken("/pager")] == ["trigger"] * 30 + ["resolve"] * 30
