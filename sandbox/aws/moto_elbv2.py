"""The seam to moto: what its models say, in our words, and target health answered by our registry.

Only this file knows moto's classes. It was written for the version that requirements.in pins: `install` replaces four
methods whose names and signatures moto does not promise to keep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.acm.models import AWS_ROOT_CA, acm_backends
from moto.elbv2 import models as elbv2
from moto.elbv2.exceptions import InvalidTargetError, TargetGroupNotFoundError, TargetNotRunning

from sandbox.aws.haproxy_config import FixedResponse, Forward, Group, HealthCheck, Listener, Redirect
from sandbox.aws.registry import Registry, Target


@dataclass(frozen=True)
class TargetGroup:
    """A target group: what HAProxy gets of it, and the settings and state that only we need."""

    arn: str
    in_use: bool
    deregistration_delay: float
    config: Group


@dataclass(frozen=True)
class Account:
    """The listeners and target groups that exist now, in all regions; groups by ARN."""

    listeners: tuple[Listener, ...]
    groups: dict[str, TargetGroup]


def read_account(certificates: Path) -> Account:
    """Return what exists now. Certificates that listeners use are written to the directory `certificates`."""
    listeners: dict[int, Listener] = {}
    groups: dict[str, TargetGroup] = {}
    for backend in _backends():
        for balancer in list(backend.load_balancers.values()):
            for listener in list(balancer.listeners.values()):
                # All balancers share one address here: of two listeners on one port the older serves it.
                listeners.setdefault(int(listener.port), _listener(balancer, listener, certificates))
        for group in list(backend.target_groups.values()):
            groups[group.arn] = TargetGroup(
                arn=group.arn,
                in_use=_in_use(backend, group.arn),
                deregistration_delay=float(group.attributes["deregistration_delay.timeout_seconds"]),
                config=Group(_backend_name(group.arn), _health_check(group)),
            )
    return Account(tuple(listeners.values()), groups)


def instance(group_arn: str, target_id: str) -> tuple[str, str] | None:
    """Return (private address, state) of an instance target; None for an IP target or an unknown instance."""
    for backend in _backends():
        if group_arn in backend.target_groups:
            found = _find_instance(backend.target_groups[group_arn], target_id)
            return (str(found.private_ip), str(found.state)) if found else None
    return None


def install(registry: Registry) -> None:
    """Make moto register, deregister and describe targets through `registry`."""

    def key(group: Any, target: dict[str, Any]) -> Target:
        return Target(group.arn, target["Id"], int(target.get("Port") or group.port))

    def register(group: Any, targets: list[dict[str, Any]]) -> None:
        for target in targets:
            _refuse_unfit(group, target["Id"])
        in_use = _in_use(elbv2.elbv2_backends[group.account_id][group.region_name], group.arn)
        for target in targets:
            registry.register(key(group, target), in_use=in_use)

    def deregister(group: Any, targets: list[dict[str, Any]]) -> None:
        for target in targets:
            # A target registered with a port of its own must be named with it, as in AWS.
            registry.deregister(key(group, target))

    def deregister_terminated(group: Any, instance_ids: list[str]) -> None:
        for target in registry.targets(group.arn):
            if target.id in instance_ids:
                registry.deregister(target)

    def describe_target_health(backend: Any, target_group_arn: str, targets: list[dict[str, Any]]) -> list[Any]:
        group = backend.target_groups.get(target_group_arn)
        if group is None:
            raise TargetGroupNotFoundError()
        asked = [key(group, target) for target in targets] if targets else registry.targets(group.arn)
        return [_described(group, target, registry) for target in asked]

    elbv2.FakeTargetGroup.register = register
    elbv2.FakeTargetGroup.deregister = deregister
    elbv2.FakeTargetGroup.deregister_terminated_instances = deregister_terminated
    elbv2.ELBv2Backend.describe_target_health = describe_target_health


def _backends() -> Iterator[Any]:
    for account in list(elbv2.elbv2_backends.values()):
        yield from list(account.values())


def _described(group: Any, target: Target, registry: Registry) -> Any:
    health = registry.health(target)
    reason = health.reason.value if health.reason else None
    return elbv2.FakeHealthStatus(
        target.id, target.port, group.health_check_port, health.state.value, reason, health.description
    )


def _find_instance(group: Any, target_id: str) -> Any:
    return group.ec2_backend.get_instance_by_id(target_id) if target_id.startswith("i-") else None


def _refuse_unfit(group: Any, target_id: str) -> None:
    found = _find_instance(group, target_id)
    if target_id.startswith("i-") != (group.target_type == "instance") or (target_id.startswith("i-") and not found):
        raise InvalidTargetError()
    if found and found.state != "running":
        raise TargetNotRunning(instance_id=target_id)


def _forwarded_to(action: Any) -> list[str]:
    """Return the ARNs of the groups that a forward action names."""
    if action.type != "forward":
        return []
    if "TargetGroupArn" in action.data:
        return [action.data["TargetGroupArn"]]
    return [group["TargetGroupArn"] for group in action.data["ForwardConfig"]["TargetGroups"]]


def _in_use(backend: Any, group_arn: str) -> bool:
    return any(
        group_arn in _forwarded_to(action)
        for balancer in list(backend.load_balancers.values())
        for listener in list(balancer.listeners.values())
        for rule in list(listener.rules.values())
        for action in rule.actions
    )


def _backend_name(group_arn: str) -> str:
    return group_arn.split("/", 1)[1].replace("/", ".")


def _health_check(group: Any) -> HealthCheck:
    port = None if group.health_check_port in (None, "traffic-port") else int(group.health_check_port)
    return HealthCheck(
        path=group.health_check_path or "/",
        matcher=(group.matcher or {}).get("HttpCode", "200"),
        interval=int(group.health_check_interval_seconds),
        timeout=int(group.health_check_timeout_seconds),
        healthy_threshold=int(group.healthy_threshold_count),
        unhealthy_threshold=int(group.unhealthy_threshold_count),
        port=port,
    )


def _listener(balancer: Any, listener: Any, certificates: Path) -> Listener:
    arns = listener.certificates if listener.protocol == "HTTPS" else []
    return Listener(
        name=f"{balancer.name}-{listener.port}",
        port=int(listener.port),
        action=_default_action(listener.default_actions),
        certificates=tuple(_certificate_file(arn, certificates) for arn in arns),
    )


def _default_action(actions: list[Any]) -> Forward | Redirect | FixedResponse:
    for action in actions:
        if action.type == "forward":
            return Forward(_backend_name(_forwarded_to(action)[0]))
        if action.type == "redirect":
            config = action.data["RedirectConfig"]
            given = {
                name.lower(): config[name] for name in ("Protocol", "Host", "Port", "Path", "Query") if name in config
            }
            return Redirect(status=int(config["StatusCode"].removeprefix("HTTP_")), **given)
        if action.type == "fixed-response":
            config = action.data["FixedResponseConfig"]
            return FixedResponse(
                int(config["StatusCode"]), config.get("ContentType", "text/plain"), config.get("MessageBody", "")
            )
    return FixedResponse(503, body=f"default action not emulated: {[action.type for action in actions]}")


def _certificate_file(arn: str, directory: Path) -> Path:
    """Write an ACM certificate, its chain and its key to a file named by its content, and return the file."""
    region, account, resource = arn.split(":", 5)[3:]
    bundle = acm_backends[account][region].get_certificate(arn)
    # moto appends a root of its own to every chain.
    chain = bundle.chain.removesuffix(AWS_ROOT_CA + b"\n")
    content = b"\n".join(part.strip() for part in (bundle.cert, chain, bundle.key) if part.strip()) + b"\n"
    # A certificate that is imported again gets another name, and so makes HAProxy load it.
    digest = hashlib.sha256(content).hexdigest()[:12]
    path = directory / f"{resource.rpartition('/')[2]}-{digest}.pem"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(content)
    return path
