# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes hosts out of target groups and puts them back: looks, decides, acts, and waits until the balancer agrees.

Every step starts from what the balancer says now, so a call that was killed is repaired by calling again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ansible_collections.carpentries.webapps.plugins.module_utils.auto_scaling import AutoScaling, Step
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_rights import Rights
from ansible_collections.carpentries.webapps.plugins.module_utils.capacity import largest_batch, never_enough
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

# What leaving and joining need, of target groups and of Auto Scaling groups.
MEMBERSHIP = ("elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets")
STANDBY_RIGHTS = ("autoscaling:EnterStandby", "autoscaling:ExitStandby")


@dataclass(frozen=True)
class Outcome:
    """What was found, done and reached. In check mode ``after`` is what the call would have reached."""

    members: list[Member]
    before: Mapping[Key, Health]
    after: Mapping[Key, Health]
    actions: Mapping[Key, str]
    waited: float = 0.0
    warnings: list[str] = field(default_factory=list)
    scaling: list[Step] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return any(action in ("register", "deregister") for action in self.actions.values()) or any(
            step.action in ("enter_standby", "exit_standby") for step in self.scaling
        )


class LoadBalancer:
    """The target groups that hosts are members of.

    ``scaling`` is asked about the same targets.
    ``clock`` gives seconds that only grow, ``sleep`` waits for so many; ``timeout`` (seconds) replaces the deadline
    that follows from the groups' own attributes; in ``check_mode`` nothing is registered, deregistered or awaited.
    ``expected_healthy`` are taken to be healthy, whatever the balancer says: for a look ahead.
    All methods raise WebappsError with what AWS says about every member.
    """

    def __init__(
        self,
        api: TargetGroupsApi,
        declared_groups: Sequence[str],
        targets: Sequence[Target],
        scaling: AutoScaling,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        timeout: int | None = None,
        check_mode: bool = False,
        expected_healthy: Sequence[Target] = (),
    ) -> None:
        self.api = api
        self.targets = targets
        self.scaling = scaling
        self.clock = clock
        self.sleep = sleep
        self.timeout = timeout
        self.check_mode = check_mode
        self.groups = api.groups(declared_groups)
        self.members = declared_members(self.groups, targets)
        self.found = api.health(self.groups)
        check_ports(self.members, self.found)
        by_then = declared_members(self.groups, expected_healthy)
        self.found = {**self.found, **{member.key: HEALTHY for member in by_then}}

    def observe(
        self, minimum_healthy: str, batches: Sequence[str] = (), hosts: int = 0, rights: Rights | None = None
    ) -> Outcome:
        """Refuse what leaving and joining would have to refuse later, and report health; changes nothing.

        ``batches``: how the fleet's ``hosts`` would leave, as Ansible's serial; empty if none leaves.
        ``rights`` tells of those that leaving and joining need, and looking does not.
        """
        check_in_use(self.groups)
        together = largest_batch(batches, hosts)
        self._refuse_too_large(minimum_healthy, together, hosts)
        scaling_groups: list[str] = []
        if self.groups:
            self.scaling.refuse()
            scaling_groups = self.scaling.check(together)
        check_known(self.targets, self.groups, self.found)
        self.api.check_eligible([member for member in self.members if member.key not in self.found])
        if rights is not None:
            rights.check([(MEMBERSHIP, [group.arn for group in self.groups]), (STANDBY_RIGHTS, scaling_groups)])
        before = self._of_members(self.found)
        # No refusal: other hosts may be healthy again by the time this one leaves.
        warnings = [f"As of now leaving would be refused: {text}" for text in self._too_few_each(minimum_healthy)]
        return Outcome(self.members, before, before, dict.fromkeys(before, "none"), warnings=warnings)

    def leave(self, minimum_healthy: str, wait_for: str, too_few_left: str = "refuse") -> Outcome:
        """Deregister what is registered and wait until every member is out (``wait_for``: draining or unused).

        ``too_few_left``: "stay" goes on with a warning, whatever keeps them from leaving.
        """
        try:
            return self._leave(minimum_healthy, wait_for, too_few_left)
        except WebappsError as error:
            if too_few_left != "stay":
                raise
            return self._stayed(error.message)

    def _stayed(self, reason: str) -> Outcome:
        """What there is after leaving failed, possibly after some had left."""
        before = after = self._of_members(self.found)
        with suppress(WebappsError):
            after = self._of_members(self.api.health(self.groups))
        left = {key for key, health in after.items() if health.is_out and not before[key].is_out}
        actions = {key: "deregister" if key in left else "none" for key in before}
        what = "Leaving failed midway" if left else "Nobody left"
        return Outcome(self.members, before, after, actions, warnings=[f"{what}: {reason}"])

    def _leave(self, minimum_healthy: str, wait_for: str, too_few_left: str) -> Outcome:
        before = self._of_members(self.found)
        leaving = [member for member in self.members if not before[member.key].is_out]
        if leaving:
            self.scaling.refuse()
        problems = too_few(self.members, self.found, minimum_healthy)
        if problems and too_few_left == "stay":
            warnings = [f"Nobody left: {text}" for text in problems]
            return Outcome(self.members, before, before, dict.fromkeys(before, "none"), warnings=warnings)
        if problems:
            raise WebappsError(
                f"Refused to leave: {'; '.join(problems)}. Bring the other hosts back first "
                "(any deploy or rollback does), or lower load_balancer_minimum_healthy."
            )
        # First: until it is in standby, Auto Scaling may take a host without target groups for one that is broken.
        steps = self.scaling.enter() if self.groups else []
        actions = self._actions(before, leaving, "deregister", waits=lambda health: not self._is_out(health, wait_for))
        if self.check_mode:
            after = {member.key: DRAINING if member in leaving else before[member.key] for member in self.members}
            if wait_for == "unused":
                after = dict.fromkeys(after, NOT_REGISTERED)
            return Outcome(self.members, before, after, actions, scaling=steps)
        self.api.deregister(leaving)
        delays = [group.deregistration_delay for group in self.groups if wait_for == "unused"]
        after, waited = self._wait(
            f"to be {wait_for}",
            lambda health: self._is_out(health, wait_for),
            lambda health: False,
            max(delays, default=0) + SLACK,
            "Look whether something else registers it (Auto Scaling, another deploy), and run again to finish.",
        )
        return Outcome(self.members, before, after, actions, waited, scaling=steps)

    def join(self) -> Outcome:
        """Register what is not, or no longer, and wait until every member is healthy, whatever it was before."""
        check_in_use(self.groups)
        before = self._of_members(self.found)
        delays = [group.deregistration_delay for group in self.groups]
        steps, refused = self.scaling.leave_standby(max(delays)) if delays else ([], "")
        # Auto Scaling may have taken out meanwhile who was in at first.
        now = self._of_members(self.api.health(self.groups)) if steps and not self.check_mode else before
        joining = [member for member in self.members if before[member.key].is_out or now[member.key].is_out]
        actions = self._actions(before, joining, "register", waits=lambda health: health.state != "healthy")
        if self.check_mode:
            self.api.check_eligible(joining)
            self._refuse_hopeless([member for member in self.members if before[member.key].is_hopeless], before, 0)
            return Outcome(self.members, before, dict.fromkeys(before, HEALTHY), actions, scaling=steps)
        self.api.register(joining)
        after, waited = self._wait(
            "to be healthy",
            lambda health: health.state == "healthy",
            lambda health: health.is_hopeless,
            max((group.joining_deadline for group in self.groups), default=0),
            "Ask the host for the group's health path over the target's port, as the balancer does; "
            "the answer and the host's logs say why.",
        )
        if refused:
            raise self._failure(f"The target groups have the hosts, healthy. But {refused}", after, waited)
        return Outcome(self.members, before, after, actions, waited, scaling=steps)

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

    def _refuse_too_large(self, minimum_healthy: str, together: int, hosts: int) -> None:
        problems = never_enough(self.members, self.found, minimum_healthy, together, hosts)
        if problems:
            raise WebappsError(
                f"No batch could leave: {'; '.join(problems)}. Let fewer hosts leave together (deploy_batches), "
                "add hosts, or lower load_balancer_minimum_healthy. A server that serves alone is published "
                "without leaving: "
                "load_balancer_target_groups: []."
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


def registrations(
    api: TargetGroupsApi, declared_groups: Sequence[str], targets: Sequence[Target]
) -> list[dict[str, object]]:
    """What the balancer says of every registration of the targets, also on ports that nobody declared.

    A target that a group does not have is told as unused. Asks and changes nothing, and refuses only groups that do not
    exist and targets that no group could know.
    """
    groups = api.groups(declared_groups)
    found = api.health(groups)
    told = []
    for group in groups:
        for target in targets:
            id_ = target.id_in(group)
            here = {key: health for key, health in found.items() if (key.group_arn, key.id) == (group.arn, id_)}
            for key, health in (here or {Key(group.arn, id_, target.port_in(group)): NOT_REGISTERED}).items():
                told.append(
                    {"host": target.label, "target_group": group.name, "id": id_, "port": key.port, **_health(health)}
                )
    return told


def strangers(
    api: TargetGroupsApi, declared_groups: Sequence[str], targets: Sequence[Target]
) -> list[dict[str, object]]:
    """Registrations of the groups that serve, or may soon, and are none of the targets'."""
    groups = api.groups(declared_groups)
    known = {(group.arn, target.id_in(group)) for group in groups for target in targets}
    names = {group.arn: group.name for group in groups}
    return [
        {"target_group": names[key.group_arn], "id": key.id, "port": key.port, **_health(health)}
        for key, health in api.health(groups).items()
        if (key.group_arn, key.id) not in known and not health.is_out and not health.is_hopeless
    ]


def of_strangers(found: Sequence[Mapping[str, object]]) -> str:
    """What to tell of strangers, and what to do."""
    who = "; ".join(f"{one['target_group']}: {one['id']} port {one['port']} is {one['state']}" for one in found)
    return (
        f"{who}, and no host of this inventory: nobody knows which release it serves. If Auto Scaling launched "
        "it meanwhile, deploy again, and the inventory has it; if it does not belong there, deregister it."
    )


def diff(outcome: Outcome) -> dict[str, dict[str, str]]:
    """States before and after, by member, for ``--diff``; nobody's health counts as long as nothing was done."""
    after = outcome.after if outcome.changed else outcome.before
    before = {str(member): outcome.before[member.key].state for member in outcome.members}
    then = {str(member): after[member.key].state for member in outcome.members}
    for step in outcome.scaling:
        before[f"{step.group}: {step.host}"] = step.before
        then[f"{step.group}: {step.host}"] = step.before if step.action in ("none", "wait") else step.after
    return {"before": before, "after": then}


def _health(health: Health) -> dict[str, str]:
    return {"state": health.state, "reason": health.reason, "description": health.description}
