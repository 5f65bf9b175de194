"""Documents that must be refused: each with the claim, the difference from a good one, and what must be said where."""

from dataclasses import dataclass, field
from math import inf, nan
from typing import Any, Final

import yaml

from tests.api.builders import ONE_VERSION, REMOVED, TWO_VERSIONS, tree

SERVE: Final[dict[str, Any]] = {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}}
DAY: Final[dict[str, Any]] = {"name": "day", "start": "08:00", "end": "18:00", "floor": 1}


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One bad document. ``says`` is a part of the message; ``edge_only`` is what the API server cannot refuse."""

    claim: str
    at: str
    says: str
    base: str = TWO_VERSIONS
    change: dict[str, Any] = field(default_factory=dict)
    edge_only: bool = False

    def tree(self) -> dict[str, Any]:
        """The document."""
        return tree(self.base, **self.change)

    def raw(self) -> bytes:
        """The document as a file."""
        return yaml.safe_dump(self.tree(), sort_keys=False).encode()


def bad(claim: str, at: str, says: str, **change: Any) -> Bad:
    """A difference from the document that uses every field."""
    return Bad(claim=claim, at=at, says=says, change=change)


# One case is one thought; the formatter would make six lines of each.
# fmt: off

SHAPES: Final = (
    bad("a kind that is not ours", "kind", "must be ScalingPolicy: keep other kinds in files of", kind="Deployment"),
    bad("no kind", "kind", "is required, and must be ScalingPolicy", kind=REMOVED),
    bad("a version we do not know", "apiVersion", "must be forebay.dev/v1alpha1", apiVersion="forebay.dev/v1"),
    bad("no apiVersion", "apiVersion", "is required, and must be forebay.dev/v1alpha1", apiVersion=REMOVED),
    bad("no metadata", "metadata", "is required", metadata=REMOVED),
    bad("no name", "metadata.name", "is required", metadata__name=REMOVED),
    bad("a name in capitals", "metadata.name", "must be lower-case letters, digits", metadata__name="Llama"),
    bad("a name of 300 letters", "metadata.name", "at most 253 characters long", metadata__name="a" * 300),
    bad("a namespace with a dot", "metadata.namespace", "must be lower-case letters", metadata__namespace="a.b"),
    bad("a label that is a number", "metadata.labels.team", "must be text: put it in quotes",
        metadata__labels={"team": 7}),
    bad("an unknown field in metadata", "metadata.lables", "did you mean labels?", metadata__lables={}),
    bad("no spec", "spec", "is required", spec=REMOVED),
    bad("a spec that is null", "spec", "is required", spec=None),
    bad("a spec that is a list", "spec", "must be a mapping", spec=[1]),
    bad("a spec that is text", "spec", "must be a mapping", spec="all of it"),
    bad("an unknown field on top", "sepc", "is not a field here: did you mean spec?", sepc={}),
    bad("an unknown field in the spec", "spec.replica", "did you mean replicas?", spec__replica=3),
    Bad(claim="a name as Python has it", at="spec.warm_pool", says="did you mean warmPool?", base=ONE_VERSION,
        change={"spec__warm_pool": {}}),
    bad("a field that is like none", "spec.zzz", "there are signals, versions, release, replicas", spec__zzz=1),
)

SIGNALS: Final = (
    bad("no engine", "spec.signals.engine", "is required", spec__signals__engine=REMOVED),
    bad("an unknown engine", "spec.signals.engine", "must be one of VLLM, SGLang,", spec__signals__engine="vllm"),
    bad("an engine that is a number", "spec.signals.engine", "must be one of VLLM,", spec__signals__engine=1),
    bad("Custom without queries", "spec.signals.queries", "is required, because spec.signals.engine is Custom",
        spec__signals__engine="Custom"),
    bad("queries of a known engine", "spec.signals.queries", "must be left out unless spec.signals.engine is Custom",
        spec__signals__queries={"demand": "sum(a)", "capacity": "8"}),
    bad("a blank query", "spec.signals.queries.demand", "must not be blank",
        spec__signals={"engine": "Custom", "queries": {"demand": "  ", "capacity": "8"}}),
    bad("an endless query", "spec.signals.queries.demand", "must be at most 4096 characters long",
        spec__signals={"engine": "Custom", "queries": {"demand": "a" * 5000, "capacity": "8"}}),
    bad("no capacity query", "spec.signals.queries.capacity", "is required",
        spec__signals={"engine": "Custom", "queries": {"demand": "sum(a)"}}),
    bad("an empty model name", "spec.signals.modelName", "must be at least 1 character long",
        spec__signals__modelName=""),
    bad("samples stale at once", "spec.signals.staleSeconds", "must be at least 10", spec__signals__staleSeconds=0),
    bad("samples that never age", "spec.signals.staleSeconds", "must be at most 3600",
        spec__signals__staleSeconds=10**30),
    bad("a duration with its unit", "spec.signals.staleSeconds", "must be a whole number, not text",
        spec__signals__staleSeconds="90s"),
    bad("half a second", "spec.signals.staleSeconds", "must be a whole number", spec__signals__staleSeconds=90.5),
    bad("a pool without a name", "spec.signals.inferencePoolRef.name", "is required",
        spec__signals__inferencePoolRef={}),
)

VERSIONS: Final = (
    bad("no versions", "spec.versions", "is required", spec__versions=REMOVED),
    bad("an empty list of versions", "spec.versions", "must have at least 1 entry",
        spec__versions=[], spec__release=REMOVED),
    bad("nine versions", "spec.versions", "must have at most 8 entries", spec__versions=[
        {"name": f"v{i}", "targets": [{"targetRef": SERVE["targetRef"] | {"name": f"v{i}"}}]} for i in range(9)]),
    bad("versions as a mapping", "spec.versions", "must be a list", spec__versions={"v1": {}}),
    bad("a version that is text", "spec.versions[0]", "must be a mapping", spec__versions__0="v1"),
    bad("two versions with one name", "spec.versions[1].name",
        "must be there once only, and is in spec.versions[0] too",
        spec__versions__1__name="v1", spec__release__version="v1"),
    bad("a version's name with a dot", "spec.versions[1].name", "must be lower-case letters",
        spec__versions__1__name="v1.2"),
    bad("a version's name that YAML takes for a number", "spec.versions[1].name", "must be text: put it in quotes",
        spec__versions__1__name=2),
    bad("a version without targets", "spec.versions[0].targets", "is required", spec__versions__0__targets=REMOVED),
    bad("an empty list of targets", "spec.versions[0].targets", "must have at least 1 entry",
        spec__versions__0__targets=[]),
    bad("three targets", "spec.versions[0].targets", "must have at most 2 entries",
        spec__versions__0__targets=[SERVE] * 3),
    bad("an unknown role", "spec.versions[0].targets[0].role", "must be one of Serve, Prefill or Decode",
        spec__versions__0__targets__0__role="Both"),
    bad("prefill without decode", "spec.versions[0].targets", "and has Prefill",
        spec__versions__0__targets__0__role="Prefill"),
    bad("serve beside decode", "spec.versions[1].targets", "and has Serve, Decode",
        spec__versions__1__targets__0__role="Serve"),
    bad("one role twice", "spec.versions[0].targets[1].role",
        "must be there once only, and is in spec.versions[0].targets[0] too",
        spec__versions__0__targets=[tree()["spec"]["versions"][0]["targets"][0], SERVE]),
    bad("one object in two versions", "spec.versions[1].targets[1].targetRef.name",
        "must be another object than spec.versions[0].targets[0].targetRef",
        spec__versions__1__targets__1__targetRef__name="llama-v1"),
    bad("a target without an object", "spec.versions[0].targets[0].targetRef", "is required",
        spec__versions__0__targets__0__targetRef=REMOVED),
    bad("an object without a kind", "spec.versions[0].targets[0].targetRef.kind", "is required",
        spec__versions__0__targets__0__targetRef__kind=REMOVED),
    bad("a kind in lower case", "spec.versions[0].targets[0].targetRef.kind", "must be a kind such as Deployment",
        spec__versions__0__targets__0__targetRef__kind="deployment"),
    bad("an API version without its version", "spec.versions[0].targets[0].targetRef.apiVersion",
        "must be a group and version such as apps/v1", spec__versions__0__targets__0__targetRef__apiVersion="apps"),
    bad("a target's min above its max", "spec.versions[0].targets[0].replicas.min",
        "must be at most spec.versions[0].targets[0].replicas.max (2)",
        spec__versions__0__targets__0__replicas={"min": 3, "max": 2}),
    bad("a target's max above that of all", "spec.versions[0].targets[0].replicas.max",
        "must be at most spec.replicas.max (4)", spec__versions__0__targets__0__replicas={"max": 5}),
    bad("a Service without a port", "spec.versions[0].backendRef.port", "is required for a Service",
        spec__versions__0__backendRef__port=REMOVED),
    bad("an InferencePool with a port", "spec.versions[1].backendRef.port", "must be left out for an InferencePool",
        spec__versions__1__backendRef__port=8000),
    bad("port 0", "spec.versions[0].backendRef.port", "must be at least 1", spec__versions__0__backendRef__port=0),
    bad("port 65536", "spec.versions[0].backendRef.port", "must be at most 65535",
        spec__versions__0__backendRef__port=65536),
    bad("two versions behind one backend", "spec.versions[1].backendRef.name",
        "must be another one than spec.versions[0].backendRef",
        spec__versions__1__backendRef={"name": "llama-v1", "port": 8001}),
)

RELEASE: Final = (
    bad("two versions without a release", "spec.release", "is required, because spec.versions has 2 entries",
        spec__release=REMOVED),
    bad("a release to a version that is not listed", "spec.release.version",
        "must be the name of one of spec.versions (v1, v2)", spec__release__version="v3"),
    bad("a release to nothing", "spec.release.version", "is required", spec__release__version=REMOVED),
    bad("a route but no backend", "spec.versions[1].backendRef",
        "is required, because spec.release is given", spec__versions__1__backendRef=REMOVED),
    bad("a kind of route we cannot move", "spec.release.routeRef.kind", "must be HTTPRoute",
        spec__release__routeRef__kind="GRPCRoute"),
    bad("no steps", "spec.release.steps", "must have at least 1 entry", spec__release__steps=[]),
    bad("21 steps", "spec.release.steps", "must have at most 20 entries",
        spec__release__steps=[{"weightPercent": i} for i in range(80, 101)]),
    bad("steps that go down", "spec.release.steps[1].weightPercent",
        "must be more than spec.release.steps[0].weightPercent (50)",
        spec__release__steps=[{"weightPercent": 50}, {"weightPercent": 20}, {"weightPercent": 100}]),
    bad("steps that stand still", "spec.release.steps[1].weightPercent", "must be more than",
        spec__release__steps=[{"weightPercent": 50}, {"weightPercent": 50}, {"weightPercent": 100}]),
    bad("steps that stop short", "spec.release.steps[1].weightPercent", "must be 100 in the last step",
        spec__release__steps=[{"weightPercent": 5}, {"weightPercent": 95}]),
    bad("a step of 0 per cent", "spec.release.steps[0].weightPercent", "must be at least 1",
        spec__release__steps=[{"weightPercent": 0}, {"weightPercent": 100}]),
    bad("a step of 101 per cent", "spec.release.steps[0].weightPercent", "must be at most 100",
        spec__release__steps=[{"weightPercent": 101}]),
    bad("a hold below 0", "spec.release.steps[0].holdSeconds", "must be at least 0",
        spec__release__steps=[{"weightPercent": 100, "holdSeconds": -5}]),
    bad("an analysis of no request", "spec.release.analysis.minRequests", "must be at least 1",
        spec__release__analysis={"minRequests": 0}),
    bad("an error share of 101 per cent", "spec.release.analysis.maxErrorPercent", "must be at most 100",
        spec__release__analysis={"maxErrorPercent": 101}),
    bad("a ratio that the old version would fail", "spec.release.analysis.maxTimeToFirstTokenRatio",
        "must be at least 1", spec__release__analysis={"maxTimeToFirstTokenRatio": 0.5}),
)

SIZES: Final = (
    bad("no replicas", "spec.replicas", "is required", spec__replicas=REMOVED),
    bad("replicas as a number", "spec.replicas", "must be a mapping", spec__replicas=3),
    bad("no max", "spec.replicas.max", "is required", spec__replicas={"min": 1}),
    bad("min above max", "spec.replicas.min", "must be at most spec.replicas.max (4)", spec__replicas__min=9),
    Bad(claim="the default min above max", at="spec.replicas.max", says="must be at least 1", base=ONE_VERSION,
        change={"spec__replicas__max": 0}),
    bad("scale to zero, with what it costs", "spec.replicas.min",
        "at 0 the first request waits for a whole start (300 s by spec.loading.expectedSeconds", spec__replicas__min=0),
    Bad(claim="a way to zero beside a min above it", at="spec.scaleToZero", base=ONE_VERSION,
        says="must be left out unless spec.replicas.min is 0, and it is 1",
        change={"spec__scaleToZero": {"idleSeconds": 600, "demandQuery": "sum(a)"}}),
    Bad(claim="a way to zero without a way back", at="spec.scaleToZero.demandQuery",
        says="is required, because no replica is left to say that requests come: give PromQL", base=ONE_VERSION,
        change={"spec__replicas__min": 0, "spec__scaleToZero": {"idleSeconds": 600}}),
    bad("a way to zero for prefill and decode", "spec.scaleToZero", "must be left out with the roles Prefill and",
        spec__replicas__min=0, spec__scaleToZero={"idleSeconds": 600}),
    Bad(claim="zero at once", at="spec.scaleToZero.idleSeconds", says="must be at least 60", base=ONE_VERSION,
        change={"spec__replicas__min": 0, "spec__scaleToZero": {"idleSeconds": 0, "demandQuery": "sum(a)"}}),
    Bad(claim="zero without a time", at="spec.scaleToZero.idleSeconds", says="is required", base=ONE_VERSION,
        change={"spec__replicas__min": 0, "spec__scaleToZero": {"demandQuery": "sum(a)"}}),
    Bad(claim="a blank way back", at="spec.scaleToZero.demandQuery", says="must not be blank", base=ONE_VERSION,
        change={"spec__replicas__min": 0, "spec__scaleToZero": {"idleSeconds": 600, "demandQuery": " "}}),
    bad("min below 0", "spec.replicas.min", "must be at least 0", spec__replicas__min=-1),
    bad("a million replicas", "spec.replicas.max", "must be at most 10000", spec__replicas__max=1_000_000),
    bad("min that is true", "spec.replicas.min", "must be a whole number", spec__replicas__min=True),
    bad("min that is text", "spec.replicas.min", "must be a whole number, not text", spec__replicas__min="1"),
    bad("a floor above max", "spec.warmPool.floor", "must be at most spec.replicas.max (4)", spec__warmPool__floor=5),
    bad("a scheduled floor above max", "spec.warmPool.schedules[0].floor", "must be at most spec.replicas.max (4)",
        spec__warmPool__schedules__0__floor=5),
    bad("51 schedules", "spec.warmPool.schedules", "must have at most 50 entries",
        spec__warmPool__schedules=[DAY | {"name": f"s{i}"} for i in range(51)]),
    bad("two schedules with one name", "spec.warmPool.schedules[1].name", "must be there once only",
        spec__warmPool__schedules=[DAY, DAY]),
    bad("a schedule on no day", "spec.warmPool.schedules[0].days", "must have at least 1 entry",
        spec__warmPool__schedules__0__days=[]),
    bad("a day that does not exist", "spec.warmPool.schedules[0].days[0]", "must be one of Mon, Tue, Wed",
        spec__warmPool__schedules__0__days=["Monday"]),
    bad("one day twice", "spec.warmPool.schedules[0].days[1]", "must be there once only",
        spec__warmPool__schedules__0__days=["Mon", "Mon"]),
    bad("a start at 25 o'clock", "spec.warmPool.schedules[0].start", 'from "00:00" to "23:59"',
        spec__warmPool__schedules__0__start="25:00"),
    bad("an end at 24:00", "spec.warmPool.schedules[0].end", 'from "00:00" to "23:59"',
        spec__warmPool__schedules__0__end="24:00"),
    bad("a start without its zero", "spec.warmPool.schedules[0].start", "must be at least 5 characters long",
        spec__warmPool__schedules__0__start="8:00"),
    Bad(claim="a city with no time zone", at="spec.warmPool.schedules[0].timeZone", says="must be an IANA time zone",
        change={"spec__warmPool__schedules__0__timeZone": "Europe/Munich"}, edge_only=True),
    bad("a time zone that is a path", "spec.warmPool.schedules[0].timeZone", "must be an IANA time zone",
        spec__warmPool__schedules__0__timeZone="../../etc/passwd"),
    Bad(claim="a continent for a time zone", at="spec.warmPool.schedules[0].timeZone", says="must be an IANA time zone",
        change={"spec__warmPool__schedules__0__timeZone": "Europe"}, edge_only=True),
)

PACE: Final = (
    bad("percentile 0", "spec.objectives.timeToFirstToken.percentile", "must be more than 0",
        spec__objectives__timeToFirstToken__percentile=0),
    bad("percentile 100", "spec.objectives.timeToFirstToken.percentile", "must be less than 100",
        spec__objectives__timeToFirstToken__percentile=100),
    bad("percentile NaN", "spec.objectives.timeToFirstToken.percentile", "must be a finite number",
        spec__objectives__timeToFirstToken__percentile=nan),
    bad("percentile infinity", "spec.objectives.interTokenLatency.percentile", "must be a finite number",
        spec__objectives__interTokenLatency__percentile=inf),
    bad("a percentile in words", "spec.objectives.timeToFirstToken.percentile", "must be a number, not text",
        spec__objectives__timeToFirstToken__percentile="p95"),
    bad("an objective of 0 ms", "spec.objectives.timeToFirstToken.milliseconds", "must be at least 1",
        spec__objectives__timeToFirstToken__milliseconds=0),
    bad("an objective without its latency", "spec.objectives.interTokenLatency.milliseconds", "is required",
        spec__objectives__interTokenLatency={"percentile": 90}),
    bad("a load time above its budget", "spec.loading.expectedSeconds",
        "must be at most spec.loading.budgetSeconds (1800)", spec__loading__expectedSeconds=1801),
    bad("a budget below the default load time", "spec.loading.expectedSeconds",
        "must be at most spec.loading.budgetSeconds (60)", spec__loading={"budgetSeconds": 60}),
    bad("a load time of two days", "spec.loading.budgetSeconds", "must be at most 86400",
        spec__loading__budgetSeconds=172_800),
    bad("a step of no replica", "spec.behavior.scaleUp.stepReplicas", "must be at least 1",
        spec__behavior__scaleUp__stepReplicas=0),
    bad("a step of 200 per cent", "spec.behavior.scaleDown.stepPercent", "must be at most 100",
        spec__behavior__scaleDown__stepPercent=200),
    bad("a hold below 0 s", "spec.behavior.scaleDown.holdSeconds", "must be at least 0",
        spec__behavior__scaleDown__holdSeconds=-1),
    bad("no flap allowed", "spec.behavior.flapsPerHour", "must be at least 1", spec__behavior__flapsPerHour=0),
    bad("an endless priority", "spec.capacity.priority", "must be at most 1000", spec__capacity__priority=10**12),
    bad("an unknown actuation", "spec.actuation", "must be one of Scale, KEDA or Advise", spec__actuation="scale"),
)

ACTUATION: Final = (
    bad("KEDA's part without KEDA", "spec.keda", "must be left out unless spec.actuation is KEDA, and it is Scale",
        spec__actuation="Scale", spec__keda={}),
    bad("managed in words", "spec.keda.managed", "must be true or false", spec__keda={"managed": "always"}),
    bad("a scaler without its port", "spec.keda.scalerAddress", "must be a host and a port",
        spec__keda={"scalerAddress": "forebay-scaler.forebay.svc"}),
    bad("a scaler at port 65536", "spec.keda.scalerAddress", "must be a host and a port",
        spec__keda={"scalerAddress": "forebay:65536"}),
    bad("a scaler as a URL", "spec.keda.scalerAddress", "must be a host and a port",
        spec__keda={"scalerAddress": "https://forebay:9443"}),
    bad("polling all the time", "spec.keda.pollingSeconds", "must be at least 1", spec__keda={"pollingSeconds": 0}),
    bad("an authentication of another kind", "spec.keda.tls.authenticationRef.kind", "must be one of",
        spec__keda={"tls": {"authenticationRef": {"kind": "Secret", "name": "x"}}}),
    bad("an authentication without its name", "spec.keda.tls.authenticationRef.name", "is required",
        spec__keda={"tls": {"authenticationRef": {}}}),
)

# fmt: on

ALL: Final = (*SHAPES, *SIGNALS, *VERSIONS, *RELEASE, *SIZES, *PACE, *ACTUATION)
