import copy
import itertools
import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from isaac_bridge.layout import Box
from isaac_bridge.people import Walk, Walker, draw_walks
from isaac_bridge.robot import RobotError, read_robot
from isaac_bridge.scenario import (
    PERSON_RADIUS_M,
    ScenarioError,
    parse_scenario,
    read_scenario,
)
from isaac_bridge.visibility import notice_s

CONFIG = Path(__file__).resolve().parents[2] / 'config'
SCENARIOS = CONFIG / 'scenarios'


@pytest.fixture(scope='module')
def document():
    return yaml.safe_load((SCENARIOS / 'aisle.yaml').read_text())


def read(document, tmp_path):
    path = tmp_path / 'scenario.yaml'
    path.write_text(yaml.safe_dump(document))
    return read_scenario(path)


def break_it(document, path, value):
    *parents, last = path
    root = copy.deepcopy(document)
    at = root
    for key in parents:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return root


@pytest.mark.parametrize(('path', 'value', 'names'), [
    (('goal',), None, "'goal' is a required property"),
    (('schema_version',), 2, 'schema_version'),
    (('people', 0, 'speed_mps'), -1.0, r'people\[0\].speed_mps: .*-1'),
    (('people', 0, 'speed_mps'), 'fast', r'people\[0\].speed_mps'),
    (('people', 1, 'way_points'), [], r'people\[1\].way_points'),
    (('people', 0, 'jitter', 'speed_mps'), 2.0, r'people\[0\].jitter.speed_mps: must be below'),
    (('people', 0, 'way_points', 0), [5.0, 3.0], r'people\[0\].way_points\[0\]: leads through'),
    (('people', 0, 'way_points', 0), [11.3, 3.6], r'way_points\[0\]: is where'),
    (('people', 0, 'way_points', 0), [11.3, 300.0], r'people\[0\].way_points\[0\]'),
    (('world', 'gaps', 'left'), [[3.0, 2.0]], r'world.gaps.left: \[3, 2\]'),
    (('world', 'gaps', 'left'), [[3.0, 5.0], [4.0, 6.0]], r'world.gaps.left: \[4, 6\]'),
    (('world', 'x_m'), [28.0, -4.0], 'world.x_m'),
    (('world', 'aisle_half_width'), 2.5, 'aisle_half_width'),
    (('robot', 'start'), [0.0, 3.0, 0.0], 'robot.start: leads through'),
    (('goal',), [40.0, 0.0], 'goal: is outside'),
])
def test_errors_name_the_key(document, tmp_path, path, value, names):
    with pytest.raises(ScenarioError, match=names) as caught:
        read(break_it(document, path, value), tmp_path)
    assert 'scenario.yaml' in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('text', ['a: [', '- 1', '', '\x00'])
def test_what_is_not_a_scenario_is_one_sentence(tmp_path, text):
    path = tmp_path / 'scenario.yaml'
    path.write_text(text)
    with pytest.raises(ScenarioError, match=r'scenario\.yaml'):
        read_scenario(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ScenarioError, match=r'nowhere.yaml: No such file'):
        read_scenario(tmp_path / 'nowhere.yaml')
    with pytest.raises(RobotError, match=r'nowhere.yaml: No such file'):
        read_robot(tmp_path / 'nowhere.yaml')


def test_a_robot_file_names_what_is_wrong(tmp_path):
    document = yaml.safe_load((SCENARIOS.parent / 'robots/amr.yaml').read_text())
    path = tmp_path / 'robot.yaml'
    for change, names in (
            (lambda d: d['limits'].pop('braking_mps2'), 'braking_mps2'),
            (lambda d: d['lidars'][0].update(beams=0), r'lidars\[0\].beams'),
            (lambda d: d['base'].update(footprint=[[0, 0], [1, 0], [1, 1]]), 'base.footprint'),
            (lambda d: d['lidars'].append(d['lidars'][0]), 'one lidar')):
        broken = copy.deepcopy(document)
        change(broken)
        path.write_text(yaml.safe_dump(broken))
        with pytest.raises(RobotError, match=names):
            read_robot(path)


def test_the_aisle_is_free_beside_the_lane(aisle):
    for box in (*aisle.aisle.racks(), *aisle.aisle.walls()):
        assert box.x1 <= -2.2 or box.x0 >= aisle.goal[0] + 2.2 or min(
            abs(box.y0), abs(box.y1)) >= 2.2


def test_racks_leave_exactly_the_gaps(aisle):
    left = [(box.x0, box.x1) for box in aisle.aisle.racks() if box.y0 > 0]
    gaps = [(a[1], b[0]) for a, b in itertools.pairwise(left) if b[0] - a[1] > 1e-9]
    assert gaps == [pytest.approx(gap) for gap in aisle.aisle.gaps_left]


@pytest.mark.parametrize(('a', 'b', 'crossed'), [
    ((-1, 0.5), (2, 0.5), True), ((-1, 0.5), (-0.1, 0.5), False), ((0.5, 0.5), (0.6, 0.6), True),
    ((-1, 1.5), (2, 1.5), False), ((0.5, -1), (0.5, 2), True), ((-0.5, 0.8), (0.8, 1.6), False)])
def test_segments_against_a_box(a, b, crossed):
    assert Box(0, 0, 1, 1).crossed(a, b) is crossed
    assert Box(0, 0, 1, 1).crossed(b, a) is crossed


def test_a_walk_keeps_its_speed_and_ends():
    walk = Walk(((0.0, 0.0), (3.0, 0.0), (3.0, 4.0)), 1.0, None)
    assert walk.at(0.0) == (0.0, 0.0, 0.0, 0.0)
    assert walk.at(1.5) == pytest.approx((1.5, 0.0, 1.0, 0.0))
    assert walk.at(5.0) == pytest.approx((3.0, 2.0, 0.0, 1.0))
    assert walk.at(7.1) == (3.0, 4.0, 0.0, 0.0)


def test_a_walker_waits_for_the_robot():
    walker = Walker(Walk(((0.0, 0.0), (9.0, 0.0)), 1.0, (8.0, 0.0, 0.0)))
    assert walker.at(1_000_000_000, 7.9)[0] == 0.0
    assert walker.at(2_000_000_000, 8.0)[0] == 0.0
    assert walker.at(3_000_000_000, 2.0)[0] == pytest.approx(1.0), 'goes on, wherever the robot is'


def test_draws_are_of_the_seed_and_within_the_jitter(aisle):
    assert draw_walks(aisle, 7) == draw_walks(aisle, 7)
    assert draw_walks(aisle, 7) != draw_walks(aisle, 8)
    for seed in range(50):
        for person, walk in zip(aisle.people, draw_walks(aisle, seed), strict=True):
            jitter = person.jitter
            assert abs(walk.speed_mps - person.speed_mps) <= jitter.speed_mps
            assert abs(walk.trigger[0] - person.trigger[0]) <= jitter.trigger_m
            assert math.dist(walk.path[0], person.start) <= jitter.start_m * math.sqrt(2)
            assert 1.0 <= walk.speed_mps <= 1.5


@pytest.mark.parametrize('speed_mps', [0.4, 0.8, 0.9])
def test_people_are_in_sight_long_before_they_matter(aisle, robot, speed_mps):
    seeds = range(100) if speed_mps == 0.8 else range(20)
    notices = [notice for seed in seeds for notice in notice_s(aisle, robot, seed, speed_mps)]
    assert min(notices) >= 1.5
    assert max(notices) < math.inf, 'both cross the path'


def test_the_notice_sees_through_nothing(aisle, robot, tmp_path, document):
    """A gap too narrow to look into: the picker is seen late, and the figure says so."""
    closed = copy.deepcopy(document)
    closed['world']['gaps']['left'][0] = [11.0, 11.6]
    closed['people'] = closed['people'][:1]
    (notice,) = notice_s(read(closed, tmp_path), robot, 0, 0.8)
    assert notice < (3.6 - 0.3 - PERSON_RADIUS_M) / 1.05 - 0.5


def test_nobody_gives_no_notices(empty, robot):
    assert notice_s(empty, robot, 0, 0.8) == []


def test_a_recorded_person_walks_as_recorded():
    document = yaml.safe_load((CONFIG / 'scenarios/empty.yaml').read_text())
    document['people'] = [{'name': 'recorded', 'track': [[0, 3, 2], [1, 3, 1], [3, 4, 1]],
                           'trigger': {'line': [1.0, 0.0, 0.0]}}]
    scenario = parse_scenario(document, 'made')
    walker = Walker(draw_walks(scenario, seed=3)[0])
    assert walker.at(5, 0.9, 0.0) == (3, 2, 0, 0)
    assert walker.at(10, 1.1, 0.0) == (3, 2, 0, 0)
    assert walker.at(10 + 500_000_000, 1.2, 0.0) == pytest.approx((3, 1.5, 0, -1))
    assert walker.at(10 + 2_000_000_000, 1.2, 0.0) == pytest.approx((3.5, 1, 0.5, 0))
    assert walker.at(10 + 9_000_000_000, 1.2, 0.0) == (4, 1, 0, 0)


@given(yaw=st.floats(-math.pi, math.pi), ahead=st.floats(0.01, 5), beside=st.floats(-5, 5))
def test_a_line_is_passed_in_its_own_direction(yaw, ahead, beside):
    walk = Walk(((0.0, 0.0),), 1.0, (2.0, -1.0, yaw))

    def at(along):
        return (2.0 + along * math.cos(yaw) - beside * math.sin(yaw),
                -1.0 + along * math.sin(yaw) + beside * math.cos(yaw))
    assert walk.triggered(*at(ahead))
    assert not walk.triggered(*at(-ahead))


@pytest.mark.parametrize(('key', 'value', 'message'), [
    ('obstacles', [[1, 0, 1, 2]], 'obstacles[0]: must be [x0, y0, x1, y1]'),
    ('faults', {'policy_delay_ms': {'p50': 9, 'p95': 8}}, 'p50 must not be above p95'),
    ('faults', {'policy_outages_s': [[3, 3]]}, 'faults.policy_outages_s[0]: must be [from, to]'),
    ('people', [{'name': 'a', 'track': [[0, 1, 1], [0, 2, 2]]}], 'its times must begin near 0'),
    ('criteria', {'max_stops': -1}, 'criteria.max_stops: -1 is less than the minimum'),
])
def test_what_a_suite_needs_is_checked_too(key, value, message):
    document = yaml.safe_load((CONFIG / 'scenarios/empty.yaml').read_text()) | {key: value}
    with pytest.raises(ScenarioError, match=re.escape(message)):
        parse_scenario(document, 'made')


def test_an_obstacle_stands_in_the_way():
    document = yaml.safe_load((CONFIG / 'scenarios/empty.yaml').read_text())
    document['obstacles'] = [[5.0, -0.5, 5.5, 0.5]]
    scenario = parse_scenario(document, 'made')
    assert Box(5.0, -0.5, 5.5, 0.5) in scenario.aisle.racks()
    document['goal'] = [5.2, 0.0]
    with pytest.raises(ScenarioError, match='goal: leads through the rack'):
        parse_scenario(document, 'made')
