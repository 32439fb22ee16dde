"""The page: which files are made of which, whatever was found, and what counts as shown."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import maintenance
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.maintenance import Front, Pages, Seen, Wish
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer
from hypothesis import given
from hypothesis import strategies as st

OPERATORS = "old\n<!-- shown by: operator -->\n"
DEPLOYS = "old\n<!-- shown by: deploy -->\n"
NEW, NEW_OF_DEPLOY = "new\n<!-- shown by: operator -->\n", "new\n<!-- shown by: deploy -->\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def lay(layout: Layout, pages: Pages) -> None:
    for path, text in ((layout.maintenance_on, pages.on), (layout.maintenance_off, pages.off)):
        if text is not None:
            path.write_text(text)


TABLE = {
    "installed where there is none": (Pages(None, None), Wish(None, "new"), Pages(None, NEW)),
    "installed anew": (Pages(None, OPERATORS), Wish(None, "new"), Pages(None, NEW)),
    "not installed over one that is shown": (Pages(OPERATORS, None), Wish(None, "new"), Pages(OPERATORS, None)),
    "both: the one that is shown stays": (Pages(OPERATORS, NEW), Wish(None, "new"), Pages(OPERATORS, None)),
    "shown": (Pages(None, OPERATORS), Wish(True, None), Pages(OPERATORS, None)),
    "shown with other words": (Pages(None, OPERATORS), Wish(True, "new"), Pages(NEW, None)),
    "other words while shown": (Pages(OPERATORS, None), Wish(True, "new"), Pages(NEW, None)),
    "shown from nothing": (Pages(None, None), Wish(True, "new"), Pages(NEW, None)),
    "shown from both": (Pages(OPERATORS, DEPLOYS), Wish(True, "new"), Pages(NEW, None)),
    "hidden": (Pages(OPERATORS, None), Wish(False, None), Pages(None, OPERATORS)),
    "hidden from both": (Pages(OPERATORS, DEPLOYS), Wish(False, "new"), Pages(None, NEW)),
    "hidden from nothing": (Pages(None, None), Wish(False, "new"), Pages(None, NEW)),
    "a deploy shows it": (Pages(None, OPERATORS), Wish(True, "new", "deploy"), Pages(NEW_OF_DEPLOY, None)),
    "a deploy hides its own": (Pages(DEPLOYS, None), Wish(False, "new", "deploy"), Pages(None, NEW)),
    "a deploy does not take over": (Pages(OPERATORS, None), Wish(True, "new", "deploy"), Pages(OPERATORS, None)),
    "a deploy does not hide an operator's": (
        Pages(OPERATORS, None),
        Wish(False, "new", "deploy"),
        Pages(OPERATORS, None),
    ),
    "nor one laid down by hand": (Pages("by hand", None), Wish(False, None, "deploy"), Pages("by hand", None)),
    "an operator takes over a deploy's": (Pages(DEPLOYS, None), Wish(True, "new"), Pages(NEW, None)),
    "observed": (Pages(OPERATORS, NEW), Wish(None, None), Pages(OPERATORS, NEW)),
}


@pytest.mark.parametrize(("found", "wish", "wanted"), TABLE.values(), ids=TABLE)
def test_the_files_become_what_is_asked_for_and_stay_so(
    layout: Layout, found: Pages, wish: Wish, wanted: Pages
) -> None:
    lay(layout, found)
    assert maintenance.look(layout) == found
    assert maintenance.settled(found, wish, layout) == wanted
    maintenance.apply(layout, found, wanted, Files())
    assert maintenance.look(layout) == wanted
    assert maintenance.settled(wanted, wish, layout) == wanted
    assert sorted(path.name for path in layout.root.iterdir() if path.name.startswith(".")) == []


def test_the_page_may_be_read_by_nginx(layout: Layout) -> None:
    maintenance.apply(layout, Pages(None, None), Pages(NEW, None), Files())
    assert stat.S_IMODE(layout.maintenance_on.stat().st_mode) == 0o644


@pytest.mark.parametrize("active", [True, False])
def test_without_any_page_the_error_names_the_remedy(layout: Layout, active: bool) -> None:
    with pytest.raises(WebappsError, match=r"run playbooks/site\.yml"):
        maintenance.settled(Pages(None, None), Wish(active, None), layout)


def test_what_is_no_file_is_refused(layout: Layout) -> None:
    layout.maintenance_on.mkdir()
    with pytest.raises(WebappsError, match="has to be a file"):
        maintenance.look(layout)


class KilledError(Exception):
    pass


class DyingFiles(Files):
    """Stops in the middle, and looks at what nginx would find, after every change."""

    def __init__(self, layout: Layout, changes: int, shown: set[str | None]) -> None:
        self.layout, self.left, self.shown = layout, changes, shown

    def note(self) -> None:
        self.shown.add(maintenance.look(self.layout).on)
        self.left -= 1
        if self.left < 0:
            raise KilledError

    def write(self, path: Path, text: str, mode: int = 0o600) -> None:
        super().write(path, text, mode)
        self.note()

    def rename(self, path: Path, name: Path) -> None:
        super().rename(path, name)
        self.note()

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.note()


PAGES = st.builds(Pages, st.sampled_from([None, OPERATORS, DEPLOYS]), st.sampled_from([None, OPERATORS, NEW]))


@given(PAGES, st.booleans(), st.sampled_from(["new", "newer"]), st.integers(0, 3))
def test_killed_anywhere_users_get_a_whole_page_or_the_site_and_the_next_call_completes_it(
    tmp_path_factory: pytest.TempPathFactory, found: Pages, active: bool, content: str, changes: int
) -> None:
    layout, wish = Layout(tmp_path_factory.mktemp("root")), Wish(active, content)
    lay(layout, found)
    wanted, shown = maintenance.settled(found, wish, layout), set[str | None]()
    try:
        maintenance.apply(layout, found, wanted, DyingFiles(layout, changes, shown))
    except KilledError:
        between = maintenance.look(layout)
        maintenance.apply(layout, between, maintenance.settled(between, wish, layout), Files())
    assert maintenance.look(layout) == wanted
    # Never anything but what was shown before and what is shown after: also no gap between two pages.
    assert shown <= {found.on, wanted.on}


PAGE = Answer("/", "amy", 503, {"retry-after": "300", "Cache-Control": "no-store"}, OPERATORS)
ALIVE = Answer("/alive/", "amy", 200)


@dataclass
class FakeFront:
    """nginx whose answers, and whose requests under way, come one after the other; the last ones stay."""

    answers: list[Answer]
    counts: list[int | None] = field(default_factory=lambda: [0])
    health: Answer = ALIVE
    time: float = 0.0

    def front(self) -> Front:
        return Front(self.ask, self.count, lambda: self.time, self.sleep)

    def ask(self, path: str) -> Answer:
        return self.health if path == "/alive/" else self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def count(self) -> int | None:
        return self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]

    def sleep(self, seconds: float) -> None:
        self.time += seconds


SITE = Answer("/", "amy", 200, {}, "<h1>AMY</h1>")


def test_the_page_is_waited_for(layout: Layout) -> None:
    layout.maintenance_on.write_text(OPERATORS)
    front = FakeFront([SITE, SITE, PAGE])
    assert maintenance.prove(layout, front.front(), "/alive/", active=True, timeout=5).shows_page
    assert 0 < front.time < 1


def changed(answer: Answer, **headers: str) -> Answer:
    return Answer(answer.url, answer.host, answer.status, {**answer.headers, **headers}, answer.body)


NO_PROOF = {
    "the site": (SITE, ALIVE, "Users should get the page with status 503"),
    "another's 503": (Answer("/", "amy", 503, PAGE.headers, "busy"), ALIVE, "Users should get the page"),
    "no word on when to ask again": (changed(PAGE, **{"retry-after": ""}), ALIVE, "without Retry-After"),
    "a page that caches keep": (changed(PAGE, **{"Cache-Control": "max-age=60"}), ALIVE, "may be cached"),
    "a balancer that sees it too": (PAGE, Answer("/alive/", "amy", 503), "The balancer's check should get status 200"),
    "nobody": (Answer("/", "amy", error="refused"), ALIVE, r"no answer \(refused\)"),
}


@pytest.mark.parametrize(("answer", "health", "problem"), NO_PROOF.values(), ids=NO_PROOF)
def test_what_is_not_the_page_is_no_proof(layout: Layout, answer: Answer, health: Answer, problem: str) -> None:
    layout.maintenance_on.write_text(OPERATORS)
    front = FakeFront([answer], health=health)
    with pytest.raises(WebappsError, match=problem) as failure:
        maintenance.prove(layout, front.front(), "/alive/", active=True, timeout=2)
    assert "nginx_error.log" in failure.value.message
    assert 2 <= front.time < 2.5


@pytest.mark.parametrize(
    ("answer", "proven"), [(SITE, True), (Answer("/", "amy", 502), True), (PAGE, False), (Answer("/", "amy"), False)]
)
def test_users_get_the_site_again_when_they_get_anything_but_the_page(
    layout: Layout, answer: Answer, proven: bool
) -> None:
    seen = maintenance.observe(layout, FakeFront([answer]).front(), "/alive/")
    assert (seen.problem(active=False) == "") is proven


def test_an_application_that_does_not_answer_is_a_warning_and_not_the_pages_fault() -> None:
    seen = Seen(PAGE, Answer("/alive/", "amy", 502), OPERATORS)
    assert seen.problem(active=True) == ""
    assert "sees this host as unhealthy" in seen.warning
    assert Seen(PAGE, ALIVE, OPERATORS).warning == ""


@pytest.mark.parametrize(("counts", "left"), [([2, 1, 0], 0), ([1], 1), ([None], None)])
def test_requests_under_way_are_waited_for_a_while(counts: list[int | None], left: int | None) -> None:
    front = FakeFront([PAGE], counts=counts)
    assert maintenance.drain(front.front(), 3) == left
    assert front.time < 3.5


def test_only_connections_to_the_live_socket_count() -> None:
    table = """Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 100 /run/webapps/amy/one.sock
0000000000000000: 00000003 00000000 00000000 0001 03 101 /run/webapps/amy/one.sock
0000000000000000: 00000003 00000000 00000000 0001 02 102 /run/webapps/amy/one.sock
0000000000000000: 00000003 00000000 00000000 0001 03 103 /run/webapps/amy/two.sock
0000000000000000: 00000003 00000000 00000000 0001 03 104
"""
    assert maintenance.under_way(table, Path("/run/webapps/amy/one.sock")) == 2


@pytest.mark.parametrize(
    ("given", "text", "iso"),
    [
        ("", "", ""),
        (None, "", ""),
        ("2026-03-01T14:30+00:00", "Sunday, 1 March 2026, 14:30 UTC", "2026-03-01T14:30+00:00"),
        ("2026-03-01 14:30:00Z", "Sunday, 1 March 2026, 14:30 UTC", "2026-03-01T14:30+00:00"),
        ("2026-03-01T14:30-05:30", "Sunday, 1 March 2026, 14:30 UTC-05:30", "2026-03-01T14:30-05:30"),
    ],
)
def test_an_expected_end_is_read_and_told(given: object, text: str, iso: str) -> None:
    assert maintenance.expected_end(given) == {"text": text, "iso": iso}


@pytest.mark.parametrize("given", ["tomorrow", "14:30", "2026-03-01T14:30", "2026-02-30T14:30Z"])
def test_an_end_that_is_no_moment_is_refused(given: str) -> None:
    with pytest.raises(WebappsError, match="give date, time and time zone, for example"):
        maintenance.expected_end(given)
