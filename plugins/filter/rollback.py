# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filters: where a fleet goes back to, and what is said when a roll has failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.failure_report import (
    Roll,
    failure_report,
    left_behind,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.rollback import (
    Generation,
    fleet_of,
    generation_before,
    generation_to_return_to,
)

Result = Mapping[str, Any]
Listed = Mapping[str, Result]


def release_before(fleet: Listed, release: str, environments: Mapping[str, str]) -> dict[str, Any]:
    """What a fleet served before a roll, {} where that is nothing else."""
    found = generation_before(fleet_of(fleet))
    same = found is not None and (found.id, found.environments) == (release, _of(environments, found))
    return {} if found is None or same else found.document()


def _of(environments: Mapping[str, str], found: Generation) -> dict[str, str]:
    return {host: digest for host, digest in environments.items() if host in found.environments}


def rollback_target(fleet: Listed, wanted: str = "") -> dict[str, Any]:
    """What a fleet goes back to when it is told to; `refusal` says why there is nothing, "" where there is."""
    try:
        return {**generation_to_return_to(fleet_of(fleet), wanted).document(), "refusal": ""}
    except WebappsError as error:
        return {"refusal": error.message}


def roll_failure(states: Iterable[Result], release: str, ending: str, target: Result, migrated: Result) -> str:
    """The message that ends a roll that failed."""
    return failure_report(states, Roll(release, ending, target, migrated))


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "release_before": release_before,
            "rollback_target": rollback_target,
            "roll_failure": roll_failure,
            "left_behind": left_behind,
        }
