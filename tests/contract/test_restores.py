"""What follows a restored dump, and what is left where nothing is dumped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_locks_of_other_runs import LIVE, play, run

RELEASE = "3f2a1b9c0d-9f8e7d6c"


def running(release: str | None) -> dict[str, Any]:
    """What was seen of a host before it was stopped."""
    return {"__deploy_running": {"repo": release, "environment": "1a2b3c4d" if release else None}}


def saying(given: dict[str, Any], words: str) -> dict[str, Any]:
    """A play that says something where it would work."""
    (work,) = given["tasks"]
    return {**given, "tasks": [{**work, "block": [{"ansible.builtin.debug": {"msg": words}}]}]}


@pytest.mark.parametrize("title", ["Start | Workers of the release that is live", "Start | The scheduler"])
@pytest.mark.parametrize("release", [RELEASE, None])
def test_what_was_stopped_starts_again_where_a_release_is_live(tmp_path: Path, title: str, release: str | None) -> None:
    done = run(tmp_path, saying(play("restore", title), "It starts."), **LIVE, **running(release))
    assert done.returncode == 0, done.stdout
    assert ("It starts." in done.stdout) == (release is not None)


def test_dumps_that_are_switched_off_leave_no_settings_of_the_timers(tmp_path: Path) -> None:
    settings = tmp_path / "amy.example.org.json"
    settings.write_text(json.dumps({"connection": {"password": "hunter2"}}))
    role = {"ansible.builtin.include_role": {"name": "carpentries.webapps.pg_backup"}}
    given = {"pg_backup_enabled": False, "__pg_backup_settings_file": str(settings), "webapps_domain": "none.invalid"}
    done = run(tmp_path, {"hosts": "web[0]", "gather_facts": False, "tasks": [role]}, **given)
    assert done.returncode == 0, done.stdout
    assert not settings.exists()
