"""Put pace, users and connections together, and write down what happens."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from .client import AskError, Client, Target
from .pacing import Start, starts
from .record import Connection, Phase, Record
from .visitor import Answer, Ask, Visitor, is_maintenance, judge

# So many that a user rarely asks again before the last answer is there (at 80 a second: every 325 ms).
VISITORS = 26


class Sender(Protocol):
    """What sends a request once."""

    async def send(self, ask: Ask) -> Answer:
        """Return the answer; raises AskError."""

    async def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True)
class User:
    """A visitor and its connections."""

    visitor: Visitor
    client: Sender


def make_users(target: Target, context: ssl.SSLContext, timeout: float) -> list[User]:
    """Return the users, every other one with a new connection for each request."""
    users = []
    for number in range(VISITORS):
        connection: Connection = "new" if number % 2 else "keep-alive"
        users.append(User(Visitor(target.url, connection, number), Client(target, connection, context, timeout)))
    return users


class Generator:
    """Sends requests until told to stop, and keeps a record of each."""

    def __init__(
        self,
        users: list[User],
        rate: float,
        log: TextIO,
        maintenance: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        """`rate` is in requests a second; `log` receives one JSON line for each request.

        `maintenance`: the maintenance page is a right answer, and counted apart.
        """
        self.records: list[Record] = []
        self.phase: Phase = "steady"
        self._users = users
        self._rate = rate
        self._log = log
        self._maintenance = maintenance
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._stopped = False

    def begin_roll(self) -> None:
        """From now on the roll is being measured."""
        self.phase = "roll"

    def end_roll(self) -> None:
        """The roll is over."""
        self.phase = "after"

    def stop(self) -> None:
        """Start no more requests; those in flight are waited for."""
        self._stopped = True

    async def run(self, duration: float | None = None) -> None:
        """Send requests for `duration` seconds, or until `stop`, and wait for the last answer."""
        async with asyncio.TaskGroup() as flights:
            async for start in starts(self._rate, duration, self._clock, self._sleep):
                if self._stopped:
                    break
                user = self._users[start.number % len(self._users)]
                flights.create_task(self._request(user, start))
        for user in self._users:
            await user.client.close()

    async def _request(self, user: User, start: Start) -> None:
        ask = user.visitor.ask()
        phase, began, epoch = self.phase, self._clock(), self._now()
        answer: Answer | None = None
        maintenance = False
        try:
            answer = await user.client.send(ask)
            maintenance = self._maintenance and is_maintenance(answer)
            error = None if maintenance else judge(ask, answer)
        except AskError as problem:
            error = str(problem)
        took = self._clock() - began
        if answer is not None and error is None and not maintenance:
            user.visitor.learn(ask, answer)
        self._write(
            Record(
                start=round(epoch, 4),
                ms=round(took * 1000, 1),
                late_ms=round(start.late * 1000, 1),
                phase=phase,
                connection=user.visitor.connection,
                kind=ask.kind,
                method=ask.method,
                path=ask.path,
                status=answer.status if answer else None,
                release=answer.release if answer else None,
                error=error,
                maintenance=maintenance,
            )
        )

    def _write(self, record: Record) -> None:
        self.records.append(record)
        self._log.write(json.dumps(record.as_dict()) + "\n")
        # Whoever reads along, or finds the file after a crash, sees every request.
        self._log.flush()
