"""Receivers of alerts on loopback, that answer, fail, hang or throttle as a test says."""

import base64
import email
import email.policy
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
    """A small SMTP server; `answers`: replies to the next messages' ends in order, then 250. With `tls`, an
    ssl.SSLContext, it takes mail after STARTTLS alone; with `login`, (user, password), after that by AUTH;
    addresses in `unknown` are refused. A message is (sender, receivers, text); `faults`: what RFC 5321 or 5322
    forbids, `said`: commands."""

    def __init__(self, tls=None, login=None, unknown=()):
        self.messages, self.tries, self.answers, self.faults, self.said = [], 0, [], [], []
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, text):
                self.wfile.write(text.encode() + b"\r\n")

            def message(self):
                """The text up to its end, without the dots that were put before dots."""
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    if not line.endswith(b"\r\n") or len(line) > 1000 or b"\r" in line[:-2]:
                        mailbox.faults.append(line)
                    lines.append(line[1:] if line.startswith(b".") else line)
                return b"".join(lines)

            def start_tls(self):
                self.request = tls.wrap_socket(self.request, server_side=True)
                self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)

            def handle(self):
                self.say("220 mailbox")
                sender, to, safe, known = None, [], tls is None, login is None
                while line := self.rfile.readline():
                    word = line.decode("utf-8", "replace").strip()
                    verb = word[:4].upper()
                    mailbox.said.append(verb)
                    if verb == "EHLO":
                        more = [] if safe else ["STARTTLS"]
                        more += ["AUTH PLAIN"] if safe and login else []
                        for name in ["mailbox", *more]:
                            self.say("250-" + name)
                        self.say("250 SIZE 1000000")
                    elif verb == "STAR":
                        self.say("220 go")
                        self.start_tls()
                        safe = True
                    elif verb == "AUTH":
                        if len(word.split()) == 2:
                            self.say("334 ")
                            word += " " + self.rfile.readline().decode().strip()
                        given = base64.b64decode(word.split()[2]).decode().split("\0")[1:]
                        known = safe and tuple(given) == login
                        self.say("235 yes" if known else "535 no")
                    elif verb == "MAIL" and not (safe and known):
                        self.say("530 not like this")
                    elif verb == "MAIL":
                        sender, to = word[10:].split(">")[0].strip("<"), []
                        self.say("250 ok")
                    elif verb == "RCPT" and word[8:].strip("<>") in unknown:
                        self.say("550 no such user")
                    elif verb == "RCPT":
                        to.append(word[8:].strip("<>"))
                        self.say("250 ok")
                    elif verb == "DATA":
                        self.say("354 go")
                        text = self.message()
                        mailbox.tries += 1
                        answer = mailbox.answers.pop(0) if mailbox.answers else "250 taken"
                        if answer.startswith("250"):
                            mailbox.messages.append((sender, to, text))
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

    def read(self):
        """The messages, parsed."""
        return [email.message_from_bytes(text, policy=email.policy.default) for _, _, text in self.messages]

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.server.server_address[1]}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
