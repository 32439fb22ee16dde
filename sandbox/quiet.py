"""Who measures has the machine for itself; whoever else works on it waits, and is waited for.

A lock of readers and writers on two files: whoever comes goes through the door into the room; who measures keeps the
door shut while the room empties, so that a row of others cannot keep it waiting for ever. Both locks end with their
process, however that ends (flock(2)).
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

PLACE = Path(__file__).parent.parent / ".cache" / "quiet"


@contextlib.contextmanager
def _locked(path: Path, operation: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, operation)
        yield


@contextlib.contextmanager
def beside_others(place: Path = PLACE) -> Iterator[None]:
    """Work on this machine as others do, but not while somebody measures on it."""
    with contextlib.ExitStack() as room:
        with _locked(place / "door", fcntl.LOCK_EX):
            room.enter_context(_locked(place / "room", fcntl.LOCK_SH))
        yield


@contextlib.contextmanager
def alone(place: Path = PLACE) -> Iterator[None]:
    """Measure on this machine, once everybody who works beside others has finished."""
    with _locked(place / "door", fcntl.LOCK_EX), _locked(place / "room", fcntl.LOCK_EX):
        yield
