"""A deploy names the jobs that failed meanwhile only where it asked Redis before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent


def test_where_redis_was_not_asked_before_it_is_not_asked_after(tmp_path: Path) -> None:
    def role(tasks_from: str) -> dict[str, str]:
        return {"name": "carpentries.webapps.redis", "tasks_from": tasks_from}

    # An application whose Redis the inventory does not name: an address that could not even be read.
    variables = {"webapps_domain": "amy.example.org", "redis_url": "", "ansible_connection": "local"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {**variables, "ansible_python_interpreter": sys.executable},
        "tasks": [
            {"ansible.builtin.import_role": role("reach"), "when": False},
            {"ansible.builtin.include_role": role("report_failed")},
        ],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "play.yml"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
