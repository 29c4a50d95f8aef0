"""A scan that proves nothing never reads as clear."""

import math

import numpy as np
import pytest

from safety_reflex.cdr import Scan
from safety_reflex.reasons import Reason
from safety_reflex.scan_check import ScanCheck, ScanLimits

MS = 1_000_000
LIMITS = ScanLimits(beams=360, angle_min_rad=-math.pi, angle_increment_rad=math.radians(1),
                    max_invalid_share=0.05, max_nothing_share=0.8, max_blocked_rad=0.1,
                    range_max_m=20.0, frozen_scans=3, max_age_ns=250 * MS,
                    max_ahead_ns=50 * MS, period_ns=25 * MS,
                    slowest_period_ns=50 * MS)
RNG = np.random.default_rng(1)


def scan(stamp=1, ranges=None, **changes):
    good = {'frame_id': b'', 'angle_min_rad': -math.pi, 'angle_increment_rad': math.radians(1),
            'range_min_m': 0.05, 'range_max_m': 20.0}
    if ranges is None:
        ranges = 5 + RNG.normal(0, 0.01, 360)
    return Scan(stamp_ns=stamp, ranges=np.asarray(ranges, np.float32), **(good | changes))


def checked(check, found):
    """Arrives when it is stamped."""
    return check.check(found, found.stamp_ns, found.stamp_ns)


def filled(value, where=slice(None)):
    ranges = 5 + RNG.normal(0, 0.01, 360)
    ranges[where] = value
    return ranges


def test_good_scans_pass():
    check = ScanCheck(LIMITS)
    assert [checked(check, scan(stamp)) for stamp in range(1, 6)] == [set()] * 5


@pytest.mark.parametrize(('bad', 'reason'), [
    (scan(ranges=filled(math.nan)), Reason.SCAN_INVALID),
    (scan(ranges=filled(math.inf)), Reason.SCAN_EMPTY),
    (scan(ranges=filled(25.0)), Reason.SCAN_INVALID),
    (scan(ranges=[]), Reason.SCAN_GEOMETRY),
    (scan(ranges=[1.0] * 359), Reason.SCAN_GEOMETRY),
    (scan(ranges=filled(math.nan, slice(10, 20))), Reason.SECTOR_BLOCKED),
    (scan(ranges=filled(math.nan, np.r_[0:5, 355:360])), Reason.SECTOR_BLOCKED),
    (scan(angle_min_rad=math.nan), Reason.SCAN_GEOMETRY),
    (scan(angle_increment_rad=0.0), Reason.SCAN_GEOMETRY),
    (scan(angle_min_rad=-math.pi + 0.02), Reason.SCAN_GEOMETRY),
    (scan(range_max_m=math.nan), Reason.SCAN_GEOMETRY),
    (scan(range_max_m=math.inf, ranges=filled(math.inf)), Reason.SCAN_GEOMETRY),
    (scan(range_max_m=3e38, ranges=filled(1e30)), Reason.SCAN_GEOMETRY),
])
def test_a_bad_scan_has_its_own_reason(bad, reason):
    assert reason in checked(ScanCheck(LIMITS), bad)


def test_few_scattered_failures_are_normal():
    few = scan(ranges=filled(math.nan, slice(0, 360, 40)))
    assert checked(ScanCheck(LIMITS), few) == set()


def test_stamps_must_rise():
    check = ScanCheck(LIMITS)
    checked(check, scan(1000))
    assert checked(check, scan(1000)) == {Reason.SCAN_STAMP}
    assert checked(check, scan(900)) == {Reason.SCAN_STAMP}
    assert checked(check, scan(901)) == set()


@pytest.mark.parametrize(('age_ms', 'wrong'), [
    (0, False), (240, False), (260, True), (-40, False), (-60, True), (3_600_000, True),
    (-3_600_000, True)])
def test_a_stamp_must_be_of_now(age_ms, wrong):
    now = 10_000_000 * MS
    found = ScanCheck(LIMITS).check(scan(now - age_ms * MS), now, now)
    assert (Reason.SCAN_STAMP in found) == wrong


def test_a_rate_drop_is_seen_and_ends():
    check, now = ScanCheck(LIMITS), 0
    found = []
    for period_ms in [25] * 20 + [80] * 20 + [25] * 20:
        now += period_ms * MS
        found.append(Reason.SCAN_SLOW in checked(check, scan(now)))
    assert not any(found[:20])
    assert any(found[20:28])
    assert all(found[30:40])
    assert not any(found[50:])


def test_one_late_scan_is_no_rate_drop():
    check = ScanCheck(LIMITS)
    stamps = [25 * MS * i for i in range(1, 20)] + [25 * MS * 19 + 95 * MS]
    assert all(checked(check, scan(stamp)) == set() for stamp in stamps)


def test_a_frozen_scanner_is_seen_under_fresh_stamps():
    check, ranges = ScanCheck(LIMITS), filled(4.0, 0)
    found = [checked(check, scan(stamp, ranges)) for stamp in range(1, 6)]
    assert found == [set(), set(), set(), {Reason.SCAN_FROZEN}, {Reason.SCAN_FROZEN}]
