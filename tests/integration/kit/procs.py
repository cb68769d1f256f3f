"""The processes of a test: Redis, the simulated provider, the gateway."""

import base64
import itertools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

from . import client, sandbox

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
TSAN_OPTIONS = ("halt_on_error=0:second_deadlock_stack=1:suppressions=" +
                os.path.join(ROOT, "tests", "tsan.supp"))
READY_SECONDS = 30
STOP_SECONDS = 30


def binary(variable, name):
    path = os.environ.get(variable, os.path.join(ROOT, "build", "release", name))
    return os.path.abspath(path)


def tollgate_binary():
    return binary("TOLLGATE_BIN", "tollgate")


SANITIZERS = (b"__asan_init", b"__tsan_init")


def is_sanitized(*by):
    """The gateway under test is built with one of these sanitizers (none named: with any)."""
    with open(tollgate_binary(), "rb") as file:
        program = file.read()
    return any(name in program for name in by or SANITIZERS)


def provider_binary():
    return binary("TOLLGATE_PROVIDER", "provider")


PORTS = range(10000, 32000)  # below those that the system gives to connections
_ports = itertools.count(os.getpid() * 257)


def free_port():
    """A port that nobody has, and that no other process of these tests is about to take."""
    for number in itertools.islice(_ports, len(PORTS)):
        port = PORTS[number % len(PORTS)]
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port is free")


def wait_for(what, probe, seconds=10.0, pause=0.02):
    """Calls probe until it gives something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


class Process:
    """A child with its standard error in a file and its first line of output awaited."""

    def __init__(self, name, args, folder, env=None, preexec=None):
        self.name = name
        self.err_path = os.path.join(folder, f"{name}.{time.monotonic_ns()}.err")
        self.err = open(self.err_path, "wb")
        environment = dict(os.environ)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
        environment.setdefault("TSAN_OPTIONS", TSAN_OPTIONS)
        environment.update(env or {})
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=self.err,
                                        cwd=folder, env=environment, preexec_fn=preexec)
        self.lines = []
        self.waited = False

    @property
    def pid(self):
        return self.process.pid

    def first_line(self, seconds=READY_SECONDS):
        """The first line of its output; fails with its log where it ends before."""
        box = []
        reader = threading.Thread(target=lambda: box.append(self.process.stdout.readline()),
                                  daemon=True)
        reader.start()
        reader.join(seconds)
        line = box[0].decode() if box else ""
        if not line.endswith("\n"):
            code = self.process.poll()
            raise AssertionError(f"{self.name} is not ready (exit {code}):\n{self.log()}")
        self.lines.append(line.rstrip("\n"))
        return self.lines[-1]

    def log(self):
        self.err.flush()
        with open(self.err_path, "rb") as file:
            return file.read().decode("utf-8", "replace")

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS):
        code = self.process.wait(seconds)
        self.waited = True
        rest = self.process.stdout.read().decode("utf-8", "replace")
        self.lines += rest.splitlines()
        self.process.stdout.close()
        self.err.close()
        self.err = open(self.err_path, "ab")
        self.err.close()
        return code

    def log_after_end(self):
        with open(self.err_path, "rb") as file:
            return file.read().decode("utf-8", "replace")

    def kill(self):
        if self.running():
            self.process.kill()
        if not self.process.stdout.closed:
            self.wait()

    def stop(self, seconds=STOP_SECONDS):
        """SIGTERM; its exit status, or a failure where it does not end."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            log = self.log()
            self.kill()
            raise AssertionError(f"{self.name} did not end on SIGTERM:\n{log[-4000:]}") from None


class Redis:
    """A Redis of its own on a free port, nothing kept on disk."""

    def __init__(self, folder, port=None, extra=()):
        self.folder = str(folder)
        self.port = port or free_port()
        self.extra = list(extra)
        self.start()

    def start(self):
        self.process = Process("redis", ["redis-server", "--port", str(self.port), "--bind",
                                         "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
                                         self.folder, "--logfile",
                                         os.path.join(self.folder, "redis.log"), *self.extra],
                               self.folder)
        self.process.process.stdout.close()
        wait_for("Redis answers", self._answers, READY_SECONDS)

    def _answers(self):
        if not self.process.running():
            raise AssertionError(f"redis-server ended:\n{self.process.log()}")
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self, *args):
        """One command by a connection of its own."""
        out = f"*{len(args)}\r\n".encode()
        for arg in args:
            word = str(arg).encode()
            out += b"$%d\r\n%s\r\n" % (len(word), word)
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            sock.sendall(out)
            with sock.makefile("rb") as file:
                return self._reply(file)

    def _reply(self, file):
        line = file.readline()
        if not line:
            raise OSError("Redis hung up")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            count = int(rest)
            return None if count < 0 else file.read(count + 2)[:-2].decode("utf-8", "replace")
        return [self._reply(file) for _ in range(int(rest))] if int(rest) >= 0 else None

    def kill(self):
        if self.process.running():
            self.process.process.kill()
        self.process.process.wait(10)
        self.process.err.close()

    def freeze(self):
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    def stop(self):
        self.thaw()
        self.kill()


class Seen:
    """A request as the provider saw it, and what it sent back."""

    def __init__(self, raw):
        self.connection = raw["connection"]
        self.nth = raw["nth"]
        self.head = base64.b64decode(raw["head_base64"])
        self.body = base64.b64decode(raw["body_base64"])
        self.body_bytes = raw["body_bytes"]   # of which the first MiB is kept
        self.framing = raw["framing"]
        self.status = raw["status"]
        self.sent = base64.b64decode(raw["sent_base64"])
        self.sent_bytes = raw["sent_bytes"]
        self.end = raw["end"]
        start, self.headers = client.parse_head(self.head)
        self.method, self.target = start.split(" ")[:2]

    def header(self, name):
        found = [v for k, v in self.headers if k.lower() == name.lower()]
        assert len(found) <= 1, f"{name} {len(found)} times"
        return found[0] if found else None

    def json(self):
        return json.loads(self.body)


class Provider:
    """The simulated provider."""

    SECRET = "sk-provider-canary-8d1f0c5a7be24"
    # An account of AWS: id, secret, region.
    AWS = ("AKIACANARYTOLLGATE01", "canary/aws+secret9f21c77d", "eu-west-1")

    def __init__(self, folder, certs, args=(), cert="server", port=0):
        self.certs = certs
        self.process = Process("provider", [
            provider_binary(), "--port", str(port), "--cert", certs.path(f"{cert}.pem"), "--key",
            certs.path(f"{cert}.key"), "--key-secret", self.SECRET, "--aws-key",
            ":".join(self.AWS), *args], str(folder))
        self.url = self.process.first_line().split()[1]
        self.port = int(self.url.rsplit(":", 1)[1])
        self._tls = ssl.create_default_context(cafile=certs.ca)
        if not self.url.startswith("https:"):
            self._tls = None

    def _fetch(self, path, method="GET"):
        asked = urllib.request.Request(self.url + path, method=method,
                                       data=b"" if method == "POST" else None)
        with urllib.request.urlopen(asked, context=self._tls, timeout=60) as answer:
            return answer.read()

    def totals(self):
        return json.loads(self._fetch("/_sim/totals"))

    def billed(self):
        return [json.loads(line) for line in self._fetch("/_sim/billed").splitlines()]

    def requests(self, last=None):
        path = "/_sim/requests" + (f"?last={last}" if last else "")
        return [Seen(raw) for raw in json.loads(self._fetch(path))]

    def reset(self):
        self._fetch("/_sim/reset", "POST")

    def connect(self, **options):
        return client.Connection("127.0.0.1", self.port, self._tls, **options)

    def stop(self):
        return self.process.stop()


SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                       r"LeakSanitizer|msg=\"assertion failed\")", re.IGNORECASE)


class Gateway:
    """`tollgate serve` with a configuration of the test's."""

    def __init__(self, folder, config, certs, name="tollgate", env=None, preexec=None,
                 start=True):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.config = config
        self.certs = certs
        self.name = name
        self.env = env
        self.preexec = preexec
        self.config_path = os.path.join(self.folder, "tollgate.json")
        self.processes = []
        self.write()
        if start:
            self.start()

    def write(self):
        with open(self.config_path, "w", encoding="utf-8") as out:
            json.dump(self.config, out, indent=1)

    def start(self):
        args = [tollgate_binary(), "serve", "-c", self.config_path]
        if sandbox.wanted():
            args = sandbox.command(
                os.path.join(self.folder, self.config["state_dir"]),
                [ROOT, os.path.dirname(tollgate_binary()), os.path.dirname(self.folder),
                 self.folder, self.certs.folder], args)
        self.process = Process(self.name, args, self.folder, self.env, self.preexec)
        self.processes.append(self.process)
        line = self.process.first_line()
        found = re.fullmatch(r"ready proxy=https://([\d.]+):(\d+) admin=https://([\d.]+):(\d+)",
                             line)
        assert found, f"not the ready line: {line!r}"
        self.port, self.admin_port = int(found[2]), int(found[4])
        self.context = client.tls_context(self.certs.ca)

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    def connect(self, **options):
        options.setdefault("context", self.context)
        return client.Connection("127.0.0.1", self.port, **options)

    def refuses_connections(self):
        """It listens no more."""
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) != 0

    def request(self, method, path, headers=(), body=b"", **options):
        """One request on a connection of its own."""
        with self.connect(**options) as connection:
            connection.send(client.request_bytes(method, path, headers, body))
            return connection.read(method)

    def token(self):
        path = self.config["listen"]["admin"].get("token_file", "var/admin.token")
        with open(os.path.join(self.folder, path), encoding="ascii") as file:
            return file.read().strip()

    def admin(self, path, token=True, method="GET", body=b"", seconds=20):
        headers = [("Authorization", f"Bearer {self.token()}")] if token else []
        with client.Connection("127.0.0.1", self.admin_port, self.context,
                               timeout=seconds) as connection:
            connection.send(client.request_bytes(method, path, headers, body))
            return connection.read(method)

    def cli(self, *args, code=0, text=True, env=None):
        """Runs a command of the program on this configuration; its standard output."""
        done = run_cli(*args, "-c", self.config_path, cwd=self.folder, env=self.env)
        assert done.returncode == code, \
            f"tollgate {' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def export(self):
        """The ledger's records, oldest first."""
        lines = self.cli("export", "--format", "jsonl").splitlines()
        return [json.loads(line) for line in lines if line]

    def records(self, count, seconds=15.0, exactly=True):
        """The records once there are so many (what follows the answer is asynchronous)."""
        def enough():
            found = self.export()
            return found if len(found) >= count else None
        found = wait_for(f"{count} records", enough, seconds, 0.05) if count else self.export()
        if exactly:
            assert len(found) == count, [r["id"] for r in found]
        return found

    def record(self, request_id, seconds=15.0):
        """The record of one request, by its X-Tollgate-Request-Id."""
        def there():
            return [r for r in self.export() if r["id"] == request_id]
        found = wait_for(f"record {request_id}", there, seconds, 0.05)
        assert len(found) == 1
        return found[0]

    def report(self, name, *args):
        return json.loads(self.cli("report", name, "--format", "json", *args))

    def reload(self):
        self.process.signal(signal.SIGHUP)

    def log(self):
        return "".join(p.log() if p.running() else p.log_after_end() for p in self.processes)

    def kill(self):
        self.process.process.kill()
        self.process.wait()

    def stop(self, code=0):
        """SIGTERM; checks what must hold of every run."""
        if self.process.running():
            got = self.process.stop()
            assert got == code, f"exit {got} on SIGTERM:\n{self.process.log_after_end()[-4000:]}"
        elif not self.process.waited:
            got = self.process.wait()
            raise AssertionError(f"ended by itself, exit {got}:\n"
                                 f"{self.process.log_after_end()[-4000:]}")
        self.check_logs()

    def check_logs(self, canaries=()):
        for process in self.processes:
            log = process.log_after_end()
            bad = SANITIZER.search(log)
            assert not bad, f"{bad[0]}:\n{log[max(0, bad.start() - 200):bad.start() + 6000]}"
            assert len(process.lines) <= 1, f"more than the ready line: {process.lines}"
            for canary in canaries:
                assert canary not in log, f"{canary!r} in the log"


def run_cli(*args, cwd=None, env=None, stdin=None, timeout=120):
    environment = dict(os.environ, NO_COLOR="1")
    environment.update(env or {})
    return subprocess.run([tollgate_binary(), *args], cwd=cwd, env=environment, input=stdin,
                          capture_output=True, text=True, timeout=timeout)
