"""A small fleet for tests: a database with releases and robots, and a robot that can fail."""

from flywheel.agent.robot import Counts, LoadError
from flywheel.rollout import fleet
from flywheel.rollout.database import Database
from flywheel.rollout.plan import Plan, Stage

H = 3_600_000
BASE, CANDIDATE, THIRD = 'a' * 64, 'b' * 64, 'c' * 64
LIFE = '0' * 32


def database(url='sqlite://'):
    found = Database(url)
    found.migrate()
    return found


def with_fleet(robots=40, url='sqlite://', now_ms=0):
    """A migrated database with three releases and robots that run the first."""
    found = database(url)
    with found.begin() as connection:
        for version, digest in enumerate((BASE, CANDIDATE, THIRD), 1):
            fleet.add_release(connection, fleet.Release(digest, 'amr', version, ('orin_nano',)),
                              who='Ada', now_ms=now_ms)
        fleet.enrol(connection, [fleet.Robot(f'robot-{number:04}', 'orin_nano', 'key')
                                 for number in range(robots)], BASE, now_ms=now_ms)
    return found


SMALL = Plan(stages=(Stage(0.1, 2.0), Stage(0.5, 5.0), Stage(1.0, 10.0)), control_share=0.1,
             min_control_h=1.0)


class DeskRobot:
    """A robot in memory: what is loaded, what leads, and whether it may swap."""

    def __init__(self):
        self.idle = True
        self.loaded = {}
        self.leads = ''
        self.counts = Counts('boot-1', 0, 0, 0)
        self.fail_load = self.fail_warm_up = ''
        self.history = []

    def is_idle(self):
        return self.idle

    def load(self, version):
        if self.fail_load:
            raise LoadError(self.fail_load)
        self.loaded[version.digest] = version

    def warm_up(self, version):
        assert version.digest in self.loaded
        if self.fail_warm_up:
            raise LoadError(self.fail_warm_up)

    def swap(self, version):
        assert version.digest in self.loaded, 'only what is loaded may lead'
        if self.leads not in ('', version.digest) and not self.idle:
            return False
        self.leads = version.digest
        self.history.append(version.digest)
        return True

    def unload(self, digest):
        assert digest != self.leads, 'what leads is never unloaded'
        self.loaded.pop(digest, None)

    def report(self):
        return self.counts

    def drive(self, driving_ms, e_stops=0, interventions=0):
        now = self.counts
        self.counts = Counts(now.since, now.driving_ms + driving_ms, now.e_stops + e_stops,
                             now.interventions + interventions)

    def restart(self):
        """A power cut: nothing is loaded, counting begins anew."""
        self.loaded, self.leads = {}, ''
        self.counts = Counts(self.counts.since + '+', 0, 0, 0)
