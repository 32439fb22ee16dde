"""Release 0: a copy of what runs, made whole wherever an import was killed, and the original as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger, legacy_import
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_import import Import, Imported, exchange
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import read_description

from tests.unit.plugins.legacy_host import SECRET, LegacyHost


class Killed(BaseException):
    """The call was killed."""


@pytest.fixture
def host(tmp_path: Path) -> LegacyHost:
    return LegacyHost(tmp_path)


def no_git(command: Any, **_options: object) -> Finished:
    assert command[0] == "sync"
    return Finished(0, "", "")


def imported(host: LegacyHost, *, check: bool = False, group: int | None = None) -> Imported:
    number = os.getgid() if group is None else group
    asked = Import(group=number, static_dir="staticfiles", platform="debian-12-x86_64", now="2026-01-01T00:00:00Z")
    return legacy_import.import_tree(no_git, host.layout, host.look(), asked, check=check)


def tree(top: Path) -> dict[str, str]:
    """Names, modes, owners and contents of everything."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(top))] = f"{status.st_mode:o} {status.st_uid} {status.st_mtime_ns} {content}"
    return found


def test_the_tree_becomes_a_release_with_everything_a_release_has(host: LegacyHost) -> None:
    done = imported(host)
    final = host.layout.release(done.release)
    described = read_description(final, done.release)
    assert (described.version, described.python, described.static_dir) == ("adopted", "3.11.2", "staticfiles")
    assert ledger.load(host.layout.ledger).releases[done.release].state == "staged"
    assert (host.layout.static / "site.0123456789ab.css").read_text() == "a {}\n"
    assert host.layout.repo.readlink() == Path("releases", done.release)


def test_the_environment_becomes_a_file_and_is_told_by_names_only(host: LegacyHost) -> None:
    done = imported(host)
    path = host.layout.environments / done.environment
    assert path.read_text() == f"SECRET_KEY='{SECRET}'\n"
    assert f"{path.stat().st_mode & 0o777:o}" == "640"
    assert done.variables == ["SECRET_KEY"]
    noted = (host.layout.root / "adopted/adoption.json").read_text()
    assert SECRET not in "\n".join(done.steps) + noted


def test_the_original_is_set_aside_untouched(host: LegacyHost) -> None:
    before = tree(host.layout.repo)
    imported(host)
    assert tree(host.layout.root / "adopted/repo") == before


def test_the_copys_virtual_environment_knows_its_new_place_alone(host: LegacyHost) -> None:
    done = imported(host)
    final = host.layout.release(done.release)
    assert (final / ".venv/bin/gunicorn").read_text() == f"#!{final}/.venv/bin/python\n"
    assert f"{final}/.venv" in (final / ".venv/pyvenv.cfg").read_text()
    files = [path for path in final.rglob("*") if path.is_file() and not path.is_symlink()]
    held = [path for path in files if f"{host.layout.repo}/" in path.read_text()]
    assert held == []


def test_a_path_that_only_begins_like_the_old_one_stays(host: LegacyHost) -> None:
    script = host.layout.repo / ".venv/bin/tool"
    script.write_text(f"{host.layout.repo}-old/x {host.layout.repo}/y")
    final = host.layout.release(imported(host).release)
    assert (final / ".venv/bin/tool").read_text() == f"{host.layout.repo}-old/x {final}/y"


def test_links_into_the_tree_follow_it_and_others_stay(host: LegacyHost) -> None:
    (host.layout.repo / "inner").symlink_to(host.layout.repo / "manage.py")
    (host.layout.repo / "outer").symlink_to("/etc/hostname")
    final = host.layout.release(imported(host).release)
    assert (final / "inner").readlink() == final / "manage.py"
    assert (final / "outer").readlink() == Path("/etc/hostname")


def test_static_files_outside_of_the_tree_come_into_the_release(host: LegacyHost) -> None:
    outside = host.top / "static"
    (host.layout.repo / "staticfiles").rename(outside)
    site = host.places.nginx / "sites-enabled/amy"
    site.write_text(site.read_text().replace(f"{host.layout.repo}/staticfiles/", f"{outside}/"))
    final = host.layout.release(imported(host).release)
    assert (final / "staticfiles/site.0123456789ab.css").exists()
    assert (host.layout.static / "site.0123456789ab.css").exists()


def test_the_same_tree_has_the_same_id_and_another_one_another(host: LegacyHost) -> None:
    first = imported(host, check=True).release
    (host.layout.repo / "__pycache__").mkdir()
    (host.layout.repo / "__pycache__/x.pyc").write_text("compiled")
    assert imported(host, check=True).release == first
    (host.layout.repo / "manage.py").chmod(0o755)
    assert imported(host, check=True).release != first


def test_check_mode_says_all_of_it_and_does_none(host: LegacyHost) -> None:
    before = tree(host.layout.root)
    foreseen = imported(host, check=True)
    assert tree(host.layout.root) == before
    assert foreseen.steps == imported(host).steps


def test_once_imported_nothing_is_left_to_do(host: LegacyHost) -> None:
    done, before = imported(host), tree(host.layout.root)
    again = imported(host)
    assert (again.release, again.environment, again.steps) == (done.release, done.environment, [])
    assert tree(host.layout.root) == before


def test_a_tree_that_changes_meanwhile_is_not_taken(host: LegacyHost, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = legacy_import.copied

    def edited(*arguments: Any) -> None:
        copied(*arguments)
        (host.layout.repo / "manage.py").write_text("import edited\n")

    monkeypatch.setattr(legacy_import, "copied", edited)
    with pytest.raises(WebappsError, match="changed while it was copied"):
        imported(host)
    assert not host.layout.repo.is_symlink()
    assert ledger.load(host.layout.ledger).releases == {}


def test_shared_directories_move_out_and_are_found_in_their_places_by_all(host: LegacyHost) -> None:
    host.shared += ["media", "none/yet"]
    media = host.layout.repo / "media"
    media.mkdir()
    (media / "upload").write_text("kept")
    # The role app_release makes it.
    (host.layout.shared / "media").mkdir(parents=True)
    foreseen = imported(host, check=True)
    done = imported(host)
    assert (done.release, done.steps) == (foreseen.release, foreseen.steps)
    for tree_ in (host.layout.root / "adopted/repo", host.layout.release(done.release)):
        assert (tree_ / "media/upload").read_text() == "kept"
        assert (tree_ / "media").resolve() == host.layout.shared / "media"
    assert imported(host).steps == []


@pytest.mark.parametrize("after", [True, False])
def test_sharing_that_is_killed_is_made_good(host: LegacyHost, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    host.shared.append("media")
    (host.layout.repo / "media").mkdir()
    (host.layout.repo / "media/upload").write_text("kept")
    with monkeypatch.context() as patch:
        patch.setattr(legacy_import, "exchange", killing(legacy_import.exchange, after=after))
        with pytest.raises(Killed):
            imported(host)
    assert (host.layout.repo / "media/upload").read_text() == "kept"
    done = imported(host)
    assert (host.layout.release(done.release) / "media/upload").read_text() == "kept"
    assert (host.layout.shared / "media/upload").read_text() == "kept"


def killing(function: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def killed(*arguments: Any, **options: Any) -> None:
        if after:
            function(*arguments, **options)
        raise Killed

    return killed


EFFECTS = (
    ("legacy_import.environment.write", "write"),
    ("legacy_import.copied", "copied"),
    ("legacy_import.protect", "protect"),
    ("legacy_import.join_static_files", "join_static_files"),
    ("legacy_import.discard_build", "discard_build"),
    ("legacy_import.ledgers.sync_directory", "sync_directory"),
    ("legacy_import.ledgers.save", "save"),
    ("legacy_import.note", "note"),
    ("legacy_import.exchange", "exchange"),
)


def kills() -> Iterator[tuple[str, bool]]:
    for name, _label in EFFECTS:
        yield name, False
        yield name, True


@pytest.mark.parametrize(("name", "after"), list(kills()))
def test_an_import_that_is_killed_anywhere_is_made_good(
    host: LegacyHost, monkeypatch: pytest.MonkeyPatch, name: str, *, after: bool
) -> None:
    owner: Any = legacy_import
    *path, attribute = name.split(".")[1:]
    for step in path:
        owner = getattr(owner, step)
    before = tree(host.layout.repo)
    with monkeypatch.context() as patch:
        patch.setattr(owner, attribute, killing(getattr(owner, attribute), after=after))
        with pytest.raises(Killed):
            imported(host)
    # Whoever opens the tree meets all of it, in whichever place it is.
    assert (host.layout.repo / "manage.py").exists()
    done = imported(host)
    assert tree(host.layout.root / "adopted/repo") == before
    assert host.layout.repo.readlink() == Path("releases", done.release)
    assert sorted(ledger.load(host.layout.ledger).releases) == [done.release]
    assert (host.layout.static / "site.0123456789ab.css").exists()
    assert [path.name for path in host.layout.releases.iterdir()] == [done.release]
    assert imported(host).steps == []


def test_what_ran_before_reads_on_until_it_is_gone(host: LegacyHost) -> None:
    """nginx and programs of other users find through `repo` what they found before, and later nobody does."""
    host.layout.releases.chmod(0o750)
    (host.layout.repo / "secret").write_text("x")
    (host.layout.repo / "secret").chmod(0o600)
    done = imported(host)
    final = host.layout.release(done.release)
    paths = (host.layout.releases, final, final / "staticfiles", final / "staticfiles/site.0123456789ab.css")
    assert [path.stat().st_mode & 0o007 for path in paths] == [1, 5, 5, 4]
    assert (final / "secret").stat().st_mode & 0o007 == 0
    host.listed.clear()
    for path in host.places.programs.iterdir():
        path.unlink()
    # nginx still has the virtual host of before.
    assert imported(host).steps == []
    (host.places.nginx / "sites-enabled/amy").unlink()
    assert not host.look().adopted
    assert imported(host).steps
    assert [path.stat().st_mode & 0o007 for path in paths] == [0, 0, 0, 4]
    assert (host.layout.static / "site.0123456789ab.css").stat().st_mode & 0o777 == 0o644
    assert host.look().adopted


def test_what_was_shut_out_meanwhile_is_let_in_again(host: LegacyHost) -> None:
    """A run that began before an import had ended, whose controller was killed, sets the directory's mode."""
    imported(host)
    host.layout.releases.chmod(0o750)
    steps = imported(host).steps
    assert steps == [f"let others pass through {host.layout.releases}"]
    assert host.layout.releases.stat().st_mode & 0o007 == 1


def test_names_change_places_in_one_step(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    exchange(tmp_path / "directory", tmp_path / "link")
    assert (tmp_path / "link").is_dir()
    assert (tmp_path / "directory").readlink() == Path("elsewhere")


def test_an_exchange_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match="No such file or directory"):
        exchange(tmp_path / "one", tmp_path / "other")


def test_git_tells_where_the_tree_comes_from_but_no_token(host: LegacyHost) -> None:
    answers = {"config": "https://me:token@github.com/x/amy.git", "rev-parse": "c" * 40, "describe": "v4.1.2"}

    def git(command: Any, **_options: object) -> Finished:
        return Finished(0, next(answer for word, answer in answers.items() if word in command) + "\n", "")

    (host.layout.repo / ".git").mkdir()
    origin = legacy_import.git_origin(git, host.layout.repo)
    assert (origin.commit, origin.version, origin.repository) == ("c" * 40, "v4.1.2", "https://github.com/x/amy.git")
    assert legacy_import.release_id(origin, "0" * 56 + "12345678") == "cccccccccc-12345678"


def test_the_record_is_for_people_to_read(host: LegacyHost) -> None:
    done = imported(host)
    noted = json.loads((host.layout.root / "adopted/adoption.json").read_text())
    assert noted["release"] == done.release
    assert noted["users"] == [1000]
