"""Elastic Load Balancing in memory, with the states that a real one has and the time that they take.

``client()`` is a real boto3 client whose requests end here instead of on the network: botocore validates what is
sent, what is answered is validated against AWS's own model, and errors arrive as botocore's real ClientErrors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3
from ansible_collections.amazon.aws.plugins.module_utils.retries import RetryingBotoClientWrapper
from botocore.exceptions import ReadTimeoutError
from botocore.validate import ParamValidator

WRITES = {"RegisterTargets", "DeregisterTargets", "EnterStandby", "ExitStandby"}
ACCOUNT = "arn:aws:elasticloadbalancing:eu-west-1:123456789012"


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.sleeps.append(seconds)
        self.now += seconds


@dataclass
class FakeGroup:
    name: str
    port: int = 80
    target_type: str = "instance"
    in_use: bool = True
    interval: int = 5
    timeout: int = 2
    healthy_threshold: int = 2
    delay: int = 30
    slow_start: int = 0

    @property
    def arn(self) -> str:
        return f"{ACCOUNT}:targetgroup/{self.name}/0123456789abcdef"


@dataclass
class FakeScaling:
    """An Auto Scaling group; ``attached``: the target groups that it registers its instances in."""

    minimum: int = 1
    desired: int = 3
    maximum: int = 4
    suspended: tuple[str, ...] = ()
    attached: list[FakeGroup] = field(default_factory=list)


@dataclass
class Registration:
    since: float
    left: float | None = None


class FakeError(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass
class FakeAws:
    """``lag``: seconds until a call shows in the health. ``sick``: ids whose application answers 503 from then on.

    How often an operation is throttled, answers 500, answers after the client gave up, or is done without an answer:
    ``throttled``, ``broken``, ``hanging``, ``lost_answers``. ``simulated``: what IAM decides of rights not allowed.
    """

    clock: FakeClock
    groups: list[FakeGroup]
    instances: set[str] = field(default_factory=lambda: {"i-1", "i-2", "i-3", "i-4"})
    stopped: set[str] = field(default_factory=set)
    sick: set[str] = field(default_factory=set)
    recovers_at: dict[str, float] = field(default_factory=dict)
    auto_scaling: dict[str, str] = field(default_factory=dict)
    scaling: dict[str, FakeScaling] = field(default_factory=dict)
    lives: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    alarms: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    rings_at: dict[str, float] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    throttled: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    hanging: Counter[str] = field(default_factory=Counter)
    lost_answers: Counter[str] = field(default_factory=Counter)
    caller: str = "arn:aws:iam::123456789012:user/deployer"
    simulated: dict[str, str] = field(default_factory=dict)
    conditions: list[str] = field(default_factory=list)
    lag: float = 0.0
    dies_after: int | None = None
    registered: dict[tuple[str, str, int], Registration] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    # What tests say and ask

    def add(self, group: FakeGroup, *ids: str, port: int | None = None, since: float = -1000.0) -> None:
        for id_ in ids:
            self.registered[group.arn, id_, port or group.port] = Registration(self.clock.now + since)

    def drain(self, group: FakeGroup, id_: str, port: int | None = None) -> None:
        self.registered[group.arn, id_, port or group.port].left = self.clock.now

    def writes(self) -> list[tuple[str, dict[str, Any]]]:
        return [call for call in self.calls if call[0] in WRITES]

    def count(self, operation: str) -> int:
        return sum(name == operation for name, _arguments in self.calls)

    def state(self, group: FakeGroup, id_: str, port: int | None = None) -> str:
        key = (group.arn, id_, port or group.port)
        return str(self.health(key)["State"])

    # What AWS does

    def answer(self, operation: str, sent: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((operation, dict(sent)))
        if self.throttled[operation] > 0:
            self.throttled[operation] -= 1
            raise FakeError("Throttling", "Rate exceeded")
        if self.broken[operation] > 0:
            self.broken[operation] -= 1
            raise FakeError("InternalServerError", "Something broke", 500)
        if self.hanging[operation] > 0:
            self.hanging[operation] -= 1
            self.clock.now += 30
            raise ReadTimeoutError(endpoint_url="https://aws.test/")
        if operation in self.denied:
            raise FakeError("AccessDenied", f"User is not authorized to perform: {operation}", 403)
        if operation in WRITES and self.dies_after is not None:
            if self.dies_after == 0:
                raise KeyboardInterrupt
            self.dies_after -= 1
        handler: Callable[[dict[str, Any]], dict[str, Any]] = getattr(self, f"on_{operation}")
        answer = handler(sent)
        if self.lost_answers[operation] > 0:
            self.lost_answers[operation] -= 1
            raise FakeError("InternalFailure", "Nobody knows", 500)
        return answer

    def on_GetCallerIdentity(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Arn": self.caller, "Account": "123456789012", "UserId": "x"}

    def on_GetRole(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        arn = f"arn:aws:iam::123456789012:role/deploys/{sent['RoleName']}"
        role = {"Arn": arn, "Path": "/deploys/", "RoleName": sent["RoleName"], "RoleId": "x" * 16}
        return {"Role": {**role, "CreateDate": datetime(2026, 1, 1, tzinfo=UTC)}}

    def on_SimulatePrincipalPolicy(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": right,
                    "EvalDecision": self.simulated.get(right, "allowed"),
                    "ResourceSpecificResults": [
                        {
                            "EvalResourceName": resource,
                            "EvalResourceDecision": self.simulated.get(right, "allowed"),
                            "MissingContextValues": self.conditions,
                        }
                        for resource in sent["ResourceArns"]
                    ],
                }
                for right in sent["ActionNames"]
            ]
        }

    def on_DescribeTargetGroups(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        asked = set(sent.get("Names", [])) | set(sent.get("TargetGroupArns", []))
        if sent.get("TargetGroupArns") and any(":targetgroup/" not in arn for arn in sent["TargetGroupArns"]):
            raise FakeError("ValidationError", "not a valid target group ARN")
        found = [group for group in self.groups if not asked or {group.name, group.arn} & asked]
        if len(found) < len(asked):
            raise FakeError("TargetGroupNotFound", "One or more target groups not found")
        # Two a page, so that paging is exercised.
        start = int(sent.get("Marker", "0"))
        page: dict[str, Any] = {"TargetGroups": [self.describe(group) for group in found[start : start + 2]]}
        if start + 2 < len(found):
            page["NextMarker"] = str(start + 2)
        return page

    def on_DescribeTargetGroupAttributes(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        group = self.group(sent)
        return {
            "Attributes": [
                {"Key": "stickiness.enabled", "Value": "false"},
                {"Key": "deregistration_delay.timeout_seconds", "Value": str(group.delay)},
                {"Key": "slow_start.duration_seconds", "Value": str(group.slow_start)},
            ]
        }

    def on_DescribeTargetHealth(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        group = self.group(sent)
        if "Targets" in sent:
            self.check_exist(group, sent["Targets"])
            keys = [(group.arn, target["Id"], target.get("Port", group.port)) for target in sent["Targets"]]
        else:
            keys = [key for key in self.registered if key[0] == group.arn and self.health(key)["State"] != "gone"]
        return {
            "TargetHealthDescriptions": [
                {
                    "Target": {"Id": id_, "Port": port},
                    "HealthCheckPort": str(port),
                    "TargetHealth": self.health((arn, id_, port)),
                }
                for arn, id_, port in keys
                if "Targets" in sent or self.health((arn, id_, port)).get("Reason") != "Target.NotRegistered"
            ]
        }

    def on_RegisterTargets(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        group = self.group(sent)
        self.check_exist(group, sent["Targets"])
        for target in sent["Targets"]:
            self.registered[group.arn, target["Id"], target.get("Port", group.port)] = Registration(self.clock.now)
        return {}

    def on_DeregisterTargets(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        group = self.group(sent)
        for target in sent["Targets"]:
            found = self.registered.get((group.arn, target["Id"], target.get("Port", group.port)))
            if found and found.left is None:
                found.left = self.clock.now
        return {}

    def on_DescribeAutoScalingInstances(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {
            "AutoScalingInstances": [
                {
                    "InstanceId": id_,
                    "AutoScalingGroupName": self.auto_scaling[id_],
                    "AvailabilityZone": "eu-west-1a",
                    "LifecycleState": self.life(id_),
                    "HealthStatus": "HEALTHY",
                    "ProtectedFromScaleIn": False,
                }
                for id_ in sent["InstanceIds"]
                if id_ in self.auto_scaling
            ]
        }

    def on_DescribeAutoScalingGroups(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {
            "AutoScalingGroups": [
                {
                    "AutoScalingGroupName": name,
                    "AutoScalingGroupARN": f"arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:1:name/{name}",
                    "MinSize": self.scaling[name].minimum,
                    "MaxSize": self.scaling[name].maximum,
                    "DesiredCapacity": self.scaling[name].desired,
                    "DefaultCooldown": 300,
                    "AvailabilityZones": ["eu-west-1a"],
                    "HealthCheckType": "ELB",
                    "CreatedTime": datetime(2026, 1, 1, tzinfo=UTC),
                    "SuspendedProcesses": [{"ProcessName": process} for process in self.scaling[name].suspended],
                    "Instances": [
                        {
                            "InstanceId": id_,
                            "AvailabilityZone": "eu-west-1a",
                            "LifecycleState": self.life(id_),
                            "HealthStatus": "Healthy",
                            "ProtectedFromScaleIn": False,
                        }
                        for id_, group in self.auto_scaling.items()
                        if group == name
                    ],
                }
                for name in sent["AutoScalingGroupNames"]
            ]
        }

    def on_EnterStandby(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        group = self.scaling[sent["AutoScalingGroupName"]]
        self.check_lives(sent["InstanceIds"], "InService")
        if not sent["ShouldDecrementDesiredCapacity"]:
            raise FakeError("ValidationError", "it would launch replacements")
        if group.desired - len(sent["InstanceIds"]) < group.minimum:
            raise FakeError("ValidationError", "would be below the minimum size")
        group.desired -= len(sent["InstanceIds"])
        delay = max((attached.delay for attached in group.attached), default=0)
        for id_ in sent["InstanceIds"]:
            self.lives[id_] = [(self.clock.now, "EnteringStandby"), (self.clock.now + delay, "Standby")]
            for (arn, known, _port), found in self.registered.items():
                if known == id_ and found.left is None and arn in [attached.arn for attached in group.attached]:
                    found.left = self.clock.now
        return {}

    def on_ExitStandby(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        group = self.scaling[sent["AutoScalingGroupName"]]
        self.check_lives(sent["InstanceIds"], "Standby")
        if group.desired + len(sent["InstanceIds"]) > group.maximum:
            raise FakeError("ValidationError", "would be above the maximum size")
        group.desired += len(sent["InstanceIds"])
        for id_ in sent["InstanceIds"]:
            self.lives[id_] = [(self.clock.now, "Pending"), (self.clock.now + 6, "InService")]
            for attached in group.attached:
                self.registered[attached.arn, id_, attached.port] = Registration(self.clock.now)
        return {}

    def check_lives(self, ids: list[str], wanted: str) -> None:
        for id_ in ids:
            if self.life(id_) != wanted:
                raise FakeError("ValidationError", f"The instance {id_} is not in {wanted}.")

    def life(self, id_: str) -> str:
        return [state for since, state in self.lives.get(id_, [(0, "InService")]) if since <= self.clock.now][-1]

    def on_DescribeAlarms(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        assert "CompositeAlarm" in sent["AlarmTypes"]
        return {
            "MetricAlarms": [
                {"AlarmName": name, "StateValue": self.ring(name), "StateReason": f"It is {self.ring(name)}."}
                for name in self.alarms
                if name in sent["AlarmNames"]
            ]
        }

    def ring(self, name: str) -> str:
        return "ALARM" if self.clock.now >= self.rings_at.get(name, float("inf")) else self.alarms[name]

    def on_GetMetricData(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        results = []
        for query in sent["MetricDataQueries"]:
            name = query["MetricStat"]["Metric"]["MetricName"]
            results.append({"Id": query["Id"], "Label": name, "Values": self.metrics.get(name, [])})
        # One a page, so that paging is exercised.
        start = int(sent.get("NextToken", "0"))
        page: dict[str, Any] = {"MetricDataResults": results[start : start + 1]}
        if start + 1 < len(results):
            page["NextToken"] = str(start + 1)
        return page

    def health(self, key: tuple[str, str, int]) -> dict[str, str]:
        arn, id_, _port = key
        group = next(group for group in self.groups if group.arn == arn)
        found, now = self.registered.get(key), self.clock.now
        if found is None or (found.left is not None and now - found.left - self.lag >= group.delay):
            return {
                "State": "unused",
                "Reason": "Target.NotRegistered",
                "Description": "Target is not registered to the target group",
            }
        if found.left is not None and now - found.left >= self.lag:
            return {
                "State": "draining",
                "Reason": "Target.DeregistrationInProgress",
                "Description": "Target deregistration is in progress",
            }
        if not group.in_use:
            return {
                "State": "unused",
                "Reason": "Target.NotInUse",
                "Description": "Target group is not configured to receive traffic from the load balancer",
            }
        if id_ in self.stopped:
            return {
                "State": "unused",
                "Reason": "Target.InvalidState",
                "Description": "Target is in the stopped state",
            }
        if now - found.since < self.lag + 2:
            return {
                "State": "initial",
                "Reason": "Elb.RegistrationInProgress",
                "Description": "Target registration is in progress",
            }
        if id_ in self.sick and now < self.recovers_at.get(id_, float("inf")):
            return {
                "State": "unhealthy",
                "Reason": "Target.ResponseCodeMismatch",
                "Description": "Health checks failed with these codes: [503]",
            }
        return {"State": "healthy"}

    def group(self, sent: dict[str, Any]) -> FakeGroup:
        for group in self.groups:
            if group.arn == sent["TargetGroupArn"]:
                return group
        raise FakeError("TargetGroupNotFound", "One or more target groups not found")

    def check_exist(self, group: FakeGroup, targets: list[dict[str, Any]]) -> None:
        for target in targets:
            if group.target_type == "instance" and target["Id"] not in self.instances:
                raise FakeError("InvalidTarget", f"The following targets do not exist: '{target['Id']}'")

    @staticmethod
    def describe(group: FakeGroup) -> dict[str, Any]:
        return {
            "TargetGroupArn": group.arn,
            "TargetGroupName": group.name,
            "Protocol": "HTTP",
            "Port": group.port,
            "HealthCheckIntervalSeconds": group.interval,
            "HealthCheckTimeoutSeconds": group.timeout,
            "HealthyThresholdCount": group.healthy_threshold,
            "UnhealthyThresholdCount": 2,
            "LoadBalancerArns": [f"{ACCOUNT}:loadbalancer/app/amy/0123456789abcdef"] if group.in_use else [],
            "TargetType": group.target_type,
        }


@cache
def boto_client(service: str) -> Any:
    return boto3.client(service, "eu-west-1", aws_access_key_id="testing", aws_secret_access_key="testing")


@contextmanager
def client(service: str, backend: FakeAws) -> Iterator[Any]:
    """A boto3 client of ``service`` that ``backend`` answers."""
    real = boto_client(service)

    def respond(model: Any, params: dict[str, Any], **_kwargs: Any) -> tuple[Any, dict[str, Any]]:
        try:
            answer = backend.answer(model.name, sent[-1])
        except FakeError as error:
            return SimpleNamespace(status_code=error.status), {
                "Error": {"Code": error.code, "Message": error.message},
                "ResponseMetadata": {"HTTPStatusCode": error.status},
            }
        if model.output_shape is not None:
            report = ParamValidator().validate(answer, model.output_shape)
            assert not report.has_errors(), report.generate_report()
        return SimpleNamespace(status_code=200), answer

    sent: list[dict[str, Any]] = []

    def remember(params: dict[str, Any], **_kwargs: Any) -> None:
        sent.append(params)

    service_id = real.meta.service_model.service_id.hyphenize()
    hooks = {f"before-parameter-build.{service_id}": remember, f"before-call.{service_id}": respond}
    for event, hook in hooks.items():
        real.meta.events.register_first(event, hook)
    try:
        yield real
    finally:
        for event, hook in hooks.items():
            real.meta.events.unregister(event, hook)


def opening(clients: dict[str, Any]) -> Callable[..., Any]:
    """AnsibleAWSModule.client, for clients that are there."""

    def open_client(module: Any, service: str, retry_decorator: Any = None, config: Any = None) -> Any:
        assert config.retries["total_max_attempts"] == 1
        client = clients[service]
        return client if retry_decorator is None else RetryingBotoClientWrapper(client, retry_decorator)

    return open_client
