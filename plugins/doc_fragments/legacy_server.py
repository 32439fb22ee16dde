# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules legacy_* share; module_utils/legacy_request.py is their other half."""

from __future__ import annotations


class ModuleDocFragment:
    """What a server laid out by hand is to become."""

    DOCUMENTATION = r"""
options:
  root:
    description: The application's directory, named after its domain.
    type: path
    required: true
  programs:
    description: What this host is to run; a program of another kind would have no successor and is refused.
    type: list
    elements: str
    choices: [gunicorn, rqworker, rqscheduler]
    required: true
  app:
    description: The WSGI application that gunicorn is to serve, V(module:callable). Another one is refused.
    type: str
    default: ""
  aliases:
    description: Further names of the site that its virtual host may have.
    type: list
    elements: str
    default: []
  certificate:
    description: The certificate chain that nginx is to serve; empty without TLS. The virtual host must have the same.
    type: str
    default: ""
  challenges:
    description: The directory in which nginx is to have the files of ACME challenges.
    type: str
    default: ""
  shared:
    description:
      - Directories that the application stores files in, relative to the source. An import moves them to C(shared/) of
        O(root) and leaves links to them.
    type: list
    elements: str
    default: []
  user:
    description:
      - The user that releases run as. With O(shared) directories, programs that run as another one are refused before
        an import, because neither could write what the other stored. Empty does not ask.
    type: str
    default: ""
"""
