"""Give the sandbox application what real ones have besides Python: `python repository.py APP.GIT`.

Adds the tag `v1-web` on v1: packages of npm with a build, uploads in media/, and a cache in the database.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TAG = "v1-web"
SETTINGS = """
# The packages of npm, and what the application's own build makes of them.
STATICFILES_DIRS = [("plane", BASE_DIR / "node_modules" / "paper-plane"), ("built", BASE_DIR / "built")]
MEDIA_ROOT = BASE_DIR / "media"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_table"}}
"""
BUILD = """
const fs = require("fs");
fs.mkdirSync("built", { recursive: true });
fs.copyFileSync("node_modules/paper-plane/plane.css", "built/wing.css");
fs.writeFileSync("built/sees.txt", Object.keys(process.env).join("\\n"));
"""
# A package that runs a program when it is installed, as none shall.
PACKAGE = {"name": "paper-plane", "version": "1.0.0", "scripts": {"install": "touch ../../installed-by-script"}}
APPLICATION = {
    "name": "notes",
    "private": True,
    "scripts": {"build": "node build.js"},
    "dependencies": {"paper-plane": "file:vendor/paper-plane"},
}
LOCK = {
    "name": "notes",
    "lockfileVersion": 3,
    "requires": True,
    "packages": {
        "": {"name": "notes", "dependencies": APPLICATION["dependencies"]},
        "node_modules/paper-plane": {"resolved": "vendor/paper-plane", "link": True},
        "vendor/paper-plane": {"version": "1.0.0", "hasInstallScript": True},
    },
}
FILES = {
    "package.json": json.dumps(APPLICATION),
    "package-lock.json": json.dumps(LOCK),
    "build.js": BUILD,
    "vendor/paper-plane/package.json": json.dumps(PACKAGE),
    "vendor/paper-plane/plane.css": ".plane { color: white }\n",
    "media/.gitkeep": "",
}


def git(directory: Path, *arguments: str) -> None:
    """Run git, deaf to the settings of the person who runs the tests."""
    person = {
        f"GIT_{role}_{key}": "sandbox@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
    dated = {**os.environ, **person, **plain, "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z"}
    subprocess.run(["git", *arguments], cwd=directory, env=dated, check=True)


def main(repository: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "tree")
        git(repository, "clone", "--quiet", "--branch", "v1", str(repository), str(tree))
        for name, text in FILES.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        with (tree / "sandboxapp/settings.py").open("a") as settings:
            settings.write(SETTINGS)
        git(tree, "add", "--all", "--force")
        git(tree, "commit", "--quiet", "--message", "Fly paper planes")
        git(tree, "tag", TAG)
        git(tree, "push", "--quiet", "--force", "origin", TAG)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
