"""What a deploy would bring is told from the repository's server, and what nobody knows is said to be unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.release_changes import (
    Question,
    changes,
    migrations_of,
)

from tests.unit.plugins.release_support import commit, git, run

FIRST = "amy/workshops/migrations/0001_initial.py"
SECOND = "amy/workshops/migrations/0002_membership.py"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch", "main")
    commit(path, {"manage.py": "v1", FIRST: "1", "amy/workshops/migrations/__init__.py": ""}, "Begin")
    git(path, "tag", "v1")
    commit(path, {"manage.py": "v2"}, "Say hello")
    commit(path, {SECOND: "2", "amy/mail/migrations/__init__.py": ""}, "Store memberships")
    git(path, "tag", "v2")
    return path


def served_with_filter(repository: Path) -> Path:
    git(repository, "config", "uploadpack.allowFilter", "true")
    return repository


def ask(tmp_path: Path, repository: Path, live: str, target: str, limit: int = 50) -> dict[str, object]:
    place = tmp_path / "place"
    place.mkdir()
    question = Question(f"file://{repository}", target, live, limit, timeout=20)
    return changes(run, place, question)


def at(repository: Path, tag: str) -> str:
    return git(repository, "rev-parse", tag)


@pytest.mark.parametrize("filters", [True, False], ids=["a server that filters", "one that does not"])
def test_the_commits_and_migrations_between_two_releases_are_named(
    tmp_path: Path, repository: Path, filters: bool
) -> None:
    if filters:
        served_with_filter(repository)
    found = ask(tmp_path, repository, at(repository, "v1"), at(repository, "v2"))
    assert found["known"]
    assert [line.split(maxsplit=1)[1] for line in found["commits"]] == ["Store memberships", "Say hello"]  # type: ignore[attr-defined]
    assert (found["commits_count"], found["dropped_count"]) == (2, 0)
    assert found["migrations"] == [{"app": "workshops", "name": "0002_membership", "path": SECOND}]
    assert found["migrations_removed"] == []


def test_a_server_that_filters_sends_no_file(tmp_path: Path, repository: Path) -> None:
    ask(tmp_path, served_with_filter(repository), at(repository, "v1"), at(repository, "v2"))
    for name in ("history", "trees"):
        listing = git(tmp_path / "place" / name, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")
        assert "blob" not in listing
    assert "tree" not in git(
        tmp_path / "place" / "history", "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"
    )


def test_the_way_back_names_what_would_be_gone(tmp_path: Path, repository: Path) -> None:
    found = ask(tmp_path, repository, at(repository, "v2"), at(repository, "v1"))
    assert (found["commits"], found["commits_count"], found["dropped_count"]) == ([], 0, 2)
    assert found["migrations_removed"] == [{"app": "workshops", "name": "0002_membership", "path": SECOND}]


def test_only_so_many_commits_are_named_and_all_are_counted(tmp_path: Path, repository: Path) -> None:
    found = ask(tmp_path, repository, at(repository, "v1"), at(repository, "v2"), limit=1)
    assert (len(found["commits"]), found["commits_count"]) == (1, 2)  # type: ignore[arg-type]


def test_the_same_commit_needs_no_server(tmp_path: Path) -> None:
    found = ask(tmp_path, tmp_path / "nowhere", "1" * 40, "1" * 40)
    assert (found["known"], found["commits_count"]) == (True, 0)


def test_a_live_commit_that_nobody_knows_is_said_so(tmp_path: Path, repository: Path) -> None:
    found = ask(tmp_path, repository, "", at(repository, "v2"))
    assert (found["known"], found["reason"]) == (False, "Nobody knows the commit that serves.")


def test_a_live_commit_that_the_server_lacks_is_said_so(tmp_path: Path, repository: Path) -> None:
    found = ask(tmp_path, repository, "e" * 40, at(repository, "v2"))
    assert not found["known"]
    assert f"does not have the commit {'e' * 40}" in str(found["reason"])


def test_a_server_that_cannot_be_reached_is_said_so(tmp_path: Path) -> None:
    found = ask(tmp_path, tmp_path / "nowhere", "1" * 40, "2" * 40)
    assert not found["known"]
    assert "app_release_repository" in str(found["reason"])


def test_a_server_that_gives_no_bare_commits_is_asked_for_everything(tmp_path: Path, repository: Path) -> None:
    def old_protocol(
        command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        old = ["GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.version", "GIT_CONFIG_VALUE_0=0"]
        return run(["env", *old, *command], directory=directory, environment=environment)

    place = tmp_path / "place"
    place.mkdir()
    live = at(repository, "v1~0")
    target = at(repository, "v2~1")
    found = changes(old_protocol, place, Question(f"file://{repository}", target, live, 50, 20))
    assert (found["known"], found["commits_count"]) == (True, 1)


def test_subjects_cannot_write_to_the_terminal(tmp_path: Path, repository: Path) -> None:
    commit(repository, {"manage.py": "v3"}, "Nice \x1b[31mcolours")
    found = ask(tmp_path, repository, at(repository, "v2"), at(repository, "main"))
    assert "\x1b" not in str(found["commits"])
    assert "colours" in str(found["commits"])


def test_only_python_files_of_migrations_directories_are_migrations() -> None:
    paths = ["a/migrations/__init__.py", "a/migrations/0001_x.py", "migrations/0001.py", "a/migrations/x.sql"]
    assert [f"{each['app']}.{each['name']}" for each in migrations_of(paths)] == ["a.0001_x"]
