"""Make small applications with every kind of lock file: `python3 applications.py WHEELS PINS OUTPUT`.

Real tools make the lock files, here and now, from an index on this machine that is gone afterwards. Each application is
a tag of OUTPUT/app.git and a directory of its name in OUTPUT.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# The application's own dependency, an extra, a group, and what only developers need.
MAIN, EXTRA, GROUP, DEVELOPMENT = "asgiref", "sqlparse", "packaging", "certifi"
PYPROJECT = f"""\
[project]
name = "application"
version = "1"
requires-python = ">=3.11"
dependencies = ["{MAIN}"]
[project.optional-dependencies]
sql = ["{EXTRA}"]
[dependency-groups]
dev = ["{DEVELOPMENT}"]
site = ["{GROUP}"]
"""
UV = '[[tool.uv.index]]\nurl = "{index}"\ndefault = true\n'
POETRY = """\
[tool.poetry]
package-mode = false
[[tool.poetry.source]]
name = "local"
url = "{index}"
priority = "primary"
"""
PIPFILE = f"""\
[[source]]
url = "{{index}}"
verify_ssl = false
name = "local"
[packages]
{MAIN} = "*"
[dev-packages]
{DEVELOPMENT} = "*"
[site]
{GROUP} = "*"
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Requests are nobody's business."""


def make_index(wheels: Path, directory: Path) -> None:
    """A package index as PEP 503 has it, with hashes."""
    for wheel in sorted(wheels.glob("*.whl")):
        name = re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        page = directory / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        (page.parent / wheel.name).symlink_to(wheel)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        with page.open("a") as stream:
            stream.write(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>\n')


def run(*words: str | Path, directory: Path | None = None) -> str:
    plain = {
        "PATH": os.environ["PATH"],
        "HOME": "/root",
        "PIPENV_DONT_LOAD_ENV": "1",
        "GIT_AUTHOR_NAME": "Sandbox",
        "GIT_AUTHOR_EMAIL": "sandbox@example.org",
        "GIT_COMMITTER_NAME": "Sandbox",
        "GIT_COMMITTER_EMAIL": "sandbox@example.org",
    }
    done = subprocess.run([str(word) for word in words], cwd=directory, env=plain, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{words} failed: {done.stdout}{done.stderr}")
    return done.stdout


def tool(name: str, pins: Path, place: Path) -> Path:
    """The program of a tool, in an environment of its own."""
    run(sys.executable, "-m", "venv", place / name)
    run(place / name / "bin/pip", "install", "--quiet", "--require-hashes", "--requirement", pins / f"{name}.txt")
    return place / name / "bin" / name


def application(place: Path, files: dict[str, str], *lock: str | Path) -> None:
    """Write an application and have its lock file made."""
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(text)
    if lock:
        run(*lock, directory=place)


def copied(source: Path, target: Path, changed: str, before: str, after: str) -> None:
    """An application like another, but one of its files was changed later."""
    shutil.copytree(source, target)
    path = target / changed
    path.write_text(path.read_text().replace(before, after))


def versions(wheels: Path, name: str) -> tuple[str, str]:
    (wheel,) = wheels.glob(f"{name}-*.whl")
    return wheel.name.split("-")[1], hashlib.sha256(wheel.read_bytes()).hexdigest()


def make(wheels: Path, pins: Path, output: Path, index: str) -> None:
    tools = output / ".tools"
    version, digest = versions(wheels, MAIN)
    hashed = {"requirements.txt": f"{MAIN}=={version} --hash=sha256:{digest}\n"}
    application(output / "hashed", hashed)
    application(output / "unhashed", {"requirements.txt": f"{MAIN}=={version}\n"})
    application(output / "none", {"pyproject.toml": PYPROJECT})
    with_index = {"pyproject.toml": PYPROJECT + UV.format(index=index)}
    application(output / "uv", with_index, tool("uv", pins, tools), "lock", "--python", sys.executable)
    with_index = {"pyproject.toml": PYPROJECT + POETRY.format(index=index)}
    application(output / "poetry", with_index, tool("poetry", pins, tools), "lock", "--no-interaction")
    every = ["--categories", "packages dev-packages site"]
    application(
        output / "pipenv", {"Pipfile": PIPFILE.format(index=index)}, tool("pipenv", pins, tools), "lock", *every
    )
    for kind in ("uv", "poetry"):
        asked = f'dependencies = ["{MAIN}", "{EXTRA}"]'
        copied(output / kind, output / f"stale-{kind}", "pyproject.toml", f'dependencies = ["{MAIN}"]', asked)
    copied(output / "pipenv", output / "stale-pipenv", "Pipfile", "[packages]\n", f'[packages]\n{EXTRA} = "*"\n')
    copied(output / "uv", output / "several", "pyproject.toml", "", "")
    (output / "several/requirements.txt").write_text(hashed["requirements.txt"])


def commit(output: Path, names: Sequence[str]) -> None:
    tree = output / ".tree"
    run("git", "init", "--quiet", tree)
    for name in names:
        for path in tree.iterdir():
            if path.name != ".git":
                path.unlink()
        for path in (output / name).iterdir():
            shutil.copy(path, tree)
        run("git", "add", "--all", directory=tree)
        run("git", "commit", "--quiet", "--message", f"An application with {name}", directory=tree)
        run("git", "tag", name, directory=tree)
    run("git", "clone", "--quiet", "--bare", tree, output / "app.git")


def main(wheels: Path, pins: Path, output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    make_index(wheels, output / ".index")
    handler = functools.partial(Quiet, directory=str(output / ".index"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    make(wheels, pins, output, f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    commit(output, ["hashed", "unhashed", "pipenv", "poetry", "uv"])


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
