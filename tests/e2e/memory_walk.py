"""What is in the memory of a running process, as root sees it from outside."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path

_AT_ONCE = 16 << 20


def found(pid: int, wanted: Mapping[str, bytes]) -> dict[str, int]:
    """How often each of some values stands in the writable memory of a process; those that do not are left out."""
    many = dict.fromkeys(wanted, 0)
    longest = max(map(len, wanted.values()))
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in _regions(pid):
            kept = b""
            for at in range(start, end, _AT_ONCE):
                try:
                    memory.seek(at)
                    block = memory.read(min(_AT_ONCE, end - at))
                except OSError:  # a region that went away meanwhile, or is a device's
                    break
                whole = kept + block
                for name, value in wanted.items():
                    many[name] += whole.count(value) - kept.count(value)
                kept = whole[-(longest - 1) :]
    return {name: count for name, count in many.items() if count}


def _regions(pid: int) -> Iterable[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, rights, *_ = line.split()
        if rights.startswith("rw"):
            start, _, end = place.partition("-")
            yield int(start, 16), int(end, 16)


def spellings(name: str) -> dict[str, bytes]:
    """An identifier as programs keep it: in UTF-8, and within base64url wherever it begins."""
    raw = name.encode()
    forms = {"utf-8": raw}
    for shift in range(3):
        coded = base64.urlsafe_b64encode(b"\x00" * shift + raw + b"\x00" * (-(len(raw) + shift) % 3))
        forms[f"base64url {shift}"] = coded[4 if shift else 0 : -4]
    return forms
