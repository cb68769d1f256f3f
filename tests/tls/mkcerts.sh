#!/bin/sh
# Makes a test authority and a server certificate of it, for demo and tests:
#
#   mkcerts.sh DIRECTORY
#
# writes ca.pem, ca.key, server.pem (the server's, then the authority's) and server.key:
# EC P-256, valid for 30 days, for localhost, 127.0.0.1 and ::1.  Made anew each time.
# Keys are readable by their owner alone.  Never for a gateway that others can reach.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIRECTORY" >&2
    exit 2
fi
umask 077
mkdir -p "$1"
cd "$1"
days=30

# A configuration of our own: what the system's says must not matter.
cat > openssl.cnf <<'CONFIG'
[req]
distinguished_name = name
prompt = no
[name]
CN = tollgate test
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
authorityKeyIdentifier = keyid
CONFIG
trap 'rm -f openssl.cnf server.csr' EXIT

new_key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2> /dev/null
}

new_key ca.key
openssl req -x509 -new -config openssl.cnf -extensions authority -sha256 -days "$days" \
    -subj "/CN=tollgate test authority" -key ca.key -out ca.pem
new_key server.key
openssl req -new -config openssl.cnf -subj "/CN=localhost" -key server.key -out server.csr
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key \
    -set_serial "0x$(openssl rand -hex 8)" -sha256 -days "$days" \
    -extfile openssl.cnf -extensions server -out server.pem 2> /dev/null
cat ca.pem >> server.pem
chmod 644 ca.pem server.pem
