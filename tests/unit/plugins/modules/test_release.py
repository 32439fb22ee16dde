"""The modules of a release, called as Ansible calls them."""

from __future__ import annotations

import grp
import json
import os
import platform
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger as books
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.release_plan import platform_name
from ansible_collections.carpentries.webapps.plugins.modules import (
    environment_file,
    migrations,
    release,
    release_artifact,
    release_changes,
    release_command,
    release_plan,
    release_preflight,
    release_requirements,
    release_source,
)

from tests.unit.plugins.release_support import build, commit, description, git, host, packed, release_id

GROUP = grp.getgrgid(os.getegid()).gr_name
USER = pwd.getpwuid(os.geteuid()).pw_name
HERE = platform_name(Path("/etc/os-release").read_text(), platform.machine())


class Called:
    """Calls a module's main() and returns what it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, module: Any, *, check: bool = False, **arguments: object) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return result


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Called:
    return Called(capsys)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return host(tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch", "main")
    commit(path, {"manage.py": "print()", "staticfiles/app.css": "x"})
    git(path, "tag", "v1")
    return path


def artifact_arguments(layout: Layout, directory: Path, number: int = 1) -> dict[str, object]:
    described = description(number, platform=HERE)
    names = ("id", "version", "commit", "repository", "python", "platform")
    return {"root": str(layout.root), "directory": str(directory), **{name: getattr(described, name) for name in names}}


def test_a_version_goes_all_the_way_to_a_staged_release(
    call: Called, tmp_path: Path, layout: Layout, repository: Path
) -> None:
    root, address = str(layout.root), f"file://{repository}"
    plan = call(release_plan, repository=address, version="v1", root=root)
    assert plan["commit"] == git(repository, "rev-parse", "main")
    assert plan["platform"] == HERE
    common = {"root": root, "id": plan["release_id"], "commit": plan["commit"], "repository": address}
    call(release_source, **common, ref=plan["ref"], mirror=str(tmp_path / "git"), owner=USER)
    arguments = {name: plan[name] for name in ("version", "python", "platform")}
    artifact = call(release_artifact, **common, **arguments, directory=str(tmp_path))
    wanted = {"root": root, "state": "staged", "id": plan["release_id"], "group": GROUP}
    staged = call(release, **wanted, artifact=artifact["path"], sha256=artifact["sha256"])
    assert staged["changed"]
    assert not call(release, **wanted)["changed"]
    listed = call(release, root=root)
    assert [(entry["id"], entry["version"]) for entry in listed["releases"]] == [(plan["release_id"], "v1")]


def test_the_same_plan_names_the_same_release_and_other_settings_another(
    call: Called, layout: Layout, repository: Path
) -> None:
    arguments = {"repository": str(repository), "version": "main", "root": str(layout.root)}
    first = call(release_plan, **arguments)
    assert call(release_plan, **arguments, check=True) == first
    assert not first["changed"]
    assert call(release_plan, **arguments, settings={"npm": True})["release_id"] != first["release_id"]


def test_a_plan_that_cannot_be_made_fails_with_its_sentence(call: Called, layout: Layout, repository: Path) -> None:
    result = call(release_plan, repository=str(repository), version="v99", root=str(layout.root))
    assert result["failed"]
    assert "deploy_version" in result["msg"]


def test_source_in_check_mode_fetches_nothing(call: Called, tmp_path: Path, layout: Layout) -> None:
    result = call(
        release_source, check=True, root=str(layout.root), id=release_id(1), repository="/nowhere", commit="a" * 40,
        mirror=str(tmp_path / "git"), owner="nobody-here",
    )  # fmt: skip
    assert result["changed"]
    assert not (tmp_path / "git").exists()


def test_source_refuses_a_finished_release_and_an_unknown_user(
    call: Called, tmp_path: Path, layout: Layout, repository: Path
) -> None:
    arguments = {
        "root": str(layout.root),
        "repository": str(repository),
        "commit": git(repository, "rev-parse", "main"),
    }
    unknown = call(release_source, **arguments, id=release_id(2), mirror=str(tmp_path / "git"), owner="nobody-here")
    assert "webapps_user" in unknown["msg"]
    (build(layout, 1) / "RELEASE.json").write_text("{}")
    finished = call(release_source, **arguments, id=release_id(1), mirror=str(tmp_path / "git"), owner=USER)
    assert "finished release" in finished["msg"]
    assert (layout.release(release_id(1)) / "manage.py").exists()


def test_an_artifact_in_check_mode_is_not_made(call: Called, tmp_path: Path, layout: Layout) -> None:
    result = call(release_artifact, check=True, **artifact_arguments(layout, tmp_path / "none"))
    assert (result["changed"], result["must_build"], result["sha256"]) == (True, True, None)
    assert result["path"] == f"{tmp_path}/none/{release_id(1)}.tar.zst"


def test_an_artifact_is_made_once(call: Called, tmp_path: Path, layout: Layout) -> None:
    build(layout, 1)
    first = call(release_artifact, **artifact_arguments(layout, tmp_path))
    again = call(release_artifact, **artifact_arguments(layout, tmp_path))
    assert (first["changed"], again["changed"], again["must_build"]) == (True, False, False)
    assert again["sha256"] == first["sha256"]
    assert first["diff"]["after"] == f"{first['path']}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_an_artifact_is_for_root_and_one_reader(call: Called, tmp_path: Path, layout: Layout) -> None:
    build(layout, 1)
    path = Path(call(release_artifact, **artifact_arguments(layout, tmp_path), reader=12345)["path"])
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (12345, 0o400)
    assert not call(release_artifact, **artifact_arguments(layout, tmp_path), reader=12345)["changed"]
    assert call(release_artifact, **artifact_arguments(layout, tmp_path), reader=0)["changed"]
    assert path.stat().st_uid == 0


def test_staging_in_check_mode_shows_what_would_come(call: Called, layout: Layout) -> None:
    result = call(release, check=True, root=str(layout.root), state="staged", id=release_id(1), group="nobody-here")
    assert result["changed"]
    assert result["unpacked"]
    assert f"unpack {layout.release(release_id(1))}" in result["diff"]["after"]
    assert not layout.ledger.exists()


def test_staging_needs_a_group_that_exists(call: Called, layout: Layout) -> None:
    result = call(release, root=str(layout.root), state="staged", id=release_id(1), group="nobody-here")
    assert "webapps_group" in result["msg"]


def test_pruning_shows_what_would_go_and_then_removes_it(call: Called, tmp_path: Path, layout: Layout) -> None:
    for number in (1, 2):
        artifact = packed(tmp_path, number, platform=HERE)
        arguments = {"root": str(layout.root), "state": "staged", "id": release_id(number), "group": GROUP}
        call(release, **arguments, artifact=str(artifact.path), sha256=artifact.sha256)
    pruning = {"root": str(layout.root), "state": "pruned", "keep_failed": 1}
    planned = call(release, check=True, **pruning)
    assert planned["changed"]
    assert planned["diff"]["before"].splitlines() == [str(layout.release(release_id(1)))]
    assert layout.release(release_id(1)).exists()
    assert call(release, **pruning)["steps"] == planned["steps"]
    assert not layout.release(release_id(1)).exists()
    again = call(release, **pruning)
    assert not again["changed"]
    assert [entry["id"] for entry in again["releases"]] == [release_id(2)]


def test_a_release_is_condemned_once_and_keeps_the_reason_of_who_found_it_bad(call: Called, layout: Layout) -> None:
    layout.root.mkdir(parents=True, exist_ok=True)
    known = books.record_staged(books.Ledger(), release_id(1), version="v1", commit="c", now="2026-03-01T12:00:00Z")
    books.save(layout.ledger, known)
    bad = {"root": str(layout.root), "state": "bad", "id": release_id(1), "reason": "It answers 500."}
    assert call(release, check=True, **bad)["changed"]
    assert books.load(layout.ledger) == known
    assert call(release, **bad)["changed"]
    assert not call(release, **{**bad, "reason": "The fleet went back."})["changed"]
    assert books.load(layout.ledger).releases[release_id(1)].reason == "It answers 500."


def test_condemning_a_release_that_the_host_never_had_changes_nothing(call: Called, layout: Layout) -> None:
    assert not call(release, root=str(layout.root), state="bad", id=release_id(1), reason="It answers 500.")["changed"]


def test_a_torn_ledger_fails_with_its_sentence(call: Called, layout: Layout) -> None:
    layout.ledger.write_text("{")
    assert "is no ledger" in call(release, root=str(layout.root))["msg"]


# the environment


def test_an_environment_is_written_once_under_its_digest(call: Called, layout: Layout) -> None:
    arguments = {"root": str(layout.root), "group": GROUP, "variables": {"A": "it's $5", "N": 1}}
    planned = call(environment_file, check=True, **arguments)
    assert planned["changed"]
    assert list(layout.environments.iterdir()) == []
    written = call(environment_file, **arguments)
    assert (written["changed"], written["digest"]) == (True, planned["digest"])
    assert Path(written["path"]).read_text() == "A='it'\\''s $5'\nN='1'\n"
    assert not call(environment_file, **arguments)["changed"]


def test_a_value_that_occurs_in_the_digest_does_not_change_it(call: Called, layout: Layout) -> None:
    values = {f"V{number}": f"{number:x}" for number in range(16)}
    result = call(environment_file, root=str(layout.root), group=GROUP, variables=values)
    assert Path(result["path"]).is_file()
    assert Path(result["path"]).name == result["digest"]


@pytest.mark.parametrize("variables", [{"A": "canary-1"}, {"A-B": "canary-2"}, {"A": ["canary-3"]}])
def test_no_value_is_in_the_result(call: Called, layout: Layout, variables: dict[str, object]) -> None:
    result = call(environment_file, root=str(layout.root), group=GROUP, variables=variables)
    assert "canary" not in json.dumps(result)


def test_the_variables_that_differ_from_those_that_run_are_named_in_check_mode(call: Called, layout: Layout) -> None:
    arguments = {"root": str(layout.root), "group": GROUP}
    first = call(environment_file, **arguments, variables={"A": "canary-1", "B": "canary-2", "SAME": "it's $5"})
    assert (first["live"], first["differs"]) == (None, None)
    layout.environment.symlink_to(f"environments/{first['digest']}")
    result = call(
        environment_file, check=True, **arguments, variables={"A": "canary-3", "C": "canary-4", "SAME": "it's $5"}
    )
    assert result["live"] == first["digest"]
    assert result["differs"] == {"added": ["C"], "removed": ["B"], "changed": ["A"]}
    assert "canary" not in json.dumps(result)


def test_an_environment_that_cannot_be_read_is_not_compared(call: Called, layout: Layout) -> None:
    layout.environment.write_text("no assignment")
    result = call(environment_file, check=True, root=str(layout.root), group=GROUP, variables={"A": "1"})
    assert (result["live"], result["differs"]) == (None, None)


def test_an_environment_on_a_bare_host_is_known_and_not_written(call: Called, tmp_path: Path) -> None:
    arguments = {"root": str(tmp_path / "bare.org"), "group": "nobody-here", "variables": {"A": "1"}}
    assert len(call(environment_file, check=True, **arguments)["digest"]) == 8
    assert "playbooks/site.yml" in call(environment_file, **arguments)["msg"]


# migrations

# What `manage.py shell` does, with a database that takes no part.
SHELL = """
import sys
import django
from django.conf import settings

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()
exec(sys.argv[1])
"""


def test_migrations_of_a_release_that_is_not_staged_are_unknown_in_check_mode(call: Called, layout: Layout) -> None:
    arguments = {"root": str(layout.root), "release": release_id(1), "environment_digest": "1a2b3c4d", "user": "amy"}
    checked = call(migrations, check=True, **arguments)
    assert (checked["changed"], checked["pending"]) == (False, None)
    assert "stage it first" in call(migrations, **arguments)["msg"]


@pytest.fixture
def django(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A staged release whose commands are played by scripts: one migration is pending until `migrate` runs."""
    tree = build(layout, 1)
    (tree / "RELEASE.json").write_text(description(1).text())
    (layout.environments / "1a2b3c4d").touch()
    launcher = layout.root / "webapps-run"
    launcher.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setattr(
        "ansible_collections.carpentries.webapps.plugins.module_utils.migrations.LAUNCHER", str(launcher)
    )
    runuser = layout.root / "runuser"
    runuser.write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
    runuser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{layout.root}:{os.environ['PATH']}")
    return {
        "root": str(layout.root),
        "release": release_id(1),
        "environment_digest": "1a2b3c4d",
        "user": "amy",
        "plan_command": ["sh", "-c", "test -e applied && echo '[X] a.0001' || echo '[ ] a.0001'"],
        "command": ["sh", "-c", 'echo "$PGOPTIONS" > applied; echo Applying a.0001'],
        "shell_command": [sys.executable, "-c", SHELL],
    }


def test_pending_migrations_are_shown_and_then_applied_once(
    call: Called, layout: Layout, django: dict[str, object]
) -> None:
    planned = call(migrations, check=True, **django)
    assert (planned["changed"], planned["pending"], planned["diff"]["after"]) == (True, ["a.0001"], "a.0001\n")
    assert not (layout.release(release_id(1)) / "applied").exists()
    done = call(migrations, **django)
    assert (done["changed"], done["pending"], done["output"]) == (True, ["a.0001"], ["Applying a.0001"])
    assert (layout.release(release_id(1)) / "applied").read_text() == "-c lock_timeout=5s -c statement_timeout=900s\n"
    again = call(migrations, **django)
    assert (again["changed"], again["pending"]) == (False, [])


def test_a_migration_that_fails_fails_the_module(call: Called, django: dict[str, object]) -> None:
    result = call(migrations, **{**django, "command": ["sh", "-c", "echo IntegrityError >&2; exit 1"]})
    assert "IntegrityError" in result["msg"]


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"


def test_a_deploy_key_is_in_no_result(call: Called, layout: Layout, repository: Path) -> None:
    arguments = {"repository": f"file://{repository}", "version": "v1", "root": str(layout.root)}
    for given in ({"key": KEY}, {"key": "c2VjcmV0c2VjcmV0"}, {"token": "c2VjcmV0c2VjcmV0"}):
        result = call(release_plan, **arguments, **given)
        assert "release_id" in result or result["failed"]
        assert "c2VjcmV0" not in json.dumps(result)


def test_a_build_begins_with_links_to_what_releases_share(
    call: Called, tmp_path: Path, layout: Layout, repository: Path
) -> None:
    name = release_id(1)
    source = {"root": str(layout.root), "id": name, "repository": f"file://{repository}", "owner": USER}
    commit_id = git(repository, "rev-parse", "main")
    arguments = {**source, "commit": commit_id, "mirror": str(tmp_path / "git"), "shared_directories": ["media"]}
    assert call(release_source, **arguments)["changed"]
    assert (layout.release(name) / "media").is_symlink()


def test_requirements_of_pips_own_format_are_taken_as_they_are(call: Called, layout: Layout) -> None:
    arguments = {
        "root": str(layout.root),
        "id": release_id(1),
        "owner": USER,
        "home": "/x",
        "pins": "/nowhere",
    }
    assert call(release_requirements, check=True, **arguments)["lock"] is None
    tree = build(layout, 1)
    assert "no lock file" in call(release_requirements, **arguments)["msg"]
    (tree / "requirements.txt").touch()
    result = call(release_requirements, **arguments)
    assert (result["changed"], result["requirements"]) == (False, str(tree / "requirements.txt"))


def test_commands_of_a_release_that_is_not_staged_are_refused_but_in_check_mode(call: Called, layout: Layout) -> None:
    common = {"root": str(layout.root), "release": release_id(1), "environment_digest": "1a2b3c4d", "user": USER}
    for module, more in ((release_command, {"command": ["true"]}), (release_preflight, {})):
        assert "stage it first" in call(module, **common, **more)["msg"]
        assert not call(module, check=True, **common, **more).get("failed")


def test_what_serves_already_is_not_prepared_again(call: Called, layout: Layout) -> None:
    layout.repo.symlink_to(f"releases/{release_id(1)}")
    layout.environment.symlink_to("environments/1a2b3c4d")
    common = {"root": str(layout.root), "release": release_id(1), "environment_digest": "1a2b3c4d", "user": USER}
    result = call(release_command, **common, command=["true"], unless_live=True)
    assert (result["changed"], result["ran"]) == (False, False)


# what a release brings


def test_what_a_release_brings_is_told_and_nothing_is_kept(
    call: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, scratch = tmp_path / "source", tmp_path / "scratch"
    path.mkdir()
    scratch.mkdir()
    monkeypatch.setattr(AnsibleModule, "tmpdir", str(scratch))
    git(path, "init", "--quiet", "--initial-branch", "main")
    live = commit(path, {"manage.py": "v1"})
    target = commit(path, {"notes/migrations/0002_author.py": ""}, "Name authors")
    arguments = {"repository": f"file://{path}", "commit": target, "live_commit": live}
    result = call(release_changes, check=True, **arguments)
    assert (result["changed"], result["known"]) == (False, True)
    assert [line.partition(" ")[2] for line in result["commits"]] == ["Name authors"]
    assert [each["name"] for each in result["migrations"]] == ["0002_author"]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("live", ["", "unknown", "1234567"])
def test_a_live_commit_that_is_none_is_unknown(call: Called, live: str) -> None:
    result = call(release_changes, repository="/nowhere", commit="1" * 40, live_commit=live)
    assert not result["known"]


def test_a_shortened_commit_is_refused(call: Called) -> None:
    assert "40 hexadecimal digits" in call(release_changes, repository="/nowhere", commit="1234567")["msg"]
