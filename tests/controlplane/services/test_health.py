"""Contract 7.1: the formula and its boundaries."""

import pytest

from controlplane.services.health import health_score, status


@pytest.mark.parametrize(
    ("age", "points"),
    [(0, 50), (59.9, 50), (60, 50), (75, 25), (89.7, 0.5), (90, 0), (91, 0), (10_000, 0), (None, 0)],
)
def test_heartbeat_points(age, points):
    health = health_score(age, 0, 0)
    assert health.heartbeat_points == pytest.approx(points)
    assert health.success_points == 50
    assert health.score == pytest.approx(50 + points)


@pytest.mark.parametrize(
    ("succeeded", "total", "points"),
    [(0, 0, 50), (0, 1, 0), (1, 1, 50), (1, 2, 25), (1, 3, 50 / 3), (999, 1000, 49.95)],
)
def test_success_points(succeeded, total, points):
    assert health_score(0, succeeded, total).success_points == pytest.approx(points)


def test_score_is_between_0_and_100():
    assert health_score(0, 5, 5).score == 100
    assert health_score(90, 0, 5).score == 0


@pytest.mark.parametrize(
    ("age", "said_offline", "errors", "succeeded", "total", "expected"),
    [
        (0, False, False, 0, 0, "online"),
        (89.9, False, False, 0, 0, "online"),
        (90, False, False, 0, 0, "offline"),
        (None, False, False, 0, 0, "offline"),
        (0, True, False, 0, 0, "offline"),
        (0, False, True, 0, 0, "degraded"),
        (95, False, True, 0, 0, "offline"),
        (0, False, False, 0, 4, "online"),
        (0, False, False, 2, 5, "degraded"),
        (0, False, False, 3, 5, "online"),
        (0, False, False, 3, 6, "online"),
        (0, False, False, 2, 6, "degraded"),
    ],
)
def test_status(age, said_offline, errors, succeeded, total, expected):
    found = status(age, said_offline=said_offline, reports_errors=errors, succeeded=succeeded, total=total)
    assert found == expected
