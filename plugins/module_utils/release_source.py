# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A commit's files, from a git repository into the directory of a release that is to be built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.git_access import GIT_ENVIRONMENT, advice
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import DESCRIPTION, building_mark
from ansible_collections.carpentries.webapps.plugins.module_utils.shared_directories import link

# What git means by an infinite depth.
WHOLE = 0x7FFFFFFF
MIRROR_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


@dataclass(frozen=True)
class Source:
    """What to take from where. ``ref``: the tag or branch that named the commit, for servers that give no bare one.

    ``timeout``: seconds for one transfer.
    """

    repository: str
    commit: str
    ref: str | None
    timeout: int


class Mirror:
    """A bare git repository on the builder that keeps what was fetched, as shallow as the server allows."""

    def __init__(self, run: Run, path: Path, access: Mapping[str, str] = GIT_ENVIRONMENT) -> None:
        self._run = run
        self._path = path
        # The environment in which git reaches the server.
        self._access = access

    def fetch(self, source: Source) -> None:
        """Have the source's commit here. Raises WebappsError when no way of asking for it gets it."""
        self._create()
        failures = []
        for attempt in self._attempts(source):
            if self._has(source.commit):
                return
            finished = self._fetch(attempt, source)
            failures += [finished.last_words] if finished.status else []
        if not self._has(source.commit):
            reasons = "\n".join(dict.fromkeys(failures)) or "it was fetched whole, and the commit is not in it"
            raise WebappsError(
                f"The commit {source.commit} (deploy_version) cannot be had from {source.repository} "
                f"(app_release_repository): {reasons}\n"
                f"Check that it was pushed. {advice(reasons)}"
            )

    def export(self, commit: str, target: Path) -> None:
        """Write the commit's files into an empty directory, without any trace of git. Raises WebappsError."""
        index = target.with_name(f".{target.name}.index")
        places = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(target)}
        try:
            self._checked(["read-tree", commit], places)
            self._checked(["checkout-index", "--all", "--force"], places)
        finally:
            index.unlink(missing_ok=True)

    @staticmethod
    def _attempts(source: Source) -> Iterator[list[str]]:
        yield ["--depth=1", "--no-tags", source.repository, source.commit]
        if source.ref:
            yield ["--depth=1", "--no-tags", source.repository, source.ref]
        # An old server gives only what a branch or tag leads to: take it all.
        yield [f"--depth={WHOLE}", "--no-tags", source.repository, *MIRROR_REFS]

    def _create(self) -> None:
        if not (self._path / "HEAD").exists():
            shutil.rmtree(self._path, ignore_errors=True)
            self._checked(["init", "--quiet", "--bare", str(self._path)], {})

    def _has(self, commit: str) -> bool:
        return self._git(["cat-file", "-e", f"{commit}^{{tree}}"], {}).status == 0

    def _fetch(self, arguments: list[str], source: Source) -> Finished:
        limited = ["timeout", "--kill-after=5", str(source.timeout)]
        command = [*limited, "git", f"--git-dir={self._path}", "fetch", "--quiet", "--force", *arguments]
        return self._run(command, environment=self._access)

    def _git(self, arguments: list[str], environment: dict[str, str]) -> Finished:
        command = ["git", f"--git-dir={self._path}", *arguments]
        return self._run(command, environment={**GIT_ENVIRONMENT, **environment})

    def _checked(self, arguments: list[str], environment: dict[str, str]) -> None:
        finished = self._git(arguments, environment)
        if finished.status != 0:
            raise WebappsError(f"git {arguments[0]} failed in {self._path}: {finished.last_words}")


def start_build(
    layout: Layout, release: str, mirror: Mirror, source: Source, owner: tuple[int, int], shared: Sequence[str] = ()
) -> Path:
    """Begin a release's directory anew with the commit's files, owned by the user and group that build.

    ``shared``: directories that become links. What a build that was killed left there is removed. Raises WebappsError.
    """
    mirror.fetch(source)
    tree = layout.release(release)
    mark = building_mark(layout, release)
    mark.touch(mode=0o600)
    if tree.exists():
        shutil.rmtree(tree)
    tree.mkdir(mode=0o700)
    mirror.export(source.commit, tree)
    # Whatever it says, this is no finished release yet.
    (tree / DESCRIPTION).unlink(missing_ok=True)
    link(layout, tree, shared)
    _give(tree, owner)
    return tree


def _give(tree: Path, owner: tuple[int, int]) -> None:
    for parent, _directories, files in os.walk(tree):
        os.chown(parent, *owner)
        for name in [*_directories, *files]:
            os.chown(Path(parent, name), *owner, follow_symlinks=False)
