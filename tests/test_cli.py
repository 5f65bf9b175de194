"""The command line: what it answers, and that every mistake gets one line and exit code 2."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from scaler.__main__ import main
from scaler.adapters.journal import FileJournal
from tests.builders import START_S
from tests.runtime.test_retelling import record_at

GOOD = """\
apiVersion: forebay.dev/v1alpha1
kind: ScalingPolicy
metadata: {name: llama, namespace: models}
spec:
  signals: {engine: VLLM}
  versions:
  - name: v1
    targets: [{role: Serve, targetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-v1}}]
  replicas: {min: 1, max: 4}
"""
WITH_KEDA = f"{GOOD}  actuation: KEDA\n"


def run(*words: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["forebay", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "decisions.jsonl"
    FileJournal(path=path).record([record_at(START_S), record_at(START_S + 15.0, running=90.0)])
    return path


def test_a_sound_document_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "llama.yaml").write_text(GOOD)

    assert run("validate", tmp_path / "llama.yaml", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "1 sound: models/llama\n"


def test_every_fault_of_a_document_gets_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "llama.yaml").write_text(GOOD.replace("min: 1, max: 4", "min: 9, max: 4, step: 2"))

    assert run("validate", tmp_path / "llama.yaml", monkeypatch=monkeypatch) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("spec.replicas" in line for line in lines)


def test_the_scaled_objects_of_every_policy_of_a_file_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.yaml").write_text(f"{WITH_KEDA}---\n{WITH_KEDA.replace('llama', 'qwen')}")

    assert run("keda", tmp_path / "two.yaml", monkeypatch=monkeypatch) == 0
    made = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [(each["kind"], each["metadata"]["name"]) for each in made] == [
        ("ScaledObject", "llama-v1"),
        ("ScaledObject", "qwen-v1"),
    ]


@pytest.mark.parametrize(
    ("words", "reached"),
    [
        ((), ("forebay-scaler.forebay.svc:9443", None, None)),
        (("--scaler-address", "a.b.svc:1", "--tls"), ("a.b.svc:1", "true", None)),
        (("--authentication", "certificates"), ("forebay-scaler.forebay.svc:9443", "true", "certificates")),
    ],
)
def test_how_keda_reaches_us_can_be_said_with_the_command(
    words: tuple[str, ...],
    reached: tuple[str | None, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "llama.yaml").write_text(WITH_KEDA)

    assert run("keda", tmp_path / "llama.yaml", *words, monkeypatch=monkeypatch) == 0
    (trigger,) = yaml.safe_load(capsys.readouterr().out)["spec"]["triggers"]
    metadata, authentication = trigger["metadata"], trigger.get("authenticationRef", {})
    assert (metadata["scalerAddress"], metadata.get("enableTLS"), authentication.get("name")) == reached


def test_the_chain_of_the_last_decision_is_told(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("explain", "llama", "--journal", journal, monkeypatch=monkeypatch) == 0

    told = capsys.readouterr().out
    assert "180 running" in told
    assert "Told: v1 has 8 replicas." in told


def test_a_time_of_day_finds_the_decision_that_was_in_force(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("explain", "models/llama", "--journal", journal, "--at", "13:46:54", monkeypatch=monkeypatch) == 0

    assert "120 running" in capsys.readouterr().out


def test_a_replay_says_that_all_decisions_agree(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("explain", "llama", "--journal", journal, "--replay", monkeypatch=monkeypatch) == 0

    assert capsys.readouterr().out == "2 of 2 decisions come out the same again\n"


def test_a_replay_that_does_not_agree_exits_with_one_and_says_where(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = journal.read_text()
    journal.write_text(text.replace('"running":90.0', '"running":9.0'))

    assert run("explain", "llama", "--journal", journal, "--replay", monkeypatch=monkeypatch) == 1
    assert "1 of 2 decisions come out otherwise" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (("bogus",), "bogus"),
        (("validate",), "FILE"),
        (("keda",), "POLICY"),
        (("keda", "nowhere.yaml"), "nowhere.yaml"),
        (("keda", "{journal}.policy"), "spec.actuation is Scale: set it to KEDA"),
        (("keda", "{journal}.keda", "--scaler-address", "forebay"), "--scaler-address = 'forebay': must be a host and"),
        (("keda", "{journal}.keda", "--authentication", "No/Such"), "--authentication = 'No/Such': must be lower-case"),
        (("validate", "nowhere.yaml"), "nowhere.yaml"),
        (("explain", "llama", "--journal", "nowhere"), "no such journal"),
        (("explain", "qwen", "--journal", "{journal}"), "it has models/llama"),
        (("explain", "llama", "--journal", "{journal}", "--at", "noonish"), "not a time"),
        (("explain", "llama", "--journal", "{journal}", "--at", "1970-01-01"), "no decision on models/llama so early"),
        (("demo", "--speed", "0"), "--speed"),
        (("demo", "--seed", "-1"), "--seed"),
        (("demo", "--load-time", "nan"), "--load-time"),
        (("demo", "--scenario", "flood"), "flood"),
        (("demo", "--output", "{journal}"), "--output"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_thing(
    words: tuple[str, ...],
    tells: str,
    journal: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path(f"{journal}.policy").write_text(GOOD)
    Path(f"{journal}.keda").write_text(WITH_KEDA)
    said = [word.format(journal=journal) for word in words]

    assert run(*said, monkeypatch=monkeypatch) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert tells in captured.err


def test_without_words_the_commands_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch=monkeypatch) == 0

    told = capsys.readouterr().out
    assert all(command in told for command in ("demo", "validate", "explain"))


@pytest.mark.slow
def test_a_demo_leaves_a_picture_and_a_journal_that_comes_out_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"

    assert run("demo", "--speed", "1000", "--output", folder, monkeypatch=monkeypatch) == 0
    assert "answered, 0 failed" in capsys.readouterr().out
    assert (folder / "run.html").stat().st_size > 100_000
    assert "http" not in (folder / "run.html").read_text().partition("<script")[0]

    assert run("explain", "llama", "--journal", folder, "--replay", monkeypatch=monkeypatch) == 0
    assert "decisions come out the same again" in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journals = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        words = ("demo", "--speed", "1000", "--scenario", "release", "--seed", str(seed), "--output", tmp_path / name)
        assert run(*words, monkeypatch=monkeypatch) == 0
        journals.append((tmp_path / name / "decisions.jsonl").read_bytes())

    assert journals[0] == journals[1]
    assert journals[0] != journals[2]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("once_there_is", [".", "decisions.jsonl"])  # while it is being built, and while it runs
def test_a_demo_that_is_ended_still_leaves_its_picture(
    tmp_path: Path, number: signal.Signals, once_there_is: str
) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "scaler", "demo", "--speed", "20", "--output", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    deadline_s = time.monotonic() + 100.0  # noqa: TID251 - a deadline for another process
    while not (folder / once_there_is).exists() and time.monotonic() < deadline_s:  # noqa: TID251 - as above
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert err == ""
    assert "What it came to" in out
    assert (folder / "run.html").exists()


def test_scenarios_are_listed_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("scenario", monkeypatch=monkeypatch) == 0

    assert "blind-at-peak " in capsys.readouterr().out


def test_a_scenario_says_what_held_and_why_and_ends_with_1_where_something_did_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("scenario", "published-step", monkeypatch=monkeypatch)

    told = capsys.readouterr().out
    assert code == (1 if "not held" in told else 0)
    assert "The count moved:" in told
    assert "So v1 should have" in told


def test_a_scenario_that_there_is_not_is_refused_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("scenario", "storm", monkeypatch=monkeypatch) == 2

    told = capsys.readouterr().err
    assert "storm: is no scenario" in told
    assert "on-off" in told
