"""Programs run by the collection's logic outside of modules end as they end, whatever they print."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import NOT_FOUND, Finished, run_here


def test_output_errors_and_status_are_kept_apart() -> None:
    done = run_here(["sh", "-c", "echo said; echo complained >&2; exit 3"])
    assert (done.status, done.output, done.errors) == (3, "said\n", "complained\n")


def test_it_runs_in_its_directory_with_its_variables(tmp_path: Path) -> None:
    done = run_here(["sh", "-c", 'pwd; echo "$WHO $LC_ALL"'], directory=tmp_path, environment={"WHO": "me"})
    assert done.output == f"{tmp_path}\nme C.UTF-8\n"


def test_a_program_that_is_not_there_has_the_status_a_shell_gives() -> None:
    assert run_here(["there-is-no-such-program"]).status == NOT_FOUND


def test_what_is_no_text_is_kept_as_far_as_it_is() -> None:
    assert run_here(["printf", r"a\377b"]).output == "a\ufffdb"


def test_of_a_traceback_the_exception_is_the_reason() -> None:
    errors = (
        "Traceback (most recent call last):\n  File a\nKeyError: 1\n\nThe above exception was the direct cause:\n\n"
        'Traceback (most recent call last):\n  File "x.py", line 1, in connect\n    raise last_ex\n    ^^^^^\n'
        "OperationalError: connection failed: Connection refused\n\tIs the server running on that host?\n"
    )
    assert Finished(1, "", errors).reason == (
        "OperationalError: connection failed: Connection refused\n\tIs the server running on that host?"
    )
    assert Finished(1, "said\n", "no such option\n").reason == "said\nno such option"
    assert "exit status was 1" in Finished(1, "", "").reason
