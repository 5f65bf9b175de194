"""A real Prometheus that scrapes what a test wrote down: series of samples, each with a time of its own.

A page is served sample by sample, one step a scrape, with the times in the exposition. So a minute of an engine's life
is scraped in a second, and every query has the same answer on every machine.
"""

import json
import math
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

from testbed.waiting import wait_for

STEP_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Page:
    """What one target serves: ``labels`` are put on by Prometheus; ``texts`` are its samples, a step apart.

    The last text is of ``ends_at_s``, and is served for as long as somebody asks. Without ``ends_at_s`` the samples
    have the time of the scrape, as in production.
    """

    labels: Mapping[str, str]
    texts: Sequence[str]
    ends_at_s: float | None
    job: str = "engines"

    def at_step(self, step: int) -> str:
        place = min(step, len(self.texts) - 1)
        if self.ends_at_s is None:
            return self.texts[place]
        at_s = self.ends_at_s - (len(self.texts) - 1 - place) * STEP_S
        return "".join(timed(line, at_s) for line in self.texts[place].splitlines())


def timed(line: str, at_s: float) -> str:
    return "" if not line or line.startswith("#") else f"{line} {math.floor(at_s * 1000)}\n"


@dataclass
class Pages:
    """The targets, and how often each was asked; ``down`` ones answer 500."""

    pages: Sequence[Page]
    asked: dict[int, int] = field(default_factory=dict)
    down: set[int] = field(default_factory=set)

    def answer(self, number: int) -> str | None:
        step = self.asked.get(number, 0)
        self.asked[number] = step + 1
        return None if number in self.down else self.pages[number].at_step(step)

    def all_read(self) -> bool:
        # One more than there are texts: when the next scrape comes, the samples of the last are stored.
        return all(self.asked.get(number, 0) > len(page.texts) for number, page in enumerate(self.pages))


@contextmanager
def scraped(pages: Pages, folder: Path, program: Path) -> Iterator[str]:
    """The address of a Prometheus that has scraped all of ``pages``."""
    with serving(pages) as port, running(pages, folder, program, port) as url:
        wait_for("all pages to be scraped", pages.all_read)
        yield url


@contextmanager
def serving(pages: Pages) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), page_server(pages.answer))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def page_server(answer: Callable[[int], str | None]) -> type[BaseHTTPRequestHandler]:
    class PageServer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = answer(int(self.path.strip("/")))
            body = (text or "").encode()
            self.send_response(200 if text is not None else 500)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return PageServer


@contextmanager
def running(pages: Pages, folder: Path, program: Path, port: int) -> Iterator[str]:
    configuration = folder / "prometheus.json"  # JSON is YAML
    configuration.write_text(json.dumps(scrapes(pages, port)), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    log = (folder / "prometheus.log").open("wb")
    process = subprocess.Popen(
        [
            program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={address}",
        ],
        stdout=log,
        stderr=log,
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10.0)
        log.close()


def scrapes(pages: Pages, port: int) -> Mapping[str, object]:
    jobs = [
        {
            "job_name": f"{page.job}-{number}",
            "metrics_path": f"/{number}",
            "honor_timestamps": True,
            "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": dict(page.labels)}],
        }
        for number, page in enumerate(pages.pages)
    ]
    return {"global": {"scrape_interval": "300ms", "scrape_timeout": "300ms"}, "scrape_configs": jobs}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def value_of(url: str, promql: str, at_s: float) -> float:
    """What Prometheus itself says to ``promql``."""
    with requests.get(f"{url}/api/v1/query", params={"query": promql, "time": str(at_s)}, timeout=5.0) as response:
        return float(response.json()["data"]["result"][0]["value"][1])
