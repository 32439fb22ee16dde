"""Migrations that the running code does not survive are refused by name, before anything is touched."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from testinfra.host import Host

PLAYBOOK = Path(__file__).parent.parent / "judge.yml"


def judge(version: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Judge the pending migrations of a version, whatever comes of it."""
    return subprocess.run(
        [
            "ansible-playbook",
            f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
            f"--extra-vars={json.dumps({'scenario_version': version, **variables})}",
            str(PLAYBOOK),
        ],
        # Failures are told on standard error.
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        # YAML would break long lines wherever they happen to be long.
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
    )


def applied(host: Host) -> str:
    query = "SELECT count(*) FROM django_migrations"
    return str(
        host.check_output(f'runuser -u postgres -- psql --tuples-only --no-align --dbname=amy --command="{query}"')
    )


def test_a_migration_that_the_running_code_survives_passes() -> None:
    run = judge("v2")
    assert run.returncode == 0, run.stdout
    assert "changed=0 " in run.stdout


def test_a_migration_that_drops_a_column_is_refused_with_its_statement_and_the_ways_through(host: Host) -> None:
    before = applied(host)
    run = judge("v3-incompatible")
    assert run.returncode != 0
    said = " ".join(run.stdout.split())
    assert "1 of 2 pending migrations may break the code that serves now" in said
    assert "notes.0003_remove_note_author incompatible" in said
    assert 'DROP COLUMN "author"' in said.replace("\\", "")
    assert "deploy_maintenance=true" in said
    assert applied(host) == before


def test_a_migration_that_a_person_confirmed_passes() -> None:
    run = judge("v3-incompatible", migration_gate_allowed=["notes.0003_remove_note_author"])
    assert run.returncode == 0, run.stdout


def test_behind_the_maintenance_page_nothing_is_refused() -> None:
    run = judge("v3-incompatible", migration_gate_enforced=False)
    assert run.returncode == 0, run.stdout


def test_a_release_without_pending_migrations_passes() -> None:
    assert judge("v1").returncode == 0
