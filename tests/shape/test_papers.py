"""What the project says about itself is true, and it carries nothing of the machine it was written on."""

import ast
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.shape.project import ROOT, modules, texts
from tidings.settings import described

LOCKS = ["requirements.lock", "requirements-dev.lock"]
PIN = re.compile(r"^[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+(; [a-z_]+ [=!]= '[a-z0-9]+')?$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SETTING = re.compile(r"TIDINGS_[A-Z][A-Z_]*")
USED_WITHOUT_IMPORT = {"uvloop", "tzdata"}
"""An event loop that Granian takes when it is there, and the data of zoneinfo."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAPERS = dict(texts(".md"))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_pins_versions_and_names_no_address(lock: str):
    odd = [line for line in (ROOT / lock).read_text().splitlines() if not PIN.match(line) and not line.startswith(("#", "-r requirements"))]
    assert not odd


def test_every_declared_dependency_is_pinned():
    pinned = pins(LOCKS[0])
    assert declared(PROJECT["dependencies"]) <= pinned.keys(), "run scripts/lock"
    assert declared(PROJECT["optional-dependencies"]["dev"]) <= pins(LOCKS[1]).keys() | pinned.keys(), "run scripts/lock"


def test_every_declared_dependency_is_used_and_explained():
    imported = {name.split(".")[0] for _, tree in modules() for name in imports(tree)}
    owners = metadata.packages_distributions()
    used = {plain(owner) for name in imported for owner in owners.get(name, [])}
    libraries = declared(PROJECT["dependencies"])
    assert libraries - used - USED_WITHOUT_IMPORT == set(), "declared, but never imported"
    explained = PAPERS["docs/dependencies.md"].lower()
    assert not [name for name in sorted(libraries) if name not in explained], "say in docs/dependencies.md what it is for"


@pytest.mark.parametrize("paper", sorted(PAPERS))
def test_links_between_papers_lead_somewhere(paper: str):
    missing = []
    for target in LINK.findall(PAPERS[paper]):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / paper).parent / path if path else ROOT / paper
        if not file.exists() or (anchor and anchor not in anchors(file)):
            missing.append(target)
    assert not missing


def test_every_setting_is_documented_in_its_own_words_and_no_other_is():
    rows = re.findall(r"^\| `(TIDINGS_[A-Z_]+)` \| (?:`(.*?)`|empty) \| (.*) \|$", PAPERS["docs/configuration.md"], re.MULTILINE)
    assert rows == described()


def test_no_paper_speaks_of_a_setting_that_is_not_there():
    known = {name for name, _, _ in described()} | {"TIDINGS_TEST_REQUIRE_ALL"}
    assert {name for text in PAPERS.values() for name in SETTING.findall(text)} <= known


def test_nothing_tells_where_it_was_written():
    private = re.compile(r"/(?:home|Users)/[a-z]+/")
    here = f"{ROOT.parent}/" if len(ROOT.parent.parts) > 1 else "\0"
    telling = [path for path, text in texts() if private.search(text) or here in text]
    assert not telling


def test_every_command_of_the_readme_is_a_make_target():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", "\n".join(PAPERS.values())))
    assert named <= targets


def plain(name: str) -> str:
    """A library's name in the one spelling that indexes compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    """The names in a list such as `psycopg[binary]>=3.2`."""
    return {plain(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in requirements}


def pins(lock: str) -> dict[str, str]:
    """Every pinned library of a lock file, as name → version."""
    entries = [line.split(";")[0].split("==") for line in (ROOT / lock).read_text().splitlines() if "==" in line]
    return {plain(name): version.strip() for name, version in entries}


def imports(tree: ast.Module) -> list[str]:
    """Every module name a module imports, wherever it does."""
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return names + [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]


def anchors(file: Path) -> set[str]:
    """The anchors that the headings of a paper make."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
