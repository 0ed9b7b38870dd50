"""The corpus: awkward mails written for these tests, with what must come out of each; and some that are too large to keep as files."""

import base64
import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "corpus"
WANTED: dict[str, dict[str, Any]] = tomllib.loads((FOLDER / "corpus.toml").read_text(encoding="utf-8"))


def raw(name: str) -> bytes:
    """The bytes of one mail of the corpus."""
    return (FOLDER / f"{name}.eml").read_bytes()


def nested(levels: int) -> bytes:
    """Multiparts in one another, and a text in the innermost."""
    opening = "".join(f'Content-Type: multipart/mixed; boundary="b{level}"\r\n\r\n--b{level}\r\n' for level in range(levels))
    closing = "".join(f"\r\n--b{level}--" for level in reversed(range(levels)))
    return f"From: ann@reader.test\r\nSubject: deep\r\n{opening}Content-Type: text/plain\r\n\r\ndeep words{closing}\r\n".encode()


def many_recipients(count: int) -> bytes:
    """One To header with that many mailboxes."""
    boxes = ",\r\n ".join(f'"Person {number}" <person{number}@reader.test>' for number in range(count))
    return f"From: ann@reader.test\r\nTo: {boxes}\r\nDelivered-To: reply+tok@in.shop.test\r\nSubject: all\r\n\r\nHello all\r\n".encode()


def many_parts(count: int) -> bytes:
    """A multipart of that many small texts."""
    parts = "".join(f"--b\r\nContent-Type: text/plain\r\n\r\npart {number}\r\n" for number in range(count))
    return f"From: ann@reader.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n".encode()


def huge_subject(size: int) -> bytes:
    """A subject of that many bytes, in encoded words."""
    word = f"=?utf-8?b?{base64.b64encode('Größe '.encode()).decode()}?="
    return f"From: ann@reader.test\r\nSubject: {chr(10).join([' ' + word] * (size // len(word))).strip()}\r\n\r\nx\r\n".encode()


def deep_html(levels: int) -> bytes:
    """HTML that parsers need minutes for."""
    return b"From: ann@reader.test\r\nContent-Type: text/html\r\n\r\n" + b"<div>" * levels + b"deep words"
