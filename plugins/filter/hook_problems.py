# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: what keeps the hooks of a deploy from being run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ansible_collections.carpentries.webapps.plugins.plugin_utils.deploy_hooks import problems


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[[object, Sequence[str]], list[str]]]:
        return {"hook_problems": problems}
