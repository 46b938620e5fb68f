"""Stream workers that make a call log honour its privacy policy, provably; for programs that read it, `Reader`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from calllog_guard.app.reader import Reader
    from calllog_guard.core.calls.view import Line, Put, Remove, Reset

__version__ = "0.1.0"
__all__ = ["Line", "Put", "Reader", "Remove", "Reset", "__version__"]
_HOMES: Final = dict.fromkeys(("Line", "Put", "Remove", "Reset"), "core.calls.view") | {"Reader": "app.reader"}


def __getattr__(name: str) -> Any:
    """What programs use is imported when it is asked for, so that no part of this package draws in all others."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(name)
