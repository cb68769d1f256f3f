"""AWS event streams: messages, the envelopes in which they are signed, and Nova Sonic's events."""

import base64
import datetime
import hashlib
import hmac
import json
import struct
import zlib

BYTES, STRING, TIMESTAMP = 6, 7, 8
SIGNED = "STREAMING-AWS4-HMAC-SHA256-EVENTS"


class Broken(Exception):
    pass


def headers(fields):
    out = b""
    for name, kind, value in fields:
        out += bytes([len(name)]) + name.encode() + bytes([kind])
        if kind == TIMESTAMP:
            out += struct.pack(">q", value)
        else:
            value = value.encode() if kind == STRING else value
            out += struct.pack(">H", len(value)) + value
    return out


def message(fields, payload):
    head = headers(fields)
    start = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    start += struct.pack(">I", zlib.crc32(start))
    whole = start + head + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def chunk(event):
    """One of the model's own events, as either side sends it."""
    inner = base64.b64encode(json.dumps(event).encode()).decode()
    return message([(":event-type", STRING, "chunk"), (":content-type", STRING,
                                                      "application/json"),
                    (":message-type", STRING, "event")],
                   json.dumps({"bytes": inner}).encode())


def split(buffer):
    """Whole messages at the start of a bytearray, taken from it: (fields, payload, raw)."""
    out = []
    while len(buffer) >= 12:
        total, head, crc = struct.unpack(">III", buffer[:12])
        if zlib.crc32(buffer[:8]) != crc:
            raise Broken("prelude")
        if len(buffer) < total:
            break
        raw = bytes(buffer[:total])
        if zlib.crc32(raw[:-4]) != struct.unpack(">I", raw[-4:])[0]:
            raise Broken("message")
        fields, at = {}, 12
        while at < 12 + head:
            n = raw[at]
            name, kind = raw[at + 1:at + 1 + n].decode(), raw[at + 1 + n]
            at += 2 + n
            if kind == TIMESTAMP:
                fields[name] = struct.unpack(">q", raw[at:at + 8])[0]
                at += 8
            else:
                size, = struct.unpack(">H", raw[at:at + 2])
                value = raw[at + 2:at + 2 + size]
                fields[name] = value.decode() if kind == STRING else value
                at += 2 + size
        out.append((fields, raw[12 + head:-4], raw))
        del buffer[:total]
    return out


def event_of(payload):
    return json.loads(base64.b64decode(json.loads(payload)["bytes"]))


class Chain:
    """Signs or checks one message after another, each upon the one before (AWS4-HMAC-SHA256-
    PAYLOAD): written from AWS's description, not from the gateway's code."""

    def __init__(self, secret, region, service, seed):
        self.secret, self.region, self.service, self.prior = secret, region, service, seed

    def signature(self, when_ms, payload):
        when = datetime.datetime.fromtimestamp(when_ms // 1000, datetime.timezone.utc)
        date, day = when.strftime("%Y%m%dT%H%M%SZ"), when.strftime("%Y%m%d")
        key = ("AWS4" + self.secret).encode()
        for part in (day, self.region, self.service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        head = headers([(":date", TIMESTAMP, when_ms)])
        text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", date,
                          f"{day}/{self.region}/{self.service}/aws4_request", self.prior,
                          hashlib.sha256(head).hexdigest(),
                          hashlib.sha256(payload).hexdigest()])
        mac = hmac.new(key, text.encode(), hashlib.sha256).digest()
        self.prior = mac.hex()
        return mac

    def sign(self, payload, when_ms):
        mac = self.signature(when_ms, payload)
        return message([(":date", TIMESTAMP, when_ms), (":chunk-signature", BYTES, mac)], payload)

    def opens(self, fields, payload):
        """The envelope is the chain's next."""
        return list(fields) == [":date", ":chunk-signature"] and \
            self.signature(fields[":date"], payload) == fields[":chunk-signature"]


# ---- what Nova Sonic says ----

def usage(inputs, outputs, since=((0, 0), (0, 0))):
    """(text, speech) of each side since the session began; since: as of the event before."""
    def side(pair):
        return {"textTokens": pair[0], "speechTokens": pair[1]}
    ids = {"completionId": "c-1", "promptName": "p-1", "sessionId": "s-1"}
    delta = [[now - then for now, then in zip(*pairs)]
             for pairs in zip((inputs, outputs), since)]
    return {"event": {"usageEvent": {
        **ids, "totalInputTokens": sum(inputs), "totalOutputTokens": sum(outputs),
        "totalTokens": sum(inputs) + sum(outputs),
        "details": {"delta": {"input": side(delta[0]), "output": side(delta[1])},
                    "total": {"input": side(inputs), "output": side(outputs)}}}}}


def said(name, **more):
    return {"event": {name: {"promptName": "p-1", **more}}}


def head_signature(fields, secret):
    """Of a request's head as it came (names and values), whose body's messages are signed: the
    signature as it must be, and the one that it has."""
    have = dict(fields)
    _, credential, signed, signature = have["authorization"].replace(",", "").split(" ")
    _, day, region, service, _ = credential.split("=")[1].split("/")
    names = signed.split("=")[1].split(";")
    have["host"] = have[":authority"]
    path = "/".join("".join(c if c.isalnum() or c in "-._~" else f"%{ord(c):02X}" for c in part)
                    for part in have[":path"].split("/"))
    canonical = "\n".join([have[":method"], path, "",
                           *(f"{name}:{have[name]}" for name in names), "", ";".join(names),
                           SIGNED])
    key = ("AWS4" + secret).encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", have["x-amz-date"],
                      f"{day}/{region}/{service}/aws4_request",
                      hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), signature.split("=")[1]
