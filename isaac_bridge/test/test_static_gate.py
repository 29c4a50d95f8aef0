"""The static gate passes the application as it is, and no seeded fault gets through it."""

import dataclasses
import os
from pathlib import Path

import pytest

from isaac_bridge.isaac import assets, graph, rtx_lidar, session
from isaac_bridge.static_gate import allow
from isaac_bridge.static_gate.__main__ import main, table
from isaac_bridge.static_gate.findings import GateError, Report
from isaac_bridge.static_gate.gate import (
    APPLICATION,
    _robot_with_camera,
    check_launch,
    check_session,
    run,
)
from isaac_bridge.static_gate.graphs import check_graph, connects, fits
from isaac_bridge.static_gate.modules import Index
from isaac_bridge.static_gate.nodes import read_nodes, read_templates
from isaac_bridge.static_gate.schemas import check_lidar, read_schema
from isaac_bridge.static_gate.usage import check_source
from isaac_bridge.static_gate.wheels import VARIABLE, Wheels, find

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ROOT / '.spinal' / 'env' / 'isaac' / 'lib' / 'python3.12' / 'site-packages'
ROBOT = _robot_with_camera()
GRAPH = graph.rtx_graph(ROBOT, '/World/lidar', '/World/camera')
HELPER = 'isaacsim.ros2.bridge.ROS2RtxLidarHelper'
# What the wheels do not say; a longer list wants a look, not a longer list here.
UNCHECKED = {'IsValid of pxr.Usd.Stage().GetPrimAtPath()'}


@pytest.fixture(scope='module')
def wheels():
    try:
        return find([INSTALLED])
    except GateError as problem:
        if os.environ.get(VARIABLE):
            raise       # said to be there
        pytest.skip(str(problem))


@pytest.fixture(scope='module')
def nodes(wheels):
    return read_nodes(wheels)


@pytest.fixture(scope='module')
def index(wheels):
    return Index(wheels)


def test_the_application_passes(wheels):
    robots = sorted((ROOT / 'config' / 'robots').glob('amr*.yaml'))
    report = run(wheels, [path for path in robots if 'fields' not in path.name])
    assert report.findings == []
    assert {skip.what for skip in report.unchecked} == UNCHECKED
    for kind, least in (('node types', 10), ('node versions', 10), ('connections', 19),
                        ('attribute values', 31), ('calls', 40), ('arguments', 50), ('names', 80),
                        ('modules', 20), ('USD attributes', 20), ('extensions', 11),
                        ('node templates', 7)):
        assert report.counted[kind] >= least, f'{kind}: {report.counted[kind]}'
    assert 'WRONG' not in table(wheels, report)


def test_both_sources_about_every_node_agree(wheels, nodes):
    templates = read_templates(wheels)
    assert len(nodes) > 70
    assert set(templates) == set(nodes)
    for name, (version, attributes) in templates.items():
        said = {attribute for attribute in nodes[name].attributes
                if attribute.startswith(('inputs:', 'outputs:'))}
        assert (version, attributes) == (nodes[name].version, said), name


def _node(name, **changes):
    return dataclasses.replace(GRAPH, nodes=tuple(
        dataclasses.replace(node, **changes) if node.name == name else node
        for node in GRAPH.nodes))


def _value(name, attribute, value, *, instead=None):
    node = next(node for node in GRAPH.nodes if node.name == name)
    values = tuple(pair for pair in node.values if pair[0] != (instead or attribute))
    return _node(name, values=(*values, (attribute, value)))


def _link(source, target, *, instead=None):
    links = tuple(link for link in GRAPH.links
                  if (link.source, link.target) != instead)
    assert instead is None or len(links) < len(GRAPH.links)
    return dataclasses.replace(GRAPH, links=(*links, graph.Link(source, target)))


GRAPH_FAULTS = {
    'the type ids of an older Isaac Sim': _node(
        'scan', type='omni.isaac.ros2_bridge.ROS2RtxLidarHelper'),
    'the extension taken for the prefix': _node('scan', type='isaacsim.ros2.nodes'
                                                             '.ROS2RtxLidarHelper'),
    'a type that sounds right': _node('image', type='isaacsim.ros2.bridge.ROS2PublishRgbd'),
    'the class name for the type': _node(
        'lidar_product', type='isaacsim.core.nodes.OgnIsaacCreateRenderProduct'),
    'an older version': _node('scan', version=2),
    'a version yet to come': _node('image', version=5),
    'an older version of the context': _node('context', version=1),
    'an attribute misspelt': _value('scan', 'inputs:topicname', 'rtx/scan',
                                    instead='inputs:topicName'),
    'an attribute of another node': _value('scan', 'inputs:width', 640),
    'an output set': _value('context', 'outputs:context', 7),
    'a word for a switch': _value('scan', 'inputs:useSystemTime', 'false'),
    'a negative count': _value('image', 'inputs:frameSkipCount', -1),
    'a fraction for a size': _value('camera_product', 'inputs:width', 224.5),
    'a name for a prim': _value('lidar_product', 'inputs:cameraPrim', 'lidar'),
    'a token that is none of the allowed': _value('scan', 'inputs:type', 'LaserScan'),
    'the token of another camera': _value('image', 'inputs:type', 'rgb8'),
    'the reliability as ROS writes it': _value('qos', 'inputs:reliability', 'best_effort'),
    'an execution into a path': _link('lidar_product.outputs:execOut',
                                      'scan.inputs:renderProductPath',
                                      instead=('lidar_product.outputs:renderProductPath',
                                               'scan.inputs:renderProductPath')),
    'a path into a topic name': _link('lidar_product.outputs:renderProductPath',
                                      'scan.inputs:topicName'),
    'a time into a context': _link('tick.outputs:time', 'scan.inputs:context',
                                   instead=('context.outputs:context', 'scan.inputs:context')),
    'an output that is not there': _link('lidar_product.outputs:renderProduct',
                                         'points.inputs:renderProductPath',
                                         instead=('lidar_product.outputs:renderProductPath',
                                                  'points.inputs:renderProductPath')),
    'an input that is not there': _link('context.outputs:context', 'once.inputs:context'),
    'an input as a source': _link('qos.inputs:depth', 'scan.inputs:queueSize'),
    'a node that is not there': _link('clock.outputs:tick', 'once.inputs:execIn'),
    'two sources of one input': _link('context.outputs:context', 'scan.inputs:context'),
    'another output of the tick': _link('tick.outputs:step', 'once.inputs:execIn',
                                        instead=('tick.outputs:tick', 'once.inputs:execIn')),
    'an evaluator that is none': dataclasses.replace(GRAPH, evaluator='action'),
}


def test_the_graph_passes(nodes):
    report = Report()
    check_graph(GRAPH, nodes, allow.NODES, report)
    assert report.passed


@pytest.mark.parametrize('fault', GRAPH_FAULTS)
def test_a_fault_of_the_graph_is_found(fault, nodes):
    report = Report()
    check_graph(GRAPH_FAULTS[fault], nodes, allow.NODES, report)
    assert report.findings


# Of each: the file, what stands in it, what is put instead.
SOURCE_FAULTS = {
    'a module renamed': (
        'kit_scene.py', 'from isaacsim.core.simulation_manager import',
        'from isaacsim.core.simulation import'),
    'the module of an older Isaac Sim': (
        'kit_scene.py', 'from isaacsim.core.experimental.prims import Articulation\n',
        'from isaacsim.core.prims import Articulation\n'),
    'a module of the oldest': (
        'kit_scene.py', 'from isaacsim.core.rendering_manager import RenderingManager',
        'from omni.isaac.core import RenderingManager'),
    'a class that is not there': (
        'kit_scene.py', 'import Raycast, RaycastSensor', 'import Raycast, RayCastSensor'),
    'a helper renamed': (
        'kit_scene.py', 'stage_utils.close_stage()', 'stage_utils.clear_stage()'),
    'a helper of the wrong module': (
        'kit_scene.py', 'app_utils.play()', 'app_utils.start_simulation()'),
    'a method renamed': (
        'kit_scene.py', 'get_num_physics_steps() - before', 'get_physics_step_count() - before'),
    'a method of another class': (
        'kit_scene.py', 'frame = self._rays.get_data()', 'frame = self._rays.get_depths()'),
    'a method of the older class': (
        'kit_scene.py', 'self._articulation.set_dof_positions(',
        'self._articulation.set_joint_positions('),
    'a keyword misspelt': ('kit_scene.py', 'self._physics.step(steps=n,',
                           'self._physics.step(step=n,'),
    'a keyword by position': ('kit_scene.py', 'self._physics.step(steps=n, ',
                              'self._physics.step(n, '),
    'a keyword of a constructor misspelt': (
        'kit_scene.py', "resolution=(lens.height", "resolutions=(lens.height"),
    'a keyword that a method hands on': (
        'kit_scene.py', "output_frame='SENSOR'", "frame='SENSOR'"),
    'a needed argument missing': (
        'kit_scene.py', 'self._articulation.get_dof_indices(self._names)',
        'self._articulation.get_dof_indices()'),
    'an argument too many': (
        'kit_scene.py', 'RenderingManager.set_dt(render_steps * self._step_s)',
        'RenderingManager.set_dt(render_steps * self._step_s, True)'),
    'an annotator misspelt': ('kit_scene.py', "annotators=['rgb']", "annotators=['RGB']"),
    'a key misspelt': ('kit_scene.py', "frame['depths']", "frame['depth']"),
    'a key of another frame': ('kit_scene.py', "abs(frame['time'] -", "abs(frame['timestamp'] -"),
    'a method on the elements of a list': (
        'kit_scene.py', 'prim.set_local_poses(', 'prim.set_local_pose('),
    'a part of OmniGraph that nobody looked up': (
        'graph_build.py', 'og.Controller.Keys.CONNECT', 'og.Controller.Keys.CONNECTIONS'),
    'a method of an array that nobody looked up': (
        'kit_scene.py', 'get_dof_positions(dof_indices=self._dofs).numpy()',
        'get_dof_positions(dof_indices=self._dofs).cpu()'),
    'a function of USD that is not there': (
        'references.py', 'UsdUtils.ExtractExternalReferences', 'UsdUtils.ExtractReferences'),
    'a function of Nucleus that is not there': (
        'transfer.py', 'omni.client.read_file(url)', 'omni.client.readfile(url)'),
    'a result of Nucleus that is not there': (
        'transfer.py', 'Result.OK', 'Result.SUCCESS'),
    'a method of the settings that is not there': (
        'session.py', '.get_settings().get(name)', '.get_settings().get_value(name)'),
    'an argument of the start': ('session.py', 'experience=str(', 'experience_path=str('),
    'a start option misspelt': ('session.py', "'headless':", "'headles':"),
}


def _check_text(name, text, index):
    report = Report()
    check_source(APPLICATION / name, text, index, report)
    check_launch(name, text, index, report)
    return report


@pytest.mark.parametrize('fault', SOURCE_FAULTS)
def test_a_fault_of_the_sources_is_found(fault, index):
    name, right, wrong = SOURCE_FAULTS[fault]
    text = (APPLICATION / name).read_text()
    assert text.count(right) == 1, f'{right!r} does not stand once in {name}'
    assert _check_text(name, text, index).passed
    assert _check_text(name, text.replace(right, wrong), index).findings


SESSION_FAULTS = {
    'the experience of another': {'experience': 'isaacsim.exp.zero_delay.kit'},
    'an extension of an older Isaac Sim': {'extensions': ('omni.isaac.ros2_bridge',)},
    'an extension misspelt': {'extensions': ('isaacsim.ros2.node',)},
    'the setting of an older Isaac Sim': {'setting': '/persistent/isaac/asset_root/cloud'},
}


@pytest.mark.parametrize('fault', SESSION_FAULTS)
def test_a_fault_of_the_session_is_found(fault, wheels):
    right = {'experience': session.EXPERIENCE, 'extensions': session.EXTENSIONS,
             'setting': assets.ROOT_SETTING}
    report = Report()
    check_session(wheels, **right, report=report)
    assert report.passed
    check_session(wheels, **(right | SESSION_FAULTS[fault]), report=report)
    assert len(report.findings) == 1


LIDAR_FAULTS = {
    'an attribute misspelt': ('omni:sensor:Core:farRangeM', 'omni:sensor:Core:farRangeMeters',
                              20.0),
    'a fraction of a turn': ('omni:sensor:Core:scanRateBaseHz', 'omni:sensor:Core:scanRateBaseHz',
                             12.5),
    'a token that is none': ('omni:sensor:Core:scanType', 'omni:sensor:Core:scanType', 'rotary'),
    'a number for a list': ('omni:sensor:Core:emitterState:s001:azimuthDeg',
                            'omni:sensor:Core:emitterState:s001:azimuthDeg', 0.0),
    'an emitter that is not made': ('omni:sensor:Core:emitterState:s001:fireTimeNs',
                                    'omni:sensor:Core:emitterState:s002:fireTimeNs', [0]),
}


@pytest.mark.parametrize('fault', LIDAR_FAULTS)
def test_a_fault_of_the_lidar_is_found(fault, wheels):
    schema = read_schema(wheels, rtx_lidar.SCHEMA)
    emitters = read_schema(wheels, rtx_lidar.EMITTER_SCHEMA)
    attributes = rtx_lidar.attributes(ROBOT.lidar)
    report = Report()
    check_lidar(attributes, schema, emitters, rtx_lidar.EMITTER, report)
    assert report.passed
    right, wrong, value = LIDAR_FAULTS[fault]
    del attributes[right]
    check_lidar(attributes | {wrong: value}, schema, emitters, rtx_lidar.EMITTER, report)
    assert len(report.findings) == 1


def test_there_are_enough_faults():
    assert len(GRAPH_FAULTS) + len(SOURCE_FAULTS) + len(SESSION_FAULTS) + len(LIDAR_FAULTS) >= 60


@pytest.mark.parametrize(('value', 'kind'), [
    (True, 'bool'), (0, 'uint'), (255, 'uchar'), (-1, 'int'), (2**63, 'uint64'), (1, 'double'),
    ('rgb', 'token'), (['/World/a'], 'target'), ([0.5, 1.0], 'float[2]'), ([1, 2, 3], 'uint[]'),
    ((0.0, 1.0, 2.0), 'vectord[3]')])
def test_a_value_of_a_type_fits(value, kind):
    assert fits(value, kind)


@pytest.mark.parametrize(('value', 'kind'), [
    (1, 'bool'), (-1, 'uint'), (256, 'uchar'), (2**31, 'int'), (2**64, 'uint64'), (True, 'double'),
    (1.0, 'uint'), (b'rgb', 'token'), ('/World/a', 'target'), ([], 'target'), (['World'], 'target'),
    ([0.5], 'float[2]'), ([0.5], 'uint[]'), (1, 'bundle')])
def test_a_value_of_another_type_does_not(value, kind):
    assert not fits(value, kind)


def test_connections_look_at_numbers_and_not_at_roles():
    assert connects('vectord[3]', 'double[3]')
    assert connects('matrixd[4]', 'double[16]')
    assert connects('token', "['string', 'token']")
    assert not connects('double', 'float')
    assert not connects('double[3]', 'double[3][]')
    assert not connects('bool', "['string', 'token']")


def test_without_wheels_it_says_what_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr('sys.path', [])
    assert main([]) == 2
    assert 'isaacsim_core' in capsys.readouterr().err


def test_wheels_of_another_version_are_refused(tmp_path):
    for name in ('isaacsim', 'isaacsim_core', 'isaacsim_kernel', 'isaacsim_sensor',
                 'isaacsim_storage', 'isaacsim_ros2'):
        (tmp_path / f'{name}-6.1.0.0.dist-info').mkdir()
    (tmp_path / 'isaacsim').mkdir()
    with pytest.raises(GateError, match=r'6\.2\.0\.0'):
        Wheels([tmp_path])


def test_every_allowed_name_is_used(wheels):
    """What nobody uses any longer must not be allowed any longer."""
    used = ''.join(path.read_text() for path in APPLICATION.glob('*.py'))
    for name in allow.PYTHON:
        assert name.rpartition('.')[2].removesuffix('()') in used or name == 'warp.array'
    assert set(allow.NODES) <= {node.type for node in GRAPH.nodes}


def test_without_usd_core_only_its_names_go_unchecked(wheels, monkeypatch):
    """As in Isaac Sim's own Python, which has no USD before it runs."""
    import importlib.util
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec',
                        lambda name, *rest: None if name == 'pxr' else found(name, *rest))
    report = run(wheels, [])
    assert report.findings == []
    assert {skip.where.partition(':')[0] for skip in report.unchecked} <= {
        'references.py', 'surroundings.py', 'kit_scene.py'}


def test_an_installed_isaac_sim_is_read_like_its_wheels(wheels, tmp_path):
    place = next(folder for folder in wheels.folders
                 if (folder / 'isaacsim' / 'VERSION').is_file()) / 'isaacsim'
    assert Wheels.installed(place).module('isaacsim.core.simulation_manager') is not None
    assert Wheels.installed(place).experience(session.EXPERIENCE) is not None
    with pytest.raises(GateError, match='is no Isaac Sim'):
        Wheels.installed(tmp_path)
    (tmp_path / 'VERSION').write_text('5.1.0-rc.2')
    with pytest.raises(GateError, match=r'not 5\.1\.0'):
        Wheels.installed(tmp_path)
