# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that nginx shows instead of the site: where it is, what it says, and whether users get it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import MAX_BODY, Answer

OPERATOR, DEPLOY = "operator", "deploy"
# The last line of a page: it travels with the file, so nothing else has to be remembered.
SHOWN_BY = re.compile(rf"<!-- shown by: ({OPERATOR}|{DEPLOY}) -->\s*\Z")
PAGE_MODE = 0o644
POLL = 0.1
# States of a unix socket in /proc/net/unix: a request waits for the application, or is with it.
CONNECTING, CONNECTED = "02", "03"
# What nginx answers by itself where the application does not.
NO_APPLICATION = frozenset({502, 504})


@dataclass(frozen=True)
class Pages:
    """The two files as they are, None where there is none. nginx shows ``on``, whatever else there is."""

    on: str | None
    off: str | None

    @property
    def active(self) -> bool:
        return self.on is not None

    @property
    def shown_by(self) -> str | None:
        """Who put the page up. A page without a word about it was put there by hand."""
        if self.on is None:
            return None
        found = SHOWN_BY.search(self.on)
        return found[1] if found else OPERATOR


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    ``active``: whether users get the page, None as it is. ``content``: the page, None as it is. ``by``: who asks.
    """

    active: bool | None
    content: str | None
    by: str = OPERATOR

    def page(self, by: str) -> str | None:
        return None if self.content is None else f"{self.content.rstrip()}\n<!-- shown by: {by} -->\n"


def look(layout: Layout) -> Pages:
    """Read both files. Raises WebappsError for what is no file."""
    return Pages(_read(layout.maintenance_on), _read(layout.maintenance_off))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WebappsError(
            f"{path} cannot be read ({error.strerror}): it has to be a file. Move what is there away, then run again."
        ) from error


def settled(pages: Pages, wish: Wish, layout: Layout) -> Pages:
    """The files as they have to be. Raises WebappsError where there is no page and none was given."""
    if wish.active is None and wish.content is None:
        return pages
    # A deploy leaves the page of a person alone; and so does whoever only installs it, while it is shown.
    if pages.active and (wish.active is None or (wish.by == DEPLOY and pages.shown_by == OPERATOR)):
        return Pages(pages.on, None)
    page = wish.page(wish.by if wish.active else OPERATOR) or pages.on or pages.off
    if page is None:
        raise WebappsError(
            f"There is neither {layout.maintenance_on.name} nor {layout.maintenance_off.name} in {layout.root}, and no "
            "content was given: run playbooks/site.yml, or role maintenance, first."
        )
    return Pages(page, None) if wish.active else Pages(None, page)


def apply(layout: Layout, pages: Pages, wanted: Pages, files: Files) -> None:
    """Make the files what they have to be. At every moment nginx finds a whole page, or none where none is wanted."""
    if pages == wanted:
        return
    if wanted.on is not None:
        # Already shown, it is replaced in place; otherwise the rename below shows the finished page.
        target = layout.maintenance_on if pages.active else layout.maintenance_off
        if (pages.on if pages.active else pages.off) != wanted.on:
            files.write(target, wanted.on, mode=PAGE_MODE)
        if pages.active:
            files.unlink(layout.maintenance_off)
        else:
            files.rename(layout.maintenance_off, layout.maintenance_on)
    elif wanted.off is not None:
        if pages.active:
            files.rename(layout.maintenance_on, layout.maintenance_off)
        if (pages.on if pages.active else pages.off) != wanted.off:
            files.write(layout.maintenance_off, wanted.off, mode=PAGE_MODE)


def difference(layout: Layout, before: Pages, after: Pages) -> dict[str, str]:
    """The diff, a side each with the file's name above its text."""
    return {"before": _side(layout, before), "after": _side(layout, after)}


def _side(layout: Layout, pages: Pages) -> str:
    files = ((layout.maintenance_on, pages.on), (layout.maintenance_off, pages.off))
    return "".join(f"{path}\n{text}" for path, text in files if text is not None)


# What users get


@dataclass(frozen=True)
class Front:
    """nginx as seen from this host. ``ask``: GET a path as somebody from elsewhere. ``under_way``: requests that the
    application has not answered yet, None if unknown."""

    ask: Callable[[str], Answer]
    under_way: Callable[[], int | None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]


@dataclass(frozen=True)
class Seen:
    """What users get: the page or the site, and what the balancer gets."""

    answer: Answer
    health: Answer
    page: str | None

    @property
    def shows_page(self) -> bool:
        """Whether the answer is the page, with all that keeps anybody from taking it for content."""
        if self.page is None or self.answer.status != 503:
            return False
        return self.answer.body == self.page.encode()[:MAX_BODY].decode(errors="replace")

    def problem(self, active: bool) -> str:
        """What keeps this from being what was asked for, "" if nothing does."""
        if not active:
            answered = self.answer.status is not None and not self._maintained(self.answer)
            return "" if answered else f"Users should get the site again, but: {self.answer}"
        if not self.shows_page:
            return f"Users should get the page with status 503, but: {self.answer}"
        if not header(self.answer, "Retry-After"):
            return f"The page comes without Retry-After: {self.answer}"
        if "no-store" not in header(self.answer, "Cache-Control"):
            return f"The page may be cached (Cache-Control: {header(self.answer, 'Cache-Control')!r}): {self.answer}"
        if self.health.status not in {200, *NO_APPLICATION}:
            return f"The balancer's check should get status 200 during maintenance too, but: {self.health}"
        return ""

    @staticmethod
    def _maintained(answer: Answer) -> bool:
        return answer.status == 503 and bool(SHOWN_BY.search(answer.body))

    @property
    def warning(self) -> str:
        if self.health.status not in NO_APPLICATION:
            return ""
        return (
            f"The application does not answer ({self.health.status} for {self.health.url}): the page is no reason for "
            "that, but the balancer sees this host as unhealthy. Deploy, or start supervisor."
        )


def header(answer: Answer, name: str) -> str:
    return next((value for key, value in answer.headers.items() if key.lower() == name.lower()), "")


def observe(layout: Layout, front: Front, health_path: str) -> Seen:
    return Seen(front.ask("/"), front.ask(health_path), look(layout).on)


def prove(layout: Layout, front: Front, health_path: str, *, active: bool, timeout: float) -> Seen:
    """Return what users get once it is the page, or the site. Raises WebappsError after ``timeout`` seconds."""
    deadline = front.clock() + timeout
    while problem := (seen := observe(layout, front, health_path)).problem(active):
        if front.clock() >= deadline:
            raise WebappsError(
                f"{problem}\nLook at {layout.logs}/nginx_error.log, and load nginx's configuration with "
                "playbooks/site.yml; then run the same command again."
            )
        front.sleep(POLL)
    return seen


def drain(front: Front, timeout: float) -> int | None:
    """Wait until no request is with the application any more; return how many still are after ``timeout`` seconds."""
    deadline = front.clock() + timeout
    while left := front.under_way():
        if front.clock() >= deadline:
            break
        front.sleep(POLL)
    return left


def under_way(table: str, socket: Path) -> int:
    """How many connections a unix socket has, from the text of /proc/net/unix."""
    rows = (line.split() for line in table.splitlines())
    return sum(len(row) > 7 and row[7] == str(socket) and row[5] in {CONNECTING, CONNECTED} for row in rows)


# What the page says


def expected_end(value: object) -> dict[str, str]:
    """An expected end for people and for machines; both empty for none. Raises WebappsError for what is no time."""
    if value is None or value == "":
        return {"text": "", "iso": ""}
    try:
        end = datetime.fromisoformat(str(value).strip().replace("Z", "+00:00"))
    except ValueError:
        end = None
    if end is None or end.tzinfo is None:
        raise WebappsError(
            f"maintenance_expected_end is {str(value)!r}: give date, time and time zone, "
            "for example 2026-03-01T14:30+00:00."
        )
    offset = f"{end:%z}"
    zone = f"UTC{offset[:3]}:{offset[3:5]}" if end.utcoffset() else "UTC"
    return {"text": f"{end:%A}, {end.day} {end:%B %Y}, {end:%H:%M} {zone}", "iso": end.isoformat(timespec="minutes")}


def described(pages: Pages) -> dict[str, Any]:
    return {"active": pages.active, "shown_by": pages.shown_by}
