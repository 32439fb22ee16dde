"""Instances of Auto Scaling groups leave by way of standby, and always come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from ansible_collections.amazon.aws.plugins.module_utils.retries import RetryingBotoClientWrapper
from ansible_collections.carpentries.webapps.plugins.module_utils.auto_scaling import AutoScaling, AutoScalingApi, told
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import Patience
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.load_balancer import (
    LoadBalancer,
    Outcome,
    diff,
    strangers,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import Target
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups_api import TargetGroupsApi

from tests.unit.plugins.fake_elbv2 import FakeAws, FakeClock, FakeGroup, FakeScaling, client

WEB = [Target(instance_id=f"i-{number}", name=f"web-{number}") for number in range(1, 4)]

Connect = Callable[..., LoadBalancer]


@pytest.fixture
def aws() -> FakeAws:
    """Three healthy instances of the Auto Scaling group asg, which registers them in amy itself, and not in other."""
    amy, other = FakeGroup("amy"), FakeGroup("other")
    backend = FakeAws(FakeClock(), [amy, other])
    backend.add(amy, "i-1", "i-2", "i-3")
    backend.add(other, "i-1", "i-2", "i-3")
    backend.auto_scaling = dict.fromkeys(("i-1", "i-2", "i-3"), "asg")
    backend.scaling = {"asg": FakeScaling(attached=[amy])}
    return backend


@pytest.fixture
def connect(aws: FakeAws) -> Iterator[Connect]:
    retry = Patience(300, clock=aws.clock, sleep=aws.clock.sleep)
    with ExitStack() as stack:
        elbv2, autoscaling = (
            RetryingBotoClientWrapper(stack.enter_context(client(service, aws)), retry)
            for service in ("elbv2", "autoscaling")
        )

        def make(*targets: Target, **options: Any) -> LoadBalancer:
            how: dict[str, Any] = {"clock": aws.clock, "sleep": aws.clock.sleep} | options
            scaling = AutoScaling(AutoScalingApi(autoscaling, "eu-west-1"), targets, "standby", **how)
            return LoadBalancer(TargetGroupsApi(elbv2, "eu-west-1"), ("amy", "other"), targets, scaling, **how)

        yield make


def moves(outcome: Outcome) -> list[tuple[str, str]]:
    return [(step.host, step.action) for step in outcome.scaling]


def states(outcome: Outcome) -> set[str]:
    return {health.state for health in outcome.after.values()}


def written(aws: FakeAws) -> list[str]:
    return [name for name, _sent in aws.writes()]


def test_a_batch_goes_to_standby_before_it_leaves_and_nobody_replaces_it(aws: FakeAws, connect: Connect) -> None:
    outcome = connect(*WEB[:2]).leave("1", "draining")
    assert moves(outcome) == [("web-1 (i-1)", "enter_standby"), ("web-2 (i-2)", "enter_standby")]
    assert (outcome.changed, states(outcome)) == (True, {"draining"})
    assert written(aws) == ["EnterStandby", "DeregisterTargets", "DeregisterTargets"]
    assert aws.scaling["asg"].desired == 1


def test_it_comes_back_into_service_and_into_every_target_group(aws: FakeAws, connect: Connect) -> None:
    connect(*WEB[:2]).leave("1", "draining")
    outcome = connect(*WEB[:2]).join()
    assert [action for _host, action in moves(outcome)] == ["exit_standby"] * 2
    assert (states(outcome), aws.life("i-1"), aws.scaling["asg"].desired) == ({"healthy"}, "InService", 3)
    again = connect(*WEB[:2]).join()
    assert (again.changed, [action for _host, action in moves(again)]) == (False, ["none"] * 2)
    aws.clock.sleep(1000)
    assert {aws.state(group, "i-1") for group in aws.groups} == {"healthy"}


@pytest.mark.parametrize("calls", [1, 2])
def test_the_standby_member_of_a_killed_run_comes_back(aws: FakeAws, connect: Connect, calls: int) -> None:
    aws.dies_after = calls
    with pytest.raises(KeyboardInterrupt):
        connect(WEB[0]).leave("1", "draining")
    aws.dies_after = None
    assert aws.life("i-1") == "EnteringStandby"
    outcome = connect(WEB[0]).join()
    aws.clock.sleep(1000)
    assert moves(outcome) == [("web-1 (i-1)", "exit_standby")]
    assert (aws.life("i-1"), {aws.state(group, "i-1") for group in aws.groups}) == ("InService", {"healthy"})


def test_a_run_killed_after_standby_was_left_is_finished_by_the_next(aws: FakeAws, connect: Connect) -> None:
    connect(WEB[0]).leave("1", "unused")
    aws.dies_after = 1
    with pytest.raises(KeyboardInterrupt):
        connect(WEB[0]).join()
    aws.dies_after = None
    outcome = connect(WEB[0]).join()
    assert (states(outcome), aws.life("i-1"), aws.scaling["asg"].desired) == ({"healthy"}, "InService", 3)


def test_who_is_in_standby_already_leaves_without_a_second_call(aws: FakeAws, connect: Connect) -> None:
    connect(WEB[0]).leave("1", "draining")
    aws.calls.clear()
    outcome = connect(WEB[0]).leave("1", "draining")
    assert (outcome.changed, moves(outcome), aws.writes()) == (False, [("web-1 (i-1)", "none")], [])


def test_a_group_at_its_minimum_is_refused_before_anything_changed(aws: FakeAws, connect: Connect) -> None:
    aws.scaling["asg"].minimum = 2
    with pytest.raises(
        WebappsError, match=r"asg has a desired capacity of 3 and a MinSize of 2: .* Lower MinSize to 1"
    ):
        connect(*WEB[:2]).leave("1", "draining")
    with pytest.raises(WebappsError, match="Lower MinSize to 1"):
        connect(WEB[0]).observe("1", ["1", "70%"], 3)
    assert connect(WEB[0]).observe("1", ["1"], 3).changed is False
    assert aws.writes() == []


def test_members_that_a_killed_run_left_in_standby_do_not_stop_the_plan_of_the_next(
    aws: FakeAws, connect: Connect
) -> None:
    aws.scaling["asg"].minimum = 2
    connect(WEB[0]).leave("1", "draining")
    assert connect(WEB[1]).observe("1", ["1"], 3).changed is False


def test_too_few_healthy_hosts_are_refused_before_anybody_went_to_standby(aws: FakeAws, connect: Connect) -> None:
    aws.sick = {"i-2"}
    with pytest.raises(WebappsError, match="amy would keep 1 healthy of 3 registered"):
        connect(WEB[0]).leave("60%", "draining")
    assert aws.writes() == []


def test_a_group_that_could_not_take_hosts_back_is_refused(aws: FakeAws, connect: Connect) -> None:
    aws.scaling["asg"].suspended = ("AZRebalance", "Launch")
    for call in (lambda: connect(WEB[0]).leave("1", "draining"), lambda: connect(WEB[0]).observe("1", ["1"], 3)):
        with pytest.raises(WebappsError, match=r"Launch of the Auto Scaling group asg is suspended.*resume-processes"):
            call()
    assert aws.writes() == []


def test_who_may_not_come_back_from_standby_serves_all_the_same_and_the_run_fails(
    aws: FakeAws, connect: Connect
) -> None:
    connect(WEB[0]).leave("1", "unused")
    aws.scaling["asg"].maximum = 2
    with pytest.raises(WebappsError, match=r"have the hosts, healthy. But .* back from standby: .*MaxSize"):
        connect(WEB[0]).join()
    assert {aws.state(group, "i-1") for group in aws.groups} == {"healthy"}


@pytest.mark.parametrize("state", ["Terminating:Wait", "Detaching"])
def test_an_instance_that_is_being_taken_away_is_neither_moved_nor_registered(
    aws: FakeAws, connect: Connect, state: str
) -> None:
    aws.lives["i-1"] = [(0, state)]
    balancer = connect(WEB[0])
    for call in (balancer.join, lambda: balancer.leave("1", "draining"), lambda: balancer.observe("1")):
        with pytest.raises(WebappsError, match=rf"web-1 \(i-1\) is {state}: .*inventory"):
            call()
    assert aws.writes() == []


def test_an_instance_that_was_just_launched_cannot_leave_yet(aws: FakeAws, connect: Connect) -> None:
    aws.lives["i-1"] = [(0, "Pending:Wait")]
    with pytest.raises(WebappsError, match="only an instance that is InService"):
        connect(WEB[0]).leave("1", "draining")


def test_hosts_outside_auto_scaling_leave_and_join_as_always(aws: FakeAws, connect: Connect) -> None:
    del aws.auto_scaling["i-3"]
    assert moves(connect(WEB[2]).leave("1", "draining")) == []
    assert states(connect(WEB[2]).join()) == {"healthy"}
    assert set(written(aws)) == {"DeregisterTargets", "RegisterTargets"}


@pytest.mark.parametrize("operation", ["DescribeAutoScalingInstances", "DescribeAutoScalingGroups", "EnterStandby"])
def test_a_missing_right_is_named_and_nothing_has_left(aws: FakeAws, connect: Connect, operation: str) -> None:
    aws.denied = {operation}
    with pytest.raises(WebappsError, match=f"AccessDenied.*autoscaling:{operation}"):
        connect(WEB[0]).leave("1", "draining")
    assert aws.state(aws.groups[0], "i-1") == "healthy"


@pytest.mark.parametrize("operation", ["EnterStandby", "ExitStandby"])
def test_a_move_whose_answer_was_lost_is_taken_for_done(aws: FakeAws, connect: Connect, operation: str) -> None:
    aws.lost_answers[operation] = 1
    connect(WEB[0]).leave("1", "draining")
    assert states(connect(WEB[0]).join()) == {"healthy"}
    assert (aws.life("i-1"), aws.scaling["asg"].desired) == ("InService", 3)


def test_a_host_joins_though_auto_scaling_does_not_say_whether_it_is_in_standby(aws: FakeAws, connect: Connect) -> None:
    connect(WEB[0]).leave("1", "draining")
    aws.denied = {"DescribeAutoScalingInstances"}
    with pytest.raises(WebappsError, match=r"The target groups have the hosts, healthy. But Auto Scaling"):
        connect(WEB[0]).join()
    assert {aws.state(group, "i-1") for group in aws.groups} == {"healthy"}


def test_check_mode_says_what_would_be_done_and_does_not_do_it(aws: FakeAws, connect: Connect) -> None:
    planned = connect(WEB[0], check_mode=True).leave("1", "draining")
    assert (planned.changed, aws.writes(), aws.clock.sleeps) == (True, [], [])
    done = connect(WEB[0]).leave("1", "draining")
    assert (told(planned.scaling), diff(planned)) == (told(done.scaling), diff(done))
    assert diff(done)["after"]["asg: web-1 (i-1)"] == "Standby"
    aws.clock.sleep(60)
    aws.calls.clear()
    planned = connect(WEB[0], check_mode=True).join()
    assert (planned.changed, aws.writes()) == (True, [])
    done = connect(WEB[0]).join()
    assert (told(planned.scaling), diff(planned)) == (told(done.scaling), diff(done))


def test_members_that_no_inventory_has_are_named(aws: FakeAws, connect: Connect) -> None:
    aws.add(aws.groups[0], "i-4", since=0)
    aws.drain(aws.groups[0], "i-3")
    api = connect(*WEB).api
    assert [(one["target_group"], one["id"], one["state"]) for one in strangers(api, ["amy"], WEB[:2])] == [
        ("amy", "i-4", "initial")
    ]
