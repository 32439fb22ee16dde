"""What one run of the tests has packed serves the next, and outlives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sandbox.fleet import ANSIBLE

ROOT = Path(__file__).parent.parent.parent
MODULES = ROOT / ".cache" / "modules"


def run(directory: Path) -> None:
    """Use a module, in a temporary directory that is this test's own."""
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}
    (directory / "play.yml").write_text(json.dumps([play]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "play.yml"]
    environment = {**os.environ, **ANSIBLE, "ANSIBLE_LOCAL_TEMP": str(directory / "tmp")}
    environment["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)


def test_a_module_is_packed_once_for_all_runs(tmp_path: Path) -> None:
    run(tmp_path)
    packed = {path: path.stat().st_mtime_ns for path in MODULES.glob("*/ansible.modules.ping-*")}
    assert packed
    run(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in MODULES.glob("*/ansible.modules.ping-*")} == packed
    assert list((tmp_path / "tmp").iterdir()) == [], "a run takes away what is its own"
