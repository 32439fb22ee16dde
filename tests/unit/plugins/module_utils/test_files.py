"""Changes that are seen entirely or not at all, and the lock around them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files, alone, alone_in
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import temporary


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_a_file_is_replaced_for_root_alone_even_after_a_killed_attempt(tmp_path: Path) -> None:
    path = tmp_path / "program.conf"
    path.write_text("old")
    temporary(path).write_text("half a fi")
    Files().write(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_made_in_full_or_not_at_all_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    temporary(path).write_text("half a fi")
    Files().create(path, "first")
    with pytest.raises(FileExistsError):
        Files().create(path, "second")
    assert path.read_text() == "first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_moves_over_an_old_one_even_after_a_killed_attempt(tmp_path: Path) -> None:
    link = tmp_path / "repo"
    link.symlink_to("old")
    temporary(link).symlink_to("half")
    Files().link(link, "new")
    assert str(link.readlink()) == "new"
    assert list(tmp_path.iterdir()) == [link]


def test_what_is_gone_already_is_unlinked(tmp_path: Path) -> None:
    Files().unlink(tmp_path / "none")


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    clock, lock = Clock(), tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), alone(lock, 5, clock.now, clock.sleep):
        raise ZeroDivisionError
    with alone(lock, 5, clock.now, clock.sleep):
        assert clock.time == 0


def test_a_second_call_waits_for_the_first_and_names_it_when_its_patience_ends(tmp_path: Path) -> None:
    clock, lock = Clock(), tmp_path / "lock"
    with (
        alone(lock, 5, clock.now, clock.sleep),
        pytest.raises(WebappsError, match=rf"process {os.getpid()} holds .*lock.* after 5 s"),
        alone(lock, 5, clock.now, clock.sleep),
    ):
        pass
    assert 5 <= clock.time < 6


def test_a_missing_directory_names_the_role_that_makes_it(tmp_path: Path) -> None:
    clock = Clock()
    with pytest.raises(WebappsError, match="app_directory"), alone(tmp_path / "no" / "l", 5, clock.now, clock.sleep):
        pass


def test_a_directory_is_a_lock_too_and_a_missing_one_holds_nobody_up(tmp_path: Path) -> None:
    clock = Clock()
    with alone_in(tmp_path, 5, clock.now, clock.sleep, "import"):
        with (
            pytest.raises(WebappsError, match=f"Another import is at work in {tmp_path}, after 5 s"),
            alone_in(tmp_path, 5, clock.now, clock.sleep, "import"),
        ):
            pass
        with alone_in(tmp_path / "missing", 5, clock.now, clock.sleep, "import"):
            pass
    assert list(tmp_path.iterdir()) == []
