"""Published series: what they are read as, which parts of them are looked at, and what is wrong with others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.sim.rates import DAY_S, Rates, Window, day, is_series, parsed_rates, steepest
from scaler.sim.trace import TraceError
from scaler.sim.workload import Rated, opened


def series(*rps: float) -> Rates:
    return Rates(name="test", rps=np.array(rps, dtype=np.float64), sd_rps=np.zeros(len(rps)))


def shipped(name: str) -> Rates:
    traffic = opened(name)
    assert isinstance(traffic, Rated)
    return traffic.rates


@pytest.mark.parametrize(
    ("name", "days", "mean_rps", "peak"),
    [
        ("azure2024-conv", 7, 45.1, 1.76),
        ("servegen-m-large", 7, 209.5, 2.78),
        ("servegen-deepseek-r1", 1, 16.0, 2.66),
        ("o365-c-prod", 7, 13.2, 5.0),
    ],
)
def test_the_shipped_series_have_the_means_and_peaks_that_were_published(
    name: str, days: int, mean_rps: float, peak: float
) -> None:
    rates = shipped(name)

    assert rates.span_s == pytest.approx(days * DAY_S, abs=60)
    assert rates.mean_rps == pytest.approx(mean_rps, rel=0.01)
    assert rates.rps.max() / rates.mean_rps == pytest.approx(peak, rel=0.03)


def test_only_the_series_in_minutes_tells_of_the_noise_of_one() -> None:
    assert shipped("azure2024-conv").sd_rps.mean() == pytest.approx(0.07 * 45.1, rel=0.2)
    assert not shipped("servegen-m-large").sd_rps.any()


def test_the_mean_of_a_bin_stands_in_its_middle() -> None:
    rates = parsed_rates("test", "t,rps\n0,10\n10,20\n", 1.0)

    assert rates.rps[:5].tolist() == [10.0] * 5
    assert rates.rps[9:11].tolist() == [14.5, 15.5]
    assert rates.rps[15:].tolist() == [20.0] * 5


def test_prompt_tokens_become_requests_of_the_mean_length() -> None:
    rates = parsed_rates("test", "minute,prompt_tokens\n0,6000\n1,6000\n2,6000\n", 50.0)

    assert rates.span_s == 180.0
    assert np.allclose(rates.rps, 2.0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("t,rps\n0,1\n", "line 3: must be a row of a series"),
        ("t,rps\n0,1\n600\n", "line 3: must have 2 columns and has 1"),
        ("t,rps\n0,1\n600,much\n", "line 3: rps = much: must be a number of at least 0"),
        ("t,rps\n0,1\n600,nan\n", "line 3: rps = nan: must be a number"),
        ("t,rps\n0,1\n600,-1\n", "line 3: rps = -1: must be a number"),
        ("t,rps\n0,1\n600,inf\n", "line 3: rps = inf: must be a number"),
        ("t,rps\n600,1\n600,1\n", "line 3: t must be after that of the line above"),
    ],
)
def test_a_faulty_series_is_told_by_line_and_limit(text: str, fault: str) -> None:
    assert is_series(text)
    with pytest.raises(TraceError, match=r"^test: ") as raised:
        parsed_rates("test", text, 1.0)

    assert fault in str(raised.value)


def test_the_steepest_rise_is_in_the_middle_of_its_window() -> None:
    rise = np.linspace(1.0, 3.0, 480).tolist()
    rates = series(*[1.0] * 5760, *rise, *[3.0] * 5760)

    assert steepest(rates, 2000) == Window(from_s=5000, until_s=7000)


@pytest.mark.parametrize(
    ("step_s", "window"), [(400, Window(from_s=0, until_s=2000)), (7600, Window(from_s=6000, until_s=8000))]
)
def test_a_rise_near_an_end_has_its_window_there(step_s: int, window: Window) -> None:
    rates = series(*[1.0] * step_s, *[3.0] * (8000 - step_s))

    assert steepest(rates, 2000) == window


def test_a_day_that_the_series_does_not_hold_is_refused() -> None:
    assert shipped("servegen-deepseek-r1").within(day(0)).span_s == DAY_S
    with pytest.raises(TraceError, match="servegen-deepseek-r1: the window from 86400 to 172800 s must lie in 86400 s"):
        shipped("servegen-deepseek-r1").within(day(1))


@given(factor=st.floats(0.01, 100.0))
def test_more_traffic_has_the_same_shape(factor: float) -> None:
    """Kills a factor that leaves the noise as it was."""
    rates = Rates(name="test", rps=np.array([1.0, 2.0]), sd_rps=np.array([0.5, 0.25]))

    more = rates.times(factor)

    assert np.allclose(more.rps / more.sd_rps, rates.rps / rates.sd_rps)
    assert more.mean_rps == pytest.approx(factor * rates.mean_rps)
