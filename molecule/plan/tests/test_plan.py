"""A plan says what a deploy would do, and the host is the same afterwards."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from sandbox.proof import HostTrees
from sandbox.scenario import staged

PROJECT = Path(__file__).parent.parent.parent.parent
PLAYBOOK = PROJECT / "playbooks" / "plan.yml"
SCENARIO = Path(__file__).parent.parent
CANARY = "canary-of-a-plan-0123456789"


def plan(tmp_path: Path, version: str, **variables: object) -> tuple[dict[str, Any], str]:
    """The plan of a version as data, and all that the playbook printed."""
    target = tmp_path / "plan.json"
    given = {"deploy_version": version, "plan_file": str(target), **variables}
    shared = [SCENARIO.parent / "shared" / name for name in ("vars.yml", "release_vars.yml", "prepared/database.yml")]
    done = subprocess.run(
        [
            "ansible-playbook",
            f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
            *(f"--extra-vars=@{path}" for path in [*shared, SCENARIO / "vars.yml"]),
            f"--extra-vars={json.dumps(given)}",
            str(PLAYBOOK),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"},
    )
    assert done.returncode == 0, done.stdout
    return json.loads(target.read_text()), done.stdout


@pytest.fixture(autouse=True)
def unchanged(host: Host) -> Iterator[None]:
    """Nothing on the host is another after a plan, and nothing that git fetched stays."""
    before = HostTrees.now(["plan"])
    yield
    assert HostTrees.now(["plan"]).differences(before) == []
    assert host.run("find / -xdev -path '*/history/HEAD'").stdout == ""


def only(plan: dict[str, Any]) -> dict[str, Any]:
    (host,) = plan["hosts"].values()
    found: dict[str, Any] = host
    return found


def test_a_deploy_of_what_serves_would_change_nothing(tmp_path: Path) -> None:
    found, said = plan(tmp_path, "v1")
    assert (found["changes"], only(found)["release"]) == (False, staged("v1"))
    assert "keeps v1" in said
    assert "None new since v1" in said


def test_a_staged_release_is_planned_to_the_statement(tmp_path: Path) -> None:
    found, said = plan(tmp_path, "v2")
    programs = {each["program"]: each for each in only(found)["programs"]}
    assert set(programs) == {"gunicorn", "rqworker", "rqscheduler"}
    for each in programs.values():
        assert (each["changes"], each["why"]) == (True, ["code"])
        assert each["generation"].startswith(staged("v1"))
        assert each["next"].startswith(staged("v2"))
    assert found["migrations"]["known"] == "exact"
    (migration,) = found["migrations"]["pending"]
    assert migration["level"]
    assert any("ALTER TABLE" in line for line in migration["sql"])
    assert found["commits"]["commits_count"] > 0
    assert "pending, asked of the database" in said


def test_a_release_that_is_not_built_is_planned_from_the_source(tmp_path: Path) -> None:
    found, said = plan(tmp_path, "v6-slow-boot")
    assert found["migrations"]["known"] == "source"
    assert [each["migration"] for each in found["migrations"]["pending"]] == ["notes.0002_note_topic"]
    assert "as far as the source tells" in said


def test_changed_variables_and_settings_are_named_and_no_value_is_told(tmp_path: Path) -> None:
    found, said = plan(
        tmp_path, "v1", scenario_more={"SECRET_KEY": CANARY, "SENTRY_DSN": "https://x@example.org"}, gunicorn_workers=3
    )
    programs = {each["program"]: each for each in only(found)["programs"]}
    names = "environment (changed SECRET_KEY; added SENTRY_DSN)"
    assert programs["gunicorn"]["why"] == [names, "process settings (command --workers)"]
    assert programs["rqworker"]["why"] == [names]
    for secret in (CANARY, "throwaway0123456789", "example.org@", "https://x@"):
        assert secret not in said
        assert secret not in json.dumps(found)
