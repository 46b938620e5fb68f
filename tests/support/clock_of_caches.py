"""How tests wait for what a cache drops by itself."""

import os
import time
from collections.abc import Callable

_PATIENCE_S = float(os.environ.get("PATIENCE_S", "400"))


def gone_in_time(gone: Callable[[], bool]) -> bool:
    """Whether something is gone in the end; returns as soon as it is."""
    until = time.monotonic() + _PATIENCE_S
    while not gone():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
