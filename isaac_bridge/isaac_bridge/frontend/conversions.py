"""Messages of simulation_interfaces to this package's values, and back."""

from typing import Any

from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import Vector3
from simulation_interfaces.msg import Bounds as BoundsMessage
from simulation_interfaces.msg import EntityState, Resource, WorldResource

from ..entities import Bounds, Pose, State, Vector
from .library import WorldFile
from .machine import Answer

MAX_SENTENCE = 1000


def say(result: Any, answer: Answer) -> None:
    """Into a Result message: its code, and its sentence on one line, whatever it quotes."""
    result.result = int(answer.code)
    result.error_message = ' '.join(answer.sentence.split())[:MAX_SENTENCE]


def vector(message: Any) -> Vector:
    return message.x, message.y, message.z


def pose(message: PoseMessage) -> Pose:
    turn = message.orientation
    return Pose(vector(message.position), (turn.x, turn.y, turn.z, turn.w))


def state(message: EntityState) -> State:
    return State(pose(message.pose), vector(message.twist.linear), vector(message.twist.angular))


def pose_message(value: Pose) -> PoseMessage:
    message = PoseMessage()
    place, turn = message.position, message.orientation
    place.x, place.y, place.z = value.position
    turn.x, turn.y, turn.z, turn.w = value.quaternion
    return message


def state_message(value: State, stamp: Any) -> EntityState:
    message = EntityState(pose=pose_message(value.pose))
    message.header.frame_id, message.header.stamp = 'world', stamp
    moved, turned = message.twist.linear, message.twist.angular
    moved.x, moved.y, moved.z = value.linear
    turned.x, turned.y, turned.z = value.angular
    return message


def bounds_message(value: Bounds) -> BoundsMessage:
    """The upper right corner first, as Bounds.msg has it."""
    corners = [Vector3(x=x, y=y, z=z) for x, y, z in (value.upper, value.lower)]
    return BoundsMessage(type=BoundsMessage.TYPE_BOX, points=corners)


def world_message(world: WorldFile) -> WorldResource:
    return WorldResource(
        name=world.name, description=world.description, tags=list(world.tags),
        world_resource=Resource(uri=world.uri, resource_string='' if world.uri else world.text))
