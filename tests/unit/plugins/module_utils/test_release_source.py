"""A commit's files get to where they are built, however the server may be asked for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.release_source import Mirror, Source, start_build
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import building_mark, is_complete

from tests.unit.plugins.release_support import commit, git, host, release_id, run

OWNER = (os.geteuid(), os.getegid())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch", "main")
    commit(path, {"old": "1"})
    commit(path, {"manage.py": "v1", "config/wsgi.py": "app", ".gitignore": "x"})
    git(path, "tag", "--annotate", "--message", "first", "v1")
    return path


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return host(tmp_path)


def source(repository: Path, identity: str, ref: str | None = None) -> Source:
    return Source(f"file://{repository}", identity, ref, timeout=20)


def build(tmp_path: Path, layout: Layout, wanted: Source, number: int = 1) -> Path:
    return start_build(layout, release_id(number), Mirror(run, tmp_path / "git"), wanted, OWNER)


def test_the_files_of_a_commit_are_written_without_any_trace_of_git(
    tmp_path: Path, layout: Layout, repository: Path
) -> None:
    tree = build(tmp_path, layout, source(repository, git(repository, "rev-parse", "v1^{}"), "refs/tags/v1"))
    found = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
    assert found == [".gitignore", "config/wsgi.py", "manage.py", "old"]
    assert (tree / "manage.py").read_text() == "v1"
    assert sorted(path.name for path in layout.releases.iterdir()) == [f".{release_id(1)}.building", release_id(1)]


def test_only_the_commit_is_fetched_not_its_history(tmp_path: Path, layout: Layout, repository: Path) -> None:
    build(tmp_path, layout, source(repository, git(repository, "rev-parse", "main"), "refs/heads/main"))
    assert git(tmp_path / "git", "rev-list", "--all", "--count", git(repository, "rev-parse", "main")) == "1"


def test_a_branch_that_moved_since_the_plan_still_gives_the_planned_commit(
    tmp_path: Path, layout: Layout, repository: Path
) -> None:
    planned = git(repository, "rev-parse", "main")
    commit(repository, {"manage.py": "v2"})
    tree = build(tmp_path, layout, source(repository, planned, "refs/heads/main"))
    assert (tree / "manage.py").read_text() == "v1"


def test_a_server_that_gives_no_bare_commits_is_asked_for_everything(
    tmp_path: Path, layout: Layout, repository: Path
) -> None:
    planned = git(repository, "rev-parse", "main")
    commit(repository, {"manage.py": "v2"})

    def old_protocol(command: list[str], **options: object) -> object:
        return run(
            ["env", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.version", "GIT_CONFIG_VALUE_0=0", *command],
            **options,
        )  # type: ignore[arg-type]

    mirror = Mirror(old_protocol, tmp_path / "git")  # type: ignore[arg-type]
    tree = start_build(layout, release_id(1), mirror, source(repository, planned), OWNER)
    assert (tree / "manage.py").read_text() == "v1"


def test_the_same_mirror_serves_the_next_release(tmp_path: Path, layout: Layout, repository: Path) -> None:
    build(tmp_path, layout, source(repository, git(repository, "rev-parse", "main"), "refs/tags/v1"))
    second = commit(repository, {"manage.py": "v2"})
    tree = build(tmp_path, layout, source(repository, second, "refs/heads/main"), number=2)
    assert (tree / "manage.py").read_text() == "v2"


def test_what_was_fetched_once_needs_no_server(tmp_path: Path, layout: Layout, repository: Path) -> None:
    planned = git(repository, "rev-parse", "main")
    build(tmp_path, layout, source(repository, planned))
    repository.rename(tmp_path / "gone")
    assert build(tmp_path, layout, source(repository, planned)).is_dir()


def test_a_mirror_that_was_killed_while_it_was_made_is_made_again(
    tmp_path: Path, layout: Layout, repository: Path
) -> None:
    (tmp_path / "git").mkdir()
    (tmp_path / "git" / "objects").mkdir()
    assert build(tmp_path, layout, source(repository, git(repository, "rev-parse", "main"))).is_dir()


def test_a_commit_that_is_not_there_is_refused_with_both_variables(
    tmp_path: Path, layout: Layout, repository: Path
) -> None:
    with pytest.raises(WebappsError) as failure:
        build(tmp_path, layout, source(repository, "e" * 40))
    for word in ("e" * 40, "deploy_version", "app_release_repository", "was pushed"):
        assert word in failure.value.message
    assert not layout.release(release_id(1)).exists()


def test_what_a_killed_build_left_is_removed_first(tmp_path: Path, layout: Layout, repository: Path) -> None:
    rest = layout.release(release_id(1))
    (rest / ".venv").mkdir(parents=True)
    (rest / ".venv" / "broken").touch()
    tree = build(tmp_path, layout, source(repository, git(repository, "rev-parse", "main")))
    assert not (tree / ".venv").exists()


def test_a_description_in_the_source_does_not_make_it_a_finished_release(
    tmp_path: Path, layout: Layout, repository: Path
) -> None:
    wanted = commit(repository, {"RELEASE.json": "{}"})
    build(tmp_path, layout, source(repository, wanted, "refs/heads/main"))
    assert not is_complete(layout, release_id(1))
    assert building_mark(layout, release_id(1)).exists()
