"""What the gateway costs against nginx's proxy_pass, as ratios of one run.

Everything is on: metering, tags, journal, a budget in Redis. TLS on both sides, upstream
verified, keep-alive. The proxy alone has one core; the load (wrk), the provider and Redis
have the other. Rounds alternate; figures are medians. CPU is the process's own (utime and
stime of /proc), so a noisy neighbour moves the rates more than the ratios.

    make bench                      all
    make bench BENCH="small sse"    some
    make bench BENCH=limits         what reserving costs: each request by itself, what comes
                                    together in one call, and from leases
    ROUNDS=5 SECONDS=4 make bench   longer
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from kit.calls import KEY  # noqa: E402
from kit.certs import Certs  # noqa: E402
from kit.config import base_config  # noqa: E402
from kit.procs import Gateway, Process, Provider, Redis, free_port, wait_for  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS", "3"))
PROXY_CORE, LOAD_CORE = "1", "0"
TICK = os.sysconf("SC_CLK_TCK")

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.err crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    keepalive_requests 1000000;
    client_max_body_size 64m;
    client_body_buffer_size 512k;
    upstream provider {{ server 127.0.0.1:{provider}; keepalive 512; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port} ssl reuseport;
        ssl_certificate {certs}/server.pem; ssl_certificate_key {certs}/server.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        location /openai/ {{
            proxy_pass https://provider/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost;
            proxy_ssl_server_name on; proxy_ssl_name localhost;
            proxy_ssl_verify on; proxy_ssl_trusted_certificate {certs}/ca.pem;
            proxy_buffering {buffering};
        }}
    }}
}}
"""

LUA = """
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-Tollgate-Feature"] = "bench"
wrk.headers["X-Tollgate-Task"] = "bench-task"
{headers}
local f = io.open("{body}", "rb"); wrk.body = f:read("*a"); f:close()
done = function(summary, latency, requests)
  io.write(string.format('RESULT {{"requests": %d, "us": %d, "bad": %d, "faults": "status %d, read %d, write %d, connect %d, timeout %d", "p50": %d, "p99": %d}}\\n',
    summary.requests, summary.duration, summary.errors.status + summary.errors.read +
    summary.errors.write + summary.errors.connect + summary.errors.timeout,
    summary.errors.status, summary.errors.read, summary.errors.write, summary.errors.connect,
    summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


class Case:
    def __init__(self, name, what, body, connections, sim=None, events=0, buffering="on"):
        self.name, self.what, self.body = name, what, body
        self.connections, self.sim, self.events = connections, sim or {}, events
        self.buffering = buffering


def chat(words, **more):
    return {"model": "gpt-4o", "max_completion_tokens": 16,
            "messages": [{"role": "user", "content": "word " * words}], **more}


CASES = [
    Case("small", "small request at saturation", chat(10), 32),
    Case("prompt", "200 KB prompt", chat(40000), 16),
    Case("sse", "SSE stream of 200 events, back to back",
         chat(10, stream=True, max_completion_tokens=200,
              stream_options={"include_usage": True}), 16, {"Output-Tokens": 200}, 200, "off"),
]


def cpu_us(pid):
    """CPU of a process and its children, microseconds."""
    total = 0
    pids = [pid] + [int(p) for p in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True,
                                                    text=True).stdout.split()]
    for one in pids:
        with open(f"/proc/{one}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total * 1000000 // TICK


def pin(pid, core):
    subprocess.run(["taskset", "-a", "-c", "-p", core, str(pid)], capture_output=True, check=True)
    for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True,
                                text=True).stdout.split():
        pin(int(child), core)


def load(url, script, case, seconds):
    args = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{case.connections}", f"-d{seconds}s",
            "--latency", "-s", script, url]
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    found = re.search(r"RESULT (\{.*\})", done.stdout)
    if not found:
        raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
    result = json.loads(found.group(1))
    if result["bad"]:
        raise RuntimeError(f"{result['bad']} of {result['requests']} requests to {url} "
                           f"failed: {result['faults']}")
    return result


# How a request is reserved: gateways that differ in nothing but this.
WAYS = {"exact": {"leases": False, "batch": 1}, "batched": {"leases": False},
        "leased": {"leases": True}}


class Bench:
    def __init__(self, folder, ways=False):
        self.folder = folder
        self.certs = Certs(os.path.join(folder, "certs"))
        self.redis = Redis(folder)
        self.provider = Provider(folder, self.certs, ["--record", "0"])
        config = base_config(
            self.certs, self.provider, self.redis, workers=1,
            limits=[{"name": "bench-month", "match": {"team": "search"}, "unit": "usd",
                     "limit": "5000000", "window": "month"}])
        self.gate = Gateway(os.path.join(folder, "gate"), config, self.certs)
        self.ways = {}
        for name, counters in WAYS.items() if ways else ():
            own = dict(config, counters=dict(config["counters"], namespace=name, **counters))
            self.ways[name] = Gateway(os.path.join(folder, name), own, self.certs)
            pin(self.ways[name].process.pid, PROXY_CORE)
        for process in (self.redis.process, self.provider.process):
            pin(process.pid, LOAD_CORE)
        pin(self.gate.process.pid, PROXY_CORE)
        self.nginx = None

    def start_nginx(self, buffering):
        """nginx buffers whole answers unless told not to: streams are compared unbuffered."""
        if self.nginx:
            self.nginx.stop()
        port = free_port()
        conf = os.path.join(self.folder, "nginx.conf")
        with open(conf, "w", encoding="ascii") as out:
            out.write(NGINX.format(folder=self.folder, certs=self.certs.folder, port=port,
                                   provider=self.provider.port, buffering=buffering))
        self.nginx = Process("nginx", ["nginx", "-p", self.folder, "-c", conf, "-e",
                                       os.path.join(self.folder, "nginx.err")], self.folder)
        self.nginx_port = port

        def listens():
            import socket
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0
        wait_for("nginx listens", listens)
        pin(self.nginx.pid, PROXY_CORE)

    def script(self, case):
        body = os.path.join(self.folder, f"{case.name}.json")
        with open(body, "w", encoding="ascii") as out:
            json.dump(case.body, out)
        path = os.path.join(self.folder, f"{case.name}.lua")
        headers = "\n".join(f'wrk.headers["X-Sim-{k}"] = "{v}"' for k, v in case.sim.items())
        with open(path, "w", encoding="ascii") as out:
            out.write(LUA.format(key=KEY, body=body, headers=headers))
        return path

    def run(self, case):
        self.start_nginx(case.buffering)
        script = self.script(case)
        path = "/v1/chat/completions"
        # The provider takes its own key alone: nginx passes the client's, so the client has it.
        direct = script.replace(".lua", ".direct.lua")
        with open(script, encoding="ascii") as file, open(direct, "w", encoding="ascii") as out:
            out.write(file.read().replace(KEY, Provider.SECRET))
        targets = {
            "nginx": (f"https://127.0.0.1:{self.nginx_port}/openai{path}", direct, self.nginx.pid),
            "tollgate": (f"{self.gate.url}/openai{path}", script, self.gate.process.pid),
            "direct": (f"{self.provider.url}{path}", direct, None),
        }
        rows = {name: [] for name in targets}
        for name, (url, lua, _) in targets.items():
            load(url, lua, case, 1)
        for _ in range(ROUNDS):
            for name, (url, lua, pid) in targets.items():
                redis = cpu_us(self.redis.process.pid)
                before = cpu_us(pid) if pid else 0
                result = load(url, lua, case, SECONDS)
                result["cpu"] = ((cpu_us(pid) - before) / result["requests"]) if pid else 0.0
                result["redis"] = (cpu_us(self.redis.process.pid) - redis) / result["requests"]
                result["rate"] = result["requests"] * 1e6 / result["us"]
                rows[name].append(result)
        return {name: {key: statistics.median(r[key] for r in results)
                       for key in ("cpu", "rate", "p50", "p99", "redis")}
                for name, results in rows.items()}

    def run_ways(self, case):
        script = self.script(case)
        rows = {name: [] for name in self.ways}
        for gate in self.ways.values():
            load(f"{gate.url}/openai/v1/chat/completions", script, case, 1)
        for _ in range(ROUNDS):
            for name, gate in self.ways.items():
                redis, before = cpu_us(self.redis.process.pid), cpu_us(gate.process.pid)
                result = load(f"{gate.url}/openai/v1/chat/completions", script, case, SECONDS)
                result["cpu"] = (cpu_us(gate.process.pid) - before) / result["requests"]
                result["redis"] = (cpu_us(self.redis.process.pid) - redis) / result["requests"]
                result["rate"] = result["requests"] * 1e6 / result["us"]
                rows[name].append(result)
        return {name: {key: statistics.median(r[key] for r in results)
                       for key in ("cpu", "rate", "p50", "p99", "redis")}
                for name, results in rows.items()}

    def stop(self):
        if self.nginx:
            self.nginx.stop()
        for gate in self.ways.values():
            gate.stop()
        self.gate.stop()
        self.provider.stop()
        self.redis.stop()


def show(case, result):
    nginx, gate, direct = result["nginx"], result["tollgate"], result["direct"]
    print(f"\n{case.name}: {case.what} (wrk, {case.connections} connections, "
          f"median of {ROUNDS} rounds of {SECONDS} s)")
    print(f"  {'':10}{'CPU us/request':>16}{'requests/s':>13}{'p50 added us':>14}"
          f"{'p99 added us':>14}{'Redis us/req':>14}")
    for name in ("nginx", "tollgate"):
        row = result[name]
        print(f"  {name:10}{row['cpu']:16.1f}{row['rate']:13.0f}"
              f"{row['p50'] - direct['p50']:14.0f}{row['p99'] - direct['p99']:14.0f}"
              f"{row['redis']:14.1f}")
    print(f"  ratio     {gate['cpu'] / nginx['cpu']:16.2f}{gate['rate'] / nginx['rate']:13.2f}")
    if case.events:
        print(f"  CPU us an event: nginx {nginx['cpu'] / case.events:.2f}, "
              f"tollgate {gate['cpu'] / case.events:.2f}")


def show_ways(case, result):
    print(f"\nlimits: {case.what}, three ways to reserve (wrk, {case.connections} connections, "
          f"median of {ROUNDS} rounds of {SECONDS} s)")
    print(f"  {'':10}{'CPU us/request':>16}{'Redis us/req':>14}{'requests/s':>13}{'p50 us':>9}"
          f"{'p99 us':>9}")
    for name, row in result.items():
        print(f"  {name:10}{row['cpu']:16.1f}{row['redis']:14.2f}{row['rate']:13.0f}"
              f"{row['p50']:9.0f}{row['p99']:9.0f}")


def main():
    names = [case.name for case in CASES] + ["limits"]
    wanted = sys.argv[1:] or names
    unknown = [name for name in wanted if name not in names]
    missing = [name for name in ("wrk", "nginx", "redis-server", "taskset")
               if not shutil.which(name)]
    if unknown or missing:
        sys.exit(f"bench: unknown {unknown}" if unknown else f"bench: not installed: {missing}")
    folder = tempfile.mkdtemp(prefix="tollgate-bench-")
    bench = Bench(folder, "limits" in wanted)
    try:
        print("cpu:", re.search(r"model name\s*: (.*)", open("/proc/cpuinfo", encoding="utf-8")
                                .read()).group(1), f"x {os.cpu_count()}")
        for case in CASES:
            if case.name in wanted:
                show(case, bench.run(case))
        if "limits" in wanted:
            show_ways(CASES[0], bench.run_ways(CASES[0]))
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
