"""The gate's verdicts on what AMY's migrations of 2023 and 2024 do to its tables, with the real linters.

Each case is the SQL that Django writes for one migration, shortened to one statement of a kind; the verdicts are what
became of the old code when it was run on the new schema.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, run_here
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_gate import (
    COMPATIBLE,
    CONFIRM,
    INCOMPATIBLE,
    MARK,
    SLOW,
    Migration,
    Verdict,
    absent,
    judge,
    parsed_pending,
    printed_pending,
    refusal,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_linters import (
    Linters,
    line_numbers,
    statement_at,
)

ENVIRONMENT = Path(sys.prefix)


def migration(name: str, *statements: str, operations: tuple[str, ...] = ("AddField",)) -> Migration:
    app, _dot, rest = name.partition(".")
    return Migration(app, rest, operations, statements)


def drop(table: str, column: str) -> str:
    return f'ALTER TABLE "{table}" DROP COLUMN "{column}" CASCADE;'


def require(table: str, column: str, kind: str = "varchar(255)", default: str = "''") -> tuple[str, str]:
    """A column that must not be null, whose default Django drops right away."""
    return (
        f'ALTER TABLE "{table}" ADD COLUMN "{column}" {kind} DEFAULT {default} NOT NULL;',
        f'ALTER TABLE "{table}" ALTER COLUMN "{column}" DROP DEFAULT;',
    )


def create(table: str, *columns: str) -> str:
    return f'CREATE TABLE "{table}" ("id" integer NOT NULL PRIMARY KEY{"".join(f", {each}" for each in columns)});'


def reference(table: str, column: str, other: str) -> str:
    return (
        f'ALTER TABLE "{table}" ADD COLUMN "{column}" integer NULL CONSTRAINT "{column}_fk" REFERENCES "{other}"("id") '
        f'DEFERRABLE INITIALLY DEFERRED; SET CONSTRAINTS "{column}_fk" IMMEDIATE;'
    )


def index(table: str, column: str) -> str:
    return f'CREATE INDEX "{table}_{column}_idx" ON "{table}" ("{column}");'


def not_null(table: str, column: str) -> tuple[str, ...]:
    return (
        f'UPDATE "{table}" SET "{column}" = \'\' WHERE "{column}" IS NULL; SET CONSTRAINTS ALL IMMEDIATE;',
        f'ALTER TABLE "{table}" ALTER COLUMN "{column}" SET NOT NULL;',
        f'ALTER TABLE "{table}" ALTER COLUMN "{column}" DROP DEFAULT;',
    )


# For each step the migrations in their order, and what each of them is for the code that runs.
STEPS: dict[str, list[tuple[Migration, str]]] = {
    "4.0.9 to 4.1.2": [
        (migration("workshops.0255", operations=("AlterField",)), COMPATIBLE),
        (migration("workshops.0256", drop("workshops_person", "may_contact")), INCOMPATIBLE),
        (
            migration("consents.0007", *require("consents_term", "short"), operations=("AddField", "RunPython")),
            INCOMPATIBLE,
        ),
        (
            migration(
                "consents.0008",
                create("consents_trainingrequestconsent", '"term_id" integer NOT NULL'),
                'CREATE UNIQUE INDEX "active" ON "consents_trainingrequestconsent" ("term_id");',
                'ALTER TABLE "consents_trainingrequestconsent" ADD CONSTRAINT "term_fk" FOREIGN KEY ("term_id") '
                'REFERENCES "consents_term" ("id") DEFERRABLE INITIALLY DEFERRED;',
                index("consents_trainingrequestconsent", "term_id"),
            ),
            COMPATIBLE,
        ),
        (
            migration("consents.0009", *require("consents_term", "content"), operations=("AddField", "RunPython")),
            INCOMPATIBLE,
        ),
        (migration("django_rq.0001", operations=("CreateModel",)), COMPATIBLE),
        (migration("workshops.0257", operations=("AlterField",)), COMPATIBLE),
    ],
    "4.1.2 to 4.2.0": [
        (migration("emails.0001", create("emails_emailtemplate"), create("emails_scheduledemail")), COMPATIBLE),
        (
            migration(
                "emails.0002",
                reference("emails_scheduledemail", "template_id", "emails_emailtemplate"),
                index("emails_scheduledemail", "template_id"),
            ),
            COMPATIBLE,
        ),
        (
            migration(
                "emails.0003",
                'ALTER TABLE "emails_emailtemplate" ALTER COLUMN "bcc_header" TYPE varchar(254)[] '
                'USING "bcc_header"::varchar(254)[];',
            ),
            COMPATIBLE,
        ),
        (migration("trainings.0001", create("trainings_involvement"), index("trainings_involvement", "n")), COMPATIBLE),
        (
            migration(
                "workshops.0258",
                'SET CONSTRAINTS "evaluated_by_fk" IMMEDIATE; ALTER TABLE "workshops_trainingprogress" '
                'DROP CONSTRAINT "evaluated_by_fk";',
                drop("workshops_trainingprogress", "evaluated_by_id"),
            ),
            INCOMPATIBLE,
        ),
        (migration("workshops.0259", operations=("RunPython",)), CONFIRM),
        (
            migration(
                "workshops.0260",
                reference("workshops_trainingprogress", "involvement_type_id", "trainings_involvement"),
                *require("workshops_trainingrequirement", "involvement_required", "boolean", "false"),
                *require("workshops_trainingprogress", "trainee_notes"),
                index("workshops_trainingprogress", "involvement_type_id"),
            ),
            INCOMPATIBLE,
        ),
        (migration("workshops.0261", operations=("RunPython", "RunPython")), CONFIRM),
        (migration("workshops.0262", operations=("AlterField",)), COMPATIBLE),
    ],
    "4.2.0 to 4.3.0": [
        (
            migration(
                "emails.0004",
                reference("emails_scheduledemaillog", "author_id", "workshops_person"),
                index("emails_scheduledemaillog", "author_id"),
            ),
            SLOW,
        ),
        (migration("emails.0005", *require("emails_scheduledemail", "context_json", "text")), INCOMPATIBLE),
        (migration("extrequests.0031", drop("extrequests_inquiry", "number_attendees")), INCOMPATIBLE),
        (migration("extrequests.0032", *require("extrequests_inquiry", "member_affiliation")), INCOMPATIBLE),
        (migration("extrequests.0033", drop("extrequests_inquiry", "member_affiliation")), COMPATIBLE),
        (
            migration(
                "flags.0012",
                create("flags_flagstate"),
                'ALTER TABLE "flags_flagstate" ADD CONSTRAINT "flag_uniq" UNIQUE ("name", "value");',
            ),
            COMPATIBLE,
        ),
        (migration("flags.0013", *require("flags_flagstate", "required", "boolean", "false")), COMPATIBLE),
        (migration("knox.0001", create("knox_authtoken")), COMPATIBLE),
        (migration("knox.0002", 'DROP TABLE "knox_authtoken" CASCADE;', create("knox_authtoken")), COMPATIBLE),
        (migration("knox.0007", 'ALTER TABLE "knox_authtoken" RENAME COLUMN "expires" TO "expiry";'), COMPATIBLE),
        (migration("knox.0008", drop("knox_authtoken", "salt")), COMPATIBLE),
        (migration("workshops.0263", drop("workshops_request", "number_attendees")), INCOMPATIBLE),
        (
            migration(
                "workshops.0264",
                'ALTER TABLE "workshops_trainingprogress" ADD CONSTRAINT "once" UNIQUE ("trainee_id", "event_id");',
            ),
            CONFIRM,
        ),
        (
            migration(
                "workshops.0265",
                drop("workshops_trainingrequest", "training_completion_agreement"),
                *require("workshops_trainingrequest", "checkin_agreement"),
            ),
            INCOMPATIBLE,
        ),
        (
            migration(
                "workshops.0266",
                'ALTER TABLE "workshops_trainingrequest" RENAME COLUMN "group_name" TO "member_code";',
            ),
            INCOMPATIBLE,
        ),
        (migration("workshops.0267", *not_null("workshops_trainingrequest", "comment")), INCOMPATIBLE),
        (migration("workshops.0268", *require("workshops_trainingrequest", "eventbrite_url")), INCOMPATIBLE),
    ],
}


def judged(tmp_path: Path, *migrations: Migration) -> list[Verdict]:
    linters = Linters(run_here, ENVIRONMENT, tmp_path, "15")
    return judge(migrations, linters.findings(migrations))


@pytest.mark.parametrize("step", STEPS)
def test_the_verdict_is_what_became_of_the_old_code(tmp_path: Path, step: str) -> None:
    migrations = [case for case, _level in STEPS[step]]
    verdicts = {str(verdict.migration): verdict.level for verdict in judged(tmp_path, *migrations)}
    assert verdicts == {str(case): level for case, level in STEPS[step]}


def test_a_column_that_may_be_null_is_compatible(tmp_path: Path) -> None:
    (verdict,) = judged(tmp_path, migration("notes.0002", 'ALTER TABLE "note" ADD COLUMN "topic" varchar(40) NULL;'))
    assert (verdict.level, verdict.reasons) == (COMPATIBLE, ())


def test_what_is_done_to_a_table_before_the_step_creates_it_counts(tmp_path: Path) -> None:
    replaced = migration("notes.0002", 'DROP TABLE "note" CASCADE;', create("note"))
    assert judged(tmp_path, replaced)[0].level == INCOMPATIBLE


def test_a_table_that_the_step_created_is_its_own_under_a_new_name(tmp_path: Path) -> None:
    renamed = 'ALTER TABLE "draft" RENAME TO "note";'
    verdicts = judged(tmp_path, migration("a.1", create("draft")), migration("a.2", renamed, drop("note", "author")))
    assert [verdict.level for verdict in verdicts] == [COMPATIBLE, COMPATIBLE]


OWN = 'ALTER TABLE "note" ADD COLUMN "topic" integer NULL;'


def change(what: str) -> str:
    return f'ALTER TABLE "note" {what};'


@pytest.mark.parametrize(
    ("what", "level"),
    [
        ('RENAME COLUMN "topic" TO "subject"', COMPATIBLE),
        ('ALTER COLUMN "topic" DROP NOT NULL', COMPATIBLE),
        ('ALTER COLUMN "topic" TYPE bigint USING "topic"::bigint', SLOW),
        ('ALTER COLUMN "topic" SET NOT NULL', INCOMPATIBLE),
        ('RENAME COLUMN "author" TO "writer"', INCOMPATIBLE),
    ],
)
def test_what_becomes_of_a_column_that_the_step_added_matters_as_far_as_it_is_noticed(
    tmp_path: Path, what: str, level: str
) -> None:
    assert judged(tmp_path, migration("notes.0002", OWN, change(what)))[0].level == level


def test_a_column_that_the_step_added_is_its_own_under_a_new_name(tmp_path: Path) -> None:
    renamed = migration("notes.0003", change('RENAME COLUMN "topic" TO "subject"'))
    verdicts = judged(tmp_path, migration("notes.0002", OWN), renamed, migration("notes.0004", drop("note", "subject")))
    assert [verdict.level for verdict in verdicts] == [COMPATIBLE] * 3


def test_an_index_that_is_dropped_is_harmless_on_a_table_of_the_step_alone(tmp_path: Path) -> None:
    made = create("draft"), index("draft", "author"), 'DROP INDEX IF EXISTS "draft_author_idx";'
    assert judged(tmp_path, migration("notes.0002", *made))[0].level == COMPATIBLE
    known = index("note", "author"), 'DROP INDEX IF EXISTS "note_author_idx";'
    assert judged(tmp_path, migration("notes.0002", *known))[0].level == SLOW


UNIQUE = 'ALTER TABLE "note" ADD COLUMN "place_id" integer NULL UNIQUE CONSTRAINT "f" REFERENCES "place"("id");'


def test_a_unique_column_that_stays_empty_only_takes_time(tmp_path: Path) -> None:
    assert judged(tmp_path, migration("notes.0002", UNIQUE))[0].level == SLOW
    defaulted = 'ALTER TABLE "note" ADD COLUMN "code" varchar(4) DEFAULT \'x\' UNIQUE;'
    assert judged(tmp_path, migration("notes.0002", defaulted))[0].level == CONFIRM


def test_a_unique_column_hides_no_unique_index_after_it(tmp_path: Path) -> None:
    conditional = 'CREATE UNIQUE INDEX "once" ON "note" ("author") WHERE "draft";'
    (verdict,) = judged(tmp_path, migration("notes.0002", UNIQUE, conditional))
    assert (verdict.level, verdict.reasons[0]) == (CONFIRM, f"ADD_UNIQUE: {conditional}")


@pytest.mark.parametrize("constraint", ['CHECK ("n" > 0)', 'FOREIGN KEY ("n") REFERENCES "place" ("id")'])
def test_a_constraint_on_what_the_old_code_writes_is_for_a_person_to_confirm(tmp_path: Path, constraint: str) -> None:
    (verdict,) = judged(tmp_path, migration("notes.0002", change(f'ADD CONSTRAINT "c" {constraint}')))
    assert verdict.level == CONFIRM


@pytest.mark.parametrize(
    ("reached", "level"),
    [
        ([("draft",)], COMPATIBLE),
        ([()], COMPATIBLE),
        ([("draft", "note")], CONFIRM),
        ([("draft",), None], CONFIRM),
        ([], CONFIRM),
    ],
)
def test_python_is_for_a_person_to_confirm_unless_it_only_reaches_what_the_step_created(
    tmp_path: Path, reached: list[tuple[str, ...] | None], level: str
) -> None:
    filled = Migration("notes", "0002", ("RunPython",) * (len(reached) or 1), (create("draft"),), tuple(reached))
    assert judged(tmp_path, filled)[0].level == level


def test_sql_that_was_written_by_hand_is_for_a_person_to_confirm(tmp_path: Path) -> None:
    (verdict,) = judged(tmp_path, migration("notes.0003", "VACUUM;", operations=("RunSQL",)))
    assert verdict.level == CONFIRM
    assert verdict.reasons[0].startswith("RunSQL")


def test_a_migration_that_no_release_shows_is_for_a_person_to_confirm(tmp_path: Path) -> None:
    (unseen,) = parsed_pending([absent("notes", "0003")])
    verdicts = judged(tmp_path, unseen)
    assert "notes.0003 confirm\n    Absent from every release" in refusal(verdicts, [], applied=True)
    assert refusal(verdicts, ["notes.0003"], applied=True) == ""


def test_a_reason_names_the_rule_and_the_statement(tmp_path: Path) -> None:
    (verdict,) = judged(tmp_path, migration("notes.0003", *require("note", "topic"), drop("note", "author")))
    assert f"DROP_COLUMN: {drop('note', 'author')}" in verdict.reasons
    assert f"ban-drop-column: {drop('note', 'author')}" in verdict.reasons
    assert f"NOT_NULL: {require('note', 'topic')[0]}" in verdict.reasons


def verdict(name: str, level: str) -> Verdict:
    return Verdict(migration(name), level, ("a rule: a statement",))


def test_slow_and_compatible_ones_pass() -> None:
    assert refusal([verdict("a.1", COMPATIBLE), verdict("a.2", SLOW)], []) == ""


def test_a_refusal_names_migrations_reasons_and_the_ways_through() -> None:
    text = refusal([verdict("a.1", COMPATIBLE), verdict("a.2", CONFIRM), verdict("a.3", INCOMPATIBLE)], ["a.2"])
    assert text.startswith("1 of 3 pending migrations")
    assert "  a.3 incompatible\n    a rule: a statement" in text
    assert "deploy_maintenance=true" in text
    assert "migration_gate_allowed: [a.3]" in text


def test_what_a_person_confirmed_passes() -> None:
    assert refusal([verdict("a.2", CONFIRM), verdict("a.3", INCOMPATIBLE)], ["a.2", "a.3"]) == ""


ROW: dict[str, Any] = {
    "app": "notes",
    "name": "0002",
    "operations": ["AddField", "RunPython", "RunPython"],
    "python": [["note"], None],
    "sql": ["BEGIN;", "--", " X;", "COMMIT;"],
}


def test_pending_migrations_are_found_among_what_a_shell_prints() -> None:
    output = f"9 objects imported automatically\n{MARK}{json.dumps([ROW])}\n"
    assert parsed_pending(printed_pending(output)) == [
        Migration("notes", "0002", ("AddField", "RunPython", "RunPython"), ("X;",), (("note",), None))
    ]


def test_a_shell_that_prints_no_list_is_shown() -> None:
    with pytest.raises(WebappsError, match="migration_gate_shell_command"):
        printed_pending("Unknown command: 'shell'\n")


def test_something_else_than_a_list_of_migrations_is_refused() -> None:
    with pytest.raises(WebappsError, match="cannot be read"):
        parsed_pending([{"app": "notes"}])


@pytest.mark.parametrize("broken", ["python", "squawk"])
def test_a_linter_that_does_not_judge_is_named(tmp_path: Path, broken: str) -> None:
    def run(command: list[str], **_options: object) -> Finished:
        return Finished(127, "", "no such program") if command[0].endswith(broken) else run_here(command)

    linters = Linters(run, ENVIRONMENT, tmp_path, "15")  # type: ignore[arg-type]
    with pytest.raises(WebappsError, match=r"did not judge the pending migrations: no such program\n.*site\.yml"):
        linters.findings([migration("notes.0002", drop("note", "author"))])


def test_lines_belong_to_the_statement_that_began_before_them() -> None:
    starts = line_numbers(["one;", "two\nlines;", "three;"])
    assert [statement_at(starts, line) for line in range(4)] == [0, 1, 1, 2]
