#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: signed_package
short_description: Install a version of a Debian package whose detached signature is that of a known key
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - For makers that publish packages with a detached signature and have no repository for apt.
  - Installs nothing unless the key has the given fingerprint, the key's signature fits the package, and the package is
    the wanted one in the wanted version.
  - Fetches nothing where the version is installed.
options:
  name:
    description: The package.
    type: str
    required: true
  version:
    description: Its version, with or without the revision of the packaging (the part after the last hyphen).
    type: str
    required: true
  source:
    description:
      - The package's address or its path on the host. C({architecture}) in it becomes the host's own, C(amd64) for one.
    type: str
    required: true
  signature:
    description: The detached signature's address or path; O(source) with C(.sig) unless given.
    type: str
  key:
    description: The public key's address or path.
    type: str
    required: true
  fingerprint:
    description: The key's fingerprint, 40 hexadecimal digits; blanks do not matter.
    type: str
    required: true
  timeout:
    description: Seconds that a server may be silent.
    type: int
    default: 30
attributes:
  check_mode:
    description: Tells whether the version would be installed; fetches nothing.
    support: full
  diff_mode:
    description: Shows the version before and after.
    support: full
requirements:
  - The package gpg.
"""

EXAMPLES = r"""
- name: Install the CloudWatch agent
  carpentries.webapps.signed_package:
    name: amazon-cloudwatch-agent
    version: 1.300061.0b1289
    source: https://amazoncloudwatch-agent.s3.amazonaws.com/ubuntu/{architecture}/1.300061.0b1289/amazon-cloudwatch-agent.deb
    key: https://amazoncloudwatch-agent.s3.amazonaws.com/assets/amazon-cloudwatch-agent.gpg
    fingerprint: 9376 16F3 450B 7D80 6CBD 9725 D581 6730 3B78 9C72
"""

RETURN = r"""
before:
  description: The version that was installed before; empty for none.
  returned: success
  type: str
  sample: ""
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.carpentries.webapps.plugins.module_utils import signed_package
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.signed_package import Fetch, Wanted


def fetcher(timeout: int) -> Fetch:
    """Read addresses and paths of this host."""

    def fetch(source: str, destination: Path) -> None:
        try:
            if source.startswith("/"):
                shutil.copyfile(source, destination)
                return
            with open_url(source, timeout=timeout) as response, destination.open("wb") as stream:
                shutil.copyfileobj(response, stream)
        except OSError as error:
            raise WebappsError(f"{source} cannot be read: {error}. Correct the address, or give a path.") from error

    return fetch


def run(execute: Run, fetch: Fetch, wanted: Wanted, check: bool) -> dict[str, Any]:
    """Install the version unless it is there."""
    before = signed_package.installed(execute, wanted.name)
    if signed_package.same(wanted.version, before):
        return {"changed": False, "before": before}
    if not check:
        with tempfile.TemporaryDirectory(prefix="signed-package-") as scratch:
            signed_package.install(execute, fetch, wanted, Path(scratch))
    after = f"{wanted.name} {wanted.version}\n"
    return {
        "changed": True,
        "before": before,
        "diff": {"before": f"{wanted.name} {before}\n" if before else "", "after": after},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "source": {"type": "str", "required": True},
            "signature": {"type": "str"},
            "key": {"type": "str", "required": True, "no_log": False},
            "fingerprint": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    values = module.params
    try:
        execute = runner(module)
        source = signed_package.for_architecture(execute, values["source"])
        wanted = Wanted(
            name=values["name"],
            version=values["version"],
            source=source,
            signature=values["signature"] or f"{source}.sig",
            key=values["key"],
            fingerprint=signed_package.fingerprint(values["fingerprint"]),
        )
        result = run(execute, fetcher(values["timeout"]), wanted, module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
