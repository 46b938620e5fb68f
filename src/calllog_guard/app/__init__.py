"""The composition root: what every process shares, the roles put together, and the reader for programs."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`app`: what `faust -A calllog_guard.app worker` runs; it is made when it is asked for."""
    if name == "app":
        from calllog_guard.app.hosted import app  # noqa: PLC0415 - takes long to load

        return app()
    raise AttributeError(name)
