"""The pace is kept whatever happens, by a clock that the test turns."""

from __future__ import annotations

import asyncio

import pytest

from sandbox.load.pacing import Start, starts


class Clock:
    """A clock that moves when somebody sleeps or works."""

    def __init__(self) -> None:
        self.time = 50.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def collect(
    clock: Clock, rate: float, duration: float, work: dict[int, float] | None = None
) -> list[tuple[float, Start]]:
    """Return every start with its time; `work` says how many seconds the caller loses after a start."""

    async def run() -> list[tuple[float, Start]]:
        seen = []
        async for start in starts(rate, duration, clock, clock.sleep):
            seen.append((clock.time, start))
            clock.time += (work or {}).get(start.number, 0)
        return seen

    return asyncio.run(run())


def test_starts_are_equally_spaced() -> None:
    seen = collect(Clock(), rate=4, duration=1)
    assert [time for time, _start in seen] == [50.0, 50.25, 50.5, 50.75]
    assert [start.number for _time, start in seen] == [0, 1, 2, 3]
    assert all(start.late == 0 for _time, start in seen)


@pytest.mark.parametrize(("rate", "duration", "expected"), [(80, 10, 800), (100, 3, 300), (0.5, 3, 2), (7, 1, 7)])
def test_the_number_of_starts_follows_from_rate_and_duration(rate: float, duration: float, expected: int) -> None:
    assert len(collect(Clock(), rate, duration)) == expected


def test_who_was_held_up_finds_the_missed_starts_due_at_once_and_then_the_old_pace() -> None:
    seen = collect(Clock(), rate=10, duration=1, work={1: 0.35})
    assert [round(time - 50, 3) for time, _start in seen] == [0, 0.1, 0.45, 0.45, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert [round(start.late, 3) for _time, start in seen] == [0, 0, 0.25, 0.15, 0.05, 0, 0, 0, 0, 0]


def test_small_delays_do_not_add_up() -> None:
    seen = collect(Clock(), rate=10, duration=10, work=dict.fromkeys(range(100), 0.09))
    assert seen[-1][0] == pytest.approx(50 + 9.9)


def test_without_a_duration_there_is_no_last_start() -> None:
    async def run() -> int:
        clock = Clock()
        async for start in starts(80, None, clock, clock.sleep):
            if start.number == 5000:
                return start.number
        return -1

    assert asyncio.run(run()) == 5000
