# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules pg_backup and pg_restore share; module_utils/pg_arguments.py is their other half."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach the application's database."""

    DOCUMENTATION = r"""
options:
  root:
    description:
      - The application's directory on the host, named after its domain. Dumps are in C(DB_backups) below it, and
        C(logs/pg_backup.log) tells what happened.
    type: path
    required: true
  environment_file:
    description: The application's environment on the host, which says where its database is.
    type: path
    required: true
  environment_variables:
    description:
      - The variables of that environment that the application reads its database from, either V(url) alone, or V(host),
        V(port), V(name), V(user) and V(password), each with the name of its variable.
    type: dict
    default: {url: DATABASE_URL}
  connection:
    description:
      - What wins over the environment, part by part. With host, name and user given, no environment is read.
    type: dict
    suboptions:
      host:
        description: A name, an address, or the directory of a unix socket.
        type: str
      port:
        description: The port.
        type: int
      name:
        description: The database.
        type: str
      user:
        description: Who connects.
        type: str
      password:
        description: The password. It goes to libpq in a file with mode 0600 that is removed afterwards.
        type: str
      sslmode:
        description: As libpq has it. Without it libpq prefers TLS and verifies nothing.
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
      sslrootcert:
        description: The file on the host with the authorities to verify the server's certificate with.
        type: path
  bin_dir:
    description:
      - Where the client programs are. The default is where Debian and PostgreSQL's own packages put those of the
        server's major version.
    type: path
    default: ""
  timeout:
    description: Seconds to wait for another call that is at work on this host.
    type: int
    default: 600
"""
