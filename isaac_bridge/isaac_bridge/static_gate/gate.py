"""All checks of the gate in one."""

import ast
from pathlib import Path

from ..isaac import assets, graph, rtx_lidar, session
from ..robot import Camera, Robot, read_robot
from . import allow
from .findings import Report
from .graphs import check_graph
from .modules import Class, Index
from .nodes import read_nodes, read_templates
from .schemas import check_lidar, read_schema
from .usage import check_source
from .wheels import Wheels

APPLICATION = Path(graph.__file__).parent
_LAUNCHER = 'isaacsim.simulation_app.simulation_app'


def run(wheels: Wheels, robots: list[Path]) -> Report:
    """Everything that the application uses, for the graphs of the given robot files.

    Raises GateError where the wheels are not as expected.
    """
    report = Report()
    index = Index(wheels)
    graphs = [graph.rtx_graph(robot, '/World/lidar', '/World/camera')
              for robot in [_robot_with_camera(), *map(read_robot, robots)]]
    nodes = read_nodes(wheels)
    for one in graphs:
        check_graph(one, nodes, allow.NODES, report)
    check_documentation(wheels, {node.type for one in graphs for node in one.nodes}, report)
    schema = read_schema(wheels, rtx_lidar.SCHEMA)
    emitters = read_schema(wheels, rtx_lidar.EMITTER_SCHEMA)
    for robot in [_robot_with_camera(), *map(read_robot, robots)]:
        check_lidar(rtx_lidar.attributes(robot.lidar), schema, emitters, rtx_lidar.EMITTER, report)
    for path in sorted(APPLICATION.glob('*.py')):
        text = path.read_text()
        check_source(path, text, index, report)
        check_launch(path.name, text, index, report)
    check_session(wheels, session.EXPERIENCE, session.EXTENSIONS, assets.ROOT_SETTING, report)
    return report


def check_documentation(wheels: Wheels, used: set[str], report: Report) -> None:
    """The wheels' two sources about a node, its page and its test's prim, must agree."""
    nodes, templates = read_nodes(wheels), read_templates(wheels)
    for name in sorted(used & nodes.keys() & templates.keys()):
        report.count('node templates')
        version, attributes = templates[name]
        node = nodes[name]
        said = {attribute for attribute in node.attributes
                if attribute.startswith(('inputs:', 'outputs:'))}
        if version != node.version or attributes != said:
            report.fail(f'wheels, {name}', 'its page and its template differ')


def check_launch(file: str, text: str, index: Index, report: Report) -> None:
    """The keys of a launch_config are SimulationApp's own: it takes any other without a word."""
    launcher = index.member(_LAUNCHER, 'SimulationApp')
    assert isinstance(launcher, Class)
    known = {key.value for statement in launcher.node.body
             if isinstance(statement, ast.Assign)
             and ast.unparse(statement.targets[0]) == 'DEFAULT_LAUNCHER_CONFIG'
             and isinstance(statement.value, ast.Dict)
             for key in statement.value.keys if isinstance(key, ast.Constant)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.keyword) and node.arg == 'launch_config' and isinstance(
                node.value, ast.Dict):
            for key in node.value.keys:
                report.count('start options')
                if not (isinstance(key, ast.Constant) and key.value in known):
                    name = ast.unparse(key) if key is not None else '**'
                    report.fail(f'{file}:{node.value.lineno}',
                                f'SimulationApp has no start option {name}')


def check_session(wheels: Wheels, experience: str, extensions: tuple[str, ...], setting: str,
                  report: Report) -> None:
    """The experience, the extensions and the setting that the application names."""
    report.count('experiences')
    if wheels.experience(experience) is None:
        report.fail('session.EXPERIENCE', f'no wheel has an experience {experience}')
    for name in extensions:
        report.count('extensions')
        if name not in wheels.extensions:
            report.fail('session.EXTENSIONS', f'no wheel has an extension {name}')
    report.count('settings')
    dotted = setting.strip('/').replace('/', '.')
    if not any(line.split('=')[0].strip() == dotted
               for path in wheels.files('config/extension.toml')
               for line in path.read_text().splitlines()):
        report.fail('assets.ROOT_SETTING', f'no extension declares a setting {setting}')


def _robot_with_camera() -> Robot:
    """A robot that makes the application build every node that it knows of."""
    from ..robot import Lidar, Limits
    lidar = Lidar('base_scan', 'scan', 'base_scan', (0.0, 0.0, 0.0), 0.2, 720, -3.141592653589793,
                  3.132866007343382, 40.0, 0.05, 20.0, 0.01)
    lens = Camera('front', 'camera_front', (0.35, 0.0, 0.3), 0.15, 224, 224, 1.2, 10.0)
    limits = Limits(0.9, 0.2, 1.2, 0.8, 2.5, 1.5, 5.0, 0.15)
    return Robot('gate', ((-0.4, -0.3), (0.4, -0.3), (0.4, 0.3), (-0.4, 0.3)), 0.35, 60.0, 0.1, 0.5,
                 ('left_wheel_joint', 'right_wheel_joint'), limits, lidar, lens)
