"""
Which records of a partition were opened: their offsets in few bytes, so that an access says whose records it opened.

Form: the distances between the offsets in order as LEB128, deflated, in unpadded base64url; the first from `from`.
Rules: 1. Garbage raises only our error.  2. What unpacks to more than a batch of records is garbage.
Source: RFC 1951 and 1950; DWARF 5, section 7.6 (LEB128); GDPR Art. 15(1)(c).
"""

import zlib
from collections.abc import Iterable
from typing import Final

from calllog_guard.core.identifiers import b64, unb64
from calllog_guard.errors import RecordError

_MOST_BYTES: Final = 65_536
"""A batch has at most 5,000 records, and a distance takes at most 10 bytes."""
_LOW: Final = 0x7F
_MORE: Final = 0x80
_WORD: Final = 63


def pack(offsets: Iterable[int], start: int) -> str:
    """Offsets from `start` on, in any order, each once."""
    found, last = bytearray(), start
    for offset in sorted(offsets):
        gap, last = offset - last, offset
        while gap > _LOW:
            found.append(gap & _LOW | _MORE)
            gap >>= 7
        found.append(gap)
    return b64(zlib.compress(bytes(found), 9)).decode()


def unpack(text: str, start: int) -> list[int]:
    """
    The offsets again, in order.

    Raises:
        RecordError: `bad_offsets`.

    """
    try:
        inflate = zlib.decompressobj()
        raw = inflate.decompress(unb64(text.encode("ascii")), _MOST_BYTES)
    except (ValueError, zlib.error):
        raise RecordError("bad_offsets") from None
    if not inflate.eof:
        raise RecordError("bad_offsets")
    offsets, offset, gap, shift = list[int](), start, 0, 0
    for byte in raw:
        gap |= (byte & _LOW) << shift
        shift += 7
        if byte & _MORE:
            if shift > _WORD:
                raise RecordError("bad_offsets")
            continue
        offset += gap
        offsets.append(offset)
        gap, shift = 0, 0
    if shift:
        raise RecordError("bad_offsets")
    return offsets
