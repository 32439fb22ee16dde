#!/bin/sh
# certificate.sh DOMAIN: a private authority's certificate, in the places where certbot keeps one.
set -eu
domain=$1
archive=/etc/letsencrypt/archive/$domain live=/etc/letsencrypt/live/$domain
mkdir -p -m 0700 /etc/letsencrypt/archive /etc/letsencrypt/live
mkdir -p "$archive" "$live" /etc/letsencrypt/renewal
cd /etc/letsencrypt
curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
# shellcheck disable=SC2086
openssl req -x509 $curve -days 30 -subj "/CN=Authority of the scenario" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout ca.key -out ca.pem
# shellcheck disable=SC2086
openssl req -x509 $curve -days 30 -subj "/CN=$domain" -CA ca.pem -CAkey ca.key \
    -addext "subjectAltName=DNS:$domain" -addext "basicConstraints=critical,CA:FALSE" \
    -keyout "$archive/privkey1.pem" -out "$archive/cert1.pem"
cp ca.pem "$archive/chain1.pem"
cat "$archive/cert1.pem" ca.pem > "$archive/fullchain1.pem"
for name in cert chain fullchain privkey; do
    ln -sf "../../archive/$domain/${name}1.pem" "$live/$name.pem"
done
printf 'archive_dir = %s\ncert = %s/cert.pem\n[renewalparams]\nauthenticator = nginx\n' "$archive" "$live" > "renewal/$domain.conf"
