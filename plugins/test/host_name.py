# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja test: is a value a host name?"""

from __future__ import annotations

import re
from collections.abc import Callable

# RFC 1123, section 2.1: labels of letters, digits and inner hyphens, 63 characters each.
# Lower case, because the name is a directory's too.
LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# RFC 1035, section 2.3.4, without the length bytes.
MAX_LENGTH = 253


def is_host_name(value: object) -> bool:
    """Whether ``value`` is a fully qualified, lower-case host name: at least two labels."""
    if not isinstance(value, str) or len(value) > MAX_LENGTH:
        return False
    labels = value.split(".")
    return len(labels) > 1 and all(LABEL.fullmatch(label) for label in labels)


class TestModule:
    """The plugin as Ansible loads it."""

    def tests(self) -> dict[str, Callable[[object], bool]]:
        return {"host_name": is_host_name}
