"""What entities are chosen by: names by POSIX expressions, places by bounds; and resources."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isaac_bridge.crowd import BOX, SPAWNABLES
from isaac_bridge.entities import Bounds, Pose, Resource, State
from isaac_bridge.frontend import geometry, library
from isaac_bridge.frontend.pattern import Pattern, PatternError

LETTERS = st.sampled_from(['a', 'b', 'c', '.', '^', '$'])
atoms = st.recursive(
    LETTERS | st.sampled_from(['[ab]', '[^a]', '[a-b]']),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(''.join),
        st.tuples(inner, inner).map(lambda two: f'({two[0]}|{two[1]})'),
        st.tuples(inner, st.sampled_from(['*', '+', '?', '{2}', '{1,3}', '{0,}'])).map(
            lambda two: f'({two[0]}){two[1]}')), max_leaves=6)


@given(atoms, st.text('abc', max_size=8))
def test_expressions_match_as_pythons_do(pattern, text):
    try:
        found = Pattern(pattern).search(text)
    except PatternError:
        assert pattern.count('(') > 8 or pattern.count('{') > 2
        return
    assert found == bool(re.search(pattern, text))


@pytest.mark.parametrize(('pattern', 'text', 'found'), [
    ('', 'anything', True), ('^robot_[[:digit:]]+$', 'robot_12', True),
    ('^robot_[[:digit:]]+$', 'robot_x', False), ('a\\.b', 'a.b', True), ('a\\.b', 'axb', False),
    ('[]a]', ']', True), ('[^[:alpha:]_]', 'ab_', False), ('^$', '', True), ('x{3}', 'xx', False),
    ('()', 'a', True), ('[a-]', '-', True)])
def test_posix_expressions(pattern, text, found):
    assert Pattern(pattern).search(text) == found


@pytest.mark.parametrize('pattern', [
    '(', ')', '[a', '*a', 'a**', 'a{2', 'a{3,2}', 'a{999}', '[[:nonsense:]]', 'a\\', 'x' * 257,
    '(' * 9 + 'a' + ')' * 9, '(((a{60}){60}){60}){60}', 'a{-1}'])
def test_what_is_no_expression_is_one_sentence(pattern):
    with pytest.raises(PatternError, match=r'^the filter '):
        Pattern(pattern)


def test_an_expression_that_explodes_elsewhere_does_not():
    """Backtracking would take 2^60 steps here, so this would never end."""
    assert not Pattern('^(a+)+$').search('a' * 60 + 'b')


angles = st.floats(-math.pi, math.pi)
small = st.floats(-3.0, 3.0)


@given(small, small, angles, small, small, st.floats(0.0, 2.0))
def test_a_sphere_touches_where_sampling_says(x, y, yaw, cx, cy, radius):
    pose, bounds = Pose.flat(x, y, yaw), Bounds((-0.5, -0.2, 0.0), (0.5, 0.2, 1.0))
    along, across = np.meshgrid(np.linspace(-0.5, 0.5, 41), np.linspace(-0.2, 0.2, 17))
    c, s = math.cos(yaw), math.sin(yaw)
    nearest = np.hypot(x + c * along - s * across - cx, y + s * along + c * across - cy).min()
    touches = geometry.touches_sphere(pose, bounds, (cx, cy, 0.5), radius)
    if abs(nearest - radius) > 0.02:    # the samples' spacing
        assert touches == (nearest < radius)


@given(small, small, angles)
def test_a_box_touches_where_sampling_says(x, y, yaw):
    pose, bounds = Pose.flat(x, y, yaw), Bounds((-0.5, -0.2, 0.0), (0.5, 0.2, 1.0))
    along, across = np.meshgrid(np.linspace(-0.5, 0.5, 81), np.linspace(-0.2, 0.2, 33))
    c, s = math.cos(yaw), math.sin(yaw)
    px, py = x + c * along - s * across, y + s * along + c * across
    outside = np.maximum(np.abs(px) - 1.0, np.abs(py) - 0.5).min()
    touches = geometry.touches_box(pose, bounds, (-1.0, -0.5, 0.2), (1.0, 0.5, 0.4))
    if abs(outside) > 0.02:
        assert touches == (outside < 0.0)
    assert not geometry.touches_box(pose, bounds, (-1.0, -0.5, 1.2), (1.0, 0.5, 1.4))


@given(small, small, angles, angles)
def test_frames_are_put_together(x, y, first, second):
    state = geometry.in_world(State(Pose.flat(1.0, 0.0, second), (1.0, 0.0, 0.0)),
                              Pose.flat(x, y, first))
    assert state.pose.position == pytest.approx((x + math.cos(first), y + math.sin(first), 0.0))
    assert math.cos(state.pose.yaw) == pytest.approx(math.cos(first + second), abs=1e-9)
    assert state.linear == pytest.approx((math.cos(first), math.sin(first), 0.0))


@pytest.mark.parametrize(('uri', 'text', 'resource', 'name'), [
    ('box', '', BOX, ''), ('primitive:box', '', BOX, ''),
    ('primitive:box?size_m=1,2,3', '', Resource('box', (1.0, 2.0, 3.0)), ''),
    ('', '{"kind": "box", "size_m": [1, 2, 3], "name": "crate"}',
     Resource('box', (1.0, 2.0, 3.0)), 'crate'),
    ('box', 'what is not read', BOX, '')])
def test_resources(uri, text, resource, name):
    assert library.resource_of(uri, text, SPAWNABLES) == (resource, name)


def test_every_spawnable_is_named_by_its_uri():
    for resource in SPAWNABLES:
        assert library.resource_of(library.uri_of(resource), '', SPAWNABLES) == (resource, '')


@pytest.mark.parametrize(('uri', 'text', 'error'), [
    ('rocket', '', library.UnsupportedFormat), ('file:///x.usd', '', library.UnsupportedFormat),
    ('', '<sdf/>', library.UnsupportedFormat), ('', '{"kind": 3}', library.ParseError),
    ('', '{"kind": "box", "size": 1}', library.ParseError), ('', '{', library.ParseError),
    ('', '{"kind": "box", "size_m": [1, 2]}', library.ParseError),
    ('', '{"kind": "box", "size_m": [1, 2, NaN]}', library.ParseError),
    ('', '{"kind": ' + '[' * 4000, library.ParseError),
    ('primitive:box?size_m=1,2', '', library.ParseError),
    ('primitive:box?colour=red', '', library.ParseError),
    ('primitive:box?size_m=a,b,c', '', library.ParseError),
    ('x' * 5000, '', library.ParseError)])
def test_what_is_no_resource(uri, text, error):
    with pytest.raises(error):
        library.resource_of(uri, text, SPAWNABLES)


def test_worlds_are_the_scenarios_of_a_folder(aisle, tmp_path):
    from conftest import SCENARIOS
    (tmp_path / 'broken.yaml').write_text('{')
    (tmp_path / 'aisle.yaml').write_text((SCENARIOS / 'aisle.yaml').read_text())
    found, = library.worlds_in(tmp_path)
    assert found.name == 'aisle'
    assert found.tags == ('warehouse', 'people')
    scenario, again = library.load_uri(found.uri)
    assert (scenario, again) == (aisle, found)
    assert library.load_string((SCENARIOS / 'aisle.yaml').read_text())[0] == aisle


@pytest.mark.parametrize(('uri', 'error'), [
    ('http://x/y.yaml', library.UnsupportedFormat), ('/x.usd', library.UnsupportedFormat),
    ('/nowhere.yaml', FileNotFoundError), ('file://elsewhere/x.yaml', library.UnsupportedFormat),
    ('\0.yaml', library.UnsupportedFormat), ('x' * 5000 + '.yaml', library.UnsupportedFormat)])
def test_what_is_no_world(uri, error):
    with pytest.raises(error):
        library.load_uri(uri)


def test_named_places_are_the_scenarios(aisle, robot):
    found = {place.name: place for place in library.places(aisle, robot)}
    assert list(found) == ['start', 'goal', 'person_0', 'person_1']
    assert found['goal'].pose.position[:2] == aisle.goal
    assert found['start'].bounds.upper == (0.4, 0.3, 0.35)
