"""Every SQL statement of the source, read from it: both databases take it, and it names one tenant unless it is a claim loop's."""

import ast
import re
import sqlite3
from pathlib import Path

import psycopg
import pytest

from tidings.database import statements
from tidings.database.sqlite import connect

SOURCE = Path(__file__).parents[2] / "src" / "tidings"
BEGINS = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
# loops that serve every tenant: they find whose turn it is, or take a job, whoever's it is
EVERYBODYS = (
    "analytics/indexing.py",
    "domain/communications/claim.py",
    "domain/endpoints/claim.py",
    "domain/enrollments.py",
    "domain/inboxes.py",
    "domain/jobs.py",
    "domain/tenants.py",
    "domain/keys.py",
    "domain/marks.py",
    "domain/keeping/turn.py",
    "api/health.py",
)


BIGINT = 20
# parameters that are always numbers travel as bigint; the type of the others is PostgreSQL's to find out, as it is in service
NUMBERS = {"tenant_id", "now", "at", "limit", "offset", "id", "until", "due_at", "since"}


def literal(node: ast.AST) -> str | None:
    """The text of a string constant, or of constants added to each other; None for anything that is not literal all through."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def found() -> list[tuple[str, int, str]]:
    """(file, line, SQL) of every literal that reads like a whole statement; the room `cli` asks each database its own questions."""
    hits: list[tuple[str, int, str]] = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.is_relative_to(SOURCE / "database") or path.is_relative_to(SOURCE / "cli"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        added = {id(side) for node in ast.walk(tree) if isinstance(node, ast.BinOp) for side in (node.left, node.right)}
        for node in ast.walk(tree):
            text = literal(node)
            if text is not None and BEGINS.match(text) and id(node) not in added and len(text.split()) > 3:
                hits.append((str(path.relative_to(SOURCE)), getattr(node, "lineno", 0), text))
    return hits


def without_where() -> list[tuple[str, int]]:
    """Where a statement has its WHERE added later, in functions that name no tenant anywhere."""
    hits: list[tuple[str, int]] = []
    for file, line, sql in STATEMENTS:
        if "WHERE" in sql or sql.lstrip().startswith("INSERT"):
            continue
        tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
        around = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0)]
        if not any("tenant_id = :tenant_id" in (literal(part) or "") for node in around for part in ast.walk(node)):
            hits.append((file, line))
    return hits


def called() -> set[tuple[str, int]]:
    """Where a literal goes into a call as it stands: nothing is added to it."""
    hits: set[tuple[str, int]] = set()
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                hits |= {(str(path.relative_to(SOURCE)), part.lineno) for part in node.args if literal(part) is not None}
    return hits


STATEMENTS = found()


def test_there_are_statements_to_look_at() -> None:
    assert len(STATEMENTS) > 60


def complete(sql: str) -> bool:
    """Whether the text stands alone (and is not the head that a caller goes on from)."""
    return sql.count("(") == sql.count(")")


@pytest.fixture(scope="module")
def lite(sqlite_template: Path) -> sqlite3.Connection:
    return connect(str(sqlite_template))


@pytest.mark.parametrize(("file", "line", "sql"), STATEMENTS, ids=[f"{file}:{line}" for file, line, _ in STATEMENTS])
def test_sqlite_takes_it(lite: sqlite3.Connection, file: str, line: int, sql: str) -> None:
    if not complete(sql):
        pytest.fail(f"{file}:{line} holds half a statement that nothing is added to")
    spelled = statements.for_sqlite(sql)
    names = set(re.findall(r":([a-z_][a-z0-9_]*)", spelled.text))
    lite.execute("EXPLAIN " + spelled.text, dict.fromkeys(names))


def test_postgresql_takes_every_one(postgres_url: str) -> None:
    wrong: list[str] = []
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for number, (file, line, sql) in enumerate(STATEMENTS):
            spelled = statements.for_postgres(sql)
            names: dict[str, str] = {}

            def numbered(match: re.Match[str], names: dict[str, str] = names) -> str:
                return names.setdefault(match.group(1), f"${len(names) + 1}")

            text = re.sub(r"%\((\w+)\)s", numbered, spelled.text).replace("%%", "%")
            types = [BIGINT if name in NUMBERS else 0 for name in names]
            result = connection.pgconn.prepare(f"s{number}".encode(), text.encode(), types)
            if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
                wrong.append(f"{file}:{line}: {result.error_message.decode()}")
    assert wrong == []


def test_every_statement_names_one_tenant() -> None:
    loose = [f"{file}:{line}" for file, line, sql in STATEMENTS if "WHERE" in sql and "tenant_id" not in sql and file not in EVERYBODYS]
    loose += [f"{file}:{line}" for file, line in without_where() if file not in EVERYBODYS]
    assert loose == []
