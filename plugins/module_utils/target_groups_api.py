# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls to Elastic Load Balancing, as few as the questions need, and their answers as types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import (
    code_of,
    is_denied,
    message_of,
    remedy,
    words_of,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import (
    NOT_REGISTERED,
    Health,
    Key,
    Member,
    TargetGroup,
)

# AnsibleAWSModule says so when botocore is missing, with the remedy.
with suppress(ImportError):
    from botocore.exceptions import ClientError


class TargetGroupsApi:
    """One region's target groups.

    ``elbv2`` is a client of AnsibleAWSModule with Patience as its retry decorator: every call here may be repeated.
    ``region`` is for messages only. All methods raise WebappsError that names a right where that is denied.
    """

    def __init__(self, elbv2: Any, region: str) -> None:
        self.elbv2 = elbv2
        self.region = region

    def groups(self, declared: Sequence[str]) -> list[TargetGroup]:
        """The declared groups (names or ARNs), in that order, each once. Raises WebappsError when one is missing."""
        arns = [name for name in declared if name.startswith("arn:")]
        names = [name for name in declared if not name.startswith("arn:")]
        found: list[dict[str, Any]] = []
        try:
            if names:
                found += self._pages(Names=list(dict.fromkeys(names)))
            if arns:
                found += self._pages(TargetGroupArns=list(dict.fromkeys(arns)))
        except ClientError as error:
            if code_of(error) not in ("TargetGroupNotFound", "ValidationError"):
                raise
            raise self._missing(declared) or error from error
        by_name = {key: group for group in found for key in (group["TargetGroupName"], group["TargetGroupArn"])}
        unique = {by_name[name]["TargetGroupArn"]: by_name[name] for name in declared}
        return [self._group(group) for group in unique.values()]

    def health(self, groups: Iterable[TargetGroup]) -> dict[Key, Health]:
        """Every registration of the groups, those that drain included."""
        found: dict[Key, Health] = {}
        for group in groups:
            answer = self._ask(self.elbv2.describe_target_health, TargetGroupArn=group.arn)
            for entry in answer["TargetHealthDescriptions"]:
                target, health = entry["Target"], entry["TargetHealth"]
                if health.get("Reason") == NOT_REGISTERED.reason:
                    continue
                key = Key(group.arn, target["Id"], target.get("Port", group.port))
                found[key] = Health(health["State"], health.get("Reason", ""), health.get("Description", ""))
        return found

    def check_eligible(self, members: Iterable[Member]) -> None:
        """Ask the groups about targets they do not have. Raises WebappsError for those they could never have."""
        for member in members:
            try:
                self._ask(
                    self.elbv2.describe_target_health,
                    TargetGroupArn=member.group.arn,
                    Targets=[self._target(member)],
                )
            except ClientError as error:
                raise self._refused([member], error, "be a member of") from error

    def register(self, members: Sequence[Member]) -> None:
        for group, part in _by_group(members):
            try:
                self._ask(
                    self.elbv2.register_targets,
                    group.arn,
                    TargetGroupArn=group.arn,
                    Targets=[self._target(member) for member in part],
                )
            except ClientError as error:
                raise self._refused(part, error, "join") from error

    def deregister(self, members: Sequence[Member]) -> None:
        for group, part in _by_group(members):
            try:
                # Without its port AWS answers 200 and leaves a target with another port than the group's registered.
                self._ask(
                    self.elbv2.deregister_targets,
                    group.arn,
                    TargetGroupArn=group.arn,
                    Targets=[self._target(member) for member in part],
                )
            except ClientError as error:
                raise self._refused(part, error, "leave") from error

    def _ask(self, call: Callable[..., dict[str, Any]], resource: str = "*", /, **query: Any) -> dict[str, Any]:
        try:
            return call(**query, aws_retry=True)
        except ClientError as error:
            if not is_denied(error):
                raise
            right = f"elasticloadbalancing:{error.operation_name}"
            raise WebappsError(
                f"AWS denies {right} in {self.region}: {words_of(error)}. {remedy(error, right, '', resource)}"
            ) from error

    def _pages(self, **query: Any) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = []
        while True:
            answer = self._ask(self.elbv2.describe_target_groups, **query)
            groups += answer["TargetGroups"]
            if not answer.get("NextMarker"):
                return groups
            query["Marker"] = answer["NextMarker"]

    def _group(self, group: dict[str, Any]) -> TargetGroup:
        answer = self._ask(self.elbv2.describe_target_group_attributes, TargetGroupArn=group["TargetGroupArn"])
        attributes = {attribute["Key"]: attribute["Value"] for attribute in answer["Attributes"]}
        return TargetGroup(
            name=group["TargetGroupName"],
            arn=group["TargetGroupArn"],
            target_type=group["TargetType"],
            port=group.get("Port", 0),
            load_balancers=tuple(group.get("LoadBalancerArns", ())),
            interval=group.get("HealthCheckIntervalSeconds", 30),
            health_timeout=group.get("HealthCheckTimeoutSeconds", 5),
            healthy_threshold=group.get("HealthyThresholdCount", 5),
            deregistration_delay=int(attributes.get("deregistration_delay.timeout_seconds", "300")),
            slow_start=int(attributes.get("slow_start.duration_seconds", "0")),
        )

    def _missing(self, declared: Sequence[str]) -> WebappsError | None:
        existing = self._pages()
        known = {key for group in existing for key in (group["TargetGroupName"], group["TargetGroupArn"])}
        missing = [name for name in dict.fromkeys(declared) if name not in known]
        if not missing:
            return None
        names = ", ".join(sorted(group["TargetGroupName"] for group in existing)) or "none"
        return WebappsError(
            f"load_balancer_target_groups names {', '.join(missing)}, which {self.region} does not have; "
            f"it has: {names}. Correct the name or load_balancer_region, or create the target group."
        )

    def _refused(self, members: Sequence[Member], error: ClientError, verb: str) -> Exception:
        code = code_of(error)
        who = ", ".join(f"{member.host} port {member.port}" for member in members)
        group = members[0].group.name
        if code == "InvalidTarget":
            return WebappsError(
                f"{who} cannot {verb} the target group {group}: {code}: {message_of(error)}. "
                "The instance must exist in the group's VPC and run; correct the host's load_balancer_target."
            )
        if code in ("TooManyTargets", "TooManyRegistrationsForTargetId"):
            return WebappsError(
                f"{who} cannot {verb} the target group {group}: {code}: {message_of(error)}. "
                "Raise that quota of the account."
            )
        return error

    @staticmethod
    def _target(member: Member) -> dict[str, Any]:
        return {"Id": member.id, "Port": member.port}


def _by_group(members: Sequence[Member]) -> Iterator[tuple[TargetGroup, list[Member]]]:
    for group in {member.group.arn: member.group for member in members}.values():
        yield group, [member for member in members if member.group == group]
