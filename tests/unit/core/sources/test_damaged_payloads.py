"""Payloads with any part replaced by anything: a mapping gives results, and nothing else ends a file or a worker."""

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size

from calllog_guard.adapters.mappings.files import mapping, shipped
from calllog_guard.adapters.mappings.mapped_logs import messages
from calllog_guard.core.sources.check import REMEDIES, checked

PAYLOADS = Path(__file__).parents[3] / "support" / "payloads"
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["0", "%ff", "1970"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


def damaged(message: Any, anything: Any, dice: Random) -> Any:
    """A message of which one part, at any depth, is something else, or is not there."""
    if not isinstance(message, dict | list) or not message or dice.random() < 0.1:
        return anything
    found = copy.copy(message)
    where = dice.choice(list(found) if isinstance(found, dict) else range(len(found)))
    if dice.random() < 0.1:
        del found[where]
    else:
        found[where] = damaged(found[where], anything, dice)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_whatever_stands_in_a_payload_the_mapping_has_an_answer(name: str) -> None:
    """A platform may change its messages on any day."""
    ours = mapping(name, {"zone": "Europe/London"})
    samples = [path for path in (PAYLOADS / name).iterdir() if ".expected" not in path.suffixes]
    known = [message for path in samples for _, _, message in messages(path, ours)]
    assert known

    @settings(max_examples=size("DAMAGED", 40, 3000), deadline=None)
    @given(st.sampled_from(known), ANY, st.randoms(use_true_random=False))
    def holds(message: Any, anything: Any, dice: Random) -> None:
        found = checked(ours, damaged(message, anything, dice), "iocom")
        assert found.results
        for result in found.results:
            assert all(error.reason in REMEDIES for error in result.refused)
            json.dumps(result.event).encode()
            assert result.notification is None or json.dumps(result.notification.told())

    holds()
