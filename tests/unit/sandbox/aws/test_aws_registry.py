"""The registry that API and balancer share."""

from __future__ import annotations

from sandbox.aws.health import Check, Facts, Health, Order, Policy, State
from sandbox.aws.registry import Registry, Target

POLICY = Policy(propagation=2, deregistration_delay=15, failing_for=10)
SERVING = Facts(in_use=True, ready=True)
WEB_1, WEB_2 = Target("group-a", "i-1", 80), Target("group-a", "i-2", 80)
OTHER = Target("group-b", "i-1", 80)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def followed() -> tuple[Registry, Clock, list[tuple[str, str | None, str]]]:
    told: list[tuple[str, str | None, str]] = []

    def listen(target: Target, before: Health | None, after: Health) -> None:
        told.append((target.id, before.state.value if before else None, after.state.value))

    clock = Clock()
    return Registry(clock, listen), clock, told


def test_a_target_goes_from_registration_to_drain_and_every_change_is_told() -> None:
    registry, clock, told = followed()
    registry.register(WEB_1, in_use=True)
    clock.now = 2
    assert registry.advance(WEB_1, SERVING, POLICY) == (Order.ADMIT,)
    registry.advance(WEB_1, Facts(in_use=True, ready=True, check=Check(up=True)), POLICY)
    assert registry.health(WEB_1).state is State.HEALTHY
    registry.deregister(WEB_1)
    clock.now = 20
    assert registry.advance(WEB_1, SERVING, POLICY) == (Order.EJECT,)
    assert registry.targets() == []
    assert told == [
        ("i-1", None, "initial"),
        ("i-1", "initial", "initial"),
        ("i-1", "initial", "healthy"),
        ("i-1", "healthy", "draining"),
        ("i-1", "draining", "unused"),
    ]


def test_an_unknown_target_is_unused_and_may_be_deregistered() -> None:
    registry, _clock, told = followed()
    registry.deregister(WEB_1)
    assert registry.health(WEB_1).forgotten
    assert registry.advance(WEB_1, SERVING, POLICY) == ()
    assert told == []


def test_targets_are_listed_by_group_in_the_order_of_registration() -> None:
    registry, _clock, _told = followed()
    for target in (WEB_2, OTHER, WEB_1):
        registry.register(target, in_use=True)
    assert registry.targets("group-a") == [WEB_2, WEB_1]
    assert registry.targets() == [WEB_2, OTHER, WEB_1]


def test_a_deleted_group_takes_its_targets_with_it() -> None:
    registry, _clock, told = followed()
    registry.register(WEB_1, in_use=True)
    registry.register(OTHER, in_use=True)
    registry.keep_groups(["group-b"])
    assert registry.targets() == [OTHER]
    assert told[-1] == ("i-1", "initial", "unused")
