# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: the state of a fleet as one document, from what was seen on its hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.fleet_status import Limits, Seen, document


def status_document(
    fleet: Mapping[str, Seen],
    hosts: Mapping[str, Sequence[str]],
    now: str,
    pools: Mapping[str, Seen] | None = None,
    lock: Seen | None = None,
    history: Sequence[Seen] = (),
    certificate_days: int = Limits.certificate_days,
    disk_percent: int = Limits.disk_percent,
    dump_days: int = Limits.dump_days,
) -> dict[str, Any]:
    """Judge what was seen; see module_utils.fleet_status."""
    limits = Limits(certificate_days, disk_percent, dump_days)
    return document(fleet, hosts, pools or {}, now, limits=limits, lock=lock or {}, history=history)


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"status_document": status_document}
