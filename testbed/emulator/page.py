"""The text of vLLM 0.32's /metrics: a real server's answer, with other numbers in it.

The real answer is kept verbatim beside this module, so names, help texts, labels and their order are not ours to get
wrong. A sample's key is its name and its labels without engine and model: `vllm:request_success_total{...="stop"}`.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.utils import floatToGoString

SAMPLE: Final = Path(__file__).with_name("vllm-0.32.0.prom")
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

LINE: Final = re.compile(r"(?P<name>[^{ ]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
WHOSE: Final = ("engine", "model_name")
"""The labels that say whose sample it is, and are the same in all of a server's."""

COUNTED_IN_TOKENS: Final = frozenset(
    f"vllm:{name}"
    for name in (
        "request_prompt_tokens",
        "request_generation_tokens",
        "request_max_num_generation_tokens",
        "request_params_max_tokens",
        "request_prefill_kv_computed_tokens",
    )
)
"""Histograms whose bounds go up to the longest sequence that the server takes."""

Labels = dict[str, str]
Bounds = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line: ``text`` as it is, or, where it has a ``key``, followed by that sample's value."""

    text: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """How one model's servers answer. ``bounds`` are the upper bounds of each histogram but +Inf."""

    lines: tuple[Line, ...]
    bounds: Mapping[str, Bounds]

    def text(self, values: Mapping[str, float], born_s: float) -> str:
        """The page with ``values`` by key, 0 for the others; all of it began at ``born_s`` (seconds since 1970).

        What has a handler is only there once it has been called, as with the real one.
        """
        return "".join(f"{line.text}{written(line.key, values, born_s)}" for line in self.lines if shown(line, values))


def shown(line: Line, values: Mapping[str, float]) -> bool:
    """Whether the server would have the line yet."""
    return line.key is None or 'handler="' not in line.key or line.key in values


def written(key: str | None, values: Mapping[str, float], born_s: float) -> str:
    """What follows a line's own text."""
    if key is None:
        return "\n"
    return f" {number(born_s if '_created' in key else values.get(key, 0.0))}\n"


def number(value: float) -> str:
    """A number as the client library writes it."""
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # the only function there without types
    return text


def page_of(model: str, longest_tokens: int, cache: Mapping[str, str]) -> Page:
    """The page of a model that takes up to ``longest_tokens``, with ``cache`` in place of the sample's cache labels."""
    lines = tuple(rewritten(model, longest_tokens, cache))
    return Page(lines=lines, bounds=bounds_in(lines))


def rewritten(model: str, longest_tokens: int, cache: Mapping[str, str]) -> Iterator[Line]:
    """The sample's lines for that model."""
    for line in SAMPLE.read_text(encoding="utf-8").splitlines():
        found = None if line.startswith("#") else LINE.fullmatch(line)
        if found is None:
            yield Line(text=line)
            continue
        name, labels = found["name"], dict(LABEL.findall(found["labels"] or ""))
        if "model_name" in labels:
            labels["model_name"] = model
        if name == "vllm:cache_config_info":
            labels |= cache
        if name.removesuffix("_bucket") not in COUNTED_IN_TOKENS:
            yield line_of(name, labels)
        elif labels["le"] == "+Inf":
            bounds = [*steps_of_1_2_5(longest_tokens), float("inf")]
            yield from (line_of(name, labels | {"le": number(bound)}) for bound in bounds)


def line_of(name: str, labels: Labels) -> Line:
    """A sample's line."""
    kept = {label: value for label, value in labels.items() if label not in WHOSE}
    is_constant = name == "vllm:cache_config_info"
    return Line(text=identity(name, labels), key=name if is_constant else identity(name, kept))


def identity(name: str, labels: Labels) -> str:
    """The sample's name with its labels, as it is written."""
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}}" if inside else name


def steps_of_1_2_5(longest: int) -> Bounds:
    """1, 2, 5, 10, 20, ... up to ``longest``, as vLLM makes the bounds for tokens."""
    exponents = range(len(str(longest)))
    bounds = [float(digit * 10**exponent) for exponent in exponents for digit in (1, 2, 5)]
    return tuple(bound for bound in bounds if bound <= longest)


def bounds_in(lines: tuple[Line, ...]) -> Mapping[str, Bounds]:
    """The bounds of every histogram, by its name with the labels that it has besides."""
    found: dict[str, Bounds] = {}
    for line in lines:
        name, labels = parsed(line.key or "")
        bound = labels.pop("le", "+Inf")
        if bound != "+Inf":
            histogram = identity(name.removesuffix("_bucket"), labels)
            found[histogram] = (*found.get(histogram, ()), float(bound))
    return found


def parsed(key: str) -> tuple[str, Labels]:
    """The name and the labels of a key."""
    name, _, labels = key.partition("{")
    return name, dict(LABEL.findall(labels))


@functools.cache
def bucket_keys(histogram: str, bounds: Bounds) -> tuple[str, ...]:
    """The keys of a histogram's buckets, count and sum, in this order."""
    name, labels = parsed(histogram)
    ends = [number(bound) for bound in (*bounds, float("inf"))]
    buckets = [identity(f"{name}_bucket", placed(labels, end)) for end in ends]
    return (*buckets, identity(f"{name}_count", labels), identity(f"{name}_sum", labels))


def placed(labels: Labels, end: str) -> Labels:
    """The labels with ``le`` where the alphabet has it, as the client library writes them."""
    return dict(sorted((labels | {"le": end}).items()))
