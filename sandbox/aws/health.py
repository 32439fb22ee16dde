"""What a target's health is, and how it changes: a pure state machine, without sockets, threads or clock.

An ALB says of every target in a target group which state it is in and why. `register` and `deregister` are what the
API calls do to that state; `advance` is what the passing of time, the group and the health checks do to it. All three
return the new health; `advance` also returns the orders that the data plane (HAProxy) has to carry out.

    (unregistered) --register--> initial --first passed check--> healthy <--thresholds--> unhealthy
                                    ^                               |                        |
                                    +----register again---- draining <------deregister-------+
                                                               |
                                                               +--deregistration delay--> unused, forgotten
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum


class State(StrEnum):
    """The states of a target, spelled as `describe_target_health` spells them."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    UNUSED = "unused"


class Reason(StrEnum):
    """The reason codes of AWS; a healthy target has none."""

    REGISTRATION_IN_PROGRESS = "Elb.RegistrationInProgress"
    INITIAL_HEALTH_CHECKING = "Elb.InitialHealthChecking"
    RESPONSE_CODE_MISMATCH = "Target.ResponseCodeMismatch"
    TIMEOUT = "Target.Timeout"
    FAILED_HEALTH_CHECKS = "Target.FailedHealthChecks"
    DEREGISTRATION_IN_PROGRESS = "Target.DeregistrationInProgress"
    NOT_REGISTERED = "Target.NotRegistered"
    NOT_IN_USE = "Target.NotInUse"
    INVALID_STATE = "Target.InvalidState"


_DESCRIPTIONS = {
    Reason.REGISTRATION_IN_PROGRESS: "Target registration is in progress",
    Reason.INITIAL_HEALTH_CHECKING: "Initial health checks in progress",
    Reason.RESPONSE_CODE_MISMATCH: "Health checks failed with these codes: [{detail}]",
    Reason.TIMEOUT: "Request timed out",
    Reason.FAILED_HEALTH_CHECKS: "Health checks failed",
    Reason.DEREGISTRATION_IN_PROGRESS: "Target deregistration is in progress",
    Reason.NOT_REGISTERED: "Target is not registered to the target group",
    Reason.NOT_IN_USE: "Target group is not configured to receive traffic from the load balancer",
    Reason.INVALID_STATE: "Target is in the {detail} state",
}


class Order(Enum):
    """What the data plane has to do with a target."""

    ADMIT = "check it from now on; no traffic before a check has passed"
    TRUST = "one check has passed: send it traffic, without waiting for the healthy threshold"
    DRAIN = "no new requests; those in flight go on"
    EJECT = "no requests; cut those in flight"


@dataclass(frozen=True)
class Policy:
    """The settings that decide when a target changes; all in seconds.

    propagation: from an API call until the data plane acts on it.
    deregistration_delay: how long a target drains.
    failing_for: how long a new target may fail its checks before it is called unhealthy (interval x threshold).
    """

    propagation: float
    deregistration_delay: float
    failing_for: float


@dataclass(frozen=True)
class Check:
    """What the data plane's health checks say about a target.

    up: the thresholds are met, the target gets traffic. passing: the last check passed, the threshold may not be met
    yet. failure: why the last check failed, None if it passed or none was made. detail: the HTTP status, if any.
    """

    up: bool = False
    passing: bool = False
    failure: Reason | None = None
    detail: str = ""


@dataclass(frozen=True)
class Facts:
    """What is true around a target at one moment.

    in_use: a listener forwards to the target's group. instance_state: the EC2 state, None for an IP target.
    ready: the data plane knows the target's group. check: None while the data plane does not know the target.
    """

    in_use: bool
    ready: bool
    instance_state: str | None = None
    check: Check | None = None


@dataclass(frozen=True)
class Health:
    """A target's health: its state, why, since when (clock seconds), and whether the data plane has followed."""

    state: State
    reason: Reason | None
    since: float
    detail: str = ""
    carried_out: bool = False

    @property
    def description(self) -> str | None:
        """The sentence that AWS gives with the reason code; None for a healthy target."""
        return _DESCRIPTIONS[self.reason].format(detail=self.detail) if self.reason else None

    @property
    def forgotten(self) -> bool:
        """True once the target has left its group for good."""
        return self.reason is Reason.NOT_REGISTERED

    def enter(self, now: float, state: State, reason: Reason | None, detail: str = "") -> Health:
        """Return the health after moving to `state`; the time of entry is kept if state and reason stay."""
        if (state, reason) == (self.state, self.reason):
            return replace(self, detail=detail)
        return Health(state, reason, now, detail)


def unregistered(now: float) -> Health:
    """Return the health of a target that its group does not know."""
    return Health(State.UNUSED, Reason.NOT_REGISTERED, now)


def register(known: Health | None, now: float, *, in_use: bool) -> Health:
    """Register a target. It cancels a drain; on a target that is registered already it changes nothing."""
    if known is not None and known.state is not State.DRAINING:
        return known
    if not in_use:
        return Health(State.UNUSED, Reason.NOT_IN_USE, now)
    return Health(State.INITIAL, Reason.REGISTRATION_IN_PROGRESS, now)


def deregister(known: Health, now: float) -> Health:
    """Deregister a target: it drains, unless it never could get traffic; a drain that is under way goes on."""
    if known.state is State.UNUSED:
        return unregistered(now)
    return known.enter(now, State.DRAINING, Reason.DEREGISTRATION_IN_PROGRESS)


def advance(health: Health, facts: Facts, policy: Policy, now: float) -> tuple[Health, tuple[Order, ...]]:
    """Return the health at `now` and what the data plane has to do about it."""
    if health.state is State.DRAINING:
        return _drain(health, policy, now)
    if facts.instance_state not in (None, "running"):
        return _suspend(health, now, Reason.INVALID_STATE, facts.instance_state or "")
    if not facts.in_use:
        return _suspend(health, now, Reason.NOT_IN_USE)
    if health.state is State.UNUSED:
        return health.enter(now, State.INITIAL, Reason.REGISTRATION_IN_PROGRESS), ()
    if health.reason is Reason.REGISTRATION_IN_PROGRESS:
        return _admit(health, facts, policy, now)
    if facts.check is None:
        return health, ()
    return _judge(health, facts.check, policy, now)


def _drain(health: Health, policy: Policy, now: float) -> tuple[Health, tuple[Order, ...]]:
    age = now - health.since
    # The data plane cannot cut a target off before it has heard of the call, however short the delay.
    if age >= max(policy.deregistration_delay, policy.propagation):
        return unregistered(now), (Order.EJECT,)
    if age >= policy.propagation and not health.carried_out:
        return replace(health, carried_out=True), (Order.DRAIN,)
    return health, ()


def _suspend(health: Health, now: float, reason: Reason, detail: str = "") -> tuple[Health, tuple[Order, ...]]:
    orders = () if health.state is State.UNUSED else (Order.EJECT,)
    return health.enter(now, State.UNUSED, reason, detail), orders


def _admit(health: Health, facts: Facts, policy: Policy, now: float) -> tuple[Health, tuple[Order, ...]]:
    if not facts.ready or now - health.since < policy.propagation:
        return health, ()
    return health.enter(now, State.INITIAL, Reason.INITIAL_HEALTH_CHECKING), (Order.ADMIT,)


def _judge(health: Health, check: Check, policy: Policy, now: float) -> tuple[Health, tuple[Order, ...]]:
    if check.up:
        return health.enter(now, State.HEALTHY, None), ()
    if health.state is State.INITIAL:
        if check.passing:
            return health, (Order.TRUST,)
        if check.failure is None or now - health.since < policy.failing_for:
            return health, ()
    # While a target recovers its checks pass, but the reason for which it is out stays.
    failure, detail = (check.failure, check.detail) if check.failure else (health.reason, health.detail)
    return health.enter(now, State.UNHEALTHY, failure or Reason.FAILED_HEALTH_CHECKS, detail), ()
