"""Upstreams of the clouds on the simulated provider, and the server that gives their tokens."""

import base64
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.parse

from .procs import Provider


def upstream(certs, simulated, name, protocol, **more):
    out = {"name": name, "protocol": protocol, "base_url": simulated.url, "ca_file": certs.ca}
    if not {"aws", "google", "entra"} & set(more):
        out["api_key"] = Provider.SECRET
    return {**out, **more}


def aws(session_token=None, secret=Provider.AWS[1]):
    """The account that the provider knows."""
    out = {"access_key_id": Provider.AWS[0], "secret_access_key": secret,
           "region": Provider.AWS[2]}
    return {**out, "session_token": session_token} if session_token else out


def with_upstreams(config, *upstreams):
    return {**config, "upstreams": config["upstreams"] + list(upstreams)}


def _decode(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class TokenServer:
    """An OAuth 2.0 server: answers each form with the next of its tokens."""

    def __init__(self, certs, tokens, life=3600):
        self.certs = certs
        self.tokens = list(tokens)   # the last one stays
        self.life = life
        self.status = 200
        self.forms = []
        self.when = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                reply = json.dumps(owner.answer(self.path, body.decode())).encode()
                self.send_response(owner.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certs.path("server.pem"), certs.path("server.key"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path, body):
        self.forms.append((path, dict(urllib.parse.parse_qsl(body))))
        self.when.append(time.monotonic())
        if self.status != 200:
            return {"error": "invalid_grant", "error_description": "as the test asked"}
        token = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        return {"access_token": token, "expires_in": self.life, "token_type": "Bearer"}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class ServiceAccount:
    """A key file, and what checks the statements that are signed with it."""

    EMAIL = "robot@project.iam.gserviceaccount.com"

    def __init__(self, folder, url, name="account"):
        self.folder = str(folder)
        self.path = os.path.join(self.folder, f"{name}.json")
        pem = self._openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        self.private = pem.decode()
        self.public = os.path.join(self.folder, f"{name}.pub")
        with open(self.public, "wb") as out:
            out.write(self._openssl("pkey", "-pubout", stdin=pem))
        with open(self.path, "w", encoding="utf-8") as out:
            json.dump({"type": "service_account", "client_email": self.EMAIL,
                       "private_key_id": name, "private_key": self.private,
                       "token_uri": url + "/token"}, out)

    def _openssl(self, *args, stdin=None):
        done = subprocess.run(["openssl", *args], input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def claims(self, form):
        """Of a statement whose signature fits."""
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        head, body, signature = form["assertion"].split(".")
        path = os.path.join(self.folder, "signature")
        with open(path, "wb") as out:
            out.write(_decode(signature))
        assert json.loads(_decode(head))["alg"] == "RS256"
        self._openssl("dgst", "-sha256", "-verify", self.public, "-signature", path,
                      stdin=f"{head}.{body}".encode())
        return json.loads(_decode(body))
