# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that the modules pg_backup and pg_restore share, documented in doc_fragments/pg_database.py."""

from __future__ import annotations

from typing import Any

CONNECTION: dict[str, Any] = {
    "type": "dict",
    "options": {
        "host": {"type": "str"},
        "port": {"type": "int"},
        "name": {"type": "str"},
        "user": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "sslmode": {"type": "str", "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]},
        "sslrootcert": {"type": "path"},
    },
}
DATABASE: dict[str, Any] = {
    "root": {"type": "path", "required": True},
    "environment_file": {"type": "path", "required": True},
    "environment_variables": {"type": "dict", "default": {"url": "DATABASE_URL"}},
    "connection": CONNECTION,
    "bin_dir": {"type": "path", "default": ""},
    "timeout": {"type": "int", "default": 600},
}
