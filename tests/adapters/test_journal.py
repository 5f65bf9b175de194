"""The journal keeps every decision, whole, and gives it back to the bit."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.adapters.journal import FileJournal, JournalError, names, read, rotated
from scaler.runtime.ports import TransientError
from scaler.runtime.retelling import differences
from tests.builders import NAME, START_S, fleet, load, lost, ready, seen, starting
from tests.fakes import OTHER
from tests.runtime.test_retelling import record_at


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


def test_a_record_comes_back_as_it_was(path: Path) -> None:
    record = record_at(START_S)

    FileJournal(path=path).record([record])

    assert [line.record for line in read(path)] == [record]


@given(running=st.floats(0.0, 1e5), kv_usage=st.floats(0.0, 1.0), at_s=st.floats(0.0, 1e10))
def test_every_float_comes_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, running: float, kv_usage: float, at_s: float
) -> None:
    path = tmp_path_factory.mktemp("journal") / "decisions.jsonl"
    told = load(running=running, kv_usage=kv_usage, at_s=at_s)
    record = replace(record_at(START_S), observation=seen(fleet(ready(load=told), starting(), lost())))

    FileJournal(path=path).record([record])

    (line,) = read(path)
    fleet_seen = line.record.observation.fleets[0].fleet
    assert repr(fleet_seen) == repr(record.observation.fleets[0].fleet)


def test_a_decision_read_back_is_decided_again_without_a_difference(path: Path) -> None:
    FileJournal(path=path).record([record_at(START_S)])

    assert [differences(line.record) for line in read(path)] == [()]


def test_the_lines_of_one_policy_are_read_without_the_others(path: Path) -> None:
    own = record_at(START_S)
    other = replace(own, policy=replace(own.policy, name=OTHER))
    FileJournal(path=path).record([own, other])

    assert [line.name for line in read(path, NAME)] == [NAME]
    assert names(path) == {NAME, OTHER}


def test_a_name_that_begins_like_another_one_is_not_taken_for_it(path: Path) -> None:
    own = record_at(START_S)
    FileJournal(path=path).record([replace(own, policy=replace(own.policy, name=f"{NAME}-70b"))])

    assert list(read(path, NAME)) == []


def test_a_full_file_is_rotated_and_named_for_its_last_decision(path: Path) -> None:
    record = record_at(START_S)
    FileJournal(path=path).record([record])
    size = path.stat().st_size
    journal = FileJournal(path=path, most_bytes=size * 2 + size // 2)

    for later in range(1, 4):
        journal.record([record_at(START_S + later)])

    assert [file.name for file in rotated(path)] == ["decisions-19700112T134641Z.jsonl"]
    assert [line.at_s for file in (*rotated(path), path) for line in read(file)] == [START_S + n for n in range(4)]


def test_an_old_file_is_rotated_however_small(path: Path) -> None:
    journal = FileJournal(path=path, oldest_s=60.0)

    for at_s in (START_S, START_S + 59.0, START_S + 60.0):
        journal.record([record_at(at_s)])

    assert [line.at_s for line in read(path)] == [START_S + 60.0]


def test_the_age_of_a_file_outlives_the_process(path: Path) -> None:
    FileJournal(path=path).record([record_at(START_S)])

    FileJournal(path=path, oldest_s=60.0).record([record_at(START_S + 60.0)])

    assert len(rotated(path)) == 1


def test_two_rotations_within_a_second_keep_both_files(path: Path) -> None:
    journal = FileJournal(path=path, most_bytes=1)

    for _ in range(3):
        journal.record([record_at(START_S)])

    assert len(rotated(path)) == 2


def test_only_the_newest_rotated_files_stay(path: Path) -> None:
    journal = FileJournal(path=path, most_bytes=1, kept=2)

    for later in range(5):
        journal.record([record_at(START_S + later)])

    assert [line.at_s for file in (*rotated(path), path) for line in read(file)] == [START_S + n for n in (2, 3, 4)]


def test_a_line_that_a_crash_cut_off_goes_and_the_rest_stays(path: Path) -> None:
    journal = FileJournal(path=path)
    journal.record([record_at(START_S), record_at(START_S + 15.0)])
    path.write_bytes(path.read_bytes()[:-10])

    assert [line.at_s for line in read(path)] == [START_S]
    FileJournal(path=path).record([record_at(START_S + 30.0)])
    assert [line.at_s for line in read(path)] == [START_S, START_S + 30.0]


def test_a_line_that_is_no_decision_is_named(path: Path) -> None:
    FileJournal(path=path).record([record_at(START_S)])
    with path.open("ab") as file:
        file.write(b'{"format":2}\n')

    with pytest.raises(JournalError, match=r"decisions.jsonl, line 2: not a decision in format 1"):
        list(read(path))


def test_a_journal_that_cannot_be_written_is_a_passing_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(TransientError, match="cannot be written"):
        FileJournal(path=tmp_path / "file" / "decisions.jsonl").record([record_at(START_S)])


def test_no_records_make_no_file(path: Path) -> None:
    FileJournal(path=path).record([])

    assert not path.exists()


def test_what_was_recorded_is_there_before_the_call_returns(path: Path) -> None:
    journal = FileJournal(path=path)

    journal.record([record_at(START_S)])

    assert path.read_bytes().endswith(b"\n")
