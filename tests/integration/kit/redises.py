"""Redis as it is run by those who cannot do without: replicas, Sentinels, clusters, slow lines."""

import os
import random
import socket
import threading
import time

from .procs import Process, Redis, free_port, wait_for


class Relay:
    """A TCP line to a server, which a test may slow down, hang, cut or lead elsewhere."""

    def __init__(self, port):
        self.target = port
        self.delay = 0.0      # seconds that each piece takes, either way
        self.held = threading.Event()
        self.held.set()       # cleared: nothing passes
        self.admits = lambda first: True   # by a connection's first bytes: False ends it
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._start()

    def _start(self):
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self, listener):
        near = None
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target), 5)
                far.settimeout(None)
            except OSError:
                if listener.fileno() < 0:
                    return
                near.close()
                continue
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs.append((near, far))
            for one, other, admits in ((near, far, self._admits), (far, near, None)):
                threading.Thread(target=self._pass, args=(one, other, admits), daemon=True).start()

    def _admits(self, first):
        return self.admits(first)

    def _pass(self, one, other, admits):
        try:
            while True:
                data = one.recv(65536)
                if not data or (admits and not admits(data)):
                    break
                admits = None
                if self.delay:
                    time.sleep(self.delay)
                self.held.wait()
                other.sendall(data)
        except OSError:
            pass
        for sock in (one, other):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Ends what is connected now."""
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for sock in pair:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def shut(self):
        """Ends what is connected, and refuses what comes; the port stays its own."""
        listener, self.listener = self.listener, socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.shutdown(socket.SHUT_RDWR)   # whoever waits for the next is told
        listener.close()
        self.listener.bind(("127.0.0.1", self.port))
        self.cut()

    def open(self):
        """After shut: connections are accepted again."""
        self.listener.listen()
        self._start()

    def close(self):
        self.held.set()
        self.listener.close()
        self.cut()


def is_worker(first):
    """A connection's first bytes are a worker's: commands, reports and the rebuild send no EVALSHA."""
    return b"EVALSHA" in first


def in_sync(replica):
    info = replica.command("INFO", "replication")
    return "master_link_status:up" in info and "master_sync_in_progress:0" in info


def replica_of(folder, master, name, extra=()):
    """A running replica that has all that its master has."""
    path = os.path.join(str(folder), name)
    os.mkdir(path)
    made = Redis(path, extra=["--replicaof", "127.0.0.1", str(master.port),
                              "--repl-diskless-sync-delay", "0", *extra])
    wait_for("the replica to be in sync", lambda: in_sync(made), 20)
    return made


class Sentinels:
    """A master, a replica and three Sentinels that agree by two."""

    NAME = "counters"

    def __init__(self, folder, down_after_ms=700):
        self.folder = str(folder)
        self.master, self.replica = self._servers()
        self.guards = []
        for number in range(3):
            self.guards.append(self._guard(number, down_after_ms))
        wait_for("the Sentinels to know each other", lambda: all(
            self._ask(guard, "num-other-sentinels") == "2" and
            self._ask(guard, "num-slaves") == "1" for guard in self.guards), 30, 0.1)

    def _servers(self):
        path = os.path.join(self.folder, "first")
        os.mkdir(path)
        master = Redis(path, extra=["--repl-diskless-sync-delay", "0"])
        return master, replica_of(self.folder, master, "second")

    def _watched(self, number):
        """The port of the master, and what a Sentinel's configuration holds beside."""
        return self.master.port, ""

    def _guard(self, number, down_after_ms):
        port = free_port()
        master, more = self._watched(number)
        path = os.path.join(self.folder, f"guard{number}")
        os.mkdir(path)
        config = os.path.join(path, "sentinel.conf")
        with open(config, "w", encoding="ascii") as out:
            out.write(f"port {port}\nbind 127.0.0.1\ndir {path}\n"
                      f"logfile {path}/log\n"
                      f"{more}"
                      f"sentinel monitor {self.NAME} 127.0.0.1 {master} 2\n"
                      f"sentinel down-after-milliseconds {self.NAME} {down_after_ms}\n"
                      f"sentinel failover-timeout {self.NAME} 4000\n")
        made = Redis.__new__(Redis)
        made.folder, made.port = path, port
        made.process = Process("sentinel", ["redis-server", config, "--sentinel"], path)
        made.process.process.stdout.close()
        wait_for("a Sentinel answers", made._answers, 20)
        return made

    def _ask(self, guard, field):
        told = guard.command("SENTINEL", "master", self.NAME)
        return dict(zip(told[::2], told[1::2])).get(field)

    @property
    def url(self):
        hosts = ",".join(f"127.0.0.1:{guard.port}" for guard in self.guards)
        return f"redis+sentinel://{hosts}/{self.NAME}"

    def named(self):
        """The port of the master as most of the Sentinels say."""
        ports = [int(guard.command("SENTINEL", "get-master-addr-by-name", self.NAME)[1])
                 for guard in self.guards if guard.process.running()]
        return max(set(ports), key=ports.count)

    def stop(self):
        for one in [*self.guards, self.replica, self.master]:
            one.stop()


class Cluster:
    """Three masters with a third of the slots each; replicas where they are asked for."""

    SLOTS = 16384

    def __init__(self, folder, node_timeout_ms=1000):
        self.folder = str(folder)
        self.extra = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms),
                      "--repl-diskless-sync-delay", "0"]
        self.nodes = []
        for number in range(3):
            self._node(f"node{number}")
        for number, node in enumerate(self.nodes):
            first = self.SLOTS * number // 3
            node.command("CLUSTER", "ADDSLOTS",
                         *range(first, self.SLOTS * (number + 1) // 3))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", self.met(self.nodes[0]))
        self._agreed()

    def met(self, node):
        """The port by which others know it."""
        return node.port

    def _made(self, path, port):
        return Redis(path, port=port, extra=self.extra)

    def _node(self, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        while True:   # its bus is ten thousand ports higher
            port = random.randrange(20000, 50000)
            with socket.socket() as one, socket.socket() as two:
                try:
                    one.bind(("127.0.0.1", port))
                    two.bind(("127.0.0.1", port + 10000))
                    break
                except OSError:
                    continue
        node = self._made(path, port)
        self.nodes.append(node)
        return node

    def _agreed(self):
        wait_for("the cluster to be well", lambda: all(
            "cluster_state:ok" in node.command("CLUSTER", "INFO") and
            f"cluster_known_nodes:{len(self.nodes)}" in node.command("CLUSTER", "INFO")
            for node in self.nodes), 30, 0.1)

    @property
    def url(self):
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[1].port}"

    def identity(self, node):
        return node.command("CLUSTER", "MYID")

    def slot(self, prefix):
        return self.nodes[0].command("CLUSTER", "KEYSLOT", prefix)

    def owner(self, slot):
        """The node that has the slot, as the running ones say."""
        for node in self.nodes:
            if not node.process.running():
                continue
            for first, last, master, *_ in node.command("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    found = [n for n in self.nodes if n.port == master[1]]
                    if found and found[0].process.running():
                        return found[0]
        return None

    def add_replica(self, master):
        node = self._node(f"node{len(self.nodes)}")
        node.command("CLUSTER", "MEET", "127.0.0.1", self.met(self.nodes[0]))
        self._agreed()
        node.command("CLUSTER", "REPLICATE", self.identity(master))
        wait_for("the replica to be in sync", lambda: in_sync(node), 20)
        return node

    def move(self, slot, target, pause=0.0):
        """Moves a slot key by key, as an operator's tool does."""
        source = self.owner(slot)
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.identity(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.identity(target))
        moved = 0
        while True:
            keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, 1)
            if not keys:
                break
            source.command("MIGRATE", "127.0.0.1", self.met(target), keys[0], 0, 5000)
            moved += 1
            time.sleep(pause)
        for node in (target, source, *self.nodes):
            if node.process.running():
                try:
                    node.command("CLUSTER", "SETSLOT", slot, "NODE", self.identity(target))
                except RuntimeError:   # a replica hears of it from its master
                    pass
        return moved

    def stop(self):
        for node in self.nodes:
            node.stop()
