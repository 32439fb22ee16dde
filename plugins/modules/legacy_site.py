#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: legacy_site
short_description: Set the virtual host of a server laid out by hand aside, or put it back
version_added: 1.0.0
description:
  - Moves the file in which nginx has the site to C(adopted/nginx/), so that the role nginx can write its own.
  - nginx goes on with what it has loaded, until it is reloaded.
extends_documentation_fragment:
  - carpentries.webapps.legacy_server
options:
  state:
    description: V(aside) moves the file away; V(enabled) puts it back, in the place of the role's.
    type: str
    choices: [aside, enabled]
    default: aside
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
  - module: carpentries.webapps.nginx_reload
"""

EXAMPLES = r"""
- name: Make room for the virtual host of the collection
  carpentries.webapps.legacy_site:
    root: /webapps/amy.example.org
    programs: [gunicorn, rqworker, rqscheduler]
    app: config.wsgi:application
    certificate: /etc/letsencrypt/live/amy.example.org/fullchain.pem
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode, a line each.
  returned: success
  type: list
  elements: str
  sample: ["move /etc/nginx/sites-enabled/amy to /webapps/amy.example.org/adopted/nginx/sites-enabled/amy"]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_request import ARGUMENTS, look
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_retirement import site_aside, site_back
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import Places


def carried_out(params: dict[str, Any], nginx_binary: str | None, *, check: bool) -> list[str]:
    """The steps that were taken, or would be. Raises WebappsError."""
    if params["state"] == "enabled":
        return site_back(Layout(Path(params["root"])), Places(), check=check)
    layout, seen = look(params, nginx_binary)
    return site_aside(seen.site, layout, Places(), check=check) if seen.site else []


def main() -> None:
    module = AnsibleModule(
        {**ARGUMENTS, "state": {"type": "str", "choices": ["aside", "enabled"], "default": "aside"}},
        supports_check_mode=True,
    )
    try:
        steps = carried_out(module.params, module.get_bin_path("nginx"), check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(
        changed=bool(steps), steps=steps, diff={"before": "", "after": "".join(f"{step}\n" for step in steps)}
    )


if __name__ == "__main__":
    main()
