"""The habits of STYLE.md that neither ruff nor the type checker nor import-linter can see."""

import ast
from collections.abc import Callable, Iterable

from tests.shape.project import lines, modules, texts

LONGEST_FILE = 450
LONGEST_FUNCTION = 60
MAY_CATCH_EVERYTHING = {
    "delivery/flight.py": "one message must not stop a batch",
    "worker.py": "one loop must not stop the house",
    "database/sqlite.py": "what a unit of work raises is handed to whoever waits for it in another thread",
}
TREES = dict(modules())


def test_no_source_file_is_longer_than_anyone_can_keep_in_mind():
    too_long = {path: count for path, text in texts(".py", ".sql") if (count := text.count("\n")) > LONGEST_FILE}
    assert not too_long, "split them by what they do"


def test_no_function_is_longer_than_a_screen():
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert not found(lambda node: isinstance(node, functions) and lines(node) > LONGEST_FUNCTION)


def test_everything_is_caught_in_few_places_each_with_its_reason():
    assert not found(catches_everything, but_in=MAY_CATCH_EVERYTHING)


def test_only_the_command_line_reads_the_environment():
    command_line = [name for name in TREES if name.startswith("cli/")]
    assert not found(
        lambda node: isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"},
        but_in=["settings.py", *command_line],
    )


def test_a_circle_hidden_from_running_is_still_a_circle():
    assert not found(lambda node: isinstance(node, ast.Name) and node.id == "TYPE_CHECKING")


def test_every_module_opens_with_a_sentence_about_itself():
    assert not [name for name, tree in TREES.items() if tree.body and not ast.get_docstring(tree)]


def test_nothing_is_left_for_later():
    words = ("TODO", "FIXME", "NotImplementedError")
    assert not [(path, word) for path, text in texts(".py", ".sql") if path.startswith("src/") for word in words if word in text]


def found(offends: Callable[[ast.AST], bool], but_in: Iterable[str] = ()) -> list[str]:
    """Where the program does it, as `path:line`."""
    return [
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, tree in TREES.items()
        if name not in but_in
        for node in ast.walk(tree)
        if offends(node)
    ]


def catches_everything(node: ast.AST) -> bool:
    """Whether it takes Exception, BaseException or just anything, and does not raise it again."""
    if not isinstance(node, ast.ExceptHandler) or isinstance(node.body[-1], ast.Raise):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in kinds)
