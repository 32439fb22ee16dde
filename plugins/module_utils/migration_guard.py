# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the migrating command while it holds an advisory lock of PostgreSQL, and watches who is in its way.

The text of this file is what `manage.py shell` of a release runs, so it imports nothing of the collection. The lock
belongs to a session of its own and ends with it. The program ends when its standard input does, that is when the
module that started it ends, however that ends; the command ends with the program.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    # Standing in for a connection: the rows that a statement returns. Raises LostError.
    Query = Callable[..., list[tuple[Any, ...]]]

    class Child(Protocol):
        """The migrating command while it runs."""

        def poll(self) -> int | None: ...
        def stop(self) -> None: ...
        def printed(self) -> tuple[str, str]: ...


REQUEST = "WEBAPPS_MIGRATE"
MARK = "WEBAPPS-MIGRATED "
# The first eight bytes of the SHA-256 of "carpentries.webapps migrate", as a signed number.
KEY = 6445083689569259405
# In any language of the server: the names are psycopg's, of SQLSTATE 55P03.
LOCK_TIMED_OUT = ("LockNotAvailable", "canceling statement due to lock timeout")
LONGEST_PAUSE = 30.0
LOOK_EVERY = 0.3
PR_SET_PDEATHSIG = 1
LIMITS = ("lock_timeout", "statement_timeout")

PERSON = (
    "a.pid, a.usename::text, a.application_name, host(a.client_addr), a.state, "
    "COALESCE(a.xact_start, a.backend_start)::text"
)
COLUMNS = ("pid", "user", "application_name", "client_address", "state", "since")
OUR_LOCK = (
    "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND l.classid::bigint = %s AND l.objid::bigint = %s"
)
HOLDER = f"SELECT {PERSON} FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE {OUR_LOCK}"
STILL_HELD = f"SELECT 1 FROM pg_locks l WHERE l.pid = pg_backend_pid() AND {OUR_LOCK}"
# Whoever stands before a session of the command that waits for a lock, and the table that it is about.
IN_THE_WAY = (
    f"SELECT DISTINCT {PERSON}, (SELECT w.relation::regclass::text FROM pg_locks w "
    "WHERE w.pid = waiting.pid AND NOT w.granted AND w.relation IS NOT NULL LIMIT 1) "
    "FROM pg_stat_activity waiting CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocking(pid) "
    "JOIN pg_stat_activity a ON a.pid = blocking.pid "
    "WHERE waiting.application_name = %s AND waiting.datname = current_database()"
)
END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = %s AND usename = current_user AND pid <> pg_backend_pid()"
)


class LostError(Exception):
    """The lock's own connection does not answer, or no longer holds the lock."""


class AbandonedError(Exception):
    """Whoever started the program has gone."""


def halves(key: int) -> tuple[int, int]:
    """A lock's key as pg_locks shows it: its upper and its lower 32 bits."""
    unsigned = key % 2**64
    return unsigned >> 32, unsigned % 2**32


def persons(rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Sessions as the result describes them; what the database does not show this user is null."""
    return [dict(zip((*COLUMNS, "table"), row, strict=False)) for row in rows]


def refused(query: Query, limits: Mapping[str, int]) -> dict[str, Any] | None:
    """Why nothing can be migrated over this connection, or None."""
    read_only, standby = query("SELECT current_setting('transaction_read_only'), pg_is_in_recovery()")[0]
    if read_only == "on" or standby:
        return {"kind": "read_only", "standby": standby}
    found: dict[str, int] = dict(query("SELECT name, setting::bigint FROM pg_settings WHERE name IN (%s, %s)", LIMITS))
    wrong = {name: found[name] for name in LIMITS if found[name] != limits[name] * 1000}
    return {"kind": "limits", "found": wrong} if wrong else None


def taken(
    query: Query, wait: float, pause: Callable[[float], None], clock: Callable[[], float]
) -> tuple[bool, dict[str, Any] | None]:
    """Take the lock. Returns whether it had to be waited for, and why it could not be had."""
    deadline = clock() + wait
    waited = False
    while not query("SELECT pg_try_advisory_lock(%s)", [KEY])[0][0]:
        if clock() >= deadline:
            return waited, {"kind": "held", "holders": persons(query(HOLDER, halves(KEY)))}
        waited = True
        pause(1)
    return waited, None


def attempted(query: Query, start: Callable[[], Child], name: str, pause: Callable[[float], None]) -> dict[str, Any]:
    """Run the command once, and note who was in its way last. ``name``: the application_name of its sessions."""
    child = start()
    blockers: list[dict[str, Any]] = []
    lost = None
    try:
        while child.poll() is None:
            pause(LOOK_EVERY)
            blockers = persons(query(IN_THE_WAY, [name])) or blockers
            if not query(STILL_HELD, halves(KEY)):
                raise LostError("the session no longer holds its advisory lock")
    except LostError as error:
        lost = str(error)
    finally:
        if child.poll() is None:
            child.stop()
        if (child.poll() or 0) < 0:
            ended(query, name)
    output, errors = child.printed()
    return {"status": child.poll(), "output": output, "errors": errors, "blockers": blockers, "lost": lost}


def ended(query: Query, name: str) -> None:
    """End the sessions of a command that was stopped: the server would finish its statement before it noticed."""
    try:
        query(END_SESSIONS, [name])
    except LostError:
        return


def noticing(query: Query) -> str:
    """What has the server notice by itself that the command was killed, from PostgreSQL 14 on."""
    setting = "client_connection_check_interval"
    return f" -c {setting}=1s" if query("SELECT 1 FROM pg_settings WHERE name = %s", [setting]) else ""


def lock_timed_out(attempt: Mapping[str, Any]) -> bool:
    said = attempt["output"] + attempt["errors"]
    return attempt["status"] != 0 and not attempt["lost"] and any(sign in said for sign in LOCK_TIMED_OUT)


def repeated(
    attempt: Callable[[], dict[str, Any]], attempts: int, pause: Callable[[float], None]
) -> list[dict[str, Any]]:
    """Attempts until one does not end because of a lock, at most so many; the pauses double from 1 s."""
    made: list[dict[str, Any]] = []
    while True:
        made.append(attempt())
        if len(made) >= attempts or not lock_timed_out(made[-1]):
            return made
        pause(min(2.0 ** (len(made) - 1), LONGEST_PAUSE))


class Command:
    """The migrating command as a child in a process group of its own, which does not survive this process."""

    def __init__(self, words: Sequence[str], name: str) -> None:
        # Files, because a pipe that nobody reads would stop the command; they have no name and end with the process.
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        libc, parent = ctypes.CDLL(None), os.getpid()

        def tied() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        self._child = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=self._files[0],
            stderr=self._files[1],
            env={**os.environ, "PGAPPNAME": name},
            start_new_session=True,
            preexec_fn=tied,
        )

    def poll(self) -> int | None:
        return self._child.poll()

    def stop(self) -> None:
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def printed(self) -> tuple[str, str]:
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return texts[0], texts[1]


def pause(seconds: float) -> None:
    """Sleep. Raises AbandonedError as soon as standard input ends."""
    ready, _, _ = select.select([0], [], [], seconds)
    if ready and not os.read(0, 1):
        raise AbandonedError


def options_with(limits: Mapping[str, int], given: str) -> str:
    """PGOPTIONS with the limits after what is there: the last one counts."""
    return " ".join([*filter(None, [given]), *(f"-c {name}={limits[name]}s" for name in LIMITS)])


def served(request: Mapping[str, Any]) -> dict[str, Any]:
    """What became of a request, over the connection that the release's settings name `default`."""
    name = f"webapps-migrate-{os.getpid()}"
    os.environ["PGOPTIONS"] = options_with(request["limits"], os.environ.get("PGOPTIONS", ""))
    os.environ["PGAPPNAME"] = f"{name}-lock"
    # Here, because it reads the environment that was set above.
    import django.db
    from django.db.migrations.recorder import MigrationRecorder

    connection = django.db.connection

    def query(statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, list(values))
                return list(cursor.fetchall())
        except django.db.Error as error:
            raise LostError(str(error).strip()) from error

    def known() -> set[str] | None:
        try:
            return {f"{app}.{migration}" for app, migration in MigrationRecorder(connection).applied_migrations()}
        except django.db.Error:
            return None

    def start() -> Command:
        return Command(request["command"], name)

    if connection.vendor != "postgresql":
        before = known()
        child = start()
        while child.poll() is None:
            try:
                pause(LOOK_EVERY)
            except AbandonedError:
                child.stop()
                raise
        output, errors = child.printed()
        only: dict[str, Any] = {
            "status": child.poll(),
            "output": output,
            "errors": errors,
            "blockers": [],
            "lost": None,
        }
        return {"attempts": [only], "applied": difference(before, known()), "waited": False}

    try:
        connection.ensure_connection()
    except django.db.Error as error:
        return {"refusal": {"kind": "unreachable", "words": str(error).strip()}}
    connection.set_autocommit(True)
    try:
        # PostgreSQL 14 and later; no time would end the session while it only holds the lock.
        query("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        refusal = refused(query, request["limits"])
        if refusal is None:
            waited, refusal = taken(query, request["wait"], pause, time.monotonic)
            os.environ["PGOPTIONS"] += noticing(query)
    except LostError as error:
        refusal = {"kind": "unreachable", "words": str(error)}
    if refusal is not None:
        return {"refusal": refusal}
    before = known()
    made = repeated(lambda: attempted(query, start, name, pause), request["attempts"], pause)
    return {"attempts": made, "applied": difference(before, known()), "waited": waited}


def difference(before: set[str] | None, after: set[str] | None) -> list[str] | None:
    """The migrations that were recorded meanwhile, None when the database does not tell."""
    return None if before is None or after is None else sorted(after - before)


def main() -> None:
    # So that what was begun is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    request = json.loads(os.environ.pop(REQUEST))
    try:
        answer = served(request)
    except AbandonedError:
        sys.exit("Nobody waits for the migrations any more: they were stopped.")
    print(MARK + json.dumps(answer), flush=True)
