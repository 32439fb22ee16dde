"""Where the database is, and which programs fit it."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import environment, postgresql
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import NOT_FOUND, Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.postgresql import Connection, connection_of
from hypothesis import given, settings
from hypothesis import strategies as st

AMY = {"host": "AMY_HOST", "port": "AMY_PORT", "name": "AMY_NAME", "user": "AMY_USER", "password": "AMY_PASSWORD"}
URL = {"url": "DATABASE_URL"}


def written(tmp_path: Path, **variables: str) -> Path:
    path = tmp_path / "environment"
    path.write_text(environment.content(variables))
    return path


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://amy:pw@db/amy", Connection("db", "amy", "amy", password="pw")),
        (
            "postgresql://a%40b:p%2Fw%3A@10.0.0.1:6432/n?sslmode=require",
            Connection("10.0.0.1", "n", "a@b", 6432, "p/w:", "require"),
        ),
        ("postgres://amy@/amy?host=/run/postgresql", Connection("/run/postgresql", "amy", "amy")),
        ("postgis://amy@%2Frun%2Fpostgresql/amy", Connection("/run/postgresql", "amy", "amy")),
        ("psql://amy@/amy", Connection("", "amy", "amy")),
        (
            "postgres://amy@db/amy?sslmode=verify-full&sslrootcert=/etc/ssl/rds.pem",
            Connection("db", "amy", "amy", sslmode="verify-full", sslrootcert="/etc/ssl/rds.pem"),
        ),
    ],
)
def test_a_url_is_read_as_applications_read_it(tmp_path: Path, url: str, expected: Connection) -> None:
    assert connection_of({}, URL, written(tmp_path, DATABASE_URL=url)) == expected


def test_five_variables_do_as_well_and_a_stale_url_is_not_looked_at(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        DATABASE_URL="postgres://old@old/old",
        AMY_HOST="db",
        AMY_NAME="amy",
        AMY_USER="u",
        AMY_PASSWORD="it's",
    )
    assert connection_of({}, AMY, path) == Connection("db", "amy", "u", password="it's")


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_password_that_an_environment_holds_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = written(tmp_path_factory.mktemp("any"), AMY_HOST="h", AMY_NAME="n", AMY_USER="u", AMY_PASSWORD=text)
    assert connection_of({}, AMY, path).password == text


def test_explicit_parts_win_and_a_whole_one_needs_no_environment(tmp_path: Path) -> None:
    path = written(tmp_path, DATABASE_URL="postgres://amy:pw@db/amy")
    assert connection_of({"user": "backup", "password": "x"}, URL, path) == Connection(
        "db", "amy", "backup", password="x"
    )
    given = {"host": "h", "name": "n", "user": "u", "port": 1, "sslmode": None}
    assert connection_of(given, URL, tmp_path / "missing") == Connection("h", "n", "u", 1)


@pytest.mark.parametrize(
    ("variables", "names", "words"),
    [
        ({"DATABASE_URL": "sqlite:///db.sqlite3"}, URL, "pg_backup_enabled"),
        ({"DATABASE_URL": "postgres://db:hunter2@db:port/amy"}, URL, "no number"),
        ({"DATABASE_URL": "postgres://db/amy"}, URL, "user"),
        ({"OTHER": "x"}, URL, "has no DATABASE_URL"),
        ({"AMY_HOST": "db"}, AMY, "has no AMY_NAME and no AMY_USER"),
        ({"OTHER": "x"}, {"uri": "OTHER"}, "it takes url"),
        ({"AMY_HOST": "h", "AMY_NAME": "n", "AMY_USER": "u", "AMY_PORT": "x"}, AMY, "no number"),
    ],
)
def test_what_says_no_database_is_refused_without_its_value(
    tmp_path: Path, variables: dict[str, str], names: dict[str, str], words: str
) -> None:
    with pytest.raises(WebappsError, match=words) as failure:
        connection_of({}, names, written(tmp_path, **variables))
    assert "hunter2" not in failure.value.message


def test_a_missing_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match="deploy a release first"):
        connection_of({}, URL, tmp_path / "environment")


def test_the_password_is_in_a_file_for_root_alone_and_only_while_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    path.write_text("left by a killed call")
    connection = Connection("db", "amy", "amy", password="a:b\\c")
    with postgresql.passfile(connection, path, check=False) as secret:
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert secret.read_text() == "*:*:*:*:a\\:b\\\\c\n"
        assert "a:b" not in str(connection.environment(secret))
        assert "a:b" not in repr(connection)
    assert not path.exists()


def test_a_call_in_check_mode_leaves_the_file_of_one_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    with postgresql.passfile(Connection("db", "amy", "amy", password="runs"), path, check=False):
        with postgresql.passfile(Connection("db", "eve", "eve", password="looks"), path, check=True) as secret:
            found = secret.stat()
            # What libpq asks of it.
            assert (stat.S_ISREG(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o600)
            assert secret.read_text() == "*:*:*:*:looks\n"
            assert path.read_text() == "*:*:*:*:runs\n"
        assert path.read_text() == "*:*:*:*:runs\n"
    assert not list(tmp_path.iterdir())


def test_a_password_that_libpqs_file_cannot_hold_is_refused_unseen(tmp_path: Path) -> None:
    connection = Connection("db", "amy", "amy", password="hunter2\n")
    with (
        pytest.raises(WebappsError, match="line break") as failure,
        postgresql.passfile(connection, tmp_path / "pgpass", check=False),
    ):
        pass
    assert "hunter2" not in failure.value.message


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ('FATAL:  password authentication failed for user "amy"', "The password is wrong"),
        ('FATAL:  database "amy" does not exist', "Correct the name"),
        ("FATAL:  no pg_hba.conf entry for host", "pg_hba.conf or"),
        ("Connection refused", "Check that the server runs"),
        ("SSL error: certificate verify failed", "sslrootcert"),
    ],
)
def test_each_refusal_has_its_remedy(answer: str, remedy: str) -> None:
    assert remedy in postgresql.refused(Connection("db", "amy", "amy"), answer).message


class Programs:
    """Client programs by their directory, each saying its version."""

    def __init__(self, root: Path, *majors: int) -> None:
        self.versions = {str(root / str(major) / "bin"): major for major in majors}
        for directory in self.versions:
            Path(directory).mkdir(parents=True)
            (Path(directory) / "pg_dump").touch()

    def __call__(
        self, command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        major = self.versions.get(str(Path(command[0]).parent))
        if major is None:
            return Finished(NOT_FOUND, "", "not found")
        return Finished(0, f"pg_dump (PostgreSQL) {major}.3 (Debian {major}.3-1)\n", "")


def test_of_several_versions_the_servers_is_taken(tmp_path: Path) -> None:
    client = postgresql.client_for(Programs(tmp_path, 15, 17), 17, "db:5432", "", tmp_path)
    assert client.directory == tmp_path / "17/bin"


@pytest.mark.parametrize("major", [16, 18])
def test_an_older_or_newer_client_is_refused_with_the_package_to_install(tmp_path: Path, major: int) -> None:
    programs = Programs(tmp_path, 15, 17)
    with pytest.raises(WebappsError, match=f"15 and 17.*postgresql-client-{major}"):
        postgresql.client_for(programs, major, "db:5432", "", tmp_path)
    with pytest.raises(WebappsError, match="pg_dump is of version 15"):
        postgresql.client_for(programs, major, "db:5432", str(tmp_path / "15/bin"), tmp_path)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_names_and_text_cannot_leave_their_quotes(text: str) -> None:
    for quoted, quote in ((postgresql.quoted(text), '"'), (postgresql.literal(text), "'")):
        assert quoted[0] == quoted[-1] == quote
        assert quoted[1:-1].replace(quote * 2, "") == text.replace(quote, "")
