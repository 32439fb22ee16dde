"""What a task that uses load_balancer_member gets back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.modules import load_balancer_member

from tests.unit.plugins.fake_elbv2 import FakeAws, FakeClock, FakeGroup, FakeScaling, client, opening

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def aws() -> FakeAws:
    group = FakeGroup("amy")
    backend = FakeAws(FakeClock(), [group])
    backend.add(group, "i-1", "i-2")
    return backend


@pytest.fixture
def run(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the module with these parameters and returns the JSON it prints."""
    with ExitStack() as stack:
        clients = {
            service: stack.enter_context(client(service, aws)) for service in ("elbv2", "autoscaling", "sts", "iam")
        }
        monkeypatch.setattr(
            load_balancer_member.AnsibleAWSModule,
            "client",
            opening(clients),
        )
        clock = SimpleNamespace(monotonic=aws.clock, sleep=aws.clock.sleep)
        monkeypatch.setattr(load_balancer_member, "time", clock)

        def call(state: str, *targets: dict[str, Any], **parameters: Any) -> dict[str, Any]:
            arguments = {"state": state, "target_groups": ["amy"], "targets": list(targets), "region": "eu-west-1"}
            with patch_module_args(arguments | parameters), pytest.raises(SystemExit):
                load_balancer_member.main()
            result: dict[str, Any] = json.loads(capsys.readouterr().out)
            return result

        yield call


WEB_1 = {"name": "web-1", "instance_id": "i-1"}


def test_a_host_leaves_and_joins_with_evidence_of_both(run: Run) -> None:
    left = run("out_of_service", WEB_1)
    assert (left["changed"], left["deregistration_delay"]) == (True, 30)
    assert left["targets"] == [
        {
            "host": "web-1 (i-1)",
            "target_group": "amy",
            "id": "i-1",
            "port": 80,
            "before": {"state": "healthy", "reason": "", "description": ""},
            "after": {
                "state": "draining",
                "reason": "Target.DeregistrationInProgress",
                "description": "Target deregistration is in progress",
            },
            "action": "deregister",
        }
    ]
    joined = run("in_service", WEB_1)
    assert (joined["changed"], joined["targets"][0]["after"]["state"]) == (True, "healthy")
    assert joined["diff"]["before"] == {"amy: web-1 (i-1) port 80": "draining"}


def test_a_second_call_changes_nothing(run: Run) -> None:
    assert run("in_service", WEB_1)["changed"] is False
    run("out_of_service", WEB_1)
    assert run("out_of_service", WEB_1)["changed"] is False


def test_check_mode_makes_no_call_that_writes(run: Run, aws: FakeAws) -> None:
    planned = run("out_of_service", WEB_1, _ansible_check_mode=True)
    assert (planned["changed"], planned["targets"][0]["after"]["state"]) == (True, "draining")
    run("observed", WEB_1, _ansible_check_mode=True)
    run("in_service", {"instance_id": "i-3"}, _ansible_check_mode=True)
    assert aws.writes() == []


def test_a_look_ahead_counts_the_hosts_that_are_back_by_then(run: Run, aws: FakeAws) -> None:
    """The host that is out is rolled first; as of now the other one could not leave, by its turn it can."""
    web_2 = {"name": "web-2", "instance_id": "i-2"}
    aws.drain(aws.groups[0], "i-1")
    assert run("out_of_service", web_2, _ansible_check_mode=True)["failed"]
    foreseen = run("out_of_service", web_2, expected_healthy=[WEB_1], _ansible_check_mode=True)
    assert (foreseen["changed"], foreseen["targets"][0]["action"]) == (True, "deregister")
    # Whoever really leaves depends on what is, not on what is hoped for.
    assert run("out_of_service", web_2, expected_healthy=[WEB_1])["failed"]
    assert aws.writes() == []


def test_a_refusal_is_a_message_and_no_traceback(run: Run) -> None:
    result = run("out_of_service", WEB_1, minimum_healthy="100%")
    assert result["failed"]
    assert result["msg"].startswith("Refused to leave: amy would keep 1 healthy of 2 registered without web-1 (i-1)")
    assert "exception" not in result


def test_a_way_back_keeps_in_service_whom_nobody_could_take_the_users_from(run: Run, aws: FakeAws) -> None:
    result = run("out_of_service", WEB_1, minimum_healthy="100%", too_few_left="stay")
    assert (result["changed"], result["targets"][0]["after"]["state"]) == (False, "healthy")
    assert "Nobody left: amy would keep 1 healthy of 2" in str(result["warnings"])
    assert aws.writes() == []


def test_a_way_back_goes_on_where_auto_scaling_lets_nobody_go(run: Run, aws: FakeAws) -> None:
    aws.auto_scaling, aws.scaling = {"i-1": "asg"}, {"asg": FakeScaling(minimum=1, desired=1, attached=[aws.groups[0]])}
    asked: dict[str, Any] = {"auto_scaling": "standby", "minimum_healthy": "0"}
    assert run("out_of_service", WEB_1, **asked)["failed"]
    result = run("out_of_service", WEB_1, too_few_left="stay", **asked)
    assert (result["changed"], result["targets"][0]["after"]["state"]) == (False, "healthy")
    assert "Nobody left: The Auto Scaling group asg has a desired capacity of 1 and a MinSize of 1" in str(
        result["warnings"]
    )
    assert aws.writes() == []


@pytest.mark.parametrize("denied", ["DescribeTargetGroups", "DescribeTargetHealth", "DeregisterTargets"])
def test_a_way_back_goes_on_where_aws_denies_what_leaving_needs(run: Run, aws: FakeAws, denied: str) -> None:
    aws.denied = {denied}
    assert run("out_of_service", WEB_1)["failed"]
    result = run("out_of_service", WEB_1, too_few_left="stay")
    assert not result.get("failed")
    assert result["changed"] is False
    assert f"not authorized to perform: {denied}" in str(result["warnings"])


def test_a_way_back_tells_who_has_left_all_the_same_and_joining_brings_him_back(run: Run, aws: FakeAws) -> None:
    aws.auto_scaling, aws.scaling = {"i-1": "asg"}, {"asg": FakeScaling(attached=[aws.groups[0]])}
    aws.denied = {"DeregisterTargets"}
    result = run("out_of_service", WEB_1, too_few_left="stay", auto_scaling="standby")
    assert (result["changed"], result["targets"][0]["after"]["state"]) == (True, "draining")
    assert "Leaving failed midway" in str(result["warnings"])
    assert run("in_service", WEB_1, auto_scaling="standby")["targets"][0]["after"]["state"] == "healthy"


def test_a_way_back_does_not_wait_for_an_aws_that_fails_for_longer_than_it_may(run: Run, aws: FakeAws) -> None:
    aws.throttled["DeregisterTargets"] = 1000
    result = run("out_of_service", WEB_1, too_few_left="stay")
    assert not result.get("failed")
    assert "this task lost" in str(result["warnings"])


def test_a_failure_to_join_carries_every_target(run: Run, aws: FakeAws) -> None:
    aws.sick = {"i-1"}
    result = run("in_service", WEB_1, timeout=5)
    assert result["targets"][0]["after"]["reason"] == "Target.ResponseCodeMismatch"
    assert result["waited"] == 5


def test_a_missing_right_is_said_in_the_words_of_aws(run: Run, aws: FakeAws) -> None:
    aws.denied = {"DescribeTargetHealth"}
    result = run("observed", WEB_1)
    assert "not authorized to perform: DescribeTargetHealth" in result["msg"]
    assert '"Action": "elasticloadbalancing:DescribeTargetHealth"' in result["msg"]
    assert "exception" not in result


def test_a_group_that_does_not_exist_is_asked_for_once(run: Run, aws: FakeAws) -> None:
    assert "it has: amy." in run("in_service", WEB_1, target_groups=["amy-production"])["msg"]
    assert aws.count("DescribeTargetGroups") == 2


def test_a_warning_of_the_plan_reaches_the_operator(run: Run) -> None:
    result = run("observed", WEB_1, minimum_healthy="2")
    assert "As of now leaving would be refused" in str(result["warnings"])


def test_a_target_without_any_identity_is_refused(run: Run) -> None:
    assert "instance_id, ip_address" in run("observed", {"name": "web-1"})["msg"]


def test_the_attributes_that_decide_how_long_it_takes_are_told(run: Run, aws: FakeAws) -> None:
    aws.groups[0].slow_start = 40
    assert run("observed", WEB_1)["target_groups"] == [
        {
            "name": "amy",
            "deregistration_delay": 30,
            "interval": 5,
            "health_timeout": 2,
            "healthy_threshold": 2,
            "slow_start": 40,
        }
    ]


def test_a_batch_in_which_nobody_leaves_is_foreseen_without_a_move(run: Run, aws: FakeAws) -> None:
    found = run("out_of_service", _ansible_check_mode=True)
    assert (found["changed"], found["targets"]) == (False, [])
    assert aws.writes() == []


def test_a_batch_that_leaves_is_foreseen_and_a_refusal_is_its_sentence(run: Run, aws: FakeAws) -> None:
    found = run("out_of_service", WEB_1, _ansible_check_mode=True)
    assert [each["action"] for each in found["targets"]] == ["deregister"]
    assert "Refused to leave" in run("out_of_service", WEB_1, minimum_healthy="2", _ansible_check_mode=True)["msg"]
    assert aws.writes() == []


def test_a_member_of_an_auto_scaling_group_goes_to_standby_and_comes_back(run: Run, aws: FakeAws) -> None:
    aws.auto_scaling, aws.scaling = {"i-1": "asg"}, {"asg": FakeScaling(attached=[aws.groups[0]])}
    left = run("out_of_service", WEB_1, auto_scaling="standby")
    step = {"host": "web-1 (i-1)", "group": "asg"}
    assert left["auto_scaling"] == [
        step | {"before": "InService", "after": "Standby", "action": "enter_standby"},
    ]
    back = run("in_service", WEB_1, auto_scaling="standby")
    assert (back["changed"], back["auto_scaling"][0]["action"]) == (True, "exit_standby")
    assert run("in_service", WEB_1, auto_scaling="standby")["changed"] is False


def test_batches_that_could_never_leave_are_refused_when_observed(run: Run) -> None:
    result = run("observed", WEB_1, minimum_healthy="2", batches=["1"], hosts=2)
    assert "would keep 1 of 2 hosts" in result["msg"]


def test_a_right_to_change_something_is_missed_before_anything_changed(run: Run, aws: FakeAws) -> None:
    aws.simulated = {"elasticloadbalancing:DeregisterTargets": "implicitDeny"}
    message = run("observed", WEB_1)["msg"]
    assert message.startswith(f"{aws.caller} may not elasticloadbalancing:DeregisterTargets (implicitDeny)")
    assert aws.groups[0].arn in message
    assert aws.writes() == []


def test_a_plan_does_not_wait_as_long_for_aws_as_a_host_that_is_out(run: Run, aws: FakeAws) -> None:
    aws.throttled["DescribeTargetHealth"] = 1000
    begin = aws.clock()
    assert "Rate exceeded" in run("observed", WEB_1)["msg"]
    planned = aws.clock() - begin
    assert "this task lost" in run("in_service", WEB_1)["msg"]
    assert planned <= 60 < aws.clock() - begin - planned <= 300
