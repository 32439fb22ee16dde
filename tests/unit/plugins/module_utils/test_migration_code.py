"""What a data migration can reach is told from its text, and where that leaves a doubt it is not told."""

from __future__ import annotations

import inspect

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_code import named_models
from django.db.migrations import RunPython


def code(*lines: str, head: str = "def forward(apps, schema_editor):") -> str:
    return "\n".join([head, *(f"    {line}" for line in lines)])


def test_models_are_named_by_literals() -> None:
    source = code(
        'Token = apps.get_model("knox", "AuthToken")',
        'Person = apps.get_model("workshops.Person")',
        "for token in Token.objects.filter(key__isnull=True):",
        "    print(len(str(token)))",
        "    token.delete()",
    )
    assert named_models(source) == [["knox", "AuthToken"], ["workshops", "Person"]]


def test_a_function_of_a_class_is_read_too() -> None:
    assert named_models(f"    @staticmethod\n    {code('    return None')}") == []


def test_djangos_function_that_does_nothing_reaches_nothing() -> None:
    assert named_models(inspect.getsource(RunPython.noop)) == []


@pytest.mark.parametrize(
    "line",
    [
        "schema_editor.execute('DELETE FROM note')",
        "helper(apps)",
        "helper()",
        "Note.objects.all().delete()",
        'apps.get_model(LABEL, "Note")',
        'apps.get_model("notes", model_name="Note")',
        'apps.get_model("Note")',
        "apps.get_models()",
        "models = apps",
        'apps.get_model("notes", "Note")._meta.apps.get_models()',
        'apps.get_model("notes", "Note").objects.raw("DELETE FROM note")',
        'apps.get_model("knox", "AuthToken").objects.first().user.save()',
        'apps.get_model("knox", "AuthToken").objects.first().groups.clear()',
        'apps.get_model("notes", "Note").objects.extra(where=["1"])',
        'getattr(apps, "get_models")()',
        "from notes.models import Note",
        "import notes",
        "global note",
        "def inner(): pass",
        "[helper for helper_ in ()]",
    ],
)
def test_what_may_reach_others_is_not_told(line: str) -> None:
    assert named_models(code(line)) is None


@pytest.mark.parametrize(
    "head",
    [
        "def forward(apps, schema_editor, helper=helper):",
        "def forward(apps, *rest):",
        "def forward(apps, schema_editor, **rest):",
        "def forward(apps):",
        "@wrapped\ndef forward(apps, schema_editor):",
        "async def forward(apps, schema_editor):",
        "forward = lambda apps, schema_editor: (",
    ],
)
def test_another_function_than_the_plain_one_is_not_read(head: str) -> None:
    assert named_models(code("return None", head=head)) is None
