"""What a controller at rest costs, from what it says of itself before and after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from testbed.waiting import now_s, wait_for

QUIET_S: Final = 40.0
"""Without a write for so long, what a start has to tell is told; statuses that differ in words are written once a
minute, and those are part of the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What happened between two readings; ``told_s`` is how long the last thing to tell took, from the first look.

    ``cpu_s`` is the processor time of the whole process, user's and system's: on a machine with other work the wall's
    time of a tick says as much of that work as of the tick.
    """

    took_s: float
    requests: Mapping[str, float]
    ticks: float
    tick_s: float
    cpu_s: float
    resident_mib: float
    told_s: float = 0.0

    def __str__(self) -> str:
        asked = ", ".join(f"{what} {count * 60.0 / self.took_s:.1f}" for what, count in sorted(self.requests.items()))
        total = sum(self.requests.values()) * 60.0 / self.took_s
        tick = f"{1000.0 * self.tick_s:.0f} ms a tick (mean of {self.ticks:.0f})"
        cpu = f"{1000.0 * self.cpu_s / max(1.0, self.ticks):.0f} ms of CPU in each period"
        begun = f"all told after {self.told_s:.0f} s"
        return f"{tick}, {cpu}, {begun}, {self.resident_mib:.0f} MiB resident, {total:.1f} requests a minute: {asked}"


def samples(page: str) -> list[Sample]:
    """The samples of a page."""
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def value(page: str, name: str) -> float:
    """The one sample of a name without labels."""
    (found,) = [sample.value for sample in samples(page) if sample.name == name]
    return float(found)


def requests(page: str) -> dict[str, float]:
    """Its requests so far, by verb and resource."""
    counts: dict[str, float] = {}
    for sample in samples(page):
        if sample.name == "forebay_api_requests_total":
            what = f"{sample.labels['verb']} {sample.labels['resource']}"
            counts[what] = counts.get(what, 0.0) + sample.value
    return counts


def is_told(page: str) -> float:
    """How many statuses and events it has written."""
    return sum(count for what, count in requests(page).items() if what.startswith(("patch", "create")))


def rested(look: Callable[[], str], within_s: float, for_s: float) -> Rest:
    """The figures of ``for_s`` at rest, after all that a start has to tell was told; ``look`` is the page."""
    last = [(-1.0, now_s())]
    looked_s = last[0][1]

    def quiet_s() -> float:
        told = is_told(look())
        if told != last[-1][0]:
            last.append((told, now_s()))
        return now_s() - last[-1][1]

    wait_for("rest", quiet_s, lambda quiet: quiet >= QUIET_S, within_s=within_s)
    told_s = last[-1][1] - looked_s
    before, begun_s = look(), now_s()
    wait_for("the rest to be over", now_s, lambda at_s: at_s >= begun_s + for_s, within_s=for_s + 10.0)
    return replace(between(before, look(), now_s() - begun_s), told_s=told_s)


def between(before: str, after: str, took_s: float) -> Rest:
    """The figures between two pages."""
    asked_before, asked_after = requests(before), requests(after)
    asked = {what: count - asked_before.get(what, 0.0) for what, count in asked_after.items()}
    ticks, ticks_s = (
        value(after, f"forebay_tick_duration_seconds_{part}") - value(before, f"forebay_tick_duration_seconds_{part}")
        for part in ("count", "sum")
    )
    return Rest(
        took_s=took_s,
        requests={what: count for what, count in asked.items() if count},
        ticks=ticks,
        tick_s=ticks_s / max(1.0, ticks),
        cpu_s=value(after, "process_cpu_seconds_total") - value(before, "process_cpu_seconds_total"),
        resident_mib=value(after, "process_resident_memory_bytes") / 2**20,
    )
