"""The OmniGraph of a robot's ray-traced sensors, as plain data.

`kit_scene` builds exactly what `rtx_graph` says, and the static gate checks exactly that. Only the
RTX lidar and the camera go this way, since their data are born on the GPU; clock, joints, odometry,
transforms, the plain scan and the commands are the front end's.

Stamps are Isaac Sim's own simulation time, which the world brings to START_NS before its first
frame: so they equal the front end's.
"""

import dataclasses
from typing import Any

from ..robot import Robot

PATH = '/World/rtx_sensors'
EVALUATOR = 'execution'
PREFIX = 'rtx'


@dataclasses.dataclass(frozen=True)
class Node:
    """version is the one that the attributes were read from; another one is refused."""

    name: str
    type: str
    version: int
    values: tuple[tuple[str, Any], ...] = ()    # attribute (inputs:..), value


@dataclasses.dataclass(frozen=True)
class Link:
    """`node.outputs:attribute` to `node.inputs:attribute`."""

    source: str
    target: str


@dataclasses.dataclass(frozen=True)
class Graph:
    path: str
    evaluator: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]


def rtx_graph(robot: Robot, lidar_prim: str, camera_prim: str | None,
              prefix: str = PREFIX) -> Graph:
    """Topics `<prefix>/scan`, `<prefix>/points` and, with a camera, `<prefix>/<name>/image_raw`
    and `camera_info`. The prims are paths of an OmniLidar and of a Camera."""
    nodes = [
        Node('tick', 'omni.graph.action.OnPlaybackTick', 1),
        # The attributes of render products are set once; the helpers then live in the renderer.
        Node('once', 'isaacsim.core.nodes.OgnIsaacRunOneSimulationFrame', 1),
        Node('context', 'isaacsim.ros2.bridge.ROS2Context', 2,
             (('inputs:useDomainIDEnvVar', True),)),
        Node('qos', 'isaacsim.ros2.bridge.ROS2QoSProfile', 1, (
            ('inputs:createProfile', 'Custom'), ('inputs:history', 'keepLast'),
            ('inputs:depth', 1), ('inputs:reliability', 'bestEffort'),
            ('inputs:durability', 'volatile'))),
    ]
    links = [Link('tick.outputs:tick', 'once.inputs:execIn')]
    _product(nodes, links, 'lidar', lidar_prim, ())
    for name, kind, topic in (('scan', 'laser_scan', 'scan'), ('points', 'point_cloud', 'points')):
        _helper(nodes, links, name, 'isaacsim.ros2.bridge.ROS2RtxLidarHelper', 3, 'lidar', (
            ('inputs:type', kind), ('inputs:topicName', f'{prefix}/{topic}'),
            ('inputs:frameId', robot.lidar.frame)))
    lens = robot.camera
    if lens is not None and camera_prim is not None:
        # A product is rendered at every scan; the images between two of a camera are left out.
        skip = max(0, round(robot.lidar.rate_hz / lens.rate_hz) - 1)
        common = (('inputs:frameId', f'{lens.frame}_optical'), ('inputs:frameSkipCount', skip))
        _product(nodes, links, 'camera', camera_prim, (
            ('inputs:width', lens.width), ('inputs:height', lens.height)))
        _helper(nodes, links, 'image', 'isaacsim.ros2.bridge.ROS2CameraHelper', 4, 'camera', (
            ('inputs:type', 'rgb'), ('inputs:topicName', f'{prefix}/{lens.name}/image_raw'),
            *common))
        _helper(nodes, links, 'info', 'isaacsim.ros2.bridge.ROS2CameraInfoHelper', 1, 'camera', (
            ('inputs:topicName', f'{prefix}/{lens.name}/camera_info'), *common))
    return Graph(PATH, EVALUATOR, tuple(nodes), tuple(links))


def _product(nodes: list[Node], links: list[Link], name: str, prim: str,
             values: tuple[tuple[str, Any], ...]) -> None:
    nodes.append(Node(f'{name}_product', 'isaacsim.core.nodes.IsaacCreateRenderProduct', 3,
                      (('inputs:cameraPrim', [prim]), *values)))
    links.append(Link('once.outputs:step', f'{name}_product.inputs:execIn'))


def _helper(nodes: list[Node], links: list[Link], name: str, kind: str, version: int, product: str,
            values: tuple[tuple[str, Any], ...]) -> None:
    """A publisher of what a render product sees."""
    nodes.append(Node(name, kind, version, (
        *values, ('inputs:useSystemTime', False), ('inputs:resetSimulationTimeOnStop', True))))
    links.extend([
        Link(f'{product}_product.outputs:execOut', f'{name}.inputs:execIn'),
        Link(f'{product}_product.outputs:renderProductPath', f'{name}.inputs:renderProductPath'),
        Link('context.outputs:context', f'{name}.inputs:context'),
        Link('qos.outputs:qosProfile', f'{name}.inputs:qosProfile')])
