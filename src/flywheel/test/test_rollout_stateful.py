"""Orders, reports, faults in any sequence (hypothesis): the invariants of a rollout.

Never above the stage's share; what was aborted or rolled back never gets another robot; one
rollout at a time; each exposure is counted once; each action has a name.
"""

from fleet_rig import BASE, CANDIDATE, LIFE, THIRD, H, with_fleet
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import text

from flywheel.rollout import fleet
from flywheel.rollout.cohort import sizes
from flywheel.rollout.engine import Rollouts
from flywheel.rollout.errors import RolloutError
from flywheel.rollout.intake import Intake
from flywheel.rollout.plan import Plan, Stage
from flywheel.rollout.reports import Counter, Report
from flywheel.rollout.status import overview, status

FLEET = 20
PLAN = Plan(stages=(Stage(0.1, 1.0), Stage(0.5, 4.0), Stage(1.0, 8.0)), control_share=0.1,
            min_control_h=0.5)
SIZES = sizes(FLEET, [each.share for each in PLAN.stages], PLAN.control_share)
NAMES = [f'robot-{number:04}' for number in range(FLEET)]


class Died(Exception):
    pass


class Machine(RuleBasedStateMachine):
    @initialize()
    def fresh(self):
        self.database = with_fleet(FLEET)
        self.engine, self.intake = Rollouts(self.database), Intake()
        self.now_ms = 0
        self.robots = {name: {'revision': 1, 'active': BASE, 'assignment': 'fleet', 'sequence': 0,
                              'totals': {}} for name in NAMES}
        self.old = []
        self.frozen = {}         # rollout -> robots that were to run it when it was aborted

    def teardown(self):
        if hasattr(self, 'database'):
            self.database.close()

    def numbers(self):
        return [each['id'] for each in overview(self.database)]

    def desired(self):
        with self.database.begin() as connection:
            return fleet.desired(connection, NAMES)

    def on(self, release):
        return {name for name, each in self.desired().items() if each.release == release}

    @rule(release=st.sampled_from([CANDIDATE, THIRD]), who=st.sampled_from(['Ada', 'Ben', '']))
    def plan(self, release, who):
        try:
            self.engine.plan(release, PLAN, who=who, why='x', now_ms=self.now_ms, salt='s')
        except RolloutError:
            assert who == ''

    @rule(order=st.sampled_from(['start', 'pause', 'resume', 'abort', 'rollback']),
          which=st.integers(0, 1), why=st.sampled_from(['because', '']))
    def order(self, order, which, why):
        numbers = self.numbers()
        if not numbers:
            return
        number = numbers[which % len(numbers)]
        before = {name: each.release for name, each in self.desired().items()}
        try:
            getattr(self.engine, order)(number, who='Ada', why=why, now_ms=self.now_ms)
        except RolloutError:
            assert {name: each.release for name, each in self.desired().items()} == before
            return
        assert why
        if order in ('abort', 'rollback'):
            release = status(self.database, number, now_ms=self.now_ms)['release']
            self.frozen[number] = (release, self.on(release))
            assert order == 'abort' or not self.on(release)

    @rule(hours=st.floats(0.1, 3.0), who=st.sets(st.sampled_from(NAMES), min_size=1),
          stops=st.integers(0, 2), fault=st.sampled_from(['', 'twice', 'late', 'killed', 'lost']))
    def report(self, hours, who, stops, fault):
        self.now_ms += int(hours * H)
        reports = []
        for name in sorted(who):
            robot = self.robots[name]
            totals = robot['totals'].setdefault((robot['assignment'], robot['active']), [0, 0])
            totals[0] += int(hours * H * 0.9)
            totals[1] += stops if robot['active'] != BASE else 0
            robot['sequence'] += 1
            reports.append(Report(
                name, LIFE, robot['sequence'], robot['revision'], robot['active'],
                counters=tuple(Counter(*key, each[0], each[1], 0)
                               for key, each in robot['totals'].items())))
        sent = reports * (2 if fault == 'twice' else 1) + (self.old if fault == 'late' else [])
        self.old = reports
        if fault == 'lost':
            return
        try:
            with self.database.begin() as connection:
                acks = self.intake.take(connection, sent, self.now_ms)
                if fault == 'killed':
                    raise Died
        except Died:
            self.engine, self.intake = Rollouts(self.database), Intake()
            return
        assert {each.outcome for each in acks} <= {'accepted', 'duplicate'}
        for report in reports:
            found = self.desired()[report.robot_id]
            robot = self.robots[report.robot_id]
            robot.update(revision=found.revision, assignment=found.assignment,
                         active=found.release)

    @rule(hours=st.floats(0.0, 2.0))
    def look(self, hours):
        self.now_ms += int(hours * H)
        self.engine.evaluate_active(now_ms=self.now_ms)

    @invariant()
    def never_above_the_share(self):
        if not hasattr(self, 'database'):
            return
        for each in overview(self.database):
            told = status(self.database, each['id'], now_ms=self.now_ms)
            if told['state'] not in ('running', 'paused'):
                continue
            allowed = SIZES.stages[told['stage']]
            assert len(self.on(told['release'])) <= allowed
            assert sum(robot['active'] == told['release']
                       for robot in self.robots.values()) <= allowed

    @invariant()
    def at_most_one_is_active(self):
        if hasattr(self, 'database'):
            assert sum(each['state'] in ('running', 'paused')
                       for each in overview(self.database)) <= 1

    @invariant()
    def aborted_stays_aborted(self):
        for number, (release, robots) in getattr(self, 'frozen', {}).items():
            told = status(self.database, number, now_ms=self.now_ms)
            assert told['state'] in ('aborted', 'rolled_back')
            if all(each['release'] != release or each['id'] <= number
                   for each in overview(self.database)):
                assert self.on(release) <= robots

    @invariant()
    def counted_once(self):
        if not hasattr(self, 'database'):
            return
        with self.database.begin() as connection:
            rows = {tuple(row[:3]): row[3] for row in connection.execute(text(
                'SELECT robot_id, assignment, release, exposure_ms FROM counters'))}
        for key, exposure_ms in rows.items():
            assert exposure_ms <= self.robots[key[0]]['totals'][key[1:]][0]

    @invariant()
    def every_action_has_a_name(self):
        if not hasattr(self, 'database'):
            return
        with self.database.begin() as connection:
            assert connection.execute(text(
                "SELECT COUNT(*) FROM actions WHERE who = '' OR why = ''")).scalar() == 0


TestRollout = Machine.TestCase
TestRollout.settings = settings(deadline=None, max_examples=40, stateful_step_count=25)


def test_after_all_has_been_heard_every_hour_is_booked():
    """The other half of `counted_once`: nothing is missing either, whatever was lost before."""
    machine = Machine()
    machine.fresh()
    for fault in ('lost', 'killed', 'late', 'twice', 'lost', ''):
        machine.report(1.0, set(NAMES), 1, fault)
    with machine.database.begin() as connection:
        total = connection.execute(text('SELECT SUM(exposure_ms) FROM counters')).scalar()
    assert total == FLEET * 6 * int(0.9 * H)
    machine.teardown()
