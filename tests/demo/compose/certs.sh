#!/bin/sh
# Makes the certificates that docker-compose.yml mounts: an authority of one's own, one leaf
# for the gateways and one for the simulated provider, in tls/ beside this file.
set -eu
umask 022
mkdir -p "$(dirname "$0")/tls"
cd "$(dirname "$0")/tls"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
leaf() {
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' "$2" \
        > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 \
        -extfile "$1.ext" -out "$1.pem"
    rm -f "$1.csr" "$1.ext"
    chmod 0644 "$1.key" # read by the containers' own user
}
key ca
openssl req -x509 -new -key ca.key -days 365 -subj "/CN=tollgate compose" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -out ca.pem
leaf server "DNS:localhost,DNS:gateway-1,DNS:gateway-2,IP:127.0.0.1"
leaf provider "DNS:provider"
