# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a commit brings against the one that serves, asked of the repository's server and kept nowhere.

Two fetches, both small where the server can filter: all commits without files, for the log; and the two trees without
the files' content, for the migrations. A server that cannot filter sends more, and the answer is the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.git_access import GIT_ENVIRONMENT, advice

LIVE, TARGET = "refs/plan/live", "refs/plan/target"
MIGRATION = re.compile(r"(?:.*/)?(?P<app>[^/]+)/migrations/(?P<name>[^/_][^/]*|_(?!_init__)[^/]*)\.py")
# What the server must have: named alone, or among all that its branches and tags lead to.
EVERYTHING = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
TIMED_OUT = 124


@dataclass(frozen=True)
class Question:
    """``live``: the full id of the commit that serves, "" if nobody knows it. ``limit``: how many commits to name.

    ``timeout``: seconds for one transfer.
    """

    repository: str
    target: str
    live: str
    limit: int
    timeout: int


class Scratch:
    """A bare repository that is thrown away. ``places``: an empty directory for it."""

    def __init__(self, run: Run, path: Path, question: Question, access: Mapping[str, str] = GIT_ENVIRONMENT) -> None:
        self._run = run
        self._path = path
        self._question = question
        self._access = access

    def fetch(self, *options: str) -> str:
        """Have both commits, under LIVE and TARGET; returns why not, "" if it worked."""
        asked = self._question
        made = self._git(["init", "--quiet", "--bare", str(self._path)])
        if made.status:
            return made.last_words
        self._git(["remote", "add", "origin", asked.repository])
        finished = self._fetch([*options, "origin", f"{asked.target}:{TARGET}", f"{asked.live}:{LIVE}"])
        if finished.status and finished.status != TIMED_OUT:
            # An old server gives only what a branch or tag leads to.
            deep = [option for option in options if not option.startswith("--depth")]
            finished = self._fetch([*deep, "origin", *EVERYTHING])
            if not finished.status:
                finished = self._name()
        if finished.status == TIMED_OUT:
            return f"{asked.repository} did not send it within {asked.timeout} s (app_release_git_timeout)."
        return f"{finished.last_words}\n{advice(finished.last_words)}" if finished.status else ""

    def lines(self, *arguments: str) -> list[str]:
        """What git prints about what was fetched; nothing where it fails."""
        finished = self._git(list(arguments))
        return finished.output.splitlines() if finished.status == 0 else []

    def _name(self) -> Finished:
        finished = Finished(0, "", "")
        for name, commit in ((TARGET, self._question.target), (LIVE, self._question.live)):
            finished = self._git(["update-ref", name, commit])
            if finished.status:
                words = (
                    f"The repository does not have the commit {commit}: was it pushed, or has history been rewritten?"
                )
                return Finished(finished.status, "", words)
        return finished

    def _fetch(self, arguments: Sequence[str]) -> Finished:
        limited = ["timeout", "--kill-after=5", str(self._question.timeout)]
        command = [*limited, "git", f"--git-dir={self._path}", "fetch", "--quiet", "--no-tags", "--force", *arguments]
        return self._run(command, environment=self._access)

    def _git(self, arguments: Sequence[str]) -> Finished:
        # What a filter left out must not be fetched piece by piece, unasked.
        environment = {**self._access, "GIT_NO_LAZY_FETCH": "1"}
        return self._run(["git", f"--git-dir={self._path}", *arguments], environment=environment)


def changes(run: Run, place: Path, question: Question, access: Mapping[str, str] = GIT_ENVIRONMENT) -> dict[str, Any]:
    """The result of the module: what the target brings, and what it lacks, against the live commit.

    ``place``: an empty directory, for the caller to remove.
    """
    if not question.live:
        return _unknown("Nobody knows the commit that serves.")
    if question.live == question.target:
        return _known([], [], 0, 0, [], [])
    history = Scratch(run, place / "history", question, access)
    if reason := history.fetch("--filter=tree:0"):
        return _unknown(reason)
    trees = Scratch(run, place / "trees", question, access)
    if reason := trees.fetch("--depth=1", "--filter=blob:none"):
        return _unknown(reason)
    return _known(
        _log(history, question.limit, f"{LIVE}..{TARGET}"),
        _log(history, question.limit, f"{TARGET}..{LIVE}"),
        _count(history, f"{LIVE}..{TARGET}"),
        _count(history, f"{TARGET}..{LIVE}"),
        migrations_of(_files(trees, "A")),
        migrations_of(_files(trees, "D")),
    )


def _log(history: Scratch, limit: int, between: str) -> list[str]:
    # The server's words go to a terminal: no control character of a subject may.
    lines = history.lines("log", f"--max-count={limit}", "--format=%h %s", "--abbrev=10", between)
    return ["".join(letter for letter in line if letter.isprintable()) for line in lines]


def _count(history: Scratch, between: str) -> int:
    return int((history.lines("rev-list", "--count", between) or ["0"])[0])


def _files(trees: Scratch, kind: str) -> list[str]:
    arguments = ["-r", "--name-only", "--no-renames", f"--diff-filter={kind}", LIVE, TARGET]
    return trees.lines("-c", "core.quotePath=false", "diff-tree", *arguments)


def migrations_of(paths: Sequence[str]) -> list[dict[str, str]]:
    """The migrations among files, in the order of their names. An app's label is taken to be its directory's name."""
    found = ((path, MIGRATION.fullmatch(path)) for path in sorted(paths))
    return [{"app": match["app"], "name": match["name"], "path": path} for path, match in found if match]


def _known(
    commits: list[str],
    dropped: list[str],
    count: int,
    dropped_count: int,
    added: list[dict[str, str]],
    removed: list[dict[str, str]],
) -> dict[str, Any]:
    return {
        "known": True,
        "reason": "",
        "commits": commits,
        "commits_count": count,
        "dropped": dropped,
        "dropped_count": dropped_count,
        "migrations": added,
        "migrations_removed": removed,
    }


def _unknown(reason: str) -> dict[str, Any]:
    return {**_known([], [], 0, 0, [], []), "known": False, "reason": reason}
