"""Leaving and joining target groups, against a balancer that takes its time as the real one does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.amazon.aws.plugins.module_utils.retries import RetryingBotoClientWrapper
from ansible_collections.carpentries.webapps.plugins.module_utils.auto_scaling import AutoScaling, AutoScalingApi
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import Patience, statement
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_rights import Needed, Rights
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.load_balancer import (
    LONGEST_PAUSE,
    LoadBalancer,
    Outcome,
    describe,
    diff,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import Target
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups_api import TargetGroupsApi

from tests.unit.plugins.fake_elbv2 import ACCOUNT, FakeAws, FakeClock, FakeGroup, client

WEB = [Target(instance_id=f"i-{number}", ip_address=f"10.0.0.{number}", name=f"web-{number}") for number in range(1, 4)]

Connect = Callable[..., LoadBalancer]


@pytest.fixture
def aws() -> FakeAws:
    """Three healthy hosts in the group amy; the group other belongs to somebody else."""
    group = FakeGroup("amy")
    backend = FakeAws(FakeClock(), [group, FakeGroup("other"), FakeGroup("more")])
    backend.add(group, "i-1", "i-2", "i-3")
    return backend


@pytest.fixture
def connect(aws: FakeAws) -> Iterator[Connect]:
    """Makes LoadBalancers that talk to the fake through boto3 and Patience, as the module's do."""
    retry = Patience(300, clock=aws.clock, sleep=aws.clock.sleep)
    with ExitStack() as stack:
        elbv2, autoscaling = (
            RetryingBotoClientWrapper(stack.enter_context(client(service, aws)), retry)
            for service in ("elbv2", "autoscaling")
        )

        def make(
            *targets: Target, groups: tuple[str, ...] = ("amy",), auto_scaling: str = "refuse", **options: Any
        ) -> LoadBalancer:
            how: dict[str, Any] = {"clock": aws.clock, "sleep": aws.clock.sleep} | options
            scaling = AutoScaling(AutoScalingApi(autoscaling, "eu-west-1"), targets, auto_scaling, **how)
            return LoadBalancer(TargetGroupsApi(elbv2, "eu-west-1"), groups, targets, scaling, **how)

        yield make


def actions(outcome: Outcome) -> list[str]:
    return list(outcome.actions.values())


def states(outcome: Outcome) -> list[str]:
    return [health.state for health in outcome.after.values()]


def test_a_whole_batch_leaves_in_one_call_and_draining_is_enough(aws: FakeAws, connect: Connect) -> None:
    outcome = connect(*WEB[:2]).leave("1", "draining")
    assert (outcome.changed, actions(outcome), states(outcome)) == (True, ["deregister"] * 2, ["draining"] * 2)
    targets = [{"Id": "i-1", "Port": 80}, {"Id": "i-2", "Port": 80}]
    assert aws.writes() == [("DeregisterTargets", {"TargetGroupArn": aws.groups[0].arn, "Targets": targets})]
    assert aws.state(aws.groups[0], "i-3") == "healthy"


def test_leaving_waits_until_the_balancer_says_draining(aws: FakeAws, connect: Connect) -> None:
    aws.lag = 4
    outcome = connect(WEB[0]).leave("1", "draining")
    assert states(outcome) == ["draining"]
    assert outcome.waited >= 4


def test_leaving_waits_for_the_whole_delay_when_asked_to(aws: FakeAws, connect: Connect) -> None:
    outcome = connect(WEB[0]).leave("1", "unused")
    assert (actions(outcome), states(outcome)) == (["deregister"], ["unused"])
    assert 30 <= outcome.waited <= 30 + LONGEST_PAUSE


def test_who_drains_or_is_gone_is_out_and_nothing_is_called(aws: FakeAws, connect: Connect) -> None:
    aws.drain(aws.groups[0], "i-1")
    outcome = connect(WEB[0], Target("i-4")).leave("1", "draining")
    assert (outcome.changed, actions(outcome), aws.writes()) == (False, ["none", "none"], [])


def test_who_drains_is_waited_for_when_unused_is_asked_for(aws: FakeAws, connect: Connect) -> None:
    aws.drain(aws.groups[0], "i-1")
    outcome = connect(WEB[0]).leave("1", "unused")
    assert (outcome.changed, actions(outcome), states(outcome)) == (False, ["wait"], ["unused"])


def test_leaving_below_the_minimum_is_refused_before_anybody_left(aws: FakeAws, connect: Connect) -> None:
    aws.sick = {"i-3"}
    with pytest.raises(WebappsError, match=r"amy would keep 0 healthy of 3 registered without web-1 .*, web-2"):
        connect(*WEB[:2]).leave("1", "draining")
    assert aws.writes() == []


def test_an_unhealthy_host_may_leave_although_nobody_else_serves(aws: FakeAws, connect: Connect) -> None:
    aws.sick = {"i-1", "i-2", "i-3"}
    assert states(connect(WEB[0]).leave("100%", "draining")) == ["draining"]


def test_a_percentage_decides_how_many_may_leave(aws: FakeAws, connect: Connect) -> None:
    assert connect(WEB[0]).leave("60%", "draining").changed
    with pytest.raises(WebappsError, match="would keep 1 healthy"):
        connect(WEB[1]).leave("60%", "draining")


def test_leaving_that_has_no_effect_fails_with_what_aws_says(aws: FakeAws, connect: Connect) -> None:
    aws.lag = 1000
    with pytest.raises(WebappsError, match=r"amy: web-1 \(i-1\) port 80 is healthy after 60 s") as failure:
        connect(WEB[0]).leave("1", "draining")
    assert failure.value.details["waited"] == 60


def test_instances_of_auto_scaling_may_not_leave(aws: FakeAws, connect: Connect) -> None:
    aws.auto_scaling = {"i-1": "amy-asg"}
    with pytest.raises(WebappsError, match=r"Auto Scaling manages i-1 \(group amy-asg\)"):
        connect(*WEB[:2]).leave("1", "draining")
    assert aws.writes() == []
    assert connect(*WEB[:2], auto_scaling="ignore").leave("1", "draining").changed


def test_no_right_to_ask_auto_scaling_names_the_right_and_the_way_around(aws: FakeAws, connect: Connect) -> None:
    aws.denied = {"DescribeAutoScalingInstances"}
    with pytest.raises(WebappsError, match=r"autoscaling:DescribeAutoScalingInstances.*load_balancer_auto_scaling"):
        connect(WEB[0]).leave("1", "draining")
    assert connect(WEB[0], auto_scaling="ignore").leave("1", "draining").changed


@pytest.mark.parametrize("rule", ["3", "67%"])
def test_batches_that_could_never_leave_are_refused_with_the_numbers_before_a_deploy(
    aws: FakeAws, connect: Connect, rule: str
) -> None:
    aws.sick = {"i-2"}
    for host in (WEB[0], WEB[2]):
        with pytest.raises(WebappsError, match=r"amy would keep 2 of 3 hosts, .* when 1 leave.*deploy_batches"):
            connect(host).observe(rule, ["1"], 3)
    with pytest.raises(WebappsError, match=r"keep 1 of 3 hosts, .* when 2 leave together, .* is 50% \(2\)"):
        connect(WEB[0]).observe("50%", ["1", "70%"], 3)
    assert connect(WEB[0]).observe("50%", ["1", "50%"], 3).changed is False


def test_hosts_that_are_out_after_a_killed_run_do_not_stop_the_next(aws: FakeAws, connect: Connect) -> None:
    aws.drain(aws.groups[0], "i-1")
    aws.drain(aws.groups[0], "i-2")
    for host in WEB:
        assert connect(host).observe("2", ["1"], 3).changed is False


def test_a_fleet_that_does_not_serve_yet_or_leaves_nobody_is_not_refused(aws: FakeAws, connect: Connect) -> None:
    assert connect(Target("i-4"), groups=("other",)).observe("1", ["100%"], 1).changed is False
    assert connect(WEB[0]).observe("100%", [], 3).changed is False


def test_healthy_hosts_are_left_alone_when_they_join(aws: FakeAws, connect: Connect) -> None:
    outcome = connect(*WEB).join()
    assert (outcome.changed, actions(outcome), aws.writes(), aws.clock.sleeps) == (False, ["none"] * 3, [], [])


def test_who_is_gone_joins_and_is_waited_for(aws: FakeAws, connect: Connect) -> None:
    outcome = connect(Target("i-4")).join()
    assert (actions(outcome), states(outcome), aws.state(aws.groups[0], "i-4")) == (
        ["register"],
        ["healthy"],
        "healthy",
    )
    assert outcome.waited >= 2


def test_who_drains_joins_again_and_stays_after_the_delay(aws: FakeAws, connect: Connect) -> None:
    """elb_target returns ok without a call here, and the host falls out some minutes later."""
    aws.drain(aws.groups[0], "i-1")
    outcome = connect(WEB[0]).join()
    aws.clock.sleep(1000)
    assert (actions(outcome), aws.state(aws.groups[0], "i-1")) == (["register"], "healthy")


def test_who_is_registered_and_initial_is_waited_for_without_a_call(aws: FakeAws, connect: Connect) -> None:
    """elb_target returns ok at once here."""
    aws.add(aws.groups[0], "i-4", since=0)
    outcome = connect(Target("i-4")).join()
    assert (outcome.changed, actions(outcome), states(outcome), aws.writes()) == (False, ["wait"], ["healthy"], [])
    assert outcome.waited > 0


def test_who_is_registered_and_unhealthy_is_waited_for_until_it_recovers(aws: FakeAws, connect: Connect) -> None:
    aws.sick, aws.recovers_at = {"i-1"}, {"i-1": aws.clock.now + 20}
    outcome = connect(WEB[0]).join()
    assert (actions(outcome), states(outcome)) == (["wait"], ["healthy"])
    assert outcome.waited >= 20


def test_who_never_gets_healthy_fails_with_reason_code_description_and_time(aws: FakeAws, connect: Connect) -> None:
    aws.sick = {"i-2"}
    with pytest.raises(WebappsError) as failure:
        connect(*WEB).join()
    # 5 s x 2 + 2 s, and a minute.
    assert failure.value.message.startswith(
        "amy: web-2 (i-2) port 80 is unhealthy "
        "(Target.ResponseCodeMismatch: Health checks failed with these codes: [503]) after 72 s"
    )
    targets = failure.value.details["targets"]
    assert isinstance(targets, list)
    assert [target["after"]["state"] for target in targets] == ["healthy", "unhealthy", "healthy"]


def test_all_must_be_healthy_at_the_same_time(aws: FakeAws, connect: Connect) -> None:
    aws.sick, aws.recovers_at = {"i-1", "i-2"}, {"i-1": aws.clock.now + 5, "i-2": aws.clock.now + 30}
    assert states(connect(*WEB).join()) == ["healthy"] * 3


def test_a_timeout_in_seconds_replaces_the_derived_one(aws: FakeAws, connect: Connect) -> None:
    aws.sick = {"i-1"}
    with pytest.raises(WebappsError, match=r"after 7 s .*allowed are 7 s, by load_balancer_timeout"):
        connect(WEB[0], timeout=7).join()
    with pytest.raises(WebappsError, match="after 0 s"):
        connect(WEB[0], timeout=0).join()


def test_polling_gets_gentler(aws: FakeAws, connect: Connect) -> None:
    aws.sick = {"i-1"}
    with pytest.raises(WebappsError):
        connect(WEB[0], timeout=200).join()
    assert aws.clock.sleeps[0] == 1
    assert max(aws.clock.sleeps) == LONGEST_PAUSE
    assert aws.count("DescribeTargetHealth") < 30


def test_a_group_without_listener_fails_before_anything_is_registered(aws: FakeAws, connect: Connect) -> None:
    aws.groups[0].in_use = False
    with pytest.raises(WebappsError, match=r"No listener .* forwards to the target group amy.*NotInUse"):
        connect(Target("i-4")).join()
    assert (aws.writes(), aws.clock.sleeps) == ([], [])


def test_a_target_in_a_zone_that_is_off_fails_at_once_with_the_cause(
    aws: FakeAws, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = FakeAws.describe
    monkeypatch.setattr(FakeAws, "describe", staticmethod(lambda group: described(replace(group, in_use=True))))
    aws.groups[0].in_use = False
    with pytest.raises(WebappsError, match=r"unused \(Target.NotInUse: .*which no waiting changes: give the group"):
        connect(WEB[0]).join()
    assert aws.clock.sleeps == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_stopped_instance_fails_at_once_with_the_cause(aws: FakeAws, connect: Connect, check_mode: bool) -> None:
    aws.stopped = {"i-1"}
    with pytest.raises(WebappsError, match=r"unused \(Target.InvalidState: .*: start the instance"):
        connect(WEB[0], check_mode=check_mode).join()
    assert aws.clock.sleeps == []


def test_a_target_of_a_group_without_listener_leaves_it(aws: FakeAws, connect: Connect) -> None:
    """elb_target only warns here."""
    aws.groups[0].in_use = False
    assert states(connect(WEB[0]).leave("1", "draining")) == ["draining"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_instance_that_does_not_exist_cannot_join(aws: FakeAws, connect: Connect, check_mode: bool) -> None:
    with pytest.raises(WebappsError, match=r"web-9 \(i-9\) port 80 cannot .* group amy: InvalidTarget: .*'i-9'"):
        connect(Target("i-9", name="web-9"), check_mode=check_mode).join()


@pytest.mark.parametrize("name", ["amy-prod", f"{ACCOUNT}:targetgroup/amy-prod/0123456789abcdef", "arn:nonsense"])
def test_a_group_that_does_not_exist_fails_at_once_and_names_what_exists(
    aws: FakeAws, connect: Connect, name: str
) -> None:
    """elb_target takes more than three minutes for it."""
    with pytest.raises(WebappsError, match=r"which eu-west-1 does not have; it has: amy, more, other") as failure:
        connect(WEB[0], groups=("amy", name))
    assert failure.value.message.startswith(f"load_balancer_target_groups names {name},")
    assert aws.count("DescribeTargetGroups") <= 4


def test_groups_are_named_or_given_by_arn_and_each_counts_once(aws: FakeAws, connect: Connect) -> None:
    balancer = connect(WEB[0], groups=("other", aws.groups[0].arn, "amy", "more"))
    assert [group.name for group in balancer.groups] == ["other", "amy", "more"]


def test_no_groups_are_nothing_to_do_and_ask_nobody(aws: FakeAws, connect: Connect) -> None:
    for outcome in (
        connect(WEB[0], groups=()).observe("1"),
        connect(WEB[0], groups=()).leave("1", "unused"),
        connect(WEB[0], groups=()).join(),
    ):
        assert (outcome.changed, outcome.members) == (False, [])
    assert aws.calls == []


def test_no_targets_are_nothing_to_do(aws: FakeAws, connect: Connect) -> None:
    assert connect().leave("1", "draining").changed is False
    assert connect().join().changed is False
    assert aws.writes() == []


def test_two_groups_with_ports_of_their_own_are_left_and_joined_exactly(aws: FakeAws, connect: Connect) -> None:
    amy, other = aws.groups[:2]
    host = Target("i-4", ports={"other": 8080})
    aws.add(amy, "i-4")
    aws.add(other, "i-4", port=8080)
    aws.add(other, "i-2")
    groups = ("amy", "other")
    assert states(connect(host, groups=groups).leave("1", "unused")) == ["unused", "unused"]
    sent = [(name, call["TargetGroupArn"], call["Targets"]) for name, call in aws.writes()]
    assert sent == [
        ("DeregisterTargets", amy.arn, [{"Id": "i-4", "Port": 80}]),
        ("DeregisterTargets", other.arn, [{"Id": "i-4", "Port": 8080}]),
    ]
    assert states(connect(host, groups=groups).join()) == ["healthy", "healthy"]
    assert (aws.state(amy, "i-4"), aws.state(other, "i-4", 8080)) == ("healthy", "healthy")
    assert aws.state(other, "i-4") == "unused"


def test_a_port_that_nobody_declared_is_refused_in_every_direction(aws: FakeAws, connect: Connect) -> None:
    aws.add(aws.groups[0], "i-4", port=8080)
    with pytest.raises(WebappsError, match=r"registered in amy on port 8080, which is not declared"):
        connect(Target("i-4"))
    assert aws.writes() == []


def test_a_group_of_addresses_is_left_and_joined_by_address(aws: FakeAws, connect: Connect) -> None:
    aws.groups[1].target_type = "ip"
    aws.add(aws.groups[1], "10.0.0.1", "10.0.0.2")
    connect(WEB[0], groups=("other",)).leave("1", "draining")
    assert states(connect(WEB[0], groups=("other",)).join()) == ["healthy"]
    assert [call["Targets"] for _name, call in aws.writes()] == [[{"Id": "10.0.0.1", "Port": 80}]] * 2


def test_a_call_killed_between_two_groups_is_repaired_by_calling_again(aws: FakeAws, connect: Connect) -> None:
    amy, other = aws.groups[:2]
    aws.add(other, "i-1", "i-2")
    aws.dies_after = 1
    with pytest.raises(KeyboardInterrupt):
        connect(WEB[0], groups=("amy", "other")).leave("1", "draining")
    assert (aws.state(amy, "i-1"), aws.state(other, "i-1")) == ("draining", "healthy")
    aws.dies_after = None
    assert actions(connect(WEB[0], groups=("amy", "other")).leave("1", "draining")) == ["none", "deregister"]

    aws.clock.sleep(31)
    aws.dies_after = 1
    with pytest.raises(KeyboardInterrupt):
        connect(WEB[0], groups=("amy", "other")).join()
    aws.dies_after = None
    outcome = connect(WEB[0], groups=("amy", "other")).join()
    assert (actions(outcome), states(outcome)) == (["wait", "register"], ["healthy", "healthy"])


@pytest.mark.parametrize(
    "operation", ["DescribeTargetGroups", "DescribeTargetGroupAttributes", "DescribeTargetHealth", "DeregisterTargets"]
)
def test_throttling_is_retried(aws: FakeAws, connect: Connect, operation: str) -> None:
    aws.throttled[operation] = 3
    assert states(connect(WEB[0]).leave("1", "draining")) == ["draining"]


@pytest.mark.parametrize("trouble", ["broken", "hanging"])
@pytest.mark.parametrize("operation", ["DescribeTargetGroups", "DescribeTargetHealth", "DeregisterTargets"])
def test_a_500_and_an_answer_that_is_late_are_asked_for_again(
    aws: FakeAws, connect: Connect, operation: str, trouble: str
) -> None:
    getattr(aws, trouble)[operation] = 3
    assert states(connect(WEB[0]).leave("1", "draining")) == ["draining"]


@pytest.mark.parametrize("operation", ["RegisterTargets", "DeregisterTargets"])
def test_a_denied_right_is_named_with_its_statement_and_asked_for_once(
    aws: FakeAws, connect: Connect, operation: str
) -> None:
    aws.denied = {operation}
    with pytest.raises(WebappsError, match=r"AWS denies elasticloadbalancing:.*not authorized to perform") as raised:
        connect(Target("i-4")).join() if operation == "RegisterTargets" else connect(WEB[0]).leave("1", "draining")
    assert statement([f"elasticloadbalancing:{operation}"], [aws.groups[0].arn]) in raised.value.message
    assert aws.count(operation) == 1


def test_whoever_left_before_aws_failed_joins_when_it_is_back(aws: FakeAws, connect: Connect) -> None:
    leaving = connect(WEB[0])
    aws.throttled["DescribeTargetHealth"] = 1000
    with pytest.raises(WebappsError, match=r"Rate exceeded.*attempts"):
        leaving.leave("1", "draining")
    assert aws.state(aws.groups[0], "i-1") == "unused"
    aws.throttled.clear()
    assert states(connect(WEB[0]).join()) == ["healthy"]


def test_a_right_that_leaving_needs_is_missed_when_observed(aws: FakeAws, connect: Connect) -> None:
    class Denying(Rights):
        def check(self, needed: Needed) -> None:
            raise WebappsError(repr(needed))

    with pytest.raises(WebappsError) as raised:
        connect(WEB[0]).observe("1", rights=Denying(lambda service: None))
    assert "elasticloadbalancing:DeregisterTargets" in raised.value.message
    assert aws.groups[0].arn in raised.value.message


def test_observing_returns_the_health_of_all_and_changes_nothing(aws: FakeAws, connect: Connect) -> None:
    aws.sick = {"i-2"}
    outcome = connect(*WEB).observe("1")
    assert (outcome.changed, states(outcome), aws.writes()) == (False, ["healthy", "unhealthy", "healthy"], [])
    assert (outcome.warnings, aws.clock.sleeps) == ([], [])


def test_observing_warns_when_a_host_could_not_leave_now(aws: FakeAws, connect: Connect) -> None:
    aws.sick = {"i-2", "i-3"}
    (warning,) = connect(*WEB).observe("1").warnings
    assert warning.startswith("As of now leaving would be refused: amy would keep 0 healthy of 3 registered")


def test_observing_refuses_hosts_that_are_in_no_group_and_may_not_join(aws: FakeAws, connect: Connect) -> None:
    stranger = Target("i-4", name="web-4", may_join=False)
    with pytest.raises(
        WebappsError, match=r"web-4 \(i-4\) is in none of the target groups amy.*load_balancer_register"
    ):
        connect(WEB[0], stranger).observe("1")
    assert connect(WEB[0], replace(stranger, may_join=True)).observe("1").changed is False


def test_observing_accepts_a_host_that_drains_or_is_in_one_group_of_two(aws: FakeAws, connect: Connect) -> None:
    aws.drain(aws.groups[0], "i-1")
    connect(replace(WEB[0], may_join=False), groups=("amy", "other")).observe("1")


def test_observing_refuses_what_would_fail_later(aws: FakeAws, connect: Connect) -> None:
    with pytest.raises(WebappsError, match="InvalidTarget"):
        connect(Target("i-9")).observe("1")
    aws.auto_scaling = {"i-1": "amy-asg"}
    with pytest.raises(WebappsError, match="Auto Scaling manages i-1"):
        connect(WEB[0]).observe("1")
    aws.groups[0].in_use = False
    with pytest.raises(WebappsError, match="No listener"):
        connect(WEB[1]).observe("1")


@pytest.mark.parametrize("wait_for", ["draining", "unused"])
def test_check_mode_says_what_leaving_would_do_and_does_not_do_it(
    aws: FakeAws, connect: Connect, wait_for: str
) -> None:
    aws.drain(aws.groups[0], "i-1")
    outcome = connect(*WEB[:2], check_mode=True).leave("1", wait_for)
    assert outcome.changed
    assert (actions(outcome)[1], states(outcome)) == ("deregister", [wait_for] * 2)
    assert (aws.writes(), aws.clock.sleeps) == ([], [])


def test_check_mode_says_what_joining_would_do_and_does_not_do_it(aws: FakeAws, connect: Connect) -> None:
    aws.drain(aws.groups[0], "i-1")
    aws.sick = {"i-2"}
    outcome = connect(*WEB, Target("i-4"), check_mode=True).join()
    assert actions(outcome) == ["register", "wait", "none", "register"]
    assert (states(outcome), aws.writes(), aws.clock.sleeps) == (["healthy"] * 4, [], [])


def test_check_mode_refuses_what_would_be_refused(aws: FakeAws, connect: Connect) -> None:
    with pytest.raises(WebappsError, match="Refused to leave"):
        connect(*WEB, check_mode=True).leave("1", "draining")


def test_check_mode_and_the_real_run_agree(aws: FakeAws, connect: Connect) -> None:
    for state in ("leave", "join"):
        planned = getattr(connect(WEB[0], check_mode=True), state)(*(("1", "draining") if state == "leave" else ()))
        done = getattr(connect(WEB[0]), state)(*(("1", "draining") if state == "leave" else ()))
        assert (diff(planned), describe(planned)) == (diff(done), describe(done))


def test_the_diff_shows_states_and_is_empty_when_nothing_was_done(aws: FakeAws, connect: Connect) -> None:
    assert diff(connect(WEB[0]).leave("1", "draining")) == {
        "before": {"amy: web-1 (i-1) port 80": "healthy"},
        "after": {"amy: web-1 (i-1) port 80": "draining"},
    }
    again = diff(connect(WEB[0]).leave("1", "unused"))
    assert again["before"] == again["after"]
