"""The robots that lie in config/embodiments/: each is read, fits its model, and is driven whole."""

import importlib.util
import re

import numpy as np
import pytest
import yaml
from embodiment_scene import (
    GROOT,
    GROOT_MODEL,
    ROBOTS,
    groot_model,
    joint_values,
    observation,
    with_text,
)
from policy_scene import VOCABULARY

from policy_client.feedback import in_network_units
from policy_client.handshake import HandshakeError, compare
from policy_client.reply import checked
from policy_client.validate_repository import validate

every_robot = pytest.mark.parametrize('name', ROBOTS)
every_groot = pytest.mark.parametrize('name', GROOT)
# D of the action by GR00T's embodiment tag; so100's is by checkpoint.
WIDTHS = {'libero_sim': 7, 'unitree_g1': 7 + 7 + 7 + 7 + 3 + 1 + 3, 'gr1': 44, 'droid': 8}


def test_all_of_them_are_here():
    assert set(ROBOTS) == {'amr', 'libero_sim', 'unitree_g1', 'gr1', 'droid', 'so100'}
    assert all(robot.name == name for name, robot in ROBOTS.items())


@every_groot
def test_each_fits_the_model_groot_with_its_own_checkpoint(name):
    robot = ROBOTS[name]
    signature = compare(robot, VOCABULARY, groot_model(robot))
    assert signature.takes_prefix
    assert signature.horizon == {'unitree_g1': 30, 'droid': 32}.get(name, 16)
    assert not compare(robot, VOCABULARY, groot_model(robot, prefix=False)).takes_prefix
    assert len(robot.columns) == WIDTHS.get(name, 6)


@every_groot
def test_no_other_robot_s_checkpoint_fits(name):
    for other in GROOT:
        if other != name:
            with pytest.raises(HandshakeError):
                compare(ROBOTS[name], VOCABULARY, groot_model(ROBOTS[other]))


@every_robot
def test_every_column_goes_out_on_exactly_one_topic(name):
    robot = ROBOTS[name]
    columns = [column for command in robot.commands for column in command.columns]
    assert sorted(columns) == list(range(len(robot.columns)))
    # What the reflex hears, or what is turned into that (a servo, a gripper's own controller).
    assert {command.topic for command in robot.commands} <= {
        'policy/cmd_vel', 'policy/joint_trajectory', 'policy/servo_twist',
        'policy/gripper_trajectory'}


@every_robot
def test_a_fixed_observation_has_the_tensors_of_the_handshake(name):
    robot = ROBOTS[name] if name == 'amr' else with_text(name)
    inputs = observation(robot).inputs
    assert set(inputs) == {*(key.name for key in robot.video), *(key.name for key in robot.state),
                           robot.language.name}
    for key in robot.state:
        assert inputs[key.name].shape == (1, 1, len(key.components))
        assert np.isfinite(inputs[key.name]).all()


@every_robot
def test_rows_come_back_from_the_network_as_they_were_driven(name):
    robot = ROBOTS[name]
    shares = np.linspace(0.1, 0.9, 16)[:, None]
    low = np.array([part.minimum for part in robot.columns])
    high = np.array([part.maximum for part in robot.columns])
    driven = low + shares * (high - low)
    actions = in_network_units(robot, driven, str)
    assert all(array.dtype == np.float32 and array.shape[:2] == (1, 16)
               for array in actions.values())
    np.testing.assert_allclose(checked(actions, robot, 16, 0.0), driven, rtol=1e-5, atol=1e-6)


def test_what_one_driven_joint_is_observed_as_is_what_commands_it():
    """State and action of the SO-100 are the same units, so a pose sent back is no motion."""
    robot = ROBOTS['so100']
    inputs = observation(robot).inputs
    rows = {key.name: np.repeat(inputs[key.name.replace('action.', 'state.')], 16, axis=1)
            for key in robot.actions}
    wanted = [joint_values(robot)[part.drives] for part in robot.columns]
    np.testing.assert_allclose(checked(rows, robot, 16, 0.0)[0], wanted, atol=1e-5)


def test_the_so100_s_limits_are_those_of_its_robot_file(root):
    arm = yaml.safe_load((root / 'config/robots/amr_so100.yaml').read_text())['arm']['joints']
    assert [(part.drives, part.minimum, part.maximum, part.max_rate, part.max_rate2,
             part.max_rate3) for part in ROBOTS['so100'].columns] == [
        (joint['name'], joint['lower'], joint['upper'], joint['max_velocity'],
         joint['max_acceleration'], joint['max_jerk']) for joint in arm]
    (command,) = ROBOTS['so100'].commands
    assert command.columns == tuple(range(6))  # in the reflex's order


def test_libero_s_deltas_are_velocities_in_si():
    robot = ROBOTS['libero_sim']
    twist, gripper = robot.commands
    assert [robot.columns[column].drives for column in twist.columns] == [
        'linear.x', 'linear.y', 'linear.z', 'angular.x', 'angular.y', 'angular.z']
    actions = {key.name: np.full((1, 16, 1), 0.25, np.float32) for key in robot.actions}
    # A quarter of 0.05 m and of 0.5 rad in 50 ms; a quarter of 0.04 m open.
    assert checked(actions, robot, 16, 0.0)[0].tolist() == pytest.approx(
        [0.25, 0.25, 0.25, 2.5, 2.5, 2.5, 0.01])
    assert robot.positional == (False,) * 6 + (True,)
    assert gripper.feedback == 'joint_states'


def test_the_model_repository_publishes_libero_s_digest(root):
    robot = ROBOTS['libero_sim']
    config = (root / 'docker/triton/model_repository/groot/config.pbtxt').read_text()
    published = dict(re.findall(r'key: "(\w+)", value: \{ string_value: "([^"]*)"', config))
    assert published['modality_sha256'] == robot.modality_sha256(VOCABULARY.sha256), (
        'run: python -m policy_client.embodiment_file config/embodiments/libero_sim.yaml')
    assert published['action_period_ms'] == str(robot.action_period_ms)
    assert published['embodiment'] == published['embodiment_tag'] == robot.name
    assert validate(root / 'docker/triton/model_repository', [(robot, VOCABULARY)]) == []


@every_groot
def test_the_stand_in_s_chunk_is_one_that_the_robot_may_execute(name):
    """From any pose within the limits: the stand-in glides between it and a target within them."""
    spec = importlib.util.spec_from_file_location('standin', GROOT_MODEL / '1/standin.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    policy = module.StandinPolicy(name, GROOT_MODEL / '1/standin')
    robot = ROBOTS[name]
    inputs = observation(robot).inputs
    found = {kind: {key.name.partition('.')[2]: inputs[key.name] for key in getattr(robot, kind)}
             for kind in ('video', 'state')}
    for text in ('pick it up', 'put it down', 'wait'):
        actions, _ = policy.get_action(
            found | {'language': {robot.language.name: [[text]]}})
        rows = checked({f'action.{key}': array for key, array in actions.items()}, robot,
                       next(iter(actions.values())).shape[1], 0.05)
        assert rows.shape[1] == len(robot.columns)
