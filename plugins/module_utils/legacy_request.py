# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that adopt a server laid out by hand are all told, and the survey that each begins with."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import nginx
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_supervisor import KINDS
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import Survey, Wanted, survey
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Supervisor

ARGUMENTS: dict[str, Any] = {
    "root": {"type": "path", "required": True},
    "programs": {"type": "list", "elements": "str", "choices": list(KINDS), "required": True},
    "app": {"type": "str", "default": ""},
    "aliases": {"type": "list", "elements": "str", "default": []},
    "certificate": {"type": "str", "default": ""},
    "challenges": {"type": "str", "default": ""},
    "shared": {"type": "list", "elements": "str", "default": []},
    "user": {"type": "str", "default": ""},
}


def _number(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def look(params: dict[str, Any], nginx_binary: str | None) -> tuple[Layout, Survey]:
    """What there is on this host."""
    layout = Layout(Path(params["root"]))
    wanted = Wanted(
        programs=params["programs"],
        app=params["app"],
        aliases=params["aliases"],
        certificate=params["certificate"],
        challenges=params["challenges"],
        shared=params["shared"],
        user=params["user"],
        user_number=_number(params["user"]),
    )

    def dump() -> str:
        if nginx_binary is None:
            raise WebappsError("nginx is not installed.")
        return nginx.LinuxHost(nginx_binary).dump()

    return layout, survey(layout, wanted, Supervisor().processes, dump)
