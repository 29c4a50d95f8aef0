"""What the graph says of a topic's publishers (rclpy's TopicEndpointInfo), in a bag's terms."""

from typing import Any

from edge_case_recorder import qos
from edge_case_recorder.bag import TopicInfo
from edge_case_recorder.definitions import Definition, DefinitionError, find_definition


def offer(publisher: Any) -> qos.Qos:
    """What one publisher offers, as a bag writes it down."""
    profile = publisher.qos_profile
    return qos.Qos(
        reliability=profile.reliability.name.lower(), durability=profile.durability.name.lower(),
        history=profile.history.name.lower(), depth=profile.depth,
        deadline_ns=_duration_ns(profile.deadline), lifespan_ns=_duration_ns(profile.lifespan),
        liveliness=profile.liveliness.name.lower(),
        liveliness_lease_ns=_duration_ns(profile.liveliness_lease_duration),
        avoid_ros_namespace_conventions=profile.avoid_ros_namespace_conventions)


def _duration_ns(duration: Any) -> int:
    """rmw's 'unspecified' is 0 and means infinite."""
    return duration.nanoseconds or qos.INFINITE_NS


def topic_info(topic: str, type_name: str, publishers: list[Any],
               offers: tuple[qos.Qos, ...]) -> TopicInfo:
    """Without a definition where it is not the publisher's own: readers would decode nonsense."""
    try:
        local: Definition | None = find_definition(type_name)
    except DefinitionError:
        local = None
    told = {str(publisher.topic_type_hash) for publisher in publishers
            if str(publisher.topic_type_hash).startswith('RIHS01_')}
    if not told:
        return TopicInfo(topic, type_name, local.type_hash if local else '',
                         local.text if local else '', offers)
    type_hash = told.pop() if len(told) == 1 else ''
    same = local is not None and local.type_hash == type_hash
    return TopicInfo(topic, type_name, type_hash, local.text if local and same else '', offers)
