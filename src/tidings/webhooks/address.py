"""Where may be posted to: what a URL may look like, and which addresses are the public's. No network here.

A URL is checked when it is given; the address its host leads to is checked when it is connected to (see `wire`), every time.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from tidings.errors import Invalid

LONGEST: Final = 2000
"""Characters of a URL."""
_RESERVED_PORTS: Final = 1024
_WEB_PORTS: Final = (80, 443)
_WORDS = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# what ipaddress counts among the global addresses and leads elsewhere all the same
_NOT_PUBLIC_4 = (IPv4Network("192.88.99.0/24"), IPv4Network("192.0.0.0/24"), IPv4Network("168.63.129.16/32"))
"""6to4's relays (RFC 7526), the protocol assignments of RFC 6890, and where a machine at Azure finds its own host's services."""
_PUBLIC_6 = IPv6Network("2000::/3")
"""All global unicast there is (RFC 4291, section 2.4); IPv4 addresses spelt as IPv6 ones lie outside of it."""
_NOT_PUBLIC_6 = (IPv6Network("2001::/23"), IPv6Network("2001:db8::/32"), IPv6Network("2002::/16"), IPv6Network("3fff::/20"))
"""Protocol assignments with Teredo, documentation (RFC 3849, RFC 9637), and 6to4, in which any IPv4 address may be hidden."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""Where a host that has IPv6 alone finds the IPv4 internet (RFC 6052): the address within is what counts."""


def check(url: str, *, allow_private: bool) -> str:
    """The URL in the one form it is kept in. Raises Invalid naming `url` for what is never posted to.

    A name that leads to a private address is not found out here: that is seen when it is connected to.
    """
    if not url or len(url) > LONGEST:
        raise Invalid.field("url", f"must be 1 to {LONGEST} characters")
    try:
        parts = urlsplit(_ascii(url))
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise Invalid.field("url", "must be an http or https URL") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise Invalid.field("url", "must be an http or https URL")
    if "@" in parts.netloc:
        raise Invalid.field("url", "must not contain a user name or password: give them as auth")
    if parts.fragment:
        raise Invalid.field("url", "must not have a fragment (#)")
    host = host.rstrip(".")
    _check_host(host, allow_private=allow_private)
    if port is not None and not _is_sane(port, allow_private=allow_private):
        raise Invalid.field("url", f"must not name port {port}: it is 80, 443 or one from {_RESERVED_PORTS} on")
    return _spelt(parts, host, port)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's; False for what is none at all (a zone is part of no public one)."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return _is_public_4(found)
    if found in _NAT64:
        return _is_public_4(IPv4Address(int(found) & 0xFFFFFFFF))
    return _is_public_6(found)


def _is_public_4(found: IPv4Address) -> bool:
    # is_global leaves out the shared addresses of carriers (100.64.0.0/10) and counts in multicast
    return found.is_global and not found.is_multicast and not found.is_reserved and not any(found in net for net in _NOT_PUBLIC_4)


def _is_public_6(found: IPv6Address) -> bool:
    return found in _PUBLIC_6 and found.scope_id is None and not any(found in net for net in _NOT_PUBLIC_6)


def _ascii(url: str) -> str:
    """The URL with an internationalised host spelt in ASCII. Raises ValueError for what cannot be in a URL."""
    if not url.isascii():
        parts = urlsplit(url)
        host = parts.hostname or ""
        url = url.replace(host, host.encode("idna").decode(), 1) if host else url
    if not _WORDS.fullmatch(url) or "\\" in url:
        raise ValueError(url)
    return url


def _check_host(host: str, *, allow_private: bool) -> None:
    try:
        literal = ip_address(host)
    except ValueError:
        literal = None
    if literal is not None:
        if not allow_private and not is_public(host):
            raise Invalid.field("url", f"must not lead to {host}: webhooks are sent to public addresses alone")
        return
    labels = host.split(".")
    # "127.1" and "0x7f000001" are addresses to a resolver; nobody needs them spelt like that
    if not all(map(_LABEL.fullmatch, labels)) or _NUMBER.fullmatch(labels[-1]) or len(host) > 253:
        raise Invalid.field("url", "must have a valid host")
    if not allow_private and labels[-1] == "localhost":
        raise Invalid.field("url", f"must not lead to {host}: webhooks are sent to public addresses alone")


def _is_sane(port: int, *, allow_private: bool) -> bool:
    """Whether an HTTP server may be there: among the reserved ports are those of protocols that would take a request for something else."""
    return port in _WEB_PORTS or port >= _RESERVED_PORTS or (allow_private and port > 0)


def _spelt(parts: SplitResult, host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[parts.scheme]
    netloc = shown if port in (None, usual) else f"{shown}:{port}"
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))
