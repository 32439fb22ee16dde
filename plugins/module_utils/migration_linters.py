# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks django-migration-linter and squawk what they find in SQL; both in an environment of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_gate import Finding, Migration, table_of

# Not about what the old code survives: style, and timeouts that the migrating command sets for every statement.
SQUAWK_EXCLUDED = (
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamptz",
    "require-lock-timeout",
    "require-statement-timeout",
    "transaction-nesting",
)
# What a statement looks like that a rule of django-migration-linter is about: it names a column at most.
ABOUT = {
    "ADD_UNIQUE": re.compile("ADD CONSTRAINT .* UNIQUE|CREATE UNIQUE INDEX"),
    "ALTER_COLUMN": re.compile("ALTER COLUMN .* TYPE"),
    "CREATE_INDEX": re.compile("CREATE (?:UNIQUE )?INDEX"),
    "DROP_COLUMN": re.compile("DROP COLUMN"),
    "DROP_INDEX": re.compile("DROP INDEX"),
    "NOT_NULL": re.compile("(?<!DROP )(?<!IS )NOT NULL"),
    "RENAME_COLUMN": re.compile("RENAME COLUMN"),
}
# squawk ends with 1 when it found something.
SQUAWK_ANSWERS = (0, 1)

# django-migration-linter's own analysis of SQL, without the application: its argument is a file with groups of
# statements, its output what it finds in each.
ANALYSIS = """\
import json
import sys

from django_migration_linter.sql_analyser.analyser import analyse_sql_statements
from django_migration_linter.sql_analyser.postgresql import PostgresqlAnalyser

groups = json.loads(open(sys.argv[1]).read())
found = []
for statements in groups:
    errors, _ignored, warnings = analyse_sql_statements(PostgresqlAnalyser, statements, [])
    issues = [*errors, *warnings]
    found.append([{"code": issue.code, "message": issue.message, "column": issue.column} for issue in issues])
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Linters:
    """Where the linters are, and what runs them. ``scratch``: an empty directory for what they read."""

    run: Run
    environment: Path
    scratch: Path
    pg_version: str

    def findings(self, migrations: Sequence[Migration]) -> list[list[Finding]]:
        """What both find in each migration. Raises WebappsError when one cannot tell."""
        return [
            [*by_table, *by_statement]
            for by_table, by_statement in zip(self._django(migrations), map(self._squawk, migrations), strict=True)
        ]

    def _django(self, migrations: Sequence[Migration]) -> list[list[Finding]]:
        # It says for few rules which table they are about, so it is asked table by table.
        groups = [grouped(migration) for migration in migrations]
        path = self.scratch / "statements.json"
        texts = [
            [migration.statements[number] for number in group]
            for migration, of_migration in zip(migrations, groups, strict=True)
            for group in of_migration
        ]
        path.write_text(json.dumps(texts), encoding="utf-8")
        done = self.run([str(self.environment / "bin" / "python"), "-I", "-c", ANALYSIS, str(path)])
        if done.status != 0:
            raise self._broken("django-migration-linter", done.last_words)
        answers = iter(json.loads(done.output))
        return [
            [
                Finding(issue["code"], statement_about(migration, group, issue), issue["message"])
                for group in of_migration
                for issue in next(answers)
            ]
            for migration, of_migration in zip(migrations, groups, strict=True)
        ]

    def _squawk(self, migration: Migration) -> list[Finding]:
        path = self.scratch / "migration.sql"
        path.write_text("\n".join(migration.statements) + "\n", encoding="utf-8")
        command = [str(self.environment / "bin" / "squawk"), "--reporter", "Json", "--pg-version", self.pg_version]
        done = self.run([*command, "--exclude", ",".join(SQUAWK_EXCLUDED), str(path)])
        try:
            issues = json.loads(done.output or "[]") if done.status in SQUAWK_ANSWERS else None
        except ValueError:
            issues = None
        if issues is None:
            raise self._broken("squawk", done.last_words)
        starts = line_numbers(migration.statements)
        return [Finding(issue["rule_name"], statement_at(starts, issue["line"]), issue["message"]) for issue in issues]

    def _broken(self, linter: str, words: str) -> WebappsError:
        return WebappsError(
            f"{linter} in {self.environment} did not judge the pending migrations: {words}\n"
            "Run playbooks/site.yml, which installs it as pinned."
        )


def grouped(migration: Migration) -> list[list[int]]:
    """The numbers of the statements, those on the same table together."""
    groups: dict[str | None, list[int]] = {}
    for number, statement in enumerate(migration.statements):
        groups.setdefault(table_of(statement), []).append(number)
    return list(groups.values())


def statement_about(migration: Migration, group: Sequence[int], issue: Mapping[str, str | None]) -> int:
    """The number of a group's first statement that an issue can be about."""
    about = ABOUT.get(issue["code"] or "")
    column = f'"{issue["column"]}"' if issue["column"] else ""
    fitting = (
        number
        for number in group
        if column in (statement := migration.statements[number]) and (about is None or about.search(statement))
    )
    return next(fitting, group[0])


def line_numbers(statements: Sequence[str]) -> list[int]:
    """The line, from 0 as squawk counts, at which each statement begins when they follow each other."""
    starts, line = [], 0
    for statement in statements:
        starts.append(line)
        line += statement.count("\n") + 1
    return starts


def statement_at(starts: Sequence[int], line: int) -> int:
    """The number of the statement that a line belongs to."""
    return max((number for number, start in enumerate(starts) if start <= line), default=0)
