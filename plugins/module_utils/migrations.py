# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Database migrations of a staged release: which are pending, and applying them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import migration_guard
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import is_complete

LAUNCHER = "/usr/local/bin/webapps-run"
# How `manage.py showmigrations --plan` marks one that is not applied.
PENDING = re.compile(r"\[ \]\s+(\S+)")
# How `manage.py migrate` shows one that it began, and one that it finished.
BEGUN = re.compile(r"Applying (\S+?)\.\.\.(.*)")
STATEMENT_TIMED_OUT = "canceling statement due to statement timeout"
# What libpq and PostgreSQL say when there is nobody to talk to.
UNREACHABLE = re.compile(
    r"connection refused|could not connect|connection failed|connection timeout|timed out|could not translate"
    r"|failed to resolve|name or service not known|the database system is|server closed the connection|no route to host"
    r"|terminating connection",
    re.IGNORECASE,
)
# What a pool says that does not pass PGOPTIONS on.
POOLED = "unsupported startup parameter"


@dataclass(frozen=True)
class Limits:
    """Seconds: what a statement may wait for a lock and take in all (0: for ever), what a run may wait for another."""

    lock_timeout: int = 5
    statement_timeout: int = 900
    wait: int = 0
    attempts: int = 5


@dataclass(frozen=True)
class Migrated:
    """What a run printed, what it recorded (None where the database does not tell), and whether it came second."""

    output: str
    applied: list[str] | None
    waited: bool
    attempts: int


@dataclass(frozen=True)
class Application:
    """How commands of a release are run: as the application's user, with an environment file, in its directory."""

    layout: Layout
    release: str
    environment: str
    user: str

    @property
    def directory(self) -> Path:
        return self.layout.release(self.release)

    def command(self, words: Sequence[str]) -> list[str]:
        environment = str(self.layout.environments / self.environment)
        return ["runuser", "--user", self.user, "--", LAUNCHER, environment, *words]


def is_staged(application: Application) -> bool:
    """Whether the release's commands can run at all, which is not so in the check mode of a first deploy."""
    environment = application.layout.environments / application.environment
    return is_complete(application.layout, application.release) and environment.is_file()


def checked_staged(application: Application, *, check: bool) -> bool:
    """Whether the release's commands can run. Raises WebappsError when they cannot, except in check mode."""
    staged = is_staged(application)
    if not staged and not check:
        raise WebappsError(
            f"The release {application.release} or the environment {application.environment} is not on this host: "
            "stage it first (role app_release, entry points environment and stage)."
        )
    return staged


def pending(run: Run, application: Application, plan_command: Sequence[str]) -> list[str]:
    """The migrations that the release brings and the database lacks, in order. Raises WebappsError."""
    finished = run(application.command(plan_command), directory=application.directory)
    if finished.status != 0:
        raise WebappsError(
            f"`{' '.join(plan_command)}` failed in {application.directory}: {finished.last_words}\n"
            + (
                unreachable_advice(finished.last_words)
                or "See that the release's settings and its database fit together."
            )
            + " Nothing was changed."
        )
    return [found[1] for line in finished.output.splitlines() if (found := PENDING.match(line))]


def unreachable_advice(words: str) -> str:
    """What to do about a database that does not answer, "" when that is not what the words are about."""
    if POOLED in words:
        return (
            "A pool such as PgBouncer stands before the database and does not pass PGOPTIONS on. Migrations need the "
            "database's own address: have the settings take it for the migrating command."
        )
    if UNREACHABLE.search(words) or "password authentication failed" in words:
        return (
            "The database is down, cannot be reached or does not let the application in. See that it runs (a failover "
            "of RDS takes a minute or two) and check its address and password in app_release_environment; then deploy "
            "again."
        )
    return ""


def program() -> str:
    """What `manage.py shell` runs: the guard's text and its call."""
    return inspect.getsource(migration_guard) + "\nmain()\n"


def migrate(
    run: Run,
    application: Application,
    command: Sequence[str],
    *,
    shell_command: Sequence[str],
    limits: Limits,
    expected: Sequence[str] = (),
) -> Migrated:
    """Apply what is pending. ``run`` ties the program to this process. Raises WebappsError."""
    request = {
        "command": list(command),
        "limits": {"lock_timeout": limits.lock_timeout, "statement_timeout": limits.statement_timeout},
        "wait": limits.wait,
        "attempts": limits.attempts,
    }
    finished = run(
        application.command([*shell_command, program()]),
        directory=application.directory,
        environment={migration_guard.REQUEST: json.dumps(request)},
    )
    answer = answered(finished, shell_command)
    if refusal := answer.get("refusal"):
        raise WebappsError(f"{refusal_text(refusal, limits)} Nothing was changed.")
    last = answer["attempts"][-1]
    if last["status"] != 0:
        raise failure(answer, command, limits, expected)
    return Migrated(last["output"], answer["applied"], answer["waited"], len(answer["attempts"]))


def answered(finished: Finished, shell_command: Sequence[str]) -> dict[str, Any]:
    """What the guard printed, among whatever else a shell prints. Raises WebappsError without it."""
    for line in finished.output.splitlines():
        if line.startswith(migration_guard.MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(migration_guard.MARK))
            return answer
    raise WebappsError(
        f"`{' '.join(shell_command)}` did not run the migrations to their end (exit status {finished.status}): "
        f"{finished.last_words}\nWhat was stopped midway is rolled back. See that app_release_migrate_shell_command "
        "runs Django's shell, and deploy again."
    )


def refusal_text(refusal: Mapping[str, Any], limits: Limits) -> str:
    """Why nothing was begun, what was found, and what to do."""
    if refusal["kind"] == "held":
        found = "; ".join(map(person, refusal["holders"])) or "a session that has ended meanwhile"
        return (
            f"Another run migrates this database: its advisory lock {migration_guard.KEY} is held by {found}. Let "
            "that run finish and deploy again, or let this one wait for it: app_release_migrate_wait (now "
            f"{limits.wait} s). The lock vanishes with the session that holds it."
        )
    if refusal["kind"] == "read_only":
        what = (
            "a standby (pg_is_in_recovery() is true)"
            if refusal["standby"]
            else "read-only (transaction_read_only is on)"
        )
        return (
            f"The database is {what}, so no migration can be applied. After a failover the address may still lead to "
            "the old server: check the database's address in app_release_environment and deploy again when it takes "
            "writes."
        )
    if refusal["kind"] == "limits":
        found = ", ".join(f"{name} is {value} ms" for name, value in refusal["found"].items())
        return (
            "Statements of the migrations would not have the limits of app_release_lock_timeout "
            f"({limits.lock_timeout} s) and app_release_statement_timeout ({limits.statement_timeout} s): {found}. "
            "The options in the settings' DATABASES OPTIONS, or a pool, win over PGOPTIONS: append "
            "os.environ.get('PGOPTIONS', '') to those options, or connect to the database itself."
        )
    return f"The database did not answer: {refusal['words']}\n{unreachable_advice(refusal['words'])}".rstrip()


def person(session: Mapping[str, Any]) -> str:
    """A session in words, as far as the database shows it to this user; never what it runs."""
    told = [
        f"application_name {session['application_name']!r}" if session["application_name"] else "",
        f"user {session['user']}" if session["user"] else "",
        f"from {session['client_address']}" if session["client_address"] else "",
        f"{session['state']}, since {session['since']}" if session["since"] else "state not shown to this user",
        f"on {session['table']}" if session.get("table") else "",
    ]
    return f"process {session['pid']} ({', '.join(filter(None, told))})"


def failure(answer: Mapping[str, Any], command: Sequence[str], limits: Limits, expected: Sequence[str]) -> WebappsError:
    """Why a run failed: at which migration, because of whom, and what stays."""
    last = answer["attempts"][-1]
    applied = answer["applied"]
    stuck = stuck_at(last["output"], expected, applied or [])
    printed = Finished(last["status"] if last["status"] is not None else 1, last["output"], last["errors"])
    said = printed.output + printed.errors
    words = printed.last_words
    if last["lost"]:
        cause = (
            f"The connection that holds the advisory lock was lost ({last['lost']}), so the command was stopped: "
            "another run might have begun. See that the database runs and that no pool such as PgBouncer in "
            "transaction mode stands before it; then deploy again."
        )
    elif migration_guard.lock_timed_out(last):
        # What led there is no news.
        words = words.splitlines()[-1]
        cause = blocked_text(last["blockers"], len(answer["attempts"]), limits)
    elif STATEMENT_TIMED_OUT in said:
        cause = (
            f"A statement took longer than {limits.statement_timeout} s and was given up: make the migration smaller, "
            "or raise app_release_statement_timeout for this deploy."
        )
    elif last["status"] < 0:
        cause = (
            f"The command was ended by signal {-last['status']}: by a person, or by the kernel for want of memory. "
            "Deploy again."
        )
    else:
        cause = unreachable_advice(said) or "No host runs the new release yet: correct the migration and deploy again."
    kept = "unknown, because the database does not tell" if applied is None else ", ".join(applied) or "nothing"
    at = f" at {stuck}" if stuck else ""
    return WebappsError(
        f"`{' '.join(command)}` failed{at}: {words}\n{cause}\nApplied by this run, and stays: {kept}. A "
        "migration that failed is rolled back, unless it is declared non-atomic.",
        applied=applied,
        failed_migration=stuck,
        blockers=last["blockers"],
    )


def blocked_text(blockers: Sequence[Mapping[str, Any]], attempts: int, limits: Limits) -> str:
    """Whose lock it was that a migration did not get, and what to do about it."""
    tries = f"in {attempts} attempt{'s' if attempts > 1 else ''} of {limits.lock_timeout} s"
    if not blockers:
        return (
            f"It did not get a lock that another transaction holds, {tries}; who holds it was not seen. Deploy again "
            "in a quiet moment, or raise app_release_lock_timeout or app_release_migrate_attempts."
        )
    pids = ", ".join(f"SELECT pg_terminate_backend({blocker['pid']})" for blocker in blockers)
    return (
        f"It did not get its lock {tries}. In the way: {'; '.join(map(person, blockers))}. Let that finish or end it "
        f"({pids}), then deploy again; or raise app_release_lock_timeout or app_release_migrate_attempts."
    )


def stuck_at(output: str, expected: Sequence[str], applied: Sequence[str]) -> str | None:
    """The migration that failed: the last that was begun and not finished, else the first that is not applied."""
    begun = [found[1] for line in output.splitlines() if (found := BEGUN.search(line)) and "OK" not in found[2]]
    missing = [name for name in expected if name not in applied]
    return begun[-1] if begun else next(iter(missing), None)
