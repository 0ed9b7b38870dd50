"""Reading request bodies: JSON into records with a complaint per field, and forms. Knows no route and no contract."""

import codecs
import re
from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
import multipart

from tidings.errors import Invalid, Malformed
from tidings.message import incoming_charsets

S = TypeVar("S", bound=msgspec.Struct)

_BIGGEST = 2**63 - 1
_DIGITS_ALIKE = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG_NUMBER = b"0" * 19
_NUL = b"\\u0000"
_STEP = 512 * 1024
_MOST_FIELDS = 1000
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_AT = re.compile(r" - at `\$\.?(.*)`$")
_KIND = re.compile(r"^Expected `([^`]+)`, got `([^`]+)`")
_UNKNOWN_WORD = "Invalid enum value "
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def decode(body: bytes) -> Any:
    """The JSON value in `body`. Raises Malformed when it is none, Invalid when it holds what no database takes (NUL, over 64 bits)."""
    body = body.removeprefix(codecs.BOM_UTF8)  # RFC 8259, section 8.1: may be ignored, and some shells write one
    if not body.strip():
        raise Malformed("The request body is empty; JSON was expected")
    try:
        value: Any = msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        raise Malformed("The request body is not UTF-8") from error
    except msgspec.DecodeError as error:
        raise Malformed(f"The request body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise Malformed("The request body is nested too deeply") from error
    if _is_suspect(body):
        _refuse_unstorable(value)
    return value


def convert(value: Any, kind: type[S]) -> S:
    """`value` as a record, strictly. Raises Invalid naming every field that is missing, unknown or of the wrong type."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _explained(value, kind, error) from error


def fields(body: bytes, content_type: str) -> dict[str, Any]:
    """A form's or a JSON object's values by name. Raises Malformed when it is neither, Invalid as `decode` does."""
    essence = content_type.partition(";")[0].strip().lower()
    if essence == "multipart/form-data":
        return _multipart(body, content_type)
    looks_json = body.lstrip()[:1] in (b"{", b"[")
    if essence == "application/x-www-form-urlencoded" or (not essence and not looks_json):
        return _urlencoded(body)
    value: Any = decode(body) if body.strip() else {}
    if not isinstance(value, dict):
        raise Malformed("The request body must be a JSON object")
    return cast(dict[str, Any], value)


class Piece(NamedTuple):
    """A field of a form, `value` as it was sent. `filename` is None for all but files (of which it may be ""), `kind` a file's media type or ""."""

    name: str
    value: bytes
    filename: str | None = None
    kind: str = ""


def pieces(body: bytes, content_type: str) -> list[Piece]:
    """A form's fields and files in order, none of them read as text: their charset is for others to know. Raises Malformed for all but forms."""
    essence = content_type.partition(";")[0].strip().lower()
    if essence == "multipart/form-data":
        return _parted(body, content_type)
    if essence != "application/x-www-form-urlencoded":
        raise Malformed("The request body must be a form")
    try:
        # as Latin-1 there and back, which leaves every byte as it is
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise Malformed("The form has too many fields") from error
    return [Piece(_spelt(name), value.encode("latin-1")) for name, value in pairs]


def _is_suspect(body: bytes) -> bool:
    """Whether there may be something in it that no database takes. Step by step: a body of many megabytes must not hold up other threads."""
    for start in range(0, len(body), _STEP):
        piece = body[start : start + _STEP + len(_LONG_NUMBER)]
        if _NUL in piece or _LONG_NUMBER in piece.translate(_DIGITS_ALIKE):
            return True
    return False


def _urlencoded(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except UnicodeDecodeError as error:
        raise Malformed("The form is not UTF-8") from error
    except ValueError as error:
        raise Malformed("The form has too many fields") from error
    return _storable(pairs)


def _multipart(body: bytes, content_type: str) -> dict[str, Any]:
    """The text fields of a multipart form; files in it are passed over."""
    texts = [piece for piece in _parted(body, content_type) if piece.name and piece.filename is None]
    try:
        return _storable([(piece.name, piece.value.decode("utf-8")) for piece in texts])
    except UnicodeDecodeError as error:
        raise Malformed(f"The form cannot be read: {error}") from error


def _parted(body: bytes, content_type: str) -> list[Piece]:
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise Malformed("The form's Content-Type names no boundary")
    found: list[tuple[multipart.MultipartSegment, list[bytes]]] = []
    try:
        with multipart.PushMultipartParser(
            boundary.group(1) or boundary.group(2),
            content_length=len(body),
            max_segment_count=_MOST_FIELDS,
            # a file's name is in whatever charset its sender had, and no reason to refuse the form
            header_charset="latin-1",
        ) as parser:
            for event in (*parser.parse(body), *parser.parse(b"")):
                if isinstance(event, multipart.MultipartSegment):
                    found.append((event, []))
                elif event is not None:
                    found[-1][1].append(bytes(event))
    except multipart.MultipartError as error:
        raise Malformed(f"The form cannot be read: {error}") from error
    return [_piece(segment, b"".join(chunks)) for segment, chunks in found]


def _piece(segment: multipart.MultipartSegment, value: bytes) -> Piece:
    name = None if segment.filename is None else _spelt(segment.filename)
    kind = (segment.content_type or "") if name is not None else ""
    return Piece(_spelt(segment.name or ""), value, name, kind)


def _spelt(name: str) -> str:
    return incoming_charsets.decode(name.encode("latin-1", "replace"))


def _storable(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    form: dict[str, Any] = {}
    for name, value in pairs:
        if "\0" in value:
            raise Invalid.field(name, "must not contain a NUL character")
        form.setdefault(name, value)
    return form


def _refuse_unstorable(value: Any, name: str = "") -> None:
    if isinstance(value, str) and "\0" in value:
        raise Invalid.field(name or "body", "must not contain a NUL character")
    if isinstance(value, int) and abs(value) > _BIGGEST:
        raise Invalid.field(name or "body", "is a number beyond 64 bits")
    if isinstance(value, dict):
        for key, inner in cast(dict[str, Any], value).items():
            _refuse_unstorable(key, name or key)
            _refuse_unstorable(inner, name or key)
    elif isinstance(value, list):
        for inner in cast(list[Any], value):
            _refuse_unstorable(inner, name)


def _explained(value: Any, kind: type[msgspec.Struct], error: msgspec.ValidationError) -> Invalid:
    if not isinstance(value, dict):
        return Invalid("The request body must be a JSON object")
    given = cast(dict[str, Any], value)
    complaints: dict[str, list[str]] = {}
    known: set[str] = set()
    for field in msgspec.structs.fields(kind):
        known.add(field.encode_name)
        if field.encode_name not in given:
            if field.required:
                complaints[field.encode_name] = ["is required"]
            continue
        try:
            msgspec.convert(given[field.encode_name], field.type)
        except msgspec.ValidationError as wrong:
            complaints[field.encode_name] = [_in_words(str(wrong), _choices(field.type))]
    if kind.__struct_config__.forbid_unknown_fields:
        complaints |= {name: ["is not a known field"] for name in given if name not in known}
    if not complaints:
        return Invalid(str(error))
    return Invalid("; ".join(f"{name} {texts[0]}" for name, texts in complaints.items()), complaints)


def _choices(kind: Any) -> tuple[str, ...]:
    """The words that a field may have, where some words are all it may have."""
    if get_origin(kind) is Literal:
        return tuple(word for word in get_args(kind) if isinstance(word, str))
    if get_origin(kind) in (Union, UnionType, Annotated, list, tuple):
        return tuple(word for part in get_args(kind) for word in _choices(part))
    return ()


def _in_words(message: str, choices: Sequence[str] = ()) -> str:
    """msgspec's complaint in the words of whoever wrote the request: `must be text, not a whole number (at items[0])`."""
    place = _AT.search(message)
    bare = message[: place.start()] if place else message
    where = f" (at {place.group(1)})" if place and place.group(1) else ""
    if bare.startswith(_UNKNOWN_WORD):
        words = ", ".join(choices) or "the words that are known here"
        return f"must be one of {words}, not {bare.removeprefix(_UNKNOWN_WORD)}{where}"
    kinds = _KIND.match(bare)
    if not kinds:
        return bare[:1].lower() + bare[1:] + where
    wanted = [_WORDS.get(word.strip(), word.strip()) for word in kinds.group(1).split("|")]
    got = _WORDS.get(kinds.group(2), kinds.group(2))
    return f"must be {' or '.join(wanted)}, not {got}{where}"
