"""Bytes of a mail made into text, whatever charset they claim. Nothing here raises, and nothing here leaves what a database refuses."""

import codecs
import re
from functools import lru_cache

_NUMBERED = re.compile(r"(?:x-)?(?:cp|ibm|windows|win|ms|dos)[-_]?0*(\d{3,5})")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.:+-]{0,39}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNDECIDED = frozenset({"ascii", "iso8859-1", "cp1252"})
"""What mailers write when they know nothing: bytes that are valid UTF-8 beyond ASCII are UTF-8, whatever these say."""
_NOT_CHARSETS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "rot13", "charmap"})
"""Text encodings of Python that no mail is written in; some are quadratic, some raise on everything."""

# Beyond Python's own aliases. Where a vendor's superset is what is really sent under a standard's name, the superset is named
# (so does the WHATWG's Encoding Standard).
_ALIASES = {
    "ansi_x3.110-1983": "cp1252", "ansi": "cp1252", "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "iso_8859-1": "cp1252",
    "latin1": "cp1252", "latin-1": "cp1252", "us-ascii": "cp1252", "ascii": "cp1252",
    "iso-8859-8-i": "iso8859-8", "iso-8859-8-e": "iso8859-8", "iso-8859-6-i": "iso8859-6", "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874", "tis-620": "cp874", "tis620": "cp874",
    "ks_c_5601-1987": "cp949", "ks_c_5601": "cp949", "ksc5601": "cp949", "euc-kr": "cp949", "euckr": "cp949", "x-windows-949": "cp949",
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "cp936": "gb18030", "gb_2312-80": "gb18030", "cn-gb": "gb18030",
    "hz-gb-2312": "hz", "big5": "cp950", "x-x-big5": "cp950", "cn-big5": "cp950", "big5-hkscs": "big5hkscs",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932",
    "x-euc-jp": "euc_jp", "iso-2022-jp": "iso2022_jp_ext", "iso-2022-jp-ms": "iso2022_jp_ext",
    "cp50220": "iso2022_jp_ext", "cp50221": "iso2022_jp_ext", "cp65001": "utf-8", "x-utf-8": "utf-8", "utf8mb4": "utf-8", "unicode": "utf-16",
    "unicode-1-1-utf-7": "utf-7", "unicode-1-1-utf-8": "utf-8", "x-unicode-2-0-utf-7": "utf-7", "macintosh": "mac_roman",
    "x-mac-roman": "mac_roman", "x-macroman": "mac_roman", "x-mac-cyrillic": "mac_cyrillic", "x-mac-ce": "mac_latin2", "koi8": "koi8-r",
}  # fmt: skip


def decode(raw: bytes, charset: str = "") -> str:
    """`raw` as text: in `charset` if there is one by that name (or what is commonly meant by it), else UTF-8, else windows-1252.

    Bytes that their charset does not have become U+FFFD, unless they are a minority's mistake in the choice of charset: text that
    claims UTF-8 and is not is read as windows-1252 when it holds more broken characters than whole ones beyond ASCII.
    """
    codec = codec_of(charset)
    if raw.isascii() and codec in ("", "cp1252", "utf-8", *_UNDECIDED):
        return raw.decode("ascii")
    for candidate in ("utf-8", codec) if codec in _UNDECIDED else (codec, "utf-8"):
        if candidate:
            try:
                return raw.decode(candidate)
            except UnicodeError:
                continue
    mended = raw.decode(codec or "utf-8", "replace")
    broken = mended.count("\ufffd")
    whole = sum(1 for char in mended if char > "\x7f") - broken
    return mended if whole > broken else raw.decode("cp1252", "replace")


@lru_cache(maxsize=512)
def codec_of(charset: str) -> str:
    """Python's codec for a charset as mail names it; "" when nobody knows it (`unknown-8bit`, `x-user-defined`, line noise)."""
    name = charset.strip(" \t\"'").lower()
    if not _NAME.fullmatch(name):
        return ""
    numbered = _NUMBERED.fullmatch(name)
    for candidate in (name, f"cp{numbered[1]}" if numbered else "", name.removeprefix("x-")):
        try:
            found = codecs.lookup(_ALIASES.get(candidate, candidate)).name
            if candidate and found.replace("-", "_") not in _NOT_CHARSETS:
                "a".encode(found)  # raises for what is no text encoding: zip, base64
                return found
        except (LookupError, UnicodeError, ValueError):
            continue
    return ""


def storable(text: str) -> str:
    """`text` without what no database takes: NUL goes, pairs of surrogates become their character, lone ones U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "")
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
