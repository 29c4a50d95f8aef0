"""OmniGraph node types as Isaac Sim's own documentation of them says."""

import dataclasses
import re
from pathlib import Path

from .findings import GateError
from .wheels import Wheels

_ATTRIBUTE = re.compile(r'^ *"[^"]*\(\*(?P<name>\w+:[\w:]+)\*\)", "``(?P<type>.*?)``"')
_TOKENS = re.compile(r'^ *"", "Metadata", "\*allowedTokens\* = (?P<tokens>.*?)", ""')
_METADATA = re.compile(r'^ *"(?P<key>Unique ID|Version|Extension)", "(?P<value>[^"]*)"')

_PRIM = re.compile(r'^    def OmniGraphNode ', re.MULTILINE)
_KIND = re.compile(r'^        token node:type = "([^"]+)"', re.MULTILINE)
_VERSION = re.compile(r'^        int node:typeVersion = (\d+)', re.MULTILINE)
_PROPERTY = re.compile(r'^        (?:custom )?(?:rel|[\w\[\]]+) ((?:inputs|outputs):[\w:]+)',
                       re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class NodeType:
    """attributes: `inputs:..` and `outputs:..` to their OGN types; tokens: the allowed ones."""

    name: str
    version: int
    extension: str
    attributes: dict[str, str]
    tokens: dict[str, tuple[str, ...]]
    source: str


def read_nodes(wheels: Wheels) -> dict[str, NodeType]:
    """Every node type of the wheels. Raises GateError for a page that cannot be read."""
    nodes = {}
    for path in wheels.files('docs/ogn/*.rst'):
        node = read_page(path)
        nodes[node.name] = node
    if not nodes:
        raise GateError('the wheels document no OmniGraph nodes: they are not laid out as in 6.2')
    return nodes


def read_page(path: Path) -> NodeType:
    attributes: dict[str, str] = {}
    tokens: dict[str, tuple[str, ...]] = {}
    metadata: dict[str, str] = {}
    latest = ''
    for line in path.read_text().splitlines():
        if match := _ATTRIBUTE.match(line):
            latest = match['name']
            attributes[latest] = match['type']
        elif match := _TOKENS.match(line):
            tokens[latest] = tuple(match['tokens'].split(','))
        elif match := _METADATA.match(line):
            metadata[match['key']] = match['value']
    try:
        return NodeType(metadata['Unique ID'], int(metadata['Version']), metadata['Extension'],
                        attributes, tokens, path.name)
    except (KeyError, ValueError) as problem:
        raise GateError(f'{path}: is no page of an OmniGraph node ({problem})') from problem


def read_templates(wheels: Wheels) -> dict[str, tuple[int, frozenset[str]]]:
    """(version, attributes) of the node types as the prims that their own tests open have them.

    The second source: a page and a template of one node must agree.
    """
    found = {}
    for path in wheels.files('**/ogn/tests/usd/*Template.usda'):
        for node in _PRIM.split(path.read_text())[1:]:
            kind, version = _KIND.search(node), _VERSION.search(node)
            if kind is not None and version is not None:
                found[kind[1]] = (int(version[1]), frozenset(_PROPERTY.findall(node)))
    return found
