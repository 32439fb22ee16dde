"""The verdicts on what three releases of AMY do to the tables of the one before, on a real database.

The operations are those of AMY's and its dependencies' migrations, under their numbers; the verdicts are what became
of the old code when it ran on the new schema.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import pytest
from amy_data import describe_terms, fill_terms, forget_tokens, involve, rename_contribution, rename_discussion
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_gate import (
    COMPATIBLE,
    CONFIRM,
    INCOMPATIBLE,
    SLOW,
)
from django.conf import settings
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterUniqueTogether,
    CreateModel,
    DeleteModel,
    Migration,
    RemoveField,
    RenameField,
    RunPython,
)
from django.db.migrations.writer import MigrationWriter
from django.db.models import (
    CASCADE,
    PROTECT,
    SET_NULL,
    AutoField,
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    EmailField,
    ForeignKey,
    Index,
    JSONField,
    ManyToManyField,
    PositiveIntegerField,
    Q,
    TextField,
    UniqueConstraint,
    URLField,
    UUIDField,
)

PLAYBOOK = Path(__file__).parent.parent / "judge_steps.yml"
EPHEMERAL = Path(os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY", ""))
ROOT = "/srv/steps"
# By step and by the migration's name.
Verdicts = dict[str, dict[str, dict[str, Any]]]

if not settings.configured:
    settings.configure()
    django.setup()


def text(**options: Any) -> CharField:
    return CharField(max_length=40, **options)


def model(name: str, *fields: tuple[str, Any], **options: Any) -> CreateModel:
    return CreateModel(name, [("id", AutoField(primary_key=True, serialize=False)), *fields], options)


def by_uuid(name: str, *fields: tuple[str, Any]) -> CreateModel:
    return CreateModel(name, [("id", UUIDField(primary_key=True, serialize=False)), *fields])


def to(target: str, **options: Any) -> ForeignKey:
    return ForeignKey(target, options.pop("on_delete", PROTECT), **options)


def required(kind: Callable[..., Any] = text, default: object = "", **options: Any) -> Any:
    """A field whose column must not be null and has, once the migration is applied, no default."""
    return kind(default=default, **options)


# The code that serves first: its schema is there before anything is judged.
BASE: dict[str, tuple[Any, ...]] = {
    "workshops.0254": (
        model("Event", ("slug", text())),
        model(
            "Person",
            ("username", text()),
            ("data_privacy_agreement", required(BooleanField, False)),
            ("lesson_publication_consent", required()),
            ("may_contact", required(BooleanField, True)),
            ("publish_profile", required(BooleanField, False)),
        ),
        model("Organization", ("affiliated_organizations", ManyToManyField("workshops.Organization"))),
        model("Membership", ("variant", text()), ("agreement_link", required(URLField))),
        model("TrainingRequirement", ("name", text()), ("url_required", required(BooleanField, False))),
        model(
            "TrainingProgress",
            ("trainee", to("workshops.Person", related_name="+")),
            ("evaluated_by", to("workshops.Person", null=True, related_name="+")),
            ("requirement", to("workshops.TrainingRequirement")),
            ("event", to("workshops.Event", null=True)),
            ("discarded", required(BooleanField, False)),
        ),
        model(
            "TrainingRequest",
            ("family", text()),
            ("group_name", required()),
            ("underrepresented_details", required()),
            ("training_completion_agreement", required(BooleanField, False)),
            ("workshop_teaching_agreement", required(BooleanField, False)),
            ("teaching_frequency_expectation", text(default="yearly")),
            ("nonprofit_teaching_experience", text(null=True)),
            ("previous_experience_explanation", TextField(null=True)),
            ("previous_training_explanation", TextField(null=True)),
        ),
        model("WorkshopRequest", ("number_attendees", text()), ("administrative_fee", text())),
    ),
    "consents.0006": (
        model("Term", ("slug", text())),
        model("TermOption", ("term", to("consents.Term"))),
    ),
    "extrequests.0030": (
        model("SelfOrganisedSubmission", ("email", text())),
        model("WorkshopInquiryRequest", ("number_attendees", text()), ("administrative_fee", text())),
    ),
}

# For each step the migrations: the verdict, and the operations that it is about. Renamed rows ("meaning") and a unique
# constraint ("data") are for a person to confirm.
STEPS: dict[str, dict[str, tuple[Any, ...]]] = {
    "4.0.9 to 4.1.2": {
        "workshops.0255": (
            COMPATIBLE,
            AlterField("trainingrequest", "family", text(blank=True)),
            AlterField("trainingrequest", "underrepresented_details", required(help_text="optional")),
        ),
        "workshops.0256": (
            INCOMPATIBLE,
            RemoveField("person", "data_privacy_agreement"),
            RemoveField("person", "lesson_publication_consent"),
            RemoveField("person", "may_contact"),
            RemoveField("person", "publish_profile"),
        ),
        "workshops.0257": (COMPATIBLE, AlterField("membership", "variant", text(choices=[("gold", "Gold")]))),
        "consents.0007": (
            INCOMPATIBLE,
            AddField("term", "short_description", required(), preserve_default=False),
            RunPython(describe_terms, RunPython.noop),
        ),
        "consents.0008": (
            COMPATIBLE,
            model(
                "TrainingRequestConsent",
                ("archived_at", DateTimeField(null=True)),
                ("term", to("consents.term")),
                ("term_option", to("consents.termoption", null=True)),
                ("training_request", to("workshops.trainingrequest", on_delete=CASCADE)),
            ),
            AddConstraint(
                "trainingrequestconsent",
                UniqueConstraint(
                    fields=["training_request", "term"], condition=Q(archived_at__isnull=True), name="one_active"
                ),
            ),
        ),
        "consents.0009": (
            INCOMPATIBLE,
            AddField("term", "training_request_content", TextField(blank=True)),
            RunPython(fill_terms, RunPython.noop),
        ),
        "django_rq.0001": (COMPATIBLE, model("Queue", managed=False, default_permissions=())),
    },
    "4.1.2 to 4.2.0": {
        "workshops.0258": (
            INCOMPATIBLE,
            RemoveField("trainingprogress", "evaluated_by"),
            RemoveField("trainingprogress", "discarded"),
        ),
        "workshops.0259": (CONFIRM, RunPython(rename_discussion, RunPython.noop)),
        "workshops.0260": (
            INCOMPATIBLE,
            AddField("trainingprogress", "date", DateField(null=True)),
            AddField("trainingprogress", "involvement_type", to("trainings.involvement", null=True)),
            AddField("trainingrequirement", "involvement_required", required(BooleanField, False)),
            AddField("trainingprogress", "trainee_notes", required()),
        ),
        "workshops.0261": (
            CONFIRM,
            RunPython(involve, RunPython.noop),
            RunPython(rename_contribution, RunPython.noop),
        ),
        "workshops.0262": (
            COMPATIBLE,
            AlterField(
                "trainingrequest",
                "training_completion_agreement",
                required(BooleanField, False, verbose_name="I agree"),
            ),
        ),
        "trainings.0001": (
            COMPATIBLE,
            model("Involvement", ("name", text(unique=True)), ("url_required", required(BooleanField, False))),
        ),
        "emails.0001": (
            COMPATIBLE,
            by_uuid(
                "EmailTemplate",
                ("signal", text(unique=True)),
                ("cc", EmailField(max_length=254)),
                ("bcc_header", EmailField(max_length=255)),
            ),
            by_uuid(
                "ScheduledEmail",
                ("state", text()),
                ("scheduled_at", DateTimeField()),
                ("template", to("emails.emailtemplate", on_delete=SET_NULL, null=True)),
            ),
            by_uuid("ScheduledEmailLog", ("scheduled_email", to("emails.scheduledemail", on_delete=CASCADE))),
            AddIndex("scheduledemail", Index(fields=["state", "scheduled_at"], name="emails_state_idx")),
        ),
        "emails.0002": (
            COMPATIBLE,
            AddField("scheduledemail", "content_type", to("contenttypes.contenttype", on_delete=SET_NULL, null=True)),
            AddField("scheduledemail", "generic_relation_pk", PositiveIntegerField(null=True)),
        ),
        "emails.0003": (
            COMPATIBLE,
            AlterField("emailtemplate", "bcc_header", EmailField(max_length=254, blank=True)),
            AlterField("emailtemplate", "cc", EmailField(max_length=254, blank=True)),
        ),
    },
    "4.2.0 to 4.3.0": {
        "workshops.0263": (
            INCOMPATIBLE,
            AlterField("workshoprequest", "number_attendees", required()),
            RemoveField("workshoprequest", "number_attendees"),
        ),
        "workshops.0264": (
            CONFIRM,
            AddConstraint("trainingprogress", UniqueConstraint(fields=["trainee", "event"], name="one_at_event")),
        ),
        "workshops.0265": (
            INCOMPATIBLE,
            RemoveField("trainingrequest", "training_completion_agreement"),
            RemoveField("trainingrequest", "workshop_teaching_agreement"),
            AddField("trainingrequest", "checkout_intent", required(default="unsure")),
            AddField("trainingrequest", "teaching_intent", required(default="unsure")),
            AlterField("trainingrequest", "teaching_frequency_expectation", text(default="not-at-all")),
        ),
        "workshops.0266": (
            INCOMPATIBLE,
            AddField("workshoprequest", "member_code", required()),
            RenameField("trainingrequest", "group_name", "member_code"),
            AddField("trainingrequest", "member_code_override", required(BooleanField, False)),
        ),
        "workshops.0267": (
            INCOMPATIBLE,
            AlterField("trainingrequest", "nonprofit_teaching_experience", required()),
            AlterField("trainingrequest", "previous_experience_explanation", required(TextField)),
            AlterField("trainingrequest", "previous_training_explanation", required(TextField)),
        ),
        "workshops.0268": (INCOMPATIBLE, AddField("trainingrequest", "eventbrite_url", required(URLField))),
        "workshops.0269": (
            COMPATIBLE,
            AlterField("membership", "agreement_link", required(URLField, help_text="Link")),
        ),
        "workshops.0270": (
            COMPATIBLE,
            AlterField(
                "organization", "affiliated_organizations", ManyToManyField("workshops.Organization", blank=True)
            ),
        ),
        "workshops.0271": (
            COMPATIBLE,
            AlterField("workshoprequest", "administrative_fee", text(choices=[("member", "Member")])),
        ),
        "emails.0004": (
            SLOW,
            AddField("scheduledemaillog", "author", to("workshops.person", on_delete=SET_NULL, null=True)),
        ),
        "emails.0005": (
            INCOMPATIBLE,
            AddField("scheduledemail", "context_json", JSONField(default=dict)),
            AddField("scheduledemail", "to_header_context_json", JSONField(default=list)),
        ),
        "emails.0006": (COMPATIBLE, AlterField("emailtemplate", "signal", text(unique=True, help_text="Jinja2"))),
        "extrequests.0031": (INCOMPATIBLE, RemoveField("workshopinquiryrequest", "number_attendees")),
        "extrequests.0032": (
            INCOMPATIBLE,
            AddField("selforganisedsubmission", "member_affiliation", required(default="no")),
            AddField("selforganisedsubmission", "member_code", required()),
            AddField("workshopinquiryrequest", "member_affiliation", required(default="no")),
            AddField("workshopinquiryrequest", "member_code", required()),
        ),
        "extrequests.0033": (
            COMPATIBLE,
            RemoveField("selforganisedsubmission", "member_affiliation"),
            RemoveField("workshopinquiryrequest", "member_affiliation"),
        ),
        "extrequests.0034": (
            COMPATIBLE,
            AlterField("workshopinquiryrequest", "administrative_fee", text(choices=[("member", "Member")])),
        ),
        "knox.0001": (
            COMPATIBLE,
            CreateModel("AuthToken", [("key", text(primary_key=True)), ("user", to("workshops.person"))]),
        ),
        "knox.0002": (
            COMPATIBLE,
            DeleteModel("AuthToken"),
            CreateModel(
                "AuthToken",
                [("digest", text(primary_key=True)), ("salt", text(unique=True)), ("user", to("workshops.person"))],
            ),
        ),
        "knox.0003": (COMPATIBLE, AlterField("authtoken", "digest", CharField(max_length=128, primary_key=True))),
        "knox.0004": (COMPATIBLE, AddField("authtoken", "expires", DateTimeField(null=True))),
        "knox.0005": (COMPATIBLE, AddField("authtoken", "token_key", text(db_index=True, null=True))),
        "knox.0006": (
            COMPATIBLE,
            RunPython(forget_tokens),
            AlterField("authtoken", "token_key", required(db_index=True), preserve_default=False),
        ),
        "knox.0007": (COMPATIBLE, RenameField("authtoken", "expires", "expiry")),
        "knox.0008": (COMPATIBLE, RemoveField("authtoken", "salt")),
        "flags.0012": (
            COMPATIBLE,
            model("FlagState", ("name", text()), ("condition", text()), ("value", text())),
            AlterUniqueTogether("flagstate", {("name", "condition", "value")}),
        ),
        "flags.0013": (COMPATIBLE, AddField("flagstate", "required", required(BooleanField, False))),
    },
}
# What a migration needs of other applications, beside the one before it.
AFTER = {
    "consents.0008": ["workshops.0256"],
    "workshops.0260": ["trainings.0001"],
    "emails.0002": ["contenttypes.0002_remove_content_type_name"],
    "emails.0004": ["workshops.0254"],
    "knox.0001": ["workshops.0254"],
}

MANAGE = """\
import os
import sys

import dj_database_url
from django.conf import settings
from django.core.management import execute_from_command_line

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", *{applications}],
    DATABASES={{"default": {{**dj_database_url.parse(os.environ["DATABASE_URL"]), "NAME": "steps"}}}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
execute_from_command_line(sys.argv)
"""


def migration(name: str, before: str | None, operations: tuple[Any, ...]) -> str:
    """The text of a migration's module. ``before``: the number of the one before it, in the same application."""
    application, _dot, number = name.partition(".")
    written = Migration(number, application)
    written.operations = list(operations)
    needs = [*([f"{application}.{before}"] if before else []), *AFTER.get(name, [])]
    written.dependencies = [tuple(each.split(".")) for each in needs]
    return str(MigrationWriter(written, include_header=False).as_string())


def tree(migrations: dict[str, tuple[Any, ...]]) -> dict[str, str]:
    """The files of a release that has these migrations."""
    applications: dict[str, list[str]] = {}
    for name in sorted(migrations):
        application, _dot, number = name.partition(".")
        applications.setdefault(application, []).append(number)
    files = {
        "RELEASE.json": "{}",
        "manage.py": MANAGE.format(applications=sorted(applications)),
        "amy_data.py": (Path(__file__).parent / "amy_data.py").read_text(),
    }
    for application, numbers in applications.items():
        files |= {f"{application}/__init__.py": "", f"{application}/migrations/__init__.py": ""}
        for before, number in zip([None, *numbers], numbers, strict=False):
            name = f"{application}.{number}"
            files[f"{application}/migrations/{number}.py"] = migration(name, before, migrations[name])
    return files


def releases() -> dict[str, dict[str, str]]:
    """The files of each release, by its step's name; of the code that serves first, by `base`."""
    known = dict(BASE)
    trees = {"base": tree(known)}
    for step, cases in STEPS.items():
        known |= {name: operations for name, (_verdict, *operations) in cases.items()}
        trees[step] = tree(known)
    return trees


def pack(archive: Path, staged: dict[str, Any]) -> None:
    """Write all releases, with the Python and the environment of one that is staged."""
    home = "/webapps/amy.example.org"
    with tarfile.open(archive, "w") as packed:

        def link(name: str, target: str) -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            packed.addfile(entry)

        link("environments", f"{home}/environments")
        for step, files in releases().items():
            link(f"releases/{step}/.venv", f"{home}/releases/{staged['releases']['v1']}/.venv")
            for name, content in files.items():
                entry = tarfile.TarInfo(f"releases/{step}/{name}")
                entry.size = len(content.encode())
                packed.addfile(entry, io.BytesIO(content.encode()))


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """What the role said of each migration, by step and name; each step was applied before the next was judged."""
    archive = tmp_path_factory.mktemp("steps") / "releases.tar"
    answers = archive.with_name("verdicts.json")
    pack(archive, json.loads((EPHEMERAL / "releases.json").read_text()))
    variables = {"steps": list(STEPS), "steps_archive": str(archive), "steps_answers": str(answers), "steps_root": ROOT}
    run = subprocess.run(
        [
            "ansible-playbook",
            f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
            f"--extra-vars={json.dumps(variables)}",
            str(PLAYBOOK),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    said = json.loads(answers.read_text())
    return {step: {verdict["migration"]: verdict for verdict in found} for step, found in zip(STEPS, said, strict=True)}


@pytest.mark.parametrize(("step", "name"), [(step, name) for step, cases in STEPS.items() for name in cases])
def test_the_verdict_is_what_became_of_the_old_code(verdicts: Verdicts, step: str, name: str) -> None:
    verdict = verdicts[step][name]
    assert verdict["level"] == STEPS[step][name][0], verdict


@pytest.mark.parametrize("step", STEPS)
def test_every_pending_migration_of_a_step_and_no_other_is_judged(verdicts: Verdicts, step: str) -> None:
    assert set(verdicts[step]) == set(STEPS[step])


@pytest.mark.parametrize("step", STEPS)
def test_what_is_harmless_has_no_reason_against_it(verdicts: Verdicts, step: str) -> None:
    found = {name: verdict["reasons"] for name, verdict in verdicts[step].items() if verdict["level"] == COMPATIBLE}
    assert not any(found.values()), found
