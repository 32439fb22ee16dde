"""What is pending is known before it is applied, and no statement waits for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import (
    Application,
    is_staged,
    migrate,
    pending,
)

from tests.unit.plugins.release_support import Recorder, description, host, release_id

PLAN = "[X]  notes.0001_initial\n[ ]  notes.0002_colour (2 squashed migrations)\n[ ]  rq.0001_initial\n"
MIGRATE = [".venv/bin/python", "manage.py", "migrate"]


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return Application(host(tmp_path), release_id(1), "1a2b3c4d", "amy")


def test_pending_migrations_are_listed_in_order(application: Application) -> None:
    run = Recorder(Finished(0, PLAN, "a warning\n"))
    assert pending(run, application, ["plan"]) == ["notes.0002_colour", "rq.0001_initial"]


def test_commands_run_as_the_application_with_its_environment_in_the_release(application: Application) -> None:
    run = Recorder(Finished(0, "", ""))
    pending(run, application, ["plan"])
    command, directory, _environment = run.calls[0]
    launcher = ["/usr/local/bin/webapps-run", f"{application.layout.environments}/1a2b3c4d"]
    assert command == ["runuser", "--user", "amy", "--", *launcher, "plan"]
    assert directory == application.layout.release(release_id(1))


def test_a_plan_that_fails_is_told_with_its_words_and_where_to_look(application: Application) -> None:
    with pytest.raises(WebappsError, match=r"`plan x` failed.*connection refused(?s:.*)app_release_environment"):
        pending(Recorder(Finished(1, "", "connection refused")), application, ["plan", "x"])


def test_statements_wait_for_locks_only_so_long(application: Application) -> None:
    run = Recorder(Finished(0, "OK", ""))
    migrate(run, application, MIGRATE, lock_timeout=3)
    assert run.calls[0][2] == {"PGOPTIONS": "-c lock_timeout=3s"}


def test_a_migration_that_waited_too_long_says_so(application: Application) -> None:
    run = Recorder(Finished(1, "", "django.db.utils.OperationalError: canceling statement due to lock timeout"))
    with pytest.raises(WebappsError, match=r"holds a lock(?s:.*)app_release_lock_timeout"):
        migrate(run, application, MIGRATE, lock_timeout=3)


def test_a_migration_that_fails_is_told_with_what_stays(application: Application) -> None:
    with pytest.raises(WebappsError, match=r"IntegrityError(?s:.*)before the one that failed stay applied"):
        migrate(Recorder(Finished(1, "Applying", "IntegrityError")), application, MIGRATE, lock_timeout=3)


def test_a_release_is_staged_with_its_environment_or_not_at_all(application: Application) -> None:
    layout: Layout = application.layout
    assert not is_staged(application)
    layout.release(release_id(1)).mkdir()
    (layout.release(release_id(1)) / "RELEASE.json").write_text(description(1).text())
    assert not is_staged(application)
    (layout.environments / "1a2b3c4d").touch()
    assert is_staged(application)
