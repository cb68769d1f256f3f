"""Redis that speaks TLS, alone and as a cluster or with Sentinels."""

import functools
import os
import socket
import tempfile

from .procs import Redis, free_port, run_cli, wait_for
from .redises import Cluster, Sentinels, in_sync


@functools.lru_cache(None)
def missing():
    """Why the program under test speaks no TLS to Redis; "": it does."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tollgate.json")
        with open(path, "w", encoding="ascii") as out:
            out.write('{"counters": {"url": "rediss://localhost"}}')
        done = run_cli("check", "-c", path, cwd=folder)
    told = [line for line in (done.stdout + done.stderr).splitlines() if "libhiredis_ssl" in line]
    return told[0] if told else ""


def options(certs, name="server", clients=False, ca=None):
    return ["--tls-cert-file", certs.path(f"{name}.pem"), "--tls-key-file",
            certs.path(f"{name}.key"), "--tls-ca-cert-file", ca or certs.ca,
            "--tls-auth-clients", "yes" if clients else "no"]


class TlsRedis(Redis):
    """One that speaks TLS at `secure`; what tests ask of it they ask in the clear."""

    def __init__(self, folder, certs, name="server", clients=False, secure=None, extra=()):
        self.secure = secure or free_port()
        super().__init__(folder, extra=["--tls-port", str(self.secure),
                                        *options(certs, name, clients), *extra])

    @property
    def url(self):
        return f"rediss://localhost:{self.secure}/0"

    def by_tls(self):
        """How many are connected by TLS, and in the clear beside whoever asks."""
        ports = [line.split(" laddr=")[1].split()[0].rsplit(":", 1)[1]
                 for line in self.command("CLIENT", "LIST").splitlines()
                 if "cmd=client" not in line and " flags=N" in line]
        return ports.count(str(self.secure)), ports.count(str(self.port))


class Silent:
    """Takes connections and says nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def close(self):
        self.listener.close()


class TlsCluster(Cluster):
    """Its nodes speak TLS to each other and to clients; in the clear to the tests alone."""

    def __init__(self, folder, certs):
        self.certs = certs   # nodes always ask each other for theirs
        certs.leaf("redis-node", "IP:127.0.0.1", usage="serverAuth,clientAuth")
        super().__init__(folder)

    def met(self, node):
        return node.secure

    def _made(self, path, port):
        return TlsRedis(path, self.certs, "redis-node", secure=port,
                        extra=[*self.extra, "--tls-cluster", "yes"])

    @property
    def url(self):
        return ("rediss+cluster://" +
                ",".join(f"127.0.0.1:{node.secure}" for node in self.nodes[:2]))


class TlsSentinels(Sentinels):
    """Servers and Sentinels that speak TLS to each other and to clients."""

    def __init__(self, folder, certs):
        self.certs = certs
        self.ports = []   # of the Sentinels, for clients
        super().__init__(folder)

    def _servers(self):
        made = []
        for name in ("first", "second"):
            path = os.path.join(self.folder, name)
            os.mkdir(path)
            follows = ["--replicaof", "127.0.0.1", str(made[0].secure)] if made else []
            made.append(TlsRedis(path, self.certs, extra=[
                "--repl-diskless-sync-delay", "0", "--tls-replication", "yes", *follows]))
        wait_for("the replica to be in sync", lambda: in_sync(made[1]), 20)
        return made

    def _watched(self, number):
        self.ports.append(free_port())
        words = options(self.certs)
        lines = [f"tls-port {self.ports[-1]}", "tls-replication yes"]
        lines += [f"{name[2:]} {value}" for name, value in zip(words[::2], words[1::2])]
        return self.master.secure, "\n".join(lines) + "\n"

    @property
    def url(self):
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"rediss+sentinel://{hosts}/{self.NAME}"
