"""Modules are tested as they run: on a host, where nothing of the controller is imported."""

from __future__ import annotations

import pytest
from ansible.module_utils import _internal


@pytest.fixture(autouse=True)
def away_from_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of lookups import the controller; from then on warnings go to its display and not into results."""
    monkeypatch.setattr(_internal, "is_controller", False)
