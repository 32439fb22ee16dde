"""A dump comes back as it was taken, and the real database is replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import pg_backup, pg_restore
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

from tests.unit.plugins.fake_postgresql import DOMAIN, TABLES, FakeHost, FakeServer


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return with_dump(tmp_path, FakeServer())


def with_dump(directory: Path, server: FakeServer) -> FakeHost:
    """A host with one proven dump."""
    host = FakeHost(directory / DOMAIN, server)
    (host.root / "repo").symlink_to("releases/3f2a1b9c0d-9f8e7d6c")
    pg_backup.backup(pg_backup.settings_of(host.params, reason="timer"), host.host, check=False)
    return host


def drill(host: FakeHost, dump: str = "", *, check: bool = False, **params: Any) -> dict[str, Any]:
    return pg_restore.drill(pg_restore.settings_of({**host.params, **params}), host.host, dump, check=check)


def live(
    host: FakeHost, dump: str = "", *, confirm: str = DOMAIN, check: bool = False, **params: Any
) -> dict[str, Any]:
    settings = pg_restore.settings_of({**host.params, **params})
    return pg_restore.restore(settings, host.host, dump, confirm=confirm, check=check)


def test_a_drill_compares_and_leaves_nothing(host: FakeHost) -> None:
    result = drill(host)
    assert (result["changed"], result["tables"]) == (False, {"public.event": 0, "public.person": 3})
    assert result["release"] == "3f2a1b9c0d-9f8e7d6c"
    assert set(host.server.databases) == {"amy", "postgres"}
    assert "drill passed" in host.log()


@pytest.mark.parametrize("restores", [{**TABLES, "person": 2}, {"person": 3}, {**TABLES, "more": 1}])
@pytest.mark.parametrize("work", [drill, live])
def test_a_dump_that_restores_otherwise_than_it_was_taken_is_refused_with_the_tables(
    host: FakeHost, restores: dict[str, int], work: Any
) -> None:
    host.server.restores = restores
    with pytest.raises(WebappsError, match=r"has .*, had "):
        work(host)
    assert host.server.databases == {"amy": TABLES, "postgres": {}}


@pytest.mark.parametrize("work", [drill, live])
def test_a_restore_that_fails_leaves_the_real_database_and_nothing_else(host: FakeHost, work: Any) -> None:
    host.server.failures = {"--exit-on-error": Finished(1, "", "out of disk")}
    with pytest.raises(WebappsError, match=r"does not restore.*out of disk"):
        work(host)
    assert host.server.databases == {"amy": TABLES, "postgres": {}}
    assert "failed" in host.log()


def test_the_restored_database_takes_the_real_ones_name_in_one_transaction(host: FakeHost) -> None:
    host.server.restores = dict(TABLES)
    host.server.databases["amy"]["person"] = 99
    result = live(host)
    assert host.server.databases["amy"] == TABLES
    assert host.server.databases[result["previous"]]["person"] == 99
    renames = host.server.said[host.server.said.index("BEGIN", host.server.said.index("ANALYZE")) :]
    assert [statement.split(" ")[0] for statement in renames] == ["BEGIN", "ALTER", "ALTER", "COMMIT"]
    assert any("SET \"statement_timeout\" TO '7s'" in statement for statement in host.server.said)


def test_a_server_without_the_database_gets_it(host: FakeHost) -> None:
    host.server.restores = host.server.databases.pop("amy")
    host.server.entries = list(TABLES)
    assert live(host)["previous"] is None
    assert host.server.databases["amy"] == TABLES


@pytest.mark.parametrize("confirm", ["", "yes", "eve.example.org"])
def test_replacing_needs_the_domain(host: FakeHost, confirm: str) -> None:
    with pytest.raises(WebappsError, match="that very name"):
        live(host, confirm=confirm)


def test_check_mode_verifies_and_changes_nothing(host: FakeHost) -> None:
    host.server.said.clear()
    assert live(host, check=True)["previous"].startswith("amy_before_")
    assert drill(host, check=True)["rows"] == 3
    assert [said for said in host.server.said if not said.startswith("SET ")] == []


@pytest.mark.parametrize("work", [drill, live])
def test_check_mode_leaves_the_password_of_a_restore_that_runs(host: FakeHost, work: Any) -> None:
    path = host.root / "secrets" / f"webapps-{DOMAIN}-restore.pgpass"
    path.write_text("of the restore")
    work(host, check=True)
    assert path.read_text() == "of the restore"


@pytest.mark.parametrize("work", [drill, live])
@pytest.mark.parametrize(
    ("refuses", "words"),
    [({"rolcreatedb": ""}, "CREATEDB"), ({"CREATE DATABASE": "disk full"}, "disk full")],
)
def test_what_the_server_refuses_is_said(host: FakeHost, work: Any, refuses: dict[str, str], words: str) -> None:
    host.server.refuses = refuses
    with pytest.raises(WebappsError, match=words if "rolcreatedb" not in refuses else "rolcreatedb"):
        work(host)
    assert host.server.databases["amy"] == TABLES


def test_sessions_that_come_back_end_the_attempt_with_everything_as_it_was(host: FakeHost) -> None:
    host.server.refuses = {"RENAME": "database is being accessed by other users"}
    with pytest.raises(WebappsError, match="Nothing was replaced"):
        live(host)
    assert host.server.databases == {"amy": TABLES, "postgres": {}}
    assert host.server.said.count("ROLLBACK") == pg_restore.SWAP_TRIES + 1


@pytest.mark.parametrize("work", [drill, live])
def test_autovacuum_which_only_a_superuser_may_end_is_left_to_postgresql(host: FakeHost, work: Any) -> None:
    host.server.vacuumed = True
    work(host)
    assert not [name for name in host.server.databases if name.startswith("webapps_")]


def test_a_session_that_a_killed_restore_left_does_not_keep_its_database(host: FakeHost) -> None:
    name = f"{pg_restore.DRILL}amy"
    host.server.databases[name] = {"half": 1}
    host.server.connected = {name}
    drill(host)
    assert name not in host.server.databases


@pytest.mark.parametrize(
    ("major", "locale", "options"),
    [
        (13, ("c", None, None), ""),
        (14, ("c", None, None), ""),
        (15, ("c", None, None), " LOCALE_PROVIDER 'libc'"),
        (15, ("i", "de-u-co-phonebk", None), " LOCALE_PROVIDER 'icu' ICU_LOCALE 'de-u-co-phonebk'"),
        (16, ("i", "de", "&a < g"), " LOCALE_PROVIDER 'icu' ICU_LOCALE 'de' ICU_RULES '&a < g'"),
        (17, ("i", "de", None), " LOCALE_PROVIDER 'icu' ICU_LOCALE 'de'"),
        (17, ("b", "C.UTF-8", None), " LOCALE_PROVIDER 'builtin' BUILTIN_LOCALE 'C.UTF-8'"),
        (18, ("c", None, None), " LOCALE_PROVIDER 'libc'"),
    ],
)
def test_a_restored_database_sorts_as_the_real_one_does_in_every_version(
    tmp_path: Path, major: int, locale: tuple[str, str | None, str | None], options: str
) -> None:
    host = with_dump(tmp_path, FakeServer(major=major, client_major=major, locale=locale))
    drill(host)
    (created,) = [said for said in host.server.said if said.startswith("CREATE DATABASE")]
    assert created.endswith(f" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'{options}")


@pytest.mark.parametrize("work", [drill, live])
def test_a_locale_of_an_unknown_kind_is_refused_before_anything_starts(host: FakeHost, work: Any) -> None:
    host.server.locale = ("x", "future", None)
    with pytest.raises(WebappsError, match='of the kind "x"'):
        work(host, check=True)


def test_a_dump_of_a_newer_server_is_refused(host: FakeHost) -> None:
    host.server.major = host.server.client_major = 14
    with pytest.raises(WebappsError, match=r"made of PostgreSQL 15.*version 14"):
        drill(host)


def test_a_dump_of_another_domain_is_taken_only_when_it_is_named(host: FakeHost) -> None:
    with pytest.raises(WebappsError, match="no proven dump of eve"):
        drill(host, restore_origin="eve.example.org")
    dump = str(next((host.root / "DB_backups").glob("*.dump")))
    with pytest.raises(WebappsError, match="foreign dump"):
        drill(host, dump, restore_origin="eve.example.org")


def test_another_server_is_named_by_parts(host: FakeHost) -> None:
    settings = pg_restore.settings_of(
        {**host.params, "restore_connection": {"host": "other", "user": "master", "password": "x", "port": None}}
    )
    assert (settings.admin.host, settings.admin.user, settings.admin.name) == ("other", "master", "postgres")
    assert (settings.application.host, settings.application.user, settings.application.name) == ("other", "amy", "amy")


def test_long_names_stay_apart(host: FakeHost) -> None:
    names = {
        pg_restore._name(pg_restore.DRILL, "x" * 63),
        pg_restore._name(pg_restore.RESTORED, "x" * 63),
        pg_restore._name("x" * 63 + "_before_", "20261125t120000z"),
        pg_restore._name("x" * 63 + "_before_", "20261125t120001z"),
    }
    assert len(names) == 4
    assert all(len(name) == pg_restore.MAX_NAME for name in names)
