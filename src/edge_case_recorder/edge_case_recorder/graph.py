"""Which topics of the graph are recorded, and how: names by pattern, budgets, latched depths."""

import re
from collections.abc import Iterable, Sequence
from functools import cache

# Several nodes latch on tf_static, each with frames of its own; any other topic has one current
# message.
_LATCHED_DEPTHS = {'tf2_msgs/msg/TFMessage': 64}
_PATTERN = re.compile(r'/?[A-Za-z_*][A-Za-z0-9_*]*(/[A-Za-z_*][A-Za-z0-9_*]*)*')
_MAX_NAME = 255


def absolute(pattern: str, namespace: str) -> str:
    """A pattern as full topic names match it; raises ValueError when it can match none."""
    if len(pattern) > _MAX_NAME or not _PATTERN.fullmatch(pattern):
        raise ValueError(f'{pattern[:_MAX_NAME]!r}: must be a topic\'s name, with * for any part')
    return pattern if pattern.startswith('/') else f'{namespace.rstrip("/")}/{pattern}'


def matches(pattern: str, topic: str) -> bool:
    """Full names; `*` stands for anything but a slash."""
    return _compiled(pattern).fullmatch(topic) is not None


def chosen(patterns: Iterable[str], topics: Iterable[str]) -> list[str]:
    patterns = list(patterns)
    return [topic for topic in topics if any(matches(pattern, topic) for pattern in patterns)]


def budget(topic: str, patterns: Sequence[tuple[str, int]], default_bytes: int) -> int:
    """Bytes of a topic's ring: the first pattern that fits, else the default."""
    return next((size for pattern, size in patterns if matches(pattern, topic)), default_bytes)


def rate_limit(topic: str, patterns: Sequence[tuple[str, float]]) -> float:
    """Hz of a topic's limit: the first pattern that fits, else 0 for none."""
    return next((rate for pattern, rate in patterns if matches(pattern, topic)), 0.0)


def latched_depth(type_name: str, transient_local: bool) -> int:
    """How many messages of a topic stay current for a late subscriber; 0 for a volatile one."""
    return _LATCHED_DEPTHS.get(type_name, 1) if transient_local else 0


@cache
def _compiled(pattern: str) -> 're.Pattern[str]':
    return re.compile('[^/]*'.join(re.escape(part) for part in pattern.split('*')))
