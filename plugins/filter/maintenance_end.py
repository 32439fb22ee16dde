# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: when a maintenance is expected to end, as people read it and as machines do."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.maintenance import expected_end


def maintenance_end(value: object) -> dict[str, str]:
    """The expected end. Raises AnsibleFilterError for what is no time."""
    try:
        return expected_end(value)
    except WebappsError as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[[object], dict[str, str]]]:
        return {"maintenance_end": maintenance_end}
