"""The stage itself: what stands in it, that it is valid USD, and that it is always the same."""

import hashlib
import math
import subprocess
import sys

import pytest
from engine_scenes import CONFIG, printed_by_two_processes
from pxr import Usd, UsdGeom, UsdPhysics

from isaac_bridge.engines import create
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import read_scenario
from isaac_bridge.stage import paths
from isaac_bridge.stage.author import author, text_of
from isaac_bridge.stage.command import main
from isaac_bridge.stage.description import StageError, read
from isaac_bridge.stage.validation import problems
from isaac_bridge.world import WorldError

ROBOTS = ('amr', 'amr_so100', 'g1_upper')


def stage_of(scenario: str, robot: str) -> Usd.Stage:
    return author(read_scenario(CONFIG / f'scenarios/{scenario}.yaml'),
                  read_robot(CONFIG / f'robots/{robot}.yaml'))


@pytest.fixture(scope='module')
def aisle_stage() -> Usd.Stage:
    return stage_of('aisle', 'amr_so100')


@pytest.mark.parametrize('robot', ROBOTS)
@pytest.mark.parametrize('scenario', ['aisle', 'empty'])
def test_usd_validators_have_no_objection(scenario, robot):
    assert problems(stage_of(scenario, robot)) == []


def test_a_fault_is_found_by_the_validators():
    stage = stage_of('aisle', 'amr')
    stage.RemovePrim(f'{paths.ROBOT}/left_wheel_joint_link')
    assert any('left_wheel_joint' in problem for problem in problems(stage))


# Of what every engine loads for these robots: another digest is another world, in every figure.
PINNED = {'amr': 'b9fe7ea500917a058fd91ec7fffb1c10f01055df1c51caf4784eaf3541903725',
          'amr_so100': '3799020f850be41e16949d7f1e7def23fa6f9a62fd7e55ab3a20540d8ff32ed7'}


@pytest.mark.parametrize('name', PINNED)
def test_the_stage_of_a_known_robot_does_not_change_unnoticed(name):
    text = text_of(stage_of('empty', name))
    assert hashlib.sha256(text.encode()).hexdigest() == PINNED[name]


def test_the_same_input_gives_the_same_bytes_in_every_process():
    code = f'''
import hashlib
from isaac_bridge.engines import create
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import read_scenario
from isaac_bridge.stage.author import author, text_of
text = text_of(author(read_scenario({str(CONFIG / "scenarios/aisle.yaml")!r}),
                      read_robot({str(CONFIG / "robots/amr_so100.yaml")!r})))
print(hashlib.sha256(text.encode()).hexdigest(), len(text))
'''
    one, other = printed_by_two_processes(code)
    assert one == other
    assert int(one.split()[1]) > 10_000


def test_units_axis_and_step(aisle_stage):
    assert UsdGeom.GetStageMetersPerUnit(aisle_stage) == 1.0
    assert UsdGeom.GetStageUpAxis(aisle_stage) == 'Z'
    assert aisle_stage.GetDefaultPrim().GetPath() == paths.WORLD
    scene = UsdPhysics.Scene(aisle_stage.GetPrimAtPath(paths.SCENE))
    assert tuple(scene.GetGravityDirectionAttr().Get()) == (0.0, 0.0, -1.0)
    assert scene.GetGravityMagnitudeAttr().Get() == pytest.approx(9.81)
    rate = scene.GetPrim().GetAttribute('physxScene:timeStepsPerSecond').Get()
    assert rate * paths.STEP_NS == 1_000_000_000


@pytest.mark.parametrize('name', ROBOTS)
def test_the_robot_weighs_what_its_file_says(name):
    stage, robot = stage_of('empty', name), read_robot(CONFIG / f'robots/{name}.yaml')
    masses = [UsdPhysics.MassAPI(prim).GetMassAttr().Get() for prim in stage.Traverse()
              if prim.HasAPI(UsdPhysics.MassAPI)]
    assert sum(masses) == pytest.approx(robot.mass_kg, rel=1e-6)
    assert sum(body.mass_kg for body in read(stage).bodies) == pytest.approx(robot.mass_kg,
                                                                            rel=1e-12)


def test_the_doubles_beside_usds_singles_agree(aisle_stage):
    """UsdPhysics keeps masses, frames and limits in single precision."""
    bodies = read(aisle_stage).by_path
    for prim in aisle_stage.Traverse():
        if prim.HasAPI(UsdPhysics.MassAPI):
            single = UsdPhysics.MassAPI(prim).GetMassAttr().Get()
            assert single == pytest.approx(bodies[str(prim.GetPath())].mass_kg, rel=1e-6)
    for hinge in read(aisle_stage).hinges:
        joint = UsdPhysics.RevoluteJoint(aisle_stage.GetPrimAtPath(hinge.path))
        assert tuple(joint.GetLocalPos0Attr().Get()) == pytest.approx(hinge.at, abs=1e-6)
        if hinge.lower is not None:
            assert joint.GetLowerLimitAttr().Get() == pytest.approx(math.degrees(hinge.lower))
            assert joint.GetUpperLimitAttr().Get() == pytest.approx(math.degrees(hinge.upper))


def test_joints_have_the_limits_and_drives_of_the_file(aisle_stage):
    robot = read_robot(CONFIG / 'robots/amr_so100.yaml')
    hinges = {hinge.name: hinge for hinge in read(aisle_stage).hinges}
    assert tuple(hinges) == robot.joint_names
    assert robot.arm is not None
    for joint in robot.arm.joints:
        hinge = hinges[joint.name]
        assert (hinge.lower, hinge.upper) == (joint.lower, joint.upper)
        assert hinge.stiffness == pytest.approx(robot.arm.servo.stiffness, rel=1e-6)
        assert hinge.damping == pytest.approx(robot.arm.servo.damping, rel=1e-6)
        assert hinge.max_torque == pytest.approx(robot.arm.servo.max_torque, rel=1e-6)
        assert hinge.armature == robot.arm.servo.inertia
    for name in robot.joints:
        assert hinges[name].lower is None
        assert hinges[name].stiffness == 0.0


def test_bodies_stand_where_their_joints_are(aisle_stage):
    """Else an engine that trusts poses and one that trusts joints have two robots."""
    cache = UsdGeom.XformCache()
    for hinge in read(aisle_stage).hinges:
        joint = UsdPhysics.RevoluteJoint(aisle_stage.GetPrimAtPath(hinge.path))
        parent, child = (cache.GetLocalToWorldTransform(aisle_stage.GetPrimAtPath(path))
                         for path in (hinge.parent, hinge.child))
        assert tuple(parent.Transform(joint.GetLocalPos0Attr().Get())) == pytest.approx(
            tuple(child.Transform(joint.GetLocalPos1Attr().Get())), abs=1e-6)


def test_casters_slide_and_wheels_grip(aisle_stage):
    def friction(path: str) -> float:
        (target,) = aisle_stage.GetPrimAtPath(path).GetRelationship(
            'material:binding:physics').GetTargets()
        material = aisle_stage.GetPrimAtPath(target)
        return UsdPhysics.MaterialAPI(material).GetDynamicFrictionAttr().Get()

    assert friction(f'{paths.BASE}/front_caster') == friction(f'{paths.BASE}/rear_caster') == 0.0
    assert friction(f'{paths.ROBOT}/left_wheel_joint_link/tyre') == pytest.approx(paths.TRACTION)


def test_sensors_carry_the_files_numbers():
    stage, robot = stage_of('aisle', 'amr'), read_robot(CONFIG / 'robots/amr.yaml')
    lidar = stage.GetPrimAtPath(f'{paths.BASE}/base_scan')
    got = {name: lidar.GetAttribute(f'spinal:{name}').Get() for name in (
        'beams', 'angleMin', 'angleMax', 'rangeMin', 'rangeMax', 'noise', 'rate', 'frame')}
    assert got == {
        'beams': 720, 'angleMin': robot.lidar.angle_min_rad, 'angleMax': robot.lidar.angle_max_rad,
        'rangeMin': 0.05, 'rangeMax': 20.0, 'noise': 0.01, 'rate': 40.0, 'frame': 'base_scan'}
    camera, lens = UsdGeom.Camera(stage.GetPrimAtPath(f'{paths.BASE}/front')), robot.camera
    assert lens is not None
    focal_px = (camera.GetFocalLengthAttr().Get() / camera.GetVerticalApertureAttr().Get()
                * lens.height)
    assert focal_px == pytest.approx(lens.focal_px, rel=1e-6)
    matrix = UsdGeom.XformCache().GetLocalToWorldTransform(camera.GetPrim())
    ahead = matrix.TransformDir((0.0, 0.0, -1.0))
    assert tuple(ahead) == pytest.approx(
        (math.cos(lens.pitch_rad), 0.0, -math.sin(lens.pitch_rad)))
    assert tuple(matrix.ExtractTranslation()) == pytest.approx(lens.pose)


def test_everything_seen_has_a_semantic_class(aisle_stage):
    stage = read(aisle_stage)
    kinds = {shape.label for shape in stage.shapes}
    assert kinds == {'floor', 'line', 'goal', 'wall', 'rack', 'robot', 'person'}
    assert all(shape.label == 'person' for shape in stage.shapes if '/people/' in shape.path)


def test_people_are_moved_not_pushed(aisle_stage):
    people = [body for body in read(aisle_stage).bodies if '/people/' in body.path]
    assert [body.name for body in people] == ['picker', 'clerk']
    assert all(body.kinematic for body in people)
    assert people[0].position == (11.3, 3.6, 0.0)


@pytest.mark.parametrize('gone', [paths.WORLD, paths.SCENE])
def test_a_stage_of_somebody_else_is_refused(gone):
    stage = stage_of('empty', 'amr')
    stage.RemovePrim(gone)
    with pytest.raises(StageError, match=gone):
        read(stage)


def test_the_command_writes_a_valid_file(tmp_path, capsys):
    output = tmp_path / 'aisle.usda'
    arguments = ['--scenario', str(CONFIG / 'scenarios/aisle.yaml'), '--robot',
                 str(CONFIG / 'robots/amr.yaml'), '--output', str(output)]
    assert main(arguments) == 0
    assert '0 problems' in capsys.readouterr().out
    assert output.read_text() == text_of(stage_of('aisle', 'amr'))
    assert read(Usd.Stage.Open(str(output))) == read(stage_of('aisle', 'amr'))


@pytest.mark.parametrize(('option', 'value', 'sentence'), [
    ('--scenario', 'nowhere.yaml', 'nowhere.yaml: No such file'),
    ('--robot', str(CONFIG / 'scenarios/aisle.yaml'), 'is a required property'),
    ('--output', '/nowhere/x.usda', '/nowhere/x.usda: No such file')])
def test_the_command_says_in_one_sentence_what_is_wrong(tmp_path, capsys, option, value, sentence):
    arguments = {'--scenario': str(CONFIG / 'scenarios/aisle.yaml'),
                 '--robot': str(CONFIG / 'robots/amr.yaml'),
                 '--output': str(tmp_path / 'x.usda')} | {option: value}
    assert main([word for pair in arguments.items() for word in pair]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count('\n') == 1


@pytest.mark.parametrize(('engine', 'module', 'package'), [
    ('mujoco', 'pxr', 'usd-core'), ('physx', 'ovphysx', 'ovphysx'), ('mujoco', 'mujoco', 'mujoco')])
def test_an_engine_without_its_package_is_one_sentence(engine, module, package):
    code = f'''
import sys
sys.modules[{module!r}] = None
from isaac_bridge.engines import create
from isaac_bridge.world import WorldError
try:
    create({engine!r})
except WorldError as problem:
    print(problem)
'''
    done = subprocess.run([sys.executable, '-c', code], check=True, timeout=60, text=True,
                          capture_output=True)
    assert done.stdout.strip() == (f'engine {engine} needs the Python package {package}, which is '
                                   'not installed here')


def test_newton_is_refused_with_its_reason():
    with pytest.raises(WorldError, match=r'newton 1\.8 wants mujoco 3\.17'):
        create('newton')
