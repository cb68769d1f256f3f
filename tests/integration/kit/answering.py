"""An upstream over TLS that answers each path with what a test wrote down for it."""

import gzip
import http.server
import socketserver
import ssl
import threading


class Answering:
    """`answers`: "METHOD /path" -> body, or (body, content type, more headers). Packs whatever it
    may pack by Accept-Encoding. `asked`: (METHOD /path?query, headers) in order."""

    def __init__(self, certs):
        self.answers, self.asked = {}, []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                owner.asked.append((f"{self.command} {self.path}", dict(self.headers)))
                found = owner.answers.get(f"{self.command} {self.path.split('?')[0]}")
                body, kind, more = found if isinstance(found, tuple) else (
                    found, "application/json", {})
                self.send_response(200 if found is not None else 404)
                body = body or b"{}"
                if "gzip" in (self.headers["Accept-Encoding"] or "") and "Packed" not in more:
                    body = gzip.compress(body)
                    more = {**more, "Content-Encoding": "gzip"}
                for name, value in {"Content-Type": kind, **more}.items():
                    self.send_header(name, value)
                if more.get("Transfer-Encoding") == "chunked":
                    self.end_headers()
                    for at in range(0, len(body), 7):
                        piece = body[at:at + 7]
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")
                    return
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certs.path("server.pem"), certs.path("server.key"))
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
