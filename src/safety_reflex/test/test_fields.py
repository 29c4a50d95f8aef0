"""Fields against arithmetic of another kind: shapely, and hand-made numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon

from safety_reflex.fields import Approach, FieldSet, beam_limits, derive, derived_sets, in_use
from safety_reflex.shapes import area, circle, clearance, corner_radius, crosses_itself

FOOTPRINT = ((-0.4, -0.3), (0.4, -0.3), (0.4, 0.3), (-0.4, 0.3))
APPROACH = Approach(walking_speed_mps=1.6, side_walking_speed_mps=1.6, reaction_s=0.15,
                    braking_mps2=1.5, supplement_m=0.15)
BEAMS, FIRST, STEP = 720, -math.pi, math.radians(0.5)


def field(speed):
    return derived_sets(APPROACH, [speed], FOOTPRINT)[0][0].polygon


def count(limits, ranges):
    return np.count_nonzero((ranges <= limits.far) & (ranges >= limits.near))


def test_lengths_by_hand():
    lengths = derive(APPROACH, 0.75)
    assert lengths.stop_time_s == pytest.approx(0.65)
    assert lengths.side_m == pytest.approx(1.6 * 0.65 + 0.15)
    assert lengths.front_m == pytest.approx(0.75 * 0.15 + 0.75 ** 2 / 3 + 1.6 * 0.65 + 0.15)


def test_a_faster_set_holds_every_slower_one():
    limits = [beam_limits(field(v), (0, 0, 0), FIRST, STEP, BEAMS) for v in (0.1, 0.4, 0.9)]
    assert np.all(limits[0].far < limits[1].far)
    assert np.all(limits[1].far < limits[2].far)
    assert corner_radius(FOOTPRINT) == pytest.approx(0.5)


def test_the_ladder_holds_a_robot_two_speeds_below_what_is_occupied():
    sets, slow = derived_sets(APPROACH, [0.1, 0.4, 0.9], FOOTPRINT)
    assert [s.polygon for s in sets] == [s.polygon for s in slow]
    assert [s.limit_mps for s in slow] == [0.05, 0.05, 0.1]


def test_sets_are_switched_by_speed_and_turn_rate_and_a_gap_takes_all():
    square = circle(1.0)
    sets = (FieldSet('left', square, (0.0, 0.5), (0.1, 1.0)),
            FieldSet('straight', square, (0.0, 0.5), (-0.1, 0.1)),
            FieldSet('back', square, (-0.2, 0.0)))
    assert in_use(sets, 0.3, 0.5, 0.55) == (0,)
    assert in_use(sets, 0.3, 0.0, 0.3) == (1,)
    assert in_use(sets, -0.1, 0.0, 0.1) == (2,)
    assert in_use(sets, 0.3, -0.5, 0.55) == (0, 1, 2)
    assert in_use(sets, 0.6, 0.0, 0.6) == (0, 1, 2)


def test_a_circle_is_never_smaller_than_it_says():
    shape = Polygon(circle(0.7, (0.2, 0.1)))
    assert shape.contains(Point(0.2, 0.1).buffer(0.7 - 1e-9))
    assert shape.area < 1.01 * math.pi * 0.49


STAR = ((2.0, 0.0), (0.5, 0.5), (0.0, 2.0), (-0.5, 0.5), (-2.0, 0.0), (0.0, -1.0))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([field(0.6), STAR]),
       st.floats(-0.3, 0.3), st.floats(-0.2, 0.2), st.floats(-3, 3),
       st.integers(0, BEAMS - 1), st.floats(0.02, 5.0))
def test_a_point_is_inside_where_shapely_says_so(polygon, x, y, yaw, beam, distance):
    limits = beam_limits(polygon, (x, y, yaw), FIRST, STEP, BEAMS)
    ranges = np.full(BEAMS, np.inf, np.float32)
    ranges[beam] = distance
    angle = yaw + FIRST + beam * STEP
    hit = Point(x + distance * math.cos(angle), y + distance * math.sin(angle))
    shape = Polygon(polygon)
    if shape.exterior.distance(hit) < 1e-3 - 1e-6:
        assert count(limits, ranges) == 1
        return
    if shape.exterior.distance(hit) < 1e-3 + 1e-6:
        return
    if shape.contains(hit):
        assert count(limits, ranges) == 1
    elif shape.convex_hull.equals(shape):
        assert count(limits, ranges) == 0


def test_a_scanner_outside_its_field_sees_only_the_field():
    square = ((1.0, -0.5), (2.0, -0.5), (2.0, 0.5), (1.0, 0.5))
    limits = beam_limits(square, (0, 0, 0), -0.1, 0.1, 3)
    for distance, inside in ((0.9, 0), (1.1, 3), (1.9, 3), (2.1, 0)):
        assert count(limits, np.full(3, distance, np.float32)) == inside


def test_what_is_not_a_distance_is_not_inside():
    limits = beam_limits(field(0.6), (0, 0, 0), FIRST, STEP, BEAMS)
    for value in (np.inf, np.nan):
        assert count(limits, np.full(BEAMS, value, np.float32)) == 0


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([FOOTPRINT, STAR]),
       st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=20))
def test_clearance_is_what_shapely_measures(polygon, points):
    shape = Polygon(polygon)
    found = clearance(np.array(points), polygon)
    for (x, y), distance in zip(points, found, strict=True):
        wanted = shape.exterior.distance(Point(x, y))
        assert abs(distance) == pytest.approx(wanted, abs=1e-9)
        if wanted > 1e-6:
            assert (distance < 0) == shape.contains(Point(x, y))


def test_polygons_are_told_apart():
    assert area(FOOTPRINT) == pytest.approx(0.48)
    assert area(FOOTPRINT[::-1]) == pytest.approx(-0.48)
    assert not crosses_itself(STAR)
    assert crosses_itself(((0, 0), (1, 1), (1, 0), (0, 1)))
