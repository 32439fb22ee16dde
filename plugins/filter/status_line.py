# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: a document as one line that can be cut out of Ansible's output."""

from __future__ import annotations

import json
from collections.abc import Callable

MARK = "STATUS="


def status_line(document: object) -> str:
    """The mark and the document as JSON. Without spaces and apostrophes YAML neither breaks nor quotes it."""
    text = json.dumps(document, separators=(",", ":"))
    # Between values there is none, so those that are left stand in texts.
    return MARK + text.replace(" ", "\\u0020").replace("'", "\\u0027")


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[[object], str]]:
        return {"status_line": status_line}
