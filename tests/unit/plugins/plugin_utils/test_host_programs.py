"""A program packed for hosts runs without Ansible, holds only what it needs, and is the same for the same code."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.plugin_utils.host_programs import PACKAGE, packed

GREETING = f"""\
import sys
from {PACKAGE} import words
from {PACKAGE}.grammar import sentence


def main() -> int:
    print(sentence(words.HELLO, *sys.argv[1:]))
    return 3
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "greeting.py").write_text(GREETING)
    (tmp_path / "words.py").write_text('HELLO = "Hello"\n')
    (tmp_path / "grammar.py").write_text('def sentence(*words: str) -> str:\n    return " ".join(words) + "."\n')
    (tmp_path / "unrelated.py").write_text("import ansible\n")
    return tmp_path


def test_it_runs_by_itself_with_its_arguments_and_exit_status(directory: Path, tmp_path: Path) -> None:
    program = tmp_path / "greet"
    program.write_bytes(packed(directory, "greeting:main"))
    program.chmod(0o755)
    # Debian's Python stands in the first line; the same file runs with any.
    done = subprocess.run(
        ["python3", "-I", program, "you"], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin"}
    )
    assert (done.returncode, done.stdout) == (3, "Hello you.\n"), done.stderr
    assert program.read_bytes().startswith(b"#!/usr/bin/python3\n")


def test_it_holds_what_it_imports_and_nothing_else(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "greet").write_bytes(packed(directory, "greeting:main"))
    names = zipfile.ZipFile(tmp_path / "greet").namelist()
    modules = {Path(name).stem for name in names} - {"__init__", "__main__"}
    assert modules == {"greeting", "words", "grammar"}


def test_the_same_code_gives_the_same_file(directory: Path) -> None:
    assert packed(directory, "greeting:main") == packed(directory, "greeting:main")


@pytest.mark.parametrize(
    ("main", "message"),
    [
        ("greeting", "names no function"),
        ("greeting:nothing", r"has no function nothing\(\)"),
        ("nowhere:main", r"nowhere\.py is missing"),
        ("unrelated:main", "imports ansible, which hosts do not have"),
    ],
)
def test_what_cannot_run_on_a_host_is_refused(directory: Path, main: str, message: str) -> None:
    with pytest.raises(WebappsError, match=message):
        packed(directory, main)
