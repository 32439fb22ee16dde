"""Migrations that cannot work leave the database as it was, and never run twice at once."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_guard import KEY
from testinfra.host import Host

PLAYBOOK = Path(__file__).parent.parent / "migrate.yml"
STAGED = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "releases.json"
AMY = "postgres://amy:throwaway@127.0.0.1/amy"
QUICK = {"app_release_lock_timeout": 1, "app_release_migrate_attempts": 2}
PATIENT = {"app_release_lock_timeout": 120, "app_release_migrate_attempts": 1}


def begun(**variables: object) -> subprocess.Popen[str]:
    """A run that migrates to v2, in the background."""
    return subprocess.Popen(
        [
            "ansible-playbook",
            f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
            f"--extra-vars={json.dumps({'scenario_version': 'v2', **variables})}",
            str(PLAYBOOK),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
    )


def ended(run: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = run.communicate(timeout=300)
    return run.returncode, " ".join(output.split())


def asked(host: Host, query: str) -> str:
    words = ["runuser", "-u", "postgres", "--", "psql", "--tuples-only", "--no-align", "--dbname=amy", "-c", query]
    return str(host.check_output(shlex.join(words))).strip()


def schema(host: Host) -> str:
    """The columns of all tables, and what is recorded as applied."""
    columns = asked(
        host,
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY table_name, column_name",
    )
    return columns + asked(host, "SELECT app, name FROM django_migrations ORDER BY id")


def soon(condition: Callable[[], bool], seconds: int = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return met


def hold(host: Host, seconds: int) -> None:
    """Have somebody lock the table that v2 changes."""
    statement = f"BEGIN; LOCK TABLE notes_note; SELECT pg_sleep({seconds})"
    words = ["systemd-run", "--collect", "env", "PGAPPNAME=forgotten-shell", "psql", AMY, "-c", statement]
    host.check_output(shlex.join(words))
    held = "SELECT count(*) FROM pg_locks WHERE granted AND relation = 'notes_note'::regclass AND mode ~ '^AccessExcl'"
    assert soon(lambda: asked(host, held) == "1")


def free(host: Host) -> None:
    sessions = "FROM pg_stat_activity WHERE application_name = 'forgotten-shell'"
    asked(host, f"SELECT pg_terminate_backend(pid) {sessions}")
    assert soon(lambda: asked(host, f"SELECT count(*) {sessions}") == "0")


def locks(host: Host) -> int:
    """How many sessions hold the advisory lock of a migrating run."""
    high, low = KEY >> 32, KEY % 2**32
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    return int(asked(host, f"{query} AND classid::bigint = {high} AND objid::bigint = {low}"))


def waits(host: Host) -> bool:
    """Whether the command of a run waits for a table."""
    return asked(host, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'") != "0"


def left(host: Host) -> str:
    """Processes and sessions of a migrating run."""
    processes = str(host.run("pgrep --full --list-full 'manage.py (migrate|shell)'").stdout)
    return processes + asked(host, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'webapps-migrate%'")


@pytest.fixture(autouse=True)
def before(host: Host) -> Iterator[str]:
    """The schema of v1, which is there before each test and after the last."""
    staged = json.loads(STAGED.read_text())
    tree = f"/webapps/amy.example.org/releases/{staged['releases']['v2']}"
    environment = f"/webapps/amy.example.org/environments/{staged['environment']}"
    back = (
        f"cd {tree} && runuser --user amy -- /usr/local/bin/webapps-run {environment} "
        ".venv/bin/python manage.py migrate notes 0001"
    )
    host.check_output(back)
    yield schema(host)
    free(host)
    host.check_output(back)


def test_a_lock_that_is_not_had_fails_the_run_names_the_holder_and_leaves_the_schema(host: Host, before: str) -> None:
    hold(host, 600)
    pid = asked(host, "SELECT pid FROM pg_stat_activity WHERE application_name = 'forgotten-shell'")
    status, said = ended(begun(**QUICK))
    assert status != 0
    assert "failed at notes.0002" in said
    assert "in 2 attempts of 1 s" in said
    assert f"process {pid} (application_name 'forgotten-shell', user amy, from 127.0.0.1" in said
    assert "on notes_note" in said
    assert "pg_sleep" not in said
    assert "Applied by this run, and stays: nothing" in said
    assert schema(host) == before
    assert locks(host) == 0
    assert left(host) == ""

    free(host)
    status, said = ended(begun(**QUICK))
    assert status == 0, said
    assert schema(host) != before


def test_a_lock_that_is_freed_during_the_attempts_is_got(host: Host, before: str) -> None:
    hold(host, 600)
    run = begun(app_release_lock_timeout=2, app_release_migrate_attempts=8)
    assert soon(lambda: waits(host))
    # The first attempt gives up, and a later one waits.
    assert soon(lambda: not waits(host))
    free(host)
    status, said = ended(run)
    assert status == 0, said
    assert schema(host) != before


def test_of_two_runs_at_once_one_applies_and_the_other_names_it(host: Host, before: str) -> None:
    hold(host, 600)
    first = begun(**PATIENT)
    assert soon(lambda: waits(host))
    status, said = ended(begun())
    assert status != 0
    assert "Another run migrates this database" in said
    assert "application_name 'webapps-migrate-" in said
    assert "from 127.0.0.1" in said
    assert "Nothing was changed" in said
    waiting = begun(app_release_migrate_wait=120)
    time.sleep(5)
    free(host)
    (one, said), (other, said_later) = ended(first), ended(waiting)
    assert (one, other) == (0, 0), said + said_later
    assert "changed=1 " in said
    assert "changed=0 " in said_later
    assert schema(host) != before
    assert asked(host, "SELECT count(*) FROM django_migrations WHERE app = 'notes' AND name LIKE '0002%'") == "1"


KILLED = {
    "module": "ps -o ppid= -p $(pgrep --exact --oldest runuser)",
    "runuser": "pgrep --exact --oldest runuser",
    "guard": "pgrep --parent $(pgrep --exact --oldest runuser)",
    "command": "pgrep --full 'manage.py migrate --no-input$'",
}


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
@pytest.mark.parametrize("victim", sorted(KILLED))
def test_a_run_that_is_killed_leaves_no_lock_no_process_and_the_schema(
    host: Host, before: str, victim: str, signal: str
) -> None:
    hold(host, 600)
    run = begun(**PATIENT)
    assert soon(lambda: waits(host))
    assert locks(host) == 1
    host.check_output(f"kill -{signal} $({KILLED[victim]})")
    assert soon(lambda: locks(host) == 0, 20)
    assert ended(run)[0] != 0
    assert soon(lambda: left(host) == "", 20), left(host)
    free(host)
    # The server has rolled back what waited.
    assert soon(lambda: not waits(host))
    assert schema(host) == before
    status, said = ended(begun())
    assert status == 0, said


def test_a_read_only_database_is_told_in_words(host: Host, before: str) -> None:
    asked(host, "ALTER DATABASE amy SET default_transaction_read_only = on")
    try:
        status, said = ended(begun())
    finally:
        asked(host, "BEGIN READ WRITE; ALTER DATABASE amy RESET default_transaction_read_only; COMMIT")
    assert status != 0
    assert "The database is read-only (transaction_read_only is on)" in said
    assert "Nothing was changed" in said
    assert schema(host) == before


def test_a_database_that_is_down_is_told_in_words(host: Host) -> None:
    host.check_output("systemctl stop postgresql")
    try:
        status, said = ended(begun())
    finally:
        host.check_output("systemctl start postgresql")
        assert soon(lambda: host.run("runuser -u postgres -- psql -c 'SELECT 1'").rc == 0)
    assert status != 0
    assert "The database is down, cannot be reached or does not let the application in" in said
    assert "Nothing was changed" in said
