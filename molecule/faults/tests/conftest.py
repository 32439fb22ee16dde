"""One fleet for all of this scenario's tests: each breaks something, and the next plain deploy must repair it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.faults import OUT, served_before
from sandbox.fleet import Fleet
from sandbox.observations import Observation, observed, table
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


@pytest.fixture(scope="session")
def observations() -> list[Observation]:
    return []


@pytest.fixture(autouse=True)
def observation(request: pytest.FixtureRequest, fleet: Fleet, observations: list[Observation]) -> Iterator[None]:
    """Write down what was observed, after each test: a later one may never end."""
    fleet.journal.clear()
    yield
    observations.append(observed(request.node.name, fleet.journal))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "observed.md").write_text(table(observations))
