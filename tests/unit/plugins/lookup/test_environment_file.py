"""An environment is read from a file on the controller; what is wrong is told by variable, path and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.carpentries.webapps.plugins.lookup.environment_file import LookupModule


@pytest.fixture
def lookup() -> LookupModule:
    return LookupModule(loader=DataLoader())


def test_a_file_of_assignments_is_a_dictionary(lookup: LookupModule, tmp_path: Path) -> None:
    path = tmp_path / "environment"
    path.write_text("# comment\nA=1\nB='two words'\n")
    assert lookup.run([str(path)]) == [{"A": "1", "B": "two words"}]


@pytest.mark.parametrize("name", ["environment.yml", "environment.yaml"])
def test_a_yaml_file_is_a_dictionary(lookup: LookupModule, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("A: 1\nB: two words\nC: false\n")
    assert lookup.run([str(path)]) == [{"A": 1, "B": "two words", "C": False}]


def test_no_file_and_an_empty_one_are_an_empty_dictionary(lookup: LookupModule, tmp_path: Path) -> None:
    (tmp_path / "empty.yml").touch()
    assert lookup.run(["", str(tmp_path / "empty.yml")]) == [{}, {}]


def test_a_missing_file_is_told_by_variable_and_path(lookup: LookupModule) -> None:
    with pytest.raises(AnsibleLookupError, match=r"app_release_environment_file is /nowhere/env, and there is no file"):
        lookup.run(["/nowhere/env"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("environment", "A=1\ncanary\n", "line 2 is no NAME=value"),
        ("environment.yml", "A: 1\n- canary\n", "line 2 is no YAML"),
        ("environment.yml", "- canary\n", "no dictionary"),
        ("environment.yml", "canary", "no dictionary"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_line_and_without_values(
    lookup: LookupModule, tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(AnsibleLookupError, match="app_release_environment_file") as failure:
        lookup.run([str(path)])
    assert message in str(failure.value)
    assert "canary" not in str(failure.value)
