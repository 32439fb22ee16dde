"""What a dump proves, what is refused and why, and that what was dumped comes back, elsewhere too."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

DOMAIN = "amy.example.org"
ROOT = f"/webapps/{DOMAIN}"
BACKUPS = f"{ROOT}/DB_backups"
LOG = f"{ROOT}/logs/pg_backup.log"
CANARY = "canary"
# The scenario's password as libpq's file has it.
PASSFILE = r"""*:*:*:*:canary\: it's \\ 100% "so" #1"""
BUCKET = {
    "bucket": "amy-backups",
    "prefix": "test",
    "region": "eu-west-1",
    "endpoint_url": "http://127.0.0.1:5000",
}
ROWS = {
    'public.Weird "name"': 17,
    "public.child": 4,
    "public.event_2025": 213,
    "public.event_2026": 87,
    "public.nothing": 0,
    "public.parent": 3,
    "public.person": 5000,
    "public.session": 50,
    "reports.month": 12,
}
testinfra_hosts = ["ansible://webapps-pg_backup"]


def call(host: Host, module: str, *, check: bool = False, **options: object) -> dict[str, Any]:
    """Call one of the modules on the host, for real."""
    arguments = {"root": ROOT, "environment_file": f"{ROOT}/environment", **options}
    result: dict[str, Any] = host.ansible(
        f"carpentries.webapps.{module}", json.dumps(arguments), check=check, become=True
    )
    return result


def dump(host: Host, *, check: bool = False, **options: object) -> dict[str, Any]:
    return call(host, "pg_backup", check=check, **{"disk_reserve": 1, "keep_days": 0, **options})


def refusal(result: dict[str, Any]) -> str:
    assert "dump" not in result, result
    return str(result["msg"])


def dumps(host: Host) -> list[str]:
    return sorted(name for name in host.check_output(f"ls {BACKUPS}").split() if name.endswith(".dump"))


def until(server: Host, condition: str) -> None:
    """Return once a shell's condition holds there, soon."""
    server.check_output(f"for _ in $(seq 300); do if {condition}; then exit 0; fi; sleep 0.1; done; exit 1")


def psql(statement: str, database: str) -> str:
    """A command that prints what PostgreSQL answers to its superuser."""
    words = ["runuser", "-u", "postgres", "--", "psql", "-XAtv", "ON_ERROR_STOP=1", "-d", database, "-c", statement]
    return f"cd / && {shlex.join(words)}"


def sql(server: Host, statement: str, database: str = "amy") -> str:
    return str(server.check_output(psql(statement, database)))


def counted(server: Host, database: str) -> int:
    return int(sql(server, "SELECT count(*) FROM person", database))


@pytest.fixture(scope="module")
def db(host: Host) -> Host:
    return host.get_host("ansible://webapps-pg_backup-db", ansible_inventory=host.backend.ansible_runner.inventory_file)


@pytest.fixture(scope="module")
def other(host: Host) -> Host:
    return host.get_host(
        "ansible://webapps-pg_backup-other", ansible_inventory=host.backend.ansible_runner.inventory_file
    )


@pytest.fixture(scope="module")
def servers(host: Host) -> dict[str, str]:
    found: dict[str, str] = json.loads(host.check_output("cat /srv/servers.json"))
    return found


@pytest.fixture(scope="module")
def taken(host: Host) -> dict[str, Any]:
    """A dump of the database as it was prepared."""
    result = dump(host)
    assert "dump" in result, result
    found: dict[str, Any] = result["dump"]
    return found


@pytest.fixture
def copy(host: Host, taken: dict[str, Any]) -> Iterator[str]:
    """A copy of that dump with its proof, to be damaged."""
    name = f"/root/copy/{taken['path'].rpartition('/')[2]}"
    host.check_output(f"mkdir /root/copy && cp -p {taken['path']}* /root/copy")
    yield name
    host.check_output("rm -r /root/copy")


def test_a_dump_is_whole_described_and_for_root_alone(host: Host, taken: dict[str, Any]) -> None:
    assert json.loads(host.file(f"{taken['path']}.json").content_string)["tables"] == ROWS
    assert host.check_output(f"cd {BACKUPS} && sha256sum --check {taken['path']}.sha256").endswith("OK")
    directory = host.file(BACKUPS)
    assert (directory.user, directory.mode) == ("root", 0o700)
    for name in host.check_output(f"ls -A {BACKUPS}").split():
        assert host.file(f"{BACKUPS}/{name}").mode == 0o600, name
    assert host.run(f"runuser -u amy -- cat {taken['path']}").rc != 0


def test_check_mode_refuses_what_a_dump_would_and_dumps_nothing(host: Host) -> None:
    before = dumps(host)
    result = dump(host, check=True)
    assert (result["changed"], result["proven"], result["dump"]) == (True, False, None)
    assert "No connection" in refusal(dump(host, check=True, connection={"port": 1}))
    assert dumps(host) == before


def test_a_dump_comes_back_with_the_same_rows_on_another_server(
    host: Host, other: Host, servers: dict[str, str], taken: dict[str, Any]
) -> None:
    result = call(host, "pg_restore", dump=taken["path"], restore_connection={"host": servers["other"]})
    assert (result["tables"], result["changed"]) == (ROWS, False)
    assert result["server"] == f"{servers['other']}:5432"
    assert "webapps" not in sql(other, "SELECT string_agg(datname, ' ') FROM pg_database")


def test_live_data_is_replaced_only_when_asked_for_twice(host: Host, taken: dict[str, Any]) -> None:
    assert "takes that very name" in refusal(call(host, "pg_restore", into="live", confirm="yes"))


def test_a_restore_takes_the_real_ones_place_whole_and_keeps_what_was_before(
    host: Host, other: Host, servers: dict[str, str], taken: dict[str, Any]
) -> None:
    sql(other, "CREATE TABLE person (id integer); ALTER DATABASE amy SET statement_timeout = '7s'")
    # A session of the application's that nobody closed.
    address = f"host={servers['other']} user=amy dbname=amy"
    host.check_output(f"umask 077 && cat > /root/pgpass << 'END'\n{PASSFILE}\nEND")
    sleeper = f"psql '{address}' -c 'SELECT pg_sleep(600)' > /dev/null 2>&1"
    host.check_output(f"(PGPASSFILE=/root/pgpass setsid {sleeper} &)")
    there = psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'amy' AND query LIKE '%sleep%'", "amy")
    until(other, f'[ "$({there})" = 1 ]')
    arguments = {
        "dump": taken["path"],
        "into": "live",
        "confirm": DOMAIN,
        "restore_connection": {"host": servers["other"]},
    }
    assert call(host, "pg_restore", check=True, **arguments)["changed"]
    assert sql(other, "SELECT count(*) FROM person") == "0"
    result = call(host, "pg_restore", **arguments)
    assert "dump" in result, result
    assert counted(other, "amy") == 5000
    assert counted(other, result["previous"]) == 0
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'reports')"
    assert sql(other, owners) == "amy"
    assert sql(other, "SHOW statement_timeout") == "7s"
    assert sql(other, "SELECT obj_description('person'::regclass)") == 'Somebody; "quoted"'
    assert sql(other, "SELECT count(*) FROM reports.names") == "9"
    assert sql(other, "SELECT nextval('person_id_seq')") == "5001"


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ("truncate --size=-100 {}", "is truncated"),
        ("truncate --size=0 {}", "is empty"),
        ("printf x | dd of={} bs=1 seek=9000 conv=notrunc", "is damaged"),
        ("rm {}.json", "nothing says what is in it"),
        ('sed --in-place \'s/"domain": "amy/"domain": "eve/\' {}.json', "is a foreign dump: it was made of eve"),
        ('sed --in-place \'s/"database": "amy/"database": "eve/\' {}.json', "foreign dump: it was made of the"),
        ("rm {}", "There is no dump"),
    ],
)
def test_a_dump_that_is_not_what_was_proven_is_refused_by_name(
    host: Host, db: Host, copy: str, damage: str, word: str
) -> None:
    host.check_output(damage.format(copy))
    for into in ("scratch", "live"):
        message = refusal(call(host, "pg_restore", dump=copy, into=into, confirm=DOMAIN))
        assert word in message
        assert copy in message
    assert counted(db, "amy") == 5000


def test_the_timers_run_what_they_should(host: Host) -> None:
    before = dumps(host)
    for unit, word in {"backup": "dumped", "drill": "drill passed"}.items():
        name = f"webapps-pg-{unit}-{DOMAIN}"
        assert host.service(f"{name}.timer").is_enabled
        assert host.service(f"{name}.timer").is_running
        host.check_output(f"systemctl start {name}.service")
        assert word in host.check_output(f"journalctl --quiet --unit {name}.service --output cat")
        assert f" pg_backup: {word}" in host.file(LOG).content_string
    assert [name for name in dumps(host) if name not in before]


def test_a_timer_that_fails_says_why_and_is_seen(host: Host) -> None:
    name = f"webapps-pg-backup-{DOMAIN}"
    host.check_output(f"mv {ROOT}/environment {ROOT}/environment.away")
    assert host.run(f"systemctl start {name}.service").rc != 0
    host.check_output(f"mv {ROOT}/environment.away {ROOT}/environment")
    assert "There is no environment file" in host.check_output(f"journalctl --quiet --unit {name} --output cat")
    assert host.service(name).is_running is False
    host.check_output(f"systemctl reset-failed {name}.service")


def test_retention_keeps_the_newest_and_the_last_of_a_deploy_and_leaves_foreign_files_alone(host: Host) -> None:
    foreign = ["notes.txt", "other.example.org-20200101T000000Z.dump", f"{DOMAIN}-20200101T000000Z.dump"]
    for name in foreign:
        host.check_output(f"echo kept > {BACKUPS}/{name}")
    deployed = dump(host, reason="deploy")["dump"]["path"]
    kept = [dump(host, keep=2)["dump"]["path"] for _ in range(3)][1:]
    found = {f"{BACKUPS}/{name}" for name in dumps(host)}
    assert found == {deployed, *kept, *(f"{BACKUPS}/{name}" for name in foreign if name.endswith(".dump"))}
    assert host.file(f"{BACKUPS}/notes.txt").exists
    host.check_output(f"cd {BACKUPS} && rm {' '.join(foreign)}")


def test_what_a_killed_dump_left_is_removed_by_the_next(host: Host) -> None:
    left = f"{BACKUPS}/{DOMAIN}-20260101T000000Z.dump"
    host.check_output(f"touch {left}.partial {left}.json")
    dump(host)
    assert host.run(f"ls {left}.partial {left}.json").rc != 0


def test_two_dumps_do_not_run_at_once(host: Host) -> None:
    lock = f"{BACKUPS}/.dump.lock"
    host.check_output(f"systemd-run --quiet --unit=holder flock {lock} sleep 600")
    until(host, f"! flock --nonblock {lock} true")
    result = dump(host, timeout=1)
    host.check_output("systemctl stop holder")
    assert "Another dump is at work" in refusal(result)
    assert dump(host, timeout=1)["changed"]


def test_a_dump_is_in_s3_encrypted_with_its_proof(host: Host) -> None:
    result = dump(host, s3={**BUCKET, "encryption": "aws:kms"})
    name = result["uploaded"].removeprefix("s3://amy-backups/")
    program = (
        "import boto3, hashlib; "
        "s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:5000', region_name='eu-west-1'); "
        f"found = s3.get_object(Bucket='amy-backups', Key='{name}'); "
        "print(hashlib.sha256(found['Body'].read()).hexdigest(), found['ServerSideEncryption']); "
        f"[s3.head_object(Bucket='amy-backups', Key='{name}' + end) for end in ('.json', '.sha256')]"
    )
    assert host.check_output(f'python3 -c "{program}"') == f"{result['dump']['sha256']} aws:kms"


def test_a_bucket_that_does_not_take_it_is_named_and_the_dump_stays(host: Host) -> None:
    message = refusal(dump(host, s3={**BUCKET, "bucket": "nobodys"}))
    assert "NoSuchBucket" in message
    assert "Correct pg_backup_s3.bucket" in message
    (name,) = [name for name in dumps(host) if name in message]
    assert host.file(f"{BACKUPS}/{name}.sha256").exists


def test_a_missing_right_is_refused_with_the_table(host: Host, db: Host) -> None:
    sql(db, "CREATE TABLE public.secret (id integer)")
    before = dumps(host)
    result = dump(host)
    sql(db, "DROP TABLE public.secret")
    message = refusal(result)
    assert "may not read public.secret" in message
    assert "pg_read_all_data" in message
    assert dumps(host) == before


def test_a_wrong_password_and_an_unreachable_server_are_told_apart(host: Host) -> None:
    assert "The password is wrong" in refusal(dump(host, connection={"password": "canary-wrong"}))
    assert "Check that the server runs" in refusal(dump(host, connection={"port": 5433}))
    assert 'database "nobodys" does not exist' in refusal(dump(host, connection={"name": "nobodys"}))


def test_a_client_of_another_version_is_refused_before_anything_starts(host: Host) -> None:
    # No recorded output but for the version: Debian has one version of PostgreSQL, so the older client is a program
    # that says what PostgreSQL 13's says.
    host.check_output("mkdir --parents /opt/older")
    host.check_output("printf '#!/bin/sh\\necho pg_dump \\(PostgreSQL\\) 13.18\\n' > /opt/older/pg_dump")
    host.check_output("chmod 0755 /opt/older/pg_dump")
    before = dumps(host)
    message = refusal(dump(host, bin_dir="/opt/older"))
    assert "/opt/older/pg_dump is of version 13" in message
    assert "Set pg_backup_package to postgresql-client-1" in message
    assert dumps(host) == before


def test_a_full_disk_is_refused_before_and_what_fails_on_the_way_leaves_nothing(host: Host) -> None:
    host.check_output(f"mount -t tmpfs -o size=300k,mode=0700 tmpfs {BACKUPS}")
    try:
        message = refusal(dump(host))
        assert "0.3 MiB free" in message
        assert "pg_backup_disk_reserve" in message
        host.check_output(f"head --bytes=200000 /dev/urandom > {BACKUPS}/filler")
        # A reserve below nothing, so that pg_dump itself meets the end of the disk.
        message = refusal(dump(host, disk_reserve=-100))
        assert "filled the disk" in message
        assert host.check_output(f"ls {BACKUPS}") == "filler"
    finally:
        host.check_output(f"umount {BACKUPS}")


def test_few_inodes_are_refused_too(host: Host) -> None:
    host.check_output(f"mount -t tmpfs -o size=50m,nr_inodes=4,mode=0700 tmpfs {BACKUPS}")
    try:
        assert "inodes free" in refusal(dump(host))
    finally:
        host.check_output(f"umount {BACKUPS}")


def test_a_locked_table_is_waited_for_only_so_long(host: Host, db: Host) -> None:
    lock = "BEGIN; LOCK TABLE person; SELECT pg_sleep(3600)"
    db.check_output(f"systemd-run --quiet --unit=holder --uid=postgres psql --dbname=amy --command='{lock}'")
    held = (
        "SELECT count(*) FROM pg_locks WHERE relation = 'person'::regclass AND mode = 'AccessExclusiveLock' AND granted"
    )
    until(db, f'[ "$({psql(held, "amy")})" = 1 ]')
    result = dump(host, lock_wait_timeout=1)
    db.check_output("systemctl stop holder")
    sql(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'")
    message = refusal(result)
    assert "stayed locked for 1 s" in message
    assert "pg_backup_lock_wait_timeout" in message


def test_rows_that_are_left_out_are_left_out_and_said(host: Host) -> None:
    result = dump(host, exclude_table_data=["session"])
    described = json.loads(host.file(f"{result['dump']['path']}.json").content_string)
    assert (described["excluded"], described["tables"]["public.session"]) == (["public.session"], 0)
    assert call(host, "pg_restore", dump=result["dump"]["path"])["tables"]["public.session"] == 0


def test_an_empty_database_is_an_error_unless_it_may_be_one(host: Host, db: Host) -> None:
    sql(db, "CREATE DATABASE fresh OWNER amy")
    fresh = {"name": "fresh"}
    refused, result = dump(host, connection=fresh), dump(host, connection=fresh, accept_empty=True)
    sql(db, "DROP DATABASE fresh")
    assert "has no tables" in refusal(refused)
    assert (result["changed"], result["proven"], result["dump"]) == (False, True, None)


def test_no_password_is_in_a_process_list_a_log_or_a_file_that_others_read(host: Host, db: Host) -> None:
    watch = "for _ in $(seq 200); do ps -e -ww -o args; sleep 0.02; done > /root/processes"
    host.check_output(f"(setsid sh -c '{watch}' > /dev/null 2>&1 &)")
    host.check_output(f"systemctl start webapps-pg-backup-{DOMAIN}.service")
    host.check_output("sleep 3")
    assert "pg_dump" in host.file("/root/processes").content_string
    assert CANARY not in host.file("/root/processes").content_string
    assert host.run("ls /run/*.pgpass").rc != 0
    assert host.run("journalctl | grep --fixed-strings 'canary:'").stdout == ""
    places = f"/etc /var/log /tmp /run {ROOT}"
    assert host.run(f"find {places} -type f -perm -o=r -exec grep -l canary: {{}} + 2> /dev/null").stdout == ""
    assert host.file(f"/etc/webapps/pg-backup/{DOMAIN}.json").mode == 0o600
    assert CANARY not in host.file(LOG).content_string


def test_a_host_that_another_one_follows_has_no_timer_and_keeps_its_dumps(host: Host) -> None:
    kept = dumps(host)
    command = [
        "ansible-playbook",
        "-i",
        os.environ["MOLECULE_INVENTORY_FILE"],
        str(Path(__file__).parents[1] / "retire.yml"),
    ]
    for changed in (True, False):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ("changed=0 " not in done.stdout) is changed
    assert host.check_output("systemctl list-timers --all --no-legend 'webapps-pg-*'") == ""
    assert not host.file(f"/etc/webapps/pg-backup/{DOMAIN}.json").exists
    assert dumps(host) == kept
