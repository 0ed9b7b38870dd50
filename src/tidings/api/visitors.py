"""From where a request came, and how much of that is kept. Pure; nothing here knows what the request asks for."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

import msgspec

from tidings.errors import Invalid

Rule = Literal["truncate", "drop", "keep"]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

KEPT_BITS = {4: 24, 6: 48}
"""What `truncate` leaves of an address: the network of some provider's street or of one customer's house, and no machine in it."""
LONGEST_CHAIN = 50
"""Hops of X-Forwarded-For that are looked at."""


class Visitors(msgspec.Struct, frozen=True):
    """How addresses are kept, and whose word about them is believed: that of proxies in `trusted` networks, each for the hop before it."""

    rule: Rule = "truncate"
    trusted: tuple[Network, ...] = ()

    def address(self, peer: str, headers: Mapping[str, str]) -> str:
        """The address a request was made from: the connection's, or behind trusted proxies the last hop that is none of them.

        Each proxy adds whom it heard at the right end of X-Forwarded-For, so what stands left of the first stranger was said by him.
        """
        found = _read(peer)
        if found is None or not self._trusts(found):
            return str(found or "")
        for entry in reversed(headers.get("x-forwarded-for", "").split(",")[-LONGEST_CHAIN:]):
            hop = _read(_bare(entry))
            if hop is None:
                break
            found = hop
            if not self._trusts(hop):
                break
        return str(found)

    def kept(self, address: str | None) -> str | None:
        """What is stored of an address by the rule; None for what is no address."""
        found = _read(address or "")
        if found is None or self.rule == "drop":
            return None
        if self.rule == "keep":
            return str(found)
        return _network(found)

    def agent(self, text: str) -> str | None:
        """What is stored of a user agent: nothing where addresses are dropped, for together with a time it may be as telling as one."""
        return None if self.rule == "drop" else text or None

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted if network.version == address.version)


def networks(text: str) -> tuple[Network, ...]:
    """The networks and addresses of a list with commas or spaces between them. Raises Invalid naming the wrong one."""
    found: list[Network] = []
    for entry in text.replace(",", " ").split():
        try:
            found.append(ip_network(entry, strict=False))
        except ValueError as error:
            raise Invalid(f"{entry!a} is neither an address nor a network such as 10.0.0.0/8.") from error
    return tuple(found)


def _bare(entry: str) -> str:
    """An entry without the port that some proxies add: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    entry = entry.strip()
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


@lru_cache(maxsize=1024)
def _network(address: Address) -> str:
    return str(ip_network((address, KEPT_BITS[address.version]), strict=False).network_address)


# whoever asks once mostly asks again, and reading an address takes longer than the rest of an entry in the audit
@lru_cache(maxsize=1024)
def _read(text: str) -> Address | None:
    """The address, None when it is none; one of IPv4 that came over IPv6 (RFC 4291, 2.5.5.2) as what it is, and without a zone."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
