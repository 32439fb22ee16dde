#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin host_program, which does all of it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_program
short_description: Install a program of this collection on a host, for what timers and hooks start
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Packs a function of the collection's C(module_utils), with all that it imports from there, into one executable
    file and installs it, so that what a host does unattended is the very code that the modules run.
  - The same code gives the same file, so a second run changes nothing.
  - The directory of the file is created with mode C(0755) where it is missing.
options:
  dest:
    description: The file on the host. It belongs to root.
    type: path
    required: true
  main:
    description: What to run, as C(MODULE:FUNCTION). The function takes no arguments and returns an exit status.
    type: str
    required: true
  mode:
    description: The mode of the file.
    type: str
    default: "0755"
  group:
    description: The group of the file.
    type: str
    default: root
attributes:
  check_mode:
    description: Tells whether the file differs.
    support: full
  diff_mode:
    description: An archive has no readable difference; the file is named.
    support: none
notes:
  - The host runs it with Debian's own C(/usr/bin/python3), without Ansible.
"""

EXAMPLES = r"""
- name: install | Install the program that the timer starts
  carpentries.webapps.host_program:
    dest: /usr/local/lib/webapps/pg-backup
    main: pg_backup_program:main
"""

RETURN = r"""
dest:
  description: The file on the host.
  returned: success, unless check mode found no directory for it
  type: str
  sample: /usr/local/lib/webapps/pg-backup
checksum:
  description: The SHA-1 digest of the file.
  returned: success, unless check mode found no directory for it
  type: str
  sample: 6e642bb8dd5c2e027bf21dd923337cbb4214f827
"""
