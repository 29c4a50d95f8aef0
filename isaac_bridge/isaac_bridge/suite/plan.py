"""A suite: which scenarios with which seeds, and what is asked of a candidate."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..documents import read_document
from ..robot import RobotError, read_robot
from ..scenario import Scenario, ScenarioError, parse_scenario, read_scenario


class SuiteError(ValueError):
    """A suite is missing or breaks a rule; the message names the file, the key, the rule."""


@dataclass(frozen=True)
class Entry:
    """One scenario of a suite. file: its YAML; seeds: of its episodes."""

    scenario: Scenario
    file: Path
    seeds: tuple[int, ...]

    def digest(self) -> str:
        """sha256 of the file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Suite:
    """margin: how much lower than the base's the candidate's rate of success may surely be.

    digest: sha256 over the suite's, the robot's and all scenarios' files.
    """

    name: str
    robot_file: Path
    entries: tuple[Entry, ...]
    margin: float
    confidence: float
    digest: str

    @property
    def episodes(self) -> int:
        return sum(len(entry.seeds) for entry in self.entries)


def read_suite(path: Path) -> Suite:
    """A suite file; the paths in it are relative to it. Raises SuiteError."""
    document = read_document(path, 'suite', SuiteError)
    robot_file = (path.parent / document['robot']).resolve()
    try:
        read_robot(robot_file)
        entries = tuple(_entry(entry, path.parent) for entry in document['scenarios'])
    except (RobotError, ScenarioError) as error:
        raise SuiteError(f'{path}: {error}') from None
    names = [entry.scenario.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise SuiteError(f'{path}: scenarios: two of them are named {name}')
    digest = hashlib.sha256()
    for file in (path, robot_file, *(entry.file for entry in entries)):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return Suite(document['name'], robot_file, entries, float(document['margin']),
                 float(document.get('confidence', 0.95)), digest.hexdigest())


def of_cases(files: list[Path], seeds: int, robot_file: Path) -> tuple[Entry, ...]:
    """The scenarios that were made of cases, each with so many seeds. Raises SuiteError."""
    try:
        read_robot(robot_file)
        return tuple(Entry(read_scenario(file), file.resolve(), tuple(range(seeds)))
                     for file in files)
    except (RobotError, ScenarioError) as error:
        raise SuiteError(str(error)) from None


def _entry(entry: dict[str, Any], folder: Path) -> Entry:
    file = (folder / entry['file']).resolve()
    first = entry.get('first_seed', 0)
    document = read_document(file, 'scenario', ScenarioError)
    document |= {key: entry[key] for key in ('name', 'faults') if key in entry}
    return Entry(parse_scenario(document, str(file)), file,
                 tuple(range(first, first + entry['seeds'])))
