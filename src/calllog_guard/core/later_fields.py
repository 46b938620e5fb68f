"""
Messages of a later minor release: what we know of them, and what they say beyond it, kept for whoever writes them anew.

In: a message's bytes, its type.  Out: the bytes without what the type does not know; the rest, by name, byte for byte.
Not here: who may say more than we know (`codec.py`).  Nothing here is run for a message of our own release.
"""

from functools import lru_cache
from typing import Final, TypeVar

import msgspec
from msgspec import inspect

REST: Final = "~rest"
"""The field in which a message keeps what it does not know, and under which no message is ever written."""
MARK: Final = b'"~rest":'

_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_arrays: Final = msgspec.json.Decoder(list[msgspec.Raw])
_rests: Final = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]])
_encoder: Final = msgspec.json.Encoder()
T = TypeVar("T")


@lru_cache(maxsize=256)
def _shape(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def known(kind: type, raw: bytes) -> bytes:
    """
    A message with only the fields that its type knows, at every depth.

    Raises:
        msgspec.DecodeError: No JSON.

    """
    return bytes(_known(_shape(kind), raw.lstrip()))


def _known(shape: inspect.Type, raw: bytes) -> msgspec.Raw:
    start, made = raw[:1], None
    if isinstance(shape, inspect.UnionType):
        inner = [each for each in shape.types if _fits(each, start, raw)]
        return _known(inner[0], raw) if inner else msgspec.Raw(raw)
    if isinstance(shape, inspect.StructType) and start == b"{":
        fields = {field.encode_name: field.type for field in shape.fields if field.encode_name != REST}
        found = _objects.decode(raw)
        own: dict[str, msgspec.Raw] = {
            name: _known(fields[name], bytes(found[name])) for name in found if name in fields
        }
        made = own | {name: part for name, part in found.items() if name == shape.tag_field}
    elif isinstance(shape, inspect.DictType) and start == b"{":
        made = {name: _known(shape.value_type, bytes(part)) for name, part in _objects.decode(raw).items()}
    elif isinstance(shape, inspect.VarTupleType) and start == b"[":
        return msgspec.Raw(_encoder.encode([_known(shape.item_type, bytes(part)) for part in _arrays.decode(raw)]))
    return msgspec.Raw(raw if made is None else _encoder.encode(made))


def _fits(shape: inspect.Type, start: bytes, raw: bytes) -> bool:
    """Whether a value may be of one kind of a union: by its first letter, and by the word that tells structs apart."""
    if isinstance(shape, inspect.StructType) and shape.tag_field is not None and start == b"{":
        return bytes(_objects.decode(raw).get(shape.tag_field, b"")) == _encoder.encode(shape.tag)
    kinds = {b"{": (inspect.StructType, inspect.DictType), b"[": (inspect.VarTupleType,)}
    return isinstance(shape, kinds.get(start, ()))


def with_rest(value: T, raw: bytes | msgspec.Raw) -> T:
    """A decoded message with the unknown fields of its bytes, at whatever depth something that keeps them stands."""
    if isinstance(value, tuple) and any(isinstance(each, msgspec.Struct) for each in value):
        return type(value)(with_rest(each, part) for each, part in zip(value, _arrays.decode(raw), strict=True))
    if isinstance(value, dict) and any(isinstance(each, msgspec.Struct) for each in value.values()):
        parts = _objects.decode(raw)
        return type(value)({name: with_rest(each, parts[name]) for name, each in value.items()})
    if not isinstance(value, msgspec.Struct):
        return value
    ours = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
    keeps = ours.pop(REST, None)
    fields = _objects.decode(raw)
    inner = {ours[name]: with_rest(getattr(value, ours[name]), part) for name, part in fields.items() if name in ours}
    rest = tuple((name, part) for name, part in fields.items() if name not in ours)
    return msgspec.structs.replace(value, **inner, **({"rest": rest or msgspec.UNSET} if keeps else {}))


def flat(raw: bytes) -> bytes:
    """A message as it is written: what was kept stands among the fields, and takes the place of none."""
    if MARK not in raw:
        return raw
    if raw[:1] == b"[":
        return _encoder.encode([msgspec.Raw(flat(bytes(part))) for part in _arrays.decode(raw)])
    fields = _objects.decode(raw)
    try:
        rest = _rests.decode(fields.pop(REST, b"[]"))
    except msgspec.ValidationError:  # a name among others in a table, and no message's
        return raw
    whole = {name: msgspec.Raw(flat(bytes(part))) for name, part in fields.items()}
    return _encoder.encode(whole | {name: part for name, part in rest if name not in whole})
