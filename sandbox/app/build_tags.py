"""Build the git repository that the sandbox deploys from: `python sandbox/app/build_tags.py OUTPUT`.

The tag v1 is the tree in `source/` with `requirements.txt`; every other tag is its parent plus the patch of its name
in `tags/`, whose head says what the tag is for. People and dates are fixed, so the same input gives the same commits.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BASE = "v1"
BRANCH = "main"
BASE_DATE = "2026-01-01T12:00:00+00:00"
PERSON = ("Sandbox", "sandbox@example.org")
# What running the application in place leaves behind; the rest is told by source/.gitignore.
LEFTOVERS = shutil.ignore_patterns(".venv", "__pycache__", "staticfiles", "RELEASE.json", ".*_cache")


class BuildError(Exception):
    """The repository cannot be built; the message says why and what to do."""


@dataclass(frozen=True)
class Tag:
    """A tag made by a patch on another tag."""

    name: str
    parent: str


TAGS = (
    Tag("v2", parent=BASE),
    Tag("v3-incompatible", parent="v2"),
    Tag("v4-no-import", parent="v2"),
    Tag("v5-error-500", parent="v2"),
    Tag("v6-slow-boot", parent="v2"),
    Tag("v7-slow-request-long-job", parent="v2"),
    Tag("v8-wrong-release", parent="v2"),
)
# The branch ends at the newest tag that is meant to work everywhere.
BRANCH_TIP = "v2"


class Git:
    """Git in one directory, deaf to the configuration of the person who runs it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        name, mail = PERSON
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(directory),
            "LC_ALL": "C",
            "TZ": "UTC",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": mail,
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": mail,
        }

    def run(self, *arguments: str, date: str = BASE_DATE) -> str:
        """Run git and return what it printed; `date` dates the commits and tags it makes."""
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=self._directory,
                env=self._environment | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise BuildError("git was not found; install the package git.") from error
        if done.returncode != 0:
            raise BuildError(f"git {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()


def commit_base(git: Git, tree: Path, app: Path) -> None:
    """Commit the application as it is in the checkout, and tag it."""
    shutil.copytree(app / "source", tree, ignore=LEFTOVERS, dirs_exist_ok=True)
    shutil.copy(app / "requirements.txt", tree)
    git.run("init", "--quiet", "--initial-branch", BRANCH)
    git.run("add", "--all")
    git.run("commit", "--quiet", "--message", "A notebook with jobs")
    git.run("tag", "--annotate", "--message", "The first release", BASE)


def commit_tag(git: Git, tag: Tag, patch: Path) -> None:
    """Commit a patch on its parent and tag it, both dated as the patch is."""
    git.run("checkout", "--quiet", "--detach", tag.parent)
    try:
        git.run("am", "--quiet", "--committer-date-is-author-date", str(patch))
    except BuildError as error:
        raise BuildError(
            f"{patch} does not apply to {tag.parent}: make the patch again after changing source/. {error}"
        ) from error
    date, subject = git.run("log", "-1", "--format=%aI%n%s").split("\n")
    git.run("tag", "--annotate", "--message", subject, tag.name, date=date)


def read_references(repository: Path) -> dict[str, str]:
    """Return every reference of a repository with the commit or tag it names."""
    lines = Git(repository).run("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def read_commits(repository: Path) -> dict[str, str]:
    """Return the commit of every tag."""
    lines = Git(repository).run("for-each-ref", "--format=%(refname:short) %(*objectname)", "refs/tags").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def put(built: Path, output: Path) -> bool:
    """Put a built repository in its place and say whether that changed anything."""
    if not output.exists():
        built.rename(output)
        return True
    if not (output / "HEAD").is_file():
        raise BuildError(f"{output} exists and is no bare git repository; name another place or remove it.")
    if read_references(output) == read_references(built):
        return False
    shutil.rmtree(output)
    built.rename(output)
    return True


def build(output: Path, app: Path = HERE) -> bool:
    """Build the bare repository `output` from the directory `app`; return whether it changed.

    An older repository at the same place is replaced. Raises BuildError.
    """
    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=output.parent) as scratch:
        tree, bare = Path(scratch, "tree"), Path(scratch, "bare")
        tree.mkdir()
        git = Git(tree)
        commit_base(git, tree, app)
        for tag in TAGS:
            commit_tag(git, tag, app / "tags" / f"{tag.name}.patch")
        git.run("branch", "--force", BRANCH, BRANCH_TIP)
        git.run("checkout", "--quiet", BRANCH)
        # Without the template's samples of hooks: who copies the repository to a host copies file by file.
        git.run("clone", "--quiet", "--bare", "--no-local", "--template=", str(tree), str(bare))
        git.run("--git-dir", str(bare), "remote", "remove", "origin")
        return put(bare, output)


def main(arguments: list[str] | None = None) -> int:
    """Build, then print one line per tag with its commit, and a last one: changed or unchanged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="the bare repository to make")
    output: Path = parser.parse_args(arguments).output
    try:
        changed = build(output)
        for tag, commit in read_commits(output).items():
            print(f"{tag} {commit}")
    except BuildError as error:
        print(f"build_tags: {error}", file=sys.stderr)
        return 1
    print("changed" if changed else "unchanged")
    return 0


if __name__ == "__main__":
    sys.exit(main())
