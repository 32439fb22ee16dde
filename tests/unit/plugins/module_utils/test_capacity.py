"""How many hosts leave together, by the batches of a play."""

from __future__ import annotations

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.capacity import largest_batch
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


@pytest.mark.parametrize(
    ("batches", "hosts", "largest"),
    [
        (["1"], 3, 1),
        (["1", "50%"], 4, 2),
        # The canary leaves one of two for the second batch.
        (["1", "100%"], 2, 1),
        (["1", "2"], 6, 2),
        (["30%"], 2, 1),
        (["34%"], 3, 1),
        (["10"], 3, 3),
        (["0"], 3, 3),
        ([], 3, 0),
        (["1"], 0, 0),
    ],
)
def test_the_largest_batch_is_what_serial_makes_of_the_hosts(batches: list[str], hosts: int, largest: int) -> None:
    assert largest_batch(batches, hosts) == largest


def test_a_batch_that_is_no_number_is_refused_with_what_it_is() -> None:
    with pytest.raises(WebappsError, match='deploy_batches has "half"'):
        largest_batch(["half"], 3)
