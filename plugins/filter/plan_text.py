# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: a plan as people read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_plan_text import plan_text


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[[Mapping[str, Any]], list[str]]]:
        return {"plan_text": plan_text}
