"""A dump is proven or not there, and what would make it fail is refused before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import pg_backup
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

from tests.unit.plugins.fake_postgresql import DOMAIN, FakeHost, FakeServer


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path / DOMAIN, FakeServer())


def backup(host: FakeHost, *, check: bool = False, accept_empty: bool = False, **params: Any) -> dict[str, Any]:
    settings = pg_backup.settings_of({**host.params, **params}, reason="deploy", accept_empty=accept_empty)
    return pg_backup.backup(settings, host.host, check=check)


def test_a_dump_has_its_proof_and_the_rows_of_its_snapshot(host: FakeHost) -> None:
    result = backup(host)
    name = Path(result["dump"]["path"]).name
    assert host.files() == [name, f"{name}.json", f"{name}.sha256"]
    described = json.loads((host.root / f"DB_backups/{name}.json").read_text())
    assert described["tables"] == {"public.event": 0, "public.person": 3}
    (dump,) = [command for command in host.server.commands if command[0].endswith("pg_dump") and len(command) > 2]
    assert "--snapshot=00000003-1" in dump
    assert "--lock-wait-timeout=10000" in dump
    assert "hunter2" not in str(host.server.commands)
    assert list((host.root / "secrets").iterdir()) == []
    assert "dumped" in host.log()


def test_check_mode_leaves_nothing(host: FakeHost) -> None:
    assert backup(host, check=True)["changed"]
    assert list((host.root / "DB_backups").iterdir()) == []
    assert host.log() == ""


def test_check_mode_leaves_the_password_of_a_dump_that_runs(host: FakeHost) -> None:
    path = host.root / "secrets" / f"webapps-{DOMAIN}-dump.pgpass"
    path.write_text("of the dump")
    backup(host, check=True)
    assert path.read_text() == "of the dump"


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("server", "words"),
    [
        (FakeServer(unreadable={"person"}), 'may not read public.person.*GRANT pg_read_all_data TO "amy"'),
        (FakeServer(filtered={"event"}), "Row security hides rows of public.event"),
        (FakeServer(client_major=13), "postgresql-client-15"),
        (FakeServer(client_major=17), "postgresql-client-15"),
        (FakeServer(databases={"amy": {}}), "has no tables"),
    ],
)
def test_what_cannot_become_a_whole_dump_is_refused_before(
    tmp_path: Path, server: FakeServer, words: str, check: bool
) -> None:
    host = FakeHost(tmp_path / DOMAIN, server)
    with pytest.raises(WebappsError, match=words):
        backup(host, check=check)
    assert host.files() == []
    assert [command for command in server.commands if "--format=custom" in command] == []
    assert bool(host.log()) is not check


@pytest.mark.parametrize("check", [True, False])
def test_a_locked_table_is_not_waited_for_even_when_only_its_size_is_asked(host: FakeHost, check: bool) -> None:
    host.server.refuses = {"pg_table_size": "canceling statement due to lock timeout"}
    with pytest.raises(WebappsError, match="stayed locked for 10 s"):
        backup(host, check=check)
    assert "SET lock_timeout = '10s'" in host.server.said


@pytest.mark.parametrize(
    ("space", "words"), [((1 << 20, None), "enlarge the disk"), ((1 << 30, 7), "7 inodes free, and a dump takes 8")]
)
def test_too_little_disk_is_refused_before(host: FakeHost, space: tuple[int, int | None], words: str) -> None:
    host.space = space
    with pytest.raises(WebappsError, match=words):
        backup(host)


def test_rows_that_are_left_out_need_no_disk_and_are_said(host: FakeHost) -> None:
    host.space = (1 << 20) + 1000, None
    result = backup(host, exclude_table_data=["person"])
    described = json.loads(Path(f"{result['dump']['path']}.json").read_text())
    assert (described["excluded"], described["tables"]["public.person"]) == (["public.person"], 0)
    assert '--exclude-table-data="public"."person"' in str(host.server.commands)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (FakeServer(archive=b"PGDMP"), "5 bytes, fewer than 1024"),
        (FakeServer(entries=["person"]), "lacks public.event"),
        (FakeServer(failures={"--file=/dev/null": Finished(1, "", "could not read")}), "cannot be read to its end"),
        (FakeServer(failures={"--format=custom": Finished(1, "", "No space left on device")}), "filled the disk"),
        (
            FakeServer(failures={"--format=custom": Finished(1, "", "canceling statement due to lock timeout")}),
            "stayed locked for 10 s",
        ),
        (FakeServer(refuses={"LOCK TABLE": "canceling statement due to lock timeout"}), "pg_backup_lock_wait_timeout"),
        (FakeServer(failures={"--format=custom": Finished(1, "", "gone")}), "nothing of it was kept: gone"),
    ],
)
def test_a_dump_that_is_not_proven_leaves_nothing(tmp_path: Path, server: FakeServer, words: str) -> None:
    host = FakeHost(tmp_path / DOMAIN, server)
    with pytest.raises(WebappsError, match=words):
        backup(host)
    assert host.files() == []
    assert "dump (deploy) failed" in host.log()


def test_the_one_before_stays_when_a_dump_fails(host: FakeHost) -> None:
    backup(host, keep=1)
    before = host.files()
    host.server.archive = b""
    with pytest.raises(WebappsError, match="fewer than"):
        backup(host, keep=1)
    assert host.files() == before


def test_a_new_dump_lets_the_oldest_go_and_is_uploaded(host: FakeHost) -> None:
    first = backup(host)["dump"]["path"]
    backup(host)
    result = backup(host, s3={"bucket": "bucket"})
    assert result["removed"] == [first, f"{first}.sha256", f"{first}.json"]
    assert result["uploaded"].startswith("s3://bucket/")
    assert host.uploaded == [Path(result["dump"]["path"]).name + suffix for suffix in ("", ".sha256", ".json")]


def test_an_empty_database_may_be_one_before_a_first_deploy(tmp_path: Path) -> None:
    host = FakeHost(tmp_path / DOMAIN, FakeServer(databases={"amy": {}}))
    result = backup(host, accept_empty=True)
    assert (result["changed"], result["dump"]) == (False, None)


def test_a_directory_that_others_may_read_takes_no_dump(host: FakeHost) -> None:
    (host.root / "DB_backups").chmod(0o750)
    with pytest.raises(WebappsError, match="mode 0750"):
        backup(host)


def test_the_log_is_written_through_no_link(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (host.root / "logs/pg_backup.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        backup(host)
    assert (tmp_path / "elsewhere").read_text() == ""
