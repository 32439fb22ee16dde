"""Every Molecule scenario goes through what a role must stand, and says it in a few lines over one shared base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.scenarios import ALL, LONGER, all_scenarios, causes, chosen

ROOT = Path(__file__).parent.parent.parent
ROLES, FLEETS = all_scenarios()
BASE = ROOT / ".config/molecule/config.yml"
# In this order; other steps may stand between them.
ROLE_STEPS = ["check", "converge", "idempotence", "verify", "destroy"]
FLEET_STEPS = ["converge", "idempotence", "verify", "destroy"]
LINES = 30


def steps(scenario: str) -> list[str]:
    own: dict[str, Any] = yaml.safe_load((ROOT / f"molecule/{scenario}/molecule.yml").read_text()) or {}
    base = yaml.safe_load(BASE.read_text())
    sequence: list[str] = own.get("scenario", {}).get("test_sequence", base["scenario"]["test_sequence"])
    return sequence


@pytest.mark.parametrize("scenario", ROLES)
def test_a_roles_scenario_checks_before_it_converges_and_converges_twice(scenario: str) -> None:
    assert [step for step in steps(scenario) if step in ROLE_STEPS][-len(ROLE_STEPS) :] == ROLE_STEPS


@pytest.mark.parametrize("scenario", FLEETS)
def test_a_fleets_scenario_configures_it_twice(scenario: str) -> None:
    assert [step for step in steps(scenario) if step in FLEET_STEPS][-len(FLEET_STEPS) :] == FLEET_STEPS


@pytest.mark.parametrize("scenario", ROLES + FLEETS)
def test_a_scenario_is_verified_by_tests_of_its_own(scenario: str) -> None:
    assert list((ROOT / f"molecule/{scenario}/tests").glob("test_*.py"))


@pytest.mark.parametrize("scenario", ROLES + FLEETS)
def test_a_scenario_says_only_what_differs_from_the_shared_base(scenario: str) -> None:
    assert len((ROOT / f"molecule/{scenario}/molecule.yml").read_text().splitlines()) <= LINES


@pytest.mark.parametrize(
    ("asked", "side_by_side", "one_by_one"),
    [
        ([], ["nginx", "single", "redis"], ["rolling"]),
        ([ALL], ["nginx", "single", "redis"], ["rolling", "operations"]),
        (["--roles", "rolling"], ["nginx", "redis"], ["rolling"]),
        (["redis"], ["redis"], []),
        (["faults"], [], ["faults"]),
    ],
    ids=["make test", "make test-all", "roles", "by its name", "make faults"],
)
def test_the_long_scenarios_run_only_when_they_are_asked_for(
    asked: list[str], side_by_side: list[str], one_by_one: list[str]
) -> None:
    fleets = ["faults", "operations", "rolling", "single"]
    assert chosen(asked, ["nginx", "redis"], fleets) == (side_by_side, one_by_one)


def test_longer_scenarios_are_neither_waited_for_by_the_fleet_that_measures_nor_the_last() -> None:
    roles = ["adopt", "cron", "nginx", "redis", "rqworker"]
    assert chosen([], roles, ["rolling", "single"])[0] == ["cron", "nginx", "single", "adopt", "redis", "rqworker"]


def test_the_longer_scenarios_exist() -> None:
    assert set(LONGER) <= {*ROLES, *FLEETS}


def test_why_a_scenario_failed_is_told_without_the_frame_that_molecule_draws() -> None:
    log = "  \x1b[2m│\x1b[0m E   assert 502 == 200\nINFO  destroy\n  │ FAILED tests/test_x.py::test_y - assert\n"
    assert causes(log) == ["E   assert 502 == 200", "FAILED tests/test_x.py::test_y - assert"]
