"""Wrong devices are caught, each by the stage that names the cause."""

import pytest
from conftest import Here
from mutants import CAUGHT

from needle_conformance.score.status import Status


@pytest.mark.parametrize("name", CAUGHT)
def test_is_caught(name: str, here: Here) -> None:
    mutant = CAUGHT[name]
    card = here(name, *mutant.only)
    assert {row.stage for row in card.failures()} == {mutant.stage}, [f"{r.id}: {r.reason}" for r in card.failures()]
    assert all(row.status is Status.FAIL for row in card.failures())
    assert any(row.status is Status.BLOCKED for row in card.rows), "later stages are blocked"
    assert not card.passed


@pytest.mark.parametrize("name", CAUGHT)
def test_only_by_what_is_wrong(name: str, here: Here) -> None:
    """The same rows pass on the reference: it is the mutation that is caught."""
    card = here("numpy", *CAUGHT[name].only)
    assert card.passed, [f"{r.id}: {r.reason}" for r in card.failures()]
