"""What is pending is known before it is applied, and no statement waits for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_guard import MARK, REQUEST
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import (
    Application,
    Limits,
    Migrated,
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


def test_a_database_that_is_down_is_told_in_words(application: Application) -> None:
    run = Recorder(Finished(1, "", 'OperationalError: connection to server at "10.0.0.9" failed: Connection refused'))
    with pytest.raises(WebappsError, match=r"10\.0\.0\.9(?s:.*)database is down(?s:.*)Nothing was changed"):
        pending(run, application, ["plan"])


HOLDER = {
    "pid": 4711,
    "user": "amy",
    "application_name": "psql",
    "client_address": "10.0.0.7",
    "state": "idle in transaction",
    "since": "2026-05-04 03:02:01+00",
    "table": "notes_note",
}
HIDDEN = {**HOLDER, "application_name": "", "client_address": None, "state": None, "since": None, "table": None}
OUTPUT = "  Applying notes.0002_colour... OK\n  Applying notes.0003_size..."
LOCKED = "psycopg.errors.LockNotAvailable: canceling statement due to lock timeout\n"
LIMITS = Limits(lock_timeout=3, statement_timeout=60, wait=7, attempts=2)


def attempt(status: int = 0, output: str = "", errors: str = "", **more: object) -> dict[str, object]:
    return {"status": status, "output": output, "errors": errors, "blockers": [], "lost": None, **more}


def answer(*attempts: dict[str, object], **more: object) -> Recorder:
    """The guard's answer, behind what else a shell prints."""
    told = {"attempts": attempts, "applied": [], "waited": False, **more}
    return Recorder(Finished(0, f"6 objects imported\n{MARK}{json.dumps(told)}\n", ""))


def tried(run: Recorder, application: Application) -> Migrated:
    expected = ["notes.0002_colour", "notes.0003_size"]
    return migrate(run, application, MIGRATE, shell_command=["shell", "-c"], limits=LIMITS, expected=expected)


def test_the_release_itself_holds_the_lock_and_runs_the_command(application: Application) -> None:
    run = answer(attempt(output="OK"), applied=["notes.0002_colour"])
    assert tried(run, application) == Migrated("OK", ["notes.0002_colour"], waited=False, attempts=1)
    command, directory, environment = run.calls[0]
    assert command[-3:-1] == ["shell", "-c"]
    assert directory == application.directory
    compile(command[-1], "guard", "exec")
    limits = {"lock_timeout": 3, "statement_timeout": 60}
    assert json.loads(environment[REQUEST]) == {"command": MIGRATE, "limits": limits, "wait": 7, "attempts": 2}


def test_a_migration_that_gets_no_lock_names_itself_the_holder_and_what_stays(application: Application) -> None:
    locked = attempt(1, OUTPUT, LOCKED, blockers=[HOLDER])
    with pytest.raises(WebappsError) as caught:
        tried(answer(locked, locked, applied=["notes.0002_colour"]), application)
    for part in (
        "failed at notes.0003_size",
        "in 2 attempts of 3 s",
        "process 4711 (application_name 'psql', user amy, from 10.0.0.7, idle in transaction, "
        "since 2026-05-04 03:02:01+00, on notes_note)",
        "pg_terminate_backend(4711)",
        "app_release_lock_timeout",
        "stays: notes.0002_colour",
    ):
        assert part in caught.value.message
    assert caught.value.details["failed_migration"] == "notes.0003_size"


def test_a_holder_that_the_database_does_not_show_is_named_by_its_process(application: Application) -> None:
    with pytest.raises(WebappsError, match=r"process 4711 \(user amy, state not shown to this user\)"):
        tried(answer(attempt(1, "", LOCKED, blockers=[HIDDEN])), application)


def test_a_holder_that_nobody_saw_is_admitted(application: Application) -> None:
    with pytest.raises(WebappsError, match="who holds it was not seen"):
        tried(answer(attempt(1, "", LOCKED)), application)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (attempt(1, OUTPUT, "IntegrityError"), "IntegrityError(?s:.*)correct the migration"),
        (attempt(1, OUTPUT, "canceling statement due to statement timeout"), "longer than 60 s"),
        (attempt(1, OUTPUT, "server closed the connection unexpectedly"), "database is down"),
        (attempt(-9, OUTPUT, ""), "ended by signal 9"),
        (attempt(-9, OUTPUT, "", lost="gone"), r"was lost \(gone\)(?s:.*)PgBouncer"),
    ],
)
def test_every_other_failure_is_told_with_its_remedy(
    application: Application, made: dict[str, object], words: str
) -> None:
    with pytest.raises(WebappsError, match=words):
        tried(answer(made), application)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ({"kind": "held", "holders": [HOLDER]}, r"held by process 4711 (?s:.*)app_release_migrate_wait \(now 7 s\)"),
        ({"kind": "held", "holders": []}, "ended meanwhile"),
        ({"kind": "read_only", "standby": True}, "is a standby(?s:.*)failover"),
        ({"kind": "read_only", "standby": False}, "transaction_read_only is on"),
        ({"kind": "limits", "found": {"lock_timeout": 0}}, "lock_timeout is 0 ms(?s:.*)OPTIONS"),
        ({"kind": "unreachable", "words": "connection refused"}, "connection refused(?s:.*)database is down"),
        ({"kind": "unreachable", "words": "FATAL: unsupported startup parameter: options"}, "PgBouncer"),
    ],
)
def test_what_keeps_a_run_from_beginning_is_told_and_changed_nothing(
    application: Application, refusal: dict[str, object], words: str
) -> None:
    with pytest.raises(WebappsError, match=rf"{words}(?s:.*)Nothing was changed"):
        tried(Recorder(Finished(0, MARK + json.dumps({"refusal": refusal}), "")), application)


def test_a_guard_that_did_not_finish_is_told_with_its_words(application: Application) -> None:
    with pytest.raises(WebappsError, match=r"exit status 1(?s:.*)ImportError(?s:.*)app_release_migrate_shell_command"):
        tried(Recorder(Finished(1, "", "ImportError")), application)


def test_a_release_is_staged_with_its_environment_or_not_at_all(application: Application) -> None:
    layout: Layout = application.layout
    assert not is_staged(application)
    layout.release(release_id(1)).mkdir()
    (layout.release(release_id(1)) / "RELEASE.json").write_text(description(1).text())
    assert not is_staged(application)
    (layout.environments / "1a2b3c4d").touch()
    assert is_staged(application)
