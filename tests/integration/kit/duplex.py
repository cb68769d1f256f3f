"""A provider that speaks HTTP/2 with event streams both ways, and a client of such a call."""

import json
import socket
import ssl
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from . import calls, events, http2

PATH = "/model/{}/invoke-with-bidirectional-stream"
MODEL = "amazon.nova-sonic-v1:0"
EVENTS = "application/vnd.amazon.eventstream"


class Ended(Exception):
    """The gateway has gone, or taken its stream back."""


class Call:
    """One stream, in the provider's hands."""

    def __init__(self, sock, connection):
        self.sock, self.h2 = sock, connection
        self.stream = None
        self.headers = []
        self.buffer = bytearray()
        self.inbox = []         # (fields, payload, raw), not taken yet
        self.bytes = 0          # of the body, as it came
        self.all_in = False
        self.reset = None
        self.reads = True       # else its window stays shut
        self.window = 0         # owed to the gateway

    def header(self, name):
        return next((v for k, v in self.headers if k == name), None)

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def step(self, seconds=20):
        """Reads once; False where nothing came in time."""
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(65536)
        except (TimeoutError, socket.timeout):
            return False
        if not data:
            raise Ended
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.stream, self.headers = event.stream_id, event.headers
            elif isinstance(event, h2.events.DataReceived):
                self.bytes += len(event.data)
                self.buffer += event.data
                self.inbox += events.split(self.buffer)
                self.window += event.flow_controlled_length
                self.pay()
            elif isinstance(event, h2.events.StreamEnded):
                self.all_in = True
            elif isinstance(event, h2.events.StreamReset):
                self.reset = event.error_code
            elif isinstance(event, h2.events.ConnectionTerminated):
                raise Ended
        self.flush()
        if self.reset is not None:
            raise Ended
        return True

    def pay(self):
        if self.reads and self.window:
            self.h2.acknowledge_received_data(self.window, self.stream)
            self.window = 0
            self.flush()

    def take(self, seconds=20):
        """The next message: (fields, payload, raw); None at the end of the client's side."""
        until = time.monotonic() + seconds
        while not self.inbox:
            if self.all_in:
                assert not self.buffer
                return None
            assert time.monotonic() < until, "no message in time"
            self.step()
        return self.inbox.pop(0)

    def hear(self):
        """The model's event in the next message, out of its envelope; None at the end."""
        got = self.take()
        if got and ":chunk-signature" in got[0]:
            inner = events.split(bytearray(got[1]))
            got = inner[0] if inner else self.take()
        return got and events.event_of(got[1])

    def answer(self, status=200, content_type=EVENTS, **more):
        self.h2.send_headers(self.stream, [
            (":status", str(status)), ("content-type", content_type),
            ("x-amzn-requestid", "amzn-sim-duplex"), *more.items()])
        self.flush()

    def send(self, data, end=False):
        while data:
            room = min(self.h2.local_flow_control_window(self.stream),
                       self.h2.max_outbound_frame_size)
            if room == 0:
                self.step()
                continue
            self.h2.send_data(self.stream, data[:room])
            data = data[room:]
            self.flush()
        if end:
            self.end()

    def say(self, *said):
        for event in said:
            self.send(events.chunk(event))

    def end(self):
        self.h2.end_stream(self.stream)
        self.flush()

    def fail(self, name, message):
        self.send(events.message([(":message-type", events.STRING, "exception"),
                                  (":exception-type", events.STRING, name),
                                  (":content-type", events.STRING, "application/json")],
                                 json.dumps({"message": message}).encode()), end=True)

    def give_back(self, code=2):
        self.h2.reset_stream(self.stream, error_code=code)
        self.flush()


class Sonic:
    """Listens; plays(call) has each call in a thread of its own."""

    def __init__(self, certs, plays, alpn="h2"):
        self.plays, self.calls, self.problems, self.open = plays, [], [], 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certs.path("server.pem"), certs.path("server.key"))
        self.context.set_alpn_protocols([alpn])
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.agreed = []
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.close()
        assert not self.problems, self.problems[0]

    def _accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw):
        sock = raw
        self.open += 1
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock = self.context.wrap_socket(raw, server_side=True)
            self.agreed.append(sock.selected_alpn_protocol())
            connection = h2.connection.H2Connection(h2.config.H2Configuration(
                client_side=False, header_encoding="utf-8"))
            connection.initiate_connection()
            call = Call(sock, connection)
            call.flush()
            while call.stream is None:
                call.step()
            self.calls.append(call)
            self.plays(call)
            try:
                while call.step(5):
                    pass
            except Ended:
                pass
        except (Ended, OSError):
            pass
        except (AssertionError, events.Broken, h2.exceptions.H2Error) as problem:
            self.problems.append(f"{type(problem).__name__}: {problem}")
        finally:
            self.open -= 1
            sock.close()


class Session:
    """A call in the client's hands, over HTTP/2."""

    def __init__(self, gateway, upstream="sonic", model=MODEL, headers=None, **options):
        self.connection = http2.Connection(gateway, **options)
        path = f"/{upstream}" + PATH.format(model.replace(":", "%3A"))
        self.stream = self.connection.request(
            "POST", path, headers or [("authorization", f"Bearer {calls.KEY}"),
                                      ("content-type", EVENTS)], end=False)
        self.got = self.connection.answers[self.stream]
        self.seen = 0        # bytes of the answer that were split already
        self.buffer = bytearray()
        self.inbox = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def say(self, *said):
        for event in said:
            self.send(events.chunk(event))

    def send(self, data, end=False):
        self.connection.send(self.stream, data, end=end)

    def end(self):
        self.connection.h2.end_stream(self.stream)
        self.connection.flush()

    def head(self, seconds=20):
        until = time.monotonic() + seconds
        while self.got.status is None:
            assert time.monotonic() < until and self.connection.step(), "no head"
        return self.got.status

    def take(self, seconds=20):
        """The next message: (fields, payload, raw); None at the answer's end."""
        until = time.monotonic() + seconds
        while True:
            fresh, self.seen = self.got.body[self.seen:], len(self.got.body)
            self.buffer += fresh
            self.inbox += events.split(self.buffer)
            if self.inbox:
                return self.inbox.pop(0)
            if self.got.ended or self.got.reset is not None:
                assert not self.buffer
                return None
            assert time.monotonic() < until, "no message in time"
            if not self.connection.step():
                raise Ended

    def hear(self):
        got = self.take()
        return got and events.event_of(got[1])

    def rest(self):
        """All that is still said: events, and exceptions by their names."""
        out = []
        while True:
            got = self.take()
            if got is None:
                return out
            fields, payload, _ = got
            if fields[":message-type"] == "exception":
                out.append((fields[":exception-type"], json.loads(payload)["message"]))
            else:
                out.append(events.event_of(payload))
