# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of values as aligned lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def cell(value: object) -> str:
    """How a value reads: a list with commas, nothing as a dash."""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)
    return text or "-"


def aligned(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """The rows under a heading made of the first row's keys, each column as wide as its widest cell."""
    if not rows:
        return []
    columns = list(rows[0])
    lines = [columns] + [[cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
