"""A version becomes a commit, and all that decides a build becomes a release id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.release_plan import (
    RELEASE_ID,
    Ingredients,
    checked_repository,
    newest_tags,
    parsed_refs,
    platform_name,
    python_version,
    read_refs,
    resolve,
)

from tests.unit.plugins.release_support import Recorder, commit, git, run

BASE = Ingredients("https://example.org/app.git", "a" * 40, "/webapps/a.org", "3.11.2", "debian-12-x86_64", {"x": 1})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch", "main")
    commit(path, {"file": "1"})
    git(path, "tag", "light")
    git(path, "tag", "--annotate", "--message", "a release", "v1.0")
    commit(path, {"file": "2"})
    git(path, "branch", "feature/x")
    return path


def test_a_tag_is_the_commit_it_names(repository: Path) -> None:
    refs = read_refs(run, str(repository), 10)
    first = git(repository, "rev-parse", "main~1")
    assert (resolve("light", refs, "r").commit, resolve("light", refs, "r").ref) == (first, "refs/tags/light")


def test_an_annotated_tag_is_the_commit_behind_it_not_the_tag_object(repository: Path) -> None:
    found = resolve("v1.0", read_refs(run, str(repository), 10), "r")
    assert found.commit == git(repository, "rev-parse", "main~1")
    assert found.commit != git(repository, "rev-parse", "v1.0")


@pytest.mark.parametrize("version", ["main", "feature/x", "refs/heads/main", " main "])
def test_a_branch_is_its_newest_commit(repository: Path, version: str) -> None:
    found = resolve(version, read_refs(run, str(repository), 10), "r")
    assert found.commit == git(repository, "rev-parse", "main")


def test_a_tag_wins_over_a_branch_of_the_same_name(repository: Path) -> None:
    git(repository, "branch", "light")
    assert resolve("light", read_refs(run, str(repository), 10), "r").ref == "refs/tags/light"


def test_a_full_commit_id_is_taken_as_it_is_with_the_ref_that_names_it(repository: Path) -> None:
    refs, tip, unnamed = read_refs(run, str(repository), 10), git(repository, "rev-parse", "main"), "b" * 40
    assert resolve(tip, refs, "r").ref == "refs/heads/feature/x"
    assert (resolve(unnamed, refs, "r").commit, resolve(unnamed, refs, "r").ref) == (unnamed, None)


def test_a_shortened_commit_id_is_refused() -> None:
    with pytest.raises(WebappsError, match=r'deploy_version is "abcdef12".*all 40 characters'):
        resolve("abcdef12", {}, "r")


def test_an_unknown_version_is_refused_with_the_tags_most_like_it() -> None:
    refs = {f"refs/tags/{name}": "c" for name in ("v4.2.0", "v4.2.1", "nightly")}
    with pytest.raises(WebappsError) as failure:
        resolve("v4.2.00", refs, "https://example.org/app.git")
    assert 'deploy_version is "v4.2.00"' in failure.value.message
    assert "https://example.org/app.git (app_release_repository)" in failure.value.message
    assert "Similar tags: v4.2.0, v4.2.1." in failure.value.message


def test_a_version_like_none_is_refused_with_the_newest_tags() -> None:
    refs = {f"refs/tags/v{number}": "c" for number in range(1, 12)}
    with pytest.raises(WebappsError, match=r"Its last tags: v11, v10, v9, v8, v7\."):
        resolve("something-else", refs, "r")


def test_a_repository_without_tags_is_said_to_have_none() -> None:
    with pytest.raises(WebappsError, match="has no tags"):
        resolve("v1", {"refs/heads/main": "c"}, "r")


def test_no_version_is_refused_with_an_example() -> None:
    with pytest.raises(WebappsError, match=r"deploy_version is not set.*-e deploy_version=v4\.2\.0"):
        resolve("  ", {}, "r")


def test_tags_are_ordered_by_their_numbers() -> None:
    assert newest_tags(["v9", "v10", "v1.2", "v1.10", "beta"]) == ["v10", "v9", "v1.10", "v1.2", "beta"]


def test_refs_that_are_no_branch_or_tag_do_not_count() -> None:
    assert parsed_refs("a\tHEAD\nb\trefs/pull/1/head\nc\trefs/heads/main\n") == {"refs/heads/main": "c"}


def test_an_unreachable_repository_is_refused_with_what_git_said(tmp_path: Path) -> None:
    with pytest.raises(WebappsError) as failure:
        read_refs(run, str(tmp_path / "nothing.git"), 10)
    assert "does not appear to be a git repository" in failure.value.message
    assert "app_release_repository" in failure.value.message


def test_git_is_never_asked_to_run_a_program_that_an_address_names(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match="not allowed"):
        read_refs(run, f"ext::touch {tmp_path}/harm", 10)
    assert not (tmp_path / "harm").exists()


def test_a_repository_that_does_not_answer_is_refused_with_the_time_it_had() -> None:
    with pytest.raises(WebappsError, match=r"did not answer within 7 s.*app_release_repository"):
        read_refs(Recorder(Finished(124, "", "")), "https://example.org/app.git", 7)


def test_a_builder_without_git_is_sent_to_site_yml() -> None:
    for answer in (Finished(127, "", "timeout: failed to run command 'git'"),):
        with pytest.raises(WebappsError, match=r"git is not installed.*playbooks/site\.yml"):
            read_refs(Recorder(answer), "https://example.org/app.git", 7)


@pytest.mark.parametrize(
    ("repository", "message"),
    [
        ("", "app_release_repository is not set"),
        ("--upload-pack=touch x", "no address"),
        ("https://user:secret@example.org/app.git", "password or token"),
        ("https://secret@example.org/app.git", "password or token"),
    ],
)
def test_an_address_that_git_must_not_be_given_is_refused(repository: str, message: str) -> None:
    with pytest.raises(WebappsError, match=message) as failure:
        checked_repository(repository)
    assert "secret" not in failure.value.message


@pytest.mark.parametrize("repository", ["git@github.com:org/app.git", "ssh://git@host/app.git", "/srv/app.git"])
def test_an_address_with_a_user_for_ssh_or_none_is_fine(repository: str) -> None:
    assert checked_repository(repository) == repository


def test_a_release_id_begins_with_the_commit() -> None:
    identity = BASE.release_id()
    assert RELEASE_ID.fullmatch(identity)
    assert identity.startswith("aaaaaaaaaa-")
    assert identity == replace(BASE, settings=dict(BASE.settings)).release_id()


@pytest.mark.parametrize(
    "change",
    [
        lambda base: replace(base, repository="https://example.org/other.git"),
        lambda base: replace(base, commit="a" * 39 + "b"),
        lambda base: replace(base, root="/webapps/b.org"),
        lambda base: replace(base, python="3.11.3"),
        lambda base: replace(base, platform="debian-13-x86_64"),
        lambda base: replace(base, settings={"x": 2}),
    ],
)
def test_whatever_decides_a_build_decides_the_id(change: Callable[[Ingredients], Ingredients]) -> None:
    assert change(BASE).release_id() != BASE.release_id()


def test_the_order_of_settings_does_not_matter() -> None:
    settings: dict[str, Any] = {"a": 1, "b": {"c": 2, "d": 3}}
    turned = {"b": {"d": 3, "c": 2}, "a": 1}
    assert replace(BASE, settings=settings).release_id() == replace(BASE, settings=turned).release_id()


def test_a_platform_is_named_after_system_version_and_machine() -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
    assert platform_name(text, "aarch64") == "debian-12-aarch64"
    assert platform_name("ID=debian\n", "x86_64") == "debian-unknown-x86_64"


def test_the_interpreter_says_its_own_version() -> None:
    assert python_version(run, "python3").count(".") == 2


def test_an_interpreter_that_is_missing_is_named_with_its_variable() -> None:
    with pytest.raises(WebappsError, match=r"python9 \(app_release_python\) does not run"):
        python_version(run, "python9")
