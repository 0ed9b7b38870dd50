"""A tenant's own words for STOP and its like, set on the command line out of a file."""

from pathlib import Path

import pytest

from tests.cli.command import tidings
from tidings.database import open_database
from tidings.domain import tenants
from tidings.message import keywords


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    made = tidings(folder, "tenants", "create", "acme", "--sender", "hello@acme.example")
    assert made.returncode == 0, made.stderr
    return folder


async def test_a_file_of_keywords_is_checked_and_kept(home: Path, tmp_path: Path):
    words = tmp_path / "words.json"
    words.write_text('{"stop": ["ARRÊT"], "answers": {"stop": "Au revoir"}}', encoding="utf-8")
    changed = tidings(home, "tenants", "update", "acme", "--keywords", str(words))
    assert changed.returncode == 0, changed.stderr
    kept = await stored(home)
    assert (kept.find("Arrêt!"), kept.answer("stop", "Acme")) == ("stop", "Au revoir")
    words.write_text('{"stop": ["yes"]}', encoding="utf-8")
    refused = tidings(home, "tenants", "update", "acme", "--name", "Other", "--keywords", str(words))
    assert refused.returncode == 1
    assert "stop has 'yes', which means start" in refused.stderr
    missing = tidings(home, "tenants", "update", "acme", "--keywords", str(tmp_path / "none.json"))
    assert missing.returncode == 1
    assert "none.json cannot be read" in missing.stderr
    assert (await stored(home)).stop == ("ARRÊT",)
    words.write_text("", encoding="utf-8")
    assert tidings(home, "tenants", "update", "acme", "--keywords", str(words)).returncode == 0
    assert await stored(home) == keywords.Keywords()


async def stored(home: Path) -> keywords.Keywords:
    """What the tenant has now."""
    db = await open_database(f"sqlite:///{home / 'tidings.db'}")
    try:
        tenant = await db.read(tenants.find, "acme")
    finally:
        await db.close()
    assert tenant is not None
    return keywords.parse(tenant.keywords)
