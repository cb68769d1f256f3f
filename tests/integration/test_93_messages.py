"""What receivers of alerts get: within Slack's and PagerDuty's bounds, in mail that any server takes."""

import json
import ssl
from decimal import Decimal

import pytest

from kit import receivers
from kit.alerting import PAGER, budget, settled, spend, start
from kit.procs import wait_for


def mail(box, **more):
    return {"name": "mail", "type": "email", "url": box.url, "from": "tollgate@example.com",
            "to": ["a@example.com", "b@example.com"], "allow_private": True, **more}


def reload(gateway, **limit):
    gateway.config["limits"][0].update(limit)
    gateway.write()
    gateway.reload()


def test_programs_get_exact_amounts(gateways, hooks):
    """Beside the text for people: decimals, counts, times, and what an end is the end of."""
    gateway = start(gateways, hooks, [{"channels": ["hook"]}], [budget(per=["feature"])])
    spend(gateway, 3000)
    fired, = settled(hooks, "/hook", 1)
    facts = fired["budget"]
    row, = gateway.report("budgets")["rows"]
    assert facts["name"] == "search-day" and facts["scope"] == row["scope"] and facts["unit"] == "usd"
    assert facts["basis"] == "actual" and facts["threshold_percent"] == 100
    assert facts["limit_usd"] == row["limit_usd"] == "0.001" and facts["spent_usd"] == row["ledger_spent_usd"]
    assert row["window_end"].startswith(facts["window_end"].removesuffix("Z")) and fired["node"] == gateway.export()[0]["node"]
    reload(gateway, limit="100")
    _, over = settled(hooks, "/hook", 2)
    assert over["opened_id"] == fired["id"] != over["id"] and "opened_id" not in fired


HOSTILE = ["&" * 256, "<!channel>" * 25, "\N{SNOWMAN}" * 85, "--" + "x" * 200 + "=?UTF-8?Q?=41?="]


@pytest.mark.slow
@pytest.mark.parametrize("team", HOSTILE, ids=["escapes", "pings", "wide", "words"])
def test_bounds_of_the_providers(gateways, hooks, mailbox, team):
    """A team's name of 256 bytes, each of which may count five times, in every field that has it."""
    gateway = start(gateways, hooks, [{"channels": ["slack", "pager", "mail"]}],
                    [budget(match={}, per=["team"], alerts=[1])], channels=[mail(mailbox, require_tls=False)])
    spend(gateway, 3000, team)
    wait_for("all three", lambda: hooks.taken("/slack-T0KEN") and hooks.taken("/pager") and mailbox.messages, 20)
    slack, = hooks.taken("/slack-T0KEN")
    # https://docs.slack.dev/reference/block-kit/blocks
    assert 1 <= len(slack["blocks"]) <= 50 and len(json.dumps(slack)) < 13200
    for block in slack["blocks"]:
        if block["type"] == "header":
            assert 1 <= len(block["text"]["text"]) <= 150 and block["text"]["type"] == "plain_text"
        if block["type"] == "section":
            assert 1 <= len(block.get("text", {"text": "x"})["text"]) <= 3000
            assert 1 <= len(block.get("fields", ["x"])) <= 10
            assert all(1 <= len(field["text"]) <= 2000 for field in block.get("fields", []))
        if block["type"] == "context":
            assert 1 <= len(block["elements"]) <= 10
    marked = [slack["text"], *(e["text"] for b in slack["blocks"] for e in
                               b.get("fields", []) + b.get("elements", []) + [b.get("text", {"text": ""})]
                               if e.get("type") == "mrkdwn")]
    assert not any(c in text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
                   for text in marked for c in "<>&")
    # https://developer.pagerduty.com/docs/send-alert-event
    raw, = [body for _, path, _, body in hooks.got if path == "/pager"]
    pager, = hooks.taken("/pager")
    assert len(raw) < 512 << 10 and len(pager["dedup_key"]) <= 255 and pager["routing_key"] == PAGER
    payload = pager["payload"]
    assert 1 <= len(payload["summary"]) <= 1024 and payload["severity"] in ("critical", "error", "warning", "info")
    assert payload["source"] == gateway.export()[0]["node"] and payload["group"] == team
    assert "spent" in payload["custom_details"]["What"] and payload["custom_details"]["tags"] == {"team": team}
    # The mail says the same, whatever a server makes of lines, dots and bytes.
    message, = mailbox.read()
    assert mailbox.faults == []
    plain, page = [part.get_content() for part in message.iter_parts()]
    assert payload["custom_details"]["What"] in plain.replace("\n", " ") and payload["summary"] in message["Subject"]
    assert "<!channel>" not in page
    text = mailbox.messages[0][2]
    assert text.isascii() and all(len(line) <= 998 for line in text.split(b"\r\n"))


def test_mail_by_tls_with_a_login(gateways, hooks, certs):
    """STARTTLS and AUTH, neither of which may be left out; the password is in no log."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.path("server.pem"), certs.path("server.key"))
    safe = receivers.Mailbox(context, ("tollgate", "pa55-word-of-mail"))
    plain = receivers.Mailbox()
    try:
        gateway = start(gateways, hooks, [{"channels": ["mail"]}, {"channels": ["unsafe"]}], [budget()], channels=[
            mail(safe, user="tollgate", password="pa55-word-of-mail", ca_file=certs.ca),
            mail(plain, name="unsafe", user="tollgate", password="pa55-word-of-mail")])
        gateways.canaries += ["pa55-word-of-mail"]
        spend(gateway, 3000)
        wait_for("a message", lambda: safe.messages, 20)
        assert safe.said.index("STAR") < safe.said.index("AUTH") < safe.said.index("MAIL")
        # Without STARTTLS neither password nor message.
        wait_for("a try", lambda: "channel=unsafe" in gateway.log(), 20)
        assert plain.messages == [] and "AUTH" not in plain.said and "MAIL" not in plain.said
    finally:
        safe.stop()
        plain.stop()


@pytest.mark.slow
def test_one_who_left_silences_nobody(gateways, hooks):
    """An address that the server refuses costs a try, and the others have their mail."""
    box = receivers.Mailbox(unknown=["gone@example.com"])
    try:
        to = ["gone@example.com", "a@example.com"]
        gateway = start(gateways, hooks, [{"channels": ["mail"]}], [budget()], fallback=["ops"],
                        channels=[mail(box, to=to, require_tls=False)])
        spend(gateway, 3000)
        wait_for("a message", lambda: box.messages, 20)
        assert [m[1] for m in box.messages] == [["a@example.com"]] and "status 550" in gateway.log()
        assert hooks.taken("/ops") == []
    finally:
        box.stop()


def test_each_mail_is_another(gateways, hooks, mailbox):
    """The same threshold passed again in the same window: a mailbox must not take it for one that it has."""
    gateway = start(gateways, hooks, [{"channels": ["mail"]}], [budget()],
                    channels=[mail(mailbox, require_tls=False)])
    spend(gateway, 3000)
    wait_for("the first", lambda: len(mailbox.messages) == 1, 20)
    reload(gateway, limit="100")
    wait_for("its end", lambda: len(mailbox.messages) == 2, 20)
    reload(gateway, limit="0.001")
    wait_for("the second", lambda: len(mailbox.messages) == 3, 20)
    first, over, again = mailbox.read()
    assert first["Subject"] == again["Subject"] and over["In-Reply-To"] == first["Message-ID"]
    assert len({m["Message-ID"] for m in (first, over, again)}) == 3 and again["In-Reply-To"] is None


def test_a_budget_is_told_of_where_nothing_is_said(gateways, hooks):
    """With a channel a budget in dollars has thresholds: 50, 80, 100; "alerts": [] has none."""
    unsaid = {key: value for key, value in budget().items() if key != "alerts"}
    others = [{**unsaid, "name": "silent", "alerts": []},
              {**unsaid, "name": "tokens", "unit": "tokens", "limit": 10},
              {**unsaid, "name": "rolling", "window": "3600s"},
              {**unsaid, "name": "customers", "per": ["customer"]}]
    gateway = start(gateways, hooks, [{"events": ["budget.*"], "channels": ["hook"]}], [unsaid, *others])
    spend(gateway, 3000)
    told, = settled(hooks, "/hook", 1)
    assert told["budget"]["name"] == "search-day" and told["type"] == "budget.exhausted"
    assert told["text"].endswith("(and 50 %, 80 %).")
    assert Decimal(told["budget"]["spent_usd"]) > Decimal("0.001")
