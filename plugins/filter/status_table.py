# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: the state of a fleet as lines of text."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.carpentries.webapps.plugins.module_utils.fleet_status import lines


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"status_table": lines}
