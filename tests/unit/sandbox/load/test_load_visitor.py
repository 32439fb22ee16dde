"""A visitor behaves like a user with a browser, and knows a wrong answer when it sees one."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from sandbox.load.visitor import STORY, Answer, Ask, Visitor, is_maintenance, judge

ORIGIN = "https://amy.sandbox.test"
CSS = "/static/notes/site.75a34061b2fc.css"
MARK = "/static/notes/mark.425345790bf2.svg"
PAGE = f'<link rel="icon" href="{MARK}"><link rel="stylesheet" href="{CSS}"><img src="{MARK}"><a href="/jobs/">'
FORM = PAGE + '<input type="hidden" name="csrfmiddlewaretoken" value="TOKEN1">'


def page(body: str = PAGE, **headers: str) -> Answer:
    """Return the answer to a GET of a page."""
    return Answer(
        200, {"x-release": "aaa", **{name.replace("_", "-"): value for name, value in headers.items()}}, body.encode()
    )


def at(step: str) -> Visitor:
    """Return a visitor who is about to do a step."""
    return Visitor(ORIGIN, "new", first_step=STORY.index(step))


def test_the_story_has_pages_static_files_and_forms() -> None:
    visitor = Visitor(ORIGIN, "new")
    kinds = []
    for _step in STORY:
        ask = visitor.ask()
        kinds.append(ask.kind)
        if ask.kind == "page":
            visitor.learn(ask, page(FORM, set_cookie="csrftoken=C1; Secure"))
        if ask.kind == "form":
            visitor.learn(ask, Answer(303, {"x-release": "aaa", "location": "/notes/?added=7"}, b""))
    assert kinds == ["page", "static", "static", "page", "form", "page", "static", "page"]


def test_static_files_are_those_of_the_last_page_one_after_the_other() -> None:
    visitor = at("asset")
    visitor.learn(Ask("page", "/"), page())
    assert {visitor.ask().path, visitor.ask().path} == {CSS, MARK}
    visitor = at("asset")
    visitor.learn(Ask("page", "/"), page())
    visitor.learn(Ask("page", "/"), page('<link href="/static/notes/site.d9d613c767ed.css">'))
    assert visitor.ask() == Ask("static", "/static/notes/site.d9d613c767ed.css")


@pytest.mark.parametrize("step", ["asset", "write", "read back"])
def test_a_step_that_earlier_answers_did_not_prepare_is_a_visit_home(step: str) -> None:
    assert at(step).ask() == Ask("page", "/")


def test_a_form_is_posted_with_the_token_and_the_cookie_that_a_page_gave() -> None:
    visitor = at("write")
    visitor.learn(
        Ask("page", "/notes/"),
        page(FORM, set_cookie="AWSALB=x; Path=/, csrftoken=C1; expires=Tue, 01 Jan 2030; Secure"),
    )
    ask = visitor.ask()
    assert (ask.kind, ask.method, ask.path) == ("form", "POST", "/notes/")
    assert parse_qs(ask.body.decode())["csrfmiddlewaretoken"] == ["TOKEN1"]
    assert ask.headers["Cookie"] == "csrftoken=C1"
    assert ask.headers["Origin"] == ORIGIN
    assert ask.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_page_without_a_new_cookie_or_form_leaves_the_old_ones() -> None:
    visitor = at("write")
    visitor.learn(Ask("page", "/notes/"), page(FORM, set_cookie="csrftoken=C1; Secure"))
    visitor.learn(Ask("page", "/jobs/"), page())
    assert visitor.ask().headers["Cookie"] == "csrftoken=C1"


@pytest.mark.parametrize("location", ["/notes/?added=7", ORIGIN + "/notes/?added=7"])
def test_what_was_written_is_read_back(location: str) -> None:
    visitor = at("read back")
    visitor.learn(Ask("form", "/notes/", "POST"), Answer(303, {"location": location}, b""))
    assert visitor.ask() == Ask("page", "/notes/?added=7")


@pytest.mark.parametrize(
    ("kind", "answer", "verdict"),
    [
        ("page", page(), None),
        ("page", Answer(200, {}, PAGE.encode()), "no X-Release"),
        ("page", page("<h1>Welcome to nginx</h1>"), "a page without static files"),
        ("page", Answer(503, {"x-release": "aaa"}, b""), "unexpected status 503"),
        ("page", Answer(302, {"x-release": "aaa"}, b""), "unexpected status 302"),
        ("static", Answer(200, {}, b"css"), None),
        ("static", Answer(404, {}, b""), "unexpected status 404"),
        ("form", Answer(303, {"x-release": "aaa"}, b""), None),
        ("form", Answer(302, {"x-release": "aaa"}, b""), None),
        ("form", Answer(302, {}, b""), "no X-Release"),
        ("form", page(), "unexpected status 200"),
        ("form", Answer(403, {"x-release": "aaa"}, b""), "unexpected status 403"),
    ],
)
def test_an_answer_is_judged_by_what_was_asked(kind: str, answer: Answer, verdict: str | None) -> None:
    assert judge(Ask(kind, "/"), answer) == verdict  # type: ignore[arg-type]


SHOWN = b"<h1>We will be back soon</h1></html>\n<!-- shown by: deploy -->\n"
COMPLETE = {"retry-after": "300", "cache-control": "no-store"}


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        (Answer(503, COMPLETE, SHOWN), True),
        (Answer(200, COMPLETE, SHOWN), False),
        (Answer(503, {"cache-control": "no-store"}, SHOWN), False),
        (Answer(503, {"retry-after": "300"}, SHOWN), False),
        (Answer(503, COMPLETE | {"x-release": "aaa"}, SHOWN), False),
        (Answer(503, COMPLETE, SHOWN[:40]), False),
        (Answer(503, COMPLETE, b"<h1>503 Service Temporarily Unavailable</h1>"), False),
    ],
)
def test_the_maintenance_page_is_known_by_all_that_belongs_to_it(answer: Answer, page: bool) -> None:
    assert is_maintenance(answer) is page
