"""From cases to a data set: each one verified, labelled, resampled, and its origin written down.

A data set is written beside its final name and renamed at the end, so that a name always holds a
whole one. Nothing in it depends on the time or the place of the export.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_case_recorder import manifest
from policy_client.embodiment import Embodiment
from policy_client.vocabulary import Vocabulary

from . import digests, lerobot_v2, lerobot_v3, split, writing
from .episodes import Episode
from .errors import DatasetError
from .labels import TELEOP, Source
from .resample import Grid, resample

SCHEMA_VERSION = 1
LAYOUTS: Mapping[str, Callable[..., None]] = {'v2': lerobot_v2.write, 'v3': lerobot_v3.write}
REFUSE, WITHOUT_VIDEO = 'refuse', 'without_video'


@dataclass(frozen=True)
class Case:
    """A case's folder (manifest.json and its bag), and the group of near-duplicates it is in."""

    folder: Path
    group: str = ''


@dataclass(frozen=True)
class Options:
    """layout: `v2` (GR00T) or `v3`. redacted: what is done with a case in which a plug-in has
    hidden parts of pictures; `without_video` makes the whole data set one without video, since all
    of its episodes have the same features."""

    layout: str = 'v2'
    grid: Grid = field(default_factory=Grid)
    video: bool = True
    redacted: str = REFUSE
    validation_share: float = 0.1
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise DatasetError(f'layout {self.layout!r}: must be one of {", ".join(LAYOUTS)}')
        if self.redacted not in (REFUSE, WITHOUT_VIDEO):
            raise DatasetError(f'redacted {self.redacted!r}: must be {REFUSE} or {WITHOUT_VIDEO}')


@dataclass(frozen=True)
class Exported:
    """sha256: of all files; content_sha256: before encoders (digests.py). refused: case -> why."""

    folder: Path
    sha256: str
    content_sha256: str
    statistics_sha256: str
    modality_sha256: str
    episodes: int
    frames: int
    refused: Mapping[str, str]


def export(cases: Sequence[Case], output: Path, embodiment: Embodiment, vocabulary: Vocabulary,
           source: Source, options: Options | None = None,
           progress: Callable[[str], None] | None = None) -> Exported:
    """Write a data set of these cases to `output`, which must not exist. Raises DatasetError.

    A case that cannot be used is left out and named in `refused`; no usable case at all is an
    error. The order of `cases` does not matter.
    """
    options = options or Options()
    if output.exists():
        raise DatasetError(f'{output}: exists already; a data set is never written over')
    options = replace(options, grid=replace(options.grid, teleop=source.name == TELEOP))
    episodes, told, refused, video = [], [], {}, options.video
    for case in sorted(cases, key=lambda each: each.folder.name):
        try:
            found, record, redacted = _episodes(case, embodiment, vocabulary, source, options)
        except (DatasetError, manifest.ManifestError) as error:
            refused[case.folder.name] = str(error)
            continue
        finally:
            if progress:
                progress(case.folder.name)
        video = video and not redacted
        episodes += found
        told.append(record)
    if len({record['case_id'] for record in told}) != len(told):
        raise DatasetError('a case was given twice')
    if not episodes:
        why = '; '.join(refused.values()) or 'no case was given'
        raise DatasetError(f'no episode can be made: {why[:1000]}')
    sides = split.split((episode.group for episode in episodes), options.validation_share,
                        options.split_seed)
    episodes.sort(key=lambda each: (sides[each.group] != split.TRAIN, each.case_id,
                                    -1 if each.seed is None else each.seed, each.run.starts_ns))
    episodes = _same_sizes(episodes, video)
    partial = output.with_name(f'{output.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    done = _write(partial, episodes, sides, embodiment, vocabulary, source, options, told, refused)
    partial.rename(output)
    return replace(done, folder=output)


def _episodes(case: Case, embodiment: Embodiment, vocabulary: Vocabulary, source: Source,
              options: Options) -> tuple[list[Episode], dict[str, Any], bool]:
    """(episodes, what the provenance says, whether it is redacted)."""
    content = manifest.read(case.folder)
    redacted = 'redaction' in content
    if redacted and options.redacted == REFUSE:
        raise DatasetError(f'{content["case_id"]}: is redacted ({content["redaction"]["hides"]}); '
                           f'take it with redacted = {WITHOUT_VIDEO}')
    _verify(case.folder, content)
    labelled, left_out = source.label(case.folder)
    group, gaps = case.group or content['case_id'], Counter[str]()
    episodes: list[Episode] = []
    for each in labelled:
        made = resample(each.streams, embodiment, vocabulary, options.grid)
        gaps += made.gaps
        episodes += [Episode(content['case_id'], group, content['cause'], source.name, run,
                             each.seed, each.succeeded) for run in made.runs]
    if not episodes:
        why = '; '.join(left_out) or ', '.join(f'{reason} ({count} rows)'
                                               for reason, count in sorted(gaps.items()))
        raise DatasetError(f'{content["case_id"]}: gives no episode: {why}')
    return episodes, {
        'case_id': content['case_id'], 'group': group, 'redacted': redacted,
        'manifest_sha256': digests.of_file(case.folder / manifest.MANIFEST),
        'bags': {entry['path']: entry['sha256'] for entry in content['files']},
        'gaps': dict(sorted(gaps.items())), 'left_out': left_out}, redacted


def _verify(folder: Path, content: manifest.Manifest) -> None:
    """A bag that is not the manifest's is not exported."""
    for entry in content['files']:
        path = folder / entry['path']
        if path.is_symlink() or not path.is_file():
            raise DatasetError(f'{content["case_id"]}: {entry["path"]} is not there')
        if path.stat().st_size != entry['bytes'] or digests.of_file(path) != entry['sha256']:
            raise DatasetError(f'{content["case_id"]}: {entry["path"]} is not the file that its '
                               'manifest names')


def _same_sizes(episodes: list[Episode], video: bool) -> list[Episode]:
    """All episodes of a data set have the same features; raises DatasetError."""
    if not video:
        return [replace(each, run=replace(each.run, pictures={})) for each in episodes]
    sizes = {(name, pictures.shape[1:]): each.case_id for each in episodes
             for name, pictures in each.run.pictures.items()}
    for name in {name for name, _ in sizes}:
        of_camera = {shape: case for (camera, shape), case in sizes.items() if camera == name}
        if len(of_camera) > 1:
            raise DatasetError(f'{name}: pictures differ in size, {sorted(of_camera)}; give '
                               'image_size')
    return episodes


def _write(folder: Path, episodes: list[Episode], sides: Mapping[str, str],
           embodiment: Embodiment, vocabulary: Vocabulary, source: Source, options: Options,
           told: list[dict[str, Any]], refused: Mapping[str, str]) -> Exported:
    fps = options.grid.fps
    sizes = {name: pictures.shape[1:3] for name, pictures in episodes[0].run.pictures.items()}
    train = sum(sides[each.group] == split.TRAIN for each in episodes)
    splits = {split.TRAIN: f'0:{train}'}
    if train < len(episodes):
        splits[split.VALIDATION] = f'{train}:{len(episodes)}'
    LAYOUTS[options.layout](folder, episodes, embodiment, fps, sizes, splits)
    listed = digests.files(folder)
    done = Exported(
        folder, digests.of_files(listed), digests.of_content(episodes, fps),
        digests.of_file(folder / 'meta/stats.json'),
        embodiment.modality_sha256(vocabulary.sha256), len(episodes),
        sum(len(each) for each in episodes), dict(refused))
    writing.json_file(folder / digests.PROVENANCE, {
        'schema_version': SCHEMA_VERSION, 'layout': options.layout,
        'embodiment': embodiment.name, 'modality_sha256': done.modality_sha256,
        'statistics_sha256': done.statistics_sha256, 'sha256': done.sha256,
        'content_sha256': done.content_sha256, 'fps': fps, 'labels': source.told(),
        'split': {'validation_share': options.validation_share, 'seed': options.split_seed,
                  'groups': dict(sorted(sides.items()))},
        'cases': told, 'refused': dict(sorted(refused.items())),
        'episodes': [{'episode_index': number, 'case_id': each.case_id, 'label': each.label,
                      'seed': each.seed, 'length': len(each), 'split': sides[each.group]}
                     for number, each in enumerate(episodes)],
        'files': listed})
    return done
