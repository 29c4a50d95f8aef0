"""What was sent twice, from the ranges that arrived."""

from collections.abc import Iterable
from dataclasses import dataclass

from edge_case_recorder.strict_bucket.rules import Arrival


@dataclass(frozen=True)
class Again:
    """Bytes of an object that arrived once more.

    chunk: the size of the request that was to blame, the one before of the same upload.
    at: which of the arrivals it was.
    """

    name: str
    bytes: int
    chunk: int
    at: int


def sent_again(arrivals: Iterable[Arrival], *, sessions_last: bool = False) -> list[Again]:
    """Every arrival that repeats bytes, in order.

    A session that the server loses takes its bytes with it, so each counts for itself; unless
    sessions_last: then whoever begins a second session for an object sends again.
    """
    highest: dict[tuple[str, str], int] = {}
    before: dict[tuple[str, str], int] = {}
    found = []
    for at, each in enumerate(arrivals):
        key = (each.name, '' if sessions_last else each.session)
        repeated = min(highest.get(key, 0), each.first + each.received) - each.first
        if repeated > 0:
            found.append(Again(each.name, repeated, before[key], at))
        highest[key] = max(highest.get(key, 0), each.first + each.received)
        before[key] = each.declared
    return found
