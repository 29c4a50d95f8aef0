"""Markers as plain messages: where they are, what they say, and that nothing stale remains."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from builtin_interfaces.msg import Time
from visualization_msgs.msg import Marker

from safety_reflex.fields import Muting
from safety_reflex.markers import SILENT, STATE_COLOURS, caption, deciding_point, scene
from safety_reflex.profile import Lidar, load_profile
from safety_reflex.states import State

CONFIG = Path(__file__).resolve().parents[3] / 'config'
AMR = load_profile(CONFIG / 'robots/amr.yaml', CONFIG / 'robots/amr.fields.yaml')
DOCK = Muting('dock', 'dock/muting', ((0.4, -0.3), (0.9, -0.3), (0.9, 0.3), (0.4, 0.3)), 10.0, 0.1)
RUNNING = {'state': 'RUNNING', 'reasons': '', 'zone': AMR.sets[2].name, 'muting': '',
           'source': '', 'beam': '', 'distance_m': ''}
STOPPED = RUNNING | {'state': 'STOPPED', 'reasons': 'protective_field', 'source': 'base_scan',
                     'beam': '360', 'distance_m': '0.900'}


def drawn(values, profile=AMR):
    """The markers that stand, by namespace and number, and those that are taken away."""
    markers = scene(values, profile, 'base_link', Time(sec=7)).markers
    keys = [(marker.ns, marker.id) for marker in markers]
    assert len(set(keys)) == len(keys)
    return ({key: m for key, m in zip(keys, markers, strict=True) if m.action == Marker.ADD},
            {key for key, m in zip(keys, markers, strict=True) if m.action == Marker.DELETE})


def corners(marker):
    return tuple((point.x, point.y) for point in marker.points)


def test_the_field_in_use_is_drawn_closed_in_the_colour_of_the_state():
    for state in State:
        shown, _ = drawn(RUNNING | {'state': str(state)})
        field, polygon = shown['stop_field', 0], AMR.sets[2].polygon
        assert corners(field) == (*polygon, polygon[0])
        colour = (field.color.r, field.color.g, field.color.b, field.color.a)
        assert colour == pytest.approx(STATE_COLOURS[state])
    assert len({colour[:3] for colour in STATE_COLOURS.values()}) == len(State)


def test_slow_fields_are_thinner_than_the_stop_field():
    shown, _ = drawn(RUNNING)
    slow = [marker for (name, _), marker in shown.items() if name == 'slow_fields']
    assert [corners(marker)[:-1] for marker in slow] == [s.polygon for s in AMR.slow]
    assert all(marker.scale.x < shown['stop_field', 0].scale.x / 2 for marker in slow)


def test_what_no_longer_holds_is_taken_away_in_every_message():
    profile = replace(AMR, mutings=(DOCK,))
    muted, gone = drawn(STOPPED | {'muting': 'dock'}, profile)
    assert corners(muted['muting', 0])[:-1] == DOCK.polygon
    assert gone == set()
    shown, gone = drawn(RUNNING, profile)
    assert gone == {('muting', 0), ('deciding_point', 0)}
    assert shown.keys() | gone == muted.keys()
    silent, gone = drawn({}, profile)
    assert silent.keys() == {('footprint', 0), ('status', 0)}
    assert silent.keys() | gone == muted.keys()
    assert silent['status', 0].text == SILENT


def test_markers_follow_the_robot_and_die_with_the_monitor():
    for marker in drawn(STOPPED)[0].values():
        assert marker.frame_locked
        assert (marker.header.frame_id, marker.header.stamp.sec) == ('base_link', 7)
        assert marker.lifetime.sec == 1
        assert marker.pose.orientation.w == 1.0


def test_the_point_is_where_the_beam_ended():
    # Beam 360 of the AMR looks straight ahead; beam 0 looks back.
    assert deciding_point(STOPPED, AMR) == pytest.approx((0.9, 0.0), abs=1e-9)
    assert deciding_point(STOPPED | {'beam': '0'}, AMR) == pytest.approx((-0.9, 0.0), abs=1e-9)
    sphere = drawn(STOPPED)[0]['deciding_point', 0]
    assert (sphere.pose.position.x, sphere.pose.position.y) == pytest.approx((0.9, 0.0), abs=1e-9)


def test_the_point_of_a_scanner_that_is_mounted_aside():
    corner = Lidar('corner', 'scan_left', (0.4, 0.3, math.pi / 2), 3, -math.pi / 2, math.pi / 2,
                   40.0, 20.0)
    profile = replace(AMR, lidars=(*AMR.lidars, corner))
    values = STOPPED | {'source': 'corner', 'distance_m': '2.0'}
    # Facing left, from the right to the left of it: ahead of the robot, left of it, behind it.
    assert [deciding_point(values | {'beam': beam}, profile) for beam in '012'] == [
        pytest.approx(place, abs=1e-9) for place in ((2.4, 0.3), (0.4, 2.3), (-1.6, 0.3))]


@pytest.mark.parametrize('broken', [
    {'source': 'nobody'}, {'beam': '720'}, {'beam': '-1'}, {'beam': 'x'}, {'beam': ''},
    {'distance_m': 'nan'}, {'distance_m': 'inf'}, {'distance_m': ''}])
def test_a_point_that_cannot_be_is_not_drawn(broken):
    assert deciding_point(STOPPED | broken, AMR) is None


def test_a_field_set_that_nobody_knows_is_not_drawn():
    assert ('stop_field', 0) in drawn(RUNNING | {'zone': 'other'})[1]


def test_the_text_says_the_state_the_reasons_and_what_decided():
    assert caption(RUNNING) == 'RUNNING'
    assert caption(STOPPED) == 'STOPPED\nprotective_field\nbase_scan: 0.900 m'
    many = ','.join(f'reason_{n}' for n in range(7))
    assert caption(RUNNING | {'reasons': many}).splitlines() == [
        'RUNNING', 'reason_0', 'reason_1', 'reason_2', 'reason_3', 'and 3 more']
    assert caption({}) == SILENT


def test_the_text_hides_neither_the_robot_nor_its_field():
    for zone in AMR.sets:
        text = drawn(STOPPED | {'zone': zone.name})[0]['status', 0]
        rear = min(x for x, _ in zone.polygon)
        lines = len(text.text.splitlines())
        assert text.pose.position.x + lines * text.scale.z / 2 < rear
        assert text.pose.position.z > 0.35   # of the AMR's height
