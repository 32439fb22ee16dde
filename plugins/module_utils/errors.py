# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that the collection's logic raises on purpose."""

from __future__ import annotations


class WebappsError(Exception):
    """A failure a person has to act on; its text names the cause, the value found and the remedy.

    Only a module's ``main()`` turns it into ``fail_json``; ``details`` become further keys of the result.
    """

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
