# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that nginx reads at each handshake: a private key and its certificate chain, replaced in one step.

One file, because two could never be replaced together: whoever opens it meets the old pair or the new one. OpenSSL's
and nginx's own programs judge a pair before it is put in place; nginx itself would find out at the next handshake.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import NOT_FOUND, Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# The directory lets in root and nginx's workers alone, and gives its group to what is written there.
MODE = 0o640
LEFTOVER = ".new-"
PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----\n.+?\n-----END \1-----\n?", re.DOTALL)
# A chain and a key are a few kilobytes.
LARGEST = 256 * 1024
PLACEHOLDER_DAYS = 30
# Everything that nginx writes goes into the scratch directory, so that any user may ask it.
NGINX_TEST = """\
pid {directory}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen unix:{directory}/socket ssl;
        ssl_certificate {bundle};
        ssl_certificate_key {bundle};
    }}
}}
"""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says; times are seconds since the epoch."""

    fingerprint: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    self_signed: bool


def openssl(run: Run, *arguments: str) -> Finished:
    """Ask OpenSSL. Raises WebappsError where there is none."""
    done = run(["openssl", *arguments])
    if done.status == NOT_FOUND:
        raise WebappsError("The program openssl is missing: install the package openssl (the role certbot does).")
    return done


def _time(text: str) -> float:
    """An instant as OpenSSL prints it with ``-dateopt iso_8601``."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def read(run: Run, path: Path) -> Certificate:
    """The first certificate of a file. Raises WebappsError when there is none."""
    # Without the last two, names come in a form made for people.
    asked = ["-noout", "-subject", "-issuer", "-dates", "-fingerprint", "-sha256", "-ext", "subjectAltName"]
    done = openssl(run, "x509", "-in", str(path), *asked, "-nameopt", "RFC2253", "-dateopt", "iso_8601")
    lines = dict(line.split("=", 1) for line in done.output.splitlines() if "=" in line)
    try:
        return Certificate(
            fingerprint=lines["sha256 Fingerprint"].replace(":", "").lower(),
            names=tuple(re.findall(r"DNS:([^,\s]+)", done.output)),
            not_before=_time(lines["notBefore"]),
            not_after=_time(lines["notAfter"]),
            self_signed=lines["subject"] == lines["issuer"],
        )
    except (KeyError, ValueError) as error:
        raise WebappsError(
            f"{path} holds no certificate that OpenSSL reads: it says {done.last_words}. "
            "Have the certificate issued again, or remove the file and run the role certbot."
        ) from error


def _assert_key(run: Run, path: Path) -> None:
    of_key = openssl(run, "pkey", "-in", str(path), "-pubout")
    of_certificate = openssl(run, "x509", "-in", str(path), "-noout", "-pubkey")
    if of_key.status:
        raise WebappsError(
            "The bundle holds no private key that OpenSSL reads without a password. "
            "Send the key and the chain that certbot wrote."
        )
    if of_key.output != of_certificate.output:
        raise WebappsError(
            "The private key does not belong to the certificate: their public keys differ. "
            "Send the key and the chain of one and the same issue."
        )


def _assert_chain(run: Run, directory: Path, blocks: Sequence[bytes], path: Path) -> None:
    """Each certificate after the first must help to vouch for it; no root is asked, as browsers have those."""
    if len(blocks) < 2:
        return
    chain = directory / "chain.pem"
    chain.write_bytes(b"".join(blocks[1:]))
    arguments = ["-partial_chain", "-no-CAfile", "-no-CApath", "-no-CAstore", "-purpose", "sslserver"]
    done = openssl(run, "verify", *arguments, "-trusted", str(chain), str(path))
    if done.status:
        raise WebappsError(
            f"The chain does not vouch for the certificate; OpenSSL says: {done.last_words}. "
            "Send the whole chain of this certificate (fullchain.pem), with nothing of another."
        )


def _assert_nginx_takes(run: Run, directory: Path, path: Path) -> None:
    configuration = directory / "nginx.conf"
    configuration.write_text(NGINX_TEST.format(directory=directory, bundle=path))
    done = run(["/usr/sbin/nginx", "-t", "-q", "-e", "stderr", "-c", str(configuration)])
    if done.status:
        raise WebappsError(f"nginx refuses the certificate or its key: {done.last_words}. Have it issued again.")


@dataclass(frozen=True)
class Place:
    """Where a bundle is kept: ``path``, for the host names ``names``."""

    path: Path
    names: tuple[str, ...]


def proven(run: Run, candidate: Path, names: Sequence[str], now: float) -> Certificate:
    """Judge a bundle that lies in a directory of its own. ``now``: seconds since the epoch.

    Raises WebappsError unless key and certificate belong together, the chain vouches for them, they are valid now for
    all ``names``, and nginx takes them.
    """
    blocks = [(match[1], match[0]) for match in PEM.finditer(candidate.read_bytes())]
    certificates = [block for kind, block in blocks if kind == b"CERTIFICATE"]
    if not certificates or len(blocks) != len(certificates) + 1:
        raise WebappsError(
            f"The bundle holds {len(certificates)} certificates and {len(blocks) - len(certificates)} other PEM "
            "blocks. Send one private key and the certificate chain."
        )
    certificate = read(run, candidate)
    _assert_key(run, candidate)
    for name in names:
        if "does match" not in openssl(run, "x509", "-in", str(candidate), "-noout", "-checkhost", name).output:
            raise WebappsError(
                f"The certificate is not for {name} but for {', '.join(certificate.names) or 'no name'}. "
                "Have it issued for all names of the application."
            )
    if not certificate.not_before <= now <= certificate.not_after:
        raise WebappsError(
            f"The certificate is valid from {stamp(certificate.not_before)} to {stamp(certificate.not_after)}, and "
            f"this host's clock says {stamp(now)}. Correct the clock, or have a new certificate issued."
        )
    _assert_chain(run, candidate.parent, certificates, candidate)
    _assert_nginx_takes(run, candidate.parent, candidate)
    return certificate


def stamp(seconds: float) -> str:
    """An instant for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """A new directory beside the bundle for its owner's eyes alone; only one call at a time gets one."""
    owner = directory.stat()
    handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        # Root makes the first bundle, and the directory's owner those that come later.
        os.fchown(handle, owner.st_uid, owner.st_gid)
        fcntl.flock(handle, fcntl.LOCK_EX)
        # What a call that was killed left behind holds a key.
        for leftover in directory.glob(f"{LEFTOVER}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=LEFTOVER, dir=directory))
        try:
            yield made
        finally:
            shutil.rmtree(made)
    finally:
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)


def _put(candidate: Path, path: Path) -> None:
    """Give a file the owner and group of its directory, then its place, so that a power loss keeps one of the two."""
    directory = path.parent.stat()
    os.chown(candidate, directory.st_uid, directory.st_gid)
    candidate.chmod(MODE)
    for opened in (candidate, candidate.parent):
        handle = os.open(opened, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    candidate.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def current(run: Run, place: Place) -> Certificate | None:
    """What is in place; None when that is nothing, or nothing that can be read."""
    try:
        return read(run, place.path)
    except WebappsError:
        return None


def install(run: Run, place: Place, bundle: bytes, now: float) -> tuple[bool, Certificate]:
    """Put a bundle in place, once it is proven; return whether it was another than before, and its certificate.

    Raises WebappsError, and leaves in place what is there, for a bundle that is broken or older than that.
    """
    with _scratch(place.path.parent) as scratch:
        candidate = scratch / place.path.name
        _write(candidate, bundle)
        certificate = proven(run, candidate, place.names, now)
        before = current(run, place)
        if before and before.fingerprint == certificate.fingerprint and place.path.read_bytes() == bundle:
            return False, before
        if before and not before.self_signed and certificate.not_before < before.not_before:
            raise WebappsError(
                f"The certificate is of {stamp(certificate.not_before)}, older than the one in place, which is of "
                f"{stamp(before.not_before)}. To go back on purpose, remove {place.path} and send it again at once."
            )
        _put(candidate, place.path)
    return True, certificate


def bundle_of(lineage: Path) -> bytes:
    """Key and chain as certbot keeps them. Raises WebappsError when it has none."""
    try:
        return (lineage / "privkey.pem").read_bytes() + (lineage / "fullchain.pem").read_bytes()
    except FileNotFoundError as error:
        raise WebappsError(
            f"{error.filename} is missing: certbot has obtained no certificate yet. Run the role certbot."
        ) from error


def placeholder_missing(run: Run, place: Place) -> bool:
    """Whether nginx would have nothing to answer a handshake with."""
    if current(run, place) is None:
        return True
    try:
        _assert_key(run, place.path)
    except WebappsError:
        return True
    return False


def take_over(run: Run, place: Place, lineage: Path, now: float) -> bool:
    """Put in place what certbot has already, if that would work: a site that is in use goes on with it."""
    try:
        install(run, place, bundle_of(lineage), now)
    except WebappsError:
        return False
    return True


def make_placeholder(run: Run, place: Place) -> None:
    """Put a self-signed certificate in place, which nobody trusts and which the first issued one replaces."""
    with _scratch(place.path.parent) as scratch:
        key, chain = scratch / "key.pem", scratch / "chain.pem"
        made = openssl(
            run,
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", str(PLACEHOLDER_DAYS), "-subj", f"/CN={place.names[0][:64]}"),
            *("-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in place.names)),
            *("-keyout", str(key), "-out", str(chain)),
        )
        if made.status:
            raise WebappsError(f"OpenSSL made no certificate for {', '.join(place.names)}: {made.last_words}.")
        candidate = scratch / place.path.name
        _write(candidate, key.read_bytes() + chain.read_bytes())
        _put(candidate, place.path)
