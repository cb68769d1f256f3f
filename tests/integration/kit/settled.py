"""Counters, ledger and the provider's bills at rest: all say the same."""

from decimal import Decimal

from .marked import Books
from .procs import wait_for


def budget(gateway, name="day"):
    rows = gateway.report("budgets")["rows"]
    return [r for r in rows if r["budget"] == name][0]


def at_rest(gateway, seconds=20):
    """The budget's row once nothing is reserved and counters and ledger say the same."""
    seen = []

    def settled():
        seen[:] = [budget(gateway)]
        row = seen[0]
        # None: the counters could not be read just now.
        return row["reserved_usd"] is not None and Decimal(row["reserved_usd"]) == 0 and \
            Decimal(row["spent_usd"]) == Decimal(row["ledger_spent_usd"])
    try:
        wait_for("counters equal the ledger", settled, seconds, 0.3)
    except AssertionError as late:
        row = seen[0]
        raise AssertionError(f"spent {row['spent_usd']}, ledger {row['ledger_spent_usd']}, "
                             f"reserved {row['reserved_usd']}") from late
    return seen[0]


def settled_books(gateway, provider, answered):
    wait_for("all that was answered", lambda: set(answered) <= {r["id"] for r in
                                                                gateway.export()}, 30, 0.3)
    row = at_rest(gateway)
    books = Books(gateway, provider).check(answered)
    assert Decimal(row["spent_usd"]) == books.cost_as_limits_count()
    total = gateway.report("spend")["total"]
    assert Decimal(total["cost_usd"]) == sum(Decimal(r["cost_usd"]) for r in books.records)
    return books
