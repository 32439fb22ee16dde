"""The site is shown again only by code that fits the restored dump; where nothing is dumped, nothing is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_locks_of_other_runs import LIVE, held, play, recorded, run

RELEASE = "3f2a1b9c0d-9f8e7d6c"
OLDER = "0123456789-89abcdef"
RESTORE = "Restore | Beside the real database, compared, then dropped or put in its place"


def running(release: str | None) -> dict[str, Any]:
    """What was seen of a host before it was stopped."""
    return {"__deploy_running": {"repo": release, "environment": "1a2b3c4d" if release else None}}


def saying(given: dict[str, Any], words: str) -> dict[str, Any]:
    """A play that says something where it would work."""
    (work,) = given["tasks"]
    return {**given, "tasks": [{**work, "block": [{"ansible.builtin.debug": {"msg": words}}]}]}


def judging(given: dict[str, Any]) -> dict[str, Any]:
    """The play that restores, without what it asks of the host."""
    (work,) = given["tasks"]
    block = [task for task in work["block"] if "ansible.builtin.include_role" not in task]
    return {**given, "tasks": [{**work, "block": block}]}


@pytest.mark.parametrize("title", ["Start | Workers of the release that is live", "Start | The scheduler"])
@pytest.mark.parametrize("release", [RELEASE, None])
def test_what_was_stopped_starts_again_where_a_release_is_live(tmp_path: Path, title: str, release: str | None) -> None:
    done = run(tmp_path, saying(play("restore", title), "It starts."), **LIVE, **running(release))
    assert done.returncode == 0, done.stdout
    assert ("It starts." in done.stdout) == (release is not None)


def test_the_live_release_is_asked_for_its_migrations_once_the_dump_is_restored() -> None:
    (work,) = play("restore", RESTORE)["tasks"]
    roles = [task.get("ansible.builtin.include_role", {}).get("tasks_from") for task in work["block"]]
    assert roles.index("restore") < roles.index("pending") < roles.index(None)


@pytest.mark.parametrize("release", [OLDER, ""])
def test_a_dump_that_lacks_migrations_of_the_live_release_ends_the_run_with_the_page_on(
    tmp_path: Path, release: str
) -> None:
    seen = {
        "__app_release_pending": {"pending": ["notes.0002_topic", "notes.0003_author"]},
        "__pg_backup_restored": {"dump": "/dumps/amy.dump", "release": release, "previous": "amy_before_x"},
        **running(RELEASE),
    }
    lock, restore, end = (
        play("restore", title) for title in ("Lock | No deploy meanwhile", RESTORE, "Maintenance | Show the site again")
    )
    done = run(tmp_path, lock, judging(restore), saying(end, "The site is back."), **LIVE, **seen)
    assert done.returncode != 0
    said = " ".join(done.stdout[done.stdout.rindex("TASK [") :].split())
    assert f"older than the release {RELEASE}, which is live" in said
    assert "it lacks notes.0002_topic, notes.0003_author." in said
    assert f"It was taken of {release or 'no release'}: deploy that one" in said
    assert "The database before is amy_before_x." in said
    assert "The page stays on" in said
    assert "-e deploy_maintenance=true" in said
    assert "The site is back." not in done.stdout
    assert (held(tmp_path), recorded(tmp_path)["result"]) == (False, "failed")


@pytest.mark.parametrize("given", [{**LIVE, "__app_release_pending": {"pending": []}, **running(RELEASE)}, LIVE, {}])
def test_a_dump_that_the_live_release_fits_and_a_drill_are_gone_on_with(tmp_path: Path, given: dict[str, Any]) -> None:
    done = run(tmp_path, judging(play("restore", RESTORE)), **given)
    assert done.returncode == 0, done.stdout


def test_dumps_that_are_switched_off_leave_no_settings_of_the_timers(tmp_path: Path) -> None:
    settings = tmp_path / "amy.example.org.json"
    settings.write_text(json.dumps({"connection": {"password": "hunter2"}}))
    role = {"ansible.builtin.include_role": {"name": "carpentries.webapps.pg_backup"}}
    given = {"pg_backup_enabled": False, "__pg_backup_settings_file": str(settings), "webapps_domain": "none.invalid"}
    done = run(tmp_path, {"hosts": "web[0]", "gather_facts": False, "tasks": [role]}, **given)
    assert done.returncode == 0, done.stdout
    assert not settings.exists()
