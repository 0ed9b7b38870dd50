"""From where a request came, behind whatever proxies, and how much of that is kept."""

from typing import Any

import msgspec
import pytest

from tests.api.conftest import Api
from tidings.api.visitors import Visitors, networks
from tidings.errors import Invalid

TRUSTED = networks("127.0.0.1, 10.0.0.0/8 2001:db8:1::/48")


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("127.0.0.1", "6.6.6.6, made up, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("127.0.0.1", "[2001:db8:9::1]:4711", "2001:db8:9::1"),
        ("::ffff:127.0.0.1", "2001:db8:9::1", "2001:db8:9::1"),
        ("2001:db8:1::5", "::ffff:198.51.100.7", "198.51.100.7"),
        ("", "198.51.100.7", ""),
    ],
)
def test_the_last_hop_that_is_nobodys_proxy_is_the_reader(peer: str, header: str, address: str):
    assert Visitors(trusted=TRUSTED).address(peer, {"x-forwarded-for": header} if header else {}) == address


@pytest.mark.parametrize(
    ("rule", "address", "kept"),
    [
        ("truncate", "198.51.100.7", "198.51.100.0"),
        ("truncate", "2001:db8:9:1:2::3", "2001:db8:9::"),
        ("truncate", "::ffff:198.51.100.7", "198.51.100.0"),
        ("truncate", "fe80::1%eth0", "fe80::"),
        ("keep", "198.51.100.7", "198.51.100.7"),
        ("drop", "198.51.100.7", None),
        ("keep", "unknown", None),
        ("truncate", "", None),
        ("truncate", None, None),
    ],
)
def test_of_an_address_is_kept_what_the_rule_says(rule: Any, address: str | None, kept: str | None):
    assert Visitors(rule=rule).kept(address) == kept


def test_what_is_no_network_is_named():
    with pytest.raises(Invalid, match=r"10\.0\.0\.0/33"):
        networks("127.0.0.1, 10.0.0.0/33")


async def test_an_open_keeps_what_the_rule_says_of_the_reader_behind_the_proxy(api: Api):
    rules = {"truncate": ("Mail/1", "198.51.100.0"), "keep": ("Mail/1", "198.51.100.7"), "drop": (None, None)}
    for rule, expected in rules.items():
        house = msgspec.structs.replace(api.house, visitors=Visitors(rule=rule, trusted=networks("127.0.0.1")))  # type: ignore[arg-type]
        record = await api.send()
        headers = {"user-agent": "Mail/1", "x-forwarded-for": "6.6.6.6, 198.51.100.7"}
        async with api.client_of(house) as stranger:
            await stranger.get(f"/api/v1/communications/track/{record['id']}", headers=headers)
        rows = await api.rows("SELECT user_agent, ip FROM interactions WHERE tenant_id = :t ORDER BY id DESC LIMIT 1", t=api.tenant.id)
        assert rows == [expected]
