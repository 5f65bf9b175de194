"""The log of one process: a JSON line for each event."""

import logging
from typing import TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor


def log_as_json(stream: TextIO, level: int = logging.INFO) -> FilteringBoundLogger:
    """A logger that writes a JSON line for each event to ``stream``; the libraries' own records go there as well.

    It sets up the whole process, and is called once, where the process is put together.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.dict_tracebacks,
    ]
    render = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    lines = logging.StreamHandler(stream)
    lines.setFormatter(formatter)
    logging.basicConfig(handlers=[lines], level=max(level, logging.INFO), force=True)
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger
