"""Which access control entries a user lacks to read logs, now and after rotation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.log_access import SHARED, Access, Acl, Grant, grants

OPEN = "user::rwx\ngroup::r-x\nother::r-x\n"
PASSABLE = "user::rwx\ngroup::rwx\nother::--x\n"
PRIVATE = "user::rwx\ngroup::---\nother::---\n"
FILE = "user::rw-\ngroup::r--\nother::---\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/a.log").write_text("")
    return tmp_path / "logs/a.log"


def missing(log: Path, lists: Mapping[Path, str]) -> list[Grant]:
    return grants([log], "cwagent", lambda path: Acl.parsed(lists.get(path, OPEN)))


def test_a_list_says_what_a_user_may() -> None:
    acl = Acl.parsed("user::rw-\nuser:cwagent:r--\ngroup::r--\nmask::r--\nother::---\n")
    assert acl.allows("cwagent", "r")
    assert not acl.allows("cwagent", "rx")
    assert not acl.allows("nobody", "r")


def test_the_mask_limits_what_a_user_may() -> None:
    acl = Acl.parsed("user::rw-\nuser:cwagent:r--\t#effective:---\ngroup::---\nmask::---\nother::---\n")
    assert not acl.allows("cwagent", "r")


def test_a_file_and_its_directory_are_opened_and_nothing_above(log: Path) -> None:
    found = missing(log, {log: FILE, log.parent: PASSABLE})
    assert found == [
        Grant(
            log.parent,
            "default:user::rwx,default:group::r-x,default:other::--x,default:user:cwagent:r-x",
        ),
        Grant(log, "user:cwagent:r--"),
    ]


def test_directories_on_the_way_are_only_made_passable(log: Path) -> None:
    (first, *_others) = missing(log, {log.parent.parent: PRIVATE})
    assert first == Grant(log.parent.parent, "user:cwagent:--x")


def test_a_directory_that_has_defaults_keeps_them(log: Path) -> None:
    others = "default:user::rwx\ndefault:user:other:r-x\ndefault:group::r-x\ndefault:mask::r-x\ndefault:other::---\n"
    (grant,) = missing(log, {log.parent: OPEN + others})
    assert grant == Grant(log.parent, "default:user:cwagent:r-x")


def test_nothing_is_missing_the_second_time(log: Path) -> None:
    own = "default:user::rwx\ndefault:user:cwagent:r-x\ndefault:group::r-x\ndefault:mask::r-x\ndefault:other::--x\n"
    assert missing(log, {log: FILE + "user:cwagent:r--\nmask::r--\n", log.parent: PASSABLE + own}) == []


def test_where_everything_lies_new_files_are_not_opened() -> None:
    assert Path("/var/log") in SHARED
    assert [grant for grant in missing(Path("/var/log/none.log"), {}) if grant.path == Path("/var/log")] == []


def test_what_does_not_exist_needs_nothing_yet(tmp_path: Path) -> None:
    assert missing(tmp_path / "no/a.log", {}) == []


def test_links_and_directories_are_no_logs(log: Path) -> None:
    log.unlink()
    log.symlink_to("/etc/shadow")
    with pytest.raises(WebappsError, match="is a link"):
        missing(log, {})
    log.unlink()
    log.mkdir()
    with pytest.raises(WebappsError, match="is no file"):
        missing(log, {})


def refusing(
    command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Finished:
    return Finished(1, "", f"{command[0]}: Permission denied")


def test_a_log_that_cannot_be_read_is_an_error_with_its_cause(log: Path) -> None:
    with pytest.raises(WebappsError, match=r"cwagent cannot read .*runuser: Permission denied.*0640"):
        Access(refusing).assert_readable([log], "cwagent")
    with pytest.raises(WebappsError, match="cannot be set"):
        Access(refusing).apply(Grant(log, "user:cwagent:r--"))
    with pytest.raises(WebappsError, match="cannot be read"):
        Access(refusing).acl(log)
