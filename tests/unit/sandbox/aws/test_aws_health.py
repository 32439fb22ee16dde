"""The state machine of a target's health, driven by a table of events on a clock that stands still between them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.aws.health import (
    Check,
    Facts,
    Health,
    Order,
    Policy,
    Reason,
    State,
    advance,
    deregister,
    register,
    unregistered,
)

POLICY = Policy(propagation=2, deregistration_delay=15, failing_for=10)
SERVING = Facts(in_use=True, ready=True, instance_state="running")

UP = Check(up=True, passing=True)
UNCHECKED = Check()
PASSED_ONCE = Check(passing=True)
MISMATCH = Check(failure=Reason.RESPONSE_CODE_MISMATCH, detail="503")
TIMEOUT = Check(failure=Reason.TIMEOUT)
REFUSED = Check(failure=Reason.FAILED_HEALTH_CHECKS)


def health(state: State, reason: Reason | None = None, since: float = 100, **rest: object) -> Health:
    return Health(state, reason, since, **rest)  # type: ignore[arg-type]


REGISTERING = health(State.INITIAL, Reason.REGISTRATION_IN_PROGRESS)
CHECKING = health(State.INITIAL, Reason.INITIAL_HEALTH_CHECKING)
HEALTHY = health(State.HEALTHY)
FAILING = health(State.UNHEALTHY, Reason.RESPONSE_CODE_MISMATCH, detail="503")
DRAINING = health(State.DRAINING, Reason.DEREGISTRATION_IN_PROGRESS)
DRAINED = replace(DRAINING, carried_out=True)
NOT_IN_USE = health(State.UNUSED, Reason.NOT_IN_USE)
STOPPED = health(State.UNUSED, Reason.INVALID_STATE, detail="stopped")


@pytest.mark.parametrize(
    ("before", "age", "facts", "state", "reason", "orders"),
    [
        # A new target: nothing happens before the API call has propagated, then it is checked.
        (REGISTERING, 1.9, SERVING, "initial", "Elb.RegistrationInProgress", []),
        (REGISTERING, 2.0, SERVING, "initial", "Elb.InitialHealthChecking", [Order.ADMIT]),
        (REGISTERING, 9.0, replace(SERVING, ready=False), "initial", "Elb.RegistrationInProgress", []),
        # A check of an earlier registration does not count.
        (REGISTERING, 1.0, replace(SERVING, check=UP), "initial", "Elb.RegistrationInProgress", []),
        # One passed check is enough for a new target; before that it waits.
        (CHECKING, 1.0, SERVING, "initial", "Elb.InitialHealthChecking", []),
        (CHECKING, 1.0, replace(SERVING, check=UNCHECKED), "initial", "Elb.InitialHealthChecking", []),
        (CHECKING, 1.0, replace(SERVING, check=PASSED_ONCE), "initial", "Elb.InitialHealthChecking", [Order.TRUST]),
        (CHECKING, 1.0, replace(SERVING, check=UP), "healthy", None, []),
        # A new target that fails is given the unhealthy threshold's time.
        (CHECKING, 9.9, replace(SERVING, check=MISMATCH), "initial", "Elb.InitialHealthChecking", []),
        (CHECKING, 10.0, replace(SERVING, check=MISMATCH), "unhealthy", "Target.ResponseCodeMismatch", []),
        (CHECKING, 10.0, replace(SERVING, check=TIMEOUT), "unhealthy", "Target.Timeout", []),
        (CHECKING, 10.0, replace(SERVING, check=REFUSED), "unhealthy", "Target.FailedHealthChecks", []),
        # A healthy target stays so until HAProxy has seen the threshold.
        (HEALTHY, 60, replace(SERVING, check=UP), "healthy", None, []),
        (HEALTHY, 60, replace(SERVING, check=replace(TIMEOUT, up=True)), "healthy", None, []),
        (HEALTHY, 60, replace(SERVING, check=TIMEOUT), "unhealthy", "Target.Timeout", []),
        (HEALTHY, 60, SERVING, "healthy", None, []),
        # A recovering target keeps its reason until it is back, and needs no order to be.
        (FAILING, 5, replace(SERVING, check=PASSED_ONCE), "unhealthy", "Target.ResponseCodeMismatch", []),
        (FAILING, 5, replace(SERVING, check=REFUSED), "unhealthy", "Target.FailedHealthChecks", []),
        (FAILING, 5, replace(SERVING, check=UP), "healthy", None, []),
        # A drain takes the whole delay; the data plane stops new requests once it has heard of it, and only once.
        (DRAINING, 1.9, replace(SERVING, check=UP), "draining", "Target.DeregistrationInProgress", []),
        (DRAINING, 2.0, replace(SERVING, check=UP), "draining", "Target.DeregistrationInProgress", [Order.DRAIN]),
        (DRAINED, 14.9, SERVING, "draining", "Target.DeregistrationInProgress", []),
        (DRAINED, 15.0, SERVING, "unused", "Target.NotRegistered", [Order.EJECT]),
        # A group that is no longer in use, or an instance that stops, does not stop a drain.
        (DRAINED, 5, replace(SERVING, in_use=False), "draining", "Target.DeregistrationInProgress", []),
        (DRAINED, 5, replace(SERVING, instance_state="stopped"), "draining", "Target.DeregistrationInProgress", []),
        # Unused, and back.
        (HEALTHY, 60, replace(SERVING, in_use=False), "unused", "Target.NotInUse", [Order.EJECT]),
        (HEALTHY, 60, replace(SERVING, instance_state="stopped"), "unused", "Target.InvalidState", [Order.EJECT]),
        (NOT_IN_USE, 60, replace(SERVING, in_use=False), "unused", "Target.NotInUse", []),
        (NOT_IN_USE, 60, SERVING, "initial", "Elb.RegistrationInProgress", []),
        (STOPPED, 60, SERVING, "initial", "Elb.RegistrationInProgress", []),
        # An IP target has no instance.
        (HEALTHY, 60, replace(SERVING, instance_state=None, check=UP), "healthy", None, []),
    ],
)
def test_time_group_and_checks_move_a_target(
    before: Health, age: float, facts: Facts, state: str, reason: str | None, orders: list[Order]
) -> None:
    after, given = advance(before, facts, POLICY, before.since + age)
    assert (after.state.value, after.reason and after.reason.value, list(given)) == (state, reason, orders)


def test_a_state_is_entered_once_and_its_time_kept() -> None:
    failing, _orders = advance(CHECKING, replace(SERVING, check=MISMATCH), POLICY, 110)
    later, _orders = advance(failing, replace(SERVING, check=replace(MISMATCH, detail="500")), POLICY, 120)
    assert (failing.since, later.since) == (110, 110)
    assert later.description == "Health checks failed with these codes: [500]"


def test_the_data_plane_hears_of_a_drain_only_once() -> None:
    draining, first = advance(DRAINING, SERVING, POLICY, 103)
    _health, second = advance(draining, SERVING, POLICY, 104)
    assert (first, second) == ((Order.DRAIN,), ())


def test_a_delay_shorter_than_the_lag_ends_with_the_lag() -> None:
    hasty = replace(POLICY, deregistration_delay=0)
    assert advance(DRAINING, SERVING, hasty, 101)[0].state is State.DRAINING
    assert advance(DRAINING, SERVING, hasty, 102)[1] == (Order.EJECT,)


@pytest.mark.parametrize(
    ("known", "in_use", "state", "reason"),
    [
        (None, True, "initial", "Elb.RegistrationInProgress"),
        (None, False, "unused", "Target.NotInUse"),
        (DRAINED, True, "initial", "Elb.RegistrationInProgress"),
        (HEALTHY, True, "healthy", None),
        (FAILING, True, "unhealthy", "Target.ResponseCodeMismatch"),
        (CHECKING, True, "initial", "Elb.InitialHealthChecking"),
    ],
)
def test_registering_starts_a_target_or_cancels_its_drain_or_does_nothing(
    known: Health | None, in_use: bool, state: str, reason: str | None
) -> None:
    after = register(known, 200, in_use=in_use)
    assert (after.state.value, after.reason and after.reason.value) == (state, reason)


def test_a_target_that_comes_back_from_a_drain_waits_for_the_lag_again() -> None:
    returned = register(DRAINED, 110, in_use=True)
    assert (returned.since, returned.carried_out) == (110, False)


@pytest.mark.parametrize("known", [REGISTERING, CHECKING, HEALTHY, FAILING])
def test_deregistering_a_target_drains_it(known: Health) -> None:
    after = deregister(known, 200)
    assert (after.state, after.since) == (State.DRAINING, 200)


def test_deregistering_a_draining_target_does_not_prolong_the_drain() -> None:
    assert deregister(DRAINED, 110) == DRAINED


@pytest.mark.parametrize("known", [NOT_IN_USE, STOPPED])
def test_a_target_without_traffic_is_deregistered_at_once(known: Health) -> None:
    assert deregister(known, 200).forgotten


@pytest.mark.parametrize(
    ("of", "description"),
    [
        (REGISTERING, "Target registration is in progress"),
        (CHECKING, "Initial health checks in progress"),
        (HEALTHY, None),
        (FAILING, "Health checks failed with these codes: [503]"),
        (health(State.UNHEALTHY, Reason.TIMEOUT), "Request timed out"),
        (health(State.UNHEALTHY, Reason.FAILED_HEALTH_CHECKS), "Health checks failed"),
        (DRAINING, "Target deregistration is in progress"),
        (unregistered(0), "Target is not registered to the target group"),
        (NOT_IN_USE, "Target group is not configured to receive traffic from the load balancer"),
        (STOPPED, "Target is in the stopped state"),
    ],
)
def test_the_descriptions_are_those_of_aws(of: Health, description: str | None) -> None:
    assert of.description == description
