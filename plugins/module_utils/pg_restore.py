# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a dump beside the real database, compare it with what was counted when it was taken, and then drop it or
put it in the real one's place.

The real database is never restored into: it is renamed away in the transaction that gives the restored one its name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import pg_dumps
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.pg_backup import (
    Host,
    append,
    assert_directory,
    listed,
    locked,
    noted,
    row_counts,
    set_limits,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.pg_dumps import Description
from ansible_collections.carpentries.webapps.plugins.module_utils.postgresql import (
    Client,
    Connection,
    Session,
    client_for,
    connection_of,
    literal,
    opened,
    passfile,
    quoted,
    server_major,
)

DRILL, RESTORED = "webapps_drill_", "webapps_restored_"
# sizeof(NameData) - 1: PostgreSQL cuts longer names off, and they would no longer be told apart.
MAX_NAME = 63
SWAP_TRIES = 20
SWAP_PAUSE = 0.5
# What PostgreSQL says of a database that others are connected to.
ACCESSED = "being accessed"
# The first versions with locales of more than libc, with rules of ICU's, and with locales of PostgreSQL's own.
PROVIDER_MAJOR, RULES_MAJOR, BUILTIN_MAJOR = 15, 16, 17
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
# Only the owner of an extension may comment on it, and the comment comes with the extension.
SKIPPED = " COMMENT - EXTENSION "


@dataclass(frozen=True)
class Settings:
    """How a dump is restored.

    ``application``: the database as the application reaches it. ``admin``: who restores it, connected to another
    database of the server. ``origin``: the domain that the dump must be of.
    """

    layout: Layout
    application: Connection
    admin: Connection
    origin: str
    bin_dir: str
    patience: int

    @property
    def log(self) -> Path:
        return self.layout.logs / "pg_backup.log"


def settings_of(params: Mapping[str, Any]) -> Settings:
    """The settings as the module's options and the timer's file have them. Raises WebappsError."""
    layout = Layout(Path(params["root"]))
    application = connection_of(
        params["connection"] or {}, params["environment_variables"], Path(params["environment_file"])
    )
    given = {part: value for part, value in (params["restore_connection"] or {}).items() if value not in (None, "")}
    server = {part: given.pop(part) for part in ("host", "port", "sslmode", "sslrootcert") if part in given}
    application = replace(application, **server)
    return Settings(
        layout=layout,
        application=replace(application, name=given.pop("name", application.name)),
        admin=replace(application, **given, name=params["maintenance_database"]),
        origin=params["restore_origin"] or layout.domain,
        bin_dir=params["bin_dir"] or "",
        patience=params["timeout"],
    )


def newest(settings: Settings) -> Path:
    """The newest proven dump of the host. Raises WebappsError."""
    directory = settings.layout.backups
    dumps = pg_dumps.proven(directory, settings.origin)
    if not dumps:
        raise WebappsError(f"{directory} has no proven dump of {settings.origin}: make one with playbooks/backup.yml.")
    return dumps[0].path


def drill(settings: Settings, host: Host, given: str, *, check: bool) -> dict[str, Any]:
    """Restore into a scratch database, compare, drop it. Raises WebappsError when the dump is not what it was."""
    with prepared(settings, host, given, "drill", check=check) as ready:
        result = {"changed": False, **ready.result()}
        if check:
            return result
        scratch = _name(DRILL, ready.database)
        try:
            ready.restore(scratch, owner=None)
        finally:
            ready.drop(scratch)
        append(settings.log, host.now(), f"drill passed: {ready.path} restores, {ready.description.rows} rows")
        return result


def restore(settings: Settings, host: Host, given: str, *, confirm: str, check: bool) -> dict[str, Any]:
    """Put a dump in the real database's place, whole or not at all. Raises WebappsError."""
    if confirm != settings.layout.domain:
        raise WebappsError(
            f'confirm is "{confirm}": restoring replaces the live data of {settings.layout.domain}, so it takes that '
            "very name (restore_confirm)."
        )
    with prepared(settings, host, given, "restore", check=check) as ready:
        ready.assert_owner()
        previous = _name(f"{ready.database}_before_", host.now().strftime(pg_dumps.STAMP).lower())
        result = {"changed": True, **ready.result(), "previous": previous if ready.exists(ready.database) else None}
        if check:
            return result
        restored = _name(RESTORED, ready.database)
        try:
            ready.restore(restored, owner=settings.application.user)
            ready.swap(restored, previous)
        except WebappsError:
            ready.drop(restored)
            raise
        append(
            settings.log, host.now(), f"restored {ready.path} into {ready.database}; before it: {result['previous']}"
        )
        return result


def _name(first: str, second: str) -> str:
    """A database's name of two parts, the longer one cut where PostgreSQL would cut it."""
    over = max(len(first) + len(second) - MAX_NAME, 0)
    return first[: len(first) - over] + second if len(first) > len(second) else first + second[: len(second) - over]


@dataclass(frozen=True)
class Restoration:
    """A dump that was found whole, and a session with the server that it goes to."""

    settings: Settings
    host: Host
    client: Client
    session: Session
    secret: Path
    path: Path
    description: Description

    @property
    def database(self) -> str:
        return self.settings.application.name

    def result(self) -> dict[str, Any]:
        return {
            "dump": str(self.path),
            "taken": self.description.taken,
            "release": self.description.release,
            "tables": dict(self.description.tables),
            "rows": self.description.rows,
            "server": self.settings.admin.server,
        }

    def exists(self, database: str) -> bool:
        return bool(self.session.rows("SELECT FROM pg_database WHERE datname = %s", database))

    def drop(self, database: str) -> None:
        try:
            # This ends autovacuum by itself; FORCE takes pg_signal_backend for that.
            self.session.run(f"DROP DATABASE IF EXISTS {quoted(database)}")
        except WebappsError as error:
            if ACCESSED not in error.message:
                raise
            self.session.run(f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)")

    def restore(self, database: str, *, owner: str | None) -> None:
        """Make a database of the dump and compare it. Raises WebappsError."""
        # One with this name is what a killed call left: nobody else gives it.
        self.drop(database)
        owned = f" OWNER {quoted(owner)}" if owner else ""
        self.session.run(f"CREATE DATABASE {quoted(database)}{owned} TEMPLATE template0{self.locale()}")
        self._read_archive(database, owner)
        with opened(self.host.connect, replace(self.settings.admin, name=database), self.secret) as inside:
            set_limits(inside, self.client.major, 0)
            assert_equal(self.description.tables, row_counts(inside), self.path)
            if owner:
                # A restored database has no statistics, and the planner guesses badly without.
                inside.run("ANALYZE")

    def _read_archive(self, database: str, owner: str | None) -> None:
        entries = self.client("pg_restore", "--list", str(self.path)).output.splitlines()
        with tempfile.NamedTemporaryFile("w", dir=self.host.secrets, prefix="webapps-restore-") as wanted:
            wanted.write("".join(f"{entry}\n" for entry in entries if SKIPPED not in entry))
            wanted.flush()
            escaped = database.replace("\\", "\\\\").replace("'", "\\'")
            finished = self.client(
                "pg_restore",
                "--exit-on-error",
                "--no-owner",
                "--no-privileges",
                "--no-password",
                *([f"--role={owner}"] if owner else []),
                f"--use-list={wanted.name}",
                f"--dbname=dbname='{escaped}'",
                str(self.path),
                environment=self.settings.admin.environment(self.secret),
            )
        if finished.status != 0:
            raise WebappsError(
                f"{self.path} does not restore into {database} at {self.settings.admin.server}: {finished.last_words}\n"
                "The application's database was not touched."
            )

    def locale(self) -> str:
        """Encoding and locale as the real database has them, for the order of its indexes and answers.

        Raises WebappsError for a kind of locale that is unknown.
        """
        major = self.client.major
        # Before version 15 all locales are libc's; names and kinds have changed since.
        provider = "datlocprovider::text" if major >= PROVIDER_MAJOR else "'c'"
        locale = "NULL" if major < PROVIDER_MAJOR else "datlocale" if major >= BUILTIN_MAJOR else "daticulocale"
        rules = "daticurules" if major >= RULES_MAJOR else "NULL"
        rows = self.session.rows(
            f"SELECT pg_encoding_to_char(encoding), datcollate, datctype, {provider}, {locale}, {rules} "
            "FROM pg_database WHERE datname = %s",
            self.database,
        )
        if not rows:
            return ""
        encoding, collate, ctype, kind, name, order = rows[0]
        if kind not in PROVIDERS:
            raise WebappsError(
                f'The database "{self.database}" at {self.settings.admin.server} has a locale of the kind "{kind}", '
                f"and known are {', '.join(PROVIDERS)}: a restored one might sort otherwise. Create one by hand and "
                "restore the dump into it with pg_restore."
            )
        found = {
            "ENCODING": encoding,
            "LC_COLLATE": collate,
            "LC_CTYPE": ctype,
            "LOCALE_PROVIDER": PROVIDERS[kind] if major >= PROVIDER_MAJOR else None,
            f"{PROVIDERS[kind].upper()}_LOCALE": name,
            "ICU_RULES": order,
        }
        return "".join(f" {option} {literal(value)}" for option, value in found.items() if value is not None)

    def assert_rights(self) -> None:
        """Raises WebappsError when the user may not create the database that is restored into."""
        if not self.session.rows("SELECT FROM pg_roles WHERE rolname = current_user AND (rolcreatedb OR rolsuper)"):
            user = self.settings.admin.user
            raise WebappsError(
                f'The user "{user}" may not create databases at {self.settings.admin.server}, and a dump is restored '
                f"into a new one: ALTER ROLE {quoted(user)} CREATEDB, or name a user that may in "
                "pg_backup_restore_connection."
            )

    def assert_owner(self) -> None:
        """Raises WebappsError when the user may not make what the application's user owns."""
        owner, user = self.settings.application.user, self.settings.admin.user
        if not self.session.rows("SELECT FROM pg_roles WHERE rolname = %s", owner):
            raise WebappsError(
                f'The server {self.settings.admin.server} has no user "{owner}", whom the application connects as: '
                "create it, then restore."
            )
        if not self.session.rows("SELECT WHERE pg_has_role(current_user, %s, 'MEMBER')", owner):
            raise WebappsError(
                f'The user "{user}" is no member of "{owner}", who must own what is restored: GRANT {quoted(owner)} TO '
                f"{quoted(user)}."
            )

    def swap(self, restored: str, previous: str) -> None:
        """Give the restored database the real one's name, and the real one the name ``previous``, both or neither.

        Sessions that the application holds are ended; the page of maintenance keeps it from opening more.
        """
        renames = [f"ALTER DATABASE {quoted(restored)} RENAME TO {quoted(self.database)}"]
        if self.exists(self.database):
            self._copy_settings(restored)
            renames.insert(0, f"ALTER DATABASE {quoted(self.database)} RENAME TO {quoted(previous)}")
        for last in [False] * SWAP_TRIES + [True]:
            self._end_sessions(self.database, restored)
            try:
                self.session.run("BEGIN", *renames, "COMMIT")
                return
            except WebappsError as error:
                self.session.run("ROLLBACK")
                if last or ACCESSED not in error.message:
                    raise WebappsError(
                        f"{error.message} Nothing was replaced: stop what uses it, and restore again."
                    ) from None
            self.host.sleep(SWAP_PAUSE)

    def _end_sessions(self, *databases: str) -> None:
        try:
            # Only a superuser may end those of nobody, such as autovacuum's, which a rename ends by itself.
            self.session.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = ANY(%s) AND pid <> pg_backend_pid() AND usesysid IS NOT NULL",
                list(databases),
            )
        except WebappsError as error:
            user = quoted(self.settings.admin.user)
            raise WebappsError(
                f"{error.message} Sessions of other users keep the database from being replaced; nothing was. GRANT "
                f"pg_signal_backend TO {user}, or end them."
            ) from None

    def _copy_settings(self, restored: str) -> None:
        """What ALTER DATABASE ... SET gave the real one, which no dump has."""
        rows = self.session.rows(
            "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
            "WHERE d.datname = %s AND s.setrole = 0",
            self.database,
        )
        for (setting,) in rows:
            name, _equals, value = setting.partition("=")
            self.session.run(f"ALTER DATABASE {quoted(restored)} SET {quoted(name)} TO {literal(value)}")


@contextmanager
def prepared(settings: Settings, host: Host, given: str, work: str, *, check: bool) -> Iterator[Restoration]:
    """All that can be refused before anything starts. ``given``: the dump's path, "" for the newest proven one.

    Raises WebappsError.
    """
    layout = settings.layout
    assert_directory(layout.backups)
    with (
        locked(layout.backups / ".restore.lock", settings.patience, host, "restore", check=check),
        passfile(settings.admin, host.secrets / f"webapps-{layout.domain}-restore.pgpass", check=check) as secret,
        noted(settings.log, host.now, work, quiet=check),
    ):
        path = Path(given) if given else newest(settings)
        own = settings.origin == layout.domain
        description = pg_dumps.verified(path, domain=settings.origin, database=settings.application.name if own else "")
        with opened(host.connect, settings.admin, secret) as session:
            client = _client(settings, host, session, path, description)
            set_limits(session, client.major, 0)
            restoration = Restoration(settings, host, client, session, secret, path, description)
            restoration.assert_rights()
            restoration.locale()
            yield restoration


def _client(settings: Settings, host: Host, session: Session, path: Path, description: Description) -> Client:
    major = server_major(session)
    if description.server_version > major:
        raise WebappsError(
            f"{path} was made of PostgreSQL {description.server_version}, and the server {settings.admin.server} is of "
            f"version {major}: restore it into a server of version {description.server_version} or newer."
        )
    client = client_for(host.run, major, settings.admin.server, settings.bin_dir)
    listed(client, path)
    return client


def assert_equal(expected: Mapping[str, int], found: Mapping[str, int], path: Path) -> None:
    """Raises WebappsError with each table whose rows are not those that the dump was taken of."""
    names = sorted(expected.keys() | found.keys())
    differing = [
        f"{name} has {found.get(name, 'no table')}, had {expected.get(name, 'no table')}"
        for name in names
        if expected.get(name) != found.get(name)
    ]
    if differing:
        raise WebappsError(
            f"{path} restores, and not as it was taken: {'; '.join(differing)}. Take another dump, and look at this "
            "one by hand. The application's database was not touched."
        )
