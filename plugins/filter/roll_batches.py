# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: the batches of a roll, and who leaves the balancer in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_plan import roll_batches
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

Result = Mapping[str, Any]


def batches(
    web: Mapping[str, Result], sizes: Sequence[object], targets: Mapping[str, Result], maintenance: bool = False
) -> list[dict[str, Any]]:
    """Raises AnsibleFilterError."""
    try:
        return roll_batches(web, sizes, targets, maintenance=maintenance)
    except WebappsError as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"roll_batches": batches}
