# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether batches can leave at all, whatever the balancer says later: settled before a deploy changes anything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import (
    Health,
    Key,
    Member,
    minimum_of,
)


def largest_batch(batches: Sequence[str], hosts: int) -> int:
    """How many of the hosts leave together at most, when they roll in batches as Ansible's ``serial`` counts them.

    Numbers, or percentages of all hosts rounded down, at least one; the last is repeated. No batches: nobody leaves.
    """
    sizes: list[int] = []
    left = hosts if batches else 0
    while left > 0:
        size = _size(batches[min(len(sizes), len(batches) - 1)], hosts)
        sizes.append(min(size if size > 0 else left, left))
        left -= sizes[-1]
    return max(sizes, default=0)


def _size(batch: str, hosts: int) -> int:
    match = re.fullmatch(r"(\d+)(?:\.\d+)?(%?)", batch.strip())
    if match is None:
        raise WebappsError(
            f'deploy_batches has "{batch}": give numbers of hosts, for example 1, '
            'or percentages of them, for example "50%".'
        )
    return (int(match[1]) * hosts // 100 or 1) if match[2] else int(match[1])


def never_enough(
    members: Sequence[Member], found: Mapping[Key, Health], rule: str, together: int, hosts: int
) -> list[str]:
    """Why ``together`` hosts could not leave even if all were healthy: a sentence per group.

    ``hosts``: how many the fleet has; those that are out at the moment will be members by then. A host that does not
    serve may always leave.
    """
    problems = []
    for group in {member.group.arn: member.group for member in members if together}.values():
        mine = {member.key for member in members if member.group == group}
        if not any(found[key].state == "healthy" for key in mine & found.keys()):
            continue
        registered = {key.id for key, health in found.items() if key.group_arn == group.arn and not health.is_out}
        total = max(len(registered), hosts)
        minimum = minimum_of(rule, total)
        if total - together < minimum:
            problems.append(
                f"{group.name} would keep {max(total - together, 0)} of {total} hosts, were all healthy, when "
                f"{together} "
                f"leave together, and load_balancer_minimum_healthy is {rule}"
                + (f" ({minimum})" if "%" in rule else "")
            )
    return problems
