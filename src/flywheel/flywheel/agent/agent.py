"""The agent: what is to run, brought to run; what happened, reported. One call does one step.

At any moment one version leads and, from the first swap on, the one before stays loaded behind it:
a rollback needs no network, no download and no loading. A version that cannot be fetched, verified,
loaded or warmed up changes nothing of that.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from flywheel.release.errors import ReleaseError
from flywheel.rollout.reports import MOST_COUNTERS, Counter, Report

from . import memory as memories
from .cloud import AwayError, Cloud, RefusedError
from .memory import Memory
from .robot import LoadError, Robot, Version
from .versions import Versions

_FIRST_RETRY_S = 10.0
_LAST_RETRY_S = 3600.0


class Phase(StrEnum):
    READY = 'ready'
    FETCHING = 'fetching'
    LOADING = 'loading'
    WAITING = 'waiting'       # for the robot to be idle
    FAILED = 'failed'


class Agent:
    """One robot's agent. All methods from one thread; now_s is of a steady clock.

    folder: its own. public_keys: PEM by key id, of those who may sign releases.
    """

    def __init__(self, robot_id: str, target: str, robot: Robot, cloud: Cloud, folder: Path,
                 public_keys: Mapping[str, bytes], *, report_period_s: float = 10.0,
                 poll_period_s: float = 60.0) -> None:
        self.robot_id = robot_id
        self.phase = Phase.READY
        self.trouble = ''                   # what the network said last; not a failure
        self._robot, self._cloud = robot, cloud
        folder.mkdir(parents=True, exist_ok=True)
        self._versions = Versions(folder / 'versions', target, public_keys)
        self._path = folder / 'agent.json'
        self._report_period_s, self._poll_period_s = report_period_s, poll_period_s
        self._loaded: dict[str, Version] = {}
        self._retry_s = self._next_report_s = self._next_poll_s = float('-inf')
        self._away = 0
        self._memory = memories.load(self._path) or Memory()
        self._restore()

    @property
    def active(self) -> str:
        """The release that leads; empty for the file that the robot was delivered with."""
        return self._memory.active

    @property
    def fallback(self) -> str:
        return self._memory.fallback

    @property
    def loaded(self) -> frozenset[str]:
        """Releases that the robot holds ready."""
        return frozenset(self._loaded)

    @property
    def held_by(self) -> str:
        return self._memory.held_by

    def step(self, now_s: float) -> Phase:
        """Count, go on towards what is desired, report and ask when it is time.

        Call it about once a second. Network calls end within the cloud client's own limits.
        """
        self._memory.add(self._robot.report())
        before = (self.phase, self._memory.active)
        self._pursue(now_s)
        if now_s >= self._next_report_s or before != (self.phase, self._memory.active):
            self._talk(now_s)
        return self.phase

    def rollback(self, who: str, why: str) -> None:
        """Back to the version behind, by someone at the robot, with or without the cloud.

        It is carried out when the robot is idle, and holds until another release is desired.
        Raises ReleaseError where there is nothing to go back to.
        """
        if not who.strip() or not why.strip():
            raise ReleaseError('a rollback needs a name and a reason')
        if not self._memory.fallback:
            raise ReleaseError('there is no earlier version on this robot')
        if self._memory.fallback == self._memory.held_release:
            raise ReleaseError('the earlier version leads already')
        self._memory.held_by = f'{who.strip()}: {why.strip()}'[:200]
        self._memory.held_release = self._memory.active
        self._save()

    def release_hold(self) -> None:
        """Follow the cloud again after a rollback on the robot."""
        self._memory.held_by = self._memory.held_release = ''
        self._save()

    def _wanted(self) -> str:
        memory = self._memory
        if memory.held_release:
            return memory.fallback if memory.active == memory.held_release else memory.active
        return memory.desired or memory.active

    def _pursue(self, now_s: float) -> None:
        wanted = self._wanted()
        if wanted == self._memory.active:
            self.phase = Phase.READY
            return
        if now_s < self._retry_s:
            return
        try:
            version = self._loaded.get(wanted) or self._bring(wanted)
        except AwayError as error:
            self.phase, self.trouble = Phase.FETCHING, str(error)
            self._retry_s = now_s + self._backoff(self._away)
            self._away += 1
            return
        except (ReleaseError, LoadError, RefusedError, OSError) as error:
            self._fail(wanted, str(error), now_s)
            return
        self._away = 0
        self.phase = Phase.WAITING
        if self._robot.is_idle():
            self._swap(version)

    def _bring(self, digest: str) -> Version:
        """Onto the disk, into memory, warm; loaded beside what leads."""
        for other in set(self._loaded) - {self._memory.active, self._memory.fallback}:
            self._robot.unload(other)       # was wanted for a while, and never led
            del self._loaded[other]
        if not self._versions.has(digest):
            self.phase = Phase.FETCHING
            self._versions.tidy({digest, self._memory.active, self._memory.fallback})
            envelope = self._cloud.release(digest)
            self._versions.fetch(digest, envelope, lambda path, target, length:
                                 self._cloud.download(digest, path, target, length))
        self.phase = Phase.LOADING
        version = self._versions.get(digest)
        self._robot.load(version)
        try:
            self._robot.warm_up(version)
        except LoadError:
            self._robot.unload(digest)
            raise
        self._loaded[digest] = version
        return version

    def _swap(self, version: Version) -> None:
        memory = self._memory
        # What was driven up to now belongs to the version that led.
        memory.add(self._robot.report())
        if not self._robot.swap(version):
            return
        memory.fallback, memory.active = memory.active or memory.fallback, version.digest
        if memory.fallback == memory.active:
            memory.fallback = ''
        memory.failed_release = memory.failure = ''
        memory.attempts = 0
        self.phase = Phase.READY
        self._save()
        for digest in set(self._loaded) - {memory.active, memory.fallback}:
            self._robot.unload(digest)
            del self._loaded[digest]
        self._versions.tidy({memory.active, memory.fallback})

    def _fail(self, wanted: str, reason: str, now_s: float) -> None:
        memory = self._memory
        if memory.failed_release != wanted:
            memory.attempts = 0
        sentence = ' '.join(''.join(char if char.isprintable() else ' ' for char in reason).split())
        memory.failed_release, memory.failure = wanted, sentence[:300]
        self.phase = Phase.FAILED
        self._retry_s = now_s + self._backoff(memory.attempts)
        memory.attempts += 1
        self._save()

    @staticmethod
    def _backoff(attempts: int) -> float:
        return min(_LAST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(attempts, 20))

    def _talk(self, now_s: float) -> None:
        """Report, and ask for the desired state where it may have changed."""
        memory = self._memory
        memory.sequence += 1
        keys = [key for key, totals in memory.totals.items()
                if totals.acked != totals.values and key[1]][:MOST_COUNTERS]
        sent = {key: list(memory.totals[key].values) for key in keys}
        # Saved first: a sequence number never stands for two reports.
        self._save()
        self._next_report_s = now_s + self._report_period_s
        report = Report(
            self.robot_id, memory.life, memory.sequence, memory.revision, memory.active,
            memory.fallback, self.phase.value, memory.failed_release, memory.failure,
            memory.held_by, tuple(Counter(*key, *values) for key, values in sent.items()))
        try:
            answer = self._cloud.post([report])[0]
            self.trouble = answer.reason
            if answer.outcome != 'refused':
                for key, values in sent.items():
                    memory.totals[key].acked = values
                memory.forget_confirmed()
            if answer.revision > memory.revision or now_s >= self._next_poll_s:
                self._next_poll_s = now_s + self._poll_period_s
                self._ask(now_s)
        except (AwayError, RefusedError) as error:
            self.trouble = str(error)

    def _ask(self, now_s: float) -> None:
        memory = self._memory
        found = self._cloud.desired(memory.revision)
        if found is None or found.revision <= memory.revision:
            return                  # an older state than one that was heard is no order
        if found.release != memory.desired:
            self._retry_s = now_s
            memory.attempts = self._away = 0
            memory.failed_release = memory.failure = ''
        if memory.held_release and found.release != memory.held_release:
            memory.held_by = memory.held_release = ''
        # Up to here it was driven under the assignment before.
        memory.add(self._robot.report())
        memory.revision, memory.desired = found.revision, found.release
        memory.assignment = found.assignment
        self._save()

    def _restore(self) -> None:
        """After a start: load again what led and what was behind it, if the disk still has it."""
        memory = self._memory
        for digest in (memory.active, memory.fallback):
            if not digest:
                continue
            try:
                version = self._versions.get(digest)
                self._robot.load(version)
                self._robot.warm_up(version)
            except (ReleaseError, LoadError) as error:
                memory.failed_release, memory.failure = digest, str(error)[:300]
            else:
                self._loaded[digest] = version
        if memory.active and memory.active not in self._loaded:
            memory.active = ''      # it does not run, whatever was so before
        if memory.fallback not in self._loaded:
            memory.fallback = ''
        if not memory.active:
            memory.active, memory.fallback = memory.fallback, ''
        if memory.active and not self._robot.swap(self._loaded[memory.active]):
            # The robot was never stopped, is busy, and is led by something else: later, when idle.
            memory.desired = memory.desired or memory.active
            memory.active = ''
        self._save()

    def _save(self) -> None:
        memories.save(self._memory, self._path)
