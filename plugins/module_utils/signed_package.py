# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install a Debian package with a detached signature, once that is the signature of a known key."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# Reads what an address or a path names into a file. Raises WebappsError.
Fetch = Callable[[str, Path], None]
FINGERPRINT = re.compile(r"[0-9A-F]{40}")
LOCK_TIMEOUT = 120


@dataclass(frozen=True)
class Wanted:
    """A package and where it comes from; ``source``, ``signature`` and ``key`` are addresses or paths of this host."""

    name: str
    version: str
    source: str
    signature: str
    key: str
    fingerprint: str


def fingerprint(text: str) -> str:
    """A fingerprint without its blanks, in capitals. Raises WebappsError."""
    plain = "".join(text.split()).upper()
    if not FINGERPRINT.fullmatch(plain):
        raise WebappsError(f'"{text}" is no fingerprint of a key: give all of its 40 hexadecimal digits.')
    return plain


def same(version: str, package_version: str) -> bool:
    """Whether a package's version is the wanted one, which need not name the revision of the packaging."""
    return version == package_version or version == package_version.rpartition("-")[0]


def for_architecture(run: Run, source: str) -> str:
    """The address or path for this host's processors."""
    if "{architecture}" not in source:
        return source
    return source.replace("{architecture}", architecture(run))


def architecture(run: Run) -> str:
    return run(["dpkg", "--print-architecture"]).output.strip()


def installed(run: Run, name: str) -> str:
    """The version that is installed, or nothing."""
    done = run(["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", name])
    status, _blank, version = done.output.strip().partition(" ")
    return version if done.status == 0 and status == "installed" else ""


def install(run: Run, fetch: Fetch, wanted: Wanted, scratch: Path) -> None:
    """Fetch, verify and install. ``scratch``: an empty directory that only root may enter. Raises WebappsError."""
    package, signature, key = (scratch / name for name in ("package.deb", "package.deb.sig", "key"))
    fetch(wanted.key, key)
    fetch(wanted.source, package)
    fetch(wanted.signature, signature)
    assert_signed(run, package, signature, key, wanted, scratch / "gnupg")
    assert_is(run, package, wanted)
    done = run(
        [
            *("apt-get", "install", "--yes", "--no-install-recommends", "--allow-downgrades"),
            *("--option", f"DPkg::Lock::Timeout={LOCK_TIMEOUT}", str(package)),
        ],
        environment={"DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.status != 0:
        raise WebappsError(f"{wanted.source} was not installed: {done.last_words}")


def assert_signed(run: Run, package: Path, signature: Path, key: Path, wanted: Wanted, home: Path) -> None:
    """Refuse a package that is not signed by the key with the known fingerprint. Raises WebappsError."""
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--batch", "--no-tty", "--homedir", str(home), "--trust-model", "always", "--status-fd", "1"]
    imported = run([*gpg, "--import", str(key)])
    if imported.status != 0:
        raise WebappsError(f"{wanted.key} is no public key: {imported.last_words}")
    known = re.findall(r"^\[GNUPG:\] IMPORT_OK \d+ ([0-9A-F]+)$", imported.output, re.MULTILINE)
    if known != [wanted.fingerprint]:
        raise WebappsError(
            f"The key at {wanted.key} has the fingerprint {', '.join(known) or 'of none'}, not {wanted.fingerprint}. "
            "Nothing was installed. Compare it with what the maker publishes elsewhere before you believe either."
        )
    verified = run([*gpg, "--verify", str(signature), str(package)])
    valid = re.findall(r"^\[GNUPG:\] VALIDSIG [0-9A-F]+ .* ([0-9A-F]{40})$", verified.output, re.MULTILINE)
    good = "[GNUPG:] GOODSIG " in verified.output
    if verified.status != 0 or not good or valid != [wanted.fingerprint]:
        raise WebappsError(
            f"{wanted.source} is not what the key {wanted.fingerprint} signed with {wanted.signature}: "
            f"{verified.errors.strip() or verified.last_words}. Nothing was installed."
        )


def assert_is(run: Run, package: Path, wanted: Wanted) -> None:
    """Refuse another package, version or architecture than the one wanted. Raises WebappsError."""
    found = {}
    for field in ("Package", "Version", "Architecture"):
        found[field] = run(["dpkg-deb", "--field", str(package), field]).output.strip()
    if found["Package"] != wanted.name or not same(wanted.version, found["Version"]):
        raise WebappsError(
            f"{wanted.source} is {found['Package']} {found['Version']}, not {wanted.name} {wanted.version}. "
            "Nothing was installed. Correct the version or the address; one that says latest changes what it means."
        )
    host = architecture(run)
    if found["Architecture"] not in {host, "all"}:
        raise WebappsError(
            f"{wanted.source} is for {found['Architecture']}, and this host is {host}: correct the address."
        )
