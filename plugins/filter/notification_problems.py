# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: what keeps the notifications of a deploy from being made."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_notification import problems


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[[object], list[str]]]:
        return {"notification_problems": problems}
