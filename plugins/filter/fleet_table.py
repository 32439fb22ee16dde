# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: what runs on the hosts of a fleet, as aligned lines of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.text_table import aligned


def row(host: str, running: Mapping[str, Any]) -> dict[str, object]:
    """One host of the table, from what module generation_info says of it."""
    programs = [program for program in running["programs"] if not program["retiring"]]
    return {
        "host": host,
        "release": running["repo"],
        "runs": [program["program"] for program in programs],
        "state": sorted({program["state"] for program in programs}),
        "retiring": [program["generation"] for program in running["programs"] if program["retiring"]],
    }


def fleet_table(fleet: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of the table, a host a line; ``fleet`` is the result of generation_info for each host."""
    return aligned([row(host, running) for host, running in sorted(fleet.items())])


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[[Mapping[str, Mapping[str, Any]]], list[str]]]:
        return {"fleet_table": fleet_table}
