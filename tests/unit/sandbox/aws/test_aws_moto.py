"""The seam to moto, against moto in this process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import moto
import pytest
from moto.elbv2 import models as elbv2

from sandbox.aws import moto_elbv2
from sandbox.aws.haproxy_config import FixedResponse, Forward, Redirect
from sandbox.aws.registry import Registry, Target


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry behind an empty mocked account; moto's own methods are put back afterwards."""
    for owner, names in (
        (elbv2.FakeTargetGroup, ("register", "deregister", "deregister_terminated_instances")),
        (elbv2.ELBv2Backend, ("describe_target_health",)),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    known = Registry(clock=lambda: 0.0)
    with moto.mock_aws():
        moto_elbv2.install(known)
        yield known


@pytest.fixture
def elb(registry: Registry) -> Any:
    return boto3.client("elbv2", region_name="eu-west-1")


@pytest.fixture
def ec2(registry: Registry) -> Any:
    return boto3.client("ec2", region_name="eu-west-1")


def make_group(elb: Any, ec2: Any, kind: str = "instance", **settings: Any) -> str:
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made = elb.create_target_group(Name=kind, Protocol="HTTP", Port=80, VpcId=vpc, TargetType=kind, **settings)
    return str(made["TargetGroups"][0]["TargetGroupArn"])


def make_balancer(elb: Any, ec2: Any) -> str:
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    return str(elb.create_load_balancer(Name="amy", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"])


def listen(elb: Any, balancer: str, port: int, action: dict[str, Any], **settings: Any) -> None:
    protocol = "HTTPS" if settings else "HTTP"
    elb.create_listener(LoadBalancerArn=balancer, Protocol=protocol, Port=port, DefaultActions=[action], **settings)


def make_instance(ec2: Any) -> str:
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    return str(ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"])


def states(elb: Any, group: str, *targets: dict[str, Any]) -> list[tuple[str, int, str, str | None]]:
    asked = {"Targets": list(targets)} if targets else {}
    answer = elb.describe_target_health(TargetGroupArn=group, **asked)["TargetHealthDescriptions"]
    return [
        (one["Target"]["Id"], one["Target"]["Port"], one["TargetHealth"]["State"], one["TargetHealth"].get("Reason"))
        for one in answer
    ]


def test_moto_is_the_version_that_its_methods_were_replaced_for() -> None:
    pinned = re.search(r"^moto\[.*\]==(.*)$", (Path(moto_elbv2.__file__).parent / "requirements.in").read_text(), re.M)
    assert pinned
    assert moto.__version__ == pinned[1]


def test_registering_and_deregistering_go_through_the_registry(elb: Any, ec2: Any, registry: Registry) -> None:
    group, instance = make_group(elb, ec2), make_instance(ec2)
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": instance}])
    assert states(elb, group) == [(instance, 80, "unused", "Target.NotInUse")]
    listen(elb, make_balancer(elb, ec2), 80, {"Type": "forward", "TargetGroupArn": group})
    other = make_instance(ec2)
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": other, "Port": 8080}])
    assert registry.targets() == [Target(group, instance, 80), Target(group, other, 8080)]
    assert states(elb, group)[1] == (other, 8080, "initial", "Elb.RegistrationInProgress")
    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": other}])
    assert states(elb, group)[1][2] == "initial", "another port is another target"
    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": other, "Port": 8080}])
    assert states(elb, group)[1][2:] == ("draining", "Target.DeregistrationInProgress")


def test_a_target_that_was_never_registered_is_unused_and_may_be_deregistered(elb: Any, ec2: Any) -> None:
    group = make_group(elb, ec2, "ip")
    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": "10.77.1.11"}])
    assert states(elb, group, {"Id": "10.77.1.11"}) == [("10.77.1.11", 80, "unused", "Target.NotRegistered")]


@pytest.mark.parametrize(
    ("kind", "target"), [("instance", "i-0123456789abcdef0"), ("instance", "10.77.1.11"), ("ip", "i-0123456789abcdef0")]
)
def test_a_target_that_is_not_there_or_of_another_kind_is_refused(elb: Any, ec2: Any, kind: str, target: str) -> None:
    group = make_group(elb, ec2, kind)
    with pytest.raises(elb.exceptions.InvalidTargetException):
        elb.register_targets(TargetGroupArn=group, Targets=[{"Id": target}])


def test_a_terminated_instance_drains(elb: Any, ec2: Any) -> None:
    group, instance = make_group(elb, ec2), make_instance(ec2)
    listen(elb, make_balancer(elb, ec2), 80, {"Type": "forward", "TargetGroupArn": group})
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": instance}])
    ec2.terminate_instances(InstanceIds=[instance])
    assert states(elb, group) == [(instance, 80, "draining", "Target.DeregistrationInProgress")]


def test_the_account_is_read_as_listeners_and_groups(elb: Any, ec2: Any, tmp_path: Path) -> None:
    group = make_group(
        elb, ec2, HealthCheckPath="/alive/", HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2,
        UnhealthyThresholdCount=3, Matcher={"HttpCode": "200-299"},
    )  # fmt: skip
    elb.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "15"}]
    )
    balancer = make_balancer(elb, ec2)
    redirect = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    listen(elb, balancer, 80, {"Type": "redirect", "RedirectConfig": redirect})
    listen(elb, balancer, 81, {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}})
    listen(elb, balancer, 82, {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": group}]}})
    account = moto_elbv2.read_account(tmp_path)
    found = account.groups[group]
    assert {listener.port: listener.action for listener in account.listeners} == {
        80: Redirect(status=301, protocol="HTTPS", port="443"),
        81: FixedResponse(503),
        82: Forward(found.config.name),
    }
    assert (found.in_use, found.deregistration_delay) == (True, 15)
    check = found.config.check
    assert (check.path, check.matcher, check.interval, check.timeout) == ("/alive/", "200-299", 5, 2)
    assert (check.healthy_threshold, check.unhealthy_threshold, check.port) == (5, 3, None)


def test_of_two_listeners_on_one_port_the_older_is_served(elb: Any, ec2: Any, tmp_path: Path) -> None:
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
    listen(elb, make_balancer(elb, ec2), 80, fixed)
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    second = elb.create_load_balancer(Name="second", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    listen(elb, second, 80, fixed)
    assert [listener.name for listener in moto_elbv2.read_account(tmp_path).listeners] == ["amy-80"]


def test_the_address_and_state_of_an_instance_are_found(elb: Any, ec2: Any) -> None:
    group, instance = make_group(elb, ec2), make_instance(ec2)
    described = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    assert moto_elbv2.instance(group, instance) == (described["PrivateIpAddress"], "running")
    assert moto_elbv2.instance(group, "10.77.1.11") is None
