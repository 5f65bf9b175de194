"""Ours against each peer: at its one threshold for everything, at its best of each cell, and along its frontier."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from scaler.sim.compare.cells import Cell
from scaler.sim.compare.contenders import OURS
from scaler.sim.compare.frontier import frontier, promptness, share_in_time, worth_at
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.standings import Choice, Record, Standing
from scaler.sim.compare.standings import standings as standings_of
from scaler.sim.compare.suites import SEEDS
from scaler.sim.compare.verdict import Verdict, beats, by_cell, is_most

AT_ONE: Final = "at one threshold for everything: cheaper wherever both meet, and meeting more cells"
AT_BEST: Final = "at the best threshold of each cell: cheaper in three cells of four"
IN_TIME: Final = "at equal replica-hours: more in time than its frontier, in three cells of four"
PROMPT: Final = "at equal replica-hours: a lower P99 of the first token than its frontier, in three cells of four"


def against(peer: str, standings: Sequence[Standing], records: Sequence[Record]) -> list[Verdict]:
    """The lines against ``peer`` that ``standings`` and ``records`` of the same cells can tell of."""
    found = (
        _at_one(peer, _of_first_seed(records)),
        _at_best(peer, standings),
        _along(peer, records, share_in_time, IN_TIME),
        _along(peer, records, promptness, PROMPT),
    )
    return [verdict for verdict in found if verdict is not None]


def _at_one(peer: str, standings: Sequence[Standing]) -> Verdict | None:
    ours, theirs = by_cell(standings, OURS, Choice.OWN), by_cell(standings, peer, Choice.SINGLE)
    cells = [cell for cell in theirs if cell in ours]
    if not cells:
        return None
    both = [cell for cell in cells if theirs[cell].is_met and ours[cell].is_met]
    cheaper = [cell for cell in both if beats(ours[cell], theirs[cell])]
    met, they_met = (sum(each[cell].is_met for cell in cells) for each in (ours, theirs))
    return Verdict(
        peer=peer,
        line=AT_ONE,
        is_reached=len(cheaper) == len(both) and met > they_met,
        figure=f"cheaper in {len(cheaper)} of {len(both)}; met {met} of {len(cells)}, they {they_met} "
        f"(at {theirs[cells[0]].threshold:g})",
    )


def _of_first_seed(records: Iterable[Record]) -> tuple[Standing, ...]:
    """The standings of the seed that one threshold for everything is run on: ours is held against it on that alone."""
    return standings_of(record for record in records if record.outcome.job.seed == SEEDS[0])


def _at_best(peer: str, standings: Sequence[Standing]) -> Verdict | None:
    ours, theirs = by_cell(standings, OURS, Choice.OWN), by_cell(standings, peer, Choice.BEST)
    cells = [cell for cell in theirs if cell in ours]
    if not cells:
        return None
    either = [cell for cell in cells if theirs[cell].is_met or ours[cell].is_met]
    better = [cell for cell in either if beats(ours[cell], theirs[cell])]
    return Verdict(
        peer=peer,
        line=AT_BEST,
        is_reached=is_most(better, either),
        figure=f"{len(better)} of {len(either)} that either meets",
    )


def _along(peer: str, records: Sequence[Record], worth: Callable[[Outcome], float], line: str) -> Verdict | None:
    """Ours against what the peer's thresholds are worth at our replica-hours, on the seed of its sweep; a tie is its.

    Where each of its thresholds costs more than ours, it has nothing at our cost.
    """
    ours = _on_first_seed(records)
    swept: dict[Cell, list[Outcome]] = defaultdict(list)
    for record in records:
        if record.choice is Choice.SWEPT and record.outcome.job.contender.name == peer:
            swept[record.outcome.job.cell].append(record.outcome)
    cells = [cell for cell in swept if cell in ours]
    if not cells:
        return None
    better = [
        cell
        for cell in cells
        if worth(ours[cell])
        > worth_at(frontier((one.replica_hours, worth(one)) for one in swept[cell]), ours[cell].replica_hours)
    ]
    return Verdict(peer=peer, line=line, is_reached=is_most(better, cells), figure=f"{len(better)} of {len(cells)}")


def _on_first_seed(records: Iterable[Record]) -> dict[Cell, Outcome]:
    """Ours by cell on the seed that the peers are swept on, with the floor that it advised where it did."""
    runs = [
        record.outcome
        for record in records
        if record.outcome.job.contender.name == OURS and record.outcome.job.seed == SEEDS[0]
    ]
    runs.sort(key=lambda outcome: outcome.job.contender.floor or 0)
    return {outcome.job.cell: outcome for outcome in runs}
