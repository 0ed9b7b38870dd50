"""`tidings demo`: a CSV of contacts, a campaign of three messages, and those who answer it, watched live; then the figures, asked for twice."""

import asyncio
from typing import Annotated

import httpx2
import msgspec
import typer

from tidings import clock
from tidings.api.wire import House
from tidings.cli import context, demo_figures, demo_story, logs
from tidings.cli.demo_figures import Figures
from tidings.cli.demo_people import People
from tidings.cli.demo_readers import Readers
from tidings.cli.demo_report import conclude
from tidings.cli.demo_screen import Screen, screen
from tidings.cli.demo_story import Story
from tidings.cli.serve import HOST, PORT, Home, Host, Parts, Port, sole, stopped_by_signals, together
from tidings.domain import durations
from tidings.domain.jobs import Job
from tidings.errors import Unavailable
from tidings.settings import Settings

app = typer.Typer(add_completion=False)

GLANCE = 0.25
"""Seconds between two looks at the figures."""


@app.command("demo")
def demo(
    host: Host = HOST,
    port: Port = PORT,
    home: Home = None,
    delays: Annotated[str, typer.Option(help="When each of the three messages goes out, after the one before.")] = demo_story.DELAYS,
    exit_when_done: Annotated[bool, typer.Option("--exit-when-done", help="End after the summary instead of serving on.")] = False,
) -> None:
    """See it all work: 500 contacts from a CSV, a campaign of three messages, tracked and answered. Nothing leaves this machine."""
    waits = [durations.parse(text, "delays") for text in delays.split(",")]
    if len(waits) != len(demo_story.PARTS):
        raise typer.BadParameter(f"there are {len(demo_story.PARTS)} messages: {demo_story.DELAYS}, for example", param_hint="--delays")
    if port == 0:
        raise typer.BadParameter("the links in the mail need a port that is known beforehand", param_hint="--port")
    settings = harmless(context.load(home=home), host, port)
    logs.configure(settings, quieter=True)
    parts = Parts(api=True, worker=True, host=host, port=port)
    with sole(settings):
        agreed = context.run(_play(settings, parts, waits, exit_when_done=exit_when_done))
    if exit_when_done and not agreed:
        raise typer.Exit(1)


def harmless(settings: Settings, host: str, port: int) -> Settings:
    """The settings with everything that could reach the world taken out: SQLite in the data folder, the sandbox, links to this machine."""
    here = "127.0.0.1" if host in {"0.0.0.0", "::", "localhost"} else f"[{host}]" if ":" in host else host  # noqa: S104 - compared, not bound
    return msgspec.structs.replace(settings, database_url="", smtp_url="sandbox:", public_url=f"http://{here}:{port}")


async def _play(settings: Settings, parts: Parts, delays: list[int], *, exit_when_done: bool) -> bool:
    """Serves and shows until a signal, or to the end; answers whether the figures agreed (or were never asked for)."""
    stop, up = asyncio.Event(), asyncio.Event()
    with stopped_by_signals(stop):
        async with context.opened(settings) as house, asyncio.TaskGroup() as tasks:
            story = await demo_story.begin(house, delays)
            tasks.create_task(together(house, settings, parts, stop=stop, started=lambda _: up.set()))
            await up.wait()
            agreed = await _show(house, settings, story, stop)
            if exit_when_done:
                stop.set()
            return agreed


async def _show(house: House, settings: Settings, story: Story, stop: asyncio.Event) -> bool:
    """Progress to the end, then the summary; False when its figures disagree."""
    url = settings.public_url
    with screen() as shown:
        shown.say(f"Tidings demo on {url}, data in {settings.home}. Mail and SMS go to the sandbox; nothing leaves this machine.")
        if not story.fresh:
            shown.say("It was begun before: it goes on where it stopped, and sends nothing twice.")
        job = await _imported(house, story, shown, stop)
        if job is None:
            return True
        await demo_story.enroll(house, story)
        figures = await _sent(house, story, shown, job, stop)
    if figures is None:
        return True
    try:
        return await conclude(house, story, figures, url)
    except httpx2.TransportError as error:
        if stop.is_set():
            return True
        raise Unavailable(f"The server does not answer on {url}: {error}") from error


async def _imported(house: House, story: Story, shown: Screen, stop: asyncio.Event) -> Job | None:
    """The finished import; None when stopped before."""
    watched = False
    while not stop.is_set():
        job = await demo_story.import_job(house, story)
        shown.show(await _figures(house, story, job), house.clock())
        if job.state == "failed":
            raise Unavailable(f"The import failed: {job.error}")
        if job.state == "done":
            for line in await demo_story.rejects(house, story) if watched else ():
                shown.say(line)
            return job
        watched = True
        await clock.first(GLANCE, stop)
    return None


async def _sent(house: House, story: Story, shown: Screen, job: Job, stop: asyncio.Event) -> Figures | None:
    """The figures once every message is final and read; None when stopped before."""
    figures = await _figures(house, story, job)
    if figures.finished:
        shown.show(figures, house.clock())
        shown.say("Everything went out the last time; there is nothing left to send.")
        return figures
    readers, people = Readers(house.public_url, story.token), People(house.public_url, story.token, shown.say)
    enough = asyncio.Event()
    reading = asyncio.create_task(readers.run(enough))
    spoken = True
    try:
        while spoken or not (figures.finished and await demo_story.all_enrolled(house, story)):
            if stop.is_set():
                return None
            await clock.first(GLANCE, stop)
            spoken = await people.turn()
            figures = await _figures(house, story, job)
            shown.show(figures, house.clock())
        enough.set()
        await reading
        await readers.turn()
        figures = await _figures(house, story, job)
        shown.show(figures, house.clock())
        return figures
    finally:
        reading.cancel()
        await readers.close()
        await people.close()


async def _figures(house: House, story: Story, job: Job) -> Figures:
    return await house.db.read(demo_figures.read, story.tenant_id, story.campaign_id, (job.done, job.rejected))
