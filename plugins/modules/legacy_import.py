#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: legacy_import
short_description: Import the tree that a server laid out by hand runs as its first release
version_added: 1.0.0
description:
  - Copies the directory C(repo) with its C(.venv) to C(releases/), as a release like any other. Its id is derived from
    the commit and from what is really in the tree. The copy's virtual environment is told its new place, its static
    files are added to C(static/), and the ledger learns of it.
  - The environment of the running processes becomes the first file in C(environments/).
  - Then C(repo) and a link to the release change places in one step of the kernel. The directory is kept as
    C(adopted/repo), and processes that run from it go on.
  - Nothing is written into the tree that runs, but for the links to O(shared) directories. A call that was killed is
    made good by the next one.
extends_documentation_fragment:
  - carpentries.webapps.legacy_server
options:
  group:
    description: The group that may read releases and environment files, usually the application's.
    type: str
    required: true
  static_dir:
    description: Where the release has its static files, if nginx does not tell; relative to the source.
    type: str
    default: staticfiles
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Shows a line for each step.
    support: full
author:
  - The Carpentries webapps maintainers (@carpentries)
notes:
  - Run as root.
seealso:
  - module: carpentries.webapps.legacy_info
  - module: carpentries.webapps.publish
"""

EXAMPLES = r"""
- name: Import what runs
  carpentries.webapps.legacy_import:
    root: /webapps/amy.example.org
    programs: [gunicorn, rqworker, rqscheduler]
    app: config.wsgi:application
    certificate: /etc/letsencrypt/live/amy.example.org/fullchain.pem
    group: amy
  register: adopted
"""

RETURN = r"""
release:
  description: The id of the release.
  returned: success
  type: str
  sample: 3f2a1b9c0d-9f8e7d6c
environment:
  description: The name of its file in C(environments/).
  returned: success
  type: str
  sample: 1f2e3d4c
variables:
  description: The names in that file, never a value.
  returned: success
  type: list
  elements: str
  sample: [AMY_SECRET_KEY, DJANGO_SETTINGS_MODULE]
steps:
  description: What was done, or would be in check mode, a line each.
  returned: success
  type: list
  elements: str
  sample: ["record 3f2a1b9c0d-9f8e7d6c as staged in /webapps/amy.example.org/releases.json"]
"""

import datetime
import grp
import platform
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import alone_in
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_import import (
    IMPORT_PATIENCE,
    Import,
    import_tree,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_request import ARGUMENTS, look
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import checked
from ansible_collections.carpentries.webapps.plugins.module_utils.release_plan import platform_name


def group_id(name: str, *, check: bool) -> int:
    """The number of a group. Raises WebappsError where there is none, besides in check mode."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        if check:
            return -1
        raise WebappsError(f"There is no group {name} (webapps_group): run the role app_directory first.") from error


def main() -> None:
    module = AnsibleModule(
        {
            **ARGUMENTS,
            "group": {"type": "str", "required": True},
            "static_dir": {"type": "str", "default": "staticfiles"},
        },
        supports_check_mode=True,
    )
    now = datetime.datetime.now(tz=datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: UP017
    try:
        asked = Import(
            group=group_id(module.params["group"], check=module.check_mode),
            static_dir=module.params["static_dir"],
            platform=platform_name(Path("/etc/os-release").read_text(encoding="utf-8"), platform.machine()),
            now=now,
        )
        with alone_in(Path(module.params["root"]), IMPORT_PATIENCE, time.monotonic, time.sleep, "import"):
            layout, seen = look(module.params, module.get_bin_path("nginx"))
            done = import_tree(runner(module), layout, checked(seen), asked, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(
        changed=bool(done.steps),
        release=done.release,
        environment=done.environment,
        variables=done.variables,
        steps=done.steps,
        diff={"before": "", "after": "".join(f"{step}\n" for step in done.steps)},
    )


if __name__ == "__main__":
    main()
