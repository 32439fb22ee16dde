# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a roll will take, from the target groups' own attributes, and which of them costs most.

Leaving takes until the host is quiet, at most the deregistration delay. Joining takes one health check of a target that
was healthy before, and the whole threshold of one that was not. Slow start is waited for by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

Group = Mapping[str, Any]
SIZE = re.compile(r"\s*(-?\d+)(\s*%)?\s*")
# What suits deploys: long enough for requests under way, short enough to wait for.
SHORT_DELAY, SHORT_INTERVAL, LOW_THRESHOLD = 30, 10, 2
# AWS's own names, as its console and API have them.
DELAY, INTERVAL, THRESHOLD = (
    "deregistration_delay.timeout_seconds",
    "HealthCheckIntervalSeconds",
    "HealthyThresholdCount",
)
# The step of a history that happens once a batch, without waiting for the balancer; all others happen once a deploy.
PUBLISH = "Publish"


@dataclass(frozen=True)
class Waiting:
    """How a batch waits. ``quiet_for``, ``quiet_timeout``: seconds without requests that it takes, and its patience."""

    groups: Sequence[Group]
    quiet_for: int
    quiet_timeout: int

    @property
    def leave_most(self) -> int:
        return min(self.quiet_timeout, max((group["deregistration_delay"] for group in self.groups), default=0))

    @property
    def leave_least(self) -> int:
        return min(self.quiet_for, self.leave_most)

    @property
    def join_most(self) -> int:
        return max((group["interval"] * group["healthy_threshold"] for group in self.groups), default=0)

    @property
    def join_least(self) -> int:
        return max((group["interval"] for group in self.groups), default=0)


def batches(hosts: Iterable[str], sizes: Sequence[object]) -> list[list[str]]:
    """The hosts in their order, as a play with `serial` takes them. Raises WebappsError for a size that is none."""
    left = list(hosts)
    total, rolled, number = len(left), list[list[str]](), 0
    while left:
        size = _size((list(sizes) or [-1])[min(number, max(len(sizes) - 1, 0))], total)
        size = size if size > 0 else total
        rolled.append(left[:size])
        left, number = left[size:], number + 1
    return rolled


def _size(size: object, total: int) -> int:
    found = SIZE.fullmatch(str(size))
    if not found:
        raise WebappsError(
            f'deploy_batches has "{size}": give numbers of hosts or percentages, for example [1, "50%"].'
        )
    return int(int(found[1]) / 100 * total) or 1 if found[2] else int(found[1])


def estimate(waiting: Waiting, leaving: int, joining: int) -> dict[str, Any]:
    """Seconds of a roll. ``leaving``, ``joining``: how many batches do."""
    least = leaving * waiting.leave_least + joining * waiting.join_least
    most = leaving * waiting.leave_most + joining * waiting.join_most
    return {
        "least": least,
        "most": most,
        "leave": [waiting.leave_least, waiting.leave_most],
        "join": [waiting.join_least, waiting.join_most],
        "slow_start": max((group.get("slow_start", 0) for group in waiting.groups), default=0),
        "costliest": costliest(waiting, leaving, joining),
    }


def costliest(waiting: Waiting, leaving: int, joining: int) -> dict[str, Any] | None:
    """The attribute that costs most, and what another value would save; None where none would save anything."""

    def saved(**changes: int) -> int:
        groups = [{**group, **{key: min(group[key], value) for key, value in changes.items()}} for group in groups_now]
        other = Waiting(groups, waiting.quiet_for, waiting.quiet_timeout)
        leave, join = waiting.leave_most - other.leave_most, waiting.join_most - other.join_most
        return leaving * leave + joining * join

    groups_now = list(waiting.groups)
    # AWS wants the interval above the timeout.
    interval = max([SHORT_INTERVAL, *(group["health_timeout"] + 1 for group in groups_now)])
    candidates = [
        (saved(deregistration_delay=SHORT_DELAY), DELAY, "deregistration_delay", SHORT_DELAY),
        (saved(interval=interval), INTERVAL, "interval", interval),
        (saved(healthy_threshold=LOW_THRESHOLD), THRESHOLD, "healthy_threshold", LOW_THRESHOLD),
    ]
    seconds, attribute, key, value = max(candidates, key=lambda candidate: candidate[0])
    if seconds <= 0:
        return None
    slow = [group for group in groups_now if group[key] > value]
    return {
        "attribute": attribute,
        "groups": [group["name"] for group in slow],
        "value": max(group[key] for group in slow),
        "better": value,
        "saves": seconds,
    }


def measured(history: Sequence[Mapping[str, Any]], published: int, skipped: Iterable[str] = ()) -> dict[str, float]:
    """The median of the seconds that each step of earlier deploys took.

    ``published``: how many batches would be. ``skipped``: steps that would not happen. Raises WebappsError for a
    history that cannot be read.
    """
    steps: dict[str, list[float]] = {}
    for entry in history:
        try:
            steps.setdefault(str(entry["step"]), []).append(float(entry["seconds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise WebappsError(
                f"plan_history has {entry!r}: give each entry a step and seconds, as in {{step: Build, seconds: 95}}."
            ) from error
    left_out = {step.casefold() for step in skipped}
    return {
        step: round(median(seconds) * (published if step == PUBLISH else 1), 1)
        for step, seconds in steps.items()
        if step.casefold() not in left_out
    }
