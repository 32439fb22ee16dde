"""How long a host waits for silence."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.quiet_log import Mark, Quiet, mark_of, wait_for_quiet

from tests.unit.plugins.fake_elbv2 import FakeClock


def written_at(clock: FakeClock, *times: float) -> Quiet:
    """Wait for 10 quiet seconds, at most 60, beside a log that gets a line at these seconds."""
    start = clock.now

    def look() -> Mark:
        return Mark(1, sum(clock.now - start >= time for time in times))

    return wait_for_quiet(look, 10, 60, clock=clock, sleep=clock.sleep)


def test_a_silent_log_takes_the_quiet_spell_and_no_longer() -> None:
    assert written_at(FakeClock()) == Quiet(True, 10, 0)


def test_every_line_starts_the_spell_anew() -> None:
    assert written_at(FakeClock(), 3, 9, 14) == Quiet(True, 24, 3)


def test_a_busy_log_ends_the_wait_at_the_timeout_without_an_error() -> None:
    result = written_at(FakeClock(), *range(100))
    assert (result.quiet, result.waited) == (False, 60)


def test_a_line_in_the_last_moment_is_not_overlooked() -> None:
    assert written_at(FakeClock(), 9.9).waited > 19


def test_a_spell_longer_than_the_timeout_ends_at_the_timeout() -> None:
    clock = FakeClock()
    assert wait_for_quiet(lambda: None, 99, 20, clock=clock, sleep=clock.sleep) == Quiet(False, 20, 0)


def test_no_spell_is_no_wait() -> None:
    clock = FakeClock()
    assert wait_for_quiet(lambda: None, 0, 20, clock=clock, sleep=clock.sleep) == Quiet(True, 0, 0)


def test_rotation_and_creation_count_as_writing_and_a_missing_log_as_silence(tmp_path: Path) -> None:
    log = tmp_path / "nginx_access.log"
    assert mark_of(log) is None
    log.write_text("GET / 200\n")
    first = mark_of(log)
    assert first is not None
    log.rename(tmp_path / "nginx_access.log.1")
    log.write_text("GET / 200\n")
    assert mark_of(log) not in (None, first)
