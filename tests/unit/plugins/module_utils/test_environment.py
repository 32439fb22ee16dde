"""A shell reads back exactly what was given, and no message shows a value."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.environment import (
    content,
    digest,
    is_current,
    parsed,
    problems,
    quoted,
    write,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from hypothesis import given, settings
from hypothesis import strategies as st

VALUES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30)


def read_by_shell(path: Path, name: str) -> str:
    script = f'set -a && . "$0" && set +a && exec printenv {name}'
    done = subprocess.run(["/bin/sh", "-c", script, path], capture_output=True, check=True, env={})
    return done.stdout.decode().removesuffix("\n")


@pytest.mark.parametrize(
    "value",
    ["plain", "two words", "$HOME `id` $(id)", "it's", 'a "quote"', "a\nb\n", "\\n", "#no", "", "ünïcode", "a=b"],
)
def test_a_shell_reads_the_value_back(tmp_path: Path, value: str) -> None:
    path = tmp_path / "environment"
    path.write_text(content({"A": value}))
    assert read_by_shell(path, "A") == value


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_a_shell_reads_any_text_back(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    path = tmp_path_factory.mktemp("env") / "environment"
    path.write_bytes(content({f"V{number}": value for number, value in enumerate(values)}).encode())
    for number, value in enumerate(values):
        assert read_by_shell(path, f"V{number}") == value


def test_numbers_and_truth_read_as_yaml_writes_them() -> None:
    assert content({"N": 5, "F": 1.5, "T": True, "D": False}) == "D='false'\nF='1.5'\nN='5'\nT='true'\n"


def test_the_order_of_variables_does_not_change_the_digest() -> None:
    assert digest(content({"A": "1", "B": "2"})) == digest(content({"B": "2", "A": "1"}))
    assert digest(content({"A": "1"})) != digest(content({"A": "2"}))
    assert len(digest("")) == 8


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (["A=1"], "must be a dictionary of names and values, not a list"),
        ({"1A": "x"}, '"1A" is no name'),
        ({"A-B": "x"}, '"A-B" is no name'),
        ({5: "x"}, '"5" is no name'),
        ({"A": None}, "The value of A is missing"),
        ({"A": ["x"]}, "The value of A is a list"),
        ({"A": {"b": "x"}}, "The value of A is a dict"),
        ({"A": "x\0y"}, "NUL"),
    ],
)
def test_what_cannot_be_an_environment_is_refused_by_name(variables: object, message: str) -> None:
    assert [found for found in problems(variables) if message in found]
    with pytest.raises(WebappsError, match="app_release_environment"):
        content(variables)  # type: ignore[arg-type]


def test_no_message_shows_a_value() -> None:
    found = problems({"1A": "secret", "B": ["secret"], "C": "secret\0"})
    assert len(found) == 3
    assert "secret" not in " ".join(found)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(WebappsError, match=r"A-B.*C-D"):
        content({"A-B": "1", "C-D": "2"})


def test_a_file_of_assignments_is_read() -> None:
    text = "# comment\n\nA=1\nexport B = two words \nC='quoted $x'\nD=\"double\"\nE=\nF=a=b#c\n  # indented\nG='\n"
    assert parsed(text) == {
        "A": "1",
        "B": "two words",
        "C": "quoted $x",
        "D": "double",
        "E": "",
        "F": "a=b#c",
        "G": "'",
    }


def test_a_line_that_is_no_assignment_is_refused_by_its_number_and_not_shown() -> None:
    with pytest.raises(WebappsError, match=r"line 2 is no NAME=value$"):
        parsed("A=1\nsecret\n")


@given(
    st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), st.from_regex(r"[ -&(-~]*", fullmatch=True))
)
def test_single_line_values_written_in_quotes_are_read_as_they_were(variables: dict[str, str]) -> None:
    assert parsed("".join(f"{name}={quoted(value)}\n" for name, value in variables.items())) == variables


def test_the_file_is_for_its_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "1a2b3c4d"
    write(path, "A='1'\n", os.getegid())
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert is_current(path, "A='1'\n", os.getegid())
    assert [file.name for file in tmp_path.iterdir()] == ["1a2b3c4d"]


def test_a_file_with_other_content_or_rights_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "1a2b3c4d"
    assert not is_current(path, "x", os.getegid())
    path.write_text("torn")
    assert not is_current(path, "x", os.getegid())
    write(path, "x", os.getegid())
    path.chmod(0o644)
    assert not is_current(path, "x", os.getegid())
