"""The Foxglove layout and the RViz config: whole, and of topics and fields that there are."""

import json
import re
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from rosidl_runtime_py.utilities import get_message
from sensor_msgs.msg import LaserScan
from visualization_msgs.msg import MarkerArray

CONFIG = Path(__file__).resolve().parents[3] / 'config'
LAYOUT = json.loads((CONFIG / 'foxglove/spinal.json').read_text())
RVIZ = yaml.safe_load((CONFIG / 'rviz/spinal.rviz').read_text())
# What the nodes of a target publish under these names.
TYPES = {'/scan': LaserScan, '/odom': Odometry, '/cmd_vel': TwistStamped,
         '/policy/cmd_vel': TwistStamped, '/teleop/cmd_vel': TwistStamped,
         '/safety/state': DiagnosticArray, '/safety/markers': MarkerArray,
         '/diagnostics': DiagnosticArray, '/goal_pose': PoseStamped}
SENSORS = {'/scan', '/odom', '/safety/markers'}
_FILTER = re.compile(r'\{key=="(\w+)"\}')


def placed(node):
    """The panel ids in a layout's tree, those in tabs included."""
    if isinstance(node, str):
        inner = LAYOUT['configById'][node].get('tabs', []) if node.startswith('Tab!') else []
        return [node, *(name for tab in inner for name in placed(tab['layout']))]
    assert node['direction'] in ('row', 'column')
    assert 0 < node['splitPercentage'] < 100
    return placed(node['first']) + placed(node['second'])


def message_paths():
    found = [path['value'] for panel in LAYOUT['configById'].values()
             for path in panel.get('paths', [])]
    return [*found, LAYOUT['configById']['RawMessages!safety_raw']['topicPath']]


def status_keys():
    """The values of safety/state that the layout shows."""
    return {match[1] for path in message_paths() if (match := _FILTER.search(path))}


def test_every_panel_is_placed_once_and_has_its_settings():
    ids = placed(LAYOUT['layout'])
    assert len(ids) == len(set(ids))
    assert set(ids) == set(LAYOUT['configById'])
    assert {name.split('!')[0] for name in ids} == {
        '3D', 'StateTransitions', 'Plot', 'Tab', 'RawMessages', 'DiagnosticSummary',
        'DiagnosticStatusPanel'}
    assert set(LAYOUT) == {'configById', 'globalVariables', 'userNodes', 'playbackConfig', 'layout'}


@pytest.mark.parametrize('path', message_paths())
def test_every_path_leads_to_a_field(path):
    topic, *fields = _FILTER.sub('', path).split('.')
    kind = TYPES[topic]
    for field in fields:
        name = field.split('[')[0]
        types = kind.get_fields_and_field_types()
        assert name in types, f'{path}: {kind.__name__} has no {name}'
        element = types[name].removeprefix('sequence<').removesuffix('>')
        assert (element != types[name]) == ('[' in field), f'{path}: {name} and its index'
        if '/' in element:
            kind = get_message(element.replace('/', '/msg/'))


def test_the_scene_shows_topics_that_there_are():
    shown = set(LAYOUT['configById']['3D!safety_scene']['topics'])
    assert SENSORS <= shown <= set(TYPES)
    for name in ('DiagnosticSummary!summary', 'DiagnosticStatusPanel!safety_status'):
        assert TYPES[LAYOUT['configById'][name]['topicToRender']] is DiagnosticArray


def test_rviz_listens_as_the_topics_are_published():
    displays = {display['Class'].split('/')[1]: display
                for display in RVIZ['Visualization Manager']['Displays']}
    assert set(displays) == {'Grid', 'TF', 'Odometry', 'LaserScan', 'MarkerArray'}
    topics = {f'/{display["Topic"]["Value"]}': display['Topic']['Reliability Policy']
              for display in displays.values() if 'Topic' in display}
    assert topics == dict.fromkeys(SENSORS, 'Best Effort')
    assert all(display['Enabled'] for display in displays.values())


def test_a_goal_that_rviz_sets_reaches_the_policy():
    goal = next(tool['Topic'] for tool in RVIZ['Visualization Manager']['Tools']
                if tool['Class'] == 'rviz_default_plugins/SetGoal')
    assert f'/{goal["Value"]}' in TYPES
    assert goal['Durability Policy'] == 'Transient Local'   # docs/contracts.md: goal_pose
