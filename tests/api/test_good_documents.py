"""What is right is read as it is meant, with the defaults of the schema, and comes back from YAML unchanged."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaler.api.documents import Checked, check_bytes, check_files, check_object
from scaler.api.release import DEFAULT_STEPS
from scaler.api.sizing import Day
from scaler.api.v1alpha1 import ScalingPolicy
from scaler.core.model import Actuation, Role
from tests.api.builders import ONE_VERSION, TWO_VERSIONS, policy, tree

EXAMPLES: Final = sorted((Path(__file__).parents[2] / "deploy" / "examples").glob("*.yaml"))

ARCHITECTURE: Final = """
apiVersion: forebay.dev/v1alpha1
kind: ScalingPolicy
metadata: {name: llama, namespace: models}
spec:
  signals:
    engine: VLLM                      # VLLM | SGLang | TensorRTLLM | TGI | TEI (embeddings) | Custom (with PromQL below it)
    modelName: llama-3.1-8b           # the value of the engine's model label; default: metadata.name
    inferencePoolRef: {name: llama}   # optional: the endpoint picker's queue and saturation count too
  versions:
  - name: v1
    targets: [{role: Serve, targetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-v1}}]   # Serve | Prefill | Decode
    backendRef: {kind: Service, name: llama-v1, port: 8000}                                        # or InferencePool
  - name: v2
    targets: [{role: Serve, targetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-v2}}]
    backendRef: {kind: Service, name: llama-v2, port: 8000}
  release:
    version: v2                       # which version should serve. Changing this word starts a release; changing it back rolls it back
    routeRef: {kind: HTTPRoute, name: llama, rule: chat}
    steps: [{weightPercent: 5, holdSeconds: 300}, {weightPercent: 25, holdSeconds: 300}, {weightPercent: 100}]
    analysis: {minRequests: 200}
  replicas: {min: 1, max: 40}                     # of one role over all versions; a target may narrow them for itself
  warmPool: {floor: 2, schedules: []}          # ready replicas kept, whatever the demand: instead of scale-to-zero
  objectives: {timeToFirstToken: {percentile: 95, milliseconds: 2000}, interTokenLatency: {milliseconds: 60}}
  loading: {expectedSeconds: 300, budgetSeconds: 1800}     # a prior until measured; after the budget a start counts as failed
  behavior: {}                     # hold, step limits, flap budget: defaults follow the learned load time
  capacity: {priority: 0}
  actuation: Scale                    # Scale (we write /scale) | KEDA (we answer, KEDA and HPA write) | Advise (we only say)
"""  # noqa: E501 - word for word but for its dots


def read(text: str) -> ScalingPolicy:
    """The one policy in ``text``, which must be sound."""
    checked = check_bytes(text.encode(), file="good.yaml")
    assert checked.faults == ()
    (only,) = checked.policies
    return only


def test_the_example_of_the_architecture_is_read() -> None:
    spec = read(ARCHITECTURE).spec

    assert [version.name for version in spec.versions] == ["v1", "v2"]
    assert spec.release is not None
    assert [step.weight_percent for step in spec.release.steps] == [5, 25, 100]
    assert spec.replicas.max == 40


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_a_shipped_example_is_sound(path: Path) -> None:
    checked = check_files([path])

    assert checked.faults == ()
    assert len(checked.policies) == 1


def test_the_examples_can_be_applied_together() -> None:
    assert len(EXAMPLES) >= 4
    assert check_files(EXAMPLES).faults == ()


def test_all_that_is_left_out_has_the_documented_default() -> None:
    spec = read(ONE_VERSION).spec

    assert (spec.replicas.min, spec.signals.stale_seconds, spec.warm_pool.floor) == (1, 90, 0)
    assert (spec.loading.expected_seconds, spec.loading.budget_seconds) == (300, None)
    assert (spec.behavior.scale_up.step_replicas, spec.behavior.scale_up.period_seconds) == (None, 60)
    assert (spec.behavior.scale_down.hold_seconds, spec.behavior.scale_down.step_percent) == (None, 25)
    assert (spec.behavior.flaps_per_hour, spec.capacity.priority) == (2, 0)
    assert (spec.actuation, spec.versions[0].targets[0].role) == (Actuation.SCALE, Role.SERVE)
    assert (spec.release, spec.objectives.time_to_first_token) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"spec__scaleToZero": {"idleSeconds": 1800, "demandQuery": "sum(requests)"}},
        {"spec__scaleToZero": {"idleSeconds": 1800}, "spec__signals__inferencePoolRef": {"name": "llama"}},
        {
            "spec__scaleToZero": {"idleSeconds": 60},
            "spec__signals": {"engine": "Custom", "queries": {"demand": "sum(a)", "capacity": "vector(8)"}},
        },
    ],
    ids=["a demand query", "an endpoint picker", "own queries"],
)
def test_zero_is_allowed_with_any_signal_that_needs_no_replica(change: dict[str, object]) -> None:
    spec = policy(ONE_VERSION, spec__replicas={"min": 0, "max": 4}, **change).spec

    assert spec.scale_to_zero is not None


def test_a_release_that_says_only_its_version_goes_in_four_steps() -> None:
    release = policy(spec__release={"version": "v1", "routeRef": {"name": "llama"}}).spec.release

    assert release is not None
    assert release.steps == DEFAULT_STEPS
    assert release.analysis is None


def test_a_file_may_hold_many_policies() -> None:
    other = yaml.safe_dump(tree(metadata__name="other"))

    checked = check_bytes(f"---\n{ONE_VERSION}---\n{other}---\n".encode(), file="two.yaml")

    assert [found.metadata.name for found in checked.policies] == ["llama", "other"]


def test_a_file_may_be_json_and_may_start_with_a_byte_order_mark() -> None:
    assert read("\ufeff" + json.dumps(tree())) == policy()


def test_a_time_without_quotes_is_a_time_as_for_kubectl() -> None:
    text = TWO_VERSIONS.replace('start: "08:00", end: "18:00"', "start: 22:30, end: 06:00")

    schedule = read(text).spec.warm_pool.schedules[0]

    assert (schedule.start, schedule.end) == ("22:30", "06:00")


def test_a_field_that_is_null_is_one_that_is_left_out() -> None:
    text = ONE_VERSION.replace("replicas: {max: 4}", "replicas: {max: 4, min: null}\n  warmPool:\n  release: ~")

    assert read(text) == read(ONE_VERSION)


def test_an_object_from_the_api_server_is_read_with_all_that_it_adds() -> None:
    live = tree(
        metadata__uid="1",
        metadata__resourceVersion="2",
        metadata__generation=3,
        metadata__creationTimestamp="2026-01-01T00:00:00Z",
        metadata__managedFields=[{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        status={"observedGeneration": 3, "fromANewerController": {"x": 1}, "conditions": []},
    )

    found = check_object(live, file="models/llama")

    assert isinstance(found, ScalingPolicy)
    assert found.metadata.generation == 3
    assert found.status is not None


def test_the_status_of_the_architecture_is_read() -> None:
    moment = "2026-01-01T00:00:00Z"
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": moment, "reason": "Planned"}
    row = {"name": "v1", "weightPercent": 75, "desired": 3, "ready": 2, "starting": 1, "unschedulable": 0}
    learned = {"name": "v1", "loadSeconds": {"p50": 80.5, "p90": 120.0, "samples": 9}}
    ruling = {"target": "v1", "rule": "bounds", "before": 9, "after": 3, "because": "the operator allows 1 to 3"}
    decision = {"at": moment, "because": "demand grew", "trail": [ruling]}
    status = {
        "conditions": [condition],
        "versions": [row],
        "learned": [learned],
        "decision": decision,
        "weights": "v1=75",
    }

    found = policy(status=status).status

    assert found is not None
    assert found.model_dump(mode="json", by_alias=True, exclude_unset=True) == status


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        policy().spec.replicas.max = 99  # type: ignore[misc]


def test_a_policy_made_in_python_keeps_the_same_rules() -> None:
    sound = policy()

    with pytest.raises(ValueError, match=r"warmPool\.floor: must be at most replicas\.max \(4\)"):
        type(sound.spec)(**{**dict(sound.spec), "warm_pool": {"floor": 9}})


# --- Properties --------------------------------------------------------------------------------------------------

LABELS: Final = st.text("abcnoy", min_size=1, max_size=8)
CLOCKS: Final = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
WORDS: Final = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
ANNOTATIONS: Final = st.dictionaries(LABELS, WORDS, max_size=3)


class Quoted(yaml.SafeDumper):
    """Writes text in quotes, since YAML's readers do not agree on which plain words are text."""

    def represent_quoted(self, text: str) -> yaml.ScalarNode:
        """The text in double quotes."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"')


Quoted.add_representer(str, Quoted.represent_quoted)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Sound documents of every shape."""
    highest = draw(st.integers(1, 10_000))
    counts = st.integers(0, highest)
    names = draw(st.lists(LABELS, min_size=1, max_size=8, unique=True))
    schedules = st.fixed_dictionaries(
        {"name": LABELS, "start": CLOCKS, "end": CLOCKS, "floor": counts},
        optional={
            "days": st.lists(st.sampled_from([day.value for day in Day]), min_size=1, unique=True),
            "timeZone": st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "Etc/UTC"]),
        },
    )
    weights = draw(st.sets(st.integers(1, 99), max_size=19))
    spec = {
        "signals": {"engine": draw(st.sampled_from(["VLLM", "SGLang", "TEI"])), "modelName": draw(WORDS)},
        "versions": [
            {"name": name, "targets": draw(targets(name)), "backendRef": {"kind": "InferencePool", "name": name}}
            for name in names
        ],
        "release": {
            "version": draw(st.sampled_from(names)),
            "routeRef": {"name": "llama"},
            "steps": [{"weightPercent": weight} for weight in (*sorted(weights), 100)],
        },
        "replicas": {"min": draw(st.integers(1, highest)), "max": highest},
        "warmPool": {
            "floor": draw(counts),
            "schedules": draw(st.lists(schedules, max_size=4, unique_by=lambda schedule: str(schedule["name"]))),
        },
        "objectives": {"timeToFirstToken": {"percentile": draw(st.floats(0.1, 99.9)), "milliseconds": 2000}},
        "actuation": draw(st.sampled_from(["Scale", "KEDA", "Advise"])),
    }
    metadata = {"name": draw(LABELS), "namespace": draw(LABELS), "annotations": draw(ANNOTATIONS)}
    return {"apiVersion": "forebay.dev/v1alpha1", "kind": "ScalingPolicy", "metadata": metadata, "spec": spec}


def targets(version: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """One whole target, or two halves."""

    def row(role: str) -> dict[str, Any]:
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{version}-{role.lower()}"}
        return {"role": role, "targetRef": reference}

    return st.sampled_from([[row("Serve")], [row("Prefill"), row("Decode")]])


@given(documents())
@settings(max_examples=30, deadline=None)
def test_a_document_comes_back_from_yaml_unchanged(document: dict[str, Any]) -> None:
    """Kills: to read a quoted "no" or "08:00" as anything but text; to lose a field, or default one that is given."""
    before = check_object(document, file="made.yaml")
    assert isinstance(before, ScalingPolicy), [str(fault) for fault in before]
    plain = before.model_dump(mode="json", by_alias=True)

    for raw in (
        yaml.dump(plain, Dumper=Quoted, allow_unicode=False).encode(),
        json.dumps(plain, ensure_ascii=False).encode(),
    ):
        assert check_bytes(raw, file="made.yaml") == Checked(policies=(before,), faults=())


def only_words(raw: bytes) -> None:
    """Reading ``raw`` ends in policies or in faults of one printable line, and never in neither."""
    checked = check_bytes(raw, file="fuzz.yaml")

    assert len(checked.policies) + len(checked.faults) > 0
    assert all(str(fault).isprintable() for fault in checked.faults)


@given(st.binary(max_size=400))
@example(b"\xef\xbb\xbf")
@example(b"%YAML 3.0\n---\na")
@example(b"? ? ? ? a")
@example(b"!<tag:yaml.org,2002:null> ~")
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_give_faults_or_documents(raw: bytes) -> None:
    only_words(raw)


SPLICES: Final = st.one_of(
    st.sampled_from(
        ["*a", "&a ", "!!int ", "? ", "- ", ": ", "{", "}", "[", "]", "---\n", "...\n", "<<: ", '"', "'", "|", "\t"]
    ),
    st.text(max_size=8),
    st.integers().map(str),
)


@given(st.integers(0, len(TWO_VERSIONS)), st.integers(0, 20), SPLICES)
@settings(max_examples=150, deadline=None)
def test_a_good_file_with_a_slip_of_the_hand_gives_faults_or_documents(start: int, cut: int, splice: str) -> None:
    only_words((TWO_VERSIONS[:start] + splice + TWO_VERSIONS[start + cut :]).encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
@settings(max_examples=3000, deadline=None)
def test_thousands_of_arbitrary_files_give_faults_or_documents(raw: bytes) -> None:
    only_words(raw)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, len(TWO_VERSIONS)), st.integers(0, 20), SPLICES), min_size=1, max_size=4))
@settings(max_examples=2000, deadline=None)
def test_thousands_of_slips_give_faults_or_documents(slips: list[tuple[int, int, str]]) -> None:
    text = TWO_VERSIONS
    for start, cut, splice in slips:
        text = text[:start] + splice + text[start + cut :]
    only_words(text.encode("utf-8", "surrogatepass"))
