# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL database: where it is, the sessions that ask it, and the client programs that fit its server.

The password goes to libpq through a file that only root reads; no command line, message or variable has it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

SCHEMES = ("postgres", "postgresql", "postgis", "psql", "pgsql")
DEFAULT_PORT = 5432
PARTS = ("host", "port", "name", "user", "password", "sslmode", "sslrootcert")
CONNECT_SECONDS = 10
# Where Debian and PostgreSQL's own packages put the programs of each major version, side by side.
CLIENTS = Path("/usr/lib/postgresql")
VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True)
class Connection:
    """How to reach a database. ``host``: a name, an address, or a directory of unix sockets; "" is libpq's default."""

    host: str
    name: str
    user: str
    port: int = DEFAULT_PORT
    password: str = field(default="", repr=False)
    sslmode: str = ""
    sslrootcert: str = ""

    @property
    def server(self) -> str:
        return f"{self.host or 'the local socket'}:{self.port}"

    def environment(self, passfile: Path) -> dict[str, str]:
        """The variables that tell a program of PostgreSQL all of it but the password."""
        values = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGDATABASE": self.name,
            "PGUSER": self.user,
            "PGSSLMODE": self.sslmode,
            "PGSSLROOTCERT": self.sslrootcert,
            "PGPASSFILE": str(passfile),
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGAPPNAME": "carpentries.webapps",
        }
        return {name: value for name, value in values.items() if value}


def connection_of(
    given: Mapping[str, Any], names: Mapping[str, str], environment_file: Path, kind: str = "pg_backup_connection"
) -> Connection:
    """The database that an application uses: its environment says where, ``given`` wins part by part.

    ``names``: the variables of that environment, either ``url`` or one for each part. ``kind``: the input that
    ``given`` came from. Raises WebappsError.
    """
    parts = {part: str(value) for part, value in given.items() if value not in (None, "")}
    if needs_environment(parts):
        parts = {**_from_environment(names, environment_file), **parts}
    missing = [part for part in ("name", "user") if not parts.get(part)]
    if missing:
        raise WebappsError(
            f"Nothing says the database's {' and '.join(missing)}: neither {kind} nor the variables "
            f"{', '.join(names.values())} in {environment_file}. Set {kind}, or name the application's variables in "
            "pg_backup_environment_variables."
        )
    port = parts.pop("port", str(DEFAULT_PORT))
    if not port.isdigit():
        raise WebappsError(f'The database\'s port is "{port}", which is no number: correct it where it is set.')
    known = {item.name for item in fields(Connection)}
    return Connection(
        host=parts.pop("host", ""), port=int(port), **{part: value for part, value in parts.items() if part in known}
    )


def needs_environment(given: Mapping[str, Any]) -> bool:
    """Whether these parts of a connection leave something for the application's environment to say."""
    return not all(given.get(part) for part in ("host", "name", "user"))


def _from_environment(names: Mapping[str, str], path: Path) -> dict[str, str]:
    variables = _variables(path)
    if unknown := sorted(set(names) - {"url", *PARTS}):
        raise WebappsError(
            f"pg_backup_environment_variables has {', '.join(unknown)}: it takes url, or {', '.join(PARTS)}."
        )
    if absent := sorted(
        name for part, name in names.items() if part not in ("port", "password") and name not in variables
    ):
        raise WebappsError(
            f"The environment {path} has no {' and no '.join(absent)}, which pg_backup_environment_variables names: "
            "name the variables that the application reads its database from, or set pg_backup_connection."
        )
    parts = parsed_url(variables[names["url"]], names["url"]) if "url" in names else {}
    return {**parts, **{part: variables[name] for part, name in names.items() if part != "url" and name in variables}}


def _variables(path: Path) -> dict[str, str]:
    try:
        words = shlex.split(path.read_bytes().decode())
    except FileNotFoundError:
        raise WebappsError(
            f"There is no environment file {path}, which says where the database is: deploy a release first, name "
            "another file in pg_backup_environment_file, or set host, name and user in pg_backup_connection."
        ) from None
    except (OSError, ValueError) as error:
        raise WebappsError(f"The environment file {path} cannot be read: {error}") from None
    return dict(word.split("=", 1) for word in words if "=" in word)


def parsed_url(url: str, variable: str) -> dict[str, str]:
    """The parts of a database's URL as Django applications write it. Raises WebappsError without showing the URL."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise WebappsError(
            f'{variable} begins with "{parts.scheme}:", which is not PostgreSQL ({", ".join(SCHEMES)}): this role can '
            "dump nothing else. Correct the variable, or set pg_backup_enabled to false and save the data otherwise."
        )
    try:
        port = parts.port
    except ValueError:
        raise WebappsError(f"The port in {variable} is no number from 0 to 65535: correct it.") from None
    query = parse_qs(parts.query)
    found = {
        "host": unquote(parts.hostname or ""),
        "port": str(port or ""),
        # django-environ writes the directory of a socket before the name: postgres:////run/postgresql/amy
        "name": unquote(parts.path).rpartition("/")[2],
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "sslmode": query.get("sslmode", [""])[0],
        "sslrootcert": query.get("sslrootcert", [""])[0],
    }
    if not found["host"]:
        found["host"] = query.get("host", [unquote(parts.path).removeprefix("/").rpartition("/")[0]])[0]
    return {part: value for part, value in found.items() if value}


def passfile(connection: Connection, path: Path, *, check: bool) -> AbstractContextManager[Path]:
    """The password in a file for libpq that only root reads, while the body runs.

    ``path``: always the same for one purpose, so that whoever comes next removes what a killed call left. Check mode
    waits for nobody, so that path may be in use by another call: it has a file of its own.
    """
    if "\n" in connection.password or "\r" in connection.password:
        raise WebappsError("The database's password holds a line break, which libpq's password file cannot: change it.")
    escaped = connection.password.replace("\\", "\\\\").replace(":", "\\:")
    text = f"*:*:*:*:{escaped}\n" if escaped else ""
    return _nameless(text) if check else _named(path, text)


@contextmanager
def _named(path: Path, text: str) -> Iterator[Path]:
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _nameless(text: str) -> Iterator[Path]:
    """In memory and in no directory: it goes with this process, however that ends."""
    handle = os.memfd_create("webapps")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        os.fchmod(handle, 0o600)
        stream.write(text)
        stream.flush()
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")


class Session(Protocol):
    """One open connection. Statements are transactions of their own, unless BEGIN says otherwise."""

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query answers. Raises WebappsError."""

    def run(self, *statements: str) -> None:
        """Run statements that answer nothing. Raises WebappsError."""

    def close(self) -> None: ...


Connect = Callable[[Connection, Path], Session]


class PsycopgSession:
    """A session by psycopg2, Debian's package python3-psycopg2."""

    def __init__(self, connection: Connection, passfile: Path) -> None:
        try:
            import psycopg2
        except ImportError:
            raise WebappsError(
                "Python's module psycopg2 is missing on this host: run playbooks/site.yml first, which installs "
                "python3-psycopg2 (role pg_backup)."
            ) from None
        self._error = psycopg2.Error
        values: dict[str, object] = {
            "host": connection.host,
            "port": connection.port,
            "dbname": connection.name,
            "user": connection.user,
            "sslmode": connection.sslmode,
            "sslrootcert": connection.sslrootcert,
            "passfile": str(passfile),
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "carpentries.webapps",
        }
        try:
            self._connection = psycopg2.connect(**{name: value for name, value in values.items() if value})
        except psycopg2.OperationalError as error:
            raise refused(connection, str(error)) from None
        self._connection.autocommit = True

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(query, values or None)
                return list(cursor.fetchall())
            except self._error as error:
                raise WebappsError(f"PostgreSQL refuses `{query.strip()}`: {str(error).strip()}") from None

    def run(self, *statements: str) -> None:
        with self._connection.cursor() as cursor:
            for statement in statements:
                try:
                    cursor.execute(statement)
                except self._error as error:
                    raise WebappsError(f"PostgreSQL refuses `{statement}`: {str(error).strip()}") from None

    def close(self) -> None:
        self._connection.close()


def refused(connection: Connection, text: str) -> WebappsError:
    """What it means that a database cannot be connected to, by libpq's words."""
    answer = " ".join(text.split())
    remedies = {
        "password authentication failed": "The password is wrong or the user does not exist: correct it in the "
        "application's environment or in pg_backup_connection.",
        "no password supplied": "A password is asked for and none is set: set it in the application's environment "
        "or in pg_backup_connection.",
        "does not exist": "Correct the name in the application's environment or in pg_backup_connection, or create it.",
        "pg_hba.conf": "The server lets this user not in from this host, or only with TLS: correct pg_hba.conf or "
        "pg_backup_connection.sslmode.",
        "certificate": "The server's certificate does not pass: correct pg_backup_connection.sslmode or sslrootcert.",
    }
    unreachable = "Check that the server runs, the address, and that the network lets this host reach it."
    remedy = next((remedy for words, remedy in remedies.items() if words in answer), unreachable)
    return WebappsError(
        f'No connection to the database "{connection.name}" at {connection.server} as user "{connection.user}": '
        f"{answer} {remedy}"
    )


@contextmanager
def opened(connect: Connect, connection: Connection, passfile: Path) -> Iterator[Session]:
    """A session that is closed at the end of the body."""
    session = connect(connection, passfile)
    try:
        yield session
    finally:
        session.close()


def server_major(session: Session) -> int:
    return int(session.rows("SELECT current_setting('server_version_num')")[0][0]) // 10000


def quoted(*names: str) -> str:
    """An identifier as SQL writes it, whatever is in it: quoted("public", "user") is ``"public"."user"``."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A string as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Client:
    """The client programs of one major version. ``run``: how programs are run; they yield to everybody else."""

    run: Run
    directory: Path
    major: int

    def __call__(self, program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Finished:
        command = ["nice", "-n", "10", str(self.directory / program), *arguments]
        return self.run(command, environment=environment)


def client_for(run: Run, major: int, server: str, given: str, installed: Path = CLIENTS) -> Client:
    """The programs that fit a server. ``given``: their directory, "" for the package's. Raises WebappsError.

    The major versions must be equal: an older client refuses to dump, and a newer one restores with settings that the
    server does not know.
    """
    directory = Path(given) if given else installed / str(major) / "bin"
    finished = run([str(directory / "pg_dump"), "--version"])
    found = VERSION.search(finished.output) if finished.status == 0 else None
    if found and int(found[1]) == major:
        return Client(run, directory, major)
    present = _installed(installed)
    state = f"{directory}/pg_dump is of version {found[1]}" if found else f"there is no {directory}/pg_dump"
    if not found and not given:
        state = f"this host has the client programs of {' and '.join(present) or 'no version'}"
    raise WebappsError(
        f"The PostgreSQL server at {server} is of version {major}, and {state}: dumping and restoring take client "
        f"programs of the server's major version. Set pg_backup_package to postgresql-client-{major}, which "
        "PostgreSQL's apt repository (apt.postgresql.org) has for every version, and run playbooks/site.yml."
    )


def _installed(directory: Path) -> list[str]:
    return sorted(path.parent.parent.name for path in directory.glob("*/bin/pg_dump"))
