"""The time left, against hand-computed proportions."""

from __future__ import annotations

import pytest

from interlingua.cli import progress
from interlingua.cli.progress import Stages, minutes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands where it is put."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_plan_is_scaled_by_what_was_measured(clock: list[float]) -> None:
    # Planned 10 + 30; the first took 20, twice the plan, so that the second will take 60; half of it done, 30.
    with Stages({"a": 10, "b": 30}) as stages:
        stages.stage("a", 0, 4)
        assert stages.seconds_left() == 40
        clock[0] = 10
        stages.stage("a", 2, 4)
        assert stages.seconds_left() == pytest.approx(70)
        clock[0] = 20
        stages.stage("b", 0, 1)
        assert stages.seconds_left() == pytest.approx(60)
        clock[0] = 50
        stages.stage("b", 1, 2)
        assert stages.seconds_left() == pytest.approx(30)


def test_what_was_found_finished_is_no_measure(clock: list[float]) -> None:
    # Planned 5 + 100 + 40 + 30; the second is over with its first word and the third says nothing: 5 took 10, twice the
    # plan, so that 30 will take 60.
    with Stages({"load": 5, "teach": 100, "check": 40, "score": 30}) as stages:
        stages.stage("load", 0, 1)
        assert stages.seconds_left() == 175
        clock[0] = 10
        stages.stage("load", 1, 1)
        stages.stage("teach", 1, 1)
        stages.stage("score", 0, 10)
        assert stages.seconds_left() == pytest.approx(60)
        clock[0] = 40
        stages.stage("score", 5, 10)
        assert stages.seconds_left() == pytest.approx(30)  # 20 of 35 planned took 40


def test_without_a_plan_a_stage_speaks_for_itself(clock: list[float]) -> None:
    # A quarter in 5 seconds: 15 to go. Before anything is known: nothing is said.
    with Stages() as stages:
        stages.stage("score", 0, 4)
        assert stages.seconds_left() is None
        clock[0] = 5
        stages.stage("score", 1, 4)
        assert stages.seconds_left() == pytest.approx(15)
        # Another stage, of which nobody knew: how long the first took says nothing about it.
        clock[0] = 100
        stages.stage("b", 0, 10)
        assert stages.seconds_left() is None
        clock[0] = 107
        stages.stage("b", 1, 10)
        assert stages.seconds_left() == pytest.approx(63)


def test_lines_where_there_is_no_terminal(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    # One line every ten seconds and one at the end, all on stderr.
    with Stages() as stages:
        for second in range(0, 31):
            clock[0] = float(second)
            stages.stage("work", second, 30, "loss 1.0")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[1].split(",")[0].strip() for line in err.splitlines()] == ["10/30", "20/30", "done"]
    assert "0:20 left  loss 1.0" in err


def test_minutes() -> None:
    # By hand.
    assert [minutes(s) for s in (0, 59.6, 61, 3599)] == ["0:00", "1:00", "1:01", "59:59"]
