"""Keep the packed modules of one run of Ansible for the next.

Ansible packs each module with its libraries once a run, in a fifth of a second, and forgets it at the end. No deploy
minds, but the short runs of the tests spend a quarter of their time on it. What is packed depends on Ansible and this
collection's plugins alone, so runs with the same share a directory; Ansible's own lock lets one write at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version

DOCUMENTATION = """
name: kept_modules
type: aggregate
short_description: Keep packed modules between runs
description: For the tests of a checkout; a deploy needs no such thing.
requirements:
  - enabled in the configuration
"""

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / ".cache" / "modules"
PACKED = ("plugins/modules", "plugins/module_utils")


def state(root: Path = ROOT) -> str:
    """What packed modules depend on, as a digest."""
    seen = [ansible_version]
    for directory in PACKED:
        for path in sorted((root / directory).glob("*.py")):
            status = path.stat()
            seen.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:16]


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Puts the shared directory where this run would make its own; the run takes away only the link."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kept_modules"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        shared = KEPT / state()
        shared.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(shared)
