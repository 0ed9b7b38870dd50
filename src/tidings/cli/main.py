"""The `tidings` command: the table of its commands, each in a module that is loaded only when the command is given, and what a failure looks like."""

import importlib
import os
import sys
import traceback
from types import TracebackType
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from tidings import __version__

COMMANDS = {
    "demo": ("tidings.cli.demo", "See it all work: a CSV of contacts, a campaign of three messages, a sandbox instead of the world."),
    "serve": ("tidings.cli.serve", "Run everything in one process: API, tracking and the worker."),
    "api": ("tidings.cli.serve", "Run the API and tracking alone (PostgreSQL; as many as you like)."),
    "worker": ("tidings.cli.serve", "Run the worker alone, which sends (PostgreSQL; as many as you like)."),
    "migrate": ("tidings.cli.migrate", "Bring the database to this version's schema."),
    "tenants": ("tidings.cli.tenants", "Make and list tenants."),
    "keys": ("tidings.cli.keys", "Make, list and revoke API keys."),
    "senders": ("tidings.cli.senders", "Say who a tenant may write as besides its own domain."),
    "inboxes": ("tidings.cli.inboxes", "Say where mail comes in for a tenant."),
    "webhooks": ("tidings.cli.webhooks", "Say who else is told of what happens."),
    "contacts": ("tidings.cli.contacts", "Import and export contacts."),
    "privacy": ("tidings.cli.privacy", "Export all that is known of a contact, or erase it."),
    "campaigns": ("tidings.cli.campaigns", "Say who did not get a campaign, and send it to them."),
    "communications": ("tidings.cli.communications", "Export communications."),
    "reports": ("tidings.cli.reports", "Show what became of campaigns, and what happened when."),
    "send": ("tidings.cli.send", "Send one message from the shell."),
    "doctor": ("tidings.cli.doctor", "Check that everything Tidings needs is there, and say what to do where it is not."),
    "version": ("tidings.cli.migrate", "Show the version."),
}
"""Command → (the module whose `app` holds it, what it is for). The order is that of the help."""


class LateGroup(TyperGroup):
    """Shows every command in the help from the table alone, and loads a command's module when it is given."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = {name: TyperCommand(name=name, help=explanation) for name, (_, explanation) in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, ready to run."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else command, rest


def load(name: str) -> Any:
    """The command of this name out of its module: one of the `app`'s commands, or the whole `app` where that is the command."""
    module, explanation = COMMANDS[name]
    found: Any = typer.main.get_command(importlib.import_module(module).app)
    if isinstance(found, TyperGroup):
        found = found.commands.get(name, found)
    found.name = name
    found.help = found.help or explanation
    return found


app = typer.Typer(cls=LateGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def show_version(asked: bool) -> None:
    """Prints the version and ends."""
    if asked:
        print(f"tidings {__version__}")
        raise typer.Exit


@app.callback()
def tidings(
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and end.")] = False,
) -> None:
    """Tidings: a self-hosted server for talking to customers by email and SMS."""


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 failed (one sentence on stderr says why), 2 wrong usage."""
    sys.excepthook = complain
    try:
        # not in "standalone mode", where typer frames what is wrong in a box
        ended: Any = typer.main.get_command(app)(prog_name="tidings", standalone_mode=False)
    except typer.TyperException as error:
        print(usage(error), file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(1)
    sys.exit(ended)


def usage(error: typer.TyperException) -> str:
    """What is wrong with a command line, in one line that ends with where help is; help itself, where that is what is missing, as it is."""
    text = error.format_message().strip()
    context: Any = getattr(error, "ctx", None)
    if "\n" in text or not text or context is None:
        return text
    return f"{text if text.endswith(('.', '?', '!')) else f'{text}.'} `{context.command_path} --help` says more."


def complain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """One sentence on stderr; the traceback too where the log level is `debug`. The interpreter then exits with 1."""
    if os.environ.get("TIDINGS_LOG_LEVEL", "").lower() == "debug":
        traceback.print_exception(kind, error, trace, file=sys.stderr)
    # drivers write over several lines
    print(" ".join(sentence(error).split()), file=sys.stderr)


def sentence(error: BaseException) -> str:
    """What went wrong, in words: the first cause of a group, the reason of an operating system's refusal, the name of a fault of our own."""
    from tidings.errors import Invalid, TidingsError

    if isinstance(error, BaseExceptionGroup):
        return sentence(cast(BaseExceptionGroup[BaseException], error).exceptions[0])
    if isinstance(error, Invalid) and error.fields:
        told = [f"{name}: {text}" for name, texts in error.fields.items() for text in texts if text not in error.message]
        return f"{error.message}: {'; '.join(told)}" if told else error.message
    if isinstance(error, TidingsError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return f"Tidings failed over a fault of its own ({type(error).__name__}: {error}); TIDINGS_LOG_LEVEL=debug shows where."
