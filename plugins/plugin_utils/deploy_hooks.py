# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks of a deploy: which there are, where their files of tasks are, and what keeps one from being run."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.mod_args import ModuleArgsParser
from ansible.parsing.vault import is_encrypted
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

PHASES = ("build", "stage", "backup", "migrate", "roll_workers", "roll_web", "scheduler", "finish")
NAMES = (*(f"{side}_{phase}" for phase in PHASES for side in ("before", "after")), "on_failure")
SECTIONS = ("block", "rescue", "always")
EXAMPLE = "{before_migrate: [../hooks/close_registration.yml]}"


def files(hooks: Mapping[str, Sequence[str]], name: str, sources: Sequence[str]) -> list[str]:
    """The files of one hook, in their order. Raises WebappsError for one that is not there."""
    found = [(given, located(given, sources)) for given in hooks.get(name) or []]
    missing = [_missing(name, given, sources) for given, path in found if path is None]
    if missing:
        raise WebappsError(" ".join(missing))
    return [str(path) for _given, path in found]


def problems(hooks: object, sources: Sequence[str]) -> list[str]:
    """What keeps these from being the hooks of a deploy, a sentence each."""
    if not isinstance(hooks, Mapping):
        return [f"deploy_hooks is {_kind(hooks)}: give a dictionary of hooks and files of tasks, such as {EXAMPLE}."]
    found = [_unknown(str(name)) for name in hooks if name not in NAMES]
    for name, given in hooks.items():
        if name not in NAMES:
            continue
        if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
            found.append(f"deploy_hooks.{name} is {_kind(given)}: give a list of paths, such as {EXAMPLE}.")
            continue
        for one in given:
            path = located(one, sources)
            found += [_missing(name, one, sources)] if path is None else list(_in_file(f"deploy_hooks.{name}", path))
    return found


def located(given: str, sources: Sequence[str]) -> Path | None:
    """The file that a hook means, or None. A relative path begins at the first inventory that has it."""
    return next((path for path in _candidates(given, sources) if path.is_file()), None)


def _candidates(given: str, sources: Sequence[str]) -> list[Path]:
    path = Path(given).expanduser()
    if path.is_absolute():
        return [path]
    # A source with a comma is a list of hosts and has no directory.
    places = [Path(source) for source in sources if "," not in source]
    return [(place if place.is_dir() else place.parent) / path for place in places]


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, n=1)
    meant = f"; {near[0]} may be meant" if near else ""
    return f'deploy_hooks has "{name}", which is no hook{meant}. Hooks are {", ".join(NAMES)}.'


def _missing(name: str, given: str, sources: Sequence[str]) -> str:
    looked = ", ".join(str(path) for path in _candidates(given, sources))
    where = f"Looked for was {looked}" if looked else "The inventory is no file, so it has no directory"
    return (
        f'deploy_hooks.{name} names "{given}", which is no file. {where}: write it, or give a path that is absolute or '
        "relative to the inventory's directory."
    )


def _in_file(hook: str, path: Path) -> Iterator[str]:
    """What is wrong with a file of tasks."""
    where = f"{path} ({hook})"
    try:
        # Only the run itself has the password.
        if is_encrypted(path.read_bytes()):
            return
        content = DataLoader().load_from_file(str(path), cache="none")
    except (AnsibleError, OSError, UnicodeDecodeError) as error:
        yield f"{where} cannot be read as YAML: {_one_line(error)}. Correct it."
        return
    if not isinstance(content, list):
        yield f"{where} is no list of tasks but {_kind(content)}: write a list, each entry a task."
        return
    yield from _in_tasks(where, content)


def _in_tasks(where: str, tasks: Sequence[object]) -> Iterator[str]:
    for number, task in enumerate(tasks, 1):
        named = f"{where}, entry {number}"
        if not isinstance(task, Mapping):
            yield f"{named}, is no task but {_kind(task)}: write name and module."
        elif "hosts" in task or any(str(key).split(".")[-1] == "import_playbook" for key in task):
            yield f"{named}, is a play: a hook is a list of tasks, which run where the phase does; leave hosts out."
        elif "block" in task:
            for section in SECTIONS:
                inner = task.get(section) or []
                yield from _in_tasks(f"{named}, {section}", inner if isinstance(inner, list) else [inner])
        else:
            yield from _in_task(f'{named}, "{task.get("name", "")}"', task)


def _in_task(named: str, task: Mapping[str, Any]) -> Iterator[str]:
    try:
        action = ModuleArgsParser(dict(task)).parse()[0]
    except AnsibleError as error:
        yield f"{named}: {_one_line(error)}. Correct the task, or install the collection that has the module."
        return
    if not action:
        yield f"{named}, has no module: write one."


def _one_line(error: Exception) -> str:
    # What follows the first line quotes the file, which may hold a secret.
    text = str(getattr(error, "message", "") or error)
    return text.strip().splitlines()[0].rstrip(".") if text.strip() else type(error).__name__


KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (Mapping, "a dictionary"),
    (str, "text"),
    (Sequence, "a list"),
)


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    return next((words for kind, words in KINDS if isinstance(value, kind)), f"{type(value).__name__} {value}")
