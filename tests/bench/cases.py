"""What is measured. Each case takes the bench, measures in alternating rounds, prints its table."""

import math
import os
import statistics
import subprocess
import sys

import show
from load import ROOT, Call, Load, closed
from peers import LOAD_CORE, PROXY_CORE, cpu_us, idle_us, memory_kb, stolen_us

WARM_SECONDS = 1
TURN_SECONDS = 1
LATENCY_CONNECTIONS = 64
IDLE_CONNECTIONS = 1000
HELD_STREAMS = 2000
HANDSHAKES_AT_ONCE = 16
ANSWER_BYTES = 10 << 20
SATURATED_PERCENT = 97   # of its core, what a proxy has that never waits; the rest is the system's


def chat(words, **more):
    return {"model": "gpt-4o", "max_completion_tokens": 16,
            "messages": [{"role": "user", "content": "word " * words}], **more}


def streamed(tokens):
    return chat(10, stream=True, max_completion_tokens=tokens,
                stream_options={"include_usage": True})


SMALL = Call("small", chat(10))
PROMPT = Call("prompt", chat(40000))
ANSWER = Call("answer", chat(10), {"Output-Tokens": 1, "Pad-Bytes": ANSWER_BYTES}, streams=True)
SSE_EVENTS = 200
SSE = Call("sse", streamed(SSE_EVENTS), {"Output-Tokens": SSE_EVENTS}, streams=True)


class Bench:
    """The stand, how long everything takes, and the peers that most cases share."""

    def __init__(self, stand, rounds, seconds):
        self.stand, self.rounds, self.seconds = stand, rounds, seconds
        self._peers = None

    @property
    def folder(self):
        return self.stand.folder

    def peers(self):
        if self._peers is None:
            self._peers = self.stand.all()
        return self._peers

    def alternate(self, peers, measure, warm=None):
        """{peer: {figure: median}}: each peer in turn, as many rounds as asked for."""
        rows = {peer.name: [] for peer in peers}
        for peer in peers if warm else ():
            warm(peer)
        for _ in range(self.rounds):
            for peer in peers:
                rows[peer.name].append(measure(peer))
        return {name: {key: statistics.median(result[key] for result in results)
                       for key in results[0]} for name, results in rows.items()}

    def saturate(self, peers, call_of, connections, parts=False):
        """CPU a request, rate, latency and how busy its core was; call_of: the call of each peer."""
        def warm(peer):
            closed(self.folder, peer, call_of(peer), connections, WARM_SECONDS)

        def taken(peer):
            return {"cpu": cpu_us(peer.pid) if peer.pid else 0,
                    "ingest": cpu_us(peer.pid, "ingest") if peer.gate and parts else 0,
                    "redis": cpu_us(self.stand.redis.process.pid),
                    "idle": idle_us(PROXY_CORE), "load_idle": idle_us(LOAD_CORE)}

        def measure(peer):
            got = closed(self.folder, peer, call_of(peer), connections, self.seconds,
                         lambda: taken(peer))
            n, time = max(got["requests"], 1), got["us"]
            used = {key: got["after"][key] - got["before"][key] for key in got["before"]}
            return {"cpu": used["cpu"] / n, "ingest": used["ingest"] / n, "redis": used["redis"] / n,
                    "busy": 100 * used["cpu"] / time, "idle": 100 * used["idle"] / time,
                    "load_idle": 100 * used["load_idle"] / time,
                    "rate": n * 1e6 / time, "p50": got["p50"], "p99": got["p99"]}
        return self.alternate(peers, measure, warm)


BUSY = {"busy": "busy, % of its core"}


def say_who_waited(rows):
    """Saturation is what the title says, or is said not to have been."""
    waited = {name: row for name, row in rows.items() if row.get("busy", 100) < SATURATED_PERCENT}
    for name, row in waited.items():
        why = "others ran there" if row["idle"] < 100 - SATURATED_PERCENT else \
            "the load could not keep up" if row["load_idle"] < 100 - SATURATED_PERCENT else \
            "it waited, and the load for it"
        print(f"Not saturated: {name} had {row['busy']:.0f} % of its core, which was idle for "
              f"{row['idle']:.0f} %, the load's for {row['load_idle']:.0f} %: {why}.")
    if waited:
        print(flush=True)


def saturation(bench, title, call, connections, events=0):
    rows = bench.saturate(bench.peers() + [bench.stand.direct()], lambda _: call, connections)
    columns = {"cpu": "CPU µs a request", **BUSY, "rate": "requests/s", "p50": "p50 added µs",
               "p99": "p99 added µs", "redis": "Redis µs a request"}
    rows = show.without_direct(rows, ("p50", "p99"))
    if events:
        columns["event"] = "CPU µs an event"
        for row in rows.values():
            row["event"] = row["cpu"] / events
    show.table(f"{title} ({connections} connections)", columns,
               show.with_ratios(rows, ("cpu", "rate", "event")))
    say_who_waited(rows)


def tls(bench):
    """All do the same work, or nothing is measured."""
    agreed = bench.stand.agreed()
    print("\n### What each agrees on\n\n| | with its client | with its upstream |\n|---|---|---|")
    for name, (client, upstream) in agreed.items():
        print(f"| {name} | {client} | {upstream} |")
    if len({one for both in agreed.values() for one in both}) != 1:
        sys.exit("bench: they do not agree on the same, so that ratios would mislead")


def small(bench):
    saturation(bench, "Small requests at saturation", SMALL, int(os.environ.get("CONNECTIONS", "32")))


def prompt(bench):
    saturation(bench, "200 KB prompts at saturation", PROMPT, 16)


def answer(bench):
    saturation(bench, "10 MB answers at saturation", ANSWER, 4)


def sse(bench):
    saturation(bench, f"Streams of {SSE_EVENTS} events, back to back", SSE, 16, SSE_EVENTS)


def latency(bench):
    """Short turns, of which the half counts from which the host took the least: what it takes is
    milliseconds at a time, and would be all that a p99 says."""
    rates = [int(word) for word in os.environ.get("RATES", "500 1000 2000 4000").split()]
    peers = bench.peers() + [bench.stand.direct()]
    counted = bench.rounds * bench.seconds // TURN_SECONDS
    for peer in peers:
        closed(bench.folder, peer, SMALL, 16, WARM_SECONDS)
    for rate in rates:
        turns = {peer.name: [] for peer in peers}
        for _ in range(2 * counted):
            for peer in peers:
                turns[peer.name].append(turn(bench, peer, rate))
        rows = {name: together(sorted(each, key=lambda one: one["stolen"])[:counted])
                for name, each in turns.items()}
        direct = rows["direct"]
        rows = show.without_direct(rows, ("p50", "p99"))
        columns = {"p50": "p50 added µs", "p99": "p99 added µs", "cpu": "CPU µs a request",
                   "late": "not answered", "stolen": "taken by the host, %"}
        show.table(f"Small requests, {rate} a second (open loop, {LATENCY_CONNECTIONS} connections; "
                   f"{counted} turns of {TURN_SECONDS} s, and as many that the host disturbed more; "
                   f"the provider itself: p50 {direct['p50']:.0f} µs, p99 {direct['p99']:.0f} µs)",
                   columns, show.with_ratios(rows, ("p50", "p99", "cpu")))


def turn(bench, peer, rate):
    """One turn of `latency`: every request's time, and what the host took meanwhile."""
    with Load(bench.folder, "open", peer, LATENCY_CONNECTIONS, SMALL,
              seconds=TURN_SECONDS, rate=rate) as load:
        load.wait("counting")
        cpu, stolen = cpu_us(peer.pid) if peer.pid else 0, stolen_us()
        got = load.result()
        return {"each": got["each"], "late": got["unfinished"] + got["failed"], "us": got["us"],
                "stolen": stolen_us() - stolen,
                "cpu": cpu_us(peer.pid) - cpu if peer.pid else 0}


def together(turns):
    """The figures of several turns as if they were one."""
    times = sorted(time for one in turns for time in one["each"])
    n = max(len(times), 1)
    quantile = {key: times[min(len(times) * permille // 1000, len(times) - 1)] if times else math.nan
                for key, permille in (("p50", 500), ("p99", 990))}
    return {**quantile, "late": sum(one["late"] for one in turns),
            "cpu": sum(one["cpu"] for one in turns) / n,
            "stolen": 100 * sum(one["stolen"] for one in turns) /
            (sum(one["us"] for one in turns) * os.cpu_count())}


def streams(bench):
    counts = [int(word) for word in os.environ.get("STREAMS", "100 1000").split()]
    pause = int(os.environ.get("EVENT_MS", "10"))
    tokens = max(50, 1000 // pause)   # a second, so that each begins anew in the measured time
    call = Call("streams", streamed(tokens), streams=True, sim={
        "Output-Tokens": tokens, "Event-Delay-Ms": pause, "First-Event-Delay-Ms": pause,
        "Stamp": 1})
    for count in counts:
        def measure(peer, count=count):
            with Load(bench.folder, "streams", peer, count, call, seconds=bench.seconds) as load:
                load.wait("counting")
                cpu = cpu_us(peer.pid) if peer.pid else 0
                got = load.result()
                used = cpu_us(peer.pid) - cpu if peer.pid else 0
            return {"cpu": used / max(got["events"], 1), "rate": got["events"] * 1e6 / got["us"],
                    "p50": got.get("event_p50", math.nan), "p99": got.get("event_p99", math.nan),
                    "first50": got.get("first_p50", math.nan),
                    "first99": got.get("first_p99", math.nan)}
        rows = bench.alternate(bench.peers() + [bench.stand.direct()], measure)
        added = ("p50", "p99", "first50", "first99")
        direct = rows["direct"]
        rows = show.without_direct(rows, added)
        columns = {"cpu": "CPU µs an event", "rate": "events/s", "p50": "p50 added delay µs",
                   "p99": "p99 added delay µs", "first50": "p50 added to first byte µs",
                   "first99": "p99 added to first byte µs"}
        show.table(f"{count} streams, {pause} ms between events (the provider itself: "
                   f"{direct['rate']:,.0f} events/s, delay p50 {direct['p50']:.0f} µs, "
                   f"p99 {direct['p99']:.0f} µs)", columns,
                   show.with_ratios(rows, ("cpu", "rate", *added)))


def handshakes(bench):
    for title, flags in (("full", ()), ("resumed", ("--resume",))):
        def measure(peer, flags=flags):
            cpu = cpu_us(peer.pid)
            with Load(bench.folder, "handshakes", peer, HANDSHAKES_AT_ONCE,
                      seconds=bench.seconds, flags=flags) as load:
                got = load.result()
                used = cpu_us(peer.pid) - cpu
            n = max(got["requests"], 1)
            return {"cpu": used / n, "rate": got["requests"] * 1e6 / got["us"],
                    "p50": got["p50"], "p99": got["p99"], "resumed": 100 * got["resumed"] / n}
        rows = bench.alternate(bench.peers(), measure)
        columns = {"cpu": "CPU µs a handshake", "rate": "handshakes/s", "p50": "p50 µs",
                   "p99": "p99 µs", "resumed": "resumed %"}
        show.table(f"New connections, TLS 1.3, {title} handshakes ({HANDSHAKES_AT_ONCE} at a time)",
                   columns, show.with_ratios(rows, ("cpu", "rate")))


def held(bench, mode, peer, count, call):
    """What a peer holds while so many connections rest or streams run."""
    with Load(bench.folder, mode, peer, count, call, flags=["--hold"]) as load:
        load.wait("ready")
        kilobytes = memory_kb(peer.pid)
        load.release()
        load.result()
    return kilobytes


def memory(bench):
    """Of processes just started, which nothing has warmed."""
    call = Call("held", streamed(600), streams=True,
                sim={"Output-Tokens": 600, "Event-Delay-Ms": 100})
    rows = {}
    for make in (bench.stand.nginx, bench.stand.haproxy, bench.stand.gateway):
        runs = []
        for _ in range(bench.rounds):
            peer = make()
            if peer is None:
                break
            name, start = peer.name, memory_kb(peer.pid)
            runs.append({"start": start,
                         "idle": held(bench, "idle", peer, IDLE_CONNECTIONS, SMALL),
                         "streams": held(bench, "streams", peer, HELD_STREAMS, call)})
            bench.stand.stop_peers([peer])
        if runs:
            row = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            row["each"] = (row["idle"] - row["start"]) / IDLE_CONNECTIONS
            row["stream"] = (row["streams"] - row["start"]) / HELD_STREAMS
            rows[name] = row
    columns = {"start": "KB just started", "idle": f"KB with {IDLE_CONNECTIONS:,} idle connections",
               "each": "KB each", "streams": f"KB with {HELD_STREAMS:,} streams",
               "stream": "KB a stream"}
    show.table("Memory (proportional set size)", columns, show.with_ratios(rows, tuple(columns)))


# What each part costs: gateways that differ from another in one thing, and which that is. The journal has no
# switch, since what it does not hold is lost: there a library swallows the workers' writes, so that the
# ledger's thread has nothing to read either.
RAW = {"protocol": "raw", "unknown_endpoints": "allow", "provider": None}
MEMORY = {"backend": "memory", "url": None}
NO_JOURNAL = {"LD_PRELOAD": os.path.join(ROOT, "build", "release", "bench", "nojournal.so")}
FULL = "everything on"
PARTS = {
    FULL: {},
    "no leases": {"counters": {"leases": False}},
    "counters in memory, no Redis": {"counters": MEMORY},
    "no limits": {"limits": []},
    "no tags sent": {},
    "journal never forced to disk": {"ledger": {"sync": "never"}},
    "no journal, no ledger": {"env": NO_JOURNAL},
    "answers not held for the cost header": {"bounds": {"hold_bytes": 0}},
    "no metering (raw), no limits": {"upstream": RAW, "limits": []},
    "all of it off": {"upstream": RAW, "limits": [], "counters": MEMORY,
                      "env": NO_JOURNAL, "bounds": {"hold_bytes": 0}},
}
BESIDE = {"no metering (raw), no limits": "no limits"}   # else beside FULL
UNTAGGED = {"no tags sent", "all of it off"}


def parts(bench):
    others = [peer for peer in bench.peers() if not peer.gate]
    gates = [bench.stand.gateway(name, **changes) for name, changes in PARTS.items()]
    plain = Call("untagged", SMALL.body, tags=False)
    try:
        rows = bench.saturate(others + gates,
                              lambda peer: plain if peer.name in UNTAGGED else SMALL, 32, True)
    finally:
        bench.stand.stop_peers(gates)
    for peer in gates:
        row = rows[peer.name]
        row["price"] = rows[BESIDE.get(peer.name, FULL)]["cpu"] - row["cpu"]
        for other in others:
            row[other.name] = row["cpu"] / rows[other.name]["cpu"]
    columns = {"cpu": "CPU µs a request", **BUSY, "price": "price of the part µs",
               "ingest": "of it ledger's thread µs", "redis": "Redis µs a request",
               "rate": "requests/s", **{peer.name: f"times {peer.name}" for peer in others}}
    show.table("Small requests at saturation, each part switched off in turn (32 connections)",
               columns, rows)
    say_who_waited(rows)


# How a request is reserved: gateways that differ in nothing but this.
WAYS = {"exact": {"leases": False, "batch": 1}, "batched": {"leases": False},
        "leased": {"leases": True}}


def limits(bench):
    gates = [bench.stand.gateway(name, counters=counters) for name, counters in WAYS.items()]
    try:
        rows = bench.saturate(gates, lambda _: SMALL, 32)
    finally:
        bench.stand.stop_peers(gates)
    show.table("Three ways to reserve, small requests at saturation (32 connections)",
               {"cpu": "CPU µs a request", **BUSY, "redis": "Redis µs a request",
                "rate": "requests/s", "p50": "p50 µs", "p99": "p99 µs"}, rows)
    say_who_waited(rows)


def tokenizer(bench):
    """A program of its own, with the SDKs' Python where there is one."""
    python = os.path.join(ROOT, "build", "venv", "bin", "python")
    script = os.path.join(ROOT, "tests", "bench", "bench_tokenizer.py")
    print("\n### Counting tokens beside the reference implementation\n", flush=True)
    subprocess.run([python if os.path.exists(python) else sys.executable, script, "--rounds",
                    str(bench.rounds)], check=False)


# In the order in which they run: (function, what it measures).
CASES = {
    "tls": (tls, "no figure: TLS version and suite of each, on both sides, must be one"),
    "small": (small, "CPU a small request at saturation (CONNECTIONS=32)"),
    "latency": (latency, "p50 and p99 added at fixed rates, open loop (RATES=\"500 1000 2000 4000\")"),
    "sse": (sse, "streams of events as fast as they come"),
    "streams": (streams, "paced streams: delay of an event, time to first byte "
                         "(STREAMS=\"100 1000\", EVENT_MS=10)"),
    "prompt": (prompt, "200 KB prompts"),
    "answer": (answer, "10 MB answers"),
    "handshakes": (handshakes, "new connections, full and resumed handshakes"),
    "memory": (memory, "memory at rest, with idle connections, with streams"),
    "parts": (parts, "what each part costs: everything on, then each off in turn"),
    "limits": (limits, "what reserving costs: each request by itself, what comes together in one "
                       "call, and from leases"),
    "tokenizer": (tokenizer, "counting tokens, beside the reference implementation"),
}
