# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the certificate that certbot obtained to nginx, here and on the other hosts of the application.

certbot's deploy hook starts it after a renewal, and a timer now and then: it compares what is in place with what
certbot has, and sends what differs. So a host that was down, or a hook that was killed, is made up for by the next run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import certificates
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run, run_here
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

PATIENCE = 60
# Sends bytes to a program: the command, and what it reads.
Send = Callable[[Sequence[str], bytes], Finished]


@dataclass(frozen=True)
class Peer:
    """Another host of the application: its name for messages, and where its sshd answers."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Settings:
    """What the role certbot wrote down. ``lineage``: certbot's directory of the certificate."""

    lineage: Path
    place: certificates.Place
    peers: tuple[Peer, ...]
    user: str
    key: Path
    known_hosts: Path


def settings_from(text: str) -> Settings:
    read: dict[str, Any] = json.loads(text)
    return Settings(
        lineage=Path(read["lineage"]),
        place=certificates.Place(Path(read["bundle"]), tuple(read["names"])),
        peers=tuple(Peer(peer["name"], peer["address"], int(peer["port"])) for peer in read["peers"]),
        user=read["user"],
        key=Path(read["key"]),
        known_hosts=Path(read["known_hosts"]),
    )


def ssh(settings: Settings, peer: Peer, wish: str) -> list[str]:
    """The command that reaches a peer's forced command, and nobody else who answers at its address."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": peer.name,
        "HostKeyAlgorithms": "ssh-ed25519",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "ServerAliveInterval": "5",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(settings.known_hosts),
    }
    flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
    whom = ["-p", str(peer.port), "-l", settings.user, "-i", str(settings.key), peer.address]
    return ["ssh", "-F", "/dev/null", "-T", *flags, *whom, wish]


def _ask(send: Send, settings: Settings, peer: Peer, wish: str, body: bytes = b"") -> dict[str, Any]:
    done = send(ssh(settings, peer, wish), body)
    if done.status:
        raise WebappsError(f"{peer.name} ({peer.address}) did not do it ({wish}): {done.last_words}")
    try:
        answer: dict[str, Any] = json.loads(done.output)
    except ValueError as error:
        raise WebappsError(
            f"{peer.name} ({peer.address}) answered {wish} with {done.last_words}: run the role certbot there."
        ) from error
    return answer


def sync(run: Run, send: Send, settings: Settings, now: float) -> tuple[list[str], list[str]]:
    """Bring the certificate to this host and all peers; return whose was replaced, and what went wrong.

    One peer that cannot be reached keeps no other from its certificate. Raises WebappsError if it is broken here.
    """
    bundle = certificates.bundle_of(settings.lineage)
    changed, certificate = certificates.install(run, settings.place, bundle, now)
    replaced = ["this host"] if changed else []
    problems = []
    for peer in settings.peers:
        try:
            if _ask(send, settings, peer, "status")["fingerprint"] == certificate.fingerprint:
                continue
            if _ask(send, settings, peer, "install", bundle)["changed"]:
                replaced.append(peer.name)
        except WebappsError as error:
            problems.append(error.message)
    return replaced, problems


def newer(run: Run, send: Send, settings: Settings, issued: float) -> list[str]:
    """Who has a certificate that was issued later than ``issued``, and would refuse an older one; for people to read.

    A peer that does not say is left to `sync`, which names it.
    """
    here = certificates.current(run, settings.place)
    found = {"this host": here.not_before if here and not here.self_signed else None}
    for peer in settings.peers:
        try:
            found[peer.name] = _ask(send, settings, peer, "status").get("issued")
        except WebappsError:
            continue
    return [
        f"the one on {name} is of {certificates.stamp(seen)}, newer than certbot's of {certificates.stamp(issued)}"
        for name, seen in found.items()
        if seen is not None and seen > issued
    ]


def send_here(command: Sequence[str], body: bytes) -> Finished:
    try:
        done = subprocess.run(list(command), input=body, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return Finished(1, "", f"no answer within {PATIENCE} s")
    return Finished(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def main() -> int:
    """Run with the file of settings as the only argument; one line a host whose certificate was replaced."""
    settings = settings_from(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        replaced, problems = sync(run_here, send_here, settings, time.time())
    except WebappsError as error:
        print(error.message, file=sys.stderr)
        return 1
    for name in replaced:
        print(f"The certificate of {settings.place.names[0]} was replaced on {name}.")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0
