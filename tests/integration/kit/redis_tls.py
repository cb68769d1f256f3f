"""Redis that speaks TLS, alone and as a cluster or with Sentinels."""

import functools
import os
import socket
import tempfile

from .procs import Redis, free_port, run_cli
from .redises import Cluster, Sentinels


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

    def __init__(self, folder, certs, name="server", clients=False, extra=()):
        self.secure = free_port()
        super().__init__(folder, extra=["--tls-port", str(self.secure),
                                        *options(certs, name, clients), *extra])

    @property
    def url(self):
        return f"rediss://localhost:{self.secure}/0"

    def by_tls(self):
        """Connections at the port that speaks TLS, and others' than ours in the clear."""
        lines = self.command("CLIENT", "LIST").splitlines()
        ports = [line.split(" laddr=")[1].split()[0].rsplit(":", 1)[1] for line in lines
                 if "cmd=client" not in line]
        return ports.count(str(self.secure)), ports.count(str(self.port))


class Silent:
    """Takes connections and says nothing; or, with `said`, that alone."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def close(self):
        self.listener.close()


class TlsCluster(Cluster):
    """Its nodes speak TLS to each other and to clients; in the clear to the tests."""
    EXTRA_PORT = True

    def __init__(self, folder, certs):
        self.certs = certs
        super().__init__(folder)


class TlsSentinels(Sentinels):
    def __init__(self, folder, certs):
        self.certs = certs
        super().__init__(folder)
