"""Settings that miss variables name them all, and no value is shown."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import environment as environments
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import Application
from ansible_collections.carpentries.webapps.plugins.module_utils.preflight import missing_variable, preflight
from ansible_collections.carpentries.webapps.plugins.module_utils.release_command import command, serves

from tests.unit.plugins.release_support import Recorder, host, release_id, run

# As much of Django as a preflight meets.
DJANGO = {"django/__init__.py": "", "django/core/__init__.py": ""}
DJANGO["django/core/management.py"] = "def execute_from_command_line(argv):\n    raise SystemExit('a command ran')\n"
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "inner"))
    execute_from_command_line(sys.argv)
"""
SETTINGS = "import os, inner_module\nKEY = os.environ['SECRET_KEY']\nURL = os.environ['DATABASE_URL']\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return host(tmp_path)


@pytest.fixture
def application(layout: Layout) -> Application:
    tree = layout.release(release_id(1))
    files = {**DJANGO, "manage.py": MANAGE, "inner/inner_module.py": "", "config/settings.py": SETTINGS}
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / ".venv/bin").mkdir(parents=True)
    (tree / ".venv/bin/python").symlink_to(sys.executable)
    return Application(layout, release_id(1), "1a2b3c4d", "amy")


def given(application: Application, **variables: object) -> None:
    (application.layout.environments / application.environment).write_text(environments.content(variables))


def as_here(
    words: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run what a host runs, without the user and the launcher that it has."""
    _runuser, _user, _name, _end, _launcher, path, *rest = words
    found = environments.read_back(Path(path).read_text())
    return run(["/usr/bin/env", *(f"{name}={value}" for name, value in found.items()), *rest], directory=directory)


def test_settings_that_have_what_they_need_pass_and_no_command_of_django_runs(application: Application) -> None:
    given(application, SECRET_KEY="s3cretkey", DATABASE_URL="postgres://localhost/amy")
    preflight(as_here, application, "")


def test_all_missing_variables_are_named_at_once(application: Application) -> None:
    given(application, OTHER="1")
    with pytest.raises(WebappsError, match=r"2 variables are missing: SECRET_KEY, DATABASE_URL\. Set them in"):
        preflight(as_here, application, "")


def test_settings_by_name_need_no_manage_py(application: Application) -> None:
    (application.directory / "manage.py").unlink()
    given(application, SECRET_KEY="s3cretkey")
    (application.directory / "config/settings.py").write_text("import os\nos.environ['LOST']\n")
    with pytest.raises(WebappsError, match="a variable is missing: LOST"):
        preflight(as_here, application, "config.settings")


def test_another_failure_is_told_in_its_own_words_without_a_value(application: Application) -> None:
    given(application, SECRET_KEY="s3cretkey", DATABASE_URL="postgres://amy:hunter2%21@localhost/amy")
    text = SETTINGS + "raise ValueError(f'{KEY} and {URL} and hunter2!')\n"
    (application.directory / "config/settings.py").write_text(text)
    with pytest.raises(WebappsError, match=r"ValueError: \*\*\* and \*\*\* and \*\*\*") as failure:
        preflight(as_here, application, "")
    for secret in ("s3cretkey", "hunter2"):
        assert secret not in failure.value.message


@pytest.mark.parametrize(
    "said",
    [
        "KeyError: 'AMY_KEY'",
        "django.core.exceptions.ImproperlyConfigured: Set the AMY_KEY environment variable",
        "decouple.UndefinedValueError: AMY_KEY not found. Declare it as envvar or define a default value.",
        'environs.EnvError: Environment variable "AMY_KEY" not set',
        "ImproperlyConfigured: The environment variable AMY_KEY is missing; set it in the application's environment.",
        "ValueError: Missing environment variable: AMY_KEY",
    ],
)
def test_every_common_way_of_saying_that_a_variable_is_missing_is_understood(said: str) -> None:
    assert missing_variable(f"Traceback:\n  File ...\n{said}\n\n") == "AMY_KEY"


@pytest.mark.parametrize("said", ["KeyError: 3", "ModuleNotFoundError: No module named 'amy'", ""])
def test_anything_else_names_no_variable(said: str) -> None:
    assert missing_variable(said) is None


def test_what_a_command_prints_is_returned_without_values(application: Application) -> None:
    given(application, SECRET_KEY="it's a s3cret", DJANGO_SETTINGS_MODULE="config.settings")
    answer = Finished(0, "config.settings: it's a s3cret\n", "a warning\n")
    assert command(Recorder(answer), application, ["x"], "") == ["config.settings: ***", "a warning"]


def test_a_command_that_fails_is_told_with_what_to_do_and_without_values(application: Application) -> None:
    given(application, SECRET_KEY="s3cretkey")
    failed = Recorder(Finished(1, "", "refused s3cretkey"))
    with pytest.raises(WebappsError, match=r"`seed all` failed in .*refused \*\*\*\nDeploy again"):
        command(failed, application, ["seed", "all"], "Deploy again.")


def test_a_release_serves_only_with_the_environment_that_it_serves_with(layout: Layout) -> None:
    assert not serves(layout, release_id(1), "1a2b3c4d")
    layout.repo.symlink_to(f"releases/{release_id(1)}")
    assert not serves(layout, release_id(1), "1a2b3c4d")
    layout.environment.symlink_to("environments/1a2b3c4d")
    assert serves(layout, release_id(1), "1a2b3c4d")
    assert not serves(layout, release_id(2), "1a2b3c4d")
