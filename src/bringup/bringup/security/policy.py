"""An SROS2 policy (XML, version 0.2.0) as DDS permissions. Pure: text in, text out.

The format is sros2's (https://design.ros2.org/articles/ros2_access_control_policies.html), so
that files written for `ros2 security` can be read; xi:include is not followed. The permissions are
those of OMG DDS Security 1.1, section 9.4.1.3, over the DDS names that ROS 2 gives its topics
(https://design.ros2.org/articles/topic_and_service_names.html).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from xml.etree import ElementTree

MAX_BYTES = 1_000_000
# Cyclone refuses a governance or permissions file that names a larger one.
MAX_DOMAIN = 230
_ENCLAVE = re.compile(r'(/[A-Za-z][A-Za-z0-9_]*)+')
_EXPRESSION = re.compile(r'(~/|/)?[A-Za-z0-9_*?]+(/[A-Za-z0-9_*?]+)*|\*')
_NAMESPACE = re.compile(r'/|(/[A-Za-z][A-Za-z0-9_]*)+')
_NODE = re.compile(r'[A-Za-z0-9_*]+')
# An X.509 common name holds 64 characters (RFC 5280, ub-common-name).
_MAX_ENCLAVE = 64
# Every rclpy node has these; without one of them it cannot be made. None of them moves a robot:
# what may *call* a service is the caller's right, and no enclave gets that here.
_EVERY_NODE_PUBLISHES = ('rt/rosout', 'rt/parameter_events', 'ros_discovery_info')
_EVERY_NODE_HEARS = ('rt/clock', 'rt/parameter_events', 'ros_discovery_info')
_EVERY_NODE_SERVES = ('describe_parameters', 'get_parameter_types', 'get_parameters',
                      'list_parameters', 'set_parameters', 'set_parameters_atomically',
                      'get_type_description')
# tag of the list: (tag of an entry, {attribute: (name on the wire, publishes, subscribes)})
_KINDS = {
    'topics': ('topic', {'publish': ('topic', True, False), 'subscribe': ('topic', False, True)}),
    'services': ('service', {'reply': ('server', True, True), 'request': ('client', True, True)}),
}


class PolicyError(ValueError):
    """The policy cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Rights:
    """DDS topic expressions that an enclave may, or must not, write and read."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    deny_publish: tuple[str, ...] = ()
    deny_subscribe: tuple[str, ...] = ()

    def may_publish(self, dds_topic: str) -> bool:
        """Whether the permissions let this DDS topic be written: a denial wins."""
        return _any_match(self.publish, dds_topic) and not _any_match(self.deny_publish, dds_topic)

    def may_subscribe(self, dds_topic: str) -> bool:
        """Whether the permissions let this DDS topic be read: a denial wins."""
        return (_any_match(self.subscribe, dds_topic)
                and not _any_match(self.deny_subscribe, dds_topic))


def read_policy(text: str, namespace: str = '/') -> dict[str, Rights]:
    """Enclave path -> its rights. Profiles of namespace `/` move into `namespace`.

    Raises PolicyError that names the enclave or line at fault.
    """
    if len(text) > MAX_BYTES:
        raise PolicyError(f'a policy of {len(text)} characters, more than {MAX_BYTES}')
    if '<!DOCTYPE' in text or '<!ENTITY' in text:
        raise PolicyError('a policy must not declare a document type or entities')
    _check(_NAMESPACE, namespace, 'the namespace')
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise PolicyError(f'not XML: {error}') from None
    if root.tag != 'policy' or root.get('version') != '0.2.0':
        raise PolicyError('the outermost element must be <policy version="0.2.0">')
    found: dict[str, Rights] = {}
    for enclave in _children(_one(root, 'enclaves', 'policy'), 'enclave', 'enclaves'):
        path = enclave.get('path', '')
        _check(_ENCLAVE, path, 'an enclave\'s path')
        if len(path) > _MAX_ENCLAVE:
            raise PolicyError(f'enclave {path}: longer than {_MAX_ENCLAVE} characters')
        if path in found:
            raise PolicyError(f'enclave {path} stands there twice')
        found[path] = _rights(enclave, path, namespace)
    if not found:
        raise PolicyError('a policy without an enclave')
    return found


def permissions_xml(path: str, rights: Rights, begins: datetime, ends: datetime,
                    domain: int | None = None) -> str:
    """The permissions document of one enclave; a domain of None means every domain."""
    where = domains_xml(domain)
    rules = ''.join(
        f'      <{rule}>\n        {where}\n{body}      </{rule}>\n'
        for rule, body in (
            # The first rule that matches counts, so denials come first.
            ('deny_rule', _criteria(rights.deny_publish, rights.deny_subscribe)),
            ('allow_rule', _criteria(rights.publish, rights.subscribe))) if body)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<dds xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation='
        '"http://www.omg.org/spec/DDS-SECURITY/20170901/omg_shared_ca_permissions.xsd">\n'
        f'  <permissions>\n    <grant name="{path}">\n'
        f'      <subject_name>CN={path}</subject_name>\n'
        f'      <validity><not_before>{_date(begins)}</not_before>'
        f'<not_after>{_date(ends)}</not_after></validity>\n{rules}'
        '      <default>DENY</default>\n    </grant>\n  </permissions>\n</dds>\n')


def domains_xml(domain: int | None) -> str:
    """The <domains> that a rule holds for; None means every domain."""
    if domain is None:
        return f'<domains><id_range><min>0</min><max>{MAX_DOMAIN}</max></id_range></domains>'
    return f'<domains><id>{domain}</id></domains>'


def _rights(enclave: ElementTree.Element, path: str, namespace: str) -> Rights:
    allowed: dict[bool, set[str]] = {True: set(), False: set()}
    denied: dict[bool, set[str]] = {True: set(), False: set()}
    allowed[True].update(_EVERY_NODE_PUBLISHES)
    allowed[False].update(_EVERY_NODE_HEARS)
    for profile in _children(_one(enclave, 'profiles', path), 'profile', path):
        node, base = profile.get('node', ''), profile.get('ns', '/')
        _check(_NODE, node, f'enclave {path}: a profile\'s node')
        _check(_NAMESPACE, base, f'enclave {path}: a profile\'s ns')
        if base == '/':
            base = namespace
        for service in _EVERY_NODE_SERVES:
            for writes, topic in _server(_full(f'~/{service}', base, node)):
                allowed[writes].add(topic)
        for entries in profile:
            for grant, writes, topic in _entries(entries, path, base, node):
                (allowed if grant == 'ALLOW' else denied)[writes].add(topic)
    return Rights(*(tuple(sorted(topics)) for topics in (
        allowed[True], allowed[False], denied[True], denied[False])))


def _entries(entries: ElementTree.Element, path: str, base: str,
             node: str) -> Iterator[tuple[str, bool, str]]:
    """(ALLOW or DENY, whether it writes, DDS topic) of one list of topics or services."""
    if entries.tag not in _KINDS:
        raise PolicyError(f'enclave {path}: <{entries.tag}> is neither <topics> nor <services>')
    tag, ways = _KINDS[entries.tag]
    if not entries.attrib or set(entries.attrib) - set(ways):
        raise PolicyError(f'enclave {path}: <{entries.tag}> takes {" or ".join(ways)}')
    for entry in _children(entries, tag, path):
        name = (entry.text or '').strip()
        _check(_EXPRESSION, name, f'enclave {path}: a {tag}')
        full = _full(name, base, node)
        for way, grant in entries.attrib.items():
            if grant not in ('ALLOW', 'DENY'):
                raise PolicyError(f'enclave {path}: {way}="{grant}" is neither ALLOW nor DENY')
            if tag == 'topic':
                yield grant, way == 'publish', f'rt{full}'
            else:
                for writes, topic in _server(full) if way == 'reply' else _client(full):
                    yield grant, writes, topic


def _server(service: str) -> Iterable[tuple[bool, str]]:
    return (False, f'rq{service}Request'), (True, f'rr{service}Reply')


def _client(service: str) -> Iterable[tuple[bool, str]]:
    return (True, f'rq{service}Request'), (False, f'rr{service}Reply')


def _full(name: str, base: str, node: str) -> str:
    base = base.rstrip('/')
    if name.startswith('~/'):
        return f'{base}/{node}/{name[2:]}'
    return name if name.startswith('/') else f'{base}/{name}'


def _criteria(publish: Iterable[str], subscribe: Iterable[str]) -> str:
    return ''.join(
        f'        <{way}><topics>' + ''.join(f'<topic>{topic}</topic>' for topic in topics)
        + f'</topics></{way}>\n'
        for way, topics in (('publish', tuple(publish)), ('subscribe', tuple(subscribe))) if topics)


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S')


def _any_match(expressions: Iterable[str], dds_topic: str) -> bool:
    return any(fnmatchcase(dds_topic, expression) for expression in expressions)


def _one(parent: ElementTree.Element, tag: str, where: str) -> ElementTree.Element:
    found = parent.findall(tag)
    if len(found) != 1:
        raise PolicyError(f'{where}: exactly one <{tag}> is wanted, {len(found)} found')
    return found[0]


def _children(parent: ElementTree.Element, tag: str, where: str) -> list[ElementTree.Element]:
    for child in parent:
        if child.tag != tag:
            raise PolicyError(f'{where}: <{child.tag}> where <{tag}> belongs')
    return list(parent)


def _check(pattern: re.Pattern[str], text: str, what: str) -> None:
    if not pattern.fullmatch(text):
        raise PolicyError(f'{what} {text!r} is not a ROS name')
