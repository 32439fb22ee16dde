"""Run ``ansible-test sanity`` on what is committed: ``python -m tools.sanity [ansible-test's own options]``.

ansible-test insists on a path that ends in ``ansible_collections/<namespace>/<name>``, so it gets a worktree there.
It downloads pip from an address of its own and lets pip see no settings: here its home is in ``.cache``, pip comes
from Python itself, and where pip is set to another certificate authority it trusts that one here too. It would test
with every Python that ansible-core knows, which few machines have: it gets the one that runs this.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
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
import pathlib
import subprocess
import sys
import sysconfig

CERT = {cert!r}

ensurepip.bootstrap(upgrade=True)
packages = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
code = subprocess.call([sys.executable, "-m", "pip", *(["--cert", CERT] if CERT else []), "install", *packages])
if CERT:
    bundle = pathlib.Path(sysconfig.get_path("purelib"), "pip", "_vendor", "certifi", "cacert.pem")
    bundle.write_bytes(pathlib.Path(CERT).read_bytes())
sys.exit(code)
"""


def pip_certificates() -> str:
    """The file of certificate authorities that pip is set to trust, or ""."""
    command = [sys.executable, "-m", "pip", "config", "get"]
    for name in (":env:.cert", "global.cert"):
        answer = subprocess.run([*command, name], check=False, capture_output=True, text=True)
        if answer.returncode == 0:
            return answer.stdout.strip()
    return ""


def bootstrap_names() -> set[str]:
    """The file names under which ansible-test looks for pip's bootstrap program, one for each version it pins."""
    source = "".join(path.read_text() for path in Path(_internal.__file__).parent.glob("*.py"))
    versions = set(re.findall(r"""\bpip=['"](\d[\d.]+)['"]""", source))
    return {f"get_pip_{version.replace('.', '_')}.py" for version in versions}


@contextmanager
def worktree() -> Iterator[Path]:
    """The committed state at a path that ansible-test accepts, beside the collections it needs; gone afterwards."""
    with tempfile.TemporaryDirectory() as parent:
        tree = Path(parent) / "ansible_collections" / "carpentries" / "webapps"
        (tree.parent.parent / "amazon").mkdir(parents=True)
        installed = Path(sysconfig.get_path("purelib")) / "ansible_collections" / "amazon" / "aws"
        (tree.parent.parent / "amazon" / "aws").symlink_to(installed)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, "HEAD"], cwd=ROOT, check=True)
        try:
            # The checkout's link to itself: no part of the collection, and no link that ansible-test allows.
            subprocess.run(["git", "rm", "--quiet", "-r", ".collections"], cwd=tree, check=True)
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def main(options: list[str]) -> int:
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in bootstrap_names():
        (cache / name).write_text(BOOTSTRAP.format(cert=pip_certificates()))
    with worktree() as tree:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = ["ansible-test", "sanity", "--python", version, "--requirements", "--color", "no", *options]
        return subprocess.call(command, cwd=tree, env={**os.environ, "HOME": str(HOME)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
