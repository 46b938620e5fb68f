"""A reader's options: a word that is mistyped is no option that is left out."""

from typing import Any

import pytest

from calllog_guard import Reader


@pytest.mark.parametrize("given", [{"cursors": "place"}, {"followed": True}])
def test_an_option_that_no_reader_has_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"no option {next(iter(given))}"):
        Reader(purpose="billing", actor="billing-1", **given)
