"""One fleet for all of this scenario's tests: each breaks something, and the next plain deploy must repair it."""

from __future__ import annotations

import pytest

from sandbox.faults import OUT, served_before
from sandbox.fleet import Fleet
from sandbox.site import Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where another scenario runs some of these tests too, its own come first: they begin with a fresh fleet."""
    items.sort(key=lambda item: "faults" in item.path.parts)


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    fleet = Fleet(OUT / "logs")
    # Going back needs a release to go back to; a fleet of other tests has one.
    if not served_before("worker-1"):
        fleet.deploy("v1")
    fleet.deploy("v2")
    return fleet


@pytest.fixture(scope="session")
def site() -> Site:
    return Site()
