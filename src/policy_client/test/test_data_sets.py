"""Two of NVIDIA's demonstration data sets: what they recorded is what these robots observe."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from embodiment_scene import NOW_NS, ROBOTS, image, joint_state, signature, size
from policy_scene import VOCABULARY

from policy_client.observation import Observation, Sample, assemble

DATA = Path(__file__).resolve().parents[4] / 'shared/data/groot'
# Data set, robot, and whether its cameras are called as the robot's are.
SETS = {'gr1.PickNPlace': 'gr1', 'cube_to_bowl_5': 'so100'}
every_set = pytest.mark.parametrize('folder', SETS)


def meta(folder):
    path = DATA / folder / 'meta'
    if not path.is_dir():
        assert not os.environ.get('CI'), f'{path} is missing in CI'
        pytest.skip('the data sets lie beside the maintainers\' checkout only')
    info, modality, stats = (json.loads((path / f'{name}.json').read_text())
                             for name in ('info', 'modality', 'stats'))
    tasks = [json.loads(line)['task'] for line in (path / 'tasks.jsonl').read_text().splitlines()]
    return SimpleNamespace(info=info, modality=modality, stats=stats, tasks=tasks)


def with_cameras_of(robot, data):
    """The robot with one camera for each of the data set's: only their names differ."""
    video = tuple(replace(robot.video[0], name=f'video.{name}', topic=f'camera/{name}/image_raw')
                  for name in data.modality['video'])
    return replace(robot, video=video)


@every_set
def test_the_columns_of_the_data_are_the_robot_s(folder):
    data, robot = meta(folder), ROBOTS[SETS[folder]]
    for kind, keys in (('state', robot.state), ('action', robot.actions)):
        named = {key.name.partition('.')[2]: len(key.components) for key in keys}
        assert named == {name: part['end'] - part['start']
                         for name, part in data.modality[kind].items()}
    annotations = {f'annotation.{name}' for name in data.modality['annotation']}
    assert robot.language.name in annotations
    assert robot.action_period_ms == round(1000 / data.info['fps'])


def test_the_so100_s_joints_are_in_the_order_of_the_data():
    data = meta('cube_to_bowl_5')
    robot = ROBOTS['so100']
    for kind, names in (('observation.state', [part.joint for key in robot.state
                                               for part in key.components]),
                        ('action', [part.drives for part in robot.columns])):
        assert [f'{name}.pos' for name in names] == data.info['features'][kind]['names']


def test_the_cameras_that_have_other_names_than_the_robot_s():
    """Each data set was recorded with cameras of its own; a checkpoint of it wants these names."""
    cameras = {folder: tuple(meta(folder).modality['video']) for folder in SETS}
    assert cameras == {'gr1.PickNPlace': ('ego_view_bg_crop_pad_res256_freq20',),
                       'cube_to_bowl_5': ('front', 'wrist')}
    assert [key.name for key in ROBOTS['gr1'].video] == ['video.ego_view']
    assert [key.name for key in ROBOTS['so100'].video] == ['video.webcam']


def messages(robot, data, recorded):
    """What the robot's topics would have said when `recorded` (a row of the data) was written."""
    found = {}
    for key in robot.video:
        found[key.topic] = image(*size(robot))
    joints = {}
    for key in robot.state:
        part = data.modality['state'][key.name.removeprefix('state.')]
        for component, value in zip(key.components, recorded[part['start']:part['end']],
                                    strict=True):
            joints[component.joint] = (value - component.offset) / component.scale
    found['joint_states'] = joint_state(joints)
    found[robot.language.topic] = SimpleNamespace(data=data.tasks[0])
    return {topic: Sample(message, NOW_NS, NOW_NS) for topic, message in found.items()}


@every_set
def test_what_was_recorded_is_what_is_observed(folder):
    data = meta(folder)
    robot = with_cameras_of(ROBOTS[SETS[folder]], data)
    low, high = (np.array(data.stats['observation.state'][name]) for name in ('min', 'max'))
    random = np.random.default_rng(0)
    for _ in range(50):
        recorded = random.uniform(low, high)
        found = assemble(robot, VOCABULARY, signature(robot), messages(robot, data, recorded),
                         NOW_NS)
        assert isinstance(found, Observation), str(found)
        for name, part in data.modality['state'].items():
            np.testing.assert_allclose(found.inputs[f'state.{name}'][0, 0],
                                       recorded[part['start']:part['end']], rtol=1e-5, atol=1e-5)
        assert found.inputs[robot.language.name].tolist() == [[data.tasks[0].encode()]]
        assert {name for name in found.inputs if name.startswith('video.')} == {
            f'video.{name}' for name in data.modality['video']}


def test_the_so100_s_data_lie_within_its_limits():
    """So the units are right: -100 to 100 is the joint's whole range, 0 to 100 the gripper's."""
    data, robot = meta('cube_to_bowl_5'), ROBOTS['so100']
    for name in ('min', 'max'):
        recorded = np.array(data.stats['action'][name])
        for part, value in zip(robot.columns, recorded, strict=True):
            driven = part.scale * value + part.offset
            assert part.minimum - 1e-6 <= driven <= part.maximum + 1e-6


def test_the_gr1_s_hands_open_and_close_within_their_limits():
    """Their actions are commands of -1.5 to 1.5 (thumb: 3), not angles, and saturate there."""
    data, robot = meta('gr1.PickNPlace'), ROBOTS['gr1']
    for side in ('left_hand', 'right_hand'):
        part = data.modality['action'][side]
        columns = robot.columns[robot.slices[f'action.{side}']]
        for name in ('min', 'max'):
            recorded = data.stats['action'][name][part['start']:part['end']]
            for column, value in zip(columns, recorded, strict=True):
                driven = column.scale * value + column.offset
                assert column.minimum - 1e-4 <= driven <= column.maximum + 1e-4
