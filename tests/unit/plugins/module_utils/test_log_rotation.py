"""Rotation moves the beginning of a log into an archive, byte for byte, and touches nothing but logs."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.log_rotation import (
    COLLAPSE_RANGE,
    Directory,
    Rule,
    allocate,
    cut,
    due,
    logs,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.log_rotation_program import done, rotated
from hypothesis import given
from hypothesis import strategies as st

BLOCK = 4096
DAY = 86400.0
RULE = Rule(keep=3, size=1000, age=DAY)


def cut_slowly(handle: int, mode: int, length: int) -> None:
    """What the file system does, for file systems that cannot."""
    assert mode == COLLAPSE_RANGE
    rest = os.pread(handle, os.fstat(handle).st_size, length)
    os.ftruncate(handle, 0)
    os.pwrite(handle, rest, 0)


def cannot(handle: int, mode: int, length: int) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


def only_punches(handle: int, mode: int, length: int) -> None:
    """As Btrfs and ZFS do it."""
    if mode == COLLAPSE_RANGE:
        cannot(handle, mode, length)
    allocate(handle, mode, length)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    (tmp_path / "proc").mkdir()
    (tmp_path / "logs").mkdir()
    opened = Directory(tmp_path / "logs", tmp_path / "proc", cut_slowly)
    with opened.alone():
        yield opened


@given(st.integers(0, 10**7), st.sampled_from([512, 4096, 65536]))
def test_whole_blocks_are_cut_and_never_all(size: int, block: int) -> None:
    length = cut(size, block)
    assert length % block == 0
    assert 0 <= length < max(size, 1)
    assert size - length <= block


@pytest.mark.parametrize(
    ("size", "last", "expected"),
    [(10, None, True), (10, 0.0, False), (2000, 0.0, True), (10, -DAY, True), (10, -DAY / 2, False)],
)
def test_logs_are_due_by_size_and_by_age(size: int, last: float | None, expected: bool) -> None:
    assert due(size, last, 0.0, RULE) is expected


def test_every_log_is_one_except_those_of_others() -> None:
    names = ["a.log", "nginx_access.log", "a.log.1.gz", ".b.log", "db.sqlite3"]
    assert logs(names, ["nginx_access.log"]) == ["a.log"]


def test_archives_and_log_together_have_each_byte_once(directory: Directory) -> None:
    log = directory.path / "a.log"
    written = b""
    for number in range(3):
        new = bytes([65 + number]) * 5000
        written += new
        with log.open("ab") as stream:
            stream.write(new)
        assert directory.rotate("a.log", keep=9) % BLOCK == 0
    archives = [directory.path / f"a.log.{number}.gz" for number in (3, 2, 1)]
    assert b"".join(gzip.decompress(path.read_bytes()) for path in archives) + log.read_bytes() == written
    assert log.stat().st_size <= BLOCK


def test_where_nothing_can_be_cut_a_hole_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    opened = Directory(tmp_path, tmp_path / "proc", only_punches)
    log = tmp_path / "a.log"
    written = b""
    with opened.alone():
        for number in range(3):
            new = bytes([65 + number]) * 5000
            written += new
            with log.open("ab") as stream:
                stream.write(new)
            assert opened.rotate("a.log", keep=9) == BLOCK
            assert opened.size("a.log") <= BLOCK
    archives = [tmp_path / f"a.log.{number}.gz" for number in (3, 2, 1)]
    kept = b"".join(gzip.decompress(path.read_bytes()) for path in archives) + log.read_bytes().lstrip(b"\0")
    assert kept == written


def test_the_oldest_archives_go(directory: Directory) -> None:
    for _rotation in range(5):
        (directory.path / "a.log").write_bytes(b"x" * 5000)
        directory.rotate("a.log", keep=2)
    assert sorted(path.name for path in directory.path.iterdir()) == ["a.log", "a.log.1.gz", "a.log.2.gz"]


def test_less_than_a_block_stays(directory: Directory) -> None:
    (directory.path / "a.log").write_bytes(b"x" * 4096)
    assert directory.rotate("a.log", keep=2) == 0


def test_what_a_killed_rotation_left_is_overwritten(directory: Directory) -> None:
    (directory.path / ".a.log.rotating").write_bytes(b"half")
    (directory.path / "a.log").write_bytes(b"x" * 5000)
    directory.rotate("a.log", keep=2)
    assert gzip.decompress((directory.path / "a.log.1.gz").read_bytes()) == b"x" * 4096


class FullDisk(Directory):
    """A directory where the log a.log has no room for an archive."""

    def rotate(self, name: str, keep: int) -> int:
        if name == "a.log":
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().rotate(name, keep)


class Vanishing(Directory):
    """A directory where the log a.log is gone once it was listed."""

    def names(self) -> list[str]:
        return [*super().names(), "a.log"]


@pytest.mark.parametrize(
    ("kind", "there", "words"),
    [(FullDisk, ["a.log", "b.log"], "No space left on device"), (Vanishing, ["b.log"], "No such file or directory")],
)
def test_a_log_that_cannot_be_rotated_is_named_and_the_others_are_rotated(
    tmp_path: Path, kind: type[Directory], there: list[str], words: str
) -> None:
    (tmp_path / "proc").mkdir()
    for name in there:
        (tmp_path / name).write_bytes(b"x" * 5000)
    (problem,) = rotated(kind(tmp_path, tmp_path / "proc", cut_slowly), [], RULE, DAY)
    assert problem.startswith(f"{tmp_path / 'a.log'} was not rotated ({words}): correct the cause")
    assert (tmp_path / "b.log.1.gz").exists()


def test_half_an_archive_does_not_stay_on_a_full_disk(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory.path / "a.log").write_bytes(b"x" * 5000)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fchown", full)
    with pytest.raises(OSError, match="No space left"):
        directory.rotate("a.log", keep=2)
    assert [path.name for path in directory.path.iterdir()] == ["a.log"]
    assert (directory.path / "a.log").stat().st_size == 5000


def test_a_log_that_something_else_cuts_meanwhile_is_left_as_it_is(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = directory.path / "a.log"
    log.write_bytes(b"x" * 5000)
    read = os.pread

    def cut_first(handle: int, length: int, position: int) -> bytes:
        os.truncate(log, 100)
        return read(handle, length, position)

    monkeypatch.setattr(os, "pread", cut_first)
    with pytest.raises(WebappsError, match="had 5000 bytes and ends at 100 now"):
        directory.rotate("a.log", keep=2)
    assert [path.name for path in directory.path.iterdir()] == ["a.log"]
    assert log.read_bytes() == b"x" * 100


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match=r"logs\.json cannot be used .*site\.yml"):
        done([], str(tmp_path / "logs.json"))


def test_links_and_files_with_two_names_are_refused(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 5000)
    (directory.path / "a.log").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", directory.path / "b.log")
    for name in ("a.log", "b.log"):
        with pytest.raises(WebappsError, match="remove or exclude it"):
            directory.rotate(name, keep=2)
    assert (tmp_path / "secret").stat().st_size == 5000


@pytest.mark.parametrize(("flags", "refused"), [(0o100001, True), (0o102001, False), (0o100000, False)])
def test_a_writer_with_a_position_of_its_own_is_named(
    directory: Directory, tmp_path: Path, flags: int, refused: bool
) -> None:
    (directory.path / "a.log").write_bytes(b"x" * 5000)
    process = tmp_path / "proc" / "4242"
    (process / "fd").mkdir(parents=True)
    (process / "fdinfo").mkdir()
    (process / "fd" / "3").symlink_to(directory.path / "a.log")
    (process / "fdinfo" / "3").write_text(f"pos:\t0\nflags:\t0{flags:o}\n")
    if refused:
        with pytest.raises(WebappsError, match=r"Process 4242 writes .* without O_APPEND"):
            directory.rotate("a.log", keep=2)
    assert refused or directory.rotate("a.log", keep=2) == BLOCK


def test_a_file_system_that_cannot_cut_is_named_with_the_remedy(tmp_path: Path) -> None:
    directory = Directory(tmp_path, tmp_path, cannot)
    with directory.alone(), pytest.raises(WebappsError, match="cannot cut the beginning off a file"):
        directory.assert_can_cut()
    assert list(tmp_path.iterdir()) == []


def test_two_rotations_at_once_are_refused(tmp_path: Path) -> None:
    with (
        Directory(tmp_path).alone(),
        pytest.raises(WebappsError, match="Another rotation"),
        Directory(tmp_path).alone(),
    ):
        pass


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match="run app_directory"), Directory(tmp_path / "no").alone():
        pass
