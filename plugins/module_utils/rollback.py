# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release, with which environments, a whole fleet goes back to, from what each of its hosts has had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.ledger import BAD, GOOD, LIVE

# What a host has served with success, or still does.
SERVED = (LIVE, GOOD)
STAGE_IT = "deploy it by its version instead (playbooks/deploy.yml), which brings it to every host"


@dataclass(frozen=True)
class Release:
    """A release as one host's ledger has it: ``state`` is one of the ledger's.

    ``environment``: what it last served with there, None where that was not recorded.
    """

    id: str
    state: str
    version: str
    environment: str | None = None


@dataclass(frozen=True)
class Host:
    """What a host has: the release and the environment that serve there, and its ledger's releases, the latest event
    last.
    """

    live: str | None
    releases: Sequence[Release]
    environment: str | None = None

    def state(self, release: str) -> str | None:
        """What its ledger says of a release, None for one that it does not have."""
        return next((each.state for each in self.releases if each.id == release), None)

    def served_with(self, release: str) -> str | None:
        """The environment that a release serves with, or last did."""
        recorded = next((each.environment for each in self.releases if each.id == release), None)
        return self.environment if release == self.live else recorded or self.environment

    def __str__(self) -> str:
        known = ", ".join(f"{release.id} {release.state}" for release in self.releases) or "no release"
        return f"{known}, and serves {self.live or 'none'}"


Fleet = Mapping[str, Host]


@dataclass(frozen=True)
class Generation:
    """What hosts serve, or served: a release, and on each of them an environment."""

    id: str
    version: str
    environments: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "hosts": sorted(self.environments)}


def fleet_of(listed: Mapping[str, Mapping[str, Any]]) -> Fleet:
    """The hosts as module release lists their releases."""
    return {
        name: Host(
            found["live"],
            [Release(each["id"], each["state"], each["version"], each["environment"]) for each in found["releases"]],
            found["environment"],
        )
        for name, found in listed.items()
    }


def generation_before(fleet: Fleet) -> Generation | None:
    """What the hosts serve that serve anything; of several releases the one that all of them know as good, if any."""
    serving = {name: host for name, host in fleet.items() if host.live}
    live = {host.live for host in serving.values()}
    if not live:
        return None
    served = [release for release in _everywhere_good(serving) if release.id in live]
    if len(live) == 1 and not served:
        # The ledger does not call it good; it serves all the same.
        served = [Release(str(next(iter(live))), LIVE, str(next(iter(live))))]
    return _generation(serving, served[0]) if served else None


def generation_to_return_to(fleet: Fleet, wanted: str = "") -> Generation:
    """What a fleet goes back to when it is told to, see rollback_target. Raises WebappsError."""
    return _generation(fleet, rollback_target(fleet, wanted))


def _generation(fleet: Fleet, release: Release) -> Generation:
    environments = {name: host.served_with(release.id) or "" for name, host in fleet.items()}
    return Generation(release.id, release.version, environments)


def rollback_target(fleet: Fleet, wanted: str = "") -> Release:
    """The release that every host can go back to.

    ``wanted``: a release's id or version; without it the last that served well on every host, before what serves now.
    On a fleet that a roll left on two releases it is the one of them that all hosts know as good. Raises WebappsError
    when there is none.
    """
    if not fleet:
        raise WebappsError("There is no host to roll back: check the inventory with `ansible-inventory --graph`.")
    return _named(fleet, wanted) if wanted else _last_good(fleet)


def _named(fleet: Fleet, wanted: str) -> Release:
    found = {
        release.id: release
        for host in fleet.values()
        for release in host.releases
        if wanted in (release.id, release.version)
    }
    if not found:
        raise WebappsError(
            f'rollback_release is "{wanted}", and no host has a release of that id or version. '
            f"{_offer(fleet)} Name one of those, or {STAGE_IT}."
        )
    if len(found) > 1:
        raise WebappsError(
            f'rollback_release is "{wanted}", which {len(found)} releases are called: {", ".join(sorted(found))}. '
            "Name one of them by its id."
        )
    release = next(iter(found.values()))
    if missing := sorted(name for name, host in fleet.items() if host.state(release.id) is None):
        raise WebappsError(
            f"The release {release.id} ({release.version}) is not on {', '.join(missing)}. {_offer(fleet)} "
            f"Name one of those, or {STAGE_IT}."
        )
    if bad := sorted(name for name, host in fleet.items() if host.state(release.id) == BAD):
        raise WebappsError(
            f"The release {release.id} ({release.version}) was found bad on {', '.join(bad)}. {_offer(fleet)} "
            "Name one of those; to try the bad one again, deploy it by its version."
        )
    return release


def _last_good(fleet: Fleet) -> Release:
    serving = {host.live for host in fleet.values()}
    candidates = _everywhere_good(fleet)
    # Hosts that serve different releases were left by a roll: what some serve and all know as good is the way back.
    known = [release for release in candidates if (release.id in serving) == (len(serving) > 1)]
    if not candidates or not (known or len(serving) > 1):
        had = "; ".join(f"{name} has {host}" for name, host in sorted(fleet.items()))
        raise WebappsError(
            "There is no release to go back to: none but what serves now has served well on every host and is still "
            f"there. {had}. To have one on every host, {STAGE_IT}."
        )
    return (known or candidates)[0]


def _everywhere_good(fleet: Fleet) -> list[Release]:
    """Releases that have served on every host and were found bad on none, the one published last first."""
    return [
        release
        for release in reversed(fleet[min(fleet)].releases)
        if all(host.state(release.id) in SERVED for host in fleet.values())
    ]


def _offer(fleet: Fleet) -> str:
    names = [f"{release.id} ({release.version})" for release in _everywhere_good(fleet)]
    return f"Every host has had {', '.join(names)}." if names else "No release has served on every host."
