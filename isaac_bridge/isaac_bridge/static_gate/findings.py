"""What the gate found, and how much it looked at."""

import dataclasses
from collections import Counter


class GateError(RuntimeError):
    """The gate cannot decide; the message says what it lacks."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that the application uses and Isaac Sim does not have so."""

    where: str          # a file and line of the application, or a node of the graph
    what: str


@dataclasses.dataclass
class Report:
    """counted: checks that were made, by kind. unchecked: what could not be looked up, and why."""

    counted: Counter[str] = dataclasses.field(default_factory=Counter)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    unchecked: list[Finding] = dataclasses.field(default_factory=list)

    def count(self, kind: str, number: int = 1) -> None:
        self.counted[kind] += number

    def fail(self, where: str, what: str) -> None:
        self.findings.append(Finding(where, what))

    def skip(self, where: str, what: str) -> None:
        self.unchecked.append(Finding(where, what))

    @property
    def passed(self) -> bool:
        return not self.findings
