# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that read a git repository; module_utils/git_access.py is their other half."""

from __future__ import annotations


class ModuleDocFragment:
    """What opens a private repository."""

    DOCUMENTATION = r"""
options:
  key:
    description: A private key for SSH in OpenSSH's format, without a passphrase, such as a repository's deploy key.
    type: str
    default: ""
  known_hosts:
    description:
      - Lines as in ssh's C(known_hosts); then no other host key is trusted. Without any, the host's own files say whom
        to trust.
    type: list
    elements: str
    default: []
  token:
    description: A token for HTTPS. It is in no argument of a program and in no file.
    type: str
    default: ""
  token_user:
    description: The user name that goes with the token, as the server wants it.
    type: str
    default: x-access-token
"""
