"""What the tests of releases share: real programs, real repositories, releases as a build leaves them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.artifacts import Artifacts, pack
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import LOCALE, NOT_FOUND, Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import Description
from ansible_collections.carpentries.webapps.plugins.module_utils.staging import Artifact

NOW = "2026-03-01T12:00:00Z"
PLATFORM = "debian-12-x86_64"


def run(
    command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run a program as a module on a host would."""
    try:
        done = subprocess.run(
            list(command),
            cwd=directory,
            env={**os.environ, **LOCALE, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        return Finished(NOT_FOUND, "", str(error))
    return Finished(done.returncode, done.stdout, done.stderr)


class Recorder:
    """Answers commands instead of running them, and keeps what was asked."""

    def __init__(self, *answers: Finished) -> None:
        self._answers = list(answers)
        self.calls: list[tuple[list[str], Path | None, Mapping[str, str]]] = []

    def __call__(
        self, command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        self.calls.append((list(command), directory, environment or {}))
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def git(directory: Path, *arguments: str) -> str:
    """Run git in a directory, deaf to the settings of the person who runs the tests."""
    identity = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_{key}": "test@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")},
    }
    finished = run(["git", *arguments], directory=directory, environment=identity)
    assert finished.status == 0, finished.last_words
    return finished.output.strip()


def commit(repository: Path, files: Mapping[str, str], message: str = "change") -> str:
    """Commit these files and return the commit's id."""
    for name, text in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", message)
    return git(repository, "rev-parse", "HEAD")


def release_id(number: int) -> str:
    return f"{number:010x}-{number:08x}"


def description(number: int, platform: str = PLATFORM, static_dir: str = "staticfiles") -> Description:
    return Description(
        id=release_id(number),
        version=f"v{number}",
        commit=f"{number:040x}",
        repository="https://example.org/app.git",
        python="3.11.2",
        platform=platform,
        static_dir=static_dir,
    )


def host(tmp_path: Path, name: str = "amy.example.org") -> Layout:
    """A host as site.yml leaves it."""
    layout = Layout(tmp_path / name)
    for directory in (layout.releases, layout.environments, layout.static):
        directory.mkdir(parents=True)
    return layout


def build(layout: Layout, number: int, static: Mapping[str, str] | None = None) -> Path:
    """The tree that a build leaves on the builder."""
    tree = layout.release(release_id(number))
    files = {"manage.py": "#!/bin/sh\n", "config/wsgi.py": f"release = {number}\n"}
    files |= {f"staticfiles/{name}": text for name, text in (static or {"app.css": "body {}"}).items()}
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "manage.py").chmod(0o777)
    (tree / ".venv").mkdir()
    (tree / ".venv" / "python").symlink_to("/usr/bin/python3")
    return tree


def packed(tmp_path: Path, number: int, static: Mapping[str, str] | None = None, **described: str) -> Artifact:
    """An artifact of a release, packed on another host."""
    builder = Layout(tmp_path / "builder" / f"{number}.example.org")
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.directory.mkdir(exist_ok=True)
    build(builder, number, static)
    digest = pack(run, builder, artifacts, description(number, **described))
    return Artifact(artifacts.path(release_id(number)), digest)
