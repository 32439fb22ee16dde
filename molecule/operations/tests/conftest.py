"""One fleet for all of this scenario's tests, on release v1 when the first begins; each leaves it as it found it.

Playbooks run as loud as they can, and every command line is read meanwhile: test_secrets.py looks through both.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.canary import CommandLines, Needles, secrets
from sandbox.fleet import ROOT, Fleet
from sandbox.site import Site

OUT = ROOT / "out" / "test" / "operations"


@pytest.fixture(scope="session")
def needles() -> Needles:
    return Needles(secrets())


@pytest.fixture(scope="session", autouse=True)
def command_lines(needles: Needles) -> Iterator[CommandLines]:
    watcher = CommandLines(needles)
    watcher.start()
    yield watcher
    watcher.stop()


@pytest.fixture(scope="session")
def fleet(command_lines: CommandLines) -> Fleet:
    fleet = Fleet(OUT / "logs", arguments=("-vvv", "--diff"))
    fleet.deploy("v1")
    return fleet


@pytest.fixture(scope="session")
def site() -> Site:
    return Site()
