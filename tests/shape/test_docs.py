"""What the documentation lists is what there is: every route, every command with its options, the retries, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from tests.shape.project import ROOT
from tidings.api import routes
from tidings.api.health import Metrics
from tidings.cli import context
from tidings.cli.main import COMMANDS, load
from tidings.database import open_database
from tidings.delivery import retry
from tidings.domain import durations
from tidings.domain.keys import AREAS
from tidings.providers.registry import KINDS
from tidings.settings import Settings, described

DOCS = ROOT / "docs"
ROUTE = re.compile(r"^\| (GET|POST|PUT|PATCH|DELETE) \| `([^`]+)` \| (?:`([a-z:]+)`|(any key|public)) \| ", re.MULTILINE)
LOCAL_LINK = re.compile(r"\]\(([\w/.-]+\.md)")


async def test_the_api_page_lists_every_route_with_its_scope_and_no_other(sqlite_url: str):
    db = await open_database(sqlite_url)
    house = context.built(Settings(), db, b"a secret of more than sixteen")
    there = {
        (route.method, route.path, "public" if route.public else route.scope or "any key") for route in routes.collect(house, Metrics(db))
    }
    await db.close()
    listed = [(method, path, scope or word) for method, path, scope, word in ROUTE.findall(page("api"))]
    assert set(listed) == there
    assert len(listed) == len(there)


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_json_shown_to_readers_is_json(path: Path):
    for block in re.findall(r"```json\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        for value in re.split(r"\n(?=[{\[])", block.strip()):
            json.loads(value)


def test_the_command_line_page_has_every_command_with_every_option_in_its_section():
    sections = re.split(r"^## ", page("cli"), flags=re.MULTILINE)
    missing: list[str] = []
    for name in COMMANDS:
        about = "\n".join(section for section in sections if re.search(rf"\b{name}\b", section.partition("\n")[0]))
        missing += [f"tidings {words}" for words in wanted(name, load(name)) if words.partition(" ")[2] not in about or not about]
    assert not missing


def test_the_command_line_page_speaks_of_no_option_that_is_not_there():
    there = {option for name in COMMANDS for option in options(load(name))} | {"--help", "--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page("cli"))) <= there


def test_every_setting_has_its_row():
    assert not [name for name, _, _ in described() if f"| `{name}` |" not in page("configuration")]


def test_every_scope_area_is_explained():
    assert not [area for area in AREAS if f"| `{area}` |" not in page("api")]


def test_the_retries_shown_are_the_retries_made():
    rows = re.findall(r"^\| (\d+) \| ([0-9]+[smhd]) \|", page("sending"), re.MULTILINE)
    assert rows == [(str(number), durations.spell(delay)) for number, delay in enumerate(retry.DELAYS, 1)]


def test_every_kind_of_provider_is_shown_with_its_settings():
    text = page("providers")
    for name, kind in KINDS.items():
        row = re.search(rf"^\| `{name}` \| ([a-z, ]+) \| (.*) \|$", text, re.MULTILINE)
        assert row is not None, name
        assert row[1] == ", ".join(kind.channels)
        assert not [field for field in fields(kind.form) if f"`{field}`" not in row[2]]


def test_every_page_is_reached_from_the_readme():
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        paper = waiting.pop().resolve()
        if paper not in reached:
            reached.add(paper)
            waiting += [paper.parent / target for target in LOCAL_LINK.findall(paper.read_text(encoding="utf-8"))]
    assert not [path.name for path in DOCS.glob("*.md") if path.resolve() not in reached]


def page(name: str) -> str:
    """A page of the documentation."""
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def fields(form: Any) -> tuple[str, ...]:
    """The names of a struct's fields."""
    return form.__struct_fields__


def wanted(name: str, command: Any) -> list[str]:
    """What has to be said of a command: `name subcommand` and `name --option`."""
    if not isinstance(command, TyperGroup):
        return [f"{name} {option}" for option in options(command)] or [f"{name} "]
    return [f"{name} {name} {sub}" for sub in command.commands] + [f"{name} {option}" for option in options(command)]


def options(command: Any) -> list[str]:
    """Every long option of a command and of those below it, but for the help and the shell's completion."""
    below = list(command.commands.values()) if isinstance(command, TyperGroup) else []
    own = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    return [option for option in own if "completion" not in option] + [option for sub in below for option in options(sub)]
