"""Every registered target and its health: shared by the API, which asks and orders, and the balancer, which acts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sandbox.aws import health
from sandbox.aws.health import Facts, Health, Order, Policy


@dataclass(frozen=True)
class Target:
    """What identifies a target, in AWS as here: its group's ARN, an instance id or address, and a port."""

    group: str
    id: str
    port: int


Told = Callable[[Target, Health | None, Health], None]
"""Told of every change: the target, its health before (None when it was unknown) and after."""


class Registry:
    """The targets' health, safe to use from several threads. `clock` gives seconds; `told` hears of changes."""

    def __init__(self, clock: Callable[[], float], told: Told = lambda target, before, after: None) -> None:
        self._clock = clock
        self._told = told
        self._lock = threading.RLock()
        self._known: dict[Target, Health] = {}

    def register(self, target: Target, *, in_use: bool) -> None:
        """Register a target; one that drains comes back, one that is registered stays as it is."""
        with self._lock:
            self._set(target, health.register(self._known.get(target), self._clock(), in_use=in_use))

    def deregister(self, target: Target) -> None:
        """Deregister a target; one that is not registered is no error, as in AWS."""
        with self._lock:
            if target in self._known:
                self._set(target, health.deregister(self._known[target], self._clock()))

    def health(self, target: Target) -> Health:
        """Return a target's health, `unused` if it is not registered."""
        with self._lock:
            return self._known.get(target) or health.unregistered(self._clock())

    def targets(self, group: str | None = None) -> list[Target]:
        """Return the targets, of one group or of all, in the order of their registration; draining ones too."""
        with self._lock:
            return [target for target in self._known if group in (None, target.group)]

    def advance(self, target: Target, facts: Facts, policy: Policy) -> tuple[Order, ...]:
        """Let a target's health follow the facts, and return what the data plane has to do."""
        with self._lock:
            if target not in self._known:
                return ()
            after, orders = health.advance(self._known[target], facts, policy, self._clock())
            self._set(target, after)
            return orders

    def keep_groups(self, groups: Iterable[str]) -> None:
        """Forget the targets of all groups but these: a deleted group takes its targets with it."""
        kept = set(groups)
        with self._lock:
            for target in [target for target in self._known if target.group not in kept]:
                self._set(target, health.unregistered(self._clock()))

    def _set(self, target: Target, after: Health) -> None:
        before = self._known.pop(target, None) if after.forgotten else self._known.get(target)
        if not after.forgotten:
            self._known[target] = after
        if before is None or (before.state, before.reason) != (after.state, after.reason):
            self._told(target, before, after)
