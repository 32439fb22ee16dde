"""The first batch is watched, and what is out of bounds ends the roll with the numbers seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from ansible_collections.amazon.aws.plugins.module_utils.retries import RetryingBotoClientWrapper
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import Patience
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.soak import (
    Bounds,
    CloudWatchApi,
    Soak,
    Soaked,
    dimensions_of,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import Target, declared_members
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups_api import TargetGroupsApi

from tests.unit.plugins.fake_elbv2 import FakeAws, FakeClock, FakeGroup, client

NOON = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)

Make = Callable[..., Soak]


@pytest.fixture
def aws() -> FakeAws:
    group = FakeGroup("amy")
    backend = FakeAws(FakeClock(), [group], alarms={"5xx": "OK", "slow": "OK"})
    backend.add(group, "i-1", "i-2")
    return backend


@pytest.fixture
def make(aws: FakeAws) -> Iterator[Make]:
    retry = Patience(300, clock=aws.clock, sleep=aws.clock.sleep)
    with ExitStack() as stack:
        elbv2, cloudwatch = (
            RetryingBotoClientWrapper(stack.enter_context(client(service, aws)), retry)
            for service in ("elbv2", "cloudwatch")
        )
        balancer = TargetGroupsApi(elbv2, "eu-west-1")
        groups = balancer.groups(["amy"])
        members = declared_members(groups, [Target("i-1", name="web-1")])

        def build(*alarms: str, bounds: Bounds = Bounds(), needs_data: bool = False) -> Soak:  # noqa: B008
            return Soak(
                CloudWatchApi(cloudwatch, "eu-west-1"),
                groups,
                members,
                lambda: balancer.health(groups),
                alarms,
                bounds,
                needs_data,
                aws.clock,
                aws.clock.sleep,
            )

        yield build


def test_a_quiet_time_is_watched_to_its_end_and_no_longer(aws: FakeAws, make: Make) -> None:
    soaked = make("5xx", "slow").watch(100, 15, NOON)
    assert (soaked.waited, aws.clock.sleeps, soaked.warnings) == (100, [15] * 6 + [10], [])
    assert [alarm.state for alarm in soaked.alarms] == ["OK", "OK"]


def test_an_alarm_ends_it_at_once_with_its_reason(aws: FakeAws, make: Make) -> None:
    aws.rings_at = {"slow": aws.clock.now + 40}
    with pytest.raises(WebappsError, match=r"slow is ALARM \(It is ALARM\.\), 45 s after the first batch") as failure:
        make("5xx", "slow").watch(600, 15, NOON)
    assert failure.value.details["alarms"] == [
        {"name": "5xx", "state": "OK", "reason": "It is OK."},
        {"name": "slow", "state": "ALARM", "reason": "It is ALARM."},
    ]


def test_an_alarm_in_the_last_second_counts(aws: FakeAws, make: Make) -> None:
    aws.rings_at = {"5xx": aws.clock.now + 60}
    with pytest.raises(WebappsError, match="60 s after"):
        make("5xx").watch(60, 15, NOON)


def test_an_alarm_without_data_is_told_and_fails_only_when_asked_to(aws: FakeAws, make: Make) -> None:
    aws.alarms["slow"] = "INSUFFICIENT_DATA"
    assert "slow is INSUFFICIENT_DATA" in make("slow").watch(30, 15, NOON).warnings[0]
    with pytest.raises(WebappsError, match=r"load_balancer_soak_insufficient_data is fail.*tell"):
        make("slow", needs_data=True).watch(30, 15, NOON)


def test_a_host_that_falls_ill_ends_it_with_what_the_balancer_says(aws: FakeAws, make: Make) -> None:
    aws.sick = {"i-1"}
    with pytest.raises(WebappsError, match=r"web-1 \(i-1\) port 80 is unhealthy \(Target.ResponseCodeMismatch"):
        make().watch(60, 15, NOON)


def test_another_host_that_is_ill_is_none_of_its_business(aws: FakeAws, make: Make) -> None:
    aws.sick = {"i-2"}
    assert make().watch(60, 15, NOON).waited == 60


def test_too_many_errors_end_it_with_the_numbers(aws: FakeAws, make: Make) -> None:
    aws.metrics = {"RequestCount": [600.0, 400.0], "HTTPCode_Target_5XX_Count": [11.0]}
    with pytest.raises(WebappsError, match=r"amy answered 11 of 1000 requests with 5xx, 1.10 %; allowed are 1 %"):
        make(bounds=Bounds(error_percent=1)).watch(600, 15, NOON)
    figures = make(bounds=Bounds(error_percent=1.1)).watch(300, 15, NOON).told()["figures"]
    assert figures == [{"target_group": "amy", "requests": 1000, "errors": 11, "error_percent": 1.1, "latency": None}]


def test_one_slow_minute_ends_it_with_its_latency(aws: FakeAws, make: Make) -> None:
    aws.metrics = {"RequestCount": [600.0], "TargetResponseTime": [0.2, 2.5, 0.3]}
    with pytest.raises(WebappsError, match=r"p95 latency of 2.500 s; allowed are 2 s"):
        make(bounds=Bounds(latency=2, statistic="p95")).watch(600, 15, NOON)
    sent = next(call["MetricDataQueries"] for name, call in aws.calls if name == "GetMetricData")
    assert [query["MetricStat"]["Stat"] for query in sent] == ["Sum", "Sum", "p95"]
    assert sent[0]["MetricStat"]["Metric"]["Dimensions"] == [
        {"Name": "TargetGroup", "Value": "targetgroup/amy/0123456789abcdef"},
        {"Name": "LoadBalancer", "Value": "app/amy/0123456789abcdef"},
    ]


def test_too_few_requests_are_not_judged_and_that_is_told(aws: FakeAws, make: Make) -> None:
    aws.metrics = {"RequestCount": [4.0], "HTTPCode_Target_5XX_Count": [4.0]}
    (warning,) = make(bounds=Bounds(error_percent=1)).watch(300, 15, NOON).warnings
    assert warning.startswith("amy had 4 requests that CloudWatch has after 300 s, too few to judge")


def test_the_minute_before_does_not_count(aws: FakeAws, make: Make) -> None:
    make(bounds=Bounds(error_percent=1)).watch(300, 15, NOON)
    asked = [call for name, call in aws.calls if name == "GetMetricData"]
    assert {call["StartTime"] for call in asked} == {NOON.replace(minute=1, second=0)}
    assert min(call["EndTime"] for call in asked) == NOON.replace(minute=1, second=15)


@pytest.mark.parametrize("watch", [True, False])
def test_an_alarm_that_does_not_exist_is_refused(make: Make, watch: bool) -> None:
    soak = make("5xx", "nothing")
    with pytest.raises(WebappsError, match="names nothing, which CloudWatch in eu-west-1 does not have"):
        soak.watch(60, 15, NOON) if watch else soak.check(60, NOON)


def test_an_alarm_that_rings_before_the_deploy_stops_it(aws: FakeAws, make: Make) -> None:
    aws.alarms["5xx"] = "ALARM"
    with pytest.raises(WebappsError, match=r"5xx is ALARM .*, before anything was deployed"):
        make("5xx").check(60, NOON)


def test_checking_waits_for_nothing_and_needs_nobody_to_be_healthy(aws: FakeAws, make: Make) -> None:
    aws.sick = {"i-1"}
    aws.metrics = {"RequestCount": [100.0], "HTTPCode_Target_5XX_Count": [100.0]}
    assert isinstance(make("5xx", bounds=Bounds(error_percent=1)).check(300, NOON), Soaked)
    assert aws.clock.sleeps == []


def test_bounds_that_could_not_be_judged_in_time_are_refused(make: Make) -> None:
    with pytest.raises(WebappsError, match=r"load_balancer_soak is 60 s, .* give 180 or more"):
        make(bounds=Bounds(latency=1)).check(60, NOON)
    with pytest.raises(WebappsError, match='load_balancer_soak_statistic is "slowest"'):
        make(bounds=Bounds(latency=1, statistic="slowest")).check(300, NOON)


def test_a_network_load_balancer_has_alarms_but_no_figures(make: Make) -> None:
    group = replace(make().groups[0], load_balancers=("arn:aws:x:eu-west-1:1:loadbalancer/net/amy/01",))
    with pytest.raises(WebappsError, match="net/amy/01, which is no Application Load Balancer"):
        dimensions_of(group)


@pytest.mark.parametrize("operation", ["DescribeAlarms", "GetMetricData"])
def test_a_missing_right_is_named(aws: FakeAws, make: Make, operation: str) -> None:
    aws.denied = {operation}
    with pytest.raises(WebappsError, match=f'"Action": "cloudwatch:{operation}"'):
        make("5xx", bounds=Bounds(error_percent=1)).check(300, NOON)


def test_throttling_is_retried(aws: FakeAws, make: Make) -> None:
    aws.throttled["DescribeAlarms"] = 3
    assert make("5xx").watch(15, 15, NOON).waited >= 15


def test_no_alarms_are_asked_of_nobody(aws: FakeAws, make: Make) -> None:
    make().watch(60, 15, NOON)
    assert (aws.count("DescribeAlarms"), aws.count("GetMetricData")) == (0, 0)
