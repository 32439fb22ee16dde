"""A PostgreSQL server and its client programs, as far as dumping and restoring look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import pg_backup
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.postgresql import Connection

DOMAIN = "amy.example.org"
TABLES = {"person": 3, "event": 0}


@dataclass
class FakeServer:
    """``databases``: the rows of the tables of each. ``archive``: what pg_dump writes; None for what is true.

    ``vacuumed``: whether autovacuum, which only a superuser may end, is at work in every database. ``connected``: the
    databases that somebody else is connected to. ``locale``: the provider of the databases' locale, with ICU's or
    PostgreSQL's own locale and rules, in the columns that the version has.
    """

    databases: dict[str, dict[str, int]] = field(default_factory=lambda: {"amy": dict(TABLES), "postgres": {}})
    unreadable: set[str] = field(default_factory=set)
    filtered: set[str] = field(default_factory=set)
    major: int = 15
    client_major: int = 15
    archive: bytes = b"PGDMP" + b"." * 2000
    entries: list[str] | None = None
    failures: dict[str, Finished] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    restores: dict[str, int] | None = None
    locale: tuple[str, str | None, str | None] = ("c", None, None)
    vacuumed: bool = False
    connected: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)

    def connect(self, connection: Connection, _passfile: Path) -> FakeSession:
        return FakeSession(self, connection.name)

    def entry_lines(self) -> list[str]:
        names = self.entries if self.entries is not None else list(self.databases["amy"])
        return [
            f"{number}; 0 {number} {kind} public {name} amy"
            for number, name in enumerate(names)
            for kind in ("TABLE", "TABLE DATA")
        ]

    def run(
        self, command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        words = list(command[3:] if command[0] == "nice" else command)
        self.commands.append(words)
        name = Path(words[0]).name
        if words[1] == "--version":
            return Finished(0, f"pg_dump (PostgreSQL) {self.client_major}.1\n", "")
        for argument, failure in self.failures.items():
            if argument in " ".join(words):
                return failure
        if name == "pg_dump":
            Path(next(word for word in words if word.startswith("--file=")).removeprefix("--file=")).write_bytes(
                self.archive
            )
        elif "--list" in words:
            return Finished(0, "\n".join([";", "; Archive", *self.entry_lines()]) + "\n", "")
        elif "--exit-on-error" in words:
            target = next(word for word in words if word.startswith("--dbname=")).split("'")[1]
            self.databases[target] = dict(self.databases["amy"] if self.restores is None else self.restores)
        return Finished(0, "", "")


@dataclass
class FakeSession:
    server: FakeServer
    database: str

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        self._refuse(query)
        tables = self.server.databases.get(self.database, {})
        if "server_version_num" in query:
            return [(str(self.server.major * 10000 + 1),)]
        if "pg_export_snapshot" in query:
            return [("00000003-1",)]
        if "FROM pg_class" in query:
            return [
                ("public", name, "r", "amy", 1000, name not in self.server.unreadable, name in self.server.filtered)
                for name in tables
            ]
        if "count(*)" in query:
            return [(tables[query.split('"')[3]],)]
        if "FROM pg_database WHERE" in query:
            self._assert_columns(query)
            return [("UTF8", "C.UTF-8", "C.UTF-8", *self.server.locale)] if values[0] in self.server.databases else []
        if "pg_terminate_backend" in query and self.server.vacuumed and "usesysid IS NOT NULL" not in query:
            raise WebappsError("Only roles with the SUPERUSER attribute may terminate processes of roles with it.")
        if "pg_db_role_setting" in query:
            return [("statement_timeout=7s",)]
        return [(True,)]

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.server.said.append(statement)
            self._refuse(statement)
            words = statement.split('"')
            if statement.startswith("CREATE DATABASE"):
                self.server.databases[words[1]] = {}
            elif statement.startswith("DROP DATABASE"):
                forced = statement.endswith("(FORCE)")
                if self.server.vacuumed and forced and words[1] in self.server.databases:
                    raise WebappsError("permission denied to terminate process")
                if words[1] in self.server.connected and not forced:
                    raise WebappsError(f'database "{words[1]}" is being accessed by other users')
                self.server.databases.pop(words[1], None)
            elif " RENAME TO " in statement:
                self.server.databases[words[3]] = self.server.databases.pop(words[1])

    def _assert_columns(self, query: str) -> None:
        versions = {
            "datlocprovider": (15, 99),
            "daticulocale": (15, 16),
            "daticurules": (16, 99),
            "datlocale": (17, 99),
        }
        for column, (first, last) in versions.items():
            if column in query and not first <= self.server.major <= last:
                raise WebappsError(f'column "{column}" does not exist')

    def _refuse(self, statement: str) -> None:
        for words, answer in self.server.refuses.items():
            if words in statement:
                raise WebappsError(f"PostgreSQL refuses `{statement}`: {answer}")

    def close(self) -> None: ...


@dataclass
class FakeHost:
    """A host with an application, and a clock that moves a minute at each look."""

    root: Path
    server: FakeServer
    space: tuple[int, int | None] = (1 << 30, 1000)
    moment: datetime = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    uploaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, mode in (("DB_backups", 0o700), ("logs", 0o755), ("secrets", 0o700)):
            (self.root / name).mkdir(parents=True, mode=mode)

    def now(self) -> datetime:
        self.moment += timedelta(minutes=1)
        return self.moment

    def _upload(self, _bucket: object, files: Sequence[Path]) -> str:
        self.uploaded += [path.name for path in files]
        return f"s3://bucket/{files[0].name}"

    @property
    def host(self) -> pg_backup.Host:
        return pg_backup.Host(
            run=self.server.run,
            connect=self.server.connect,
            now=self.now,
            clock=lambda: 0.0,
            sleep=lambda _seconds: None,
            free=lambda _path: self.space,
            upload=self._upload,
            secrets=self.root / "secrets",
        )

    @property
    def params(self) -> dict[str, Any]:
        return {
            "root": str(self.root),
            "environment_file": str(self.root / "environment"),
            "environment_variables": {"url": "DATABASE_URL"},
            "connection": {"host": "db", "name": "amy", "user": "amy", "password": "hunter2"},
            "bin_dir": "",
            "timeout": 0,
            "exclude_table_data": [],
            "lock_wait_timeout": 10,
            "minimum_size": 1024,
            "disk_reserve": 1,
            "keep": 2,
            "keep_days": 0,
            "s3": {},
            "restore_connection": {},
            "maintenance_database": "postgres",
            "restore_origin": "",
        }

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.root / "DB_backups").iterdir() if not path.name.startswith("."))

    def log(self) -> str:
        path = self.root / "logs/pg_backup.log"
        return path.read_text() if path.exists() else ""
