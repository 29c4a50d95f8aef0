"""An embodiment: which topic feeds which input of a policy, and which action drives what.

The description is a YAML file (config/embodiments/), read once and frozen. Keys are GR00T's:
`video.*`, `state.*`, one bare language key, `action.*`. Sizes that belong to the network (image
size, action horizon, number of tokens) are not in it: they come from the model at the handshake.

    python -m policy_client.embodiment config/embodiments/amr.yaml

prints the modality digest, which a model publishes to say that it was trained for this description.
"""

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
ODOMETRY = 'nav_msgs/msg/Odometry'
POSE = 'geometry_msgs/msg/PoseStamped'
STRING = 'std_msgs/msg/String'
STATE_TYPES = (ODOMETRY, POSE)
# What a component of a twist may drive; a chunk is published and executed on these.
TWIST_FIELDS = ('linear.x', 'linear.y', 'angular.z')
_MS = 1_000_000


class EmbodimentError(ValueError):
    """The description breaks a rule; the message names the file's key, its value and the rule."""


@dataclass(frozen=True)
class VideoKey:
    """`video.<name>`: RGB, uint8 (1, T, H, W, 3); masked means all zero."""
    name: str
    topic: str
    type: str
    max_age_ns: int
    max_skew_ns: int
    mask_when_lacking: bool


@dataclass(frozen=True)
class Component:
    """One column of a state: what it means and which field of the message it is."""
    name: str
    unit: str
    field: str


@dataclass(frozen=True)
class SeenFrom:
    """A position is turned into the base frame of this odometry; both must name the same frame."""
    topic: str
    type: str
    max_age_ns: int


@dataclass(frozen=True)
class StateKey:
    """`state.<name>`: float32 (1, T, D), D = number of components, in the message's SI units."""
    name: str
    topic: str
    type: str
    components: tuple[Component, ...]
    max_age_ns: int | None  # None: said once (latched), it does not grow old
    max_skew_ns: int | None
    seen_from: SeenFrom | None
    clip_radius_m: float | None

    @property
    def latched(self) -> bool:
        return self.max_age_ns is None


@dataclass(frozen=True)
class LanguageKey:
    """The instruction: int64 token ids (1, N), or the text itself as BYTES (1, 1)."""
    name: str
    topic: str
    type: str
    field: str
    tokens: bool
    refuse_unknown_words: bool


@dataclass(frozen=True)
class ActionComponent:
    """One column of an action, the field it drives and the robot's limits for it (per second)."""
    name: str
    unit: str
    drives: str
    minimum: float
    maximum: float
    max_rate: float


@dataclass(frozen=True)
class ActionKey:
    """`action.<name>`: float32 (1, H, D) in physical units."""
    name: str
    interface: str
    topic: str
    frame: str
    meaning: str
    components: tuple[ActionComponent, ...]


@dataclass(frozen=True)
class Embodiment:
    name: str
    action_period_ns: int
    video: tuple[VideoKey, ...]
    state: tuple[StateKey, ...]
    language: LanguageKey
    action: ActionKey

    @property
    def topics(self) -> dict[str, tuple[str, bool]]:
        """Every topic to listen to: its message type, and whether it is latched."""
        found: dict[str, tuple[str, bool]] = {}
        for key in self.video:
            found[key.topic] = (key.type, False)
        for state in self.state:
            found[state.topic] = (state.type, state.latched)
            if state.seen_from:
                found[state.seen_from.topic] = (state.seen_from.type, False)
        found[self.language.topic] = (self.language.type, True)
        return found

    @property
    def goal(self) -> StateKey | None:
        """The latched position that the robot is sent to, if the embodiment has one."""
        return next((key for key in self.state if key.seen_from), None)

    def modality(self) -> dict[str, Any]:
        """What a network must agree with: names, order, units, meaning. No topics, no limits."""
        return {
            'schema_version': SCHEMA_VERSION,
            'embodiment': self.name,
            'action_period_ms': self.action_period_ns // _MS,
            'video': [{'name': key.name, 'colour': 'rgb'} for key in self.video],
            'state': [{
                'name': key.name,
                'components': [[part.name, part.unit] for part in key.components],
                'frame': 'base' if key.seen_from else 'message',
                'clip_radius_m': key.clip_radius_m} for key in self.state],
            'language': {'name': self.language.name,
                         'form': 'tokens' if self.language.tokens else 'text'},
            'action': {
                'name': self.action.name, 'meaning': self.action.meaning,
                'components': [[part.name, part.unit] for part in self.action.components]},
        }

    def modality_sha256(self, vocabulary_sha256: str) -> str:
        """Digest of the modality and of the vocabulary, in canonical JSON."""
        content = self.modality() | {'vocabulary_sha256': vocabulary_sha256}
        text = json.dumps(content, sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()


def parse(document: Any) -> Embodiment:
    """The embodiment from a YAML document's content; raises EmbodimentError."""
    top = _Section(document, '')
    if top.integer('schema_version') != SCHEMA_VERSION:
        raise EmbodimentError(f'schema_version must be {SCHEMA_VERSION}')
    name = top.text('embodiment')
    period_ns = _positive_ms(top, 'action_period_ms')
    video = tuple(_video(key, part) for key, part in top.sections('video', required=False))
    state = tuple(_state(key, part) for key, part in top.sections('state'))
    languages = [_language(key, part) for key, part in top.sections('language')]
    actions = [_action(key, part) for key, part in top.sections('action')]
    top.finish()
    if len(languages) != 1:
        raise EmbodimentError(f'language: needs exactly one key, has {len(languages)}')
    if len(actions) != 1:
        raise EmbodimentError(f'action: exactly one interface is driven, not {len(actions)}')
    if sum(key.seen_from is not None for key in state) > 1:
        raise EmbodimentError('state: only one key may have seen_from (the goal)')
    embodiment = Embodiment(name, period_ns, video, state, languages[0], actions[0])
    _check_topics(embodiment)
    return embodiment


def load(path: Path | str) -> Embodiment:
    """Read and check a description; raises EmbodimentError naming the file."""
    import yaml
    try:
        return parse(yaml.safe_load(Path(path).read_text()))
    except (OSError, yaml.YAMLError, EmbodimentError) as error:
        raise EmbodimentError(f'embodiment {path}: {error}') from error


class _Section:
    """A mapping of the file that reports missing, mistyped and unknown keys by their full name."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, Mapping):
            raise EmbodimentError(f'{where or "the file"}: must be a mapping')
        self._content: Mapping[Any, Any] = content
        self.where = where
        self._read: set[Any] = set()

    def has(self, key: str) -> bool:
        return self._content.get(key) is not None

    def _take(self, key: str, kinds: type | tuple[type, ...], rule: str) -> Any:
        self._read.add(key)
        value = self._content.get(key)
        if value is None:
            raise EmbodimentError(f'{self._name(key)} is missing: {rule}')
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise EmbodimentError(f'{self._name(key)} = {value!r}: {rule}')
        return value

    def text(self, key: str, choices: Sequence[str] = (), default: str | None = None) -> str:
        if default is not None and not self.has(key):
            return default
        rule = f'must be one of {", ".join(choices)}' if choices else 'must be a text'
        value = str(self._take(key, str, rule))
        if not value or (choices and value not in choices):
            raise EmbodimentError(f'{self._name(key)} = {value!r}: {rule}')
        return value

    def integer(self, key: str) -> int:
        return int(self._take(key, int, 'must be a whole number'))

    def number(self, key: str) -> float:
        value = float(self._take(key, (int, float), 'must be a number'))
        if not math.isfinite(value):
            raise EmbodimentError(f'{self._name(key)} = {value!r}: must be finite')
        return value

    def flag(self, key: str) -> bool:
        return bool(self._take(key, bool, 'must be true or false')) if self.has(key) else False

    def section(self, key: str) -> '_Section':
        return _Section(self._take(key, Mapping, 'must be a mapping'), self._name(key))

    def sections(self, key: str, *, required: bool = True) -> list[tuple[str, '_Section']]:
        if not required and not self.has(key):
            return []
        part = self.section(key)
        return [(str(name), part.section(name)) for name in part._content]

    def items(self, key: str) -> list['_Section']:
        values = self._take(key, list, 'must be a list')
        if not values:
            raise EmbodimentError(f'{self._name(key)}: must not be empty')
        return [_Section(value, f'{self._name(key)}[{i}]') for i, value in enumerate(values)]

    def finish(self) -> None:
        unknown = sorted(str(key) for key in set(self._content) - self._read)
        if unknown:
            raise EmbodimentError(f'{self._name(unknown[0])}: is not a key that is known here; '
                                  f'known: {", ".join(sorted(map(str, self._read)))}')

    def _name(self, key: str) -> str:
        return f'{self.where}.{key}' if self.where else key


def _positive_ms(section: _Section, key: str) -> int:
    value = section.number(key)
    if not 1 <= value <= 60_000:
        name = f'{section.where}.{key}'.lstrip('.')
        raise EmbodimentError(f'{name} = {value:g}: must be 1 to 60000 ms')
    return round(value * _MS)


def _video(name: str, section: _Section) -> VideoKey:
    key = VideoKey(
        name=f'video.{name}', topic=section.text('topic'),
        type=section.text('type', (IMAGE, COMPRESSED_IMAGE)),
        max_age_ns=_positive_ms(section, 'max_age_ms'),
        max_skew_ns=_positive_ms(section, 'max_skew_ms'),
        mask_when_lacking=section.text('optional', ('mask', 'no'), 'no') == 'mask')
    section.finish()
    return key


def _state(name: str, section: _Section) -> StateKey:
    components = []
    for item in section.items('components'):
        components.append(Component(item.text('name'), item.text('unit'), item.text('field')))
        item.finish()
    seen_from = None
    if section.has('seen_from'):
        part = section.section('seen_from')
        seen_from = SeenFrom(part.text('topic'), part.text('type', (ODOMETRY,)),
                             _positive_ms(part, 'max_age_ms'))
        part.finish()
        if len(components) != 2:
            raise EmbodimentError(f'{section.where}.components: a position seen from a base has '
                                  f'x and y, not {len(components)} components')
    latched = section.flag('latched')
    clip = section.number('clip_radius_m') if section.has('clip_radius_m') else None
    if clip is not None and (clip <= 0 or seen_from is None):
        raise EmbodimentError(f'{section.where}.clip_radius_m = {clip:g}: must be positive, and '
                              'needs seen_from')
    key = StateKey(
        name=f'state.{name}', topic=section.text('topic'), type=section.text('type', STATE_TYPES),
        components=tuple(components),
        max_age_ns=None if latched else _positive_ms(section, 'max_age_ms'),
        max_skew_ns=None if latched else _positive_ms(section, 'max_skew_ms'),
        seen_from=seen_from, clip_radius_m=clip)
    section.finish()
    return key


def _language(name: str, section: _Section) -> LanguageKey:
    key = LanguageKey(
        name=name, topic=section.text('topic'), type=section.text('type', (STRING,)),
        field=section.text('field'),
        tokens=section.text('form', ('tokens', 'text')) == 'tokens',
        refuse_unknown_words=section.text('unknown_words', ('refuse', 'allow'), 'refuse')
        == 'refuse')
    section.finish()
    return key


def _action(name: str, section: _Section) -> ActionKey:
    components = []
    for item in section.items('components'):
        part = ActionComponent(
            item.text('name'), item.text('unit'), item.text('drives', TWIST_FIELDS),
            item.number('minimum'), item.number('maximum'), item.number('max_rate'))
        item.finish()
        if not part.minimum <= 0 <= part.maximum or part.minimum == part.maximum:
            raise EmbodimentError(f'{item.where}: minimum {part.minimum:g} and maximum '
                                  f'{part.maximum:g} must enclose 0, which is the hold')
        if part.max_rate <= 0:
            raise EmbodimentError(f'{item.where}.max_rate = {part.max_rate:g}: must be positive')
        components.append(part)
    if len({part.drives for part in components}) != len(components):
        raise EmbodimentError(f'{section.where}.components: two of them drive the same field')
    key = ActionKey(
        name=f'action.{name}', interface=section.text('interface', ('twist',)),
        topic=section.text('topic'), frame=section.text('frame'),
        # A velocity that the server resolved from a relative one is absolute on the wire too.
        meaning=section.text('meaning', ('absolute', 'resolved')), components=tuple(components))
    section.finish()
    return key


def _check_topics(embodiment: Embodiment) -> None:
    types: dict[str, tuple[str, str]] = {}
    uses = [(key.name, key.topic, key.type) for key in embodiment.video]
    uses += [(key.name, key.topic, key.type) for key in embodiment.state]
    uses += [(f'{key.name}.seen_from', key.seen_from.topic, key.seen_from.type)
             for key in embodiment.state if key.seen_from]
    uses.append((embodiment.language.name, embodiment.language.topic, embodiment.language.type))
    for name, topic, kind in uses:
        other, known = types.setdefault(topic, (name, kind))
        if known != kind:
            raise EmbodimentError(f'{name}.type = {kind!r}: {other} takes {topic} as {known}')
    if embodiment.action.topic in types:
        raise EmbodimentError(f'{embodiment.action.name}.topic = {embodiment.action.topic!r}: is '
                              f'also the source of {types[embodiment.action.topic][0]}')


def main(arguments: Sequence[str]) -> int:
    """Print the modality digest of a description and its vocabulary (default: beside it)."""
    from policy_client.vocabulary import Vocabulary
    if not 1 <= len(arguments) <= 2:
        print('usage: python -m policy_client.embodiment EMBODIMENT.yaml [vocabulary.txt]',
              file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        embodiment = load(path)
        vocabulary = Vocabulary.load(arguments[1] if len(arguments) > 1
                                     else path.parent / 'vocabulary.txt')
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(embodiment.modality_sha256(vocabulary.sha256))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
