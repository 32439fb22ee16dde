# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes hosts out of target groups and puts them back: looks, decides, acts, and waits until the balancer agrees.

Every step starts from what the balancer says now, so a call that was killed is repaired by calling again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import (
    DRAINING,
    HEALTHY,
    HOPELESS,
    NOT_REGISTERED,
    SLACK,
    Health,
    Key,
    Member,
    Target,
    check_in_use,
    check_known,
    check_ports,
    declared_members,
    explain,
    too_few,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups_api import TargetGroupsApi

# Seconds between two looks: the first soon, because leaving shows at once; then growing, to be gentle with the API.
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 1.0, 10.0, 1.5


@dataclass(frozen=True)
class Outcome:
    """What was found, done and reached. In check mode ``after`` is what the call would have reached."""

    members: list[Member]
    before: Mapping[Key, Health]
    after: Mapping[Key, Health]
    actions: Mapping[Key, str]
    waited: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return any(action in ("register", "deregister") for action in self.actions.values())


class LoadBalancer:
    """The target groups that hosts are members of.

    ``clock`` gives seconds that only grow, ``sleep`` waits for so many; ``timeout`` (seconds) replaces the deadline
    that follows from the groups' own attributes; in ``check_mode`` nothing is registered, deregistered or awaited.
    All methods raise WebappsError with what AWS says about every member.
    """

    def __init__(
        self,
        api: TargetGroupsApi,
        declared_groups: Sequence[str],
        targets: Sequence[Target],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        timeout: int | None = None,
        check_mode: bool = False,
        auto_scaling: str = "refuse",
    ) -> None:
        self.api = api
        self.targets = targets
        self.clock = clock
        self.sleep = sleep
        self.timeout = timeout
        self.check_mode = check_mode
        self.auto_scaling = auto_scaling
        self.groups = api.groups(declared_groups)
        self.members = declared_members(self.groups, targets)
        self.found = api.health(self.groups)
        check_ports(self.members, self.found)

    def observe(self, minimum_healthy: str) -> Outcome:
        """Refuse what leaving and joining would have to refuse later, and report health; changes nothing."""
        check_in_use(self.groups)
        self._refuse_auto_scaling()
        check_known(self.targets, self.groups, self.found)
        self.api.check_eligible([member for member in self.members if member.key not in self.found])
        before = self._of_members(self.found)
        # No refusal: other hosts may be healthy again by the time this one leaves.
        warnings = [f"As of now leaving would be refused: {text}" for text in self._too_few_each(minimum_healthy)]
        return Outcome(self.members, before, before, dict.fromkeys(before, "none"), warnings=warnings)

    def leave(self, minimum_healthy: str, wait_for: str) -> Outcome:
        """Deregister what is registered and wait until every member is out (``wait_for``: draining or unused)."""
        before = self._of_members(self.found)
        leaving = [member for member in self.members if not before[member.key].is_out]
        if leaving:
            self._refuse_auto_scaling()
        problems = too_few(self.members, self.found, minimum_healthy)
        if problems:
            raise WebappsError(
                f"Refused to leave: {'; '.join(problems)}. Bring the other hosts back first "
                "(any deploy or rollback does), or lower load_balancer_minimum_healthy."
            )
        actions = self._actions(before, leaving, "deregister", waits=lambda health: not self._is_out(health, wait_for))
        if self.check_mode:
            after = {member.key: DRAINING if member in leaving else before[member.key] for member in self.members}
            if wait_for == "unused":
                after = dict.fromkeys(after, NOT_REGISTERED)
            return Outcome(self.members, before, after, actions)
        self.api.deregister(leaving)
        delays = [group.deregistration_delay for group in self.groups if wait_for == "unused"]
        after, waited = self._wait(
            f"to be {wait_for}",
            lambda health: self._is_out(health, wait_for),
            lambda health: False,
            max(delays, default=0) + SLACK,
            "Look whether something else registers it (Auto Scaling, another deploy), and run again to finish.",
        )
        return Outcome(self.members, before, after, actions, waited)

    def join(self) -> Outcome:
        """Register what is not, or no longer, and wait until every member is healthy, whatever it was before."""
        check_in_use(self.groups)
        before = self._of_members(self.found)
        joining = [member for member in self.members if before[member.key].is_out]
        actions = self._actions(before, joining, "register", waits=lambda health: health.state != "healthy")
        if self.check_mode:
            self.api.check_eligible(joining)
            self._refuse_hopeless([member for member in self.members if before[member.key].is_hopeless], before, 0)
            return Outcome(self.members, before, dict.fromkeys(before, HEALTHY), actions)
        self.api.register(joining)
        after, waited = self._wait(
            "to be healthy",
            lambda health: health.state == "healthy",
            lambda health: health.is_hopeless,
            max((group.joining_deadline for group in self.groups), default=0),
            "Ask the host for the group's health path over the target's port, as the balancer does; "
            "the answer and the host's logs say why.",
        )
        return Outcome(self.members, before, after, actions, waited)

    def _wait(
        self,
        goal: str,
        reached: Callable[[Health], bool],
        hopeless: Callable[[Health], bool],
        deadline: int,
        remedy: str,
    ) -> tuple[dict[Key, Health], float]:
        """Look until all have ``reached`` their goal at the same time; fail when one is ``hopeless`` or late."""
        allowed = self.timeout if self.timeout is not None else deadline
        start, pause = self.clock(), FIRST_PAUSE
        while True:
            now = self._of_members(self.api.health(self.groups))
            waited = self.clock() - start
            left = [member for member in self.members if not reached(now[member.key])]
            if not left:
                return now, waited
            self._refuse_hopeless([member for member in left if hopeless(now[member.key])], now, waited)
            if waited >= allowed:
                origin = "" if self.timeout is None else ", by load_balancer_timeout"
                raise self._failure(
                    f"{explain(left, now)} after {waited:.0f} s of waiting for it {goal} "
                    f"(allowed are {allowed} s{origin}). {remedy}",
                    now,
                    waited,
                )
            self.sleep(min(pause, allowed - waited))
            pause = min(pause * GROWTH, LONGEST_PAUSE)

    def _refuse_hopeless(self, lost: Sequence[Member], now: Mapping[Key, Health], waited: float) -> None:
        if lost:
            remedies = dict.fromkeys(HOPELESS[now[member.key].reason] for member in lost)
            raise self._failure(f"{explain(lost, now)}, which no waiting changes: {'; '.join(remedies)}.", now, waited)

    def _failure(self, message: str, now: Mapping[Key, Health], waited: float) -> WebappsError:
        outcome = Outcome(self.members, self._of_members(self.found), now, dict.fromkeys(now, "none"))
        return WebappsError(message, targets=describe(outcome), waited=round(waited, 1))

    def _of_members(self, found: Mapping[Key, Health]) -> dict[Key, Health]:
        return {member.key: found.get(member.key, NOT_REGISTERED) for member in self.members}

    def _actions(
        self, before: Mapping[Key, Health], acting: Sequence[Member], verb: str, waits: Callable[[Health], bool]
    ) -> dict[Key, str]:
        acted = {member.key for member in acting}
        return {key: verb if key in acted else "wait" if waits(health) else "none" for key, health in before.items()}

    def _too_few_each(self, minimum_healthy: str) -> list[str]:
        ids = dict.fromkeys(member.host for member in self.members)
        return [
            text
            for host in ids
            for text in too_few([member for member in self.members if member.host == host], self.found, minimum_healthy)
        ]

    def _refuse_auto_scaling(self) -> None:
        ids = [target.instance_id for target in self.targets if target.instance_id]
        if self.auto_scaling != "refuse" or not ids or not self.groups:
            return
        managed = self.api.auto_scaling_groups(list(dict.fromkeys(ids)))
        if managed:
            members = ", ".join(f"{instance} (group {group})" for instance, group in managed.items())
            raise WebappsError(
                f"Auto Scaling manages {members}: it would replace a host that leaves its target groups, and start "
                "others with old code. Detach the instance (aws autoscaling detach-instances), or set "
                "load_balancer_auto_scaling: ignore when the group's processes are suspended while you deploy."
            )

    @staticmethod
    def _is_out(health: Health, wait_for: str) -> bool:
        return health.is_out if wait_for == "draining" else health.reason == NOT_REGISTERED.reason


def describe(outcome: Outcome) -> list[dict[str, object]]:
    """The outcome per member, as the module returns it."""
    return [
        {
            "host": member.host,
            "target_group": member.group.name,
            "id": member.id,
            "port": member.port,
            "before": _health(outcome.before[member.key]),
            "after": _health(outcome.after[member.key]),
            "action": outcome.actions[member.key],
        }
        for member in outcome.members
    ]


def diff(outcome: Outcome) -> dict[str, dict[str, str]]:
    """States before and after, by member, for ``--diff``; nobody's health counts as long as nothing was done."""
    after = outcome.after if outcome.changed else outcome.before
    return {
        "before": {str(member): outcome.before[member.key].state for member in outcome.members},
        "after": {str(member): after[member.key].state for member in outcome.members},
    }


def _health(health: Health) -> dict[str, str]:
    return {"state": health.state, "reason": health.reason, "description": health.description}
