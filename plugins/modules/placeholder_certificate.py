#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: placeholder_certificate
short_description: Make a certificate to begin with, where nginx would have none
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - nginx must have something to answer handshakes with before the first certificate is issued, because a certificate is
    issued by asking nginx.
  - Writes a key and a certificate for 30 days into one file, unless that file holds a certificate with its key, of
    whatever kind; where certbot has a certificate already, that one.
  - The file gets the owner and group of its directory and mode C(0640).
options:
  path:
    description: The file that nginx reads key and certificate from. Its directory exists.
    type: path
    required: true
  names:
    description: The host names that the certificate is for.
    type: list
    elements: str
    required: true
  lineage:
    description:
      - certbot's directory of a certificate. Where it holds one that works for O(names), that is what the file gets.
    type: path
attributes:
  check_mode:
    description: Tells whether a certificate would be made.
    support: full
  diff_mode:
    description: Says what would be in the file. Shows no key.
    support: full
"""

EXAMPLES = r"""
- name: Make a certificate to begin with
  carpentries.webapps.placeholder_certificate:
    path: /etc/webapps/certificates/amy.example.org.pem
    names: [amy.example.org]
"""

RETURN = r"""
path:
  description: The file that nginx reads.
  returned: success
  type: str
  sample: /etc/webapps/certificates/amy.example.org.pem
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import certificates
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


def run(run_command: Run, place: certificates.Place, lineage: Path | None, now: float, check: bool) -> dict[str, Any]:
    """Make the certificate if there is none; return the module's result."""
    missing = not place.path.exists() or certificates.placeholder_missing(run_command, place)
    result: dict[str, Any] = {"changed": missing, "path": str(place.path)}
    if missing:
        result["diff"] = {"before": "", "after": f"a certificate to begin with for {', '.join(place.names)}\n"}
        taken = not check and lineage is not None and certificates.take_over(run_command, place, lineage, now)
        if not check and not taken:
            certificates.make_placeholder(run_command, place)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "lineage": {"type": "path"},
        },
        supports_check_mode=True,
    )
    place = certificates.Place(Path(module.params["path"]), tuple(module.params["names"]))
    lineage = Path(module.params["lineage"]) if module.params["lineage"] else None
    try:
        result = run(runner(module), place, lineage, time.time(), module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
