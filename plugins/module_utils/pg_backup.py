# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dump a database, prove the dump, and only then give it its name.

Refused before anything starts: what would make it fail later. What a killed call left is removed by the next one.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import pg_dumps
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import alone
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.pg_backup_s3 import Bucket, bucket_of, upload
from ansible_collections.carpentries.webapps.plugins.module_utils.pg_dumps import Description, Retention
from ansible_collections.carpentries.webapps.plugins.module_utils.postgresql import (
    Client,
    Connect,
    Connection,
    PsycopgSession,
    Session,
    client_for,
    connection_of,
    opened,
    passfile,
    quoted,
    server_major,
)

MIB = 1 << 20
# A dump is three files and a lock.
INODES = 8
# The first version with transaction_timeout.
TRANSACTION_TIMEOUT_MAJOR = 17
LOCKED = ("lock timeout", "statement timeout", "could not obtain lock")

# Everything that pg_dump reads rows of. What belongs to an extension comes with the extension.
RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text, pg_get_userbyid(c.relowner), pg_table_size(c.oid),
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Relation:
    """A table, a partitioned table or a sequence, as the user who dumps sees it."""

    schema: str
    name: str
    kind: str
    owner: str
    size: int
    readable: bool
    filtered: bool

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        return quoted(self.schema, self.name)

    @property
    def has_rows(self) -> bool:
        return self.kind == "r"


@dataclass(frozen=True)
class Settings:
    """How a database is dumped.

    ``exclude``: tables whose rows are left out, as ``table`` or ``schema.table``. ``lock_wait``: seconds that a lock is
    waited for. ``floor``: bytes that a dump has at least. ``reserve``: bytes that stay free on the disk. ``patience``:
    seconds that another dump is waited for. ``accept_empty``: whether a database without tables is no error.
    """

    layout: Layout
    connection: Connection
    exclude: Sequence[str]
    lock_wait: int
    floor: int
    reserve: int
    retention: Retention
    bin_dir: str
    bucket: Bucket | None
    patience: int
    reason: str
    accept_empty: bool

    @property
    def log(self) -> Path:
        return self.layout.logs / "pg_backup.log"


def settings_of(params: Mapping[str, Any], *, reason: str, accept_empty: bool = False) -> Settings:
    """The settings as the module's options and the timer's file have them. Raises WebappsError."""
    return Settings(
        layout=Layout(Path(params["root"])),
        connection=connection_of(
            params["connection"] or {}, params["environment_variables"], Path(params["environment_file"])
        ),
        exclude=params["exclude_table_data"],
        lock_wait=params["lock_wait_timeout"],
        floor=params["minimum_size"],
        reserve=params["disk_reserve"] * MIB,
        retention=Retention(params["keep"], params["keep_days"]),
        bin_dir=params["bin_dir"] or "",
        bucket=bucket_of(params["s3"] or {}),
        patience=params["timeout"],
        reason=reason,
        accept_empty=accept_empty,
    )


@dataclass(frozen=True)
class Host:
    """What a dump needs of its host.

    ``free``: the free bytes and inodes beside a path, None where there is no limit. ``secrets``: a directory in memory.
    """

    run: Run
    connect: Connect
    now: Callable[[], datetime]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    free: Callable[[Path], tuple[int, int | None]]
    upload: Callable[[Bucket, Sequence[Path]], str]
    secrets: Path = Path("/run")


def this_host(run: Run) -> Host:
    return Host(run, PsycopgSession, lambda: datetime.now(UTC), time.monotonic, time.sleep, free_space, upload)


def free_space(path: Path) -> tuple[int, int | None]:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None


def backup(settings: Settings, host: Host, *, check: bool) -> dict[str, Any]:
    """Dump, prove, prune, upload. The result says what there is now. Raises WebappsError."""
    layout = settings.layout
    assert_directory(layout.backups)
    with (
        locked(layout.backups / ".dump.lock", settings.patience, host, "dump", check=check),
        passfile(settings.connection, host.secrets / f"webapps-{layout.domain}-dump.pgpass", check=check) as secret,
        noted(settings.log, host.now, f"dump ({settings.reason})", quiet=check),
        opened(host.connect, settings.connection, secret) as session,
    ):
        client = client_for(host.run, server_major(session), settings.connection.server, settings.bin_dir)
        set_limits(session, client.major, settings.lock_wait)
        relations = _relations(settings, session)
        assert_readable(relations, settings.connection)
        if not any(relation.has_rows for relation in relations):
            return _empty(settings)
        assert_space(settings, host, relations)
        if check:
            return {"changed": True, "dump": None, "removed": []}
        return _dumped(settings, host, client, session, secret)


def locked(path: Path, patience: float, host: Host, work: str, *, check: bool) -> AbstractContextManager[None]:
    """Hold the lock, but not in check mode, which writes no file and starts nothing that another could disturb."""
    return nullcontext() if check else alone(path, patience, host.clock, host.sleep, work)


def _empty(settings: Settings) -> dict[str, Any]:
    text = f'The database "{settings.connection.name}" at {settings.connection.server} has no tables'
    if not settings.accept_empty:
        raise WebappsError(f"{text}: a dump of it would prove nothing. Correct the connection, or deploy first.")
    return {"changed": False, "dump": None, "removed": [], "msg": f"{text}, so there is nothing to dump."}


def assert_directory(directory: Path) -> None:
    try:
        found = directory.stat()
    except FileNotFoundError:
        raise WebappsError(f"{directory} is missing: run playbooks/site.yml first (role app_directory).") from None
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise WebappsError(
            f"{directory} belongs to user {found.st_uid} with mode {stat.S_IMODE(found.st_mode):04o}: dumps hold "
            "everything that the database does, so it must belong to root with mode 0700. Run playbooks/site.yml."
        )


def relations_of(session: Session) -> list[Relation]:
    return [Relation(*row) for row in session.rows(RELATIONS)]


def assert_readable(relations: Sequence[Relation], connection: Connection) -> None:
    """Raises WebappsError with the name of everything that the user may not read, or not all of."""
    if unreadable := [relation.full_name for relation in relations if not relation.readable]:
        raise WebappsError(
            f'The user "{connection.user}" may not read {", ".join(unreadable)} in the database "{connection.name}", '
            f"so no dump would be complete. Grant it: GRANT pg_read_all_data TO {quoted(connection.user)}; or have a "
            "user that may in pg_backup_connection."
        )
    if filtered := [relation.full_name for relation in relations if relation.filtered]:
        raise WebappsError(
            f'Row security hides rows of {", ".join(filtered)} from the user "{connection.user}", so no dump would be '
            "complete. Have the tables' owner or a user with BYPASSRLS in pg_backup_connection."
        )


def assert_space(settings: Settings, host: Host, relations: Sequence[Relation]) -> None:
    """Raises WebappsError when the dump may not fit: compressed, it is hardly ever larger than the tables."""
    directory = settings.layout.backups
    size = sum(relation.size for relation in relations if not _excluded(relation, settings.exclude))
    free, inodes = host.free(directory)
    if free < size + settings.reserve:
        raise WebappsError(
            f"{directory} has {_mib(free)} free, and the dump may take {_mib(size)}, the size of the tables, and leave "
            f"{_mib(settings.reserve)} (pg_backup_disk_reserve). Free some, enlarge the disk, or keep fewer dumps "
            "(pg_backup_keep, pg_backup_keep_days)."
        )
    if inodes is not None and inodes < INODES:
        raise WebappsError(f"{directory} has {inodes} inodes free, and a dump takes {INODES}: remove files there.")


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f} MiB"


def _excluded(relation: Relation, exclude: Sequence[str]) -> bool:
    return relation.name in exclude or relation.full_name in exclude


def _dumped(settings: Settings, host: Host, client: Client, session: Session, secret: Path) -> dict[str, Any]:
    layout, taken = settings.layout, host.now().replace(microsecond=0)
    final = pg_dumps.dump_at(layout.backups / pg_dumps.name_of(layout.domain, taken), layout.domain)
    if final is None:
        raise WebappsError(f"{layout.domain} makes no name of a dump: correct webapps_root.")
    if final.path.exists():
        raise WebappsError(f"{final.path} exists already: the host's clock was set back. Try again in a moment.")
    for leftover in pg_dumps.leftovers(layout.backups, layout.domain):
        leftover.unlink()
    partial = final.path.with_name(final.path.name + pg_dumps.PARTIAL)
    try:
        description = _archive(settings, client, session, secret, partial, taken)
        pg_dumps.settle(partial, final, description)
    finally:
        partial.unlink(missing_ok=True)
    result = {"changed": True, "dump": pg_dumps.summary(final, description)}
    append(settings.log, host.now(), f"dumped {final.path}, {description.size} bytes, {description.rows} rows")
    gone = pg_dumps.prune(layout.backups, layout.domain, settings.retention, taken)
    result["removed"] = [str(path) for path in gone]
    if settings.bucket:
        result["uploaded"] = host.upload(settings.bucket, final.files)
        append(settings.log, host.now(), f"uploaded {result['uploaded']}")
    return result


def _archive(
    settings: Settings, client: Client, session: Session, secret: Path, partial: Path, taken: datetime
) -> Description:
    """Write the archive and prove it against the tables as they are in its own snapshot. Raises WebappsError."""
    snapshot, relations = _snapshot(settings, session)
    tables = [relation for relation in relations if relation.has_rows]
    excluded = [relation for relation in tables if _excluded(relation, settings.exclude)]
    rows = {
        relation.full_name: 0 if relation in excluded else _count(session, relation.schema, relation.name)
        for relation in tables
    }
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    finished = client(
        "pg_dump",
        "--format=custom",
        f"--file={partial}",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={settings.lock_wait * 1000}",
        "--no-password",
        *(f"--exclude-table-data={relation.quoted}" for relation in excluded),
        environment=settings.connection.environment(secret),
    )
    if finished.status != 0:
        raise _failed(finished, settings)
    session.run("COMMIT")
    size = prove(client, partial, [table for table in tables if table not in excluded], tables, settings.floor)
    return Description(
        domain=settings.layout.domain,
        database=settings.connection.name,
        server=settings.connection.server,
        server_version=client.major,
        taken=taken.isoformat(),
        reason=settings.reason,
        release=live_release(settings.layout),
        size=size,
        sha256=pg_dumps.sha256_of(partial),
        tables=rows,
        excluded=[relation.full_name for relation in excluded],
    )


def set_limits(session: Session, major: int, lock_wait: int) -> None:
    """Have a session last as long as a dump takes, and wait for locks only so long: even a table's size takes one.

    ``lock_wait``: seconds; 0 waits without end.
    """
    timeouts = ["statement_timeout", "idle_in_transaction_session_timeout"]
    if major >= TRANSACTION_TIMEOUT_MAJOR:
        timeouts.append("transaction_timeout")
    session.run(*(f"SET {name} = 0" for name in timeouts), f"SET lock_timeout = '{lock_wait}s'")


def _relations(settings: Settings, session: Session) -> list[Relation]:
    with _telling_locks(settings):
        return relations_of(session)


@contextmanager
def _telling_locks(settings: Settings) -> Iterator[None]:
    """Say of a lock that did not come what it means."""
    try:
        yield
    except WebappsError as error:
        raise _locked(settings, error.message) if _is_locked(error.message) else error from None


def _snapshot(settings: Settings, session: Session) -> tuple[str, list[Relation]]:
    """Open the snapshot that is dumped and counted, with its tables locked against changes of their columns."""
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    snapshot = str(session.rows("SELECT pg_export_snapshot()")[0][0])
    with _telling_locks(settings):
        relations = relations_of(session)
        names = ", ".join(relation.quoted for relation in relations if relation.kind != "S")
        session.run(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
    return snapshot, relations


def _is_locked(text: str) -> bool:
    return any(words in text for words in LOCKED)


def _locked(settings: Settings, text: str) -> WebappsError:
    return WebappsError(
        f'A table of "{settings.connection.name}" stayed locked for {settings.lock_wait} s: {text.strip()} Another '
        "migration or maintenance is at work: wait for its end, or raise pg_backup_lock_wait_timeout."
    )


def _failed(finished: Finished, settings: Settings) -> WebappsError:
    words = finished.last_words
    if "No space left" in words or "could not write" in words or "could not close data file" in words:
        return WebappsError(
            f"pg_dump filled the disk of {settings.layout.backups}, and what it wrote was removed: {words} Free some "
            "space, enlarge the disk, or raise pg_backup_disk_reserve so that this is refused before."
        )
    if _is_locked(words):
        return _locked(settings, words)
    return WebappsError(f"pg_dump failed, and nothing of it was kept: {words}")


def _count(session: Session, schema: str, name: str) -> int:
    # ONLY: a parent's count must not hold its children's rows, which are counted with them.
    return int(session.rows(f"SELECT count(*) FROM ONLY {quoted(schema, name)}")[0][0])


def row_counts(session: Session) -> dict[str, int]:
    """The rows of every table of a database."""
    return {
        relation.full_name: _count(session, relation.schema, relation.name)
        for relation in relations_of(session)
        if relation.has_rows
    }


def prove(client: Client, archive: Path, with_rows: Sequence[Relation], tables: Sequence[Relation], floor: int) -> int:
    """The size of an archive that can be read to its end and has every table. Raises WebappsError for any other."""
    size = archive.stat().st_size
    if size < floor:
        raise WebappsError(
            f"pg_dump wrote {size} bytes, fewer than {floor} (pg_backup_minimum_size), and it was not kept. Look at "
            "the database, or lower pg_backup_minimum_size."
        )
    # The list alone can be read of an archive that is truncated or damaged.
    read = client("pg_restore", "--file=/dev/null", str(archive))
    if read.status != 0:
        raise WebappsError(
            f"The archive that pg_dump wrote cannot be read to its end, and was not kept: {read.last_words}"
        )
    entries = listed(client, archive)
    wanted = [("TABLE", table) for table in tables] + [("TABLE DATA", table) for table in with_rows]
    names = {entry.partition(" ")[2] for entry in entries}
    missing = [
        table.full_name for kind, table in wanted if f"{kind} {table.schema} {table.name} {table.owner}" not in names
    ]
    if missing:
        raise WebappsError(
            f"The archive that pg_dump wrote lacks {', '.join(dict.fromkeys(missing))}, and was not kept. Was the "
            "schema changed meanwhile? Try again."
        )
    return size


def listed(client: Client, archive: Path) -> list[str]:
    """The entries of an archive, each as `OID KIND SCHEMA NAME OWNER`. Raises WebappsError."""
    finished = client("pg_restore", "--list", str(archive))
    if finished.status != 0:
        raise WebappsError(f"{archive} cannot be listed: {finished.last_words}")
    lines = [line for line in finished.output.splitlines() if line and not line.startswith(";")]
    return [line.partition("; ")[2].partition(" ")[2] for line in lines]


def live_release(layout: Layout) -> str:
    """The release that serves on this host, "" where none does."""
    return layout.repo.resolve().name if layout.repo.is_symlink() else ""


def append(log: Path, now: datetime, text: str) -> None:
    """Add a line to the log. Through no link: the application may write in that directory."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    line = " ".join(text.split())
    with os.fdopen(os.open(log, flags, 0o640), "a", encoding="utf-8") as stream:
        stream.write(f"{now.isoformat(timespec='seconds')} pg_backup: {line}\n")


@contextmanager
def noted(log: Path, now: Callable[[], datetime], work: str, *, quiet: bool) -> Iterator[None]:
    """Write into the log that a piece of work failed, and why."""
    try:
        yield
    except WebappsError as error:
        if not quiet:
            append(log, now(), f"{work} failed: {error.message}")
        raise
