#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certbot_certificate
short_description: Have certbot obtain a certificate, if it has not on these terms
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Compares the certificate and the terms that certbot noted for its renewal with what is wanted, and has certbot
    obtain a certificate only where they differ. Renewals are left to certbot's own timer.
  - With O(settings), it also obtains one where this host or a peer has a newer certificate in place than certbot, as
    no host takes an older one. That is so where another host has been the issuer meanwhile.
options:
  names:
    description: The host names that the certificate is for. certbot keeps it under the first one.
    type: list
    elements: str
    required: true
  server:
    description: The directory of the ACME server.
    type: str
    default: https://acme-v02.api.letsencrypt.org/directory
  authenticator:
    description:
      - How the names are proven to be ours. V(webroot) is HTTP-01 with files in O(webroot), V(dns-route53) is DNS-01.
    type: str
    choices: [webroot, dns-route53]
    default: webroot
  webroot:
    description: The directory that nginx serves C(.well-known/acme-challenge/) from.
    type: path
    default: /var/www/acme
  email:
    description: Whom the ACME server may write to. Without it the account has no address.
    type: str
    default: ""
  key_type:
    description: The type of the private key.
    type: str
    choices: [ecdsa, rsa]
    default: ecdsa
  reuse_key:
    description: Whether renewals keep the private key.
    type: bool
    default: false
  profile:
    description: The certificate profile to prefer, for example V(tlsserver). Takes certbot 4.0.
    type: str
    default: ""
  ca_bundle:
    description: The certificates that vouch for the ACME server itself. Without it, the system's.
    type: str
    default: ""
  directory:
    description: Where certbot keeps what it has.
    type: path
    default: /etc/letsencrypt
  settings:
    description:
      - The file in which the role P(carpentries.webapps.certbot#role) wrote down which hosts get the certificate. A
        file that is not there yet names none.
    type: path
attributes:
  check_mode:
    description: Tells whether a certificate would be obtained, and why.
    support: full
  diff_mode:
    description: Shows which terms change.
    support: full
"""

EXAMPLES = r"""
- name: Obtain a certificate
  carpentries.webapps.certbot_certificate:
    names: [amy.example.org, www.amy.example.org]
    email: admin@example.org
"""

RETURN = r"""
reasons:
  description: Why a certificate was obtained; empty when certbot has it.
  returned: success
  type: list
  elements: str
  sample: ["names: amy.example.org -> amy.example.org www.amy.example.org"]
lineage:
  description: The directory in which certbot keeps the newest certificate and its key.
  returned: success
  type: str
  sample: /etc/letsencrypt/live/amy.example.org
"""

from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import certbot, certificate_sync
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


def newer_than(run_command: Run, settings: Path | None, issued: float) -> list[str]:
    """Which of the hosts that get the certificate have a newer one."""
    if settings is None or not settings.exists():
        return []
    read = certificate_sync.settings_from(settings.read_text(encoding="utf-8"))
    return certificate_sync.newer(run_command, certificate_sync.send_here, read, issued)


def run(
    run_command: Run, wanted: certbot.Wanted, directory: Path, ca_bundle: str, settings: Path | None, check: bool
) -> dict[str, Any]:
    """Obtain the certificate if it has to be; return the module's result."""
    why = certbot.reasons(run_command, wanted, directory, partial(newer_than, run_command, settings))
    result: dict[str, Any] = {
        "changed": bool(why),
        "reasons": why,
        "lineage": str(directory / "live" / wanted.name),
    }
    if why:
        result["diff"] = {"before": "", "after": "".join(f"a new certificate: {reason}\n" for reason in why)}
        if not check:
            environment = {"REQUESTS_CA_BUNDLE": ca_bundle} if ca_bundle else {}
            certbot.obtain(run_command, wanted, why, environment)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "server": {"type": "str", "default": "https://acme-v02.api.letsencrypt.org/directory"},
            "authenticator": {"type": "str", "choices": ["webroot", "dns-route53"], "default": "webroot"},
            "webroot": {"type": "path", "default": "/var/www/acme"},
            "email": {"type": "str", "default": ""},
            "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "default": "ecdsa", "no_log": False},
            "reuse_key": {"type": "bool", "default": False, "no_log": False},
            "profile": {"type": "str", "default": ""},
            "ca_bundle": {"type": "str", "default": ""},
            "directory": {"type": "path", "default": "/etc/letsencrypt"},
            "settings": {"type": "path"},
        },
        supports_check_mode=True,
    )
    given = module.params
    wanted = certbot.Wanted(
        names=tuple(given["names"]),
        server=given["server"],
        authenticator=given["authenticator"],
        webroot=given["webroot"],
        key_type=given["key_type"],
        reuse_key=given["reuse_key"],
        profile=given["profile"],
        email=given["email"],
    )
    try:
        settings = Path(given["settings"]) if given["settings"] else None
        directory = Path(given["directory"])
        result = run(runner(module), wanted, directory, given["ca_bundle"], settings, module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
