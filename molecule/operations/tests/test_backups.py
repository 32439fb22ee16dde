"""A deploy that migrates leaves a proven dump behind, which comes back elsewhere and in the real database's place."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.fleet import DOMAIN, ROOT, Fleet, Load, Run, load
from sandbox.proof import on, processes, secrets
from sandbox.site import Site

OUT = ROOT / "out" / "test" / "operations"
BACKUPS = f"/webapps/{DOMAIN}/DB_backups"
OTHER_PORT = 5433


def sql(statement: str, *, database: str = "amy", port: int = 5432) -> str:
    """What PostgreSQL's superuser is answered on the database host."""
    psql = ["psql", "-XAt", "--set=ON_ERROR_STOP=1", f"--port={port}", f"--dbname={database}", f"--command={statement}"]
    return on("db-1", "runuser", "--user", "postgres", "--", *psql).strip()


def admit(who: str, hba: str) -> None:
    """Let somebody log in from the hosts' network, on top of what a pg_hba.conf allows."""
    # What wrote the file ended it without a newline.
    on("db-1", "sh", "-c", 'printf "\\n%s\\n" "$0" >> "$1"', f"host {who} 10.77.0.0/16 scram-sha-256", hba)


@functools.cache
def migrating_host() -> str:
    return Fleet(OUT / "logs").hosts("web")[0]


def described() -> list[dict[str, Any]]:
    """What is written about the dumps on the host that migrates, the oldest first."""
    host = migrating_host()
    names = sorted(on(host, "find", BACKUPS, "-name", "*.dump.json").split())
    return [{"path": name.removesuffix(".json"), **json.loads(on(host, "cat", name))} for name in names]


def extra(**variables: object) -> str:
    return f"--extra-vars={json.dumps(variables)}"


@pytest.fixture(scope="module")
def other_server() -> Iterator[None]:
    """Another server with nothing but the application's user, beside the real one."""
    major = on("db-1", "ls", "/etc/postgresql").split()[0]
    on("db-1", "pg_createcluster", major, "other", "--port", str(OTHER_PORT))
    for file in ("pg_hba.conf", "conf.d/sandbox.conf"):
        on("db-1", "cp", "-p", f"/etc/postgresql/{major}/main/{file}", f"/etc/postgresql/{major}/other/{file}")
    on("db-1", "pg_ctlcluster", major, "other", "start")
    verifier = sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'amy'")
    sql(f"CREATE ROLE amy LOGIN CREATEDB PASSWORD '{verifier}'", database="postgres", port=OTHER_PORT)
    admit("all amy", f"/etc/postgresql/{major}/other/pg_hba.conf")
    on("db-1", "pg_ctlcluster", major, "other", "reload")
    yield
    on("db-1", "pg_dropcluster", "--stop", major, "other")


def kept(run: Run) -> str:
    """The name of the database whose place a dump took. What only looked before named one of its own time."""
    return str(re.findall(r"amy_before_\w+", run.output)[-1])


@dataclass(frozen=True)
class Deployed:
    """What was seen of a deploy that migrates. ``dump``: the one that it took."""

    users: Load
    run: Run
    dump: dict[str, Any]


@pytest.fixture(scope="module")
def deployed(fleet: Fleet) -> Iterator[Deployed]:
    before = {dump["path"] for dump in described()}
    admit("postgres,webapps_restored_amy amy", sql("SHOW hba_file"))
    sql("ALTER ROLE amy CREATEDB")
    sql("SELECT pg_reload_conf()")
    with load(OUT / "backups_deploy", steady=5) as users, users.roll():
        run = fleet.deploy("v2")
    (dump,) = [dump for dump in described() if dump["path"] not in before]
    yield Deployed(users, run, dump)
    fleet.deploy("v1")
    sql("ALTER ROLE amy NOCREATEDB")


def test_a_deploy_with_a_pending_migration_leaves_a_proven_dump_and_fails_no_request(deployed: Deployed) -> None:
    assert (deployed.dump["reason"], deployed.dump["database"]) == ("deploy", "amy")
    assert deployed.dump["tables"]["public.django_migrations"] > 0
    checked = on(migrating_host(), "sh", "-c", f"cd {BACKUPS} && sha256sum --check {deployed.dump['path']}.sha256")
    assert checked.strip().endswith("OK")
    assert deployed.users.summary["failures"] == []
    assert deployed.users.summary["requests"] > 0


def test_a_deploy_without_migrations_takes_no_dump(deployed: Deployed, fleet: Fleet) -> None:
    before = described()
    fleet.deploy("v2")
    assert described() == before


def test_it_comes_back_on_another_server_with_the_rows_it_was_taken_with(
    deployed: Deployed, fleet: Fleet, other_server: None
) -> None:
    restore = {"restore_dump": deployed.dump["path"], "pg_backup_restore_connection": {"port": OTHER_PORT}}
    done = fleet.must("playbooks/restore.yml", extra(**restore))
    rows = sum(deployed.dump["tables"].values())
    assert f"{len(deployed.dump['tables'])} tables, {rows} rows" in re.sub(r"\s+", " ", done.output)
    assert sql("SELECT count(*) FROM pg_database", database="postgres", port=OTHER_PORT) == "3"


def test_a_dump_under_load_costs_no_request(deployed: Deployed, fleet: Fleet) -> None:
    before = len(described())
    with load(OUT / "backups_dump", steady=5) as users, users.roll():
        fleet.must("playbooks/backup.yml")
    assert users.summary["failures"] == []
    assert users.summary["requests"] > 0
    assert len(described()) == before + 1


def test_live_data_is_replaced_only_when_asked_for_twice(deployed: Deployed, fleet: Fleet, site: Site) -> None:
    run = fleet.run("playbooks/restore.yml", extra(restore_into="live", restore_dump=deployed.dump["path"]))
    assert run.code != 0
    assert f"restore_confirm={DOMAIN}" in run.output
    assert site.get("/").status_code == 200


def test_the_dump_takes_the_real_ones_place_and_everything_runs_again(
    deployed: Deployed, fleet: Fleet, site: Site
) -> None:
    # The dump is from before the migration: first back to the code that it fits.
    fleet.deploy("v1")
    restore = {"restore_into": "live", "restore_confirm": DOMAIN, "restore_dump": deployed.dump["path"]}
    done = fleet.must("playbooks/restore.yml", extra(**restore))
    columns = (
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'notes_note' AND column_name = 'topic'"
    )
    previous = kept(done)
    assert (sql(columns), sql(columns, database=previous)) == ("0", "1")
    assert int(sql("SELECT count(*) FROM notes_note")) >= deployed.dump["tables"]["public.notes_note"]
    assert site.get("/").status_code == 200
    assert len(processes("worker-1", "rqworker", "rqscheduler")) == 2
    assert site.finished_job(site.enqueue(0), patience=60)["state"] == "finished"
    sql(f'DROP DATABASE "{previous}"', database="postgres")


def test_a_dump_that_the_live_release_does_not_fit_leaves_the_page_on_until_one_that_does_is_deployed(
    deployed: Deployed, fleet: Fleet, site: Site
) -> None:
    fleet.deploy("v2")
    restore = {"restore_into": "live", "restore_confirm": DOMAIN, "restore_dump": deployed.dump["path"]}
    run = fleet.run("playbooks/restore.yml", extra(**restore))
    said = re.sub(r"\s+", " ", run.output)
    assert run.code != 0
    assert "it lacks notes." in said
    assert f"It was taken of {deployed.dump['release']}: deploy that one" in said
    assert site.get("/").status_code == 503
    assert processes("worker-1", "rqworker", "rqscheduler") == set()
    fleet.deploy("v1", "-e", "deploy_maintenance=true")
    assert site.get("/").status_code == 503
    fleet.must("playbooks/maintenance.yml", "--tags", "off")
    assert site.get("/").status_code == 200
    assert len(processes("worker-1", "rqworker", "rqscheduler")) == 2
    sql(f'DROP DATABASE "{kept(run)}"', database="postgres")


def test_no_output_and_no_log_holds_a_secret(deployed: Deployed) -> None:
    log = on(migrating_host(), "cat", f"/webapps/{DOMAIN}/logs/pg_backup.log")
    outputs = "".join(path.read_text() for path in (OUT / "logs").glob("*.log"))
    assert [secret for secret in secrets() if secret in log + outputs] == []
