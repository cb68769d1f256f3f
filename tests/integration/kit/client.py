"""A client that sends exactly the bytes it is given and keeps exactly those it gets."""

import json
import socket
import ssl
import threading
import time


class Broken(Exception):
    """The peer ended before the message did."""


def tls_context(ca, maximum=None):
    context = ssl.create_default_context(cafile=ca)
    if maximum is not None:
        context.maximum_version = maximum
    return context


class Response:
    """One response: head as sent, body decoded from its framing, all bytes as they came."""

    def __init__(self):
        self.head = b""
        self.status = 0
        self.headers = []
        self.body = bytearray()
        self.framing = "none"
        self.chunks = []
        self.complete = False
        self.trailers = b""
        self.informational = []
        self.arrivals = []

    def header(self, name):
        """Value of the only header of that name, or None; several are an error."""
        found = self.all(name)
        assert len(found) <= 1, f"{name} {len(found)} times"
        return found[0] if found else None

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.framing} {len(self.body)} bytes: {self.body[:300]!r}>"


def parse_head(head):
    lines = head.decode("latin-1").split("\r\n")
    headers = []
    for line in lines[1:]:
        if line:
            name, value = line.split(":", 1)
            headers.append((name, value.strip()))
    return lines[0], headers


class Shared:
    """A socket's TLS of which one thread may send while another receives: OpenSSL's state is not for two at once."""

    def __init__(self, raw, context, name):
        self.raw, self.lock = raw, threading.Lock()
        self.arriving, self.leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.arriving, self.leaving, server_hostname=name)
        self._read(self.tls.do_handshake)
        raw.sendall(self.leaving.read())

    def _read(self, call):
        while True:
            with self.lock:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    leaving = self.leaving.read()
            if leaving:
                self.raw.sendall(leaving)
            data = self.raw.recv(1 << 16)
            with self.lock:
                if data:
                    self.arriving.write(data)
                else:
                    self.arriving.write_eof()

    def sendall(self, data):
        with self.lock:
            self.tls.write(data)
            leaving = self.leaving.read()
        self.raw.sendall(leaving)

    def recv(self, most):
        return self._read(lambda: self.tls.read(most))

    def __getattr__(self, name):
        return getattr(self.raw, name)


class Connection:
    """A connection to the proxy (TLS) or, without a context, to anything in clear text."""

    def __init__(self, host, port, context=None, timeout=20, name=None, buffer=None, shared=False):
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.settimeout(timeout)
        raw.connect((host, port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw = raw
        name = name or "localhost"
        if shared:
            self.sock = Shared(raw, context, name)
        else:
            self.sock = context.wrap_socket(raw, server_hostname=name,
                                            suppress_ragged_eofs=False) if context else raw
        self.buffered = b""
        self.ended = None   # "notify", "eof" or "reset" once the peer has ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def reset(self):
        """Ends with RST, as a killed client does."""
        self.raw = self.sock
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data, every=None, pause=0.0):
        """Sends data, in pieces of so many bytes with a pause between them."""
        if every is None:
            self.sock.sendall(data)
            return
        for at in range(0, len(data), every):
            self.sock.sendall(data[at:at + every])
            if pause:
                time.sleep(pause)

    def recv(self, most=65536):
        """More bytes, b"" at the end; how it ended is in self.ended."""
        if self.ended:
            return b""
        try:
            data = self.sock.recv(most)
            if data == b"":
                self.ended = "notify"
            return data
        except ssl.SSLEOFError:
            self.ended = "eof"
        except ssl.SSLZeroReturnError:
            self.ended = "notify"
        except (ConnectionResetError, BrokenPipeError):
            self.ended = "reset"
        except ssl.SSLError as problem:
            if "EOF" not in str(problem).upper():
                raise
            self.ended = "eof"
        return b""

    def _fill(self):
        data = self.recv()
        self.buffered += data
        return data != b""

    def _until(self, mark):
        while mark not in self.buffered:
            if not self._fill():
                raise Broken(f"ended ({self.ended}) after {self.buffered[:200]!r}")
        at = self.buffered.index(mark) + len(mark)
        out, self.buffered = self.buffered[:at], self.buffered[at:]
        return out

    def _exactly(self, count):
        while len(self.buffered) < count:
            if not self._fill():
                raise Broken(f"ended ({self.ended}) {count - len(self.buffered)} bytes early")
        out, self.buffered = self.buffered[:count], self.buffered[count:]
        return out

    def _read_chunked(self, response, on_data):
        while True:
            line = self._until(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            data = self._exactly(size)
            response.body += data
            response.chunks.append(size)
            response.arrivals.append((time.monotonic(), size))
            if on_data:
                on_data(data)
            assert self._exactly(2) == b"\r\n"
        while True:
            line = self._until(b"\r\n")
            if line == b"\r\n":
                break
            response.trailers += line

    def read_head(self):
        """The next head that is final; informational ones are kept beside."""
        response = Response()
        while True:
            response.head = self._until(b"\r\n\r\n")
            start, response.headers = parse_head(response.head)
            version, status = start.split(" ")[:2]
            assert version == "HTTP/1.1", start
            response.status = int(status)
            if response.status >= 200:
                return response
            response.informational.append((response.status, response.head))

    def read_body(self, response, method="POST", on_data=None):
        codings = response.all("transfer-encoding")
        lengths = response.all("content-length")
        assert not (codings and lengths), "both framings"
        assert len(lengths) <= 1 and len(codings) <= 1
        try:
            return self._read_body(response, method, on_data, codings, lengths)
        finally:
            response.body = bytes(response.body)

    def _read_body(self, response, method, on_data, codings, lengths):
        if method == "HEAD" or response.status in (204, 304):
            response.complete = True
            return response
        try:
            if codings:
                assert codings == ["chunked"]
                response.framing = "chunked"
                self._read_chunked(response, on_data)
            elif lengths:
                response.framing = "length"
                left = int(lengths[0])
                while left > 0:
                    if not self.buffered and not self._fill():
                        raise Broken("body cut")
                    data = self.buffered[:left]
                    self.buffered = self.buffered[len(data):]
                    left -= len(data)
                    response.body += data
                    response.arrivals.append((time.monotonic(), len(data)))
                    if on_data:
                        on_data(data)
            else:
                response.framing = "close"
                while self.buffered or self._fill():
                    response.body += self.buffered
                    response.arrivals.append((time.monotonic(), len(self.buffered)))
                    if on_data:
                        on_data(self.buffered)
                    self.buffered = b""
                if self.ended != "notify":
                    raise Broken(self.ended)
            response.complete = True
        except Broken:
            response.complete = False
        return response

    def read(self, method="POST", on_data=None):
        return self.read_body(self.read_head(), method, on_data)

    def at_end(self, timeout=5.0):
        """True where the peer closes with nothing more to say."""
        self.sock.settimeout(timeout)
        try:
            return not self.buffered and not self._fill()
        except (TimeoutError, socket.timeout):
            return False


def request_bytes(method, path, headers=(), body=b"", host="localhost", length=True):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length and (body or method in ("POST", "PUT")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


def chunked(body, size=1000, extension=""):
    out = b""
    for at in range(0, len(body), size):
        part = body[at:at + size]
        out += f"{len(part):x}{extension}\r\n".encode() + part + b"\r\n"
    return out + b"0\r\n\r\n"


def sse_events(body, comments=False):
    """The events of a stream as (name, data text, bytes), whatever its line ends are.

    With comments, blocks that hold nothing else are among them.
    """
    events = []
    start = 0
    name, data = None, []
    at = 0
    while at < len(body):
        end = at
        while end < len(body) and body[end] not in b"\r\n":
            end += 1
        line = body[at:end]
        at = end + 1
        if end < len(body) and body[end:end + 2] == b"\r\n":
            at = end + 2
        if line == b"":
            if name is not None or data or comments:
                events.append((name, b"\n".join(data).decode("utf-8"), body[start:at]))
            name, data = None, []
            start = at
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode()
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    return events
