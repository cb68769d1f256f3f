"""Other currencies: a document is converted whole, at a recorded rate, and shared out to the coin."""

import csv
import io
import json
import os
import subprocess
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest

from kit import calls, procs

TODAY = datetime.now(timezone.utc)
THIS = TODAY.strftime("%Y-%m")
LAST = (TODAY.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
BEFORE = (TODAY.replace(day=1) - timedelta(days=40)).strftime("%Y-%m")
RATES = {"EUR": "0.921437", "JPY": "154.87", "KWD": "0.30712345", "IDR": "15873.5"}
PLACES = {"EUR": 2, "JPY": 0, "KWD": 3, "IDR": 2}


@pytest.fixture(scope="module")
def months(tmp_path_factory, certs, shared_provider):
    """This month and some of the last, on a gateway that does not run; what finance hands in."""
    from conftest import Gateways
    folder = tmp_path_factory.mktemp("months")
    made = Gateways(folder, certs, shared_provider)
    state = folder / "months" / "var"
    state.mkdir(parents=True)
    binary = os.path.join(os.path.dirname(procs.provider_binary()), "history")
    subprocess.run([binary, str(state), str(TODAY.day + 5), "60"], check=True, capture_output=True)
    gateway = made(name="months")
    gateway.stop()
    take(gateway, "accounts", "team,cost_centre,gl_account\n*,1000,4711\nsearch,1001,4712\n")
    take(gateway, "costs", f"date,pool,amount_usd\n{THIS},tools,100.0049\n{LAST},tools,-7.77\n")
    take(gateway, "pools", "pool,method\ntools,fixed\n")
    yield gateway
    made.finish()


def take(gateway, kind, text, code=0):
    path = os.path.join(gateway.folder, f"{kind}.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = subprocess.run([procs.tollgate_binary(), "import", kind, path, "-c", gateway.config_path],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stderr


def recorded(gateway, rates, day, source="ECB"):
    take(gateway, "rates", "currency,date,rate,source\n" + "".join(f"{c},{day},{r},{source}\n" for c, r in
                                                                  rates.items()))


def asked(gateway, name, *options, code=0):
    done = subprocess.run([procs.tollgate_binary(), "report", name, "-c", gateway.config_path, *options],
                          capture_output=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stderr.decode() if code else done.stdout


def answer(gateway, name, *options):
    return json.loads(asked(gateway, name, "--format", "json", *options))


def coins(total, rate, places):
    """The total in smallest coins, rounded once, half to even."""
    with localcontext() as context:
        context.prec = 80
        return int((Decimal(total) * Decimal(rate) * 10 ** places).quantize(Decimal(1), ROUND_HALF_EVEN))


def shared(amounts, all_coins, rate, places):
    """Largest remainder; ties to the larger amount, then to the earlier."""
    exact = [Fraction(a) * Fraction(rate) * 10 ** places for a in amounts]
    out = [e.numerator // e.denominator for e in exact]
    order = sorted(range(len(exact)), key=lambda i: (-(exact[i] - out[i]), -exact[i], i))
    for i in order[:all_coins - sum(out)]:
        out[i] += 1
    return out


def teams_of(statement):
    owed = {}
    for row in statement["rows"]:
        owed[row["team"]] = owed.get(row["team"], Decimal(0)) + Decimal(row["amount_usd"] or 0)
    return owed


def check(gateway, month, code, rate):
    """Statement and journal of a month against each other and against what is computed here."""
    places = PLACES[code]
    plain = answer(gateway, "statement", "--month", month)
    other = answer(gateway, "statement", "--month", month, "--currency", code.lower())
    name = f"amount_{code.lower()}"
    added = {name, "exchange_rate", "rate_date", "rate_source"}
    assert other["currency"]["code"] == code and other["currency"]["rate"] == rate
    assert [{k: v for k, v in row.items() if k not in added} for row in other["rows"]] == plain["rows"]
    assert {row["exchange_rate"] for row in other["rows"]} == {rate}
    owed = teams_of(plain)
    total = coins(sum(owed.values()), rate, places)
    want = dict(zip(owed, shared(list(owed.values()), total, rate, places)))
    assert Decimal(other["total"][name]) == Decimal(total).scaleb(-places)
    said = {}
    for row in other["rows"]:
        amount = Decimal(row[name])
        assert amount == amount.quantize(Decimal(1).scaleb(-places))
        said[row["team"]] = said.get(row["team"], 0) + int(amount.scaleb(places))
        assert abs(amount - Decimal(row["amount_usd"]) * Decimal(rate)) < 2 * Decimal(1).scaleb(-places)
    assert said == want
    journal = answer(gateway, "journal", "--month", month, "--currency", code)
    booked = {row["team"]: row["debit_minor"] - row["credit_minor"] for row in journal["rows"]}
    assert booked.pop("(clearing)") == -total
    assert booked == {team: n for team, n in want.items() if n}
    assert {(row["currency"], row["exchange_rate"], row["rate_source"]) for row in journal["rows"]} == {
        (code, rate, journal["currency"]["source"])}
    assert journal["total"]["debit_minor"] == journal["total"]["credit_minor"]
    return other, journal


@pytest.mark.parametrize("code", sorted(RATES))
def test_open_month(months, code):
    recorded(months, RATES, f"{THIS}-01")
    check(months, THIS, code, RATES[code])
    one = answer(months, "statement", "--month", THIS, "--currency", code, "--where", "team=search")
    every = answer(months, "statement", "--month", THIS, "--currency", code)
    name = f"amount_{code.lower()}"
    mine = [row[name] for row in every["rows"] if row["team"] == "search"]
    assert [row[name] for row in one["rows"]] == mine and mine
    assert Decimal(one["total"][name]) == sum(map(Decimal, mine))
    table = asked(months, "statement", "--month", THIS, "--currency", code).decode()
    assert f"A dollar is {RATES[code]} {code}, of {THIS}-01 (ECB)." in table and f"amount {code}" in table
    text = asked(months, "journal", "--month", THIS, "--currency", code, "--format", "csv").decode()
    assert all(row["currency"] == code for row in csv.DictReader(io.StringIO(text, newline="")))


def test_dollars_are_as_they_were(months):
    for name in ("statement", "journal"):
        for form in ("csv", "json", "html"):
            assert asked(months, name, "--month", THIS, "--format", form, "--currency", "usd") == asked(
                months, name, "--month", THIS, "--format", form)


def test_what_is_refused(months):
    assert "BYR" in asked(months, "statement", "--currency", "BYR", code=2)
    assert 'nearest is "EUR"' in asked(months, "statement", "--currency", "EUF", code=2)
    assert "no rate of CHF is recorded" in asked(months, "statement", "--currency", "CHF", code=2)
    assert "in dollars" in asked(months, "spend", "--currency", "EUR", code=2)
    # A rate of long ago, or of the next month, is none of this one's.
    recorded(months, {"CHF": "0.9"}, f"{BEFORE}-01")
    assert "no rate of CHF" in asked(months, "journal", "--month", THIS, "--currency", "CHF", code=2)
    recorded(months, {"SEK": "10.5"}, (TODAY + timedelta(days=40)).strftime("%Y-%m-%d"))
    assert "no rate of SEK" in asked(months, "statement", "--month", THIS, "--currency", "SEK", code=2)
    for line, says in (("USD,2026-10-01,1,x", "own currency"), ("EURO,2026-10-01,1,x", "ISO 4217"),
                       ("EUR,2026-10,1,x", "no date"), ("EUR,2026-10-01,0,x", "no rate"),
                       ("EUR,2026-10-01,-1,x", "no rate"), ("EUR,2026-10-01,1.0000000001,x", "no rate"),
                       ("EUR,2026-10-01,1e3,x", "no rate"), ("EUR,2026-10-01,1.,x", "no rate"),
                       ("EUR,2026-10-01,1234567890123456789,x", "no rate"), ("EUR,2026-10-01,1,", "missing")):
        assert says in take(months, "rates", f"currency,date,rate,source\n{line}\n", code=1), line


def test_closed_month(months):
    """What was frozen with the month stays, byte for byte, whatever is recorded later."""
    recorded(months, RATES, f"{LAST}-15", "bank")
    before = {code: check(months, LAST, code, RATES[code]) for code in RATES}
    subprocess.run([procs.tollgate_binary(), "close", "-c", months.config_path, "--month", LAST, "--force"], check=True,
                   capture_output=True)

    def all_of():
        return {(name, code, form): asked(months, name, "--month", LAST, "--currency", code, "--format", form)
                for name in ("statement", "journal") for code in RATES for form in ("csv", "html", "json")}
    frozen = all_of()
    for code in RATES:
        after = check(months, LAST, code, RATES[code])
        assert [report["rows"] for report in after] == [report["rows"] for report in before[code]]
    recorded(months, {code: str(Decimal(rate) + 1) for code, rate in RATES.items()}, f"{LAST}-15", "another bank")
    recorded(months, {"NOK": "9.8"}, f"{LAST}-15")
    take(months, "accounts", "team,cost_centre,gl_account\nsearch,2002,9999\n")
    before = json.loads(frozen["statement", "EUR", "json"])["ledger_seq"]
    months.start()
    for _ in range(3):  # the ledger goes on: what was closed says as of when it was
        assert calls.send(months, calls.chat()).status == 200
    months.stop()
    assert json.loads(asked(months, "spend", "--format", "json"))["ledger_seq"] > before
    assert all_of() == frozen
    assert f"{LAST} was closed without a rate of NOK" in asked(months, "journal", "--month", LAST, "--currency", "NOK",
                                                              code=2)
    done = subprocess.run([procs.tollgate_binary(), "close", "-c", months.config_path, "--verify"], capture_output=True)
    assert done.returncode == 0, done
    folder = os.path.join(months.folder, months.config["state_dir"], "closed", LAST)
    for name in ("rates.sheet", "bills.sheet"):     # a month that an older version closed
        os.rename(os.path.join(folder, name), os.path.join(folder, name + ".away"))
        assert "closed without a rate" in asked(months, "journal", "--month", LAST, "--currency", "EUR", code=2)
        os.rename(os.path.join(folder, name + ".away"), os.path.join(folder, name))
    with open(os.path.join(folder, "rates.sheet"), "r+", encoding="utf-8") as file:
        text = file.read().replace(RATES["EUR"], "0.921438")
        file.seek(0)
        file.write(text)
    done = subprocess.run([procs.tollgate_binary(), "close", "-c", months.config_path, "--verify"], capture_output=True)
    assert done.returncode == 1 and b"was changed since" in done.stdout, done
