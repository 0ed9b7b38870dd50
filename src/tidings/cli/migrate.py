"""`tidings migrate` brings the database to this version's schema; `tidings version` says which version that is."""

from typing import Annotated

import typer

from tidings import __version__
from tidings.cli import context
from tidings.database.migrate import migrate, pending

app = typer.Typer(add_completion=False)


@app.command("migrate")
def bring_up_to_date(
    check: Annotated[bool, typer.Option("--check", help="Only say what is missing; ends with 1 when something is.")] = False,
) -> None:
    """Bring the database to this version's schema."""
    settings = context.load()
    if check:
        missing = pending(settings.database)
        print("\n".join(f"missing: {name}" for name in missing) or "The schema is up to date.")
        raise typer.Exit(1 if missing else 0)
    context.make_folder(settings)
    applied = migrate(settings.database)
    print("\n".join(f"applied: {name}" for name in applied) or "The schema is up to date.")


@app.command("version")
def version() -> None:
    """Show the version."""
    print(f"tidings {__version__}")
