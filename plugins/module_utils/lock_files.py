# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock files: which one an application has, and how it becomes a file of requirements that pip installs.

The tool that wrote a lock file reads it. Each is pinned, and installed in an environment of its own on the builder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

AUTO = "auto"
# Lock files that are looked for, and the tool that reads each; pip reads its own.
TOOLS = {"requirements.txt": "", "Pipfile.lock": "pipenv", "poetry.lock": "poetry", "uv.lock": "uv"}
# What a person writes, and what makes the lock file from it.
MANIFESTS = {"pipenv": "Pipfile", "poetry": "pyproject.toml", "uv": "pyproject.toml"}
# Pipfile.lock has other names than Pipfile for the first two categories.
CATEGORIES = {"packages": "default", "dev-packages": "develop"}
# How poetry and uv say that a lock file is older than its manifest; pipenv is asked.
STALE = ("changed significantly since poetry.lock was last generated", "needs to be updated, but `--locked`")
# Tools find settings in many places; none of them shall decide here.
QUIET = {
    "PIPENV_DONT_LOAD_ENV": "1",
    "PIPENV_IGNORE_VIRTUALENVS": "1",
    "POETRY_VIRTUALENVS_CREATE": "false",
    "UV_PYTHON_DOWNLOADS": "never",
}
PIP = ("-m", "pip", "--no-input", "--disable-pip-version-check", "--quiet")


@dataclass(frozen=True)
class Lock:
    """A lock file in the source, and what of it is wanted besides the application's own dependencies."""

    path: Path
    groups: Sequence[str] = ()
    extras: Sequence[str] = ()

    @property
    def tool(self) -> str:
        """The program that reads it; "" where pip does."""
        return TOOLS.get(self.path.name, "")

    @property
    def directory(self) -> Path:
        return self.path.parent

    @property
    def manifest(self) -> Path:
        return self.directory / MANIFESTS[self.tool]


@dataclass(frozen=True)
class Builder:
    """Who builds: ``owner``, with ``home`` for caches. ``python`` makes the tools' environments from ``pins``."""

    run: Run
    owner: str
    home: Path
    pins: Path
    python: str

    def __call__(self, words: Sequence[str], *, directory: Path | None = None) -> Finished:
        """Run a program as the user that builds."""
        # runuser sets HOME itself.
        command = ["runuser", "--user", self.owner, "--", "env", f"HOME={self.home}", *words]
        return self.run(command, directory=directory, environment=QUIET)


def find(tree: Path, wanted: str) -> Path:
    """The lock file of the source in ``tree``: the one that is wanted, or with AUTO the only one there is.

    Raises WebappsError.
    """
    present = [name for name in TOOLS if (tree / name).is_file()]
    if wanted == AUTO:
        return tree / _only(present)
    path = tree / wanted
    if not path.resolve().is_relative_to(tree.resolve()):
        raise WebappsError(
            f'app_release_lock is "{wanted}", which is outside of the source: give a path relative to it.'
        )
    if not path.is_file():
        there = f"It has {', '.join(present)}." if present else "It has none in its root."
        raise WebappsError(f'app_release_lock is "{wanted}", and the source has no such file. {there}')
    return path


def _only(present: list[str]) -> str:
    if not present:
        raise WebappsError(
            f"The source has no lock file in its root: none of {', '.join(TOOLS)}. Without one nobody knows what "
            "would be installed: commit one, or name the file that it has in app_release_lock."
        )
    if len(present) > 1:
        raise WebappsError(
            f"The source has several lock files, {', '.join(present)}: say in app_release_lock which one decides."
        )
    return present[0]


def check(lock: Lock) -> None:
    """Raises WebappsError for a lock file that cannot be read as it is wanted."""
    if not lock.tool:
        if lock.groups or lock.extras:
            raise WebappsError(
                f"app_release_lock_groups and app_release_lock_extras choose nothing in {lock.path.name}, which pip "
                "installs as a whole: leave them empty."
            )
        return
    if not lock.manifest.is_file():
        raise WebappsError(
            f"{lock.path.name} has no {lock.manifest.name} beside it, so nobody knows whether it is up to date: "
            "commit both."
        )
    if lock.tool == "pipenv":
        _check_categories(lock)


def _check_categories(lock: Lock) -> None:
    # pipenv takes no notice of a category that it does not know.
    if lock.extras:
        raise WebappsError(
            "app_release_lock_extras chooses nothing in Pipfile.lock: name its categories in app_release_lock_groups."
        )
    try:
        known = sorted(set(json.loads(lock.path.read_text(encoding="utf-8"))) - {"_meta"})
    except (ValueError, TypeError):
        raise WebappsError(f"{lock.path.name} is no JSON: run `pipenv lock`, commit it and deploy that.") from None
    if missing := [name for name in lock.groups if CATEGORIES.get(name, name) not in known]:
        names = {lock_name: name for name, lock_name in CATEGORIES.items()}
        raise WebappsError(
            f"Pipfile.lock has no category {', '.join(missing)} (app_release_lock_groups). "
            f"It has {', '.join(names.get(name, name) for name in known)}."
        )


def export_arguments(lock: Lock, python: Path) -> list[str]:
    """What makes a lock file's tool print requirements with hashes, without the address of any index."""
    if lock.tool == "pipenv":
        return ["requirements", "--hash", "--exclude-index", "--categories", " ".join(["packages", *lock.groups])]
    if lock.tool == "poetry":
        chosen = [*_each("--with", lock.groups), *_each("--extras", lock.extras)]
        return ["export", "--no-interaction", "--format", "requirements.txt", "--without-urls", *chosen]
    chosen = [*_each("--group", lock.groups), *_each("--extra", lock.extras)]
    plain = ["--no-header", "--no-annotate", "--no-default-groups", "--no-emit-project"]
    return ["export", "--quiet", "--locked", "--format", "requirements.txt", "--python", str(python), *plain, *chosen]


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def export(builder: Builder, lock: Lock, python: Path) -> str:
    """The requirements that a lock file stands for, as pip reads them. ``python``: the application's interpreter.

    Raises WebappsError, above all for a lock file that is older than what it was made from.
    """
    program = installed(builder, lock.tool)
    if lock.tool == "pipenv" and builder([program, "verify"], directory=lock.directory).status != 0:
        raise _stale(lock)
    finished = builder([program, *export_arguments(lock, python)], directory=lock.directory)
    if finished.status != 0:
        if _says_stale(builder, lock, finished, [program, *export_arguments(lock, python)]):
            raise _stale(lock)
        raise WebappsError(
            f"{lock.tool} cannot read {lock.path.name}: {finished.last_words}\n"
            "Check app_release_lock_groups, app_release_lock_extras and the file itself."
        )
    return finished.output


def _says_stale(builder: Builder, lock: Lock, finished: Finished, words: list[str]) -> bool:
    if any(said in finished.output + finished.errors for said in STALE):
        return True
    # uv asks the index only when the lock file is not up to date, and then may say no more than that it got no answer.
    as_it_is = ["--frozen" if word == "--locked" else word for word in words]
    return lock.tool == "uv" and builder(as_it_is, directory=lock.directory).status == 0


def _stale(lock: Lock) -> WebappsError:
    return WebappsError(
        f"{lock.manifest.name} was changed after {lock.path.name} was made, so what is locked need not be what the "
        f"application asks for: run `{lock.tool} lock` in the application, commit it and deploy that commit."
    )


def installed(builder: Builder, tool: str) -> str:
    """The path of a tool's program, installed first if its pins are not. Raises WebappsError."""
    pins = builder.pins / f"{tool}.txt"
    digest = hashlib.sha256(pins.read_bytes() + builder.python.encode()).hexdigest()[:8]
    place = builder.home / "tools" / f"{tool}-{digest}"
    # Written last, so that an installation that was killed does not count.
    mark = place / "complete"
    if not mark.is_file():
        _install(builder, tool, place, pins)
        _checked(builder, ["touch", str(mark)], tool)
    return str(place / "bin" / tool)


def _install(builder: Builder, tool: str, place: Path, pins: Path) -> None:
    older = [str(path) for path in place.parent.glob(f"{tool}-*")]
    if older:
        _checked(builder, ["rm", "--recursive", "--force", "--", *older], tool)
    _checked(builder, [builder.python, "-m", "venv", str(place)], tool)
    pip = [str(place / "bin/python"), *PIP]
    _checked(builder, [*pip, "install", "--require-hashes", "--requirement", str(pins)], tool)


def _checked(builder: Builder, words: list[str], tool: str) -> None:
    finished = builder(words)
    if finished.status != 0:
        raise WebappsError(
            f"{tool}, which reads the application's lock file, cannot be installed on the builder: "
            f"`{' '.join(words)}` failed: {finished.last_words}\n"
            f"The builder's package index must have the versions that {builder.pins} pins."
        )
