"""Runs the checks against one server, and sets what it did beside the stock server's."""

import dataclasses
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from . import entities, resets, spawning, states, stepping, worlds
from .client import Client, Missing
from .rig import CHECKS, Failed, Rig, Unsupported

MODULES = (states, stepping, resets, entities, spawning, worlds)
SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """result: passed, failed, unsupported (not claimed either) or missing (claimed or not, the
    service is not there, or does not answer)."""

    check: str
    result: str
    detail: str
    what: str


def run(client: Client, only: Sequence[str] = ()) -> list[Outcome]:
    """In the order in which they are written; each begins with a fresh world.

    Raises Missing if the server says nothing of its features.
    """
    rig = Rig(client)
    rig.learn()
    return [_one(rig, name) for name in CHECKS if not only or name in only]


def _one(rig: Rig, name: str) -> Outcome:
    function = CHECKS[name]
    result, detail = 'passed', ''
    try:
        function(rig)
    except Failed as problem:
        result, detail = 'failed', str(problem)
    except Unsupported as problem:
        result, detail = 'unsupported', str(problem)
    except Missing as problem:
        result, detail = 'missing', str(problem)
    return Outcome(name, result, detail, ' '.join((function.__doc__ or '').split()))


def stock() -> dict[str, Any]:
    """What the server that Isaac Sim ships does, from its sources."""
    return json.loads(files(__package__).joinpath('stock.json').read_text('utf-8'))


def report(outcomes: Sequence[Outcome], server: str) -> dict[str, Any]:
    """As JSON has it."""
    counts = {result: sum(one.result == result for one in outcomes)
              for result in ('passed', 'failed', 'unsupported', 'missing')}
    beside = stock()
    return {
        'schema_version': SCHEMA_VERSION, 'interface': 'simulation_interfaces 1.5',
        'server': server, 'counts': counts,
        'checks': [dataclasses.asdict(one) | {'stock': beside['checks'].get(one.check, '')}
                   for one in outcomes],
        'stock': {key: beside[key] for key in ('server', 'source')}}


def table(outcomes: Sequence[Outcome]) -> str:
    """For a terminal: each check, its result, and the stock server's where its sources tell."""
    beside = stock()['checks']
    width = max(len(one.check) for one in outcomes)
    lines = [f'{"check":{width}}  {"result":11}  stock server, as read']
    for one in outcomes:
        lines.append(f'{one.check:{width}}  {one.result:11}  {beside.get(one.check, "-")}'.rstrip())
        if one.detail:
            lines.append(f'{"":{width}}  {one.detail}')
    passed = sum(one.result == 'passed' for one in outcomes)
    lines.append(f'{passed} of {len(outcomes)} passed')
    return '\n'.join(lines)
