"""A client that speaks HTTP/2 over TLS, frame by frame where a test wants that."""

import socket
import ssl
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions


class Answer:
    """What came on one stream."""

    def __init__(self):
        self.status = None
        self.headers = []
        self.interim = []
        self.body = b""
        self.ended = False
        self.reset = None       # error code of RST_STREAM

    def header(self, name):
        for have, value in self.headers:
            if have == name:
                return value
        return None


class Connection:
    """One connection; answers by stream id."""

    def __init__(self, gateway, acknowledge=True, validate=True, timeout=20):
        context = ssl.create_default_context(cafile=gateway.certs.ca)
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=timeout)
        self.sock = context.wrap_socket(raw, server_hostname="localhost")
        assert self.sock.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=validate,
            normalize_outbound_headers=validate))
        self.validate = validate
        self.h2.initiate_connection()
        self.acknowledge = acknowledge   # else windows stay shut until the test opens them
        self.answers = {}
        self.goaway = None
        self.closed = False
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True
        self.sock.close()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def raw(self, data):
        """Bytes that no client library would send."""
        self.flush()
        self.sock.sendall(data)

    def request(self, method, path, headers, body=b"", end=True, authority="localhost"):
        """Begins a request; its stream id. The body goes as far as the windows allow."""
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":authority", authority)]
        if path is not None:
            fields.append((":path", path))
        fields += [(name.lower() if self.validate else name, value) for name, value in headers]
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, fields, end_stream=end and not body)
        self.flush()
        if body:
            self.send(stream, body, end)
        return stream

    def send(self, stream, body, end=True):
        while body:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room == 0:
                self.step()
                continue
            piece, body = body[:room], body[room:]
            self.h2.send_data(stream, piece, end_stream=end and not body)
            self.flush()

    def call(self, call, key=None, tags=(), sim=None):
        """A call of kit.calls; its stream id."""
        from . import calls
        headers = call.headers(key or calls.KEY, tags, sim)
        return self.request("POST", call.full_path(), headers, call.data())

    def step(self, timeout=None):
        """Reads once. False: the connection has ended."""
        if timeout is not None:
            self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return False
        try:
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()
        except (h2.exceptions.ProtocolError, OSError):
            if self.goaway is None:   # the library takes nothing after GOAWAY
                raise
        return True

    def take(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code
        elif answer is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            fields = dict(event.headers)
            answer.status = int(fields.pop(":status"))
            answer.headers = [(n, v) for n, v in event.headers if n != ":status"]
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(int(dict(event.headers)[":status"]))
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.acknowledge and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length,
                                                  event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = event.error_code

    def wait(self, stream, seconds=20):
        """The whole answer."""
        answer, until = self.answers[stream], time.monotonic() + seconds
        while not answer.ended and answer.reset is None:
            assert time.monotonic() < until, "no whole answer in time"
            if not self.step():
                break
        return answer

    def wait_end(self, seconds=20):
        """Until the server closes; its GOAWAY's code."""
        until = time.monotonic() + seconds
        while not self.closed:
            assert time.monotonic() < until, "the connection stays open"
            self.step()
        return self.goaway
