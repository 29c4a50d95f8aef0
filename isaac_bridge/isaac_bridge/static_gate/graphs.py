"""A graph, as the application describes it, against the node types of the wheels."""

import re
from collections.abc import Mapping
from typing import Any

from ..isaac.graph import Graph, Link, Node
from .findings import Report
from .nodes import NodeType

_INTEGERS = {'uchar': (0, 2**8), 'uint': (0, 2**32), 'uint64': (0, 2**64),
             'int': (-2**31, 2**31), 'int64': (-2**63, 2**63)}
# A role says what numbers mean (a colour, a point); connections look at the numbers only.
_ROLES = re.compile(r'^(color|normal|point|quat|texcoord|vector|transform|frame|matrix)([dfh])')
_PRECISION = {'d': 'double', 'f': 'float', 'h': 'half'}


def check_graph(graph: Graph, nodes: Mapping[str, NodeType], allowed: Mapping[str, NodeType],
                report: Report) -> None:
    """Adds to the report what is wrong with a graph, and what was looked at."""
    known = {**allowed, **nodes}
    types: dict[str, NodeType] = {}
    for node in graph.nodes:
        where = f'graph node {node.name}'
        report.count('node types')
        if node.name in types:
            report.fail(where, 'there are two of this name')
        if node.type not in known:
            report.fail(where, f'no wheel has a node type {node.type}{_near(node.type, known)}')
            continue
        types[node.name] = known[node.type]
        report.count('node versions')
        if node.version != known[node.type].version:
            report.fail(where, f'{node.type} has version {known[node.type].version}, not '
                        f'{node.version}')
        _check_values(node, known[node.type], where, report)
    inputs: set[str] = set()
    names = {node.name for node in graph.nodes}
    for link in graph.links:
        report.count('connections')
        _check_link(link, types, names, report)
        if link.target in inputs and not link.target.endswith(':execIn'):
            report.fail(f'link to {link.target}', 'has two sources')
        inputs.add(link.target)
    if graph.evaluator not in ('execution', 'push', 'dirty_push'):
        report.fail('graph', f'{graph.evaluator} is no evaluator of OmniGraph')


def _check_values(node: Node, kind: NodeType, where: str, report: Report) -> None:
    for name, value in node.values:
        report.count('attribute values')
        if not name.startswith('inputs:') or name not in kind.attributes:
            report.fail(where, f'{kind.name} has no attribute {name}{_near(name, kind.attributes)}')
            continue
        wanted = kind.attributes[name]
        if not fits(value, wanted):
            report.fail(where, f'{name} is a {wanted}, and {value!r} is none')
        elif name in kind.tokens and value not in kind.tokens[name]:
            report.fail(where, f'{name} is one of {", ".join(kind.tokens[name])}, not {value!r}')


def fits(value: Any, kind: str) -> bool:
    """Whether a Python value is one of an OGN type."""
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        return isinstance(value, int) and not isinstance(value, bool) and low <= value < high
    if kind == 'bool':
        return isinstance(value, bool)
    if kind in ('float', 'double', 'half'):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ('string', 'token', 'path'):
        return isinstance(value, str)
    if kind == 'target':
        return (isinstance(value, list) and len(value) > 0
                and all(isinstance(path, str) and path.startswith('/') for path in value))
    if kind.endswith('[]'):
        return isinstance(value, list) and all(fits(item, kind[:-2]) for item in value)
    if match := re.fullmatch(r'(\w+)\[(\d)\]', kind):
        return (isinstance(value, list | tuple) and len(value) == int(match[2])
                and all(fits(item, plain(match[1])) for item in value))
    return False


def _check_link(link: Link, types: dict[str, NodeType], names: set[str], report: Report) -> None:
    where = f'link {link.source} -> {link.target}'
    kinds = []
    for end, prefix in ((link.source, 'outputs:'), (link.target, 'inputs:')):
        name, _, attribute = end.partition('.')
        if name not in names:
            report.fail(where, f'the graph has no node {name}')
            return
        if name not in types:
            return      # its type is a finding already
        attributes = types[name].attributes
        report.count('connection ends')
        if not attribute.startswith(prefix) or attribute not in attributes:
            report.fail(where, f'{types[name].name} has no {prefix[:-2]} {attribute}'
                        f'{_near(attribute, attributes)}')
            return
        kinds.append(attributes[attribute])
    if not connects(*kinds):
        report.fail(where, f'a {kinds[0]} cannot go into a {kinds[1]}')


def connects(source: str, target: str) -> bool:
    """Whether an output of one OGN type may be connected to an input of another.

    Stricter than OmniGraph, which also converts numbers: equal types, but for their roles.
    """
    accepted = re.findall(r"'([^']+)'", target) if target.startswith('[') else [target]
    return plain(source) in {plain(kind) for kind in accepted}


def plain(kind: str) -> str:
    """Without its role: vectord[3] is double[3], and a matrixd[4] is a double[16]."""
    match = _ROLES.match(kind)
    if match is None:
        return kind
    rest = kind[match.end():]
    if match[1] in ('matrix', 'frame', 'transform'):
        rest = re.sub(r'^\[(\d)\]', lambda size: f'[{int(size[1]) ** 2}]', rest)
    return _PRECISION[match[2]] + rest


def _near(name: str, names: Mapping[str, Any]) -> str:
    import difflib
    close = difflib.get_close_matches(name, names, 1)
    return f' (is {close[0]} meant?)' if close else ''
