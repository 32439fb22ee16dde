# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the Redis that the inventory describes will let in the programs that run now, with the addresses they have.

They keep serving after Redis was configured, and release 0 has their environment: Redis may not ask more of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import Problem
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_client import Address, parse_url

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
DEFAULT = frozenset({"", "default"})
SCHEMES = ("redis://", "rediss://")
# The addresses that a name has on this host.
Resolve = Callable[[str], Collection[str]]


@dataclass(frozen=True)
class Planned:
    """Redis as its role will leave it. ``here``: whether it is this host's. ``names``: what other hosts call its host.

    ``bind``: where it answers besides loopback. ``digests``: SHA-256 of the passwords of ``user``, none if it asks for
    none. ``default_user``: whether these open the default user too. ``without_password``: whether that one needs none.
    """

    here: bool
    names: Collection[str]
    bind: Collection[str]
    port: int
    user: str
    digests: Collection[str]
    default_user: bool
    without_password: bool

    @property
    def open(self) -> bool:
        return self.without_password or not self.digests


def addresses(variables: Mapping[str, str]) -> dict[str, Address]:
    """The Redises that an environment names, by variable."""
    found = {}
    for name, value in sorted(variables.items()):
        if value.startswith(SCHEMES):
            try:
                found[name] = parse_url(value)
            except WebappsError:
                continue
    return found


def problems(
    planned: Planned, variables: Mapping[str, str], resolve: Resolve, open_today: Callable[[], bool]
) -> list[Problem]:
    """What would lock programs out. ``open_today``: whether this host's Redis asks nobody for a password now."""
    named = addresses(variables)
    found = []
    for name, address in named.items():
        places = {address.host, *resolve(address.host)}
        if address.port == planned.port and _is_meant(planned, places, resolve):
            why, remedy = _refusal(planned, address, places)
            if why:
                found.append(Problem(f"{name} of the programs is {address} {_whom(address)}, and {why}.", remedy))
    if not named and planned.here and not planned.open and open_today():
        found.append(
            Problem(
                "no variable of the programs names a Redis, and this host's lets everybody in without a password: they "
                "may use it by a default of their own, and redis_password would lock them out.",
                _without_password(loopback=True),
            )
        )
    return found


def _is_meant(planned: Planned, places: Collection[str], resolve: Resolve) -> bool:
    known = {place for name in (*planned.names, *planned.bind) for place in (name, *resolve(name))}
    return bool(set(places) & (known - LOOPBACK) or (planned.here and LOOPBACK & set(places)))


def _whom(address: Address) -> str:
    if not address.password:
        return "without a password"
    return f"with the password of {'the default user' if address.user in DEFAULT else address.user}"


def _refusal(planned: Planned, address: Address, places: Collection[str]) -> tuple[str, str]:
    """Why Redis will refuse a program, and what to do; "" where it will not."""
    loopback = planned.here and bool(LOOPBACK & set(places))
    if not loopback and not set(places) & set(planned.bind):
        return (
            f"Redis will answer at {', '.join(['127.0.0.1', *planned.bind])} only",
            "redis_mode: shared, with that address in redis_bind.",
        )
    if not address.password:
        if planned.open:
            return "", ""
        return "redis_password would lock them out", _without_password(loopback=loopback)
    digest = hashlib.sha256(address.password.encode()).hexdigest()
    if address.user == "default" and planned.open:
        return "", ""
    opens = planned.default_user and not planned.open if address.user in DEFAULT else address.user == planned.user
    if opens and digest in planned.digests:
        return "", ""
    return "that opens nothing any more", (
        "that password as redis_password or in redis_former_passwords, and redis_default_user: true for programs that "
        "log in without a user's name; without redis_without_password, as long as programs give a password."
    )


def _without_password(*, loopback: bool) -> str:
    if loopback:
        return (
            "redis_mode: local, redis_bind: [] and redis_without_password: true in the inventory, until a deploy has "
            'given the programs the password; "Moving in" in the README has the steps.'
        )
    return (
        "programs that log in: give today's Redis a password and the programs its URL, then set it as redis_password "
        "with redis_default_user: true. Nobody reaches it over the network without one."
    )
