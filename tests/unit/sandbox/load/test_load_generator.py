"""The generator starts on time, writes everything down and waits for those in flight."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable

from sandbox.load.client import AskError
from sandbox.load.generator import Generator, User
from sandbox.load.visitor import Answer, Ask, Visitor

PAGE = b'<link rel="stylesheet" href="/static/site.75a34061b2fc.css">'
GOOD = Answer(200, {"x-release": "aaa"}, PAGE)


class Clock:
    """A clock that moves when the generator sleeps, after everybody else had a turn."""

    def __init__(self) -> None:
        self.time = 100.0
        self.at: dict[float, Callable[[], None]] = {}

    def __call__(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        for _turn in range(5):
            await asyncio.sleep(0)
        self.time += seconds
        for moment in [moment for moment in self.at if moment <= self.time]:
            self.at.pop(moment)()


class FakeSender:
    """Answers as told, once its gate is open."""

    def __init__(self, answers: list[Answer | AskError]) -> None:
        self.answers = answers
        self.asked: list[Ask] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    async def send(self, ask: Ask) -> Answer:
        number = len(self.asked)
        self.asked.append(ask)
        await self.gate.wait()
        answer = self.answers[number % len(self.answers)]
        if isinstance(answer, AskError):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


class Bench:
    """A generator with one user, a fake clock and a log in memory."""

    def __init__(self, *answers: Answer | AskError, rate: float = 10, maintenance: bool = False) -> None:
        self.clock = Clock()
        self.log = io.StringIO()
        self.sender = FakeSender(list(answers) or [GOOD])
        self.generator = Generator(
            [User(Visitor("https://amy.sandbox.test", "keep-alive"), self.sender)],
            rate,
            self.log,
            maintenance,
            clock=self.clock,
            now=lambda: self.clock.time + 1e9,
            sleep=self.clock.sleep,
        )

    @property
    def lines(self) -> list[dict[str, object]]:
        """Return what was logged."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def test_every_request_is_one_line() -> None:
    async def run() -> Bench:
        bench = Bench()
        await bench.generator.run(duration=1)
        return bench

    bench = asyncio.run(run())
    assert len(bench.lines) == len(bench.sender.asked) == 10
    assert bench.lines[0] == {
        "start": 1000000100.0,
        "ms": 0.0,
        "late_ms": 0.0,
        "phase": "steady",
        "connection": "keep-alive",
        "kind": "page",
        "method": "GET",
        "path": "/",
        "status": 200,
        "release": "aaa",
        "error": None,
        "maintenance": False,
    }
    assert bench.sender.closed


def test_answers_that_do_not_come_delay_no_start_and_are_waited_for() -> None:
    async def run() -> Bench:
        bench = Bench()
        bench.sender.gate.clear()
        running = asyncio.create_task(bench.generator.run(duration=2))
        while len(bench.sender.asked) < 20:
            await asyncio.sleep(0)
        assert bench.lines == []
        assert not running.done()
        bench.clock.time += 3
        bench.sender.gate.set()
        await running
        return bench

    bench = asyncio.run(run())
    assert len(bench.lines) == 20
    assert max(record.ms for record in bench.generator.records) >= 3000


def test_a_request_that_fails_is_written_down_and_not_sent_again() -> None:
    async def run() -> Bench:
        bench = Bench(AskError("ConnectError: refused"), Answer(502, {}, b""))
        await bench.generator.run(duration=0.2)
        return bench

    bench = asyncio.run(run())
    assert len(bench.sender.asked) == 2
    assert [(line["status"], line["error"]) for line in bench.lines] == [
        (None, "ConnectError: refused"),
        (502, "unexpected status 502"),
    ]


def test_a_wrong_answer_teaches_nothing() -> None:
    async def run() -> Bench:
        bench = Bench(Answer(500, {"x-release": "aaa"}, PAGE))
        await bench.generator.run(duration=0.3)
        return bench

    assert {ask.path for ask in asyncio.run(run()).sender.asked} == {"/"}


def test_a_request_belongs_to_the_phase_in_which_it_started() -> None:
    async def run() -> Bench:
        bench = Bench(rate=1)
        bench.clock.at = {102.0: bench.generator.begin_roll, 104.0: bench.generator.end_roll}
        await bench.generator.run(duration=6)
        return bench

    phases = [line["phase"] for line in asyncio.run(run()).lines]
    assert phases == ["steady", "steady", "roll", "roll", "after", "after"]


def test_stop_ends_the_starts_but_not_the_requests_in_flight() -> None:
    async def run() -> Bench:
        bench = Bench(rate=1)
        bench.sender.gate.clear()
        bench.clock.at = {103.0: bench.generator.stop}
        running = asyncio.create_task(bench.generator.run())
        while len(bench.sender.asked) < 3:
            await asyncio.sleep(0)
        bench.sender.gate.set()
        await running
        return bench

    bench = asyncio.run(run())
    assert [line["error"] for line in bench.lines] == [None] * 3


PAGE_OF_MAINTENANCE = Answer(
    503,
    {"retry-after": "300", "cache-control": "no-store"},
    b"We will be back soon\n<!-- shown by: operator -->\n",
)


def test_the_maintenance_page_is_a_failure_unless_it_is_expected() -> None:
    for expected in (False, True):
        bench = Bench(GOOD, PAGE_OF_MAINTENANCE, maintenance=expected)
        asyncio.run(bench.generator.run(0.2))
        assert [line["maintenance"] for line in bench.lines] == [False, expected]
        assert [line["error"] for line in bench.lines] == [None, None if expected else "unexpected status 503"]
