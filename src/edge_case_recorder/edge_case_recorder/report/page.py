"""The page of a case: its manifest, its bag, and the pictures of both in one HTML file."""

import base64
import datetime
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from edge_case_recorder import manifest as manifests
from edge_case_recorder.bag_messages import BagError
from edge_case_recorder.report import timeline, top_view
from edge_case_recorder.report.frames import Frame
from edge_case_recorder.report.samples import Samples, read

_S = 1_000_000_000
_TRUNCATED = {
    'late_start': 'the recorder had not yet run for the whole window before the trigger',
    'shutdown': 'the recorder was shut down while the window was open',
    'crash': 'the recorder was ended by a crash or a power cut',
    'disk_floor': 'the disk had no more free space than must be kept',
    'write_error': 'the disk did not take the bag',
}
_PARTS = (('safety state and its reasons', 'safety/state', 'states'),
          ('policy source and staleness', 'policy/status', 'sources'),
          ('speeds', 'a Twist or Odometry topic', 'speeds'),
          ('scan', 'a LaserScan topic', 'scans'))


def page(case: Path) -> str:
    """The HTML of a case's folder, a bag's folder or one .mcap; raises BagError, ManifestError."""
    folder = case if case.is_dir() else case.parent
    manifest = manifests.read(folder) if (folder / manifests.MANIFEST).is_file() else None
    if manifest is not None and case.is_file() and all(
            each['path'] != case.name for each in manifest['files']):
        manifest = None   # another bag that lies beside a case
    redaction = manifest.get('redaction') if manifest else None
    samples = read(case, manifest['trigger']['stamp_ns'] if manifest else None,
                   pictures=not redaction)
    scan = top_view.draw(samples)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined,
                                  trim_blocks=True, lstrip_blocks=True).from_string(
        files('edge_case_recorder.report').joinpath('case.html.j2').read_text('utf-8'))
    return template.render(
        title=manifest['case_id'] if manifest else case.name, manifest=manifest,
        headline=_headline(manifest, samples), facts=_facts(manifest, samples),
        why=_why_incomplete(manifest),
        values={name: value for name, value in manifest['trigger']['values'].items() if value}
        if manifest else {}, timeline=_inline(timeline.draw(samples)),
        scan=_inline(scan.png) if scan else '',
        scan_sentences=[*_decided(manifest), *scan.sentences] if scan else [],
        cameras={topic: _strip(frames) for topic, frames in samples.cameras.items()},
        redaction=_redaction(redaction), absent=_absent(samples, bool(redaction)),
        topics=_topics(manifest, samples), files=_files(manifest, folder, case),
        commands=_commands(case, samples))


def _headline(manifest: Mapping[str, Any] | None, samples: Samples) -> str:
    if manifest is None:
        return (f'A bag without a manifest: no trigger is known; second 0 is its middle, '
                f'{_utc(samples.trigger_ns)}.')
    rest = [each.replace('_', ' ') for each in manifest['reasons'] if each != manifest['cause']]
    window = manifest['window']
    before = (manifest['trigger']['stamp_ns'] - window['start_ns']) / _S
    after = (window['end_ns'] - manifest['trigger']['stamp_ns']) / _S
    also = f', with {", ".join(rest)}' if rest else ''
    cause, when = manifest['cause'].replace('_', ' '), _utc(manifest['trigger']['stamp_ns'])
    return (f'{manifest["robot"]["id"]}: {cause}{also}, at {when}. The window is {before:g} s '
            f'before and {after:g} s after.')


def _facts(manifest: Mapping[str, Any] | None, samples: Samples) -> list[tuple[str, str]]:
    """(name, value) of what happened, in the order of the page."""
    facts = []
    if manifest is not None:
        trigger, window, versions = manifest['trigger'], manifest['window'], manifest['versions']
        facts = [
            ('cause', manifest['cause']), ('all reasons', ', '.join(manifest['reasons'])),
            ('robot', f'{manifest["robot"]["id"]} ({manifest["robot"]["type"]})'),
            ('trigger', f'rule {trigger["rule"]}, from {trigger["source"]}, priority '
                        f'{trigger["priority"]}'),
            ('at', _utc(trigger['stamp_ns'])),
            ('window asked for', _window(window['start_ns'], window['end_ns'],
                                         trigger['stamp_ns'])),
            ('window recorded', _window(window['recorded_start_ns'], window['recorded_end_ns'],
                                        trigger['stamp_ns'])),
            ('software', _named(versions['software'])), ('models', _named(versions['models'])),
        ]
        if manifest['lineage']['parents']:
            facts.append(('made of', ', '.join(manifest['lineage']['parents'])))
    messages = sum(each.messages for each in samples.counts.values())
    facts.append(('in the bag', f'{messages} messages on {len(samples.counts)} topics, '
                  f'{(samples.end_ns - samples.start_ns) / _S:.2f} s'))
    return [(name, value or '-') for name, value in facts]


def _why_incomplete(manifest: Mapping[str, Any] | None) -> list[str]:
    if manifest is None:
        return []
    window = manifest['window']
    why = [f'cut: {_TRUNCATED.get(window["truncated_by"], window["truncated_by"])}'
           ] if window['truncated_by'] else []
    why += [f'{each["name"]} lost {each["lost_in_ring"]} messages before they were written'
            for each in manifest['topics'] if each['lost_in_ring']]
    return why + (['written anew after a crash'] if manifest['recovered'] else [])


def _strip(frames: Sequence[Frame]) -> list[dict[str, Any]]:
    nearest = min(frames, key=lambda frame: abs(frame.at_s))
    return [{'when': f'{frame.at_s:+.2f} s', 'picture': _inline(frame.jpeg), 'why': frame.why,
             'now': frame is nearest} for frame in dict.fromkeys(frames)]


def _decided(manifest: Mapping[str, Any] | None) -> list[str]:
    """What the reflex decided on, in its own numbers (docs/contracts.md, safety/state)."""
    values = manifest['trigger']['values'] if manifest else {}
    source, beam, distance = (values.get(key) for key in ('source', 'beam', 'distance_m'))
    if not (source and beam and distance):
        return []
    return [f'The reflex decided on beam {beam} of {source}: {distance} m from that scanner.']


def _redaction(said: Any) -> str:
    if isinstance(said, Mapping):
        return '; '.join(f'{name}: {value}' for name, value in said.items())[:300]
    return str(said)[:300] if said else ''


def _absent(samples: Samples, redacted: bool) -> list[str]:
    """What a page could show and this bag does not have."""
    absent = [f'{what} ({where})' for what, where, name in _PARTS if not getattr(samples, name)]
    if samples.joints:
        absent = [each for each in absent if not each.startswith('speeds')]
    if not samples.cameras and not redacted:
        absent.append('camera frames (an Image or CompressedImage topic)')
    return absent


def _topics(manifest: Mapping[str, Any] | None, samples: Samples) -> list[dict[str, Any]]:
    """A row a topic: the bag's own counts, beside what the manifest says."""
    said = {each['name']: each for each in manifest['topics']} if manifest else {}
    rows = []
    for name in sorted({*samples.counts, *said}):
        count, told = samples.counts.get(name), said.get(name, {})
        messages = count.messages if count else 0
        rows.append({
            'name': name, 'type': count.type if count else told.get('type', ''),
            'messages': messages, 'bytes': told.get('bytes'),
            'hz': count.rate_hz if count else None,
            'longest_ms': count.longest_ns / 1e6 if count and messages > 1 else None,
            'lost': '; '.join(f'{value} ({key.removeprefix("lost_").replace("_", " ")})'
                              for key, value in told.items()
                              if key.startswith('lost_') and value),
            'skipped': told.get('skipped'),
            'undecodable': samples.undecodable.get(name, 0),
            'differs': bool(told) and told['messages'] != messages,
        })
    return rows


def _files(manifest: Mapping[str, Any] | None, folder: Path, case: Path) -> list[dict[str, Any]]:
    """Each file with its digests, as it lies there, against the manifest."""
    if manifest is None:
        paths = [case] if case.is_file() else sorted(folder.glob('*.mcap'))
        return [dict(manifests.describe(path), verdict='no manifest') for path in paths]
    rows = []
    for told in manifest['files']:
        path = folder / told['path']
        if not path.is_file():
            rows.append(dict(told, verdict='missing'))
        else:
            found = manifests.describe(path)
            rows.append(dict(told, verdict='equal' if found == {key: told[key] for key in found}
                             else 'DIFFERS'))
    return rows


def _commands(case: Path, samples: Samples) -> list[tuple[str, str]]:
    """(what for, command)."""
    path = shlex.quote(str(case))
    commands = []
    if samples.scans:
        commands.append(('through the real reflex', f'./dev replay {path}'))
    if any(name.endswith('/policy/exchange') for name in samples.counts):
        commands.append(('through the policy client, bit for bit', f'./dev replay --policy {path}'))
    return [*commands,
            ('what rules would have made of it',
             f'./dev replay --triggers config/recorder/triggers.yaml {path}'),
            ('into ROS', f'ros2 bag play {path} --remap cmd_vel:=recorded/cmd_vel')]


def _window(start_ns: int, end_ns: int, trigger_ns: int) -> str:
    return f'{(start_ns - trigger_ns) / _S:+.2f} s to {(end_ns - trigger_ns) / _S:+.2f} s'


def _named(names: Mapping[str, str]) -> str:
    return ', '.join(f'{name} {version}' for name, version in names.items())


def _utc(stamp_ns: int) -> str:
    when = datetime.datetime.fromtimestamp(stamp_ns // _S, datetime.UTC)
    return f'{when:%Y-%m-%d %H:%M:%S}.{stamp_ns // 1_000_000 % 1000:03d} UTC'


def _inline(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def write(case: Path, output: Path) -> None:
    """Write the page of a case; raises BagError, ManifestError."""
    html = page(case)
    try:
        output.write_text(html, 'utf-8')
    except OSError as error:
        raise BagError(f'{output}: cannot be written: {error.strerror or error}') from None
