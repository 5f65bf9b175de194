"""The process's settings come from flags, environment and file, and every fault is told at once."""

from pathlib import Path

import pytest

from scaler.settings import SettingsFaults, settings_from


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "TICK_SECONDS", "NAMESPACES"):
        monkeypatch.delenv(f"FOREBAY_{name}", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def faults_of(*words: str) -> tuple[str, ...]:
    with pytest.raises(SettingsFaults) as told:
        settings_from(words)
    return told.value.faults


def test_a_process_without_words_has_all_its_defaults() -> None:
    settings = settings_from([])

    assert settings.tick_seconds == 15.0
    assert settings.namespaces == []
    assert settings.keda_listen_on is None


def test_a_flag_wins_over_the_environment_and_that_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("tickSeconds: 40\nleaseSeconds: 40\njournalKept: 40\n")
    monkeypatch.setenv("FOREBAY_TICK_SECONDS", "30")
    monkeypatch.setenv("FOREBAY_LEASE_SECONDS", "30")

    settings = settings_from(["--config", str(file), "--tick-seconds", "20"])

    assert (settings.tick_seconds, settings.lease_seconds, settings.journal_kept) == (20.0, 30.0, 40)


def test_the_file_may_be_named_by_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("tickSeconds: 40\n")
    monkeypatch.setenv("FOREBAY_CONFIG", str(file))

    assert settings_from([]).tick_seconds == 40.0


def test_several_namespaces_are_named_by_repeating_or_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_NAMESPACES", "models, chat")

    assert settings_from([]).namespaces == ["models", "chat"]
    assert settings_from(["--namespaces", "a,b", "--namespaces", "c"]).namespaces == ["a", "b", "c"]


def test_what_kubernetes_sets_beside_a_service_of_our_name_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_PORT", "tcp://10.96.0.1:443")
    monkeypatch.setenv("FOREBAY_SERVICE_HOST", "10.96.0.1")

    assert settings_from([]).listen_on == 8081


def test_all_faults_are_told_at_once(file: Path) -> None:
    file.write_text("journalKept: 0\nlogLevel: loud\nbogusKey: 1\n")

    faults = faults_of("--config", str(file), "--tick-seconds", "soon")

    assert [fault.split()[0].rstrip(":") for fault in faults] == [
        "--tick-seconds",
        "--journal-kept",
        "--log-level",
        "--bogus-key",
    ]


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (("--bogus", "1"), "--bogus"),
        (("--tick-seconds", "0"), "greater than or equal to 1"),
        (("--tick-seconds", "nan"), "--tick-seconds"),
        (("--lease-seconds", "1"), "greater than or equal to 3"),
        (("--tick-seconds", "5"), "must be below --tick-seconds (5)"),
        (("--prometheus-username", "me"), "--prometheus-password-file: is required"),
        (("--prometheus-client-key-file", "key"), "--prometheus-client-certificate-file: is required"),
        (
            ("--prometheus-bearer-token-file", "t", "--prometheus-username", "me", "--prometheus-password-file", "p"),
            "must be left out with --prometheus-username",
        ),
        (("--prometheus-urls", ""), "--prometheus-urls"),
        (("--keda-listen-on", "1", "--keda-key-file", "key"), "--keda-certificate-file: is required"),
        (("--keda-certificate-file", "c", "--keda-key-file", "k"), "--keda-listen-on: is required"),
        (("--keda-listen-on", "1", "--keda-client-ca-file", "ca"), "of no use without --keda-certificate-file"),
        (("--keda-listen-on", "8081"), "must differ from --listen-on"),
        (("--config", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
    ],
)
def test_a_fault_names_the_setting_and_the_limit(words: tuple[str, ...], tells: str) -> None:
    (fault,) = faults_of(*words)

    assert tells in fault


@pytest.mark.parametrize("text", ["- a list", "{", "a: &x 1\nb: [", "tickSeconds: 15\n" + "#" * 2**20])
def test_a_file_that_is_no_mapping_is_refused_in_one_line(file: Path, text: str) -> None:
    file.write_text(text)

    (fault,) = faults_of("--config", str(file))

    assert fault.startswith(f"--config {file}: ")
    assert "\n" not in fault


def test_two_free_ports_are_no_clash() -> None:
    settings = settings_from(["--listen-on", "0", "--keda-listen-on", "0"])

    assert (settings.listen_on, settings.keda_listen_on) == (0, 0)


def test_settings_cannot_be_changed_later() -> None:
    settings = settings_from([])

    with pytest.raises(ValueError, match="frozen"):
        settings.tick_seconds = 1.0  # type: ignore[misc]  # the point of the test
