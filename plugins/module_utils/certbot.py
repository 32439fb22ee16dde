# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether certbot has the certificate that is wanted, on the terms that are wanted, and the call that obtains it.

Renewals are certbot's own: it keeps the terms of the last issue and its timer follows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils import certificates
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import NOT_FOUND, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

PROFILES_SINCE = (4, 0)


@dataclass(frozen=True)
class Wanted:
    """The certificate and the terms of its issue. ``webroot`` is for the authenticator of that name."""

    names: tuple[str, ...]
    server: str
    authenticator: str
    webroot: str
    key_type: str
    reuse_key: bool
    profile: str
    email: str

    @property
    def name(self) -> str:
        """How certbot calls it, whatever further names come and go."""
        return self.names[0]


def terms(renewal: str) -> dict[str, str]:
    """What certbot noted for the renewal of a certificate: ``key = value``, in sections or not."""
    return dict(re.findall(r"^([a-z_0-9]+) *= *(.*?),? *$", renewal, re.MULTILINE))


def differences(wanted: Wanted, noted: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    """What differs between the certificate that is there and the one that is wanted, for people to read."""
    found = {
        "names": (" ".join(sorted(names)), " ".join(sorted(wanted.names))),
        "server": (noted.get("server", ""), wanted.server),
        "authenticator": (noted.get("authenticator", ""), wanted.authenticator),
        "webroot": (noted.get("webroot_path", ""), wanted.webroot),
        "key type": (noted.get("key_type", ""), wanted.key_type),
        "reuse of the key": (noted.get("reuse_key", "False"), str(wanted.reuse_key)),
        "profile": (noted.get("preferred_profile", ""), wanted.profile),
    }
    if wanted.authenticator != "webroot":
        del found["webroot"]
    return [
        f"{what}: {before or 'none'} -> {after or 'none'}" for what, (before, after) in found.items() if before != after
    ]


def reasons(run: Run, wanted: Wanted, directory: Path, newer: Callable[[float], list[str]]) -> list[str]:
    """Why a certificate must be obtained now; nothing when certbot has it. ``directory``: /etc/letsencrypt.

    ``newer``: which hosts have one that was issued after this time, as after another host has been the issuer.
    """
    renewal = directory / f"renewal/{wanted.name}.conf"
    chain = directory / f"live/{wanted.name}/fullchain.pem"
    if not (renewal.exists() and chain.exists()):
        return ["certbot has none"]
    seen = certificates.read(run, chain)
    return differences(wanted, terms(renewal.read_text()), seen.names) or newer(seen.not_before)


def command(wanted: Wanted, why: list[str]) -> list[str]:
    """The call of certbot that obtains the certificate, with nothing to ask anybody."""
    call = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--no-eff-email", "--cert-name", wanted.name]
    call += ["--email", wanted.email] if wanted.email else ["--register-unsafely-without-email"]
    call += ["--server", wanted.server, "--key-type", wanted.key_type]
    call += ["--webroot", "--webroot-path", wanted.webroot] if wanted.authenticator == "webroot" else []
    call += ["--dns-route53"] if wanted.authenticator == "dns-route53" else []
    call += ["--reuse-key"] if wanted.reuse_key else ["--no-reuse-key"]
    call += ["--preferred-profile", wanted.profile] if wanted.profile else []
    if why != ["certbot has none"]:
        call += ["--force-renewal", "--renew-with-new-domains"]
    if any(reason.startswith("key type") for reason in why):
        call += ["--new-key"]
    return call + [flag for name in wanted.names for flag in ("--domain", name)]


def version(run: Run) -> tuple[int, int]:
    """certbot's major and minor number. Raises WebappsError where there is none."""
    done = run(["certbot", "--version"])
    found = re.search(r"certbot (\d+)\.(\d+)", done.output + done.errors)
    if done.status == NOT_FOUND or not found:
        raise WebappsError(f"certbot does not say its version: {done.last_words}. Install the package certbot.")
    return int(found[1]), int(found[2])


def obtain(run: Run, wanted: Wanted, why: list[str], environment: Mapping[str, str]) -> None:
    """Have certbot obtain the certificate. Raises WebappsError with its own words when it does not."""
    known = version(run)
    if wanted.profile and known < PROFILES_SINCE:
        raise WebappsError(
            f'The profile "{wanted.profile}" takes certbot 4.0, and this host has {known[0]}.{known[1]}: '
            'leave certbot_profile "", or use Debian 13.'
        )
    done = run(command(wanted, why), environment=environment)
    if done.status:
        remedy = (
            f"Each of {', '.join(wanted.names)} must resolve to this application's hosts or its balancer, with port 80 "
            "open to the world; behind a balancer a host must be in service first"
            if wanted.authenticator == "webroot"
            else "The instance's role needs the policy in the README of the role certbot"
        )
        raise WebappsError(
            f"certbot obtained no certificate for {', '.join(wanted.names)} from {wanted.server}: {done.last_words}\n"
            f"{remedy}. Its log is /var/log/letsencrypt/letsencrypt.log. Try with the staging server until it works: "
            "Let's Encrypt allows 5 failures an hour."
        )
