"""The sandbox's repository is the same everywhere, and its tags are what they claim to be."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.app import build_tags

ALL = (build_tags.BASE, *(tag.name for tag in build_tags.TAGS))


def git(repository: Path, *arguments: str) -> str:
    """Return what git says about the repository."""
    return subprocess.run(
        ["git", "--git-dir", str(repository), *arguments], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the repository once."""
    output = tmp_path_factory.mktemp("tags") / "app.git"
    assert build_tags.build(output) is True
    return output


def show(repository: Path, tag: str, path: str) -> str:
    """Return a file of a tag."""
    return git(repository, "show", f"{tag}:{path}")


def files(repository: Path, tag: str) -> set[str]:
    """Return the paths in a tag."""
    return set(git(repository, "ls-tree", "-r", "--name-only", tag).splitlines())


def test_the_same_input_gives_the_same_commits_for_anybody_anywhere(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody Else")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2001-01-01T00:00:00")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[core]\nautocrlf = true\n[apply]\nwhitespace = fix\n", encoding="utf-8")
    old = os.umask(0o077)
    try:
        build_tags.build(tmp_path / "again.git")
    finally:
        os.umask(old)
    assert build_tags.read_references(tmp_path / "again.git") == build_tags.read_references(repository)


def test_building_again_in_place_changes_nothing(repository: Path) -> None:
    before = build_tags.read_references(repository)
    assert build_tags.build(repository) is False
    assert build_tags.read_references(repository) == before


def test_what_running_the_application_in_place_leaves_is_not_committed(repository: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(build_tags.HERE, app)
    for leftover in (".venv/pyvenv.cfg", "staticfiles/site.css", "RELEASE.json", "notes/__pycache__/a.pyc", "a.pyc"):
        path = app / "source" / leftover
        path.parent.mkdir(exist_ok=True)
        path.write_text("x", encoding="utf-8")
    build_tags.build(tmp_path / "app.git", app)
    assert build_tags.read_references(tmp_path / "app.git") == build_tags.read_references(repository)


def test_a_change_of_the_application_replaces_the_repository(repository: Path, tmp_path: Path) -> None:
    app, output = tmp_path / "app", tmp_path / "app.git"
    shutil.copytree(repository, output)
    shutil.copytree(build_tags.HERE, app)
    with (app / "source" / "README.md").open("a", encoding="utf-8") as readme:
        readme.write("more\n")
    assert build_tags.build(output, app) is True
    assert show(output, "v2", "README.md").endswith("more\n")


def test_a_patch_that_no_longer_applies_is_named_with_the_remedy(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(build_tags.HERE, app)
    (app / "source" / "sandboxapp" / "__init__.py").write_text("", encoding="utf-8")
    with pytest.raises(build_tags.BuildError, match=r"v2\.patch does not apply to v1: make the patch again"):
        build_tags.build(tmp_path / "app.git", app)
    assert not (tmp_path / "app.git").exists()


def test_what_is_no_repository_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x", encoding="utf-8")
    with pytest.raises(build_tags.BuildError, match="is no bare git repository"):
        build_tags.build(tmp_path)
    assert (tmp_path / "precious").exists()


def test_the_command_prints_every_tag_with_its_commit(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_tags.main([str(repository)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "unchanged"
    assert lines[:-1] == [f"{tag} {git(repository, 'rev-parse', f'{tag}^{{commit}}').strip()}" for tag in ALL]


def test_the_tags_are_annotated_and_grow_from_each_other(repository: Path) -> None:
    for tag in ALL:
        assert git(repository, "cat-file", "-t", tag).strip() == "tag"
    for child in build_tags.TAGS:
        parent = git(repository, "rev-parse", f"{child.parent}^{{commit}}")
        assert git(repository, "rev-parse", f"{child.name}^") == parent
    assert git(repository, "rev-parse", "main") == git(repository, "rev-parse", "v2^{commit}")


@pytest.mark.parametrize("tag", ALL)
def test_every_tag_has_its_own_version_the_pinned_requirements_and_python_that_parses(
    repository: Path, tag: str
) -> None:
    assert f'__version__ = "{tag[1]}"' in show(repository, tag, "sandboxapp/__init__.py")
    pinned = (build_tags.HERE / "requirements.txt").read_text(encoding="utf-8")
    assert show(repository, tag, "requirements.txt") == pinned
    for path in files(repository, tag):
        if path.endswith(".py"):
            compile(show(repository, tag, path), f"{tag}:{path}", "exec")


def test_v2_adds_a_column_that_v1_can_ignore_and_another_style_sheet(repository: Path) -> None:
    added = files(repository, "v2") - files(repository, "v1")
    assert added == {"notes/migrations/0002_note_topic.py"}
    migration = show(repository, "v2", *added)
    assert "AddField" in migration
    assert "null=True" in migration
    css = "notes/static/notes/site.css"
    assert show(repository, "v1", css) != show(repository, "v2", css)


def test_v3_drops_a_column_that_v2_uses(repository: Path) -> None:
    migration = show(repository, "v3-incompatible", "notes/migrations/0003_remove_note_author.py")
    assert 'RemoveField(model_name="note", name="author")' in migration
    assert "author" in show(repository, "v2", "notes/models.py")
    assert "author" not in show(repository, "v3-incompatible", "notes/models.py")


def test_v4_breaks_the_import_of_the_wsgi_module_and_of_nothing_else(repository: Path) -> None:
    changed = git(repository, "diff", "--name-only", "v2", "v4-no-import").splitlines()
    assert changed == ["sandboxapp/__init__.py", "sandboxapp/wsgi.py"]
    assert "from sandboxapp.telemetry import" in show(repository, "v4-no-import", "sandboxapp/wsgi.py")
    assert "sandboxapp/telemetry.py" not in files(repository, "v4-no-import")


def test_v5_raises_in_a_middleware_inside_the_one_that_names_the_release(repository: Path) -> None:
    settings = show(repository, "v5-error-500", "sandboxapp/settings.py")
    assert settings.index("middleware.ReleaseHeader") < settings.index("middleware.Quota")
    assert "raise RuntimeError" in show(repository, "v5-error-500", "sandboxapp/middleware.py")


def test_v6_sleeps_before_it_serves(repository: Path) -> None:
    wsgi = show(repository, "v6-slow-boot", "sandboxapp/wsgi.py")
    assert wsgi.index("time.sleep(15)") < wsgi.index("application =")


def test_v7_takes_long_without_being_asked_to(repository: Path) -> None:
    forms = show(repository, "v7-slow-request-long-job", "notes/forms.py")
    assert "max_value=LONGEST_JOB, initial=30" in forms
    assert "max_value=25, initial=8" in forms


def test_v8_names_a_release_that_nobody_built(repository: Path) -> None:
    assert 'Release(id="of-another-build"' in show(repository, "v8-wrong-release", "sandboxapp/release.py")
