"""Who gets which GPUs while there are too few: floors first, then by priority, and like amounts among equals.

What is free now is handed out, and nothing else. A model that has more than its part gives way as it would shrink:
after a hold, in steps, never below its floor. What it gives counts once it is free. GPUs that nobody has counted bind
nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Final

from scaler.core.limits import HOLD_LEAST_S, WISHES_KEPT_S, Case, Rule, full_window, intact, least, step_down
from scaler.core.memory import Memory, PoolMemory, TargetMemory, Wished
from scaler.core.model import Actuation, Fleet, Missing, Phase, Pool, Pools, Quota, TargetKey
from scaler.core.plan import Portion, Ruling, TargetPlan

TRIED_MOST: Final = 64
TRIED_IN_VAIN_S: Final = 900.0
"""Beyond what is free one replica is asked for, by whoever is first in line: it takes what comes free at once, and who
adds nodes for pods that wait hears of it. Whenever the pool has grown twice as many may wait the next time, so that an
autoscaler of nodes is soon told of all; after a quarter of an hour without a new node it is one again."""

HOLDERS_NAMED: Final = 3

GIVING: Final[tuple[Rule, ...]] = (full_window, intact, step_down)
"""What slows a shrink slows this one, too, but for what asks whether the model itself could do with fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One target before those who share its GPUs. Counts are of replicas of ``gpus`` each.

    It would have ``want``. ``has`` have a node and are to stay, ``going`` have one and are on their way out, and
    ``pending`` are there without a node. ``products`` are the classes of nodes that its replicas were seen on. Of more
    than is free it may try for ``tried``.
    """

    policy: str
    namespace: str
    key: TargetKey
    priority: int
    gpus: int
    floor: int
    want: int
    has: int
    going: int
    pending: int
    products: tuple[str, ...]
    tried: int = 1

    @property
    def name(self) -> tuple[str, TargetKey]:
        """Tells it from every other."""
        return (self.policy, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """GPUs that some targets (by their places among all claims) may have, and nobody else of them.

    ``settled_gpus`` are free or ours, those on their way out among them; ``free_gpus`` may be taken now.
    """

    name: str
    whole_gpus: int
    settled_gpus: int
    free_gpus: int
    places: tuple[int, ...]
    has_queue: bool


# --- From a target to its claim ----------------------------------------------------------------------------------


def claim_of(want: int, case: Case, learned: Memory) -> Claim | None:
    """What the case's target lays claim to; None where it holds no GPUs, or where its count is not ours to set."""
    policy, fleet = case.policy, case.fleet
    if fleet.gpus_per_replica == 0 or policy.paused or policy.actuation is Actuation.ADVISE:
        return None
    placed = len(fleet.placed())
    has = min(placed, fleet.requested)
    leaving = len([replica for replica in fleet.replicas if replica.phase is Phase.DRAINING])
    return Claim(
        policy=policy.name,
        namespace=policy.namespace,
        key=case.target.key,
        priority=policy.priority,
        gpus=fleet.gpus_per_replica,
        floor=_floor_of(want, case),
        want=want,
        has=has,
        going=placed - has + leaving,
        pending=min(fleet.requested, len(fleet.replicas) - leaving) - has,
        products=_products(case.target.key, fleet, learned),
        tried=1 if case.memory.pool is None else case.memory.pool.tried,
    )


def _floor_of(want: int, case: Case) -> int:
    """What others do not take: the bounds and the warm pool, and of a model that may go to zero, its last replica.

    That goes when nothing comes, and comes when something does; never for somebody else's sake.
    """
    last = min(want, 1) if case.policy.scale_to_zero is not None and case.share_percent > 0 else 0
    return max(last, least(case.policy, case.target, case.share_percent, case.at_s))


def _products(key: TargetKey, fleet: Fleet, learned: Memory) -> tuple[str, ...]:
    """The classes of nodes that it is on; while it is on none, the last that one of its starts was measured on.

    What a process before this one measured names none, but its capacities do: then it is the one most is known of.
    """
    now = sorted({replica.node_class for replica in fleet.replicas if replica.node_class is not None})
    samples = [each.node_class for each in learned.load_samples if each.key == key]
    capacities = sorted((each for each in learned.capacities if each.key == key), key=lambda each: each.lines)
    before = [product for product in (*(each.node_class for each in capacities), *samples) if product is not None]
    return tuple(now) or tuple(before[-1:])


# --- From claims to portions -------------------------------------------------------------------------------------


def portions_of(claims: Sequence[Claim], pools: Pools) -> Mapping[tuple[str, TargetKey], Portion]:
    """The portions of those whose GPUs are short, by policy and target; whoever is not named may have what it wants.

    Linear in the replicas wanted, but for a heap. Raises nothing.
    """
    sources = [source for source in _sources(claims, pools) if _is_short(source, claims)]
    if not sources:
        return {}
    of: dict[int, list[_Source]] = {}
    for source in sources:
        for place in source.places:
            of.setdefault(place, []).append(source)
    wants = {place: claims[place].want for place in of}
    settled = {source.name: source.settled_gpus for source in sources}
    parts = _filled(claims, of, settled, dict.fromkeys(of, 0), wants)
    free = {source.name: source.free_gpus for source in sources}
    has = {place: claims[place].has for place in of}
    most = {place: min(wants[place], max(has[place], parts[place])) for place in of}
    now = _filled(claims, of, free, has, most)
    tried = _first_in_line(claims, sources, now)
    accounts = {source.name: _account(source, claims, parts) for source in sources}
    return {
        claims[place].name: _portion(
            claims[place],
            [accounts[source.name] for source in mine],
            part=parts[place],
            granted=now[place],
            tried=claims[place].tried if place in tried else 0,
        )
        for place, mine in of.items()
    }


def _sources(claims: Sequence[Claim], pools: Pools) -> list[_Source]:
    products = () if isinstance(pools.products, Missing) else pools.products
    quotas = () if isinstance(pools.quotas, Missing) else pools.quotas
    by_product = _by_product(claims, products)
    by_namespace: dict[str, list[int]] = {}
    for place, claim in enumerate(claims):
        by_namespace.setdefault(claim.namespace, []).append(place)
    shared = [_shared(each, by_product, claims) for each in _together(claims, products)]
    limited = [_limited(quota, by_namespace.get(quota.namespace, []), claims) for quota in quotas]
    return [*shared, *limited]


def _by_product(claims: Sequence[Claim], products: Sequence[Pool]) -> Mapping[str, list[int]]:
    """The claims' places by product. Where there is one product only, that is everybody's."""
    places: dict[str, list[int]] = {}
    for place, claim in enumerate(claims):
        alone = (products[0].product,) if len(products) == 1 and not claim.products else ()
        for product in claim.products or alone:
            places.setdefault(product, []).append(place)
    return places


def _together(claims: Sequence[Claim], products: Sequence[Pool]) -> list[list[Pool]]:
    """The products, those together that replicas of one target were seen on: such a target may have either."""
    groups = [[product] for product in products]
    for wanted in sorted({claim.products for claim in claims if len(claim.products) > 1}):
        joined = [group for group in groups if any(pool.product in wanted for pool in group)]
        rest = [group for group in groups if group not in joined]
        groups = [*rest, [pool for group in joined for pool in group]] if joined else rest
    return groups


def _shared(pools: Sequence[Pool], by_product: Mapping[str, list[int]], claims: Sequence[Claim]) -> _Source:
    places = tuple(sorted({place for pool in pools for place in by_product.get(pool.product, [])}))
    free = _total(max(0, pool.free_gpus) for pool in pools)
    held = _total((claims[place].has + claims[place].going) * claims[place].gpus for place in places)
    return _Source(
        name=" and ".join(pool.product or "GPUs of unnamed nodes" for pool in pools),
        whole_gpus=_total(pool.allocatable_gpus for pool in pools),
        settled_gpus=free + held,
        free_gpus=free,
        places=places,
        has_queue=True,
    )


def _limited(quota: Quota, places: Sequence[int], claims: Sequence[Claim]) -> _Source:
    """A quota counts what is there, with a node or without."""
    left = max(0, quota.left_gpus) + _total(claims[place].pending * claims[place].gpus for place in places)
    held = _total((claims[place].has + claims[place].going) * claims[place].gpus for place in places)
    return _Source(
        name=f"GPUs of the quota of {quota.namespace}",
        whole_gpus=quota.hard_gpus,
        settled_gpus=left + held,
        free_gpus=left,
        places=tuple(places),
        has_queue=False,
    )


def _is_short(source: _Source, claims: Sequence[Claim]) -> bool:
    """Whether not all can have what they want, or not now."""
    mine = [claims[place] for place in source.places]
    wanted = _total(claim.want * claim.gpus for claim in mine)
    more = _total(max(0, claim.want - claim.has) * claim.gpus for claim in mine)
    return wanted > source.settled_gpus or more > source.free_gpus


def _filled(
    claims: Sequence[Claim],
    of: Mapping[int, Sequence[_Source]],
    gpus: Mapping[str, int],
    from_: Mapping[int, int],
    most: Mapping[int, int],
) -> dict[int, int]:
    """Replicas by claim: ``from_`` and one after another up to ``most``, each to who is next, while ``gpus`` last.

    Next are those below their floor, then the highest priority, and among equals whoever has the fewest GPUs, as water
    fills vessels of different height. Of 12 GPUs, floors of 1, 1 and 2, and wants of 8, 8 and 3 at priorities 1, 0
    and 0: 4 go to the floors, 7 more to the first, and the last one to the second.
    """
    given, left = dict(from_), dict(gpus)
    line = [(*_rank(claims[place], given[place]), place) for place in of]
    heapify(line)
    while line:
        *_, place = heappop(line)
        claim = claims[place]
        # What does not fit now never will: nothing comes back.
        if given[place] < most[place] and all(left[source.name] >= claim.gpus for source in of[place]):
            given[place] += 1
            for source in of[place]:
                left[source.name] -= claim.gpus
            heappush(line, (*_rank(claim, given[place]), place))
    return given


def _rank(claim: Claim, given: int) -> tuple[bool, int, int, int]:
    """The place in line for one more replica, lowest first; among equals, a replica that waits already goes first."""
    return (given >= claim.floor, -claim.priority, (given + 1) * claim.gpus, -claim.pending)


def _first_in_line(claims: Sequence[Claim], sources: Iterable[_Source], now: Mapping[int, int]) -> set[int]:
    """Of each product the claim whose next replica may wait for a node; none where a quota would not let it exist.

    None either while some of what is free was just handed out: the scheduler might give that to the one that waits.
    """
    barred = {place for source in sources if not source.has_queue for place in source.places}
    first: set[int] = set()
    for source in sources:
        is_settled = all(now[place] == claims[place].has for place in source.places)
        waiting = [place for place in source.places if now[place] < claims[place].want and place not in barred]
        if source.has_queue and is_settled and waiting:
            first.add(min(waiting, key=lambda place: (*_rank(claims[place], now[place]), claims[place].name)))
    return first


# --- A portion, and why ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """What all who share one source come to together, in GPUs, so that nobody has to go through all of them.

    ``floors`` are the parts up to the floors, ``above`` the rest by priority, ``holders`` who has most by policy.
    ``unmet_priority`` is the highest of those who have less than their part, and ``unmet_floor`` says that one of them
    has less than its floor.
    """

    source: _Source
    floors: int
    above: Mapping[int, int]
    holders: tuple[tuple[str, int], ...]
    unmet_priority: int | None
    unmet_floor: bool


def _account(source: _Source, claims: Sequence[Claim], parts: Mapping[int, int]) -> _Account:
    floors, above, held, unmet = 0, dict[int, int](), dict[str, int](), list[Claim]()
    for place in source.places:
        claim, part = claims[place], parts[place]
        floors += _floor_gpus(claim, part)
        above[claim.priority] = above.get(claim.priority, 0) + part * claim.gpus - _floor_gpus(claim, part)
        held[claim.policy] = held.get(claim.policy, 0) + claim.has * claim.gpus
        if claim.has < part:
            unmet.append(claim)
    most = sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))
    return _Account(
        source=source,
        floors=floors,
        above=above,
        holders=tuple(most[: HOLDERS_NAMED + 1]),
        unmet_priority=max((claim.priority for claim in unmet), default=None),
        unmet_floor=any(claim.has < claim.floor for claim in unmet),
    )


def _floor_gpus(claim: Claim, part: int) -> int:
    return min(part, claim.floor) * claim.gpus


def _portion(claim: Claim, accounts: Sequence[_Account], *, part: int, granted: int, tried: int) -> Portion:
    source, floor = accounts[0].source, min(claim.floor, claim.want)
    return Portion(
        key=claim.key,
        want=claim.want,
        granted=granted,
        has=claim.has,
        floor=floor,
        # A start for the sake of one replica's difference between equals would cost both more than it gives.
        keeps=part if any(_is_behind(claim, account) for account in accounts) else part + 1,
        ceiling=max(granted, min(claim.want, max(granted + tried, floor))),
        fits=min(account.source.free_gpus for account in accounts) // claim.gpus,
        because=_because(claim, part, accounts[0]),
        facts={
            "pool_gpus" if source.has_queue else "quota_gpus": source.whole_gpus,
            "settled_gpus": source.settled_gpus,
            "free_gpus": source.free_gpus,
            "part": part,
            "want": claim.want,
            "gpus_per_replica": claim.gpus,
        },
    )


def _is_behind(claim: Claim, account: _Account) -> bool:
    """Whether somebody may ask ``claim`` to give way for a single replica: by its priority, or for its floor."""
    is_outranked = account.unmet_priority is not None and account.unmet_priority > claim.priority
    return is_outranked or account.unmet_floor


def _because(claim: Claim, part: int, account: _Account) -> str:
    source, mine = account.source, claim.gpus * part
    floors = account.floors - _floor_gpus(claim, part)
    higher = _total(gpus for priority, gpus in account.above.items() if priority > claim.priority)
    equal = account.above[claim.priority] - (mine - _floor_gpus(claim, part))
    takes = [f"the floors of others take {floors}"] if floors else []
    takes += [f"higher priorities {higher}"] if higher else []
    takes += [f"others of priority {claim.priority} {equal}"] if equal else []
    shared = f"{source.settled_gpus} of the {source.whole_gpus} {source.name} are free or ours"
    left = f"{mine} are for this model, which wants {claim.want * claim.gpus}"
    holders = [f"{policy} has {gpus}" for policy, gpus in account.holders if gpus > 0 and policy != claim.policy]
    return "; ".join([f"{shared}: {', '.join([*takes, left])}", ", ".join([_free(source), *holders[:HOLDERS_NAMED]])])


def _free(source: _Source) -> str:
    return f"{source.free_gpus} {'is' if source.free_gpus == 1 else 'are'} free now"


def _total(counts: Iterable[int]) -> int:
    return sum(counts)


# --- From a portion to a count -----------------------------------------------------------------------------------


def shared(plan: TargetPlan, case: Case, portion: Portion | None) -> TargetPlan:
    """The plan within its portion: no growth beyond what is free, and giving way where others have a better claim."""
    if portion is None:
        return plan
    trail, before = list(plan.trail), plan.replicas
    if before > portion.ceiling:
        because = portion.because
        trail.append(Ruling(rule="share", before=before, after=portion.ceiling, because=because, facts=portion.facts))
    given = _giving(case, portion)
    if given is not None and given.after < trail[-1].after:
        trail.append(replace(given, before=trail[-1].after))
    return replace(plan, trail=tuple(trail))


def _giving(case: Case, portion: Portion) -> Ruling | None:
    """What it gives way to now, None where it has no more than its part, or nothing may go yet."""
    shared_s = 0.0 if case.memory.shared_from_s is None else case.at_s - case.memory.shared_from_s
    hold_s = max(HOLD_LEAST_S, case.hold_s)
    recent = [kept.replicas for kept in case.memory.kept if case.at_s - kept.at_s <= hold_s]
    keeps = max(portion.keeps, portion.floor, *recent)
    # Replicas without a node go first, and cost nothing: they are beyond the ceiling.
    if not case.demand_known or shared_s < hold_s or keeps >= portion.has or case.requested > portion.has:
        return None
    after = keeps
    for rule in GIVING:
        ruling = rule(after, case)
        after = after if ruling is None else ruling.after
    because = f"for {hold_s:.0f} s others have had a better claim to what is above {keeps}; {portion.because}"
    return Ruling(rule="give_way", before=case.requested, after=after, because=because, facts=portion.facts)


def with_portion(memory: TargetMemory, portion: Portion | None, case: Case) -> TargetMemory:
    """``memory`` with what the target could keep of GPUs that are short; nothing while they are not."""
    if portion is None:
        return memory if memory.shared_from_s is None else replace(memory, shared_from_s=None, kept=())
    hold_s = max(WISHES_KEPT_S, case.hold_s)
    higher = [each for each in memory.kept if case.at_s - each.at_s <= hold_s and each.replicas > portion.keeps]
    from_s = case.at_s if memory.shared_from_s is None else memory.shared_from_s
    now = Wished(at_s=case.at_s, replicas=portion.keeps)
    pool = _pool(replace(memory, shared_from_s=from_s), portion, case.at_s)
    return replace(memory, shared_from_s=from_s, kept=(*higher, now), pool=pool)


def _pool(memory: TargetMemory, portion: Portion, at_s: float) -> PoolMemory | None:
    """What is known of the pool's growth: somebody adds nodes for replicas that wait, or nobody does."""
    gpus, before = portion.facts.get("pool_gpus"), memory.pool
    if gpus is None:
        return before
    if before is None:
        return PoolMemory(gpus=gpus, since_s=at_s)
    if gpus > before.gpus:
        return PoolMemory(gpus=gpus, since_s=at_s, tried=min(2 * before.tried, TRIED_MOST))
    since_s = max(before.since_s, memory.shared_from_s or at_s)
    is_in_vain = portion.granted < portion.want and at_s - since_s > TRIED_IN_VAIN_S
    return replace(before, gpus=gpus, tried=1 if is_in_vain else before.tried)
