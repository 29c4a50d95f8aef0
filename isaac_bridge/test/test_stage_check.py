"""What MuJoCo loaded is what the stage says; and a difference does not pass."""

import pytest
from engine_scenes import CONFIG
from pxr import Usd

from isaac_bridge.engines.backend import mujoco
from isaac_bridge.engines.mujoco_check import check
from isaac_bridge.engines.scene import SOLID, compose, model_of
from isaac_bridge.entities import Resource
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import read_scenario
from isaac_bridge.stage import paths
from isaac_bridge.stage.author import author, text_of
from isaac_bridge.stage.check import differences
from isaac_bridge.stage.description import Description, read


def parts(scenario: str, robot: str) -> tuple[Description, mujoco.MjModel]:
    """The stage as a file holds it, and the model that a world loads."""
    files = (read_scenario(CONFIG / f'scenarios/{scenario}.yaml'),
             read_robot(CONFIG / f'robots/{robot}.yaml'))
    stage = Usd.Stage.CreateInMemory()
    stage.GetRootLayer().ImportFromString(text_of(author(*files)))
    return read(stage), compose(*files, paths.STEP_NS).compile()


@pytest.mark.parametrize('robot', ['amr', 'amr_so100', 'g1_upper'])
@pytest.mark.parametrize('scenario', ['aisle', 'empty'])
def test_the_loaded_model_is_the_stage(scenario, robot):
    assert check(*parts(scenario, robot)) == []


def test_spawned_things_come_from_the_stage_too(aisle, robot):
    props = (Resource('box', (0.6, 0.4, 0.4)), Resource('cylinder', (0.3, 0.3, 1.0)))
    model = compose(aisle, robot, paths.STEP_NS, props).compile()
    assert check(read(author(aisle, robot, props)), model) == []
    assert len(check(read(author(aisle, robot)), model)) == 8
    bigger = (props[0], Resource('cylinder', (0.32, 0.32, 1.0)))
    assert any('prop_1/cylinder size' in sentence
               for sentence in check(read(author(aisle, robot, bigger)), model))


RACK = f'{paths.RACKS}/rack_03'
ELBOW = f'{paths.ROBOT}/joints/elbow_flex'


def joint(model, name):
    return model.joint(name).id


MODEL_MUTATIONS = {
    'a rack is longer': (f'{RACK} size', lambda m: _set(m.geom(RACK).size, 0, 1.01)),
    'a rack stands elsewhere': (f'{RACK} position', lambda m: _add(m.geom(RACK).pos, 1, 0.002)),
    'a rack is invisible': (f'{RACK} seen', lambda m: _set(m.geom_group, m.geom(RACK).id, 1)),
    'a rack lets through': (f'{RACK} stops', lambda m: _set(m.geom_contype, m.geom(RACK).id, 0)),
    'a person stops the robot': (
        'person_0/trunk stops',
        lambda m: _set(m.geom_contype, m.geom(f'{paths.PEOPLE}/person_0/trunk').id, 1)),
    'a person is thin': (
        'person_1/trunk size',
        lambda m: _set(m.geom(f'{paths.PEOPLE}/person_1/trunk').size, 0, 0.19)),
    'the floor is seen': (
        'hall/floor seen', lambda m: _set(m.geom_group, m.geom(f'{paths.HALL}/floor').id, SOLID)),
    'the chassis is small': ('chassis size', lambda m: _add(m.geom(paths.CHASSIS).size, 0, -0.01)),
    'the robot is light': ('base_link mass', lambda m: _set(m.body('robot').mass, 0, 59.9)),
    'a link is heavy': ('elbow_flex_link mass', lambda m: _set(m.body('elbow_flex').mass, 0, 0.2)),
    'a link is stiff to turn': (
        'elbow_flex_link inertia', lambda m: _set(m.body('elbow_flex').inertia, 0, 1e-3)),
    'a joint sits elsewhere': (f'{ELBOW} at', lambda m: _add(m.body('elbow_flex').pos, 2, 0.001)),
    'a joint turns about another axis': (
        f'{ELBOW} axis', lambda m: m.joint('elbow_flex').axis.__setitem__(slice(None), [1, 0, 0])),
    'a limit is wider': (f'{ELBOW} limits', lambda m: _add(m.joint('elbow_flex').range, 1, 0.01)),
    'a limit is off': (f'{ELBOW} limits', lambda m: _set(m.jnt_limited, joint(m, 'elbow_flex'), 0)),
    'a motor is lighter': (
        f'{ELBOW} armature',
        lambda m: _set(m.dof_armature, m.joint('elbow_flex').dofadr[0], 0.02)),
    'the lens is longer': ('webcam fov', lambda m: _add(m.cam_fovy, 0, 0.1)),
    'the lens looks down': ('webcam up', lambda m: _add(m.cam_quat, (0, 0), 0.05)),
    'the camera is higher': ('webcam position', lambda m: _add(m.cam_pos, (0, 2), 0.01)),
    'the image is wider': ('webcam pixels', lambda m: setattr(m.vis.global_, 'offwidth', 640)),
    'there is less gravity': ('gravity', lambda m: _set(m.opt.gravity, 2, -9.80)),
}


def _set(array, index, value):
    array[index] = value


def _add(array, index, value):
    array[index] += value


@pytest.mark.parametrize('name', MODEL_MUTATIONS)
def test_a_changed_model_is_noticed(name):
    about, mutate = MODEL_MUTATIONS[name]
    stage, model = parts('aisle', 'amr_so100')
    mutate(model)
    found = check(stage, model)
    assert found
    assert any(about in sentence for sentence in found), found


def body(model, name):
    return model.body(name).id


TREE_MUTATIONS = {
    'an arm hangs on the other': (
        'joints/right_shoulder_pitch_joint hangs on',
        lambda m: _set(m.body_parentid, body(m, 'right_shoulder_pitch_joint'),
                       body(m, 'left_shoulder_pitch_joint'))),
    'a finger hangs on the thumb': (
        'joints/left_hand_index_0_joint hangs on',
        lambda m: _set(m.body_parentid, body(m, 'left_hand_index_0_joint'),
                       body(m, 'left_hand_thumb_0_joint'))),
    'the lift turns': (
        'joints/base_height slides',
        lambda m: _set(m.jnt_type, joint(m, 'base_height'), mujoco.mjtJoint.mjJNT_HINGE)),
    'a waist slides': (
        'joints/waist_yaw_joint slides',
        lambda m: _set(m.jnt_type, joint(m, 'waist_yaw_joint'), mujoco.mjtJoint.mjJNT_SLIDE)),
    'the lift goes lower': (
        'joints/base_height limits', lambda m: _set(m.joint('base_height').range, 0, 0.3)),
    'a shoulder is not tilted': (
        'joints/left_shoulder_pitch_joint axis',
        lambda m: m.joint('left_shoulder_pitch_joint').axis.__setitem__(slice(None), [0, 1, 0])),
    'the shoulders are swapped': (
        'joints/right_shoulder_pitch_joint at',
        lambda m: _set(m.body('right_shoulder_pitch_joint').pos, 1, 0.10021)),
    'the head sits on the base': (
        'waist_pitch_joint_link/head hangs on',
        lambda m: _set(m.cam_bodyid, 0, body(m, 'robot'))),
    'the pelvis is light': (
        'base_height_link mass', lambda m: _set(m.body('base_height').mass, 0, 3.0)),
}


@pytest.mark.parametrize('name', TREE_MUTATIONS)
def test_a_changed_tree_is_noticed(name):
    about, mutate = TREE_MUTATIONS[name]
    stage, model = parts('empty', 'g1_upper')
    mutate(model)
    found = check(stage, model)
    assert any(about in sentence for sentence in found), found


STAGE_MUTATIONS = {
    'double3 xformOp:translate = (11.3, 3.6, 0)': None,     # where a person begins is not built in
    'double radius = 0.2': 'double radius = 0.21',
    'double size = 1': 'double size = 1.001',
    'custom double spinal:fovY = 0.9': 'custom double spinal:fovY = 0.91',
    'custom double spinal:lower = -1.91': 'custom double spinal:lower = -1.92',
    'custom double spinal:mass = 0.148': 'custom double spinal:mass = 0.149',
}


@pytest.mark.parametrize('old', STAGE_MUTATIONS)
def test_a_model_of_another_stage_is_noticed(old):
    files = (read_scenario(CONFIG / 'scenarios/aisle.yaml'),
             read_robot(CONFIG / 'robots/amr_so100.yaml'))
    text = text_of(author(*files))
    assert old in text
    stage = Usd.Stage.CreateInMemory()
    new = STAGE_MUTATIONS[old]
    stage.GetRootLayer().ImportFromString(text.replace(old, new or old, 1))
    changed = model_of(read(stage), paths.STEP_NS).compile()
    assert bool(check(read(author(*files)), changed)) == (new is not None)


def test_what_is_missing_and_what_is_too_much_is_named():
    assert differences({'a': (1.0,), 'b': (2.0,)}, {'b': (2.0, 3.0), 'c': (0.0,)}, 1e-6) == [
        'a: is in the stage, but was not loaded', 'b: 2 in the stage, 2 3 loaded',
        'c: was loaded, but is not in the stage']
