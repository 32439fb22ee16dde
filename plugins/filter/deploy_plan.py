# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: what a deploy would do, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.carpentries.webapps.plugins.module_utils import deploy_plan as logic
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


def deploy_plan(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Raises AnsibleFilterError."""
    try:
        return logic.deploy_plan(seen)
    except WebappsError as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        return {"deploy_plan": deploy_plan}
