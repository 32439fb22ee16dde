"""Which release of the application this process runs."""

import json
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from . import __version__


@dataclass(frozen=True)
class Release:
    """The release as RELEASE.json names it: `id` for machines, `version` (a git reference) for people."""

    id: str
    version: str


def read_release(directory: Path) -> Release:
    """Return the release whose RELEASE.json lies in `directory`, or `unreleased` where there is none."""
    path = directory / "RELEASE.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Release(id=content["id"], version=content["version"])
    except FileNotFoundError:
        return Release(id="unreleased", version=__version__)
    except (ValueError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(f"{path} does not name a release (id and version): {error!r}") from error
