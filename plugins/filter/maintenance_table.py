# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: which hosts show the maintenance page, as aligned lines of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.text_table import aligned


def row(host: str, seen: Mapping[str, Any]) -> dict[str, object]:
    """One host of the table, from what module maintenance_info says of it."""
    return {
        "host": host,
        "maintenance": "on" if seen["active"] else "off",
        "shown by": seen["shown_by"],
        "users get": _users_get(seen),
        "balancer gets": seen["health"] or "no answer",
    }


def _users_get(seen: Mapping[str, Any]) -> str:
    if seen["status"] is None:
        return "no answer"
    return f"the page, {seen['status']}" if seen["page"] else str(seen["status"])


def maintenance_table(fleet: Mapping[str, Mapping[str, Any]], admitted: Sequence[str] = ()) -> list[str]:
    """The lines of the table, a host a line. ``admitted``: the networks that get the site whatever is shown."""
    lines = aligned([row(host, seen) for host, seen in sorted(fleet.items())])
    if admitted and any(seen["active"] for seen in fleet.values()):
        lines.append(f"{', '.join(admitted)} get the site nevertheless (maintenance_allowed_cidrs).")
    return lines


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"maintenance_table": maintenance_table}
