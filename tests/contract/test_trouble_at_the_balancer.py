"""A roll whose AWS fails after hosts have left: they join again, whatever it was; and what is asked at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from sandbox.aws.endpoint import start_api
from sandbox.aws.journal import Journal
from sandbox.aws.trouble import Trouble

ROOT = Path(__file__).parent.parent.parent
HOSTS = {"web-1": "10.0.0.1", "web-2": "10.0.0.2"}
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "eu-west-1"}


@dataclass
class Aws:
    """moto with orders of trouble, and a target group whose targets are healthy as soon as they are registered."""

    directory: Path
    url: str
    elbv2: Any
    group: str

    def order(self, *orders: dict[str, Any]) -> None:
        numbered = [{"id": str(number), **order} for number, order in enumerate(orders)]
        (self.directory / "trouble.json").write_text(json.dumps(numbered))

    def calls(self, action: str) -> list[int]:
        lines = (self.directory / "calls.jsonl").read_text().splitlines()
        return [call["status"] for call in map(json.loads, lines) if call["action"] == action]

    def members(self) -> set[str]:
        told = self.elbv2.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        return {one["Target"]["Id"] for one in told if one["TargetHealth"]["State"] == "healthy"}


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Aws]:
    server = start_api("127.0.0.1", 0, Journal(tmp_path / "calls.jsonl"), Trouble(tmp_path / "trouble.json"))
    url = f"http://127.0.0.1:{server.port}"
    # boto3's types have a client for each literal name.
    client: Any = boto3.client
    ec2, elbv2 = (client(service, endpoint_url=url, **KEYS) for service in ("ec2", "elbv2"))
    network = ec2.describe_subnets()["Subnets"][:2]
    subnets = [subnet["SubnetId"] for subnet in network]
    group = elbv2.create_target_group(
        Name="amy", Protocol="HTTP", Port=80, VpcId=network[0]["VpcId"], TargetType="ip", HealthCheckIntervalSeconds=5,
        HealthyThresholdCount=2, HealthCheckTimeoutSeconds=2,
    )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
    balancer = elbv2.create_load_balancer(Name="amy", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    forward = [{"Type": "forward", "TargetGroupArn": group}]
    elbv2.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=forward)
    elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": address} for address in HOSTS.values()])
    yield Aws(tmp_path, url, elbv2, group)
    elbv2.delete_load_balancer(LoadBalancerArn=balancer)
    elbv2.delete_target_group(TargetGroupArn=group)
    server.shutdown()
    server.server_close()


def roll() -> dict[str, Any]:
    """The roll as roll_web.yml has it, of which only leaving and its rescue are left."""
    (play,) = yaml.safe_load((ROOT / "playbooks/roll_web.yml").read_text())
    (work,) = play["tasks"]
    kept = [task for task in work["block"] if task["name"] == "Leave the target groups"]
    return {**play, "become": False, "serial": 2, "tasks": [{**work, "block": kept}]}


def named(play: dict[str, Any], task: str) -> dict[str, Any]:
    """A play of which one task is left, at whatever depth, without its condition."""
    todo = list(play["tasks"])
    while todo:
        found = todo.pop()
        if found["name"] == task:
            return {**play, "become": False, "tasks": [{key: found[key] for key in found if key != "when"}]}
        todo += [*found.get("block", []), *found.get("rescue", [])]
    raise AssertionError(task)


def rolled(aws: Aws) -> str:
    said = played(aws, roll())
    assert "failed=1" in said, said
    return said


def played(aws: Aws, play: dict[str, Any], **more: Any) -> str:
    hosts = {
        name: {
            "load_balancer_target": {"name": name, "ip_address": address},
            "__gunicorn_published": {"changed": True, "previous_generation": "before"},
        }
        for name, address in HOSTS.items()
    }
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_playbook_python": sys.executable,
        "webapps_domain": "amy.example.org",
        "webapps_root": str(aws.directory),
        "webapps_release": "x",
        "deploy_planned": "x",
        "load_balancer_target_groups": ["amy"],
        "load_balancer_auto_scaling": "ignore",
        "load_balancer_minimum_healthy": "0",
        "load_balancer_region": "eu-west-1",
    }
    groups = {
        "web": {"hosts": hosts},
        "deploy_goes_back": {"hosts": {"web-0": {}}},
        "builder": {"hosts": {"web-1": {}}},
    }
    (aws.directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups, "vars": shared}}))
    (aws.directory / "group_vars").symlink_to(ROOT / "playbooks/group_vars")
    (aws.directory / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    ansible_playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [ansible_playbook, "-i", "hosts.yml", "play.yml", "-e", json.dumps(more)]
    environment = {
        **os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"), "no_proxy": "*",
        "AWS_ENDPOINT_URL": aws.url, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
    }  # fmt: skip
    done = subprocess.run(
        command, cwd=aws.directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    return done.stdout


# The first look is before anybody leaves, the second waits for the balancer.
WAITING = {"action": "DescribeTargetHealth", "code": "AccessDenied", "after": 1, "calls": 1}


def test_a_wait_that_fails_after_the_batch_has_left_ends_with_everybody_in_the_pool(aws: Aws) -> None:
    aws.order(WAITING)
    said = rolled(aws)
    assert aws.calls("DeregisterTargets") == [200]
    assert aws.members() == set(HOSTS.values()), said
    assert "AWS denies elasticloadbalancing:DescribeTargetHealth" in said


def test_a_right_that_is_denied_ends_the_roll_at_once_with_its_statement(aws: Aws) -> None:
    aws.order({"action": "DeregisterTargets", "code": "AccessDenied"})
    said = rolled(aws)
    assert aws.calls("DeregisterTargets") == [403]
    assert aws.members() == set(HOSTS.values()), said
    assert "user/sandbox is not authorized to perform: elasticloadbalancing:DeregisterTargets" in said
    assert aws.group in said[said.index("Add to the IAM policy") :]


@pytest.mark.parametrize(("code", "status"), [("Throttling", 400), ("InternalFailure", 500)])
def test_joining_again_outlasts_an_aws_that_fails_for_a_while(aws: Aws, code: str, status: int) -> None:
    aws.order(WAITING, {"action": "RegisterTargets", "code": code, "calls": 3})
    said = rolled(aws)
    assert aws.calls("RegisterTargets").count(status) == 3
    assert aws.members() == set(HOSTS.values()), said


def test_of_several_hosts_that_are_lost_all_leave(aws: Aws) -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks/roll_web.yml").read_text())
    leave = named({**play, "serial": 2}, "Take a host that is lost out of the target groups")
    said = played(aws, leave, __deploy_reached={"unreachable": True})
    assert aws.members() == set(), said


def test_of_several_hosts_that_served_nothing_before_all_leave(aws: Aws) -> None:
    title = "Go back | Take hosts that served nothing before out of service"
    (play,) = [one for one in yaml.safe_load((ROOT / "playbooks/go_back.yml").read_text()) if one["name"] == title]
    said = played(aws, named(play, "Leave the target groups"), deploy_returning=["web-0"])
    assert aws.members() == set(), said


def test_a_deploy_does_not_end_with_a_host_outside_that_joined_before(aws: Aws) -> None:
    prove = yaml.safe_load((ROOT / "playbooks/finish.yml").read_text())[0]
    aws.elbv2.deregister_targets(TargetGroupArn=aws.group, Targets=[{"Id": HOSTS["web-1"]}])
    said = played(aws, named(prove, "See that the balancer finds every web host healthy"))
    assert aws.members() == set(HOSTS.values()), said
