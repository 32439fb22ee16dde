"""Run ``ansible-test sanity`` on what is committed: ``python -m tools.sanity [ansible-test's own options]``.

ansible-test insists on a path that ends in ``ansible_collections/<namespace>/<name>``, so it gets a worktree there. It keeps
nothing of the caller's environment but HOME, and takes pip from an address of its own: it gets a home in ``.cache``
with pip's settings as the caller has them and pip as Python itself brings it.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_test import _internal

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".cache" / "ansible-test"

# What ansible-test runs in each of its virtual environments in place of the program it would download.
BOOTSTRAP = """\
import ensurepip
import subprocess
import sys

ensurepip.bootstrap(upgrade=True)
packages = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *packages]))
"""


def pip_settings(configured: str) -> str:
    """pip's settings, as ``pip config list`` shows them, as one configuration file; the environment's win."""
    settings: dict[str, str] = {}
    for line in sorted(configured.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in {"global", ":env:"}:
            settings[key] = str(ast.literal_eval(value)).replace("\n", " ")
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


def bootstrap_names() -> set[str]:
    """The file names under which ansible-test looks for pip's bootstrap program, one for each version it pins."""
    source = "".join(path.read_text() for path in Path(_internal.__file__).parent.glob("*.py"))
    versions = set(re.findall(r"""\bpip=['"](\d[\d.]+)['"]""", source))
    return {f"get_pip_{version.replace('.', '_')}.py" for version in versions}


@contextmanager
def worktree() -> Iterator[Path]:
    """The committed state at a path that ansible-test accepts; gone afterwards."""
    with tempfile.TemporaryDirectory() as parent:
        tree = Path(parent) / "ansible_collections" / "carpentries" / "webapps"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, "HEAD"], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def main(options: list[str]) -> int:
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in bootstrap_names():
        (cache / name).write_text(BOOTSTRAP)
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    settings = HOME / ".config" / "pip" / "pip.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(pip_settings(configured))
    with worktree() as tree:
        command = ["ansible-test", "sanity", "--requirements", "--color", "no", *options]
        return subprocess.call(command, cwd=tree, env={**os.environ, "HOME": str(HOME)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
