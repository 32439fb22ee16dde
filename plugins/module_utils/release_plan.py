# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release is asked for: from a repository and a version to a commit and an id."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import NOT_FOUND, Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.git_access import GIT_ENVIRONMENT, advice

RELEASE_ID = re.compile(r"[0-9a-f]{10}-[0-9a-f]{8}")
COMMIT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
SHORT_COMMIT_ID = re.compile(r"[0-9a-f]{7,63}")
TAGS, BRANCHES, PEELED = "refs/tags/", "refs/heads/", "^{}"
NEAREST = 5
# What `timeout` answers for a program that it had to end.
TIMED_OUT = 124


@dataclass(frozen=True)
class Resolved:
    """A version that a repository has: ``ref`` is the full name of the tag or branch, None for a bare commit."""

    version: str
    commit: str
    ref: str | None


@dataclass(frozen=True)
class Ingredients:
    """All that decides what a build results in; two builds with the same ones are the same release."""

    repository: str
    commit: str
    root: str
    python: str
    platform: str
    settings: Mapping[str, Any]

    def release_id(self) -> str:
        """The commit for people, and a digest of everything for machines."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return f"{self.commit[:10]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def checked_repository(repository: str) -> str:
    """The repository's address, if git may be given it. Raises WebappsError."""
    if not repository.strip():
        raise WebappsError(
            "app_release_repository is not set: give the address of the application's git repository, "
            "for example https://github.com/carpentries/amy.git"
        )
    if repository.startswith("-"):
        raise WebappsError(f'app_release_repository is "{repository}", which is no address of a git repository.')
    parts = urlsplit(repository)
    if parts.password or (parts.scheme in ("http", "https") and parts.username):
        raise WebappsError(
            f"app_release_repository ({parts.scheme}://...@{parts.hostname}{parts.path}) holds a password or token, "
            "which every user of the builder could read in its process list: use an address without one, and "
            "app_release_repository_token."
        )
    return repository


def read_refs(run: Run, repository: str, timeout: int, access: Mapping[str, str] = GIT_ENVIRONMENT) -> dict[str, str]:
    """The repository's branches and tags, each with its commit. Raises WebappsError when it cannot be read.

    ``timeout``: seconds that the repository may take to answer. ``access``: the environment that git needs for it.
    """
    command = ["timeout", "--kill-after=5", str(timeout), "git", "ls-remote", "--quiet", "--", repository]
    return parsed_refs(_listed(run(command, environment=access), repository, timeout))


def _listed(finished: Finished, repository: str, timeout: int) -> str:
    if finished.status == NOT_FOUND:
        raise WebappsError(
            "git is not installed on the builder: run playbooks/site.yml first, which installs what releases need."
        )
    if finished.status == TIMED_OUT:
        raise WebappsError(
            f"The repository {repository} did not answer within {timeout} s. Check app_release_repository and that the "
            "builder may reach it."
        )
    if finished.status != 0:
        raise WebappsError(
            f"The repository {repository} cannot be read: {finished.last_words}\n{advice(finished.last_words)}"
        )
    return finished.output


def parsed_refs(listing: str) -> dict[str, str]:
    """What `git ls-remote` printed; an annotated tag stands for the commit that it names."""
    refs: dict[str, str] = {}
    peeled: dict[str, str] = {}
    for line in listing.splitlines():
        commit, _tab, name = line.partition("\t")
        if name.startswith((TAGS, BRANCHES)):
            (peeled if name.endswith(PEELED) else refs)[name.removesuffix(PEELED)] = commit
    return {**refs, **peeled}


def resolve(version: str, refs: Mapping[str, str], repository: str) -> Resolved:
    """The commit of a tag, a branch or a full commit id; a tag wins over a branch of the same name, as in git.

    Raises WebappsError for anything else, with the tags most like it.
    """
    wanted = version.strip()
    if not wanted:
        raise WebappsError(
            "deploy_version is not set: name the tag, branch or commit to deploy, for example -e deploy_version=v4.2.0"
        )
    for name in (TAGS + wanted, BRANCHES + wanted, wanted):
        if name in refs:
            return Resolved(wanted, refs[name], name)
    if COMMIT_ID.fullmatch(wanted):
        named = sorted(name for name, commit in refs.items() if commit == wanted)
        return Resolved(wanted, wanted, named[0] if named else None)
    if SHORT_COMMIT_ID.fullmatch(wanted):
        raise WebappsError(
            f'deploy_version is "{wanted}", which looks like a shortened commit id: give all 40 characters, '
            "a tag or a branch."
        )
    raise WebappsError(
        f'deploy_version is "{wanted}", which is neither a tag nor a branch of {repository} (app_release_repository), '
        f"nor a full commit id. {_nearest(wanted, refs)}"
    )


def _nearest(wanted: str, refs: Mapping[str, str]) -> str:
    tags = [name.removeprefix(TAGS) for name in refs if name.startswith(TAGS)]
    if not tags:
        return "The repository has no tags."
    near = difflib.get_close_matches(wanted, tags, n=NEAREST, cutoff=0.5)
    return f"Similar tags: {', '.join(near)}." if near else f"Its last tags: {', '.join(newest_tags(tags))}."


def newest_tags(tags: list[str]) -> list[str]:
    """The tags with the highest numbers, so that v10 comes before v9."""

    def numbers_first(tag: str) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", tag) if part]

    return sorted(tags, key=numbers_first, reverse=True)[:NEAREST]


def platform_name(os_release: str, machine: str) -> str:
    """What compiled code depends on, for example `debian-12-x86_64`, from the text of /etc/os-release."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    system, version = (fields.get(key, "unknown").strip("\"'") for key in ("ID", "VERSION_ID"))
    return f"{system}-{version}-{machine}"


def python_version(run: Run, python: str) -> str:
    """The full version of the interpreter that builds. Raises WebappsError when it does not run."""
    finished = run([python, "-c", "import platform; print(platform.python_version())"])
    if finished.status != 0:
        raise WebappsError(
            f"{python} (app_release_python) does not run on the builder: {finished.last_words}\n"
            "Name an interpreter that is installed there, or install it with app_release_build_packages."
        )
    return finished.output.strip()
