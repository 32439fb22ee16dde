# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the code that serves survives the migrations that are pending.

Linters judge SQL; this judges the linters: what they find on tables and columns that the same step creates harms
nobody, because the code that serves does not know those. What no linter can read (RunPython, RunSQL) is for a person
to confirm, unless it can only reach such tables.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import migration_code
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# From harmless to harmful. SLOW holds a lock for as long as a table is read; lock_timeout bounds what that costs.
COMPATIBLE, SLOW, CONFIRM, INCOMPATIBLE = LEVELS = ("compatible", "slow", "confirm", "incompatible")

# Rules of django-migration-linter 6 and squawk 2; a rule that is not named here is for a person to confirm.
RULES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "ALTER_COLUMN",
            "DROP_COLUMN",
            "DROP_TABLE",
            "NOT_NULL",
            "RENAME_COLUMN",
            "RENAME_TABLE",
            "adding-not-nullable-field",
            "adding-required-field",
            "ban-drop-column",
            # Django drops the default right after it added the column, and the old code's INSERT names no value for it.
            "ban-drop-default",
            "ban-drop-table",
            "ban-truncate-cascade",
            "changing-column-type",
            "renaming-column",
            "renaming-table",
        ),
        INCOMPATIBLE,
    ),
    # They fail, or make the old code fail, only with certain data.
    **dict.fromkeys(
        (
            "ADD_UNIQUE",
            "adding-exclusion-constraint",
            "ban-drop-not-null",
            "constraint-missing-not-valid",
            "disallowed-unique-constraint",
        ),
        CONFIRM,
    ),
    **dict.fromkeys(
        (
            "CREATE_INDEX",
            "CREATE_INDEX_EXCLUSIVE",
            "DROP_INDEX",
            "REINDEX",
            "adding-field-with-default",
            "adding-foreign-key-constraint",
            "adding-serial-primary-key-field",
            "ban-drop-constraint",
            "require-concurrent-index-creation",
            "require-concurrent-index-deletion",
        ),
        SLOW,
    ),
}
# What stands for the operations of a migration that no release on the host could show.
ABSENT = "Absent"
# Operations whose effect only a person can tell.
OPAQUE = {
    "RunPython": "runs Python that no linter can read",
    "RunSQL": "runs SQL that was written by hand",
    ABSENT: "from every release that could be asked here: what it did is unknown",
}

TABLE = re.compile(
    r"(?:(?:ALTER|DROP) TABLE(?: IF EXISTS)?(?: ONLY)?|CREATE TABLE(?: IF NOT EXISTS)?"
    r"|CREATE (?:UNIQUE )?INDEX .*? ON(?: ONLY)?|INSERT INTO|UPDATE|DELETE FROM)"
    r'\s+"?([^\s"(;]+)"?',
    re.IGNORECASE | re.DOTALL,
)
CREATED = re.compile(r'^CREATE TABLE(?: IF NOT EXISTS)?\s+"?([^\s"(]+)"?', re.IGNORECASE)
RENAMED = re.compile(r'^ALTER TABLE\s+"?([^\s"]+)"?\s+RENAME TO\s+"?([^\s";]+)"?', re.IGNORECASE)
ADDED = re.compile(r'^ALTER TABLE\s+"?([^\s"]+)"?\s+ADD COLUMN\s+"?([^\s"]+)"?', re.IGNORECASE)
INDEXED = re.compile(
    r'^CREATE (?:UNIQUE )?INDEX(?: CONCURRENTLY)?(?: IF NOT EXISTS)? "?([^\s"]+)"? ON(?: ONLY)? "?([^\s"(]+)"?',
    re.IGNORECASE,
)
UNINDEXED = re.compile(r'^DROP INDEX(?: CONCURRENTLY)?(?: IF EXISTS)? "?([^\s";]+)"?', re.IGNORECASE)
COLUMN_RENAMED = re.compile(
    r'^ALTER TABLE\s+"?([^\s"]+)"?\s+RENAME COLUMN\s+"?([^\s"]+)"?\s+TO\s+"?([^\s";]+)"?', re.IGNORECASE
)
COLUMN = re.compile(
    r'^ALTER TABLE\s+"?([^\s"]+)"?\s+(DROP|RENAME|ALTER) COLUMN\s+"?([^\s";]+)"?(?:\s+(DROP NOT NULL|TYPE)\b)?',
    re.IGNORECASE,
)
# The code that serves leaves such a column empty, and any number of rows may be.
EMPTY_UNIQUE = re.compile(
    r'^ALTER TABLE\s+"?[^\s"]+"?\s+ADD COLUMN(?!.*\b(?:NOT NULL|DEFAULT)\b).* UNIQUE\b', re.IGNORECASE
)


@dataclass(frozen=True)
class Migration:
    """A pending migration: the names of its operations' classes, and its SQL, each in order.

    ``python``: for each RunPython the tables that it can reach, None where that cannot be told.
    """

    app: str
    name: str
    operations: tuple[str, ...]
    statements: tuple[str, ...]
    python: tuple[tuple[str, ...] | None, ...] = ()

    def __str__(self) -> str:
        return f"{self.app}.{self.name}"


@dataclass(frozen=True)
class Finding:
    """What a linter says of one statement: its rule, and the statement's number in the migration, from 0."""

    rule: str
    statement: int
    message: str


@dataclass(frozen=True)
class Verdict:
    """What a migration means for the code that serves: one of LEVELS, with the reasons for it."""

    migration: Migration
    level: str
    reasons: tuple[str, ...]


class Created:
    """What the step has created so far: the code that serves knows none of it."""

    def __init__(self) -> None:
        self.tables: set[str] = set()
        self.columns: set[tuple[str, str]] = set()
        self.indexes: set[str] = set()

    def note(self, statement: str) -> None:
        if found := CREATED.match(statement):
            self.tables.add(found[1])
        elif (found := RENAMED.match(statement)) and found[1] in self.tables:
            self.tables.add(found[2])
        elif found := ADDED.match(statement):
            self.columns.add((found[1], found[2]))
        elif (found := COLUMN_RENAMED.match(statement)) and (found[1], found[2]) in self.columns:
            self.columns.add((found[1], found[3]))
        elif (found := INDEXED.match(statement)) and found[2] in self.tables:
            self.indexes.add(found[1])

    def most(self, statement: str) -> str:
        """The most that a finding in a statement can mean, because of what the step created."""
        if table_of(statement) in self.tables:
            return COMPATIBLE
        if (index := UNINDEXED.match(statement)) and index[1] in self.indexes:
            return COMPATIBLE
        changed = COLUMN.match(statement)
        if changed is None or (changed[1], changed[3]) not in self.columns:
            return INCOMPATIBLE
        action, detail = changed[2].upper(), (changed[4] or "").upper()
        if action != "ALTER" or detail == "DROP NOT NULL":
            return COMPATIBLE
        # SET NOT NULL counts: the code that serves leaves the column empty.
        return SLOW if detail == "TYPE" else INCOMPATIBLE


def level_of(finding: Finding, statement: str, most: str) -> str:
    """What a finding means for the code that serves, at most ``most``."""
    if finding.rule == "disallowed-unique-constraint" and EMPTY_UNIQUE.match(statement):
        most = min(most, SLOW, key=LEVELS.index)
    return min(RULES.get(finding.rule, CONFIRM), most, key=LEVELS.index)


def table_of(statement: str) -> str | None:
    """The table that a statement changes, None where that cannot be told."""
    found = TABLE.search(statement)
    return found[1] if found else None


def statements_of(lines: Iterable[str]) -> tuple[str, ...]:
    """The statements of what `sqlmigrate` prints, without comments and transaction control."""
    kept = (line.strip() for line in lines)
    return tuple(line for line in kept if line and not line.startswith("--") and line not in ("BEGIN;", "COMMIT;"))


def parsed_pending(document: Any) -> list[Migration]:
    """The pending migrations as INSPECTION prints them. Raises WebappsError for anything else."""
    try:
        return [
            Migration(
                row["app"],
                row["name"],
                tuple(row["operations"]),
                statements_of(row["sql"]),
                tuple(None if tables is None else tuple(tables) for tables in row["python"]),
            )
            for row in document
        ]
    except (KeyError, TypeError) as error:
        raise WebappsError(
            f"The release's list of pending migrations cannot be read ({error!r}): it is printed by `manage.py shell`; "
            "see that the command migration_gate_shell_command prints nothing of its own in that form."
        ) from error


def judge(migrations: Sequence[Migration], findings: Sequence[Sequence[Finding]]) -> list[Verdict]:
    """A verdict for each pending migration, in order. ``findings``: what linters said of each."""
    created = Created()
    verdicts = []
    for migration, found in zip(migrations, findings, strict=True):
        reasons, at_most = [], []
        for statement in migration.statements:
            created.note(statement)
            at_most.append(created.most(statement))
        for finding in found:
            statement = migration.statements[finding.statement]
            level = level_of(finding, statement, at_most[finding.statement])
            if level != COMPATIBLE:
                reasons.append((level, f"{finding.rule}: {statement}"))
        # Rows of a table that the step created are there only because the step put them there.
        read = sum(tables is not None and created.tables.issuperset(tables) for tables in migration.python)
        unread = {kind: migration.operations.count(kind) for kind in OPAQUE}
        unread["RunPython"] -= read
        reasons += [(CONFIRM, f"{kind} {OPAQUE[kind]}") for kind in OPAQUE if unread[kind] > 0]
        verdicts.append(_verdict(migration, reasons))
    return verdicts


def _verdict(migration: Migration, reasons: Sequence[tuple[str, str]]) -> Verdict:
    worst = max((LEVELS.index(level) for level, _text in reasons), default=0)
    ordered = sorted(reasons, key=lambda reason: -LEVELS.index(reason[0]))
    return Verdict(migration, LEVELS[worst], tuple(dict.fromkeys(text for _level, text in ordered)))


def refusal(verdicts: Sequence[Verdict], allowed: Collection[str], *, applied: bool = False) -> str:
    """Why these migrations must not be applied while the old code serves, with the ways through; "" if they may.

    ``allowed``: names, as ``app.name``, that a person has confirmed. ``applied``: they are, and older code is to serve
    again.
    """
    held = [
        verdict
        for verdict in verdicts
        if verdict.level in (CONFIRM, INCOMPATIBLE) and str(verdict.migration) not in allowed
    ]
    if not held:
        return ""
    kind, victim = ("applied", "the older code") if applied else ("pending", "the code that serves now")
    lines = [f"{len(held)} of {len(verdicts)} {kind} migrations may break {victim}:"]
    for verdict in held:
        lines.append(f"  {verdict.migration} {verdict.level}")
        lines += [f"    {reason}" for reason in verdict.reasons]
    names = ", ".join(str(verdict.migration) for verdict in held)
    ways = (
        "restore a dump from before them (playbooks/restore.yml), or correct the release and deploy again; or, having "
        f"read them, name those that the older code survives in migration_gate_allowed: [{names}]."
        if applied
        else "deploy with -e deploy_maintenance=true, which migrates behind the maintenance page; or, having read "
        f"them, name those that the running code survives in migration_gate_allowed: [{names}]."
    )
    lines.append(f"Nothing was changed. Now {ways}")
    return "\n".join(lines)


# Run by `manage.py shell -c` in the release that brings the migrations. Prints one line that begins with MARK.
# `wanted` is None for those that the database lacks.
MARK = "WEBAPPS-PENDING-MIGRATIONS "
INSPECTION = f"""\
import inspect
import json
from django.db import connection
from django.db.migrations import RunPython, RunSQL
from django.db.migrations.executor import MigrationExecutor


def leaves(operation):
    inner = getattr(operation, "database_operations", None)
    return [operation] if inner is None else [leaf for each in inner for leaf in leaves(each)]


def kind(operation):
    # A class of the application's own that is derived from these runs what they run.
    return next((known.__name__ for known in (RunPython, RunSQL) if isinstance(operation, known)), None) or type(
        operation
    ).__name__


def tables(operation, migration):
    try:
        models = named_models(inspect.getsource(operation.code))
        known = models and executor.loader.project_state((migration.app_label, migration.name)).apps
        return models if not models else [known.get_model(*model)._meta.db_table for model in models]
    except (LookupError, OSError, TypeError):
        return None


executor = MigrationExecutor(connection)
plan = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=wanted is not None)
rows = []
for migration, _backwards in plan:
    if wanted is None or [migration.app_label, migration.name] in wanted:
        operations = [leaf for operation in migration.operations for leaf in leaves(operation)]
        rows.append(
            {{
                "app": migration.app_label,
                "name": migration.name,
                "operations": [kind(operation) for operation in operations],
                "python": [tables(each, migration) for each in operations if type(each) is RunPython],
                "sql": executor.loader.collect_sql([(migration, False)]),
            }}
        )
print({MARK!r} + json.dumps(rows))
"""


# Run in an older release: what the database has and it does not know, and so cannot take back, and since when, in
# seconds of the epoch. What a squashed migration of its own stands for it knows.
UNKNOWN = f"""\
import json
from django.db import connection
from django.db.migrations.loader import MigrationLoader

loader = MigrationLoader(connection)
known = set(loader.disk_migrations)
for migration in loader.disk_migrations.values():
    known.update(migration.replaces)
applied = loader.applied_migrations.items()
print({MARK!r} + json.dumps([[*key, row.applied.timestamp()] for key, row in applied if key not in known]))
"""


def absent(app: str, name: str) -> dict[str, Any]:
    """The row of a migration that is applied and that no release could show."""
    return {"app": app, "name": name, "operations": [ABSENT], "python": [], "sql": []}


def inspection(wanted: Sequence[Sequence[str]] | None = None) -> str:
    """The program that lists what is pending, or these migrations, each an application's label and a name."""
    chosen = wanted if wanted is None else [list(each) for each in wanted]
    return f"{inspect.getsource(migration_code)}\nwanted = {chosen!r}\n{INSPECTION}"


def printed_pending(output: str) -> list[Any]:
    """The rows that INSPECTION or UNKNOWN printed, among whatever else a shell prints. Raises WebappsError without."""
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise WebappsError(
            "The release did not list its pending migrations. What it printed instead:\n"
            f"{output.strip()[-2000:] or 'nothing'}\nSee that migration_gate_shell_command runs Django's shell."
        )
    rows: list[Any] = json.loads(line.removeprefix(MARK))
    return rows
