"""Whatever lock file an application has, pip gets requirements with hashes from it, or a person gets a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.lock_files import (
    AUTO,
    Builder,
    Lock,
    check,
    export,
    export_arguments,
    find,
    installed,
)

from tests.unit.plugins.release_support import Recorder

PYTHON = Path("/release/.venv/bin/python")
OK = Finished(0, "asgiref==3.8.1 --hash=sha256:00\n", "")


def source(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"_meta": {}, "default": {}, "develop": {}, "site": {}}')
    return tmp_path


def builder(tmp_path: Path, run: Recorder) -> Builder:
    pins, home = tmp_path / "pins", tmp_path / "home"
    pins.mkdir()
    for tool in ("pipenv", "poetry", "uv"):
        (pins / f"{tool}.txt").write_text(f"{tool}==1\n")
    return Builder(run, "amy", home, pins, "/usr/bin/python3")


def ready(tmp_path: Path, run: Recorder, tool: str) -> Builder:
    """A builder on which a tool is installed."""
    made = builder(tmp_path, run)
    mark = Path(installed(made, tool)).parent.parent / "complete"
    mark.parent.mkdir(parents=True)
    mark.touch()
    run.calls.clear()
    return made


@pytest.mark.parametrize("name", ["requirements.txt", "Pipfile.lock", "poetry.lock", "uv.lock"])
def test_the_only_lock_file_is_found(tmp_path: Path, name: str) -> None:
    assert find(source(tmp_path, name, "Pipfile", "pyproject.toml"), AUTO) == tmp_path / name


def test_no_lock_file_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match=r"none of requirements.txt, Pipfile.lock, poetry.lock, uv.lock"):
        find(source(tmp_path, "pyproject.toml"), AUTO)


def test_several_lock_files_are_refused_by_name_until_one_is_chosen(tmp_path: Path) -> None:
    tree = source(tmp_path, "requirements.txt", "uv.lock")
    with pytest.raises(WebappsError, match=r"requirements.txt, uv.lock: say in app_release_lock"):
        find(tree, AUTO)
    assert find(tree, "uv.lock") == tree / "uv.lock"


def test_a_file_in_pips_format_may_have_any_name(tmp_path: Path) -> None:
    path = find(source(tmp_path, "requirements/production.txt"), "requirements/production.txt")
    assert Lock(path).tool == ""


def test_a_lock_file_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match=r'"poetry.lock", and the source has no such file. It has uv.lock'):
        find(source(tmp_path, "uv.lock"), "poetry.lock")


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/requirements.txt"])
def test_a_lock_file_outside_of_the_source_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WebappsError, match="outside of the source"):
        find(tmp_path, name)


def test_groups_of_a_file_that_has_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match="leave them empty"):
        check(Lock(source(tmp_path, "requirements.txt") / "requirements.txt", groups=["dev"]))


def test_a_lock_file_without_what_it_was_made_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match=r"uv.lock has no pyproject.toml beside it"):
        check(Lock(source(tmp_path, "uv.lock") / "uv.lock"))


def test_a_category_that_pipenv_would_take_no_notice_of_is_refused(tmp_path: Path) -> None:
    tree = source(tmp_path, "Pipfile", "Pipfile.lock")
    check(Lock(tree / "Pipfile.lock", groups=["site", "dev-packages"]))
    with pytest.raises(WebappsError, match=r"no category nope .* It has packages, dev-packages, site"):
        check(Lock(tree / "Pipfile.lock", groups=["nope"]))


def test_a_duplicate_key_in_a_pipfile_lock_is_no_reason_to_refuse_it(tmp_path: Path) -> None:
    tree = source(tmp_path, "Pipfile")
    (tree / "Pipfile.lock").write_text('{"_meta": {}, "default": {"a": {}, "a": {}}, "develop": {}}')
    check(Lock(tree / "Pipfile.lock"))


def test_each_tool_is_asked_for_hashes_without_an_index_and_for_what_is_wanted_alone(tmp_path: Path) -> None:
    pipenv = export_arguments(Lock(tmp_path / "Pipfile.lock", ["site"]), PYTHON)
    assert pipenv == ["requirements", "--hash", "--exclude-index", "--categories", "packages site"]
    poetry = export_arguments(Lock(tmp_path / "poetry.lock", ["site"], ["sql"]), PYTHON)
    assert poetry[-5:] == ["--without-urls", "--with", "site", "--extras", "sql"]
    uv = export_arguments(Lock(tmp_path / "uv.lock", ["site"], ["sql"]), PYTHON)
    assert uv[-4:] == ["--group", "site", "--extra", "sql"]
    assert {"--locked", "--no-default-groups", "--no-emit-project"} < set(uv)


def test_the_tool_runs_as_the_user_that_builds_and_deaf_to_its_settings(tmp_path: Path) -> None:
    run = Recorder(OK)
    made = ready(tmp_path, run, "uv")
    assert export(made, Lock(source(tmp_path, "uv.lock") / "uv.lock"), PYTHON) == OK.output
    ((command, directory, environment),) = run.calls
    assert command[:6] == ["runuser", "--user", "amy", "--", "env", f"HOME={tmp_path / 'home'}"]
    assert directory == tmp_path
    assert environment["PIPENV_DONT_LOAD_ENV"] == "1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Pipfile.lock", "Pipfile.lock is out-of-date."),
        ("poetry.lock", "pyproject.toml changed significantly since poetry.lock was last generated."),
        ("uv.lock", "error: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided."),
    ],
)
def test_a_lock_file_older_than_its_manifest_is_refused(tmp_path: Path, name: str, said: str) -> None:
    run = Recorder(Finished(0, "", ""))
    lock = Lock(source(tmp_path, name) / name)
    made = ready(tmp_path, run, lock.tool)
    run._answers = [Finished(1, "", said)]
    with pytest.raises(WebappsError, match=rf"was changed after {name} was made(?s:.*)`{lock.tool} lock`"):
        export(made, lock, PYTHON)


def test_uv_without_an_index_is_understood_when_only_the_lock_file_as_it_is_can_be_read(tmp_path: Path) -> None:
    run = Recorder(Finished(0, "", ""))
    made = ready(tmp_path, run, "uv")
    run._answers = [Finished(2, "", "error: Request failed after 3 retries"), OK]
    with pytest.raises(WebappsError, match=r"was changed after uv\.lock was made"):
        export(made, Lock(source(tmp_path, "uv.lock") / "uv.lock"), PYTHON)
    assert "--frozen" in run.calls[-1][0]


def test_what_else_a_tool_says_is_told(tmp_path: Path) -> None:
    run = Recorder(Finished(0, "", ""))
    made = ready(tmp_path, run, "uv")
    run._answers = [Finished(2, "", "error: Extra `nope` is not defined")]
    with pytest.raises(WebappsError, match=r"uv cannot read uv.lock: .*`nope`(?s:.*)app_release_lock_extras"):
        export(made, Lock(source(tmp_path, "uv.lock") / "uv.lock"), PYTHON)


def test_only_the_tool_that_is_needed_is_installed_with_hashes_and_marked_last(tmp_path: Path) -> None:
    run = Recorder(OK)
    program = installed(builder(tmp_path, run), "poetry")
    commands = [command[6:] for command, _directory, _environment in run.calls]
    assert [command[0] for command in commands] == ["/usr/bin/python3", f"{Path(program).parent}/python", "touch"]
    assert "--require-hashes" in commands[1]
    assert commands[1][-1].endswith("poetry.txt")


def test_an_installed_tool_is_used_again_and_other_pins_replace_it(tmp_path: Path) -> None:
    run = Recorder(OK)
    made = ready(tmp_path, run, "uv")
    installed(made, "uv")
    assert run.calls == []
    (made.pins / "uv.txt").write_text("uv==2\n")
    installed(made, "uv")
    assert run.calls[0][0][6] == "rm"


def test_a_tool_that_cannot_be_installed_is_told_with_where_it_is_pinned(tmp_path: Path) -> None:
    made = builder(tmp_path, Recorder(Finished(1, "", "No matching distribution found for uv==1")))
    with pytest.raises(WebappsError, match=r"uv, which reads(?s:.*)No matching distribution(?s:.*)pins pins"):
        installed(made, "uv")
