"""Certificates for tests: an authority, and leaves that it signed, made with openssl."""

import os
import subprocess


def _openssl(*args, cwd):
    done = subprocess.run(["openssl", *args], cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {args[0]}: {done.stderr}")


class Certs:
    """A folder with ca.pem and NAME.pem, NAME.key for each leaf."""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self._authority("ca")
        self.leaf("server", "DNS:localhost,IP:127.0.0.1")

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def ca(self):
        return self.path("ca.pem")

    def _key(self, name):
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key",
                 cwd=self.folder)

    def _authority(self, name):
        self._key(name)
        _openssl("req", "-x509", "-new", "-key", f"{name}.key", "-days", "30", "-out",
                 f"{name}.pem", "-subj", f"/CN=tollgate test {name}",
                 "-addext", "basicConstraints=critical,CA:TRUE",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=self.folder)

    def other_authority(self, name="other-ca"):
        self._authority(name)
        return self.path(f"{name}.pem")

    def leaf(self, name, alternatives, days=30, usage="serverAuth", common=None, ca="ca"):
        """A certificate for those names, e.g. "DNS:localhost,IP:127.0.0.1"; None: for none."""
        self._key(name)
        _openssl("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj",
                 f"/CN={common or name}", cwd=self.folder)
        with open(self.path(f"{name}.ext"), "w", encoding="ascii") as out:
            out.write((f"subjectAltName={alternatives}\n" if alternatives else "") +
                      f"extendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n")
        _openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
                 "-CAcreateserial", "-days", str(days), "-out", f"{name}.pem", "-extfile",
                 f"{name}.ext", cwd=self.folder)
        return self.path(f"{name}.pem"), self.path(f"{name}.key")
