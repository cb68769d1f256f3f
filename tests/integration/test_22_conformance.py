"""HTTP/1.1 by the sections of RFC 9110 and RFC 9112: what each demands, and what breaks it.

test_20_http1.py holds the plain cases; here stand the ways around them.  A requirement is
told in a sentence before its cases.  One gateway and one scripted upstream serve the file.
"""

import socket
import ssl
import threading
import time
from email.utils import parsedate_to_datetime

import pytest

from conftest import Gateways
from kit import calls, client
from kit.config import base_config
from kit.procs import Provider, wait_for
from kit.scripted import ANSWER, Script, Scripted

CALL = calls.chat()
BODY = CALL.data()
AUTH = b"Authorization: Bearer " + calls.KEY.encode() + b"\r\n"
PATH = b"/openai/v1/chat/completions"
START = b"POST " + PATH + b" HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = client.chunked(BODY)
HEAD_BYTES = 8192
HEADERS = 64


@pytest.fixture(scope="module")
def upstream(certs):
    made = Scripted(certs)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certs, upstream):
    made = Gateways(tmp_path_factory.mktemp("conformance"), certs, upstream)
    config = base_config(certs, upstream, workers=1,
                         bounds={"head_bytes": HEAD_BYTES, "headers": HEADERS})
    for each in config["upstreams"]:
        each["on_client_gone"] = "abort"
    yield made(config)
    made.finish()


def head(*lines, start=START, host=HOST):
    return start + host + AUTH + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


GOOD = head(LENGTH) + BODY


def refused(gateway, upstream, data):
    """`data` gets 400 and the end, though a good request stands behind it; nothing goes up."""
    before = len(upstream.asked)
    with gateway.connect() as connection:
        connection.send(data)
        try:
            connection.send(GOOD)
        except OSError:
            pass    # it closed already
        answer = connection.read()
        assert answer.status == 400, answer
        assert answer.header("connection") == "close"
        assert connection.at_end()
    assert len(upstream.asked) == before


def cases(table):
    return [pytest.param(data, id=f"{section}: {name}")
            for (section, _), named in table.items() for name, data in named.items()]


# ---- requests ------------------------------------------------------------------------------

LINES = {
    ("9112 2.2", "a line ends with CRLF; a bare CR is invalid; nothing stands before the "
                 "request line but one empty line"): {
        "one LF among CRLF": head(LENGTH, b"X-A: b\nX-C: d") + BODY,
        "LF hides a coding": head(LENGTH, b"X-A: b\nTransfer-Encoding: chunked") + CHUNKS,
        "CR hides a coding": head(LENGTH, b"X-A: b\rTransfer-Encoding: chunked") + CHUNKS,
        "CR CR LF": head(LENGTH, b"X-A: b\r") + BODY,
        "LF behind the request line": START[:-2] + b"\n" + HOST + AUTH + LENGTH + b"\r\n\r\n"
        + BODY,
        "LF as the empty line": head(LENGTH)[:-2] + b"\n" + BODY,
        "CR as the empty line": head(LENGTH)[:-2] + b"\rX" + BODY,
        "two empty lines": b"\r\n\r\n" + GOOD,
        "an empty LF line": b"\n" + GOOD,
        "a blank": b" " + GOOD,
        "a byte order mark": b"\xef\xbb\xbf" + GOOD,
        "NUL": b"\0" + GOOD,
        "TLS in TLS": b"\x16\x03\x01\x00\x2e" + GOOD,
        "blank line before fields": START + b" \r\n" + HOST + AUTH + LENGTH + b"\r\n\r\n" + BODY,
    },
    ("9112 2.3", "HTTP-version is HTTP/1.0 or HTTP/1.1, to the letter"): {
        name: head(LENGTH, start=b"POST " + PATH + b" " + name.encode() + b"\r\n") + BODY
        for name in ("HTTP/1.2", "HTTP/1.9", "HTTP/1.10", "HTTP/01.1", "HTTP/1.1 ", "HTTP/1.",
                     "HTTP/1", "HTTP/11", "HTTP/1.1x", "HTTP/0.9", "HTTP/3.0", "HTTPS/1.1",
                     "Http/1.1", "HTTP /1.1", "HTTP/1,1", "ICY/1.1", "HTTP/-1.1")
    } | {
        "0.9": b"GET " + PATH + b"\r\n",
        "0.9 with fields": b"GET " + PATH + b"\r\n" + HOST + b"\r\n",
        "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    },
    ("9112 3", "method SP request-target SP version, one blank each; a method is a token"): {
        "tab before the target": head(LENGTH, start=START.replace(b" /", b"\t/")) + BODY,
        "tab before the version": head(LENGTH, start=START.replace(b" HTTP", b"\tHTTP")) + BODY,
        "vertical tab": head(LENGTH, start=START.replace(b" HTTP", b"\x0bHTTP")) + BODY,
        "NUL behind the method": head(LENGTH, start=START.replace(b"POST", b"POST\0")) + BODY,
        "method of separators": head(LENGTH, start=START.replace(b"POST", b"PO(ST")) + BODY,
        "method beyond ASCII": head(LENGTH, start=START.replace(b"POST", b"P\xd6ST")) + BODY,
        "no method": head(LENGTH, start=START[4:]) + BODY,
        "a second target": head(LENGTH, start=START.replace(b" HTTP", b" /x HTTP")) + BODY,
        "a second request line": head(LENGTH, start=START + START) + BODY,
    },
}

TARGETS = {
    ("9112 3.2", "the target is in one of four forms, of visible ASCII, without a fragment"): {
        name: head(LENGTH, start=b"POST " + target + b" HTTP/1.1\r\n") + BODY
        for name, target in {
            "fragment": PATH + b"#x", "no slash": PATH[1:], "two slashes": b"/" + PATH,
            "star with POST": b"*", "query alone": b"?x=/openai", "beyond ASCII": PATH + b"\xc3",
            "tab": PATH + b"\tx", "DEL": PATH + b"\x7f", "encoded NUL": PATH + b"%00",
            "encoded line end": PATH + b"%0d%0aX:y", "broken encoding": PATH + b"%g1",
            "cut encoding": PATH + b"%2", "backslash": b"\\openai\\v1", "backslash inside":
            b"/openai\\..\\v1", "dots": b"/openai/v1/../v1/models",
            "encoded dots": b"/openai/%2e%2e/v1", "dots with parameter": b"/openai/..;x/v1",
            "encoded first segment": b"/open%61i/v1/chat/completions",
            "encoded slash first": b"/openai%2fv1"}.items()
    },
    ("9112 3.2.2", "absolute form: a scheme of HTTP, a host, and Host says the same"): {
        name: head(LENGTH, start=b"POST " + target + b" HTTP/1.1\r\n", host=host) + BODY
        for name, target, host in [
            ("another Host", b"https://localhost" + PATH, b"Host: elsewhere\r\n"),
            ("another port", b"https://localhost:8443" + PATH, HOST),
            ("Host is a suffix", b"https://evil-localhost" + PATH, HOST),
            ("no Host", b"https://localhost" + PATH, b""),
            ("two Hosts", b"https://localhost" + PATH, HOST + HOST),
            ("userinfo", b"https://user:pw@localhost" + PATH, HOST),
            ("userinfo hides the host", b"https://localhost@evil" + PATH, HOST),
            ("no authority", b"https://" + PATH, HOST), ("ftp", b"ftp://localhost" + PATH, HOST),
            ("one slash", b"https:/localhost" + PATH, HOST),
            ("query behind the host", b"https://localhost?" + PATH, HOST),
            ("fragment", b"https://localhost" + PATH + b"#x", HOST)]
    },
    ("9112 3.2.3", "authority form is for CONNECT, and tunnels are not made here"): {
        "CONNECT": head(start=b"CONNECT localhost:443 HTTP/1.1\r\n"),
        "CONNECT to a path": head(start=b"CONNECT " + PATH + b" HTTP/1.1\r\n"),
        "CONNECT to an URL": head(start=b"CONNECT https://localhost/ HTTP/1.1\r\n"),
        "authority with POST": head(LENGTH, start=b"POST localhost:443 HTTP/1.1\r\n") + BODY,
    },
    ("9112 3.2.4", "OPTIONS * asks about the server, which is no upstream"): {
        "star": head(start=b"OPTIONS * HTTP/1.1\r\n"),
        "absolute": head(start=b"OPTIONS https://localhost HTTP/1.1\r\n"),
        "star with more": head(start=b"OPTIONS *x HTTP/1.1\r\n"),
    },
    ("9110 9.3.8", "TRACE must not show the credentials that a hop adds"): {
        "TRACE": head(start=b"TRACE /openai/v1/models HTTP/1.1\r\n"),
        "TRACE *": head(start=b"TRACE * HTTP/1.1\r\n"),
    },
    ("9112 3.2 Host", "exactly one Host, and a valid one, or 400"): {
        name: head(LENGTH, host=host) + BODY
        for name, host in {
            "the same twice": HOST + HOST, "twice in other letters": HOST + b"hOST: localhost\r\n",
            "empty": b"Host:\r\n", "list": b"Host: localhost, localhost\r\n",
            "with a path": b"Host: localhost/x\r\n", "with a blank": b"Host: local host\r\n",
            "userinfo": b"Host: user@localhost\r\n", "port too large": b"Host: localhost:65536\r\n",
            "port of letters": b"Host: localhost:https\r\n", "two ports": b"Host: a:1:2\r\n",
            "encoded": b"Host: local%68ost\r\n", "open bracket": b"Host: [::1\r\n",
            "bad address": b"Host: [::g]\r\n", "URL": b"Host: https://localhost\r\n",
            "NUL": b"Host: localhost\0.evil\r\n", "folded": b"Host:\r\n localhost\r\n"}.items()
    },
}

FIELDS = {
    ("9112 5.1", "no white space between field name and colon; a name is a token"): {
        name: head(LENGTH, line) + BODY for name, line in {
            "blank, coding": b"Transfer-Encoding : chunked",
            "tab, coding": b"Transfer-Encoding\t: chunked",
            "NUL, coding": b"Transfer-Encoding\0: chunked",
            "vertical tab, coding": b"Transfer-Encoding\x0b: chunked",
            "no-break blank": b"Transfer-Encoding\xa0: chunked",
            "blank first": b" Transfer-Encoding: chunked", "no colon": b"Transfer-Encoding chunked",
            "a name alone": b"X-A", "beyond ASCII": b"Transfer-Encod\xefng: chunked",
            "separator": b"X(A): b", "quoted": b'"X-A": b', "at": b"X@A: b", "DEL": b"X\x7f: b",
            "colon first": b":authority: x"}.items()
    },
    ("9112 5.2", "obsolete folding is refused"): {
        name: head(LENGTH, line) + BODY for name, line in {
            "by tab": b"X-A: b\r\n\tc", "hides a coding": b"X-A: b\r\n Transfer-Encoding: chunked",
            "splits a coding": b"Transfer-Encoding:\r\n chunked", "blank alone": b"X-A: b\r\n ",
            "splits a length": b"Content-Length:\r\n 5"}.items()
    },
    ("9110 5.5", "CR, LF, NUL and other control characters are no field content"): {
        f"{name} {where}": head(LENGTH, b"X-A: " + value) + BODY
        for name, byte in {"NUL": b"\0", "VT": b"\x0b", "FF": b"\x0c", "ESC": b"\x1b",
                           "DEL": b"\x7f", "backspace": b"\x08"}.items()
        for where, value in {"inside": b"b" + byte + b"c", "last": b"b" + byte}.items()
    },
    ("9112 6.1", "a server that gets a coding it does not understand answers with an error; "
                 "chunked is applied once, and last; with a length beside it, it is an attack"): {
        name: head(*lines) + CHUNKS for name, lines in {
            "CL.TE": [LENGTH, CHUNKED], "TE.CL": [CHUNKED, LENGTH],
            "CL.0": [b"Content-Length: 0", CHUNKED], "TE.0": [CHUNKED, b"Content-Length: 0"],
            "identity and length": [b"Transfer-Encoding: identity", LENGTH],
            "TE.TE x": [CHUNKED, b"Transfer-Encoding: x"],
            "TE.TE identity": [b"Transfer-Encoding: identity", CHUNKED],
            "TE.TE empty": [CHUNKED, b"Transfer-Encoding:"],
            "TE.TE cased": [CHUNKED, b"tRANSFER-eNCODING: chunked"],
            "identity": [b"Transfer-Encoding: identity"], "empty": [b"Transfer-Encoding:"],
            "list of two": [b"Transfer-Encoding: chunked, chunked"],
            "comma behind": [b"Transfer-Encoding: chunked,"],
            "comma before": [b"Transfer-Encoding: ,chunked"],
            "parameter": [b"Transfer-Encoding: chunked;q=1"],
            "semicolon": [b"Transfer-Encoding: chunked;"],
            "quoted": [b'Transfer-Encoding: "chunked"'],
            "ticked": [b"Transfer-Encoding: 'chunked'"],
            "VT before": [b"Transfer-Encoding: \x0bchunked"],
            "VT behind": [b"Transfer-Encoding: chunked\x0b"],
            "NUL behind": [b"Transfer-Encoding: chunked\0"],
            "CR behind": [b"Transfer-Encoding: chunked\r "],
            "cow": [b"Transfer-Encoding: cow"], "chunk": [b"Transfer-Encoding: chunk"],
            "two words": [b"Transfer-Encoding: chunked gzip"],
            "deflate": [b"Transfer-Encoding: deflate"],
            "behind a colon": [b"Transfer-Encoding:: chunked"],
            "no-break blank": [b"Transfer-Encoding: \xa0chunked"]}.items()
    },
    ("9112 6.3", "a length that is invalid, or one of several that differ, cannot be recovered "
                 "from; equal ones are refused here as well"): {
        name: head(*lines) + BODY for name, lines in {
            "the same twice": [LENGTH, LENGTH], "the same listed": [LENGTH + b", " + LENGTH[16:]],
            "one empty": [LENGTH, b"Content-Length:"], "empty": [b"Content-Length:"],
            "twice, cased": [LENGTH, b"content-LENGTH: 5"], "comma behind": [LENGTH + b","],
            "two words": [LENGTH + b" 5"], "minus zero": [b"Content-Length: -0"],
            "plus zero": [b"Content-Length: +0"], "fraction": [LENGTH + b".0"],
            "exponent": [b"Content-Length: 1e2"], "underscore": [b"Content-Length: 1_0"],
            "octal": [b"Content-Length: 0o17"], "letters": [b"Content-Length: five"],
            "quoted": [b'Content-Length: "5"'], "semicolon": [LENGTH + b";"],
            "Arabic digit": [b"Content-Length: \xd9\xa5"], "NUL behind": [LENGTH + b"\0"],
            "VT before": [b"Content-Length: \x0b5"], "2^63": [b"Content-Length: %d" % 2**63],
            "2^64": [b"Content-Length: %d" % 2**64],
            "2^64 + length": [b"Content-Length: %d" % (2**64 + len(BODY))]}.items()
    },
}

SIZES = {
    "hex prefix": b"0x3", "blank behind": b"3 ", "blank before": b" 3", "tab behind": b"3\t",
    "plus": b"+3", "empty": b"", "comma": b"3,", "underscore": b"0_3", "full-width": b"\xef\xbc\x93",
    "semicolon alone": b"3;", "extension without a name": b"3;=x", "NUL": b"3\0",
    "NUL in extension": b"3;a=\0", "LF in extension": b"3;a\nb", "CR in extension": b"3;a\rb",
    "control in extension": b"3;a=\x1b", "CR CR LF": b"3\r", "2^63": b"8000000000000000",
    "2^64": b"10000000000000000", "2^64 + 3": b"10000000000000003", "2^64 - 1": b"f" * 16,
    "2^64 - 2": b"f" * 15 + b"e", "extension too long": b"3;" + b"a" * 5000,
    "zeros without end": b"0" * 5000 + b"3", "quote without an end": b'3;a="b', "quote behind a name": b'3;a"b"',
    "half an escape": b'3;a="b\\', "backslash as a value": b"3;a=\\", "no value": b"3;a=", "two values": b"3;a=b=c",
    "behind a quote": b'3;a="b"c', "quoted name": b'3;"a"', "blank behind a name": b"3;a ", "two names": b"3;a b",
}
# Each line is of a size that is taken, and all together say too much beside their data.
MUCH_EXTENDED = (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 17 + b"0\r\n\r\n"
MANY_ZEROS = (b"0" * 1018 + b"1\r\nx\r\n") * 17 + b"0\r\n\r\n"
TRAILERS = {
    "length": b"Content-Length: 5\r\n", "coding": b"Transfer-Encoding: chunked\r\n",
    "Host": b"Host: evil\r\n", "cased": b"cONTENT-lENGTH: 5\r\n",
    "Authorization": b"Authorization: Bearer x\r\n", "Content-Encoding": b"Content-Encoding: br\r\n",
    "Connection": b"Connection: close\r\n", "folded": b"X: a\r\n b\r\n", "no colon": b"X\r\n",
    "blank before the colon": b"X : a\r\n", "no name": b": a\r\n", "LF": b"X: a\n",
    "CR": b"X: a\rb\r\n", "NUL": b"X: \0\r\n", "too long": b"X: " + b"a" * 17000 + b"\r\n",
    "a request": GOOD[:-len(BODY)],
}
CHUNK_FAULTS = {
    ("9112 7.1", "chunk-size is hexadecimal digits alone and must not overflow; chunk data ends "
                 "with CRLF"): {
        name: head(CHUNKED) + size + b"\r\nabc\r\n0\r\n\r\n" for name, size in SIZES.items()
    } | {
        "data too short": head(CHUNKED) + b"4\r\nabc\r\n0\r\n\r\n",
        "LF behind data": head(CHUNKED) + b"3\r\nabc\n0\r\n\r\n",
        "extensions without end": head(CHUNKED) + MUCH_EXTENDED,
        "zeros before many sizes": head(CHUNKED) + MANY_ZEROS,
        "CR behind data": head(CHUNKED) + b"3\r\nabc\r0\r\n\r\n",
        "nothing behind data": head(CHUNKED) + b"3\r\nabc0\r\n\r\n",
        "LF behind the last size": head(CHUNKED) + b"3\r\nabc\r\n0\n\r\n",
        "LF as the end": head(CHUNKED) + b"3\r\nabc\r\n0\r\n\n",
        "CR X as the end": head(CHUNKED) + b"3\r\nabc\r\n0\r\n\rX",
    },
    ("9110 6.5.1", "fields of framing, routing and authentication are no trailers"): {
        name: head(CHUNKED) + CHUNKS[:-2] + trailer + b"\r\n" for name, trailer in TRAILERS.items()
    },
}


@pytest.mark.parametrize("data", cases(LINES | TARGETS | FIELDS | CHUNK_FAULTS))
def test_refused_with_all_that_follows(gateway, upstream, data):
    refused(gateway, upstream, data)


ACCEPTED = {
    "9112 2.2 one empty line first": b"\r\n" + GOOD,
    "9110 5.6.3 white space around a value": head(LENGTH, b"X-A: \t b \t ") + BODY,
    "9110 5.6.3 none": head(LENGTH.replace(b": ", b":")) + BODY,
    "9110 5.5 empty value": head(LENGTH, b"X-A:") + BODY,
    "9110 5.5 bytes above ASCII": head(LENGTH, b"X-A: \xc3\xa9\xff") + BODY,
    "9110 5.1 names in any case": head(LENGTH.upper(), b"cOnNeCtIoN: Keep-Alive") + BODY,
    "9110 8.6 length with zeros": head(b"Content-Length: 000%d" % len(BODY)) + BODY,
    "9112 7 coding in any case": head(b"TRANSFER-ENCODING: ChUnKeD") + CHUNKS,
    "9112 7.1 size with zeros": head(CHUNKED) + b"000" + CHUNKS,
    "9112 7.1 upper case size": head(CHUNKED) + CHUNKS.upper()[:CHUNKS.index(b"\r")]
    + CHUNKS[CHUNKS.index(b"\r"):],
    "9112 7.1.1 extensions": head(CHUNKED) + client.chunked(BODY, 10, ';a;b=c; d="e f";g'),
    "9112 7.1.1 as many as are passed over": head(CHUNKED)
    + client.chunked(BODY, len(BODY) // 15, ";" + "a" * 1000),
    "9112 7.1.2 trailers": head(CHUNKED) + CHUNKS[:-2] + b"X-A: b\r\nX-Tollgate-User: c\r\n\r\n",
    "9112 3.2.2 absolute form": head(LENGTH, start=b"POST https://localhost" + PATH
                                     + b" HTTP/1.1\r\n") + BODY,
    "9112 3.2.2 its port and letters": head(LENGTH, start=b"POST HTTPS://LocalHost:443" + PATH
                                            + b" HTTP/1.1\r\n") + BODY,
    "9110 7.2 Host with port": head(LENGTH, host=b"Host: localhost:8443\r\n") + BODY,
    "9110 7.2 address": head(LENGTH, host=b"Host: [::1]:443\r\n") + BODY,
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_and_the_next_too(gateway, upstream, name):
    before = len(upstream.asked)
    with gateway.connect() as connection:
        connection.send(ACCEPTED[name] + GOOD)
        assert [connection.read().status for _ in range(2)] == [200, 200]
    asked = upstream.asked[before:]
    assert [a.body for a in asked] == [BODY, BODY]
    for one in asked:
        assert one.start == "POST /v1/chat/completions HTTP/1.1"
        assert one.all("host") == [upstream.url.removeprefix("https://")]
        assert b"x-tollgate" not in one.head.lower()


# ---- fields that end here --------------------------------------------------------------------

# RFC 9110 7.6.1: Connection, what it names, and the fields of one hop go no further.  Spelt
# with underscores they are the same to servers in CGI's manner.
OF_THE_HOP = ["Keep-Alive: 5", "Proxy-Connection: keep-alive", "TE: gzip", "Trailer: X-A",
              "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "Proxy-Authenticate: Basic",
              "Proxy-Authentication-Info: a=b", "Proxy-Authorization: Basic eA==",
              "Transfer_Encoding: chunked", "Content_Length: 5", "Proxy_Connection: close",
              "Connection: X-Named, X-Other", "X-Named: 1", "x-other: 2"]
OF_THE_GATEWAY = ["X-Tollgate-Request-Id: forged", "X-Tollgate-Cost-Usd: 0", "x-tollgate-tokens: in=0",
                  "X-TOLLGATE-Denied: no", "X-Tollgate-Anything: 1", "X_Tollgate_Cost_Usd: 0",
                  "x-tollgate_user: forged"]
OK_LENGTH = f"Content-Length: {len(ANSWER)}"
KEPT = ["X-Kept: 1", "X-Tollgat: 2", "Tollgate-X: 3"]


def names(lines):
    return [line.split(":")[0].lower() for line in lines]


def raw(*lines, status="200 OK", body=ANSWER, version="HTTP/1.1"):
    """An answer of the upstream, in its own words."""
    return "\r\n".join([f"{version} {status}", *lines, "", ""]).encode("latin-1") + body


def test_9110_7_6_1_removed_on_the_way_up(gateway, upstream):
    internal = ["X-Tollgate-User: u1", "X_Tollgate_Key: tg_x", "Forwarded: for=1.1.1.1",
                "X-Forwarded-For: 1.1.1.1", "X-Real-IP: 1.1.1.1", "Cookie: a=b",
                "Expect: 100-continue", "X-HTTP-Method-Override: DELETE", "x-http-method: GET",
                "X-Method-Override: PUT", "X-Original-URL: /admin", "X-Original-URI: /admin", "X-Rewrite-Url: /admin"]
    lines = [line.encode() for line in OF_THE_HOP + internal + KEPT]
    with gateway.connect() as connection:
        connection.send(head(LENGTH, *lines) + BODY)
        assert connection.read().status == 200
    asked = upstream.asked[-1]
    for name in names(OF_THE_HOP + internal):
        assert asked.all(name) == [], name
    for line in KEPT:
        assert f"\r\n{line}\r\n".encode() in asked.head
    assert asked.body == BODY


@pytest.mark.parametrize("named", ["Authorization", "Host", "Content-Length", "Content-Type",
                                   "Connection, close, Authorization, Content-Type"])
def test_9110_7_6_1_what_gives_meaning_cannot_be_named_away(gateway, upstream, named):
    with gateway.connect() as connection:
        connection.send(head(LENGTH, b"Content-Type: application/json",
                             b"Connection: " + named.encode()) + BODY)
        assert connection.read().status == 200
    asked = upstream.asked[-1]
    assert asked.all("authorization") == [f"Bearer {Provider.SECRET}"]
    assert asked.all("content-length") == [str(len(BODY))]
    assert asked.all("content-type") == ["application/json"] and len(asked.all("host")) == 1


def ask(gateway, script, method="POST", path=None, connection=None, extra=()):
    """One call that is answered by a script, over a connection of its own or the given one."""
    body = BODY if method == "POST" else b""
    path = path or PATH.decode()
    data = client.request_bytes(method, path, [*CALL.headers(), ("X-Script", script), *extra], body)
    if connection:
        connection.send(data)
        return connection.read(method)
    with gateway.connect() as own:
        own.send(data)
        return own.read(method)


FRAMINGS = {
    "length": (f"Content-Length: {len(ANSWER)}", ANSWER),
    "chunked": ("Transfer-Encoding: chunked", client.chunked(ANSWER, 20)),
}
PATHS = {"counted": ("POST", None), "not counted": ("GET", "/openai/v1/models")}


@pytest.mark.parametrize("way", PATHS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_9110_7_6_1_removed_on_the_way_down(gateway, upstream, framing, way):
    line, body = FRAMINGS[framing]
    hop = [h for h in OF_THE_HOP if not h.startswith("Transfer_")]
    upstream.scripts["hop"] = Script(raw(line, *hop, *OF_THE_GATEWAY, *KEPT, body=body))
    method, path = PATHS[way]
    answer = ask(gateway, "hop", method, path)
    assert answer.status == 200 and answer.body == ANSWER
    for name in names(hop):
        assert answer.all(name) == [], name
    assert b"forged" not in answer.head and len(answer.all("x-tollgate-request-id")) == 1
    for name in names(OF_THE_GATEWAY)[3:]:
        assert answer.all(name) == [], name
    for line in KEPT:
        assert f"\r\n{line}\r\n".encode() in answer.head


STREAM = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("every", [None, 1, 7])
@pytest.mark.parametrize("way", ["counted", "not counted", "stream", "long"])
def test_9112_7_1_2_trailers_end_here(gateway, upstream, way, every):
    """A recipient may discard trailers; one that merges them must not be led astray."""
    content = {"stream": STREAM, "long": b" " * 300 + ANSWER}.get(way, ANSWER)
    kind = "text/event-stream" if way == "stream" else "application/json"
    body = client.chunked(content, 33)[:-2] + (
        b"X-Tollgate-Cost-Usd: 0\r\nx-tollgate-request-id: forged\r\nX-A: b\r\nSet-Cookie: c\r\n\r\n")
    upstream.scripts["trailer"] = Script(
        raw(f"Content-Type: {kind}", "Trailer: X-A", "Transfer-Encoding: chunked", body=body),
        every=every)
    with gateway.connect() as connection:
        for _ in range(2):
            answer = ask(gateway, "trailer", *PATHS.get(way, ("POST", None)), connection)
            assert answer.complete and answer.body == content
            assert answer.trailers == b"" and answer.framing == "chunked"
            assert b"forged" not in answer.head and answer.all("trailer") == []
    assert upstream.asked[-1].connection == upstream.asked[-2].connection


# ---- upgrades ------------------------------------------------------------------------------------

def test_9110_7_8_upgrades_are_not_made(gateway, upstream):
    """A server may ignore Upgrade; the offer is this hop's and goes no further."""
    with gateway.connect() as connection:
        connection.send(head(LENGTH, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
                             b"HTTP2-Settings: AAMAAABkAAQAAP__") + BODY)
        answer = connection.read()
        assert answer.status == 200 and answer.informational == []
        assert answer.all("upgrade") == []
    assert b"pgrade" not in upstream.asked[-1].head and b"ettings" not in upstream.asked[-1].head


def test_9110_15_2_2_switching_protocols_unasked(gateway, upstream):
    upstream.scripts["101"] = Script(raw("Upgrade: websocket", "Connection: Upgrade",
                                         status="101 Switching Protocols", body=b"\x81\x00"))
    for extra in ((), [("Connection", "Upgrade"), ("Upgrade", "websocket")]):
        answer = ask(gateway, "101", extra=extra)
        assert answer.status == 502 and answer.informational == []


# ---- bounds ----------------------------------------------------------------------------------------

def filled(total, n_lines):
    """A good request whose head has so many bytes and field lines."""
    lines = [b"X-%d: b" % i for i in range(n_lines - 3)]   # Host, Authorization, Content-Length
    missing = total - len(head(LENGTH, *lines)) if total else 0
    lines[-1] += b"b" * missing
    return head(LENGTH, *lines) + BODY


@pytest.mark.parametrize("every", [None, 997])
@pytest.mark.parametrize("data, status", [
    pytest.param(filled(HEAD_BYTES, 10), 200, id="most bytes"),
    pytest.param(filled(HEAD_BYTES + 1, 10), 431, id="a byte more"),
    pytest.param(filled(0, HEADERS), 200, id="most lines"),
    pytest.param(filled(0, HEADERS + 1), 431, id="a line more"),
    pytest.param(filled(HEAD_BYTES, HEADERS), 200, id="most of both"),
    pytest.param(filled(HEAD_BYTES + 1, 4), 431, id="one long line")])
def test_6585_5_head_bounds(gateway, upstream, data, status, every):
    before = len(upstream.asked)
    with gateway.connect() as connection:
        try:
            connection.send(data, every=every)
        except OSError:
            pass
        answer = connection.read()
        assert answer.status == status, answer
        assert (answer.header("x-tollgate-denied") == "headers_too_large") == (status == 431)
        if status == 431:
            assert connection.at_end()
    assert len(upstream.asked) - before == (status == 200)


# ---- messages without a body ---------------------------------------------------------------------

# RFC 9112 6.3: an answer to HEAD, 1xx, 204 and 304 end with their head, whatever it says.
BODILESS = {
    "HEAD with length": ("HEAD", raw("Content-Length: 5000", body=b""), ["5000"]),
    "HEAD chunked": ("HEAD", raw("Transfer-Encoding: chunked", body=b""), []),
    "HEAD that says nothing": ("HEAD", raw(body=b""), []),
    "HEAD of an error": ("HEAD", raw("Content-Length: 7", status="404 Not Found", body=b""), ["7"]),
    "204": ("POST", raw(status="204 No Content", body=b""), []),
    "204 with length": ("POST", raw("Content-Length: 5", status="204 No Content", body=b""), []),
    "204 chunked": ("POST", raw("Transfer-Encoding: chunked", status="204 No Content",
                                body=b""), []),
    "304": ("GET", raw('ETag: "a"', status="304 Not Modified", body=b""), []),
    "304 with length": ("GET", raw("Content-Length: 5000", status="304 Not Modified",
                                   body=b""), ["5000"]),
    "204 behind 1xx": ("POST", raw(status="102 Processing", body=b"")
                       + raw("Link: </a>", status="103 Early Hints", body=b"")
                       + raw(status="204 No Content", body=b""), []),
}


@pytest.mark.parametrize("name", BODILESS)
def test_9112_6_3_ends_with_its_head(gateway, upstream, name):
    method, data, lengths = BODILESS[name]
    upstream.scripts["bodiless"] = Script(data)
    path = None if method == "POST" else "/openai/v1/models"
    with gateway.connect() as connection:
        answer = ask(gateway, "bodiless", method, path, connection)
        assert answer.all("content-length") == lengths
        assert answer.all("transfer-encoding") == []
        assert ask(gateway, "", connection=connection).body == ANSWER
    if "1xx" in name:
        assert [status for status, _ in answer.informational] == [102, 103]


def test_9110_15_3_5_body_of_a_204_is_nobodys_answer(gateway, upstream):
    """What follows a 204 that speaks of a body may be one: that connection ends."""
    evil = raw("Content-Length: 4", body=b"evil")
    upstream.scripts["204"] = Script(raw(f"Content-Length: {len(evil)}", status="204 No Content",
                                         body=evil))
    with gateway.connect() as connection:
        assert ask(gateway, "204", connection=connection).status == 204
        assert ask(gateway, "", connection=connection).body == ANSWER
    assert upstream.asked[-1].connection != upstream.asked[-2].connection


def test_9110_15_2_informational_heads_are_bounded(gateway, upstream):
    """Any number of 1xx may come, but each puts off the deadline: there is a last one."""
    one = raw(status="102 Processing", body=b"")
    for n, status in [(100, 200), (101, 502)]:
        upstream.scripts["1xx"] = Script(one * n + raw(f"Content-Length: {len(ANSWER)}"))
        assert ask(gateway, "1xx").status == status


@pytest.mark.parametrize("name, data", [
    ("HEAD", raw("Content-Length: 60", body=raw("Content-Length: 4", body=b"evil"))),
    ("304", raw(status="304 Not Modified", body=raw("Content-Length: 4", body=b"evil")))])
def test_9112_6_3_bytes_behind_an_answer_without_body_are_nobodys(gateway, upstream, name, data):
    """Request tunnelling: what an upstream sends behind such a head is no answer to the next request."""
    upstream.scripts["tunnel"] = Script(data)
    method = "HEAD" if name == "HEAD" else "GET"
    with gateway.connect() as connection:
        ask(gateway, "tunnel", method, "/openai/v1/models", connection)
        assert ask(gateway, "", connection=connection).body == ANSWER
    assert upstream.asked[-1].connection != upstream.asked[-2].connection


# ---- what a head must say --------------------------------------------------------------------------

def test_9110_6_6_1_a_date_is_added_where_there_is_none(gateway, upstream):
    """Who has a clock dates what he forwards, and leaves the date that it has."""
    for lines, kind in (([], ""), (["Content-Type: text/event-stream"], "stream")):
        upstream.scripts["date"] = Script(raw(*lines, f"Content-Length: {len(STREAM)}", body=STREAM))
        made, = ask(gateway, "date").all("date")
        assert abs(parsedate_to_datetime(made).timestamp() - time.time()) < 60, kind
    old = "Mon, 01 Jan 2024 00:00:00 GMT"
    upstream.scripts["date"] = Script(raw(f"dATE: {old}", f"Content-Length: {len(ANSWER)}"))
    assert ask(gateway, "date").all("date") == [old]


@pytest.mark.parametrize("data, status", [
    (GOOD.replace(calls.KEY.encode(), b"tg_wrong"), 401), (GOOD.replace(b"POST /openai", b"POST /nowhere"), 404),
    (GOOD.replace(b"POST", b"PATCH"), 403), (b"x\r\n\r\n", 400)])
def test_9110_15_5_our_own_errors(gateway, data, status):
    """6.6.1: a 4xx has a Date; 15.5.2: a 401 says how to authenticate, and nothing else does."""
    with gateway.connect() as connection:
        connection.send(data)
        answer = connection.read()
    assert answer.status == status and len(answer.all("date")) == 1
    assert answer.all("www-authenticate") == (['Bearer realm="tollgate"'] if status == 401 else [])


# ---- who speaks HTTP/1.0 ---------------------------------------------------------------------------

OLD = START.replace(b"1.1", b"1.0")


@pytest.mark.parametrize("path, status", [("/_tollgate/healthz", 200), ("/openai/v1/models", 401)])
def test_9112_9_3_our_own_answers_to_http_1_0(gateway, path, status):
    """They do not say that the connection persists: so it does not, asked or not."""
    with gateway.connect() as connection:
        connection.send(b"GET %s HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n" %
                        path.encode())
        answer = connection.read()
        assert (answer.status, answer.header("connection")) == (status, "close")
        assert connection.at_end()


@pytest.mark.parametrize("lines", [[b"Expect: 100-continue"], []])
def test_9110_15_2_no_1xx_for_http_1_0(gateway, upstream, lines):
    """A server must not send them; 10.1.1: and ignores that one is waited for."""
    upstream.scripts["hints"] = Script(raw(status="103 Early Hints", body=b"") + raw(OK_LENGTH))
    with gateway.connect() as connection:
        connection.send(head(LENGTH, b"X-Script: hints", *lines, start=OLD) + BODY)
        answer = connection.read()
        assert answer.status == 200 and answer.informational == [] and connection.at_end()


def test_9112_6_1_no_coding_for_http_1_0(gateway, upstream):
    """A stream ends with its connection."""
    upstream.scripts["stream"] = Script(raw("Content-Type: text/event-stream", "Transfer-Encoding: chunked",
                                            body=client.chunked(STREAM)))
    with gateway.connect() as connection:
        connection.send(head(LENGTH, b"X-Script: stream", start=OLD) + BODY)
        answer = connection.read()
        assert answer.all("transfer-encoding") == [] and answer.all("content-length") == []
        assert answer.framing == "close" and answer.body == STREAM


# ---- bodies where nobody looks for one -----------------------------------------------------------------

@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "LOCK"])
def test_9112_6_a_body_is_one_whatever_the_method(gateway, upstream, method, framing):
    """CL.0, 0.CL: its framing says that there is one, and nobody takes it for the next request."""
    hidden = b"GET /openai/v1/evil HTTP/1.1\r\nHost: x\r\n\r\n"
    start = method.encode() + b" /openai/v1/models HTTP/1.1\r\n"
    data = (head(b"Content-Length: %d" % len(hidden), start=start) + hidden if framing == "length"
            else head(CHUNKED, start=start) + client.chunked(hidden))
    before = len(upstream.asked)
    with gateway.connect() as connection:
        connection.send(data)
        answer = connection.read(method)
        assert answer.status in (200, 403), answer
        if answer.header("connection") != "close":
            assert ask(gateway, "", connection=connection).status == 200
        else:
            assert connection.at_end()
    asked = [one for one in upstream.asked[before:] if not one.start.startswith("POST")]
    assert len(asked) == (answer.status == 200)
    for one in asked:
        assert one.body == hidden and "evil" not in one.start
        assert len(one.all("content-length") + one.all("transfer-encoding")) == 1


@pytest.mark.parametrize("lines", [[b"Expect: 100-continue"], [b"Expect: 100-continue"] * 2,
                                   [b"Expect: 100-Continue, x"], [b"Expect: y 100-continue"], [b"Expect:"]])
@pytest.mark.parametrize("key", [calls.KEY.encode(), b"tg_wrong"])
def test_9110_10_1_1_what_is_expected_shifts_no_message(gateway, upstream, lines, key):
    """The body that was sent unasked is still the body; behind a refusal nothing is read."""
    before = len(upstream.asked)
    with gateway.connect() as connection:
        connection.send(head(b"Content-Length: %d" % len(GOOD), *lines).replace(calls.KEY.encode(), key) + GOOD)
        answer = connection.read()
        if key == b"tg_wrong":
            assert answer.status == 401 and connection.at_end()
        else:
            assert answer.status == 400 or upstream.asked[before].body == GOOD
    asked = upstream.asked[before:]
    assert len(asked) <= (key != b"tg_wrong") and all(one.all("expect") == [] for one in asked)


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
@pytest.mark.parametrize("line", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_9110_15_2_a_1xx_has_no_body(gateway, upstream, status, line):
    """RFC 9110 8.6, 9112 6.1: whatever it says of one; and it says nothing of it to the client."""
    upstream.scripts["1xx body"] = Script(raw(line, status=status, body=b"") + raw(OK_LENGTH))
    answer = ask(gateway, "1xx body")
    assert answer.status == 200 and answer.body == ANSWER
    assert b"chunked" not in answer.head and len(answer.all("content-length")) == 1


@pytest.mark.parametrize("lines, stays", [
    ([], True), (["Content-Length: 0"], True), (["Content-Length: 5"], False),
    (["Transfer-Encoding: chunked"], False), (["Connection: close"], False),
    (["Content-Length: 5", "Transfer-Encoding: chunked"], None), (["Content-Length: x"], None)])
def test_9112_6_3_what_a_1xx_says_counts_for_its_connection(gateway, upstream, lines, stays):
    """One that speaks of a body may have one, to whoever wrote it: nothing else is asked there.  One
    that is framed as nothing may be is no HTTP."""
    upstream.scripts["1xx says"] = Script(raw(*lines, status="103 Early Hints", body=b"") + raw(OK_LENGTH))
    before = len(upstream.asked)
    with gateway.connect() as connection:
        answer = ask(gateway, "1xx says", connection=connection)
        assert answer.status == (502 if stays is None else 200)
        assert ask(gateway, "", connection=connection).body == ANSWER
    first, second = (one.connection for one in upstream.asked[before:])
    assert (first == second) == bool(stays)


# ---- order, ends, early answers -----------------------------------------------------------------

def test_9112_9_3_2_pipelined_answers_keep_their_order(gateway, upstream):
    upstream.scripts["slow"] = Script(raw(f"Content-Length: {len(ANSWER)}", "X-Seq: 0"), delay=0.3)

    def request(method, path, script="", seq=None):
        lines = [*CALL.headers(), ("X-Script", script)]
        lines += [("X-Seq", str(seq))] if seq is not None else []
        return client.request_bytes(method, path, lines, BODY if method == "POST" else b"")
    sent = [("POST", PATH.decode(), "slow", None, 200), ("HEAD", "/openai/v1/models", "", 1, 200),
            ("GET", "/nowhere/v1", "", None, 404), ("GET", "/_tollgate/healthz", "", None, 200),
            ("POST", PATH.decode(), "", 4, 200), ("GET", "/openai/v1/models", "", 5, 200)]
    with gateway.connect() as connection:
        connection.send(b"".join(request(*one[:4]) for one in sent))
        for at, (method, _, _, _, status) in enumerate(sent):
            answer = connection.read(method)
            assert answer.status == status, at
            assert answer.header("x-seq") == (None if at in (2, 3) else str(at))


@pytest.mark.parametrize("lines, start", [
    ([b"Connection: close"], START), ([b"Connection: x, Close"], START),
    ([b"Connection: x", b"Connection: close"], START), ([], START.replace(b"1.1", b"1.0"))])
def test_9112_9_6_nothing_runs_behind_close(gateway, upstream, lines, start):
    before = len(upstream.asked)
    with gateway.connect() as connection:
        connection.send(head(LENGTH, *lines, start=start) + BODY + GOOD)
        assert connection.read().status == 200
        assert connection.at_end()
    assert len(upstream.asked) == before + 1


@pytest.mark.parametrize("key, status", [(b"tg_wrong", 401), (None, 200)])
def test_9112_9_3_an_answer_before_the_upload_has_ended(gateway, upstream, key, status):
    """Who answers without reading the body closes: what follows may be its rest."""
    big = 1 << 20
    lines = [b"Content-Length: %d" % big, b"X-Script: early"]
    upstream.scripts["early"] = Script(raw(f"Content-Length: {len(ANSWER)}"), early=True)
    data = head(*lines, start=b"GET /openai/v1/models HTTP/1.1\r\n")
    if key:
        data = data.replace(calls.KEY.encode(), key)
    with gateway.connect() as connection:
        connection.send(data + b"x" * 70000)
        answer = connection.read()
        assert answer.status == status and answer.header("connection") == "close"
        connection.send(b"y" * 1000)   # not a reset: it still listens
        assert connection.at_end()


def half_close(connection, how):
    if how == "FIN":
        socket.socket.shutdown(connection.sock, socket.SHUT_WR)
        return
    connection.sock.settimeout(0)
    try:
        connection.sock.unwrap()     # sends the alert; ours only to have said it
    except (ssl.SSLError, BlockingIOError, OSError):
        pass
    connection.sock.settimeout(20)


def ends(connection):
    """The peer ends without an answer; to a FIN that TLS did not announce, with an alert."""
    try:
        return connection.at_end()
    except ssl.SSLError as problem:
        return "ALERT" in str(problem)


@pytest.mark.parametrize("how", ["FIN", "alert"])
@pytest.mark.parametrize("part", ["nothing", "half a head", "half a body", "half a chunk"])
def test_9112_8_incomplete_requests_are_not_served(gateway, upstream, part, how):
    """A request that ended early is incomplete: it is neither answered nor passed on."""
    before = len(upstream.asked)
    data = {"nothing": b"", "half a head": head(LENGTH)[:-20], "half a body": GOOD[:-5],
            "half a chunk": head(CHUNKED) + CHUNKS[:20]}[part]
    with gateway.connect() as connection:
        connection.send(data)
        half_close(connection, how)
        assert ends(connection)
    assert len(upstream.asked) == before
    assert ask(gateway, "").status == 200


@pytest.mark.parametrize("how", ["FIN", "alert"])
def test_9112_9_6_a_client_that_half_closes_has_gone(gateway, upstream, how):
    """Half-closed and gone look alike: with on_client_gone "abort" the call is stopped."""
    upstream.scripts["wait"] = Script(raw(f"Content-Length: {len(ANSWER)}"), delay=10)
    before = len(upstream.asked)
    connection = gateway.connect()
    connection.send(client.request_bytes("POST", PATH.decode(),
                                         [*CALL.headers(), ("X-Script", "wait")], BODY))
    wait_for("the call", lambda: len(upstream.asked) > before)
    half_close(connection, how)
    wait_for("its end", lambda: upstream.asked[-1].left)
    connection.close()


# ---- answers that are not HTTP -----------------------------------------------------------------------

def chunks(size):
    return raw("Transfer-Encoding: chunked", body=size + b"\r\nabc\r\n0\r\n\r\n")


BAD_ANSWERS = {
    ("9112 4", "HTTP-version SP three digits SP reason"): {
        name: raw(OK_LENGTH).replace(b"HTTP/1.1 200 OK", line) for name, line in {
            "1.2": b"HTTP/1.2 200 OK", "2.0": b"HTTP/2.0 200 OK", "0.9": b"HTTP/0.9 200 OK",
            "lower case": b"http/1.1 200 OK", "two digits": b"HTTP/1.1 20 OK",
            "four digits": b"HTTP/1.1 2000 OK", "letters": b"HTTP/1.1 2OO OK",
            "below 100": b"HTTP/1.1 099 OK", "negative": b"HTTP/1.1 -20 OK",
            "two blanks": b"HTTP/1.1  200 OK", "tab": b"HTTP/1.1\t200 OK",
            "no version": b"200 OK", "NUL": b"HTTP/1.1 200 O\0K", "CR": b"HTTP/1.1 200 O\rK",
            "LF": b"HTTP/1.1 200 OK\nX: y", "empty line first": b"\r\nHTTP/1.1 200 OK",
            "blank first": b" HTTP/1.1 200 OK", "page": b"<html>"}.items()
    },
    ("9112 5", "fields as in requests; a proxy answers 502 where a response is none"): {
        name: raw(OK_LENGTH, line) for name, line in {
            "blank before the colon": "X-A : b", "folded": "X-A: b\r\n\tc", "no colon": "X-A",
            "no name": ": b", "NUL": "X-A: \0", "CR": "X-A: b\rc", "LF": "X-A: b\nc",
            "DEL": "X-A: \x7f", "CR CR LF": "X-A: b\r", "name beyond ASCII": "X-\xe9: b",
            "blank first": " X-A: b", "blank in the name": "X A: b"}.items()
    } | {
        "most lines, and one": raw(OK_LENGTH, *[f"X-{i}: b" for i in range(128)]),
        "too large": raw(OK_LENGTH, "X-A: " + "b" * 66000),
        "too many named": raw(OK_LENGTH, "Connection: " + "a," * 40 + "a"),
    },
    ("9112 6.1", "a response with a coding that is not chunked, alone, or with a length"): {
        name: raw(*lines, body=client.chunked(ANSWER)) for name, lines in {
            "gzip": ["Transfer-Encoding: gzip, chunked"], "identity": ["Transfer-Encoding: identity"],
            "twice": ["Transfer-Encoding: chunked"] * 2, "list": ["Transfer-Encoding: chunked, chunked"],
            "not last": ["Transfer-Encoding: chunked, gzip"], "x": ["Transfer-Encoding: xchunked"],
            "VT": ["Transfer-Encoding: \x0bchunked"], "empty": ["Transfer-Encoding:"],
            "length first": [OK_LENGTH, "Transfer-Encoding: chunked"],
            "length behind": ["Transfer-Encoding: chunked", OK_LENGTH]}.items()
    } | {
        "in 1.0": raw("Transfer-Encoding: chunked", "Connection: keep-alive", version="HTTP/1.0",
                      body=client.chunked(ANSWER)),
    },
    ("9112 6.3", "a response with an invalid length is answered with 502 and its connection "
                 "closed"): {
        name: raw(*lines) for name, lines in {
            "two": [OK_LENGTH, "Content-Length: 3"], "equal": [OK_LENGTH, OK_LENGTH],
            "list": [OK_LENGTH + ", 3"], "sign": ["Content-Length: +3"],
            "minus": ["Content-Length: -3"], "hex": ["Content-Length: 0x3"],
            "empty": ["Content-Length:"], "2^63": [f"Content-Length: {2**63}"],
            "2^64 + 3": [f"Content-Length: {2**64 + 3}"], "words": ["Content-Length: 3 4"],
            "in a 304's way": ["Content-Length: x"]}.items()
    },
    ("9112 7.1", "chunks of a response are read as strictly"): {
        name: chunks(size) for name, size in SIZES.items()
    } | {
        "extensions without end": raw("Transfer-Encoding: chunked", body=MUCH_EXTENDED),
        "zeros before many sizes": raw("Transfer-Encoding: chunked", body=MANY_ZEROS),
        "data too long": raw("Transfer-Encoding: chunked", body=b"3\r\nabcdef\r\n0\r\n\r\n"),
        "LF behind data": raw("Transfer-Encoding: chunked", body=b"3\r\nabc\n0\r\n\r\n"),
        "LF as the end": raw("Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\n"),
    } | {
        f"trailer, {name}": raw("Transfer-Encoding: chunked",
                                body=client.chunked(ANSWER)[:-2] + line + b"\r\n")
        for name, line in TRAILERS.items() if name != "a request"
    },
}


@pytest.mark.parametrize("data", cases(BAD_ANSWERS))
def test_bad_answers_become_502(gateway, upstream, data):
    upstream.scripts["bad"] = Script(data)
    before = len(upstream.asked)
    with gateway.connect() as connection:
        answer = ask(gateway, "bad", connection=connection)
        assert answer.status == 502, answer
        assert answer.header("x-tollgate-denied") == "upstream_unreachable"
        assert "error" in answer.json()
        assert ask(gateway, "", connection=connection).body == ANSWER
    bad, good = upstream.asked[before:]    # the bad one was not asked again
    assert bad.connection != good.connection


def test_9112_9_3_good_answers_keep_their_connection(gateway, upstream):
    """What the other tests of reuse stand on; and heads at their largest are good ones."""
    line = "X-A: "
    room = (64 << 10) - len(raw(OK_LENGTH, line, body=b""))
    upstream.scripts["largest"] = Script(raw(OK_LENGTH, line + "b" * room))
    upstream.scripts["most"] = Script(raw(OK_LENGTH, *[f"X-{i}: b" for i in range(127)]))
    before = len(upstream.asked)
    for script in ("", "largest", "most", ""):
        answer = ask(gateway, script)
        assert answer.status == 200 and answer.body == ANSWER, script
    assert len({a.connection for a in upstream.asked[before:]}) == 1


@pytest.mark.parametrize("data, end", [
    (b"", "close"), (b"", "cut"), (b"HTTP/1.1 200 OK\r\nContent-Le", "close"),
    (raw(OK_LENGTH)[:-3], "close"), (raw(OK_LENGTH)[:-3], "cut"), (raw("X-A: b"), "cut"),
    (raw("Transfer-Encoding: chunked", body=client.chunked(ANSWER)[:-2]), "close"),
    (raw("Transfer-Encoding: chunked", body=client.chunked(ANSWER)[:-5]), "close")])
def test_9112_8_incomplete_answers(gateway, upstream, data, end):
    """A message that ended before its framing says so is incomplete, and a close that TLS did
    not announce ends none."""
    upstream.scripts["short"] = Script(data, end)
    answer = ask(gateway, "short")
    assert answer.status == 502, answer


def test_9112_6_3_an_answer_that_ends_with_its_connection(gateway, upstream):
    upstream.scripts["until close"] = Script(raw("X-A: b"), "close")
    answer = ask(gateway, "until close")
    assert answer.status == 200 and answer.body == ANSWER and answer.complete
