"""Who is measured: nginx, haproxy and the gateway, each alone on one core; and what they stand
between: the simulated provider and Redis, on the other core with the load.

All have TLS 1.3 on both sides with one suite, the gateway's first (what a peer would take by itself
is dearer: nginx 1.22 speaks TLS 1.2 to upstreams), verify the upstream and keep connections; none
writes a log. Stand.agreed() looks. A Peer has a name, a process
and the addresses of its requests; the "direct" one has no process: the provider itself.
"""

import os
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from kit.calls import KEY  # noqa: E402
from kit.certs import Certs  # noqa: E402
from kit.config import base_config, merge, with_upstream  # noqa: E402
from kit.procs import Gateway, Process, Provider, Redis, free_port, wait_for  # noqa: E402

PROXY_CORE, LOAD_CORE = "1", "0"
FILES = 65536   # descriptors wanted: 2,000 streams are 4,000 of the proxy and 2,000 of the load
TICK = os.sysconf("SC_CLK_TCK")
CHAT = "/v1/chat/completions"
SUITE = "TLS_AES_128_GCM_SHA256"

# /openai/ buffers whole answers as nginx does by itself, /stream/ passes them on at once.
NGINX = """
worker_processes 1;
worker_rlimit_nofile {files};
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
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host localhost;
    proxy_ssl_server_name on; proxy_ssl_name localhost;
    proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_conf_command Ciphersuites {suite};
    proxy_ssl_verify on; proxy_ssl_trusted_certificate {certs}/ca.pem;
    proxy_connect_timeout 60s; proxy_read_timeout 600s;
    upstream provider {{ server 127.0.0.1:{provider}; keepalive 512; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port} ssl reuseport backlog=4096;
        ssl_certificate {certs}/server.pem; ssl_certificate_key {certs}/server.key;
        ssl_protocols TLSv1.2 TLSv1.3; ssl_conf_command Ciphersuites {suite};
        location /openai/ {{ proxy_pass https://provider/; }}
        location /stream/ {{ proxy_pass https://provider/; proxy_buffering off; }}
    }}
}}
"""

HAPROXY = """
global
    nbthread 1
    maxconn 8000
    ssl-default-bind-options ssl-min-ver TLSv1.2
    ssl-default-bind-ciphersuites {suite}
    ssl-default-server-ciphersuites {suite}
    ssl-server-verify required
defaults
    mode http
    timeout connect 60s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    option http-keep-alive
frontend apps
    bind 127.0.0.1:{port} ssl crt {folder}/haproxy.pem alpn http/1.1 backlog 4096
    http-request set-header Host localhost
    http-request replace-path /[a-z]+(/.*) \\1
    default_backend provider
backend provider
    http-reuse always
    server provider 127.0.0.1:{provider} ssl verify required ca-file {certs}/ca.pem sni str(localhost) verifyhost localhost
"""


def children(pid):
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in out.stdout.split()]


def family(pid):
    return [pid] + [one for child in children(pid) for one in family(child)]


def cpu_us(pid, thread=None):
    """CPU that a process and its children have taken, microseconds; of one thread by its name."""
    total = 0
    for one in family(pid):
        places = [f"/proc/{one}"]
        if thread:
            tasks = f"/proc/{one}/task"
            places = [os.path.join(tasks, task) for task in os.listdir(tasks)]
        for place in places:
            with open(f"{place}/stat", encoding="ascii") as file:
                head, rest = file.read().rsplit(") ", 1)
            fields = rest.split()
            if thread in (None, head.split("(", 1)[1]):
                total += int(fields[11]) + int(fields[12])
    return total * 1000000 // TICK


def idle_us(core):
    """How long a core has had nothing to do, microseconds."""
    with open("/proc/stat", encoding="ascii") as file:
        line, = (line for line in file if line.startswith(f"cpu{core} "))
    idle, waiting = line.split()[4:6]
    return (int(idle) + int(waiting)) * 1000000 // TICK


def stolen_us():
    """How long the host has let this machine's cores wait, microseconds of all cores."""
    with open("/proc/stat", encoding="ascii") as file:
        return int(file.readline().split()[8]) * 1000000 // TICK


def memory_kb(pid):
    """What a process and its children hold (proportional set size)."""
    total = 0
    for one in family(pid):
        with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


def pin(pid, core):
    for one in family(pid):
        subprocess.run(["taskset", "-a", "-c", "-p", core, str(one)], capture_output=True,
                       check=True)


def raise_files():
    """As many descriptors as may be had; the processes inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(FILES, soft), max(FILES, hard)))
    except (ValueError, PermissionError):   # only root raises the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Peer:
    """One that is measured, or the provider itself."""

    def __init__(self, name, port, key, prefixes, process=None, gate=None):
        self.name, self.port, self.key = name, port, key
        self.plain, self.stream = prefixes
        self.process, self.gate = process, gate
        if self.pid:
            pin(self.pid, PROXY_CORE)

    @property
    def pid(self):
        found = self.gate.process if self.gate else self.process
        return found.pid if found else None

    def path(self, streams):
        return (self.stream if streams else self.plain) + CHAT

    def stop(self):
        if self.gate:
            self.gate.stop()
        elif self.process:
            self.process.stop()


def listens(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Witness:
    """Stands in the provider's place and keeps what each connection to it agreed on."""

    def __init__(self, certs):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE   # as the provider
        self.context.load_cert_chain(certs.path("server.pem"), certs.path("server.key"))
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = f"https://localhost:{self.port}"
        self.seen = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                with self.context.wrap_socket(self.sock.accept()[0], server_side=True) as tls:
                    self.seen.append(agreement(tls))
                    tls.recv(65536)
                    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            except ssl.SSLError:
                continue
            except OSError:
                return   # it was closed


def agreement(tls):
    return f"{tls.version()} {tls.cipher()[0]}"


class Stand:
    """Provider, Redis, and peers as they are asked for."""

    def __init__(self, folder):
        self.folder = folder
        self.certs = Certs(os.path.join(folder, "certs"))
        self.redis = Redis(folder)
        self.provider = Provider(folder, self.certs, ["--record", "0"])
        for process in (self.redis.process, self.provider.process):
            pin(process.pid, LOAD_CORE)
        self.made = 0
        self.started = []

    def _folder(self, name):
        self.made += 1
        place = os.path.join(self.folder, f"{name}-{self.made}")
        os.makedirs(place)
        return place

    def _start(self, peer):
        self.started.append(peer)
        return peer

    def _program(self, name, text, args):
        place, port = self._folder(name), free_port()
        conf = os.path.join(place, f"{name}.conf")
        with open(os.path.join(place, "haproxy.pem"), "w", encoding="ascii") as out:
            for part in ("server.pem", "server.key"):
                with open(self.certs.path(part), encoding="ascii") as file:
                    out.write(file.read())
        with open(conf, "w", encoding="ascii") as out:
            out.write(text.format(folder=place, certs=self.certs.folder, port=port,
                                  provider=self.provider.port, files=FILES // 2, suite=SUITE))
        process = Process(name, [word.format(folder=place, conf=conf) for word in args], place)
        wait_for(f"{name} listens", lambda: listens(port))
        # They pass the caller's key on, so the caller has the provider's.
        return self._start(Peer(name, port, Provider.SECRET, ("/openai", "/stream"), process))

    def nginx(self):
        if not shutil.which("nginx"):
            return None
        return self._program("nginx", NGINX, ["nginx", "-p", "{folder}", "-c", "{conf}", "-e",
                                              "{folder}/nginx.err"])

    def haproxy(self):
        if not shutil.which("haproxy"):
            return None
        return self._program("haproxy", HAPROXY, ["haproxy", "-db", "-f", "{conf}"])

    def config(self):
        """Everything on: metering, tags, ledger, a budget in Redis from leases."""
        return base_config(
            self.certs, self.provider, self.redis, workers=1,
            limits=[{"name": "bench-month", "match": {"team": "search"}, "unit": "usd",
                     "limit": "5000000", "window": "month"}])

    def gateway(self, name="tollgate", upstream=None, env=None, **changes):
        """The gateway; upstream: other members of the upstream that is called; env: its environment's."""
        config = merge(self.config(), changes)
        config["counters"].setdefault("namespace", f"bench{self.made}")
        config = with_upstream(config, "openai", connect_timeout_ms=60000, **(upstream or {}))
        gate = Gateway(self._folder("gate"), config, self.certs, env=env)
        return self._start(Peer(name, gate.port, KEY, ("/openai", "/openai"), gate=gate))

    def direct(self):
        return Peer("direct", self.provider.port, Provider.SECRET, ("", ""))

    def agreed(self):
        """{peer: (with its client, with its upstream)}: TLS version and suite."""
        out, provider, self.provider = {}, self.provider, Witness(self.certs)
        context = ssl.create_default_context(cafile=self.certs.ca)
        for peer in self.all():
            with context.wrap_socket(socket.create_connection(("127.0.0.1", peer.port)),
                                     server_hostname="localhost") as tls:
                tls.sendall(f"POST {peer.path(False)} HTTP/1.1\r\nHost: localhost\r\n"
                            f"Authorization: Bearer {peer.key}\r\nContent-Length: 18\r\n\r\n"
                            '{"model":"gpt-4o"}'.encode())
                tls.recv(1)
                out[peer.name] = (agreement(tls), self.provider.seen[-1])
            self.stop_peers([peer])
        self.provider.sock.close()
        self.provider = provider
        return out

    def all(self):
        """Those that are here, the gateway last."""
        return [peer for peer in (self.nginx(), self.haproxy(), self.gateway()) if peer]

    def stop_peers(self, peers):
        for peer in peers:
            if peer in self.started:
                self.started.remove(peer)
                peer.stop()

    def stop(self):
        self.stop_peers(list(self.started))
        self.provider.stop()
        self.redis.stop()
