# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps Auto Scaling from replacing hosts that leave their target groups: refuses them, or sends them to standby.

Who is in standby is asked, never remembered, so a host that a killed run left there comes back with the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import remedy, words_of
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import SLACK, Target

# AnsibleAWSModule says so when botocore is missing, with the remedy.
with suppress(ImportError):
    from botocore.exceptions import ClientError

# AWS takes this many instances per call.
DESCRIBED_PER_CALL, MOVED_PER_CALL = 50, 20

# States of an instance's life in its group. Entering lasts until the target groups have drained it.
IN_SERVICE, STANDBY, ENTERING = "InService", "Standby", "EnteringStandby"
AWAY = (STANDBY, ENTERING)

PAUSE = 5.0


@dataclass(frozen=True)
class Instance:
    """What Auto Scaling says about an instance that it manages."""

    id: str
    group: str
    state: str

    @property
    def returns(self) -> bool:
        """Whether it is on its way from standby, or from its launch, into service."""
        return self.state.startswith("Pending")


@dataclass(frozen=True)
class ScalingGroup:
    """An Auto Scaling group; ``away``: how many of its instances are in standby, which desired does not count."""

    name: str
    arn: str
    minimum: int
    desired: int
    away: int
    suspended: frozenset[str]


@dataclass(frozen=True)
class Step:
    """What was done to an instance: ``enter_standby``, ``exit_standby``, ``wait`` or ``none``."""

    host: str
    group: str
    before: str
    after: str
    action: str


class AutoScalingApi:
    """The calls to Auto Scaling; ``client`` is one of AnsibleAWSModule with Patience as its retry decorator."""

    def __init__(self, client: Any, region: str) -> None:
        self.client = client
        self.region = region

    def instances(self, ids: Sequence[str]) -> dict[str, Instance]:
        """Those of the instances that Auto Scaling manages, by id."""
        found: dict[str, Instance] = {}
        for part in _parts(ids, DESCRIBED_PER_CALL):
            try:
                answer = self.client.describe_auto_scaling_instances(InstanceIds=part, aws_retry=True)
            except ClientError as error:
                raise WebappsError(
                    f"Auto Scaling in {self.region} does not say whether it manages {', '.join(ids)}: "
                    f"{words_of(error)}. {remedy(error, 'autoscaling:DescribeAutoScalingInstances', 'Run again.')} "
                    "Where no Auto Scaling group is in use, set load_balancer_auto_scaling: ignore."
                ) from error
            for entry in answer["AutoScalingInstances"]:
                id_ = entry["InstanceId"]
                found[id_] = Instance(id_, entry["AutoScalingGroupName"], entry["LifecycleState"])
        return found

    def groups(self, names: Collection[str]) -> list[ScalingGroup]:
        found = []
        for part in _parts(sorted(names), DESCRIBED_PER_CALL):
            try:
                answer = self.client.describe_auto_scaling_groups(AutoScalingGroupNames=part, aws_retry=True)
            except ClientError as error:
                raise WebappsError(
                    f"Auto Scaling in {self.region} does not say how large {', '.join(part)} may be: "
                    f"{words_of(error)}. {remedy(error, 'autoscaling:DescribeAutoScalingGroups', 'Run again.')}"
                ) from error
            for entry in answer["AutoScalingGroups"]:
                found.append(
                    ScalingGroup(
                        name=entry["AutoScalingGroupName"],
                        arn=entry.get("AutoScalingGroupARN", ""),
                        minimum=entry["MinSize"],
                        desired=entry["DesiredCapacity"],
                        away=sum(instance["LifecycleState"] in AWAY for instance in entry.get("Instances", [])),
                        suspended=frozenset(process["ProcessName"] for process in entry.get("SuspendedProcesses", [])),
                    )
                )
        return found

    def enter_standby(self, group: str, ids: Sequence[str]) -> None:
        for part in _parts(ids, MOVED_PER_CALL):
            try:
                # With the desired capacity as it was, Auto Scaling would launch replacements.
                self.client.enter_standby(
                    AutoScalingGroupName=group, InstanceIds=part, ShouldDecrementDesiredCapacity=True, aws_retry=True
                )
            except ClientError as error:
                otherwise = "The group's MinSize must be below its desired capacity."
                raise WebappsError(
                    f"Auto Scaling does not send {', '.join(part)} of the group {group} to standby: "
                    f"{words_of(error)}. {remedy(error, 'autoscaling:EnterStandby', otherwise)}"
                ) from error

    def exit_standby(self, group: str, ids: Sequence[str]) -> None:
        for part in _parts(ids, MOVED_PER_CALL):
            try:
                self.client.exit_standby(AutoScalingGroupName=group, InstanceIds=part, aws_retry=True)
            except ClientError as error:
                otherwise = "Resume the process Launch, and let MaxSize leave room for it; then run again."
                raise WebappsError(
                    f"Auto Scaling does not take {', '.join(part)} of the group {group} back from standby: "
                    f"{words_of(error)}. {remedy(error, 'autoscaling:ExitStandby', otherwise)}"
                ) from error


class AutoScaling:
    """What becomes of the targets that Auto Scaling manages, by ``policy``: refuse, standby, or ignore.

    ``clock`` gives seconds that only grow, ``sleep`` waits for so many, ``timeout`` replaces the derived deadlines; in
    ``check_mode`` nothing is moved or awaited. All methods raise WebappsError.
    """

    def __init__(
        self,
        api: AutoScalingApi,
        targets: Sequence[Target],
        policy: str,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        timeout: int | None = None,
        check_mode: bool = False,
    ) -> None:
        self.api = api
        self.hosts = {target.instance_id: target.label for target in targets if target.instance_id}
        self.policy = policy
        self.clock = clock
        self.sleep = sleep
        self.timeout = timeout
        self.check_mode = check_mode

    @property
    def uses_standby(self) -> bool:
        return self.policy == "standby" and bool(self.hosts)

    def refuse(self) -> None:
        """Refuse instances that Auto Scaling manages, where the policy is to."""
        managed = self._instances() if self.policy == "refuse" else {}
        if managed:
            members = ", ".join(f"{instance.id} (group {instance.group})" for instance in managed.values())
            raise WebappsError(
                f"Auto Scaling manages {members}: it would replace a host that leaves its target groups, and start "
                "others with old code. Set load_balancer_auto_scaling: standby, which sends hosts to standby while "
                "they are out; or detach the instance (aws autoscaling detach-instances); or set ignore when the "
                "group's "
                "processes are suspended while you deploy."
            )

    def check(self, together: int) -> list[str]:
        """Refuse groups that could never have ``together`` instances in standby; those that are there count.

        Returns the ARNs of the groups whose instances would go there.
        """
        if not self.uses_standby:
            return []
        instances = self._instances()
        self._refuse_leaving_life(instances.values())
        groups = self._groups(instances.values()) if together else []
        for group in groups:
            self._refuse_unable(group, together, group.desired + group.away)
        return [group.arn for group in groups if group.arn]

    def enter(self) -> list[Step]:
        """Send all that are in service to standby. Refuses before the first one moved."""
        if not self.uses_standby:
            return []
        instances = self._instances()
        self._refuse_leaving_life(instances.values())
        entering = [instance for instance in instances.values() if instance.state == IN_SERVICE or instance.returns]
        for instance in entering:
            if instance.returns:
                raise WebappsError(
                    f"{self.hosts[instance.id]} is {instance.state} in the Auto Scaling group {instance.group}: "
                    "only an instance that is InService can go to standby. Wait, or complete its lifecycle action; "
                    "then run again."
                )
        for group in self._groups(entering):
            self._refuse_unable(group, len(_ids(entering, group.name)), group.desired)
        if not self.check_mode:
            for name in _names(entering):
                self._move(self.api.enter_standby, name, _ids(entering, name), lambda one: one.state in AWAY)
        return [
            self._step(instance, STANDBY, "enter_standby")
            if instance in entering
            else self._step(instance, instance.state, "none")
            for instance in instances.values()
        ]

    def leave_standby(self, draining: int) -> tuple[list[Step], str]:
        """Bring all back that are in standby, and wait until they are in service.

        ``draining``: seconds that entering standby may take. What AWS refuses is returned as text and not raised: the
        target groups are to have the host all the same.
        """
        if not self.uses_standby:
            return [], ""
        try:
            instances = self._instances()
        except WebappsError as error:
            return [], error.message
        self._refuse_leaving_life(instances.values())
        away = [instance for instance in instances.values() if instance.state in AWAY]
        steps = [
            self._step(instance, IN_SERVICE, "exit_standby")
            if instance in away
            else self._step(instance, IN_SERVICE, "wait" if instance.returns else "none")
            for instance in instances.values()
        ]
        if self.check_mode:
            return steps, ""
        try:
            self._wait(lambda instance: instance.state != ENTERING, draining + SLACK)
            for name in _names(away):
                self._move(
                    self.api.exit_standby, name, _ids(away, name), lambda one: one.returns or one.state == IN_SERVICE
                )
            self._wait(lambda instance: instance.state == IN_SERVICE, SLACK)
        except WebappsError as error:
            return [], error.message
        return steps, ""

    def _instances(self) -> dict[str, Instance]:
        return self.api.instances(list(self.hosts)) if self.hosts else {}

    def _groups(self, instances: Collection[Instance]) -> list[ScalingGroup]:
        return self.api.groups(_names(instances)) if instances else []

    def _move(
        self,
        move: Callable[[str, Sequence[str]], None],
        group: str,
        ids: Sequence[str],
        there: Callable[[Instance], bool],
    ) -> None:
        try:
            move(group, ids)
        except WebappsError:
            # AWS may have done it and its answer was lost: the same call once more is refused.
            found = self.api.instances(ids)
            if not all(id_ in found and there(found[id_]) for id_ in ids):
                raise

    def _wait(self, reached: Callable[[Instance], bool], deadline: int) -> None:
        allowed = self.timeout if self.timeout is not None else deadline
        start = self.clock()
        while left := [instance for instance in self._instances().values() if not reached(instance)]:
            waited = self.clock() - start
            if waited >= allowed:
                raise WebappsError(
                    "; ".join(
                        f"{self.hosts[instance.id]} is {instance.state} in the Auto Scaling group {instance.group}"
                        for instance in left
                    )
                    + f" after {waited:.0f} s of waiting for it to come back from standby (allowed are {allowed} s). "
                    "Look at the group's activities (aws autoscaling describe-scaling-activities), and run again."
                )
            self.sleep(min(PAUSE, allowed - waited))

    def _refuse_leaving_life(self, instances: Collection[Instance]) -> None:
        lost = [instance for instance in instances if instance.state.startswith(("Terminat", "Detach"))]
        if lost:
            raise WebappsError(
                "; ".join(
                    f"{self.hosts[instance.id]} is {instance.state}: Auto Scaling takes it from the group "
                    f"{instance.group}"
                    for instance in lost
                )
                + ". Run again when it is gone: the inventory has what there is then."
            )

    def _refuse_unable(self, group: ScalingGroup, leaving: int, desired: int) -> None:
        if "Launch" in group.suspended:
            raise WebappsError(
                f"The process Launch of the Auto Scaling group {group.name} is suspended, and without it no instance "
                "comes back from standby. Resume it: aws autoscaling resume-processes "
                f"--auto-scaling-group-name {group.name} --scaling-processes Launch"
            )
        if desired - leaving < group.minimum:
            raise WebappsError(
                f"The Auto Scaling group {group.name} has a desired capacity of {desired} and a MinSize of "
                f"{group.minimum}: {leaving} in standby would leave {desired - leaving}. Lower MinSize to "
                f"{max(desired - leaving, 0)}, raise the desired capacity and let the new instance join first, or "
                "let fewer hosts leave together "
                "(deploy_batches)."
            )

    def _step(self, instance: Instance, after: str, action: str) -> Step:
        return Step(self.hosts[instance.id], instance.group, instance.state, after, action)


def told(steps: Sequence[Step]) -> list[dict[str, str]]:
    """The steps as the module returns them."""
    return [
        {"host": step.host, "group": step.group, "before": step.before, "after": step.after, "action": step.action}
        for step in steps
    ]


def _names(instances: Collection[Instance]) -> list[str]:
    return sorted({instance.group for instance in instances})


def _ids(instances: Collection[Instance], group: str) -> list[str]:
    return [instance.id for instance in instances if instance.group == group]


def _parts(values: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
