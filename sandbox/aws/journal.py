"""JSON lines: what a test reads afterwards to prove what happened."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Journal:
    """A file to which every `write` appends one JSON object, with the `time` (seconds since the epoch) in front."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        path.touch()

    def write(self, **entry: Any) -> None:
        """Append one entry. A reader sees whole lines only."""
        line = json.dumps({"time": round(self._clock(), 3), **entry}) + "\n"
        with self._lock, self.path.open("a") as file:
            file.write(line)
