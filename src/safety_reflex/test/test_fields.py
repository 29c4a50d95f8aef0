"""Fields against arithmetic of another kind: shapely, and hand-made numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon

from safety_reflex.fields import Approach, beam_limits, corner_radius, derive, table

FOOTPRINT = ((-0.4, -0.3), (0.4, -0.3), (0.4, 0.3), (-0.4, 0.3))
APPROACH = Approach(walking_speed_mps=1.6, reaction_s=0.15, braking_mps2=1.5, supplement_m=0.15)
BEAMS, FIRST, STEP = 720, -math.pi, math.radians(0.5)


def test_lengths_by_hand():
    field = derive(APPROACH, 0.75, FOOTPRINT)
    assert field.stop_time_s == pytest.approx(0.65)
    assert field.side_m == pytest.approx(1.6 * 0.65 + 0.15)
    assert field.front_m == pytest.approx(0.75 * 0.15 + 0.75 ** 2 / 3 + 1.6 * 0.65 + 0.15)


def test_a_faster_set_holds_every_slower_one():
    sets = [derive(APPROACH, v, FOOTPRINT) for v in (0.1, 0.4, 0.9)]
    limits = [beam_limits(s.polygon, (0, 0, 0), FIRST, STEP, BEAMS) for s in sets]
    assert np.all(limits[0].far < limits[1].far)
    assert np.all(limits[1].far < limits[2].far)
    assert corner_radius(FOOTPRINT) == pytest.approx(0.5)
    assert '| 0.90 |' in table(sets, APPROACH)


STAR = ((2.0, 0.0), (0.5, 0.5), (0.0, 2.0), (-0.5, 0.5), (-2.0, 0.0), (0.0, -1.0))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([derive(APPROACH, 0.6, FOOTPRINT).polygon, STAR]),
       st.floats(-0.3, 0.3), st.floats(-0.2, 0.2), st.floats(-3, 3),
       st.integers(0, BEAMS - 1), st.floats(0.02, 5.0))
def test_a_point_is_inside_where_shapely_says_so(polygon, x, y, yaw, beam, distance):
    limits = beam_limits(polygon, (x, y, yaw), FIRST, STEP, BEAMS)
    ranges = np.full(BEAMS, np.inf, np.float32)
    ranges[beam] = distance
    angle = yaw + FIRST + beam * STEP
    hit = Point(x + distance * math.cos(angle), y + distance * math.sin(angle))
    shape = Polygon(polygon)
    if shape.exterior.distance(hit) < 1e-3:
        return
    if shape.contains(hit):
        assert limits.count(ranges) == 1
    elif shape.convex_hull.equals(shape):
        assert limits.count(ranges) == 0


def test_a_scanner_outside_its_field_sees_only_the_field():
    square = ((1.0, -0.5), (2.0, -0.5), (2.0, 0.5), (1.0, 0.5))
    limits = beam_limits(square, (0, 0, 0), -0.1, 0.1, 3)
    for distance, inside in ((0.9, 0), (1.1, 3), (1.9, 3), (2.1, 0)):
        assert limits.count(np.full(3, distance, np.float32)) == inside


def test_what_is_not_a_distance_is_not_inside():
    limits = beam_limits(derive(APPROACH, 0.6, FOOTPRINT).polygon, (0, 0, 0), FIRST, STEP, BEAMS)
    for value in (np.inf, np.nan):
        assert limits.count(np.full(BEAMS, value, np.float32)) == 0
