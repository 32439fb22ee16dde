"""When requests start: at a constant rate, whatever happens to those before."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Start:
    """A request is due now."""

    number: int
    late: float  # seconds after its due time


async def starts(
    rate: float,
    duration: float | None,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> AsyncIterator[Start]:
    """Yield `rate` starts a second for `duration` seconds, or for ever.

    Due times are counted from the first one, so that delays never add up: who comes late finds the next starts due
    at once, and the number of requests stays what it should be.
    """
    first = clock()
    for number in itertools.count():
        offset = number / rate
        if duration is not None and offset >= duration:
            return
        early = first + offset - clock()
        if early > 0:
            await sleep(early)
        yield Start(number=number, late=max(0.0, clock() - first - offset))
