#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release
short_description: Stage, list, condemn and prune the releases of an application on a host
version_added: 1.0.0
description:
  - Keeps the directory C(releases/) of a host and its ledger C(releases.json).
  - A release directory never changes once it is there. It belongs to root, the application's group may read it, and
    it counts only when its C(RELEASE.json) is there.
  - Nothing here looks at modification times. What may go follows from the ledger, the links and what runs.
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  root:
    description: The application's directory on the host.
    type: path
    required: true
  state:
    description:
      - V(staged) unpacks an artifact into C(releases/), adds its static files to C(static/) and records it. A release
        that is staged already stays as it is, whatever the ledger says of it.
      - V(listed) changes nothing.
      - V(bad) notes that a release must not be rolled back to; it stays on the disk and keeps serving if it does. One
        that the ledger does not know is none to note, and one that is bad already keeps its reason.
      - V(pruned) removes releases, static files, environment files and artifacts that are no longer needed. The live
        release, the last good one, every release that a process or a program of supervisor uses, and whatever this
        collection did not make always stay.
    type: str
    choices: [staged, listed, bad, pruned]
    default: listed
  id:
    description:
      - The release's id, as M(carpentries.webapps.release_plan) named it.
      - Required for O(state=staged) and O(state=bad).
    type: str
  reason:
    description: For O(state=bad), why. Its first line is kept in a file that everybody may read. Required for it.
    type: str
  artifact:
    description:
      - The packed release on this host. Needed for O(state=staged) unless the release is staged already.
    type: path
  sha256:
    description: The digest that O(artifact) must have.
    type: str
  group:
    description: The group that may read releases, usually the application's. Required for O(state=staged).
    type: str
  keep:
    description: For O(state=pruned), how many good releases stay besides the live one. The last good one always does.
    type: int
    default: 5
  keep_failed:
    description:
      - For O(state=pruned), how many releases stay that are bad or never went live. They do not count for O(keep).
    type: int
    default: 1
  keep_releases:
    description: For O(state=pruned), ids of releases that stay in any case.
    type: list
    elements: str
    default: []
  keep_environments:
    description:
      - For O(state=pruned), names of environment files that stay besides those that are in use.
    type: list
    elements: str
    default: []
  artifact_directory:
    description: For O(state=pruned), where artifacts are on this host. Without it none is removed.
    type: path
  keep_artifacts:
    description: For O(state=pruned), ids of releases whose artifacts stay.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would be done. Static files are only counted for a release that is staged.
    support: full
  diff_mode:
    description: Shows one line for each thing that comes or goes.
    support: full
requirements:
  - tar and zstd on the host, for O(state=staged)
"""

EXAMPLES = r"""
- name: Stage a release
  carpentries.webapps.release:
    root: /webapps/amy.example.org
    state: staged
    id: 3f2a1b9c0d-9f8e7d6c
    artifact: /var/lib/webapps/amy.example.org/artifacts/3f2a1b9c0d-9f8e7d6c.tar.zst
    sha256: 0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8
    group: amy

- name: See which releases a host has, and which one it would go back to
  carpentries.webapps.release:
    root: /webapps/amy.example.org
  register: releases

- name: Never go back to a release that lost data
  carpentries.webapps.release:
    root: /webapps/amy.example.org
    state: bad
    id: 3f2a1b9c0d-9f8e7d6c
    reason: It loses the comments of events.

- name: Keep the live release and the three good ones before it
  carpentries.webapps.release:
    root: /webapps/amy.example.org
    state: pruned
    keep: 3
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode, a line each.
  returned: when O(state) is V(staged) or V(pruned)
  type: list
  elements: str
  sample:
    - unpack /webapps/amy.example.org/releases/3f2a1b9c0d-9f8e7d6c
unpacked:
  description: Whether the release was not on the host yet, so that its artifact was or would be needed.
  returned: when O(state=staged)
  type: bool
  sample: true
releases:
  description: The releases that are on the host and in its ledger, the latest event last.
  returned: when O(state) is V(listed) or V(pruned)
  type: list
  elements: dict
  contains:
    id:
      description: The release's id.
      type: str
      sample: 3f2a1b9c0d-9f8e7d6c
    state:
      description: V(staged), V(live), V(good) or V(bad).
      type: str
      sample: live
    version:
      description: The git reference that it was built for.
      type: str
      sample: v4.2.0
    commit:
      description: The commit.
      type: str
      sample: 3f2a1b9c0d5e6f708192a3b4c5d6e7f8091a2b3c
    staged_at:
      description: When it came to the host, UTC.
      type: str
      sample: "2026-03-01T12:00:00Z"
    published_at:
      description: When it last became live, UTC, or null.
      type: str
      sample: "2026-03-01T12:05:00Z"
    environment:
      description: The file of C(environments/) that it last served with, or null.
      type: str
      sample: 1a2b3c4d
    reason:
      description: Why it is bad, or null.
      type: str
      sample: null
live:
  description: The release that the link C(repo) points at, or null.
  returned: when O(state) is V(listed) or V(pruned)
  type: str
  sample: 3f2a1b9c0d-9f8e7d6c
environment:
  description: The file of C(environments/) that the link C(environment) points at, or null.
  returned: when O(state) is V(listed) or V(pruned)
  type: str
  sample: 1a2b3c4d
last_good:
  description: The release that a rollback goes to, or null.
  returned: when O(state) is V(listed) or V(pruned)
  type: str
  sample: 1b9c0d3f2a-7d6c9f8e
"""

import datetime
import grp
import platform
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.program import CONF_DIR
from ansible_collections.carpentries.webapps.plugins.module_utils.pruning import (
    Retention,
    in_use,
    plan_pruning,
    prune,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.release_plan import platform_name
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import listing
from ansible_collections.carpentries.webapps.plugins.module_utils.staging import Artifact, Staging, stage


def group_id(name: str, *, check: bool) -> int:
    """The number of a group. Raises WebappsError where there is none, besides in check mode on a bare host."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        if check:
            return -1
        raise WebappsError(
            f"There is no group {name} (webapps_group) on this host: run playbooks/site.yml first, or name another."
        ) from error


def staged(run: Run, layout: Layout, params: dict[str, Any], now: str, *, check: bool) -> dict[str, Any]:
    """The result of O(state=staged)."""
    artifact = Artifact(Path(params["artifact"]), params["sha256"]) if params["artifact"] and params["sha256"] else None
    staging = Staging(
        release=params["id"],
        artifact=artifact,
        group=group_id(params["group"], check=check),
        platform=platform_name(Path("/etc/os-release").read_text(encoding="utf-8"), platform.machine()),
        now=now,
    )
    done = stage(run, layout, staging, check=check)
    return {
        "changed": bool(done.steps),
        "steps": done.steps,
        "unpacked": done.unpacked,
        "diff": {"before": "", "after": "".join(f"{step}\n" for step in done.steps)},
    }


def condemned(layout: Layout, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The result of O(state=bad)."""
    known, release = ledger.load(layout.ledger), params["id"]
    # The host that found it bad knows best why.
    changed = release in known.releases and known.releases[release].state != ledger.BAD
    if changed and not check:
        ledger.save(layout.ledger, ledger.mark_bad(known, release, reason=params["reason"]))
    return {"changed": changed, "diff": {"before": "", "after": f"{release} bad\n" if changed else ""}}


def pruned(layout: Layout, params: dict[str, Any], *, check: bool, conf_dir: Path = CONF_DIR) -> dict[str, Any]:
    """The result of O(state=pruned)."""
    retention = Retention(
        keep=params["keep"],
        keep_failed=params["keep_failed"],
        releases=params["keep_releases"],
        environments=params["keep_environments"],
        artifacts=params["keep_artifacts"],
        artifact_directory=Path(params["artifact_directory"]) if params["artifact_directory"] else None,
    )
    pruning = plan_pruning(layout, retention, in_use(layout, proc=Path("/proc"), conf_dir=conf_dir))
    if not check:
        prune(layout, pruning)
    lines = pruning.lines(layout)
    return {
        "changed": bool(lines),
        "steps": [f"remove {line}" for line in lines],
        "diff": {"before": "".join(f"{line}\n" for line in lines), "after": ""},
        **listing(layout),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["staged", "listed", "bad", "pruned"], "default": "listed"},
            "id": {"type": "str"},
            "reason": {"type": "str"},
            "artifact": {"type": "path"},
            "sha256": {"type": "str"},
            "group": {"type": "str"},
            "keep": {"type": "int", "default": 5},
            "keep_failed": {"type": "int", "default": 1},
            "keep_releases": {"type": "list", "elements": "str", "default": []},
            "keep_environments": {"type": "list", "elements": "str", "default": []},
            "artifact_directory": {"type": "path"},
            "keep_artifacts": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[("state", "staged", ("id", "group")), ("state", "bad", ("id", "reason"))],
        supports_check_mode=True,
    )
    layout = Layout(Path(module.params["root"]))
    now = datetime.datetime.now(tz=datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: UP017
    try:
        if module.params["state"] == "staged":
            result = staged(runner(module), layout, module.params, now, check=module.check_mode)
        elif module.params["state"] == "pruned":
            result = pruned(layout, module.params, check=module.check_mode)
        elif module.params["state"] == "bad":
            result = condemned(layout, module.params, check=module.check_mode)
        else:
            result = {"changed": False, **listing(layout)}
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
