"""Receivers of alerts on loopback, that answer, fail, hang or throttle as a test says."""

import http.server
import json
import socketserver
import threading


class Receiver:
    """An HTTP server that keeps what it is sent. `answers`: status, or (status, headers), or "hang", for
    the next requests in order; then 200."""

    def __init__(self):
        self.got, self.answers, self.lock = [], [], threading.Lock()
        self.release = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    answer = receiver.answers.pop(0) if receiver.answers else 200
                if answer == "hang":
                    receiver.release.wait(30)
                    self.close_connection = True
                    return
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                with receiver.lock:
                    receiver.got.append((status, self.path, dict(self.headers), body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *args):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path="/hook"):
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    def taken(self, path=None):
        """Bodies that were answered with 2xx, parsed."""
        with self.lock:
            return [json.loads(body) for status, at, _, body in self.got
                    if status < 300 and path in (None, at)]

    def stop(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


class Mailbox:
    """A small SMTP server; `answers`: replies to the next messages' ends in order, then 250."""

    def __init__(self):
        self.messages, self.tries, self.answers = [], 0, []
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, text):
                self.wfile.write(text.encode() + b"\r\n")

            def handle(self):
                self.say("220 mailbox")
                sender, to = None, []
                for line in self.rfile:
                    word = line.decode("utf-8", "replace").strip()
                    verb = word[:4].upper()
                    if verb == "EHLO":
                        self.say("250-mailbox")
                        self.say("250 8BITMIME")
                    elif verb == "MAIL":
                        sender = word[10:].split(">")[0].strip("<")
                        self.say("250 ok")
                    elif verb == "RCPT":
                        to.append(word[8:].strip("<>"))
                        self.say("250 ok")
                    elif verb == "DATA":
                        self.say("354 go")
                        text = b""
                        while not text.endswith(b"\r\n.\r\n"):
                            text += self.rfile.readline()
                        mailbox.tries += 1
                        answer = mailbox.answers.pop(0) if mailbox.answers else "250 taken"
                        if answer.startswith("250"):
                            mailbox.messages.append((sender, to, text[:-5]))
                        self.say(answer)
                    elif verb == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 ok")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.server.server_address[1]}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
