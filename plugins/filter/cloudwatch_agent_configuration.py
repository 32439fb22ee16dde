# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filters: the CloudWatch agent's configuration from a list of logs, and what keeps a list from being one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.carpentries.webapps.plugins.module_utils import cloudwatch_agent
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


def cloudwatch_agent_configuration(logs: Sequence[Mapping[str, Any]], **settings: Any) -> dict[str, Any]:
    """The agent's whole configuration."""
    try:
        return cloudwatch_agent.configuration(logs, **settings)
    except WebappsError as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"cloudwatch_agent_configuration": cloudwatch_agent_configuration}
