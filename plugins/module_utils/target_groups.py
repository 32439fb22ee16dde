# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load balancer's target groups say, and what follows from it: no call to AWS is made here.

A *member* is one (target group, id, port): the unit that AWS registers, checks and drains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# Seconds that AWS may take to act on a call, on top of what a group's own attributes say.
SLACK = 60

# Reasons that no waiting can change: the target is registered and will never be checked.
HOPELESS = {
    "Target.NotInUse": "give the group a listener rule, or enable the target's zone on the load balancer",
    "Target.InvalidState": "start the instance",
    "Target.IpUnusable": "register an address that no load balancer uses itself",
}


@dataclass(frozen=True)
class Health:
    """What the balancer says about one member: AWS's State, Reason and Description."""

    state: str
    reason: str = ""
    description: str = ""

    @property
    def is_out(self) -> bool:
        """Whether a member is leaving or has left: the balancer has been told to send it nothing new."""
        return self.state == "draining" or self.reason == "Target.NotRegistered"

    @property
    def is_hopeless(self) -> bool:
        return self.reason in HOPELESS

    def __str__(self) -> str:
        evidence = ": ".join(part for part in (self.reason, self.description) if part)
        return f"{self.state} ({evidence})" if evidence else self.state


NOT_REGISTERED = Health("unused", "Target.NotRegistered", "Target is not registered to the target group")
DRAINING = Health("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
HEALTHY = Health("healthy")


@dataclass(frozen=True)
class TargetGroup:
    """A target group with the attributes that decide how long things take; times in seconds."""

    name: str
    arn: str
    target_type: str
    port: int
    load_balancers: tuple[str, ...]
    interval: int
    health_timeout: int
    healthy_threshold: int
    deregistration_delay: int = 0
    slow_start: int = 0

    @property
    def joining_deadline(self) -> int:
        """Seconds within which a working target is healthy, also one that has to recover from being unhealthy."""
        return self.interval * max(self.healthy_threshold, 2) + self.health_timeout + SLACK


@dataclass(frozen=True)
class Target:
    """A host as the inventory declares it.

    ``port`` overrides the port of every group, ``ports`` that of single groups, by name.
    ``may_join``: whether it may become a member of groups that it is in none of.
    """

    instance_id: str | None = None
    ip_address: str | None = None
    port: int | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    name: str | None = None
    may_join: bool = True

    @classmethod
    def declared(cls, entry: Mapping[str, Any]) -> Target:
        """The target that an inventory's entry describes. Raises WebappsError for a port that is none."""
        target = cls(**{**entry, "ports": entry.get("ports") or {}})
        for group, port in target.ports.items():
            if not str(port).isdigit():
                raise WebappsError(f'The port of {target.label} in {group} is "{port}": give a number in its ports.')
        return replace(target, ports={group: int(port) for group, port in target.ports.items()})

    @property
    def label(self) -> str:
        identity = self.instance_id or self.ip_address or "?"
        return f"{self.name} ({identity})" if self.name else identity

    def id_in(self, group: TargetGroup) -> str:
        """The id under which the group knows this host. Raises WebappsError when the host has none of that kind."""
        kinds = {"instance": ("instance_id", self.instance_id), "ip": ("ip_address", self.ip_address)}
        if group.target_type not in kinds:
            raise WebappsError(
                f'The target group {group.name} has targets of the type "{group.target_type}": '
                "a host can be a member of groups of the types instance and ip only. "
                "Take it out of load_balancer_target_groups."
            )
        option, value = kinds[group.target_type]
        if not value:
            raise WebappsError(
                f'The target group {group.name} has targets of the type "{group.target_type}", '
                f"and {self.label} has no {option}: add it to the host's load_balancer_target."
            )
        return value

    def port_in(self, group: TargetGroup) -> int:
        return self.ports.get(group.name) or self.port or group.port


class Key(NamedTuple):
    """What identifies a registration."""

    group_arn: str
    id: str
    port: int


@dataclass(frozen=True)
class Member:
    """One registration, existing or wanted."""

    group: TargetGroup
    id: str
    port: int
    host: str

    @property
    def key(self) -> Key:
        return Key(self.group.arn, self.id, self.port)

    def __str__(self) -> str:
        host = self.id if self.host == self.id else self.host
        return f"{self.group.name}: {host} port {self.port}"


def declared_members(groups: Sequence[TargetGroup], targets: Sequence[Target]) -> list[Member]:
    """Every member that the declared targets are to be, in the order of groups and targets, each once."""
    members: dict[Key, Member] = {}
    for group in groups:
        for target in targets:
            member = Member(group, target.id_in(group), target.port_in(group), target.label)
            members.setdefault(member.key, member)
    return list(members.values())


def check_ports(members: Sequence[Member], found: Mapping[Key, Health]) -> None:
    """Refuse hosts that take traffic on a port nobody declared.

    Such a port is known only as long as it is registered: once the host has left, nobody could bring it back.
    What is already draining on its way out does not count.
    """
    wanted = {member.key for member in members}
    hosts = {(member.group.arn, member.id): member for member in members}
    strays = [
        (hosts[arn, id_], port)
        for (arn, id_, port), health in found.items()
        if (arn, id_) in hosts and (arn, id_, port) not in wanted and not health.is_out
    ]
    if strays:
        raise WebappsError(
            "; ".join(
                f"{member.host} is registered in {member.group.name} on port {port}, which is not declared "
                f"(declared is port {member.port}): set ports: {{{member.group.name}: {port}}} "
                "in the host's load_balancer_target, or deregister that port"
                for member, port in strays
            )
        )


def check_in_use(groups: Iterable[TargetGroup]) -> None:
    """Refuse groups that no listener sends traffic to: their targets stay unused for ever."""
    idle = [group.name for group in groups if not group.load_balancers]
    if idle:
        raise WebappsError(
            f"No listener of a load balancer forwards to the target group {', '.join(idle)}: its targets stay "
            "unused (Target.NotInUse). Add a listener rule, or take it out of load_balancer_target_groups."
        )


def check_known(targets: Sequence[Target], groups: Sequence[TargetGroup], found: Mapping[Key, Health]) -> None:
    """Refuse hosts that are in none of the groups and may not join: they would start to serve unasked."""
    strangers = [
        target
        for target in targets
        if not target.may_join
        and not any((group.arn, target.id_in(group)) == (arn, id_) for group in groups for arn, id_, _port in found)
    ]
    if strangers:
        raise WebappsError(
            "; ".join(f"{target.label} is in none of the target groups" for target in strangers)
            + f" {', '.join(group.name for group in groups)}, and has not served before: a deploy would "
            "put it in service. If it is meant to serve, run again with load_balancer_register=true; "
            "if not, take it out of the web group (its tag Role)."
        )


def minimum_of(rule: str, total: int) -> int:
    """How many hosts ``rule`` asks for, of ``total``: a number ("1") or a percentage ("50%"), rounded up."""
    match = re.fullmatch(r"(\d+)(%?)", rule.strip())
    if match is None or (match[2] and int(match[1]) > 100):
        raise WebappsError(
            f'load_balancer_minimum_healthy is "{rule}": give a number of hosts, for example 1, '
            'or a percentage of the hosts of a group up to 100, for example "50%".'
        )
    number = int(match[1])
    return -(-total * number // 100) if match[2] else number


def too_few(members: Sequence[Member], found: Mapping[Key, Health], rule: str) -> list[str]:
    """Why these members must not leave together: a sentence per group that would keep too few healthy hosts.

    A host counts as healthy when all it has registered is; it counts as one, whatever its ports.
    Who is not healthy takes nothing away by leaving.
    """
    problems = []
    for group in {member.group.arn: member.group for member in members}.values():
        states: dict[str, list[Health]] = {}
        for (arn, id_, _port), health in found.items():
            if arn == group.arn and not health.is_out:
                states.setdefault(id_, []).append(health)
        batch = {member.id: member.host for member in members if member.group == group}
        healthy = {id_ for id_, healths in states.items() if all(health.state == "healthy" for health in healths)}
        serving = {id_ for id_ in batch if any(health.state == "healthy" for health in states.get(id_, []))}
        minimum = minimum_of(rule, len(states.keys() | batch.keys()))
        remaining = len(healthy - batch.keys())
        if serving and remaining < minimum:
            who = ", ".join(batch[id_] for id_ in batch if id_ in serving)
            problems.append(
                f"{group.name} would keep {remaining} healthy of {len(states)} registered without {who}, "
                f"and load_balancer_minimum_healthy is {rule}"
                + (f" (of {len(states.keys() | batch.keys())}: {minimum})" if "%" in rule else "")
            )
    return problems


def explain(members: Sequence[Member], healths: Mapping[Key, Health]) -> str:
    """What AWS says about each member, for an error."""
    return "; ".join(f"{member} is {healths[member.key]}" for member in members)
