"""An embodiment from its YAML file (config/embodiments/); docs/embodiments.md explains each key."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from policy_client.embodiment import (
    COMPRESSED_IMAGE,
    DATASET,
    IMAGE,
    JOINT_FIELDS,
    JOINT_STATE,
    JOINTS,
    MEANINGS,
    NUMBERS,
    ODOMETRY,
    QUATERNIONS,
    SCHEMA_VERSION,
    STATE_TYPES,
    STRING,
    TEXTS,
    TWIST,
    TWIST_FIELDS,
    ActionComponent,
    ActionKey,
    Component,
    Embodiment,
    LanguageKey,
    SeenFrom,
    StateKey,
    VideoKey,
)
from policy_client.rotations import AXIS_ANGLE, ROTATIONS
from policy_client.sections import EmbodimentError, Section

__all__ = ['EmbodimentError', 'load', 'main', 'parse']

# The limits of a column by what it drives: value, first, second and third derivative.
_LIMITS = {TWIST: ('minimum', 'maximum', 'max_acceleration', 'max_jerk'),
           JOINTS: ('lower', 'upper', 'max_velocity', 'max_acceleration', 'max_jerk')}


def parse(document: Any) -> Embodiment:
    """The embodiment from a YAML document's content; raises EmbodimentError."""
    top = Section(document, '')
    if top.integer('schema_version') != SCHEMA_VERSION:
        raise EmbodimentError(f'schema_version must be {SCHEMA_VERSION}')
    name = top.text('embodiment')
    period_ns = top.milliseconds('action_period_ms')
    video = tuple(_video(key, part) for key, part in top.sections('video', required=False))
    state = tuple(_state(key, part) for key, part in top.sections('state'))
    languages = [_language(key, part) for key, part in top.sections('language')]
    actions = tuple(_action(key, part) for key, part in top.sections('action'))
    top.finish()
    if len(languages) != 1:
        raise EmbodimentError(f'language: needs exactly one key, has {len(languages)}')
    if not actions:
        raise EmbodimentError('action: must not be empty')
    if sum(key.seen_from is not None for key in state) > 1:
        raise EmbodimentError('state: only one key may have seen_from (the goal)')
    embodiment = Embodiment(name, period_ns, video, state, languages[0], actions)
    _check_sources(embodiment)
    _check_commands(embodiment)
    return embodiment


def load(path: Path | str) -> Embodiment:
    """Read and check a description; raises EmbodimentError naming the file."""
    import yaml
    try:
        return parse(yaml.safe_load(Path(path).read_text(encoding='utf-8')))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, EmbodimentError) as error:
        raise EmbodimentError(f'embodiment {path}: {error}') from error


# What is observed

def _video(name: str, section: Section) -> VideoKey:
    key = VideoKey(
        name=f'video.{name}', topic=section.text('topic'),
        type=section.text('type', (IMAGE, COMPRESSED_IMAGE)),
        max_age_ns=section.milliseconds('max_age_ms'),
        max_skew_ns=section.milliseconds('max_skew_ms'),
        mask_when_lacking=section.text('optional', ('mask', 'no'), 'no') == 'mask')
    section.finish()
    return key


def _state(name: str, section: Section) -> StateKey:
    kind = section.text('type', STATE_TYPES)
    components = _joint_columns(section) if kind == JOINT_STATE else _field_columns(section, kind)
    seen_from = None
    if section.has('seen_from'):
        part = section.section('seen_from')
        seen_from = SeenFrom(part.text('topic'), part.text('type', (ODOMETRY,)),
                             part.milliseconds('max_age_ms'))
        part.finish()
        _check_position(section, kind, components)
    latched = section.flag('latched')
    clip = section.number('clip_radius_m') if section.has('clip_radius_m') else None
    if clip is not None and (clip <= 0 or seen_from is None):
        raise EmbodimentError(f'{section.where}.clip_radius_m = {clip:g}: must be positive, and '
                              'needs seen_from')
    key = StateKey(
        name=f'state.{name}', topic=section.text('topic'), type=kind, components=components,
        max_age_ns=None if latched else section.milliseconds('max_age_ms'),
        max_skew_ns=None if latched else section.milliseconds('max_skew_ms'),
        seen_from=seen_from, clip_radius_m=clip)
    section.finish()
    return key


def _field_columns(section: Section, kind: str) -> tuple[Component, ...]:
    """Of a message with named fields: `components`, one mapping each."""
    unit = section.text('unit') if section.has('unit') else None
    scale, offset = _scale(section, 1.0), section.number('offset', 0.0)
    found = []
    for item in section.items('components'):
        rotation = item.text('rotation', ROTATIONS) if item.has('rotation') else ''
        near = None
        if item.has('near'):
            x, y, z = item.numbers('near', 3)
            near = (x, y, z)
            if rotation not in AXIS_ANGLE:
                raise EmbodimentError(f'{item.where}.near: goes with rotation: axis_angle only')
        found.append(Component(
            item.text('name'), item.text('unit', default=unit),
            item.text('field', (QUATERNIONS if rotation else NUMBERS)[kind]), rotation=rotation,
            scale=_scale(item, scale), offset=item.number('offset', offset), near=near))
        item.finish()
    return tuple(found)


def _joint_columns(section: Section) -> tuple[Component, ...]:
    """Of a JointState: `joints`, and which of its arrays."""
    field = section.text('field', JOINT_FIELDS, JOINT_FIELDS[0])
    unit = section.text('unit')
    scale, offset = _scale(section, 1.0), section.number('offset', 0.0)
    found = []
    for name, part in section.joints('joints'):
        found.append(Component(name, part.text('unit', default=unit), field, joint=name,
                               scale=_scale(part, scale), offset=part.number('offset', offset)))
        part.finish()
    return tuple(found)


def _check_position(section: Section, kind: str, components: Sequence[Component]) -> None:
    """Raises EmbodimentError where seen_from could not turn the components into a frame."""
    if kind == JOINT_STATE or len(components) != 2:
        raise EmbodimentError(f'{section.where}.components: a position seen from a base has '
                              f'x and y, not {len(components)} components of {kind}')
    if any((part.rotation, part.scale, part.offset) != ('', 1.0, 0.0) for part in components):
        raise EmbodimentError(f'{section.where}.seen_from: goes with metres as they come, without '
                              'rotation, scale and offset')


def _language(name: str, section: Section) -> LanguageKey:
    key = LanguageKey(
        name=name, topic=section.text('topic'), type=section.text('type', (STRING,)),
        field=section.text('field', TEXTS),
        tokens=section.text('form', ('tokens', 'text')) == 'tokens',
        refuse_unknown_words=section.text('unknown_words', ('refuse', 'allow'), 'refuse')
        == 'refuse')
    section.finish()
    return key


# What is driven

def _action(name: str, section: Section) -> ActionKey:
    interface = section.text('interface', (TWIST, JOINTS))
    meaning = section.text('meaning', MEANINGS)
    frame = section.text('frame') if interface == TWIST else ''
    feedback = section.text('feedback', default='joint_states') if interface == JOINTS else ''
    columns = _Columns(section, interface, scaled=meaning == DATASET)
    key = ActionKey(f'action.{name}', interface, section.text('topic'), frame, meaning, feedback,
                    columns.read())
    section.finish()
    return key


class _Columns:
    """Reads the columns of one action key; what the key says is the default of each."""

    def __init__(self, section: Section, interface: str, *, scaled: bool) -> None:
        """scaled: each column has to say its scale, since its unit alone says nothing."""
        self._section, self._interface, self._scaled = section, interface, scaled
        self._unit = section.text('unit') if section.has('unit') else None
        self._scale = _scale(section, None)
        self._offset = section.number('offset', 0.0)
        limits = section.optional_section('limits')
        self._limits = {name: limits.number(name) for name in _LIMITS[interface]
                        if limits.has(name)}
        limits.finish()

    def read(self) -> tuple[ActionComponent, ...]:
        found = []
        if self._interface == TWIST:
            for item in self._section.items('components'):
                found.append(self._column(item, item.text('name'),
                                          item.text('drives', TWIST_FIELDS)))
        else:
            for name, part in self._section.joints('joints', short=_LIMITS[JOINTS][:2]):
                found.append(self._column(part, name, name))
        return tuple(found)

    def _column(self, item: Section, name: str, drives: str) -> ActionComponent:
        scale = _scale(item, self._scale)
        if scale is None and self._scaled:
            raise EmbodimentError(f'{item.name("scale")} is missing: with meaning: {DATASET} it '
                                  'must be said what one unit is in m, rad, m/s or rad/s')
        low, high, *rates = (item.number(limit, self._limits.get(limit))
                             for limit in _LIMITS[self._interface])
        part = ActionComponent(
            name, item.text('unit', default=self._unit), drives, low, high,
            rates[0], rates[1], rates[2] if self._interface == JOINTS else math.inf,
            1.0 if scale is None else scale, item.number('offset', self._offset))
        item.finish()
        for limit, value in zip(_LIMITS[self._interface][2:], rates, strict=True):
            if value <= 0:
                raise EmbodimentError(f'{item.name(limit)} = {value:g}: must be positive')
        if self._interface == TWIST and not (low <= 0 <= high and low < high):
            raise EmbodimentError(f'{item.where}: minimum {low:g} and maximum {high:g} must '
                                  'enclose 0, which is the hold')
        if not low < high:
            raise EmbodimentError(f'{item.where}: lower {low:g} must be below upper {high:g}')
        return part


def _scale(section: Section, default: Any) -> Any:
    if not section.has('scale'):
        return default
    value = section.number('scale')
    if value == 0:
        raise EmbodimentError(f'{section.name("scale")} = 0: must not be zero')
    return value


# What has to fit together

def _check_sources(embodiment: Embodiment) -> None:
    language = embodiment.language
    types: dict[str, tuple[str, str]] = {}
    for name, topic, kind in (*embodiment.streams(),
                              (language.name, language.topic, language.type)):
        other, known = types.setdefault(topic, (name, kind))
        if known != kind:
            raise EmbodimentError(f'{name}.type = {kind!r}: {other} takes {topic} as {known}')
    for key in embodiment.actions:
        if key.topic in types:
            raise EmbodimentError(f'{key.name}.topic = {key.topic!r}: is also the source of '
                                  f'{types[key.topic][0]}')


def _check_commands(embodiment: Embodiment) -> None:
    """Keys of one topic become one message: the same kind of it, and nothing driven twice."""
    first: dict[str, ActionKey] = {}
    driven: dict[tuple[str, str], str] = {}
    for key in embodiment.actions:
        other = first.setdefault(key.topic, key)
        for rule in ('interface', 'frame', 'feedback'):
            mine, its = getattr(key, rule), getattr(other, rule)
            if mine != its:
                raise EmbodimentError(f'{key.name}.{rule} = {mine!r}: {other.name} drives '
                                      f'{key.topic} with {its!r}')
        for part in key.components:
            before = driven.get((key.topic, part.drives))
            if before:
                raise EmbodimentError(f'{key.name}: {part.drives} on {key.topic} is driven by '
                                      f'{before} already')
            driven[key.topic, part.drives] = f'{key.name} {part.name}'


def main(arguments: Sequence[str]) -> int:
    """Print the modality digest of a description and its vocabulary (default: beside it)."""
    from policy_client.vocabulary import Vocabulary
    if not 1 <= len(arguments) <= 2:
        print('usage: python -m policy_client.embodiment_file EMBODIMENT.yaml [vocabulary.txt]',
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
