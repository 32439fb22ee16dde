"""What measures on a machine disturbs nobody's measurement and is disturbed by nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from sandbox.quiet import alone, beside_others

PATIENCE = 30.0
# Long enough for a thread that nothing holds back, short enough to wait for one that is held back.
MOMENT = 0.2


class Visitor(threading.Thread):
    """Somebody who comes, and stays until told to go."""

    def __init__(self, place: Path, stay: Callable[[Path], AbstractContextManager[None]]) -> None:
        super().__init__(daemon=True)
        self.place, self.stay = place, stay
        self.inside, self.told = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self.stay(self.place):
            self.inside.set()
            self.told.wait(PATIENCE)

    def leave(self) -> None:
        self.told.set()
        self.join(PATIENCE)


def test_whoever_works_beside_others_waits_for_none_of_them(tmp_path: Path) -> None:
    visitors = [Visitor(tmp_path, beside_others) for _ in range(3)]
    assert all(visitor.inside.wait(PATIENCE) for visitor in visitors)
    for visitor in visitors:
        visitor.leave()


def test_whoever_measures_waits_for_those_who_work_and_keeps_those_who_come_waiting(tmp_path: Path) -> None:
    working = Visitor(tmp_path, beside_others)
    assert working.inside.wait(PATIENCE)
    measuring = Visitor(tmp_path, alone)
    assert not measuring.inside.wait(MOMENT)
    coming = Visitor(tmp_path, beside_others)
    assert not coming.inside.wait(MOMENT)
    working.leave()
    assert measuring.inside.wait(PATIENCE)
    assert not coming.inside.wait(MOMENT)
    measuring.leave()
    assert coming.inside.wait(PATIENCE)
    coming.leave()


def test_nobody_waits_for_one_whose_work_failed(tmp_path: Path) -> None:
    for stay in (alone, beside_others):
        try:
            with stay(tmp_path):
                raise RuntimeError
        except RuntimeError:
            pass
    after = Visitor(tmp_path, alone)
    assert after.inside.wait(PATIENCE)
    after.leave()
