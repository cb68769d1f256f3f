"""A WebSocket client by hand: sends exactly the frames it is told to, keeps those it gets."""

import base64
import hashlib
import json
import os
import struct

from . import calls
from .client import parse_head

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(opcode, payload, final=True, mask=b"\x0a\x0b\x0c\x0d", reserved=0):
    """One frame of a client's; mask None: as a server's."""
    if isinstance(payload, str):
        payload = payload.encode()
    out = bytes([(0x80 if final else 0) | reserved | opcode])
    bit = 0x80 if mask is not None else 0
    if len(payload) < 126:
        out += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        out += bytes([bit | 126]) + struct.pack(">H", len(payload))
    else:
        out += bytes([bit | 127]) + struct.pack(">Q", len(payload))
    if mask is None:
        return out + payload
    turned = (mask * (len(payload) // 4 + 1))[:len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(turned, "big")
    return out + mask + mixed.to_bytes(len(payload), "big")


class Closed(Exception):
    """The other side has closed: its code and reason, None where it said nothing."""

    def __init__(self, code, reason=""):
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Socket:
    """One connection, opened by a handshake on a kit connection."""

    def __init__(self, connection, path, headers=(), key=calls.KEY, version="13", nonce=None):
        self.connection = connection
        self.frames = []   # as they came: final, opcode, payload
        self.control = []
        nonce = nonce or base64.b64encode(os.urandom(16)).decode()
        lines = [("Host", "localhost"), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
                 ("Sec-WebSocket-Key", nonce), ("Sec-WebSocket-Version", version),
                 *([("Authorization", f"Bearer {key}")] if key else []), *headers]
        connection.send((f"GET {path} HTTP/1.1\r\n" +
                         "".join(f"{k}: {v}\r\n" for k, v in lines) + "\r\n").encode())
        self.answer = None
        self.head = connection._until(b"\r\n\r\n")
        line, self.headers = parse_head(self.head[:-4])
        self.status = int(line.split(" ")[1])
        if self.status == 101:
            assert self.header("upgrade") == "websocket"
            accept = base64.b64encode(hashlib.sha1(nonce.encode() + GUID).digest()).decode()
            assert self.header("sec-websocket-accept") == accept
        else:
            length = int(self.header("content-length") or 0)
            self.answer = connection._exactly(length)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def header(self, name):
        found = [v for k, v in self.headers if k.lower() == name]
        assert len(found) <= 1
        return found[0] if found else None

    @property
    def id(self):
        return self.header("x-tollgate-request-id")

    def send(self, event, **options):
        text = event if isinstance(event, (str, bytes)) else json.dumps(event)
        self.connection.send(frame(TEXT, text, **options))

    def raw(self, data, every=None):
        self.connection.send(data, every)

    def read_frame(self):
        """(final, opcode, payload) of the next frame; Closed where there is none."""
        try:
            head = self.connection._exactly(2)
            assert head[0] & 0x70 == 0 and head[1] & 0x80 == 0
            n = head[1] & 127
            if n >= 126:
                n = int.from_bytes(self.connection._exactly(2 if n == 126 else 8), "big")
            payload = self.connection._exactly(n)
        except Exception as problem:
            if type(problem).__name__ != "Broken":
                raise
            raise Closed(None) from None
        self.frames.append((bool(head[0] & 0x80), head[0] & 15, bytes(payload)))
        return self.frames[-1]

    def read(self):
        """The next message's bytes; control frames are kept aside."""
        text = b""
        while True:
            final, opcode, payload = self.read_frame()
            if opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else None
                raise Closed(code, payload[2:].decode())
            if opcode in (PING, PONG):
                self.control.append((opcode, payload))
                continue
            text += payload
            if final:
                return text

    def event(self, *kinds):
        """The next event; with kinds, the next of one of them."""
        while True:
            event = json.loads(self.read())
            if not kinds or event.get("type") in kinds or any(k in event for k in kinds):
                return event

    def close(self, code=1000):
        """In order: our close, then everything up to the other's. Gives its code."""
        self.connection.send(frame(CLOSE, struct.pack(">H", code)))
        try:
            while True:
                self.read()
        except Closed as closed:
            return closed.code


def connect(gateway, path="/openai/v1/realtime?model=gpt-realtime", headers=(), sim=None,
            **options):
    lines = [*headers, *(("X-Sim-" + k.replace("_", "-"), v) for k, v in (sim or {}).items())]
    return Socket(gateway.connect(timeout=20), path, lines, **options)
