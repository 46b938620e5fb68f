"""Stream workers that make a call log honour its privacy policy, provably."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calllog_guard.reader import Reader

__version__ = "0.1.0"
__all__ = ["Reader", "__version__"]


def __getattr__(name: str) -> Any:
    """The reader is imported when it is asked for, so that no part of this package draws in all others."""
    if name == "Reader":
        from calllog_guard.reader import Reader  # noqa: PLC0415

        return Reader
    raise AttributeError(name)
