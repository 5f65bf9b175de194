"""`forebay simulate`: files in, figures out; the same seed gives the same bytes, and a mistake one line."""

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from scaler.__main__ import main
from scaler.sim.workload import opened
from scaler.wiring.errors import UserError
from scaler.wiring.simulation import Asked, Told, _document, _windowed, policies_of, simulated

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
FLEET = "engine: llama-3.1-8b/L40S\nloadSeconds: 60\nwarmReplicas: 2\npool: 1\n"


def asked(
    folder: Path,
    *,
    trace: str = "azure2023-conv",
    policy: Path = EXAMPLES / "one-version.yaml",
    fleet: str = FLEET,
    window: str = "rise",
    seed: int = 1,
    out: str = "out",
    is_bounded: bool = False,
) -> Asked:
    (folder / "fleet.yaml").write_text(fleet, encoding="utf-8")
    return Asked(
        trace=trace,
        policy=policy,
        fleet=folder / "fleet.yaml",
        window=window,
        seed=seed,
        folder=folder / out,
        is_bounded=is_bounded,
    )


def simulate(words: Asked) -> Told:
    return simulated(words, Console(quiet=True))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    first = simulate(asked(tmp_path, out="a")).result.read_bytes()
    again = simulate(asked(tmp_path, out="b")).result.read_bytes()
    other = simulate(asked(tmp_path, out="c", seed=2)).result.read_bytes()

    assert first == again
    assert first != other


def test_the_result_says_what_was_run_and_what_it_came_to(tmp_path: Path) -> None:
    told = simulate(asked(tmp_path))

    result = json.loads(told.result.read_text())
    assert (result["trace"], result["seed"], result["fleet"]["pool"]) == ("azure2023-conv", 1, 1.0)
    assert result["score"]["requests"] == pytest.approx(5.4 * result["span_s"], rel=0.03)
    assert 0.9 < result["score"]["attained"] <= 1.0
    assert result["changes"][0] == [0.0, 2]
    assert dict(told.rows)["requests"] == f"{result['score']['requests']:,}"


def test_the_bound_s_replica_hours_stand_beside_the_run_s_unless_they_are_left_out(tmp_path: Path) -> None:
    with_it = simulate(asked(tmp_path, out="a", is_bounded=True))
    without = simulate(asked(tmp_path, out="b"))

    found = json.loads(with_it.result.read_text())
    assert 0.0 < found["bound"]["replica_hours"] <= found["score"]["replica_hours"]
    assert found["bound"]["attained"] >= 0.95  # the percentile of the example's objective
    assert dict(with_it.rows)["the bound's replica-hours"].startswith(f"{found['bound']['replica_hours']:.2f}, ")
    assert json.loads(without.result.read_text()) == found | {"bound": None}
    assert dict(without.rows)["the bound's replica-hours"] == "not asked for"


def test_a_terminal_is_told_how_far_the_bound_is(tmp_path: Path) -> None:
    console = Console(force_terminal=True, record=True, width=100, file=io.StringIO())
    simulated(asked(tmp_path, fleet=FLEET.replace("pool: 1", "pool: 0.2"), is_bounded=True), console)

    assert "--no-bound leaves it out" in console.export_text()


def test_a_series_runs_on_the_six_hours_of_its_rise_or_on_a_day() -> None:
    series = opened("servegen-deepseek-r1")

    assert _windowed(series, "rise").span_s == 6 * 3600
    assert _windowed(series, "day-0").span_s == _windowed(series, "whole").span_s == 86_400


def test_the_command_prints_a_table_and_ends_with_2_on_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("pool: 1", "pool: 0.1"), encoding="utf-8")
    words = ["--policy", EXAMPLES / "one-version.yaml", "--fleet", tmp_path / "fleet.yaml", "--out", tmp_path / "out"]

    def run(trace: str) -> int:
        monkeypatch.setattr(sys, "argv", ["forebay", "simulate", "--trace", trace, *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    assert run("azure2023-conv") == 0
    assert "replica-hours" in capsys.readouterr().out
    assert run("nowhere.csv") == 2
    assert "--trace nowhere.csv: cannot be read" in capsys.readouterr().err


def test_a_recording_of_ones_own_is_sized_by_what_the_plant_sustains(tmp_path: Path) -> None:
    rows = "\n".join(f"2026-11-22 10:{at // 60:02}:{at % 60:02},1000,100" for at in range(600))
    (tmp_path / "own.csv").write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}\n", encoding="utf-8")

    told = simulate(asked(tmp_path, trace=str(tmp_path / "own.csv")))

    assert json.loads(told.result.read_text())["score"]["requests"] > 3 * 600


@pytest.mark.parametrize(
    ("fleet", "fault"),
    [
        (FLEET.replace("60", "-5"), "loadSeconds = -5: input should be greater than 0"),
        (FLEET.replace("60", "soon"), "loadSeconds = 'soon': input should be a valid number"),
        (FLEET + "gpus: 3\n", "gpus: is not a field here: there are engine, loadSeconds, warmReplicas, pool,"),
        (FLEET.replace("warmReplicas: 2\n", ""), "warmReplicas: is required"),
        ("- 1\n", "must be a mapping of fields"),
        ("{", "not YAML"),
    ],
)
def test_a_fault_of_the_fleet_is_one_line_with_its_place(tmp_path: Path, fleet: str, fault: str) -> None:
    with pytest.raises(UserError) as raised:
        simulate(asked(tmp_path, fleet=fleet))

    assert fault in str(raised.value)
    assert str(raised.value).startswith(f"--fleet {tmp_path / 'fleet.yaml'}: ")
    assert "\n" not in str(raised.value)


def test_every_fault_of_the_fleet_gets_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        simulate(asked(tmp_path, fleet="loadSeconds: 0\nwarmReplicas: -1\n"))

    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("difference", "fault"),
    [
        ({"trace": "nowhere.csv"}, "nowhere.csv: cannot be read"),
        ({"fleet": FLEET.replace("L40S", "L4")}, "engine = llama-3.1-8b/L4: must be llama-3.1-8b/H100"),
        ({"window": "night"}, "--window night: must be rise, whole, or a day"),
        ({"window": "day-1"}, "--window day-1: azure2023-conv is a recording"),
        ({"trace": "servegen-deepseek-r1", "window": "day-1"}, "servegen-deepseek-r1: the window from 86400"),
        ({"policy": EXAMPLES / "release.yaml"}, "spec.versions: must be one version with one target of role Serve"),
        ({"policy": EXAMPLES / "none.yaml"}, "none.yaml"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(tmp_path: Path, difference: dict[str, str], fault: str) -> None:
    with pytest.raises(UserError) as raised:
        simulate(asked(tmp_path, **difference))  # type: ignore[arg-type]  # the difference is named by the test

    assert fault in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UserError, match=r"--out .*: cannot be written"):
        simulate(asked(tmp_path, out="file", fleet=FLEET.replace("pool: 1", "pool: 0.01")))


def test_schedules_follow_the_time_of_the_run() -> None:
    policy_at = policies_of(_document(EXAMPLES / "one-version.yaml"))

    for days in (0, 3, 6):
        windows = policy_at(days * 86_400.0 + 3600.0).warm_windows
        assert any(window.until_s > days * 86_400.0 for window in windows)
