"""An upstream that answers with exactly the bytes that a test wrote down for it."""

import socket
import ssl
import threading
import time

from . import client

ANSWER = b'{"object":"chat.completion","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(ANSWER), ANSWER)


class Script:
    """What to send, how, and what then: "keep" the connection, "close" it, "cut" it (no alert)."""

    def __init__(self, data, end="keep", early=False, delay=0.0, every=None):
        self.data, self.end, self.early = data, end, early
        self.delay, self.every = delay, every


class Asked:
    """A request as it came: on which connection, head, body."""

    def __init__(self, connection, head):
        self.connection, self.head, self.body = connection, head, b""
        self.start, self.headers = client.parse_head(head)
        self.left = False   # the gateway went away before it was answered

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]


class Scripted:
    """A TLS server; "X-Script: name" in a request picks its script, else PLAIN answers.

    "X-Seq" of the request is told again in PLAIN, so that answers can be told apart.
    """

    def __init__(self, certs):
        self.scripts, self.asked = {}, []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certs.path("server.pem"), certs.path("server.key"))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self._connections += 1
            threading.Thread(target=self._serve, args=(raw, self._connections),
                             daemon=True).start()

    def _serve(self, raw, number):
        peer = client.Connection.__new__(client.Connection)
        peer.sock, peer.buffered, peer.ended = raw, b"", None
        try:
            raw.settimeout(30)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.sock = self._context.wrap_socket(raw, server_side=True,
                                                  suppress_ragged_eofs=False)
            while self._exchange(peer, number):
                pass
        except (OSError, client.Broken):
            pass
        finally:
            peer.close()

    def _read_body(self, peer, asked):
        if asked.all("transfer-encoding"):
            whole = client.Response()
            peer._read_chunked(whole, None)
            asked.body = bytes(whole.body)
        elif asked.all("content-length"):
            asked.body = peer._exactly(int(asked.all("content-length")[0]))

    def _exchange(self, peer, number):
        asked = Asked(number, peer._until(b"\r\n\r\n"))
        name = (asked.all("x-script") or [""])[0]
        script = self.scripts.get(name) or Script(PLAIN)
        if not script.early:
            self._read_body(peer, asked)
        self.asked.append(asked)
        data = script.data
        if asked.all("x-seq"):
            data = data.replace(b"\r\n", b"\r\nX-Seq: %s\r\n" % asked.all("x-seq")[0].encode(), 1)
        if asked.start.startswith("HEAD ") and script.data == PLAIN:
            data = data[:data.index(b"\r\n\r\n") + 4]
        if script.delay and self._left(peer, script.delay):
            asked.left = True
            return False
        peer.send(data, every=script.every, pause=0.0005 if script.every else 0.0)
        if script.early:
            self._read_body(peer, asked)
        if script.end == "close":
            peer.sock.unwrap()
        elif script.end == "cut":
            socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
        return script.end == "keep"

    def _left(self, peer, seconds):
        """Waits; True where the peer ended meanwhile."""
        until = time.monotonic() + seconds
        peer.sock.settimeout(0.02)
        try:
            while time.monotonic() < until:
                try:
                    if not peer._fill():
                        return True
                except (TimeoutError, socket.timeout):
                    pass
            return False
        finally:
            peer.sock.settimeout(30)
