"""One scanner: occupied or not, after how many scans, and where."""

import dataclasses
import math

import numpy as np
import pytest

from safety_reflex.cdr import Scan
from safety_reflex.profile import Lidar
from safety_reflex.reasons import Reason
from safety_reflex.scan_check import ScanLimits
from safety_reflex.scanner import Scanner
from safety_reflex.shapes import circle

MS, BEAMS, STEP = 1_000_000, 360, math.radians(1)
LIDAR = Lidar('front', 'scan', (0.0, 0.0, 0.0), BEAMS, -math.pi, STEP, 40.0, 20.0)
LIMITS = ScanLimits(BEAMS, -math.pi, STEP, 0.05, 0.8, 0.2, 20.0, 1000, 250 * MS, 50 * MS, 25 * MS,
                    50 * MS)
SMALL, LARGE = circle(1.0), circle(2.0)
DOCK = ((0.3, -0.3), (1.5, -0.3), (1.5, 0.3), (0.3, 0.3))


class Source:
    def __init__(self, lidar=LIDAR, min_points=2, scans=1):
        self.scanner = Scanner(lidar, [SMALL, LARGE], [DOCK], LIMITS, min_points, scans)
        self.now = 0

    def see(self, ranges=None, at=None, muted=None, step_ms=25):
        """Ranges of 5 m, with those of `at` (beam -> metres) put in."""
        self.now += step_ms * MS
        found = np.full(BEAMS, 5.0, np.float32) if ranges is None else ranges
        for beam, distance in (at or {}).items():
            found[beam] = distance
        self.scanner.take(Scan(self.now, b'', -math.pi, STEP, 0.05, 20.0, found),
                          self.now, self.now, muted)
        return self.scanner.occupied.tolist()


def test_a_field_is_occupied_by_enough_beams():
    source = Source()
    assert source.see() == [False, False]
    assert source.see(at={10: 1.5}) == [False, False]
    assert source.see(at={10: 1.5, 200: 1.5}) == [False, True]
    assert source.see(at={10: 0.5, 11: 0.6}) == [True, True]
    assert source.see() == [False, False]


@pytest.mark.parametrize('near', [-math.inf, 0.01, 0.0])
def test_too_close_is_inside_every_field(near):
    assert Source(min_points=1).see(at={7: near}) == [True, True]
    assert Source(min_points=2).see(at={7: near}) == [False, False]
    assert Source(min_points=2).see(at={7: near, 8: 0.5}) == [True, True]


@pytest.mark.parametrize('far', [math.inf, math.nan, 5.0])
def test_what_is_no_object_is_in_none(far):
    assert Source(min_points=1).see(at={7: far}) == [False, False]


def test_debounce_counts_distinct_scans():
    source = Source(scans=3)
    assert not any(source.see(at={10: 1.5, 11: 1.5})[1] for _ in range(2))
    # The same scan again is no third one.
    source.scanner.take(Scan(source.now, b'', -math.pi, STEP, 0.05, 20.0,
                             np.full(BEAMS, 1.5, np.float32)), source.now, source.now, None)
    assert source.scanner.occupied.tolist() == [False, False]
    assert Reason.SCAN_STAMP in source.scanner.reasons
    assert source.see(at={10: 1.5, 11: 1.5}) == [False, True]
    assert source.see() == [False, False]
    assert source.see(at={10: 1.5, 11: 1.5}) == [False, False]


def test_the_nearest_beam_is_told():
    source = Source()
    source.see(at={10: 1.5, 11: 0.7, 12: 0.8})
    sighting = source.scanner.sighting(1)
    assert (sighting.source, sighting.beam) == ('front', 11)
    assert sighting.distance_m == pytest.approx(0.7)
    source.see()
    assert source.scanner.sighting(1) is None


def test_muting_blinds_only_its_region():
    source = Source()
    ahead, aside = {180: 0.6, 181: 0.6}, {90: 0.6, 91: 0.6}
    assert source.see(at=ahead) == [True, True]
    assert source.see(at=ahead, muted=0) == [False, False]
    assert source.see(at=ahead | aside, muted=0) == [True, True]
    assert source.see(at=dict.fromkeys((180, 181), 0.01), muted=0) == [True, True]


def test_a_scan_of_another_geometry_and_a_malformed_one_are_reasons():
    source = Source()
    source.see(np.full(300, 5.0, np.float32))
    assert Reason.SCAN_GEOMETRY in source.scanner.reasons
    source.see()
    assert source.scanner.reasons == set()
    source.scanner.malformed()
    assert source.scanner.reasons == {Reason.SCAN_MALFORMED}


def test_dirt_on_the_window_is_no_point():
    source = Source()
    source.see(at={7: 0.01})
    assert len(source.scanner.points(2.0)) == 0
    source.see(at={7: 0.01, 8: 0.01})
    assert len(source.scanner.points(2.0)) == 2


def test_points_lie_where_a_turned_scanner_sees_them():
    lidar = dataclasses.replace(LIDAR, pose=(0.3, -0.2, math.pi / 2))
    source = Source(lidar)
    source.see(at={180: 1.0})            # beam 180 looks along the scanner's own x
    assert source.scanner.points(2.0) == pytest.approx(np.array([[0.3, 0.8]]), abs=1e-6)
