"""The page, as browsers get it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from ansible_collections.carpentries.webapps.plugins.filter.maintenance_end import maintenance_end

from tests.templates.render import render

VOID = {"meta"}


class Page(HTMLParser):
    """What a page is made of; every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.attributes, self.texts = list[str](), list[tuple[str, str | None]](), list[str]()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def page(**given: object) -> Page:
    end = maintenance_end(given.pop("maintenance_expected_end", ""))
    return Page(render("maintenance", "maintenance.html.j2", __maintenance_end=end, **given))


def test_it_asks_for_nothing_from_anywhere() -> None:
    names = {name for name, _value in page().attributes}
    assert not names & {"src", "href", "srcset", "action", "data"}
    assert not [text for text in page().texts if "url(" in text or "@import" in text]


def test_it_fits_a_phone() -> None:
    assert ("content", "width=device-width, initial-scale=1") in page().attributes


def test_it_says_when_the_site_is_back_only_if_that_is_known() -> None:
    assert "We expect to be back by" not in page().texts
    told = page(maintenance_expected_end="2026-03-01T14:30Z")
    assert "Sunday, 1 March 2026, 14:30 UTC" in told.texts
    assert ("datetime", "2026-03-01T14:30+00:00") in told.attributes


@pytest.mark.parametrize("message", ["<script>alert(1)</script>", 'a "quoted" & <b>bold</b> word'])
def test_a_message_is_text_whatever_is_in_it(message: str) -> None:
    assert message in "".join(page(maintenance_message=message).texts)
