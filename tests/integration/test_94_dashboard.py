"""The dashboard in a real browser: its figures are the command line's, its files its own."""

import html
import json
import os
import re
import subprocess
import time
from decimal import Decimal
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import pytest

from kit import browser as browser_kit
from kit import calls, procs

DAYS, CALLS = 45, 60  # enough for a forecast and anomalies
HISTORY = os.path.join(os.path.dirname(procs.provider_binary()), "history")

pytestmark = [
    pytest.mark.skipif(browser_kit.missing() is not None, reason=str(browser_kit.missing())),
    pytest.mark.skipif(not os.path.exists(HISTORY), reason=f"no {HISTORY}"),
]

LIMITS = [
    {"name": "company-month", "unit": "usd", "limit": "60", "window": "month", "alerts": [1, 80]},
    {"name": "team-month", "per": ["team"], "unit": "usd", "limit": "15", "window": "month"},
    {"name": "key-rpm", "per": ["key"], "unit": "requests", "limit": 600, "window": "60s"},
]


@pytest.fixture(scope="module")
def site(tmp_path_factory, certs, shared_provider):
    """A gateway over some weeks of history; no calls while it is looked at."""
    from conftest import Gateways
    folder = tmp_path_factory.mktemp("dashboard")
    made = Gateways(folder, certs, shared_provider)
    state = folder / "shown" / "var"
    state.mkdir(parents=True)
    subprocess.run([HISTORY, str(state), str(DAYS), str(CALLS)], check=True, timeout=120)
    gateway = made(name="shown", limits=LIMITS)
    gateway.site = f"https://localhost:{gateway.admin_port}"
    yield gateway
    made.finish()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = browser_kit.Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.stop()


def sign_in(page, site, path="/"):
    page.go(site.site + path)
    page.until("document.querySelector('#token')")
    page.js("document.querySelector('#token').focus()")
    page.write(site.token())
    page.key("Enter")


@pytest.fixture(scope="module")
def tab(chromium, site):
    page = chromium.page()
    sign_in(page, site)
    page.ready()
    return page


@pytest.fixture
def page(tab, site):
    """A signed in tab; afterwards nothing was wrong in it, and all was asked of one origin."""
    yield tab
    tab.collect()
    said, tab.said = tab.said, []
    asked, tab.asked = tab.asked, []
    assert said == []
    # A date field of Chromium's has a picture of its own, as a data: address.
    assert {u for u in asked if not u.startswith((site.site + "/", "data:"))} == set()
    assert not [u for u in asked if site.token() in u], "the token in an address"


def show(page, site, path):
    page.go(site.site + path)
    page.ready()
    assert page.js("document.querySelectorAll('[role=alert]').length") == 0, \
        page.js("document.body.innerText")


TABLES = """[...document.querySelectorAll('#main table')].map(t => ({
  caption: t.caption.textContent,
  head: [...t.tHead.rows[0].cells].map(c => c.textContent),
  rows: [...t.tBodies[0].rows].filter(r => !r.hidden).map(r => [...r.cells].map(c => ({
    column: c.dataset.column, text: c.innerText.trim(), exact: c.querySelector('data')?.value ?? null,
    href: c.querySelector('a')?.getAttribute('href') ?? null}))),
  total: t.tFoot ? [...t.tFoot.rows[0].cells].map(c => ({column: c.dataset.column,
    text: c.innerText.trim(), exact: c.querySelector('data')?.value ?? null})) : []}))"""


def tables(page):
    return page.js(TABLES)


def texts(page):
    """All that the tables say; the links of a moving period move."""
    return [[[cell["text"] for cell in row] for row in table["rows"]] for table in tables(page)]


def number(text):
    return Decimal(re.sub(r"[$,\s%]", "", text.replace("\u2212", "-")))


def same(shown, wanted, name):
    """A cell of the page beside the member of the report."""
    if wanted is None:  # the end of what is many requests: its row's name stands there
        assert shown["text"] in ("–", "", "(other)" if name == "end" else "–"), (name, shown)
    elif name.endswith("_usd"):
        assert shown["exact"] == wanted, (name, shown)
        text = re.sub(r"[$,]", "", shown["text"]).replace("\u2212", "-")
        places = len(text.partition(".")[2])
        assert abs(Decimal(text) - Decimal(wanted)) < Decimal(1).scaleb(-places), (name, shown)
    elif isinstance(wanted, bool):
        assert shown["text"] == ("yes" if wanted else "no")
    elif isinstance(wanted, int) and shown["exact"] is not None:
        assert int(shown["exact"]) == wanted and number(shown["text"]) == wanted
    elif isinstance(wanted, (int, float)):
        scale = 100 if "%" in shown["text"] else 1
        assert abs(number(shown["text"]) - Decimal(str(wanted)) * scale) <= Decimal("0.0501"), \
            (name, shown, wanted)
    elif re.match(r"\d{4}-\d\d-\d\dT", str(wanted)):
        assert wanted.startswith(shown["text"].replace(" ", "T")), (name, shown, wanted)
    else:
        assert shown["text"] == wanted or name == "id", (name, shown, wanted)


def check(table, report):
    """All rows and the total, cell by cell; columns that add up also do on the page."""
    assert len(table["rows"]) == len(report["rows"]) > 0
    checked = 0
    for shown, wanted in zip(table["rows"], report["rows"]):
        for cell in shown:
            same(cell, wanted[cell["column"]], cell["column"])
            checked += 1
    for cell in table["total"]:
        if cell.get("column") in report["total"]:
            same(cell, report["total"][cell["column"]], cell["column"])
    for at, name in enumerate(c["column"] for c in table["rows"][0]):
        total = report["total"].get(name)
        if not name.endswith("_usd") or total is None:
            continue
        values = [Decimal(row[name]) for row in report["rows"] if row[name] is not None]
        if sum(values) == Decimal(total):
            texts = [number(r[at]["text"]) for r in table["rows"] if r[at]["text"] != "–"]
            foot = next(c for c in table["total"] if c.get("column") == name)
            assert sum(texts) == number(foot["text"]), name
    return checked


# Address, and the words that give the same on the command line.
PAGES = [
    ("/spend", ["spend", "--by", "team", "--top", "50"]),
    ("/spend?by=model&last=30d", ["spend", "--by", "model", "--last", "30d", "--top", "50"]),
    ("/spend?by=team,feature&where=environment%3Dprod",
     ["spend", "--by", "team,feature", "--where", "environment=prod", "--top", "50"]),
    ("/spend?by=customer&sort=requests:asc",
     ["spend", "--by", "customer", "--sort", "requests:asc", "--top", "50"]),
    ("/spend?by=team&grain=week&tz=Asia/Kolkata",
     ["spend", "--by", "team", "--grain", "week", "--tz", "Asia/Kolkata", "--top", "7"]),
    ("/requests", ["requests", "--by", "model", "--top", "50"]),
    ("/tasks", ["tasks", "--by", "task_type", "--top", "50"]),
    ("/models", ["models", "--by", "model", "--top", "50"]),
    ("/lines", ["lines", "--sort", "end:desc", "--top", "100"]),
    ("/anomalies", ["anomalies", "--by", "team", "--last", "30d"]),
    ("/reports?name=forecast", ["forecast"]),
    ("/reports?name=variance", ["variance", "--by", "team"]),
    ("/reports?name=untagged", ["untagged"]),
]


@pytest.mark.parametrize("path,words", PAGES, ids=[p for p, _ in PAGES])
def test_figures_are_the_command_lines(page, site, path, words):
    show(page, site, path)
    table = tables(page)[-1]
    report = site.report(*words)
    assert check(table, report) >= 2 * len(report["rows"])
    for turned in ("exact=1", "all=1"):
        show(page, site, path + ("&" if "?" in path else "?") + turned)
        check(tables(page)[-1], report)
        if turned == "exact=1":
            for row in tables(page)[-1]["rows"]:
                for cell in row:
                    if cell["column"].endswith("_usd") and cell["exact"]:
                        assert number(cell["text"]) == Decimal(cell["exact"])


# Of the clock alone: different at each look.
CLOCK = ("burn_", "runs_out")
# Counters in memory are the gateway's: its own command line cannot see them.
COUNTED = ("spent", "reserved", "remaining", "used", "status")


def without(rows, columns):
    return [{name: value for name, value in row.items() if not name.startswith(columns)} for row in rows]


def test_budgets(page, site):
    """The page, the admin listener and the command line, between two looks that say the same."""
    def asked():
        return without(site.admin("/api/v1/reports/budgets").json()["rows"], CLOCK)
    end = time.monotonic() + 90   # a busy machine needs seconds for a look
    while time.monotonic() < end:
        rows = asked()
        show(page, site, "/budgets")
        dollars, others = tables(page)
        used = page.js("[...document.querySelectorAll('progress')].map(p => Number(p.value))")
        told = without(site.report("budgets")["rows"], CLOCK + COUNTED)
        if asked() == rows:   # no rolling window moved meanwhile
            break
    else:
        raise AssertionError("budgets never stood still")
    assert told == without(rows, COUNTED)
    for table, shown in ((dollars, [r for r in rows if r["unit"] == "usd"]),
                         (others, [r for r in rows if r["unit"] != "usd"])):
        table["rows"] = [[c for c in row if c["column"] in rows[0]] for row in table["rows"]]
        table["total"] = []
        check(table, {"rows": shown, "total": {}})
    assert used == sorted(used, reverse=True) and used[0] > 0
    assert used[0] == max(r["used_ratio"] for r in rows if r["used_ratio"] is not None)


def reports_asked(page):
    """What the page asked of reports: name and words, in no order."""
    page.collect()
    calls = (urlsplit(u) for u in page.asked if "/api/v1/reports/" in u)
    return sorted((u.path.rpartition("/")[2], sorted(v for v in parse_qsl(u.query) if v[0] != "format"))
                  for u in calls)


def test_overview(page, site):
    page.collect()
    page.asked.clear()
    show(page, site, "/")
    teams = {r["team"] for r in site.report("spend", "--by", "team")["rows"]}
    assert len(teams) <= 6   # else the first six are asked for too
    by_team, top = ("by", "team"), ("top", "6")
    assert reports_asked(page) == [
        ("anomalies", [by_team, ("last", "30d")]), ("budgets", [("top", "5")]), ("forecast", [by_team]),
        ("spend", [("by", "model"), top]), ("spend", [by_team]), ("spend", [by_team, ("grain", "day"), top]),
        ("tasks", [])]
    tiles = page.js("Object.fromEntries([...document.querySelectorAll('.tile')].map(t => "
                    "[t.querySelector('dt').innerText, t.querySelector('.figure data')?.value]))")
    spend = site.report("spend")["total"]
    assert tiles["Spent"] == spend["cost_usd"]
    untagged = site.report("spend", "--where", "team=(untagged)")["total"]
    share, cost = page.js("[...document.querySelectorAll('.tile')].filter(t => t.querySelector('dt').innerText === "
                          "'Without a team').flatMap(t => [t.querySelector('.figure').innerText, "
                          "t.querySelector('.about data').value])")
    assert cost == untagged["cost_usd"]
    same({"text": share, "exact": None}, float(Decimal(cost) / Decimal(spend["cost_usd"])), "share")
    assert page.js("[...document.querySelectorAll('.budgets strong')].map(b => b.innerText)") == \
        [r["budget"] for r in site.admin("/api/v1/reports/budgets?top=5").json()["rows"]]
    assert int(tiles["Requests"]) == spend["requests"]
    assert tiles["Cost of a request"] == site.report("requests")["total"]["mean_cost_usd"]
    assert tiles["Cost of a completed task"] == \
        site.report("tasks")["total"]["cost_per_completed_task_usd"]
    assert Decimal(tiles["Month end, forecast"]) >= Decimal(spend["cost_usd"])
    pivot, teams, models = tables(page)[:3]
    check(teams, site.report("spend", "--by", "team", "--top", "6"))
    check(models, site.report("spend", "--by", "model", "--top", "6"))
    drawn = [Decimal(c["exact"]) for row in pivot["rows"] for c in row if c["exact"]]
    assert sum(drawn) == Decimal(spend["cost_usd"])


def test_statement(page, site):
    show(page, site, "/statement")
    report = site.report("statement")
    whole, *teams = tables(page)
    assert len(teams) == len(whole["rows"]) == len({r["team"] for r in report["rows"]})
    for table, row in zip(teams, whole["rows"]):
        lines = [r for r in report["rows"] if r["team"] == row[0]["text"]]
        check(table, {"rows": lines, "total": {}})
        amount = next(c["exact"] for c in row if c.get("column") == "amount_usd")
        assert Decimal(amount) == sum(Decimal(r["amount_usd"]) for r in lines)
        assert amount == next(c["exact"] for c in table["total"] if c.get("column") == "amount_usd")
    total = next(c for c in whole["total"] if c.get("column") == "amount_usd")
    assert total["exact"] == report["total"]["amount_usd"]


def click(page, selector):
    page.js("document.body.dataset.state = 'leaving'")
    assert page.js(f"(e => e ? (e.click(), true) : false)(document.querySelector({json.dumps(selector)}))"), \
        selector
    page.ready()



# The labels of each chart's axis of amounts.
AXES = """[...document.querySelectorAll('canvas')].map(c => Chart.getChart(c)).filter(c => c)
  .map(c => c.scales[c.options.indexAxis === 'y' ? 'x' : 'y'].ticks.map(t => t.label))"""


@pytest.mark.parametrize("path", ["/", "/spend?last=30d&by=model&grain=week", "/requests?last=30d", "/tasks?last=30d",
                                  "/models?last=30d"])
def test_amounts_of_an_axis_look_alike(page, site, path):
    show(page, site, path)
    axes = page.js(AXES)
    assert axes
    for labels in axes:
        assert all(re.fullmatch(r"\$[\d,]+(\.\d\d+)?", label) for label in labels), labels
        assert len({len(label.partition(".")[2]) for label in labels}) == 1, labels
        values = [number(label) for label in labels]
        assert len(set(values)) == len(values) and len({b - a for a, b in zip(values, values[1:])}) == 1, labels


def test_drill_down_ends_at_the_lines(page, site):
    """From a team to its features to a model to the lines, whose sum is the number clicked."""
    show(page, site, "/spend")
    where = []
    for field in ("team", "feature", "model"):
        assert page.js("new URLSearchParams(location.search).get('by') ?? 'team'") == field
        row = tables(page)[-1]["rows"][0]
        where.append(f"{field}={row[0]['text']}")
        if field != "model":
            click(page, "#main tbody th a")
            assert page.js("new URLSearchParams(location.search).getAll('where')") == where
    number_cell = next(c for c in row if c.get("column") == "cost_usd")
    click(page, "#main tbody td[data-column=cost_usd] a")
    assert page.js("location.pathname") == "/lines"
    shown = tables(page)[-1]
    total = next(c for c in shown["total"] if c.get("column") == "cost_usd")
    assert total["exact"] == number_cell["exact"]
    words = [w for pair in (("--where", w) for w in where) for w in pair]
    report = site.report("lines", *words)
    assert report["total"]["cost_usd"] == total["exact"]
    assert page.js("document.querySelectorAll('tr.detail:not([hidden])').length") == 0
    page.js("document.querySelector('#main tbody button').click()")
    assert shown["rows"][0] and page.js("document.querySelector('tr.detail:not([hidden])')"
                                        ".innerText").count("-") >= 4
    page.js("history.back()")
    page.until("location.pathname === '/spend'")
    page.ready()


def test_addresses_of_controls(page, site):
    """What a control does is in the address, and the address alone gives it again."""
    show(page, site, "/spend")
    click(page, "[data-key='Group by-environment']")
    click(page, "[data-key='Period-30 days']")
    click(page, "[data-key='Over time-by week']")
    page.js("document.querySelector('[data-key=filter]').click()")
    page.until("document.querySelector('datalist option')")
    assert "search" in page.js("[...document.querySelectorAll('datalist option')].map(o => o.value)")
    page.js("document.querySelector('details[open] input[name=value]').value = 'search'")
    click(page, "details[open] form .primary")
    asked = parse_qs(urlsplit(page.js("location.href")).query)
    assert asked == {"by": ["environment"], "last": ["30d"], "grain": ["week"],
                     "where": ["team=search"]}
    before = texts(page)
    show(page, site, page.js("location.pathname + location.search"))
    assert texts(page) == before
    click(page, ".chip")
    assert "where" not in page.js("location.search")
    click(page, "thead a[data-key=sort-requests]")
    assert page.js("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending"


def test_traffic_class_is_offered(page, site):
    """To group by, and as a condition whose values are found."""
    show(page, site, "/spend")
    click(page, "[data-key='Group by-traffic class']")
    assert parse_qs(urlsplit(page.js("location.href")).query)["by"] == ["traffic_class"]
    classes = {row[0]["text"] for row in tables(page)[-1]["rows"]}
    assert classes and classes <= {"live", "evaluation", "test", "load", "internal", "other", "(untagged)", "Total"}, classes
    page.js("document.querySelector('[data-key=filter]').click()")
    page.js("""(() => { const s = document.querySelector('details[open] select[name=field]');
        s.value = 'traffic_class'; s.dispatchEvent(new Event('change', { bubbles: true })); })()""")
    page.until("[...document.querySelectorAll('datalist option')].some(o => o.value === 'live')")


HOSTILE = ["<img src=x onerror=alert(1)>", "a,b\\c", "=cmd()", "(other)", "ünï"]


@pytest.mark.parametrize("value", HOSTILE)
def test_values_are_text(page, site, value):
    show(page, site, "/spend?where=" + quote("team=" + value.replace("\\", "\\\\").replace(",", "\\,")))
    chip = page.js("document.querySelector('.chip').textContent")
    assert value in chip and page.js("document.querySelectorAll('#main img, .chip img').length") == 0
    assert page.js("document.querySelector('.empty').innerText").startswith("No requests")


def test_errors_are_said(page, site):
    page.go(site.site + "/spend?by=team&where=nonsense")
    page.ready()
    alert = page.js("document.querySelector('#main [role=alert]').innerText")
    assert "where" in alert
    assert "failed" in page.js("document.querySelector('[role=status]').textContent")
    page.collect()
    refused = [line for line in page.said if "400" in line]
    assert refused == page.said != []       # the browser's own note of the answer
    page.said = []


def test_who_tries_again_asks_again(page, site):
    show(page, site, "/models")
    page.js("""(() => { const real = window.fetch; let failed = false;
        window.fetch = (url, more) => {
            if (failed || !String(url).includes('/reports/spend?'))
                return real(url, more);
            failed = true;
            return Promise.resolve(new Response('{}', { status: 503 }));
        }; })()""")
    page.js("document.querySelector('nav a[href^=\"/spend\"]').click()")
    page.until("document.querySelector('#main .problem button')")
    page.js("document.querySelectorAll('#main .problem button').forEach(b => b.click())")
    page.until("!document.querySelector('#main .problem, #main [aria-busy]')")
    check(tables(page)[-1], site.report("spend", "--by", "team"))


def test_policy_is_enforced(page, site):
    """What the policy forbids does not run, and is told: the listener below works."""
    show(page, site, "/")
    page.collect()
    got = page.js("""new Promise(done => {
        const seen = [];
        addEventListener('securitypolicyviolation', e => { seen.push(e.effectiveDirective);
            if (seen.length === 3) done(seen.sort()); });
        const script = document.createElement('script');
        try { script.textContent = 'window.ran = 1'; document.body.append(script); } catch { }
        fetch('https://elsewhere.invalid/').catch(() => {});
        const style = document.createElement('style'); style.textContent = 'p{}';
        document.head.append(style); setTimeout(() => done(seen.sort()), 3000); })""")
    assert "connect-src" in got and "style-src-elem" in got and len(got) == 3
    assert page.js("window.ran === undefined && !window.eval.ran")
    page.collect()
    page.said = []
    page.asked = [u for u in page.asked if "elsewhere.invalid" not in u]


def test_accessible(page, site):
    """Landmarks, captions, scopes, names of all that can be reached, one heading of the page."""
    for path in ("/", "/spend?grain=day&by=team", "/tasks", "/budgets", "/statement", "/lines"):
        show(page, site, path)
        faults = page.js("""(() => { const bad = [], all = s => [...document.querySelectorAll(s)];
            for (const name of ['header', 'nav', 'main', 'footer', 'h1'])
                if (!all(name).length) bad.push('no ' + name);
            if (all('h1').length !== 1) bad.push('h1');
            all('table').forEach(t => { if (!t.caption?.textContent) bad.push('caption');
                [...t.tHead.rows[0].cells].forEach(c => c.scope === 'col' || bad.push('scope col'));
                [...t.tBodies[0].rows].forEach(r => r.classList.contains('detail') ||
                    r.cells[0].scope === 'row' || bad.push('scope row ' + r.innerText)); });
            all('canvas').forEach(c => { if (c.getAttribute('role') !== 'img' || !c.ariaLabel) bad.push('canvas');
                if (!c.closest('figure').parentElement.querySelector('table')) bad.push('chart without table'); });
            all('a, button, input, select, summary').forEach(e => {
                const name = e.getAttribute('aria-label') ?? (e.labels?.length ? e.labels[0].textContent
                    : e.textContent.trim());
                if (!name) bad.push('no name: ' + e.outerHTML); });
            all('[aria-labelledby]').forEach(e => document.getElementById(e.getAttribute('aria-labelledby'))
                || bad.push('labelledby'));
            const ids = all('[id]').map(e => e.id);
            if (new Set(ids).size !== ids.length) bad.push('ids twice');
            if (!document.documentElement.lang) bad.push('lang');
            return bad; })()""")
        assert faults == [], path


AXE = os.path.join(procs.ROOT, "build", "axe", "node_modules", "axe-core", "axe.min.js")


@pytest.mark.skipif(not os.path.exists(AXE), reason="no axe-core: make axe")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, site, scheme):
    """The rules of WCAG 2.2 A and AA that a program can judge, contrast too, and what is good practice."""
    with open(AXE, encoding="utf-8") as file:
        axe = file.read()
    page.scheme(scheme)
    try:
        views = [(1360, "/"), (1360, "/budgets"), (390, "/statement"), (390, "/spend?by=team&grain=day")]
        if scheme == "light":
            views += [(1360, "/tasks"), (1360, "/lines?top=5"), (1360, "/reports?name=savings")]
        for width, path in views:
            page.size(width, 900)
            show(page, site, path)
            page.js(axe + ";0")
            found = page.js("""axe.run({runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa',
                'wcag22aa', 'best-practice']}}).then(r => r.violations.map(
                    v => [v.id, v.impact, v.nodes.length, v.nodes[0].html.slice(0, 200), v.nodes[0].failureSummary]))""")
            assert found == [], (path, width)
    finally:
        page.scheme("light")
        page.size(1360, 900)


def test_keyboard(chromium, site):
    """Sign in, skip to the content, narrow, turn a switch and sign out without a pointer."""
    page = chromium.page()
    page.go(site.site + "/login")
    page.until("document.activeElement?.id === 'token'")
    page.write("wrong, wrong, wrong")
    page.key("Enter")
    page.until("document.querySelector('[role=alert]')")
    page.until("document.activeElement?.id === 'token'")
    page.write(site.token())
    page.key("Enter")
    page.ready()
    page.key("Tab")
    assert page.js("document.activeElement.className") == "skip"
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.key("Tab")
    page.key("Tab")
    page.key("Tab")
    assert page.js("document.activeElement.dataset.key") == "nav-/spend"
    page.js("document.body.dataset.state = 'leaving'")
    page.key("Enter")
    page.ready()
    assert page.js("location.pathname") == "/spend"
    assert page.js("document.activeElement.dataset.key") == "nav-/spend"
    for _ in range(60):
        page.key("Tab")
        if page.js("document.activeElement.dataset.key") == "exact":
            break
    page.js("document.body.dataset.state = 'leaving'")
    page.key(" ")
    page.ready()
    assert page.js("location.search") == "?exact=1"
    assert page.js("document.activeElement.getAttribute('aria-checked')") == "true"
    page.js("document.querySelector('.leave button').focus()")
    page.key("Enter")
    page.until("location.pathname === '/login' && document.querySelector('#token')")
    page.go(site.site + "/spend")
    page.until("location.pathname === '/login' && document.querySelector('#token')")
    assert page.js("new URLSearchParams(location.search).get('next')") == "/spend"


def test_signed_in_follows_a_link_from_elsewhere(page, site):
    """Without the cookie on the first request, which is SameSite=Strict, the link is kept."""
    page.go(site.site + "/login?next=" + quote("/spend?by=model"))
    page.until("location.pathname === '/spend'")
    page.ready()
    assert page.js("location.search") == "?by=model"
    assert page.js("document.cookie") == ""     # HttpOnly


def test_narrow_dark_and_on_paper(page, site):
    paper = []
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        for width in (360, 1360):
            page.size(width, 800)
            show(page, site, "/")
            assert page.js("document.documentElement.scrollWidth") <= width
            paper.append(page.js("getComputedStyle(document.body).backgroundColor"))
    assert paper[0] == paper[1] != paper[2] == paper[3]
    page.size(1360, 900)
    show(page, site, "/statement")
    assert page.pdf().startswith(b"%PDF-")


# Inner width of A4 on end with the browser's own margins, in CSS pixels.
PAPER = 718


@pytest.mark.parametrize("path", ["/", "/statement", "/spend?by=feature&grain=week", "/requests", "/tasks", "/models",
                                  "/budgets", "/anomalies", "/lines?top=20"])
def test_all_of_a_table_is_on_paper(page, site, path):
    """Paper does not scroll: a column that does not fit is one that finance never sees."""
    page.scheme("light", media="print")
    try:
        page.size(PAPER, 900)
        show(page, site, path)
        cut = page.js("""[...document.querySelectorAll('.wide')].filter(w => w.offsetParent &&
            w.firstElementChild.getBoundingClientRect().right > innerWidth + 1).map(w => w.innerText.slice(0, 80))""")
        assert cut == []
        assert page.js("document.documentElement.scrollWidth") <= PAPER
    finally:
        page.scheme("light", media="screen")
        page.size(1360, 900)


def test_report_as_html_shares_the_styles(page, site):
    text = site.cli("report", "spend", "--by", "team", "--format", "html")
    style = site.admin("/web/style.css").body.decode()
    assert f"<style>{style}</style>" in text and "<script" not in text
    page.go(site.site + "/api/v1/reports/spend?by=team&format=html")
    page.until("document.querySelector('table')")
    assert html.escape(page.js("document.querySelector('tfoot').innerText")) != ""
    assert page.js("getComputedStyle(document.querySelector('.n')).textAlign") == "right"


VIEWS = ("/", "/spend", "/requests", "/tasks", "/models", "/budgets", "/anomalies", "/statement", "/lines")


@pytest.fixture
def visitor(chromium, gateways):
    """Opens a gateway's dashboard in a tab of its own."""
    def visit(gateway):
        gateway.site = f"https://localhost:{gateway.admin_port}"
        page = chromium.page()
        sign_in(page, gateway)
        page.ready()
        return page
    return visit


def figures(page):
    return page.js("Object.fromEntries([...document.querySelectorAll('.tile')].map(t => "
                   "[t.querySelector('dt').innerText, t.querySelector('.figure').innerText]))")


def test_nothing_yet(gateways, visitor):
    """The first look of a new user: every view says so, and nothing unknown is a zero."""
    gateway = gateways(limits=LIMITS)
    page = visitor(gateway)
    tiles = figures(page)
    assert tiles["Spent"] == "$0.00" and tiles["Requests"] == "0"
    assert tiles["Month end, forecast"] == tiles["Cost of a request"] == tiles["Cost of a completed task"] == "–"
    assert gateway.report("forecast")["total"]["forecast_usd"] is None
    for path in VIEWS:
        show(page, gateway, path)
        text = page.js("document.querySelector('#main').innerText")
        assert "$0.0000" not in text and "NaN" not in text and "undefined" not in text, path
        assert path == "/budgets" or page.js("document.querySelectorAll('.empty').length") > 0, path


LONG = "x" * 256


def test_names_and_prices_that_nobody_expects(gateways, visitor):
    """A name of 256 letters without a place to break, a model without a price, nobody's requests."""
    gateway = gateways(keys=[{"name": "main", "secret": calls.KEY}], limits=LIMITS[:2])
    for team, model in ((LONG, "gpt-4o"), ("a" * 200 + " b", "gpt-4o-mini"), (None, "nobody-knows-this")):
        assert calls.send(gateway, calls.chat(words=30, model=model),
                          tags=[("X-Tollgate-Team", team)] if team else []).status == 200
    gateway.records(3)
    page = visitor(gateway)
    show(page, gateway, "/")
    tiles = figures(page)
    assert tiles["Month end, forecast"] == "–" and "2 teams" in page.js("document.body.innerText")
    assert "1 requests without a price" in page.js("document.body.innerText")
    for path in (*VIEWS, "/spend?by=team,model"):
        for width in (360, 1360):
            page.size(width, 900)
            show(page, gateway, path)
            assert page.js("document.documentElement.scrollWidth") <= width, (path, width)
            names = page.js("""[...document.querySelectorAll('canvas')].map(c => Chart.getChart(c)).filter(c => c)
                .flatMap(c => [...c.data.labels, ...c.data.datasets.map(d => d.label)])""")
            assert all(len(name) <= 30 for name in names), names
        # Beside the name there is room for a number.
        wide = page.js("Math.max(0, ...[...document.querySelectorAll('tbody th')].map(t => t.offsetWidth))")
        assert wide <= 32 * 16, path
    # What has no price costs nobody knows what: on the page and on the command line.
    show(page, gateway, "/statement")
    row = next(r for r in tables(page)[0]["rows"] if r[0]["text"] == "(untagged)")
    shown = {cell["column"]: cell["text"] for cell in row}
    assert shown["amount_usd"] == shown["cost_usd"] == "–" and shown["unpriced_requests"] == "1"
    unpriced, = [r for r in gateway.report("statement")["rows"] if r["team"] == "(untagged)"]
    assert unpriced["amount_usd"] is unpriced["cost_usd"] is None and unpriced["unpriced_requests"] == 1


def test_what_was_chosen_is_on_paper(page, site):
    page.scheme("light", media="print")
    try:
        show(page, site, "/spend?by=team,model&grain=week&top=2")
        text = page.js("document.querySelector('.controls').innerText")
        assert "team, model" in text and "by week" in text and "Add a filter" not in text
        assert "The first 2 by cost" in page.js("document.querySelector('#main').innerText")
        show(page, site, "/spend?grain=day&by=customer")
        assert "feature" not in page.js("document.querySelector('.controls').innerText")
    finally:
        page.scheme("light", media="screen")
