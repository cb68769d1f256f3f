"""What a start says when the system fails it: what failed, and never that a file is at fault that is whole.

Descriptors run out while the salt of users is read; memory runs out while configuration and price book are read. The
first is a start that refuses, the others are walked with `tollgate check`, each allocation since the file was opened.

TOLLGATE_FAULTS=all walks through all of them; else a sample. TOLLGATE_FAULTS_SEED chooses it.
"""

import json
import re

import pytest

from kit import fault_walk, faults
from kit.procs import Gateway, run_cli

SAMPLE_ALLOCATIONS = 40
EMFILE, EACCES, EIO = 0, 2, 2   # the modes in which open, open and read fail so
REFUSALS = r"out of memory|memory is out|Cannot allocate memory|could not"

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(faults.missing() is not None, reason=str(faults.missing()))]

BOOK = {"schema": "tollgate-prices/1", "currency": "USD",
        "sources": {"made": {"what": "made", "published": "2026-01-01", "retrieved": "2026-01-01"}},
        "units": {"in": {"per": 1000000, "of": "token", "dir": "in"}},
        "providers": {"made": {"models": [
            {"id": "alpha", "kind": "chat", "prices": [{"from": None, "to": None, "rates": {"in": "2"}}],
             "prov": {"src": "made", "confidence": "confirmed"}}]}}}


def with_own_book(gateways, folder):
    book = folder / "own-book.json"
    book.write_text(json.dumps(BOOK))
    config = gateways.config(workers=1)
    config["prices"] = {"book": [str(book)]}
    for upstream in config["upstreams"]:
        upstream["provider"] = "made"
    return config


@pytest.mark.parametrize("mode, after, says", [
    (EMFILE, 0, "Too many open files"), (EACCES, 0, "Permission denied"), (EIO, 1, "Input/output error")])
def test_a_salt_that_cannot_be_read_is_not_at_fault(gateways, tmp_path, mode, after, says):
    trouble = faults.Faults(tmp_path, "main", "/user.salt")
    gateway = gateways({**with_own_book(gateways, tmp_path), "env": trouble.env})
    assert gateway.process.stop() == 0
    trouble.arm(faults.CALL, mode, after, faults.LEFT_NONE)
    with pytest.raises(AssertionError):
        gateway.start()
    assert gateway.process.wait() == 2
    assert trouble.disarm().what == ("read" if after else "open")
    log = gateway.process.log_after_end()
    assert f"user.salt: could not read: {says}" in log
    assert "remove it" not in log and "restore" not in log, log
    gateway.start()


class Check(fault_walk.Commands):
    """`tollgate check`, since a file was opened."""

    def __init__(self, gateways, certs, folder, begins):
        super().__init__(f"check, {begins}", folder, "main", begins)
        self.gateway = Gateway(folder / "checked", with_own_book(gateways, folder), certs, start=False)

    def run(self):
        return run_cli("check", "-c", self.gateway.config_path, cwd=self.gateway.folder, env=self.faults.env)

    def judge(self, kind, fired, at, done):
        self.see_end(kind, fired, at, done, REFUSALS)
        if re.search(r"JSON|mend|give the pair", done.stdout + done.stderr):
            self.problems.append(f"{at}: {done.stderr}")


@pytest.mark.parametrize("begins", ["/own-book.json", "/tollgate.json"])
def test_want_of_memory_is_not_a_fault_of_the_file(gateways, certs, tmp_path, say, begins):
    walk = Check(gateways, certs, tmp_path, begins)
    walk.walk(faults.ALLOCATION, 0, SAMPLE_ALLOCATIONS)
    walk.check(say)
