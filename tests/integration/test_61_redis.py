"""Redis as it is in production: clusters, Sentinels, replicas that take over, lines that are slow.

Whatever becomes of it, no budget lets through what would not have fitted, every call has its
record, and in the end the counters say what the ledger says.
"""

import os
import subprocess
import threading
import time

import pytest

from kit import calls
from kit.marked import Load
from kit.procs import Redis, wait_for
from kit.redises import Cluster, Relay, Sentinels, is_worker, replica_of
from kit.settled import at_rest, budget, settled_books

DAY = {"name": "day", "unit": "usd", "limit": "1000000", "window": "day"}
REFUSE = {"on_failure": "refuse", "timeout_ms": 200}


def several(name, count, **members):
    return {"name": name, "unit": "requests", "limit": count, "window": "day", **members}


def standing(kind):
    """A fixture: a set of servers in a folder of its own, gone after the test."""
    @pytest.fixture(name=kind.__name__.lower())
    def servers(tmp_path):
        folder = tmp_path / kind.__name__.lower()
        folder.mkdir()
        made = kind(folder)
        yield made
        made.stop()
    return servers


cluster, sentinels = standing(Cluster), standing(Sentinels)


@pytest.fixture
def line(own_redis):
    made = Relay(own_redis.port)
    yield made
    made.close()


class Burst:
    """Threads that call until they are told to stop; what they were answered."""

    def __init__(self, nodes, threads=6, tags=()):
        self.statuses = []
        self.stopping = False
        self.threads = [threading.Thread(target=self._run, args=(nodes[n % len(nodes)], tags),
                                         daemon=True)
                        for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, node, tags):
        while not self.stopping:
            self.statuses.append(calls.send(node, calls.chat(), tags=tags).status)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(30)
        return self.statuses


def in_order(redis):
    """What was acknowledged is at the replicas, too."""
    redis.command("CLIENT", "PAUSE", 3000, "WRITE")
    time.sleep(0.2)


def serves(gateway, status=200, tags=()):
    return calls.send(gateway, calls.chat(), tags=tags).status == status


def more(load, count=20, seconds=30):
    """So many more calls are answered."""
    had = len(load.answered)
    wait_for("calls to be answered", lambda: len(load.answered) >= had + count, seconds)


# ---- cluster --------------------------------------------------------------------------------


@pytest.mark.slow
def test_cluster_and_a_slot_that_moves(gateways, provider, cluster, say):
    """Keys go one by one to another node under load: nothing is counted from zero, or twice."""
    gateway = gateways(redis=cluster, limits=[DAY], counters={**REFUSE, "leases": False})
    slot = cluster.slot("{tollgate}:")
    load = Load(gateway, 6)
    moved = 0
    for _ in range(3):
        more(load)
        target = cluster.nodes[(cluster.nodes.index(cluster.owner(slot)) + 1) % 3]
        moved += cluster.move(slot, target, pause=0.01)
        assert cluster.owner(slot) is target
    more(load)
    load.stop()
    books = settled_books(gateway, provider, load.answered)
    assert moved > 6
    say(f"a slot moved 3 times, {moved} keys: {books}; {load.refused} refused meanwhile")


@pytest.mark.slow
def test_cluster_budget_is_hard_while_it_moves(gateways, provider, cluster):
    """Two gateways, one of which knows only a node that has none of the slots' keys."""
    slot = cluster.slot("{tollgate}:")
    owner = cluster.owner(slot)
    others = [node for node in cluster.nodes if node is not owner]
    nodes = [gateways(redis=cluster, node=name, limits=[several("few", 120)], counters={
        **REFUSE, "url": url}) for name, url in (
            ("east", f"redis+cluster://127.0.0.1:{others[0].port}"), ("west", cluster.url))]
    burst = Burst(nodes)
    wait_for("some to be admitted", lambda: burst.statuses.count(200) > 20, 20)
    cluster.move(slot, others[1], pause=0.01)
    wait_for("the budget to be used up", lambda: burst.statuses.count(402) > 40, 30)
    statuses = burst.stop()
    assert statuses.count(200) == 120 and set(statuses) <= {200, 402, 503}
    assert provider.totals()["billed"] == 120


@pytest.mark.slow
def test_cluster_master_dies(gateways, provider, cluster, say):
    """Its replica takes over, which no URL names."""
    slot = cluster.slot("{tollgate}:")
    owner = cluster.owner(slot)
    cluster.add_replica(owner)
    gateway = gateways(redis=cluster, limits=[DAY], counters={**REFUSE, "leases": False})
    load = Load(gateway, 6)
    more(load)
    in_order(owner)
    owner.kill()
    wait_for("a replica to take over", lambda: cluster.owner(slot), 30, 0.1)
    more(load)
    load.stop()
    books = settled_books(gateway, provider, load.answered)
    say(f"master of the slot killed: {books}; {load.refused} refused meanwhile")


# ---- Sentinel -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "paused"])
def test_sentinel(gateways, provider, sentinels, say, how):
    gateway = gateways(redis=sentinels, limits=[DAY], counters={**REFUSE, "leases": False})
    load = Load(gateway, 6)
    more(load)
    old = sentinels.master
    in_order(old)
    if how == "killed":
        old.kill()
        sentinels.guards[0].kill()
    else:
        old.freeze()
    wait_for("another master", lambda: sentinels.named() == sentinels.replica.port, 30, 0.1)
    more(load)
    if how == "paused":   # it comes back and believes for a moment that it is the master
        old.thaw()
        more(load)
    load.stop()
    books = settled_books(gateway, provider, load.answered)
    say(f"master {how}: {books}; {load.refused} refused meanwhile")


def test_sentinel_commands(gateways, sentinels):
    """What the program's other commands read is there, too."""
    gateway = gateways(redis=sentinels, limits=[several("few", 10)])
    assert serves(gateway) and serves(gateway)
    wait_for("counted", lambda: budget(gateway, "few")["spent_count"] == 2)
    assert gateway.cli("audit", code=0)


def test_url_that_is_none(gateways):
    gateway = gateways(start=False)
    for url in ("redis+sentinel://127.0.0.1:1", "redis+cluster://", "redis://a,b"):
        gateway.config["counters"] = {"backend": "redis", "url": url}
        gateway.write()
        gateway.cli("check", code=2)
    gateway.config["counters"] = {"backend": "memory"}
    gateway.write()
    gateway.start()


# ---- a managed service: one name, behind which servers change ---------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("old_is", ["a replica now", "dead"])
def test_managed_failover(gateways, provider, own_redis, line, tmp_path, say, old_is):
    """The line leads elsewhere; who is still connected is told that it may only read."""
    replica = replica_of(tmp_path, own_redis, "replica")
    gateway = gateways(redis=line, limits=[DAY], counters={**REFUSE, "leases": False})
    load = Load(gateway, 6)
    more(load)
    in_order(own_redis)
    replica.command("REPLICAOF", "NO", "ONE")
    line.target = replica.port
    if old_is == "dead":
        own_redis.kill()
    else:
        own_redis.command("REPLICAOF", "127.0.0.1", replica.port)
        own_redis.command("CLIENT", "UNPAUSE")
    more(load)
    load.stop()
    books = settled_books(gateway, provider, load.answered)
    say(f"failed over, the old one is {old_is}: {books}; {load.refused} refused meanwhile")
    replica.stop()


@pytest.mark.slow
def test_replica_that_lags(gateways, provider, own_redis, line, tmp_path, say):
    """It never heard of what was acknowledged last: counters come anew from the ledger."""
    replica = replica_of(tmp_path, own_redis, "replica")
    gateway = gateways(redis=line, limits=[DAY, several("few", 40)], counters={
        **REFUSE, "leases": False})
    for _ in range(10):
        assert serves(gateway)
    gateway.records(10)
    replica.command("REPLICAOF", "NO", "ONE")
    for _ in range(20):
        assert serves(gateway)
    gateway.records(30)
    line.target = replica.port
    own_redis.kill()
    line.cut()
    statuses = []

    def used_up():
        statuses.append(calls.send(gateway, calls.chat()).status)
        return statuses[-1] == 402
    wait_for("the budget to be used up", used_up, 30, 0.05)
    assert statuses.count(200) == 10, statuses
    assert budget(gateway, "few")["spent_count"] == 40
    assert provider.totals()["billed"] == 40
    at_rest(gateway)
    say(f"20 of 30 acknowledged were lost with the master: {statuses.count(503)} refused until "
        "the counters were there again, overspent 0")
    replica.stop()


def test_what_runs_while_redis_is_emptied_counts_at_once(gateways, provider, own_redis, say):
    """Two calls hold both places: a Redis that forgot them is told, by each worker at its next poll."""
    gateway = gateways(redis=own_redis, limits=[{"name": "two", "unit": "concurrent", "limit": 2}],
                       counters=REFUSE)
    running = [threading.Thread(target=calls.send, args=(gateway, calls.chat()),
                                kwargs={"sim": {"Delay_Ms": 12000}, "timeout": 60}) for _ in range(2)]
    for thread in running:
        thread.start()
    wait_for("both to run", lambda: provider.totals()["requests"] == 2, 20)
    assert serves(gateway, 429)
    own_redis.command("FLUSHALL")
    statuses, emptied = [], time.monotonic()

    def refused_by_the_limit():
        statuses.append(calls.send(gateway, calls.chat()).status)
        return statuses[-1] == 429
    wait_for("the counters to be there again", refused_by_the_limit, 9, 0.02)
    assert set(statuses) <= {200, 429, 503}, statuses
    assert time.monotonic() - emptied < 4, statuses  # a poll is 100 ms
    assert all(thread.is_alive() for thread in running)
    for thread in running:
        thread.join(60)
    wait_for("room", lambda: serves(gateway), 10, 0.1)
    say(f"emptied under two running calls: {statuses.count(503)} refused, {statuses.count(200)} admitted "
        "until both were reserved again")


PLACES, HELD = 10, 6


class Streams:
    """Calls through one gateway that run on while the counters are lost."""

    def __init__(self, gateway, provider, tags):
        self.statuses = []
        before = provider.totals()["requests"]
        self.threads = [threading.Thread(target=self.run, args=(gateway, tags)) for _ in range(HELD)]
        for thread in self.threads:
            thread.start()
        wait_for("the calls to run", lambda: provider.totals()["requests"] == before + HELD, 20)

    def run(self, gateway, tags):
        self.statuses.append(calls.send(gateway, calls.chat(), tags=tags, timeout=60,
                                        sim={"Delay_Ms": 4000}).status)

    def join(self):
        for thread in self.threads:
            thread.join(60)
        assert self.statuses == [200] * HELD


@pytest.mark.slow
@pytest.mark.parametrize("how", ["emptied", "as it was before"])
@pytest.mark.parametrize("on_failure", ["refuse", "local"])
def test_what_another_gateway_runs_counts(gateways, provider, own_redis, say, how, on_failure):
    """Redis lost what one gateway's calls hold: the other is admitted to none of it; but while Redis
    is away, 'local' gives it its share of what the other took since it last heard of it."""
    counters = {"on_failure": on_failure, "timeout_ms": 500}
    east, west = [gateways(redis=own_redis, name=name, node=name, counters=counters, limits=[
        {"name": "places", "per": ["feature"], "unit": "requests", "limit": PLACES, "window": "day"}])
        for name in ("east", "west")]
    refused, over = 0, []
    unheard = HELD // 2 if on_failure == "local" and how != "emptied" else 0
    for turn in range(2):
        tags = [("X-Tollgate-Feature", f"turn-{turn}")]
        for node in (east, west):   # each knows of the other, and of this counter
            wait_for("service", lambda node=node: calls.send(node, calls.chat(), tags=tags).status == 200)
        if how != "emptied":
            own_redis.command("SAVE")
        streams = Streams(east, provider, tags)
        assert calls.send(west, calls.chat(), tags=tags).status == 200
        if how == "emptied":
            own_redis.command("FLUSHALL")
        else:
            own_redis.kill()
            own_redis.start()
        admitted, end = HELD + 3, time.monotonic() + 3
        while time.monotonic() < end:
            status = calls.send(west, calls.chat(), tags=tags).status
            admitted += status == 200
            refused += status == 503
            assert status in (200, 402, 429, 503)
        streams.join()
        over.append(max(0, admitted - PLACES))
    say(f"{how}, {on_failure}: {refused} refused meanwhile, overspent {over} of {PLACES} requests a turn")
    # One that connects later than the other tells it of its calls only then (limits.md, "Two
    # things remain"): now and then, and of no more than they hold.
    assert min(over) <= unheard and max(over) <= (0 if how == "emptied" else HELD)


def own_hosts(path):
    """The process gets this file as its /etc/hosts, and nobody else."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)

    def enter():
        clone_newns, recursive, private, bind = 0x20000, 0x4000, 0x40000, 0x1000
        if libc.unshare(clone_newns) or \
           libc.mount(b"none", b"/", None, recursive | private, None) or \
           libc.mount(path.encode(), b"/etc/hosts", None, bind, None):
            os._exit(99)
    return enter


@pytest.mark.slow
def test_name_is_looked_up_anew(gateways, provider, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n127.0.0.2 counters.test\n")
    enter = own_hosts(str(hosts))
    if os.geteuid() != 0 or subprocess.run(["true"], preexec_fn=enter).returncode != 0:
        pytest.skip("a hosts file of its own needs a mount, and that root")
    # One port at two addresses: only the name's address changes.
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old = Redis(tmp_path / "old", extra=["--bind", "127.0.0.1", "127.0.0.2"])
    gateway = gateways(limits=[several("few", 30)], preexec=enter, counters={
        **REFUSE, "backend": "redis", "url": f"redis://counters.test:{old.port}/0"})
    for _ in range(10):
        assert serves(gateway)
    gateway.records(10)
    port = old.port
    old.kill()
    hosts.write_text("127.0.0.1 localhost\n127.0.0.3 counters.test\n")
    new = Redis(tmp_path / "new", port=port, extra=["--bind", "127.0.0.1", "127.0.0.3"])
    statuses = []

    def used_up():
        statuses.append(calls.send(gateway, calls.chat()).status)
        return statuses.count(402) == 3
    wait_for("the budget to be used up", used_up, 30, 0.05)
    assert statuses.count(200) == 20 and set(statuses) <= {200, 402, 503}, statuses
    assert provider.totals()["billed"] == 30
    new.stop()


# ---- slow, stopped, lost in between -----------------------------------------------------------


def test_slow_line(gateways, provider, line):
    """Each piece takes 20 ms either way: the budget is as hard, and nobody waits in vain."""
    line.delay = 0.02
    gateway = gateways(redis=line, limits=[several("few", 60)], counters=REFUSE)
    burst = Burst([gateway], 12)
    wait_for("the budget to be used up", lambda: burst.statuses.count(402) > 20, 30)
    statuses = burst.stop()
    assert statuses.count(200) == 60 and set(statuses) <= {200, 402, 503}
    assert provider.totals()["billed"] == 60


def test_line_slower_than_the_time_out(gateways, provider, line):
    """Answers come after their time: what they reserved goes back, and counts once."""
    gateway = gateways(redis=line, limits=[DAY], counters={
        "on_failure": "local", "timeout_ms": 30, "leases": False})
    assert serves(gateway)
    line.delay = 0.1
    load = Load(gateway, 4)
    more(load, 60)
    line.delay = 0.0
    more(load, 60)
    load.stop()
    settled_books(gateway, provider, load.answered)


@pytest.mark.parametrize("on_failure", ["local", "refuse", "allow"])
def test_redis_sleeps(gateways, provider, tmp_path, on_failure):
    """A server that computes for a second costs a request its time-out and no stream a pause."""
    redis = Redis(tmp_path, extra=["--enable-debug-command", "local"])
    gateway = gateways(redis=redis, limits=[DAY], counters={
        "on_failure": on_failure, "timeout_ms": 100, "leases": False})
    assert serves(gateway)
    streams, slowest, statuses = [], 0.0, set()

    def stream():
        streams.append(calls.send(gateway, calls.chat(stream=True), sim={
            "Event_Delay_Ms": 40, "Output_Tokens": 40, "Tokens_Per_Event": 1}))
    thread = threading.Thread(target=stream)
    thread.start()
    wait_for("the stream to run", lambda: provider.totals()["requests"] == 2)
    sleeper = threading.Thread(target=redis.command, args=("DEBUG", "SLEEP", "1.2"))
    sleeper.start()
    time.sleep(0.1)
    while sleeper.is_alive():
        start = time.monotonic()
        statuses.add(calls.send(gateway, calls.chat()).status)
        slowest = max(slowest, time.monotonic() - start)
    thread.join(30)
    assert statuses <= ({503, 200} if on_failure == "refuse" else {200})
    assert (503 in statuses) == (on_failure == "refuse")
    assert slowest < 0.9
    gaps = [b - a for (a, _), (b, _) in zip(streams[0].arrivals, streams[0].arrivals[1:])]
    assert streams[0].complete and len(gaps) > 20 and max(gaps) < 0.6
    settled_books(gateway, provider, [streams[0].header("x-tollgate-request-id")])
    redis.stop()


def test_on_failure_is_each_limits_own(gateways, provider, own_redis):
    """While Redis is away each limit is as strict as it says, whatever the others say."""
    gateway = gateways(redis=own_redis, workers=1, counters={"on_failure": "local",
                                                             "timeout_ms": 100}, limits=[
        several("strict", 1000, match={"team": "strict"}, on_failure="refuse"),
        several("open", 2, match={"team": "open"}, on_failure="allow"),
        several("own-share", 4, match={"team": "share"})])

    def statuses(team, count=6):
        return [calls.send(gateway, calls.chat(), key=keys[team]).status for _ in range(count)]
    keys = {team: f"tg_{team}_5f3c9d27a1b84e60" for team in ("strict", "open", "share", "none")}
    gateway.config["keys"] = [{"name": team, "secret": secret, "tags": {"team": team}}
                              for team, secret in keys.items()]
    gateway.write()
    gateway.reload()
    wait_for("reload", lambda: statuses("none", 1) == [200])
    assert statuses("strict", 1) == statuses("open", 1) == statuses("share", 1) == [200]
    wait_for("what was counted to be known", lambda: own_redis.command("ZCARD", "{tollgate}:d") == 0)
    own_redis.kill()
    wait_for("Redis to be missed", lambda: statuses("strict", 1) == [503])
    assert statuses("strict") == [503] * 6
    assert statuses("open") == [200] * 6
    assert statuses("share") == [200] * 3 + [402] * 3
    assert statuses("none") == [200] * 6
    own_redis.start()
    wait_for("Redis to be back", lambda: statuses("strict", 1) == [200], 20, 0.1)
    assert statuses("open", 1) == statuses("share", 1) == [402]
    gateway.records(provider.totals()["billed"])


def one_worker():
    """Whom a line admits: commands, and the first worker that comes."""
    came = []

    def admits(first):
        if not is_worker(first):
            return True
        came.append(first)
        return len(came) == 1
    return admits


def test_local_holds_whoever_is_back(gateways, provider, line):
    """One of three workers has found Redis again: what it counts there the others hear of."""
    gateway = gateways(redis=line, workers=3, limits=[several("few", 12)],
                       counters={"on_failure": "local", "timeout_ms": 100, "leases": False})
    assert all(serves(gateway) for _ in range(3))
    gateway.records(3)
    line.shut()
    assert all(serves(gateway) for _ in range(3))
    line.admits = one_worker()
    line.open()
    wait_for("it is back", lambda: "counters in redis are back" in gateway.log(), 20)
    assert [serves(gateway) for _ in range(12)] == [True] * 6 + [False] * 6
    line.cut()   # and is away again
    assert not any(serves(gateway) for _ in range(6))
    line.admits = lambda first: True
    wait_for("all have found it", lambda: gateway.log().count("counters in redis are back") == 4, 20)
    wait_for("what was admitted meanwhile is told",
             lambda: int(budget(gateway, "few")["spent_count"]) == 12, 15, 0.3)
    assert not any(serves(gateway) for _ in range(6))
    assert provider.totals()["billed"] == 12


def test_lost_in_between(gateways, provider, own_redis, line, say):
    """Connections are cut and Redis is emptied, again and again: each call counts once."""
    gateway = gateways(redis=line, limits=[DAY], counters={**REFUSE, "leases": False})
    load = Load(gateway, 6)
    for turn in range(6):
        more(load, 10)
        line.cut()
        if turn % 3 == 2:
            own_redis.command("FLUSHALL")
    more(load, 10)
    load.stop()
    books = settled_books(gateway, provider, load.answered)
    say(f"cut 6 times, emptied twice: {books}; {load.refused} refused meanwhile")
