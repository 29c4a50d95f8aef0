"""Where a motion leads, against a fine simulation of the same arc."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from safety_reflex.motion import carried, leads_away, time_to_collision
from safety_reflex.shapes import clearance

FOOTPRINT = ((-0.4, -0.3), (0.4, -0.3), (0.4, 0.3), (-0.4, 0.3))
RADIUS = 0.5


def driven(point, v, w, t_s, steps=4000):
    """A fine Euler integration of what the robot sees of a point at rest."""
    x, y = point
    dt = t_s / steps
    for _ in range(steps):
        x, y = x + (w * y - v) * dt, y - w * x * dt
    return x, y


@pytest.mark.parametrize(('v', 'w'), [(0.5, 0.0), (0.5, 0.8), (-0.2, 1.2), (0.0, -1.0)])
def test_an_arc_by_integration(v, w):
    point = (1.3, -0.7)
    assert carried(np.array([point]), v, w, 1.5)[0] == pytest.approx(driven(point, v, w, 1.5),
                                                                     abs=1e-3)


def test_straight_ahead_by_hand():
    ahead = np.array([[1.4, 0.0]])
    time_s = time_to_collision(ahead, FOOTPRINT, RADIUS, 0.5, 0.0, 3.0)
    assert 2.0 - 2 * 3.0 / 16 <= time_s <= 2.0
    assert time_to_collision(ahead, FOOTPRINT, RADIUS, -0.2, 0.0, 3.0) == math.inf
    assert time_to_collision(ahead, FOOTPRINT, RADIUS, 0.0, 0.0, 3.0) == math.inf
    assert time_to_collision(np.empty((0, 2)), FOOTPRINT, RADIUS, 0.5, 0.0, 3.0) == math.inf


@settings(max_examples=150, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-0.2, 0.9), st.floats(-1.2, 1.2))
def test_a_collision_is_never_told_too_late(x, y, v, w):
    assume(v != 0.0 or w != 0.0)
    point, horizon = np.array([[x, y]]), 2.0
    told = time_to_collision(point, FOOTPRINT, RADIUS, v, w, horizon)
    for t_s in np.linspace(0.0, horizon, 101):
        if clearance(carried(point, v, w, t_s), FOOTPRINT).min() <= 0.0:
            assert told <= t_s
            return


def test_an_escape_leads_away_from_the_nearest():
    ahead = np.array([[0.6, 0.0], [3.0, 2.0]])
    assert leads_away(ahead, FOOTPRINT, -0.1, 0.0)
    assert not leads_away(ahead, FOOTPRINT, 0.1, 0.0)
    assert not leads_away(ahead, FOOTPRINT, 0.0, 0.5)
    both = np.array([[0.6, 0.0], [-0.6, 0.0]])
    assert not leads_away(both, FOOTPRINT, -0.1, 0.0)
    assert not leads_away(np.array([[0.0, 0.0]]), FOOTPRINT, -0.1, 0.0)
    assert leads_away(np.empty((0, 2)), FOOTPRINT, -0.1, 0.0)
