"""What the data migrations of test_amy_steps.py do; it is part of the judged releases."""

from __future__ import annotations

from typing import Any


def describe_terms(apps: Any, schema_editor: Any) -> None:
    apps.get_model("consents", "Term").objects.update(short_description="described")


def fill_terms(apps: Any, schema_editor: Any) -> None:
    apps.get_model("consents", "Term").objects.update(training_request_content="content")


def rename_discussion(apps: Any, schema_editor: Any) -> None:
    apps.get_model("workshops", "TrainingRequirement").objects.filter(name="Discussion").update(name="Welcome Session")


def involve(apps: Any, schema_editor: Any) -> None:
    involvement = apps.get_model("trainings", "Involvement").objects.create(name="GitHub Contribution")
    progress = apps.get_model("workshops", "TrainingProgress").objects
    progress.filter(requirement__name="Lesson Contribution").update(involvement_type=involvement)


def rename_contribution(apps: Any, schema_editor: Any) -> None:
    requirements = apps.get_model("workshops", "TrainingRequirement").objects
    requirements.filter(name="Lesson Contribution").update(name="Get Involved", involvement_required=True)


def forget_tokens(apps: Any, schema_editor: Any) -> None:
    tokens = apps.get_model("knox", "AuthToken")
    tokens.objects.filter(token_key__isnull=True).delete()
