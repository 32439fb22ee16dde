#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release_artifact
short_description: Pack a built release into an artifact
version_added: 1.0.0
description:
  - Packs the directory of a release, with its C(RELEASE.json), into C(<id>.tar.zst), and writes C(<id>.tar.zst.sha256)
    beside it, which C(sha256sum --check) reads.
  - An artifact that is there and has the digest that the checksum file names stays as it is. A damaged one does not
    count and is made again.
  - The directory that was built for this is removed afterwards. That of a release which is staged on the builder stays.
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  root:
    description: The application's directory on the builder.
    type: path
    required: true
  directory:
    description: Where artifacts are kept on the builder. It must exist.
    type: path
    required: true
  id:
    description: The release's id, as M(carpentries.webapps.release_plan) named it.
    type: str
    required: true
  version:
    description: The git reference that was asked for.
    type: str
    required: true
  commit:
    description: The commit that was built.
    type: str
    required: true
  repository:
    description: The repository that it came from.
    type: str
    required: true
  python:
    description: The version of the interpreter that built.
    type: str
    required: true
  platform:
    description: The platform that it was built on.
    type: str
    required: true
  static_dir:
    description: The directory of static files, relative to the release, or an empty string when it has none.
    type: str
    default: staticfiles
  reader:
    description:
      - The user, as a number, who may read the artifact besides root. Usually the one that Ansible connects as, who can
        then fetch it without becoming root.
    type: int
    default: 0
attributes:
  check_mode:
    description: Says whether the release would be packed, and whether it must be built before.
    support: full
  diff_mode:
    description: Shows the name of an artifact that is made.
    support: full
requirements:
  - tar and zstd on the host
"""

EXAMPLES = r"""
- name: Pack a release
  carpentries.webapps.release_artifact: &artifact
    root: /webapps/amy.example.org
    directory: /var/lib/webapps/amy.example.org/artifacts
    id: "{{ plan.release_id }}"
    version: "{{ plan.version }}"
    commit: "{{ plan.commit }}"
    repository: "{{ plan.repository }}"
    python: "{{ plan.python }}"
    platform: "{{ plan.platform }}"

- name: See whether there is an artifact
  carpentries.webapps.release_artifact: *artifact
  check_mode: true
  register: artifact
"""

RETURN = r"""
path:
  description: The artifact.
  returned: always
  type: str
  sample: /var/lib/webapps/amy.example.org/artifacts/3f2a1b9c0d-9f8e7d6c.tar.zst
sha256:
  description: The artifact's digest; null in check mode when there is none yet.
  returned: always
  type: str
  sample: 0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8
must_build:
  description: Whether the release's directory had to be built before it could be packed.
  returned: always
  type: bool
  sample: false
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.artifacts import Artifacts, must_build, pack
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import Description, checked_id

DESCRIBED = ("version", "commit", "repository", "python", "platform", "static_dir")


def packed(run: Run, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    layout, artifacts = Layout(Path(params["root"])), Artifacts(Path(params["directory"]))
    release = checked_id(params["id"])
    build = must_build(layout, artifacts, release)
    before = artifacts.sha256(release)
    description = Description(id=release, **{name: params[name] for name in DESCRIBED})
    after = before if check else pack(run, layout, artifacts, description)
    path = str(artifacts.path(release))
    given = after is not None and not check and artifacts.give(release, params["reader"])
    return {
        "changed": before is None or given,
        "path": path,
        "sha256": after,
        "must_build": build,
        "diff": {"before": "", "after": "" if before else f"{path}\n"},
    }


def main() -> None:
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
            "id": text,
            "version": text,
            "commit": text,
            "repository": text,
            "python": text,
            "platform": text,
            "static_dir": {"type": "str", "default": "staticfiles"},
            "reader": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        result = packed(runner(module), module.params, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
