"""How the log looks: lines for people or JSON for machines, on standard error, from the level the settings say."""

import logging
import sys

import structlog

from tidings.settings import Settings


def configure(settings: Settings, *, quieter: bool = False) -> None:
    """Sets up structlog, and what libraries say through `logging` (from warnings on). `quieter` keeps `info` out, where a screen shows progress."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    if quieter and level == logging.INFO:
        level = logging.WARNING
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.log_format == "json":
        final: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        final = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=max(level, logging.WARNING), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
