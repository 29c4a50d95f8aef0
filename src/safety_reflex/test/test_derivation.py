"""The tables that people trust: they are the program's own, and the shipped fields lack nothing."""

from pathlib import Path

import pytest
from driving import CONFIG

from safety_reflex.derivation import budget, markdown
from safety_reflex.profile import ProfileError, load_profile

README = Path(__file__).resolve().parents[1] / 'README.md'


def shipped(fields):
    return load_profile(CONFIG / 'robots/amr.yaml', CONFIG / 'robots' / fields)


def test_the_readme_shows_the_table_of_the_amr():
    assert markdown(shipped('amr.fields.yaml')) in README.read_text()


def test_the_drawn_example_lacks_nothing():
    rows = markdown(shipped('amr_dock.fields.yaml')).splitlines()[2:]
    assert len(rows) == 4
    assert all(row.rstrip(' |').endswith('nothing') for row in rows), '\n'.join(rows)


def test_the_measured_latency_is_part_of_the_reaction_time():
    assert budget(shipped('amr_dock.fields.yaml'), 100.0, 5.1) == (
        't = 150 ms = 100 source timeout + 25 debounce + 5.1 measured from scan to stop + 19.9 '
        'left until the base brakes')


def test_a_field_that_is_drawn_too_short_says_by_how_much(tmp_path):
    short = (CONFIG / 'robots/amr_dock.fields.yaml').read_text().replace(
        'front_m: 1.60, side_m: 0.45', 'front_m: 1.40, side_m: 0.45')
    (tmp_path / 'short.yaml').write_text(short)
    table = markdown(load_profile(CONFIG / 'robots/amr.yaml', tmp_path / 'short.yaml'))
    assert 'front 0.19 m' in table


@pytest.mark.parametrize(('old', 'new', 'sentence'), [
    ('name: creep', 'nam: creep', 'field_sets.0.nam: is not one of'),
    ('[-0.1, 0.1]', '[0.1, -0.1]', 'field_sets.0.speed_mps: 0.1 is above -0.1'),
    ('radius_m: 0.9', 'radius_m: -1', 'slow_fields.1.shape.circle.radius_m = -1: must be'),
    ('[0.40, -0.35], [1.2, -0.35]', '[0.40, -0.35], [9.0, -0.35]', 'muting.0.shape: must fit'),
    ('[1.2, -0.35], [1.2, 0.35]', '[1.2, 0.35], [1.2, -0.35]', 'muting.0.shape.polygon: must be'),
    ('max_s: 20.0', 'max_s: 3600.0', 'muting.0.max_s = 3600.0: must be a number from 0.5 to 60.0'),
    ('max_speed_mps: 0.1', 'max_speed_mps: .nan', 'muting.0.max_speed_mps = nan: must be'),
    ('min_points: 2', 'min_points: 0', 'min_points = 0: must be a number from 1'),
    ('collision_time_s', 'collision_time', 'collision_time: is not one of'),
    ('field_sets:', 'speeds_mps: [0.2, 0.1]\nfield_sets:', 'speeds_mps: must rise'),
    ('field_sets:', 'speeds_mps: [0.2]\nfield_sets:', 'speeds_mps: 0.2 does not cover'),
    ('reaction_s: 0.15', 'reaction_s: fast', "reaction_s = 'fast': must be a number"),
])
def test_a_wrong_key_is_named_with_its_rule(old, new, sentence, tmp_path):
    text = (CONFIG / 'robots/amr_dock.fields.yaml').read_text()
    assert old in text
    (tmp_path / 'fields.yaml').write_text(text.replace(old, new, 1))
    with pytest.raises(ProfileError, match=r'fields\.yaml') as caught:
        load_profile(CONFIG / 'robots/amr.yaml', tmp_path / 'fields.yaml')
    assert sentence in str(caught.value)
