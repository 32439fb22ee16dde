"""What passes is asked for again, within a time; what does not is told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import Patience, passes, remedy
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from tests.unit.plugins.fake_elbv2 import FakeClock


def refusal(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "DeregisterTargets")


@pytest.mark.parametrize(
    "error",
    [
        refusal("Throttling"),
        refusal("ThrottlingException"),
        refusal("RequestLimitExceeded", 503),
        refusal("InternalFailure", 500),
        refusal("502", 502),
        ReadTimeoutError(endpoint_url="x"),
        ConnectTimeoutError(endpoint_url="x"),
        EndpointConnectionError(endpoint_url="x"),
    ],
)
def test_throttling_failures_of_aws_and_lost_connections_pass(error: Exception) -> None:
    assert passes(error)


@pytest.mark.parametrize(
    "error",
    [
        refusal("AccessDenied", 403),
        refusal("ValidationError"),
        refusal("TargetGroupNotFound"),
        refusal("ExpiredToken", 403),
        refusal("501", 501),
        NoCredentialsError(),
        SSLError(endpoint_url="x", error="certificate verify failed"),
    ],
)
def test_nothing_else_does(error: Exception) -> None:
    assert not passes(error)


def failing(times: int, error: Exception, clock: FakeClock, each: float = 0.0) -> Callable[[], str]:
    left = [times]

    def call() -> str:
        clock.now += each
        if left[0]:
            left[0] -= 1
            raise error
        return "done"

    return call


def test_pauses_grow_to_a_bound_and_are_never_in_step() -> None:
    clock = FakeClock()
    patience = Patience(1000, clock=clock, sleep=clock.sleep, chance=lambda: 0.5)
    assert patience(failing(7, refusal("Throttling"), clock))() == "done"
    assert clock.sleeps == [0.75, 1.5, 3, 6, 12, 15, 15]


def test_all_calls_of_a_task_share_its_time_and_the_error_says_what_it_lost() -> None:
    clock = FakeClock()
    patience = Patience(60, clock=clock, sleep=clock.sleep, chance=lambda: 0)
    patience(failing(1, ReadTimeoutError(endpoint_url="x"), clock, each=30))()
    with pytest.raises(WebappsError, match=r"Throttling.*the last of 5 attempts, and this task lost 46 s to AWS"):
        patience(failing(99, refusal("Throttling"), clock))()


def test_what_does_not_pass_is_asked_for_once() -> None:
    clock = FakeClock()
    with pytest.raises(ClientError, match="AccessDenied"):
        Patience(60, clock=clock, sleep=clock.sleep)(failing(1, refusal("AccessDenied", 403), clock))()
    assert clock.sleeps == []


def test_a_statement_is_the_remedy_of_a_denied_right_alone() -> None:
    given = remedy(refusal("AccessDenied", 403), "autoscaling:EnterStandby", "Try again.")
    assert given.endswith('{"Effect": "Allow", "Action": "autoscaling:EnterStandby", "Resource": "*"}')
    assert remedy(refusal("ValidationError"), "autoscaling:EnterStandby", "Try again.") == "Try again."
