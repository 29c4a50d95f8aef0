"""The engine on a real database: SQLite here, and PostgreSQL where it is installed."""

import itertools
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from fleet_rig import BASE, CANDIDATE, LIFE, SMALL, THIRD, H, database, with_fleet
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError

from flywheel.rollout import fleet
from flywheel.rollout.database import Database
from flywheel.rollout.decision import Verdict
from flywheel.rollout.desk_postgres import DeskPostgres, missing
from flywheel.rollout.engine import Rollouts
from flywheel.rollout.errors import RolloutError
from flywheel.rollout.intake import Intake
from flywheel.rollout.reports import MOST_LIVES, Counter, Report
from flywheel.rollout.status import history, overview, status
from flywheel.rollout.tables import metadata, rollouts

BY = {'who': 'Ada', 'why': 'to see'}


@pytest.fixture(scope='module')
def postgres():
    if reason := missing():
        pytest.skip(reason)
    with DeskPostgres() as server:
        yield server


@pytest.fixture(params=['sqlite', 'file', 'postgresql'])
def url(request, tmp_path):
    if request.param == 'postgresql':
        return request.getfixturevalue('postgres').new_database()
    return 'sqlite://' if request.param == 'sqlite' else f'sqlite:///{tmp_path}/fleet.db'


class Fleet:
    """Robots that do as they are told, over the real engine and intake."""

    def __init__(self, url='sqlite://', robots=40):
        self.database = with_fleet(robots, url)
        self.engine, self.intake = Rollouts(self.database), Intake()
        self.names = [f'robot-{number:04}' for number in range(robots)]
        self.sequence = itertools.count(1)
        self.totals = {}
        self.now_ms = 0

    def desired(self):
        with self.database.begin() as connection:
            return fleet.desired(connection, self.names)

    def on(self, release):
        return {name for name, each in self.desired().items() if each.release == release}

    def hours(self, hours=1.0, stops=None, names=None, **changes):
        """Everybody drives for so long under what is desired, and reports; then a look."""
        self.now_ms += int(hours * H)
        found = self.desired()
        reports = []
        for name in names or self.names:
            each = found[name]
            key = (name, each.assignment, each.release)
            old = self.totals.get(key, (0, 0))
            now = (old[0] + int(hours * H),
                   old[1] + (stops(each) if stops else 0))
            self.totals[key] = now
            reports.append(replace(Report(
                name, LIFE, next(self.sequence), each.revision, each.release, BASE,
                counters=(Counter(each.assignment, each.release, *now, 0),)), **changes))
        with self.database.begin() as connection:
            return self.intake.take(connection, reports, self.now_ms)

    def evaluate(self, number):
        return self.engine.evaluate(number, now_ms=self.now_ms)

    def planned(self, plan=SMALL, release=CANDIDATE):
        return self.engine.plan(release, plan, **BY, now_ms=self.now_ms, salt='salt')

    def started(self, plan=SMALL, release=CANDIDATE):
        number = self.planned(plan, release)
        self.engine.start(number, **BY, now_ms=self.now_ms)
        return number

    def state(self, number):
        return status(self.database, number, now_ms=self.now_ms)['state']


def test_a_good_release_goes_through_the_stages_and_stays(url):
    found = Fleet(url)
    number = found.started()
    seen = [len(found.on(CANDIDATE))]
    for _ in range(30):
        found.hours()
        found.evaluate(number)
        seen.append(len(found.on(CANDIDATE)))
    assert [count for count, _ in itertools.groupby(seen)] == [4, 20, 36, 40]
    told = status(found.database, number, now_ms=found.now_ms)
    assert told['state'] == 'completed'
    assert [each['action'] for each in told['actions']] == [
        'plan', 'start', 'advance', 'advance', 'complete']
    assert {each['who'] for each in told['actions']} == {'Ada', 'flywheel (automatic)'}
    assert {each.assignment for each in found.desired().values()} == {'fleet'}
    assert overview(found.database)[0]['model'] == 'amr:2'


def test_a_bad_release_is_stopped_and_taken_back_by_itself(url):
    found = Fleet(url, 200)
    number = found.started()

    def stops(each):
        return int(each.release == CANDIDATE)
    for _ in range(40):
        found.hours(0.5, stops)
        if found.evaluate(number).verdict is Verdict.STOP:
            break
    told = status(found.database, number, now_ms=found.now_ms)
    assert told['state'] == 'rolled_back'
    assert found.on(CANDIDATE) == set()
    assert 'e_stops are too frequent' in told['actions'][-1]['why']
    assert told['actions'][-1]['who'] == 'flywheel (automatic)'
    assert history(found.database, number)[-1]['verdict'] == 'stop'
    assert {each.release for each in found.desired().values()} == {BASE}


def test_robots_that_cannot_load_it_stop_it(url):
    found = Fleet(url)
    number = found.started()
    found.hours(names=sorted(found.on(CANDIDATE)), actual_release=BASE, phase='failed',
                failed_release=CANDIDATE, failure='out of memory', counters=())
    told = status(found.database, number, now_ms=found.now_ms)
    assert told['cohorts'][0]['failed'] == 4
    assert told['cohorts'][0]['offline'] == 0
    assert found.evaluate(number).verdict is Verdict.STOP
    assert found.state(number) == 'rolled_back'


def test_offline_is_not_failed(url):
    found = Fleet(url)
    number = found.started()
    found.now_ms += 30 * 24 * H
    assert found.evaluate(number).verdict is Verdict.HOLD
    told = status(found.database, number, now_ms=found.now_ms)
    assert [each['failed'] for each in told['cohorts']] == [0, 0, 0, 0]
    assert sum(each['offline'] for each in told['cohorts']) == 40
    assert found.state(number) == 'running'


def test_wall_time_alone_moves_nothing(url):
    found = Fleet(url)
    number = found.started()
    for _ in range(50):
        found.now_ms += 24 * H
        found.evaluate(number)
    assert len(found.on(CANDIDATE)) == 4


def test_a_pause_holds_the_stage_but_still_stops_a_bad_release(url):
    found = Fleet(url, 200)
    number = found.started()
    found.engine.pause(number, **BY, now_ms=found.now_ms)
    for _ in range(10):
        found.hours()
        found.evaluate(number)
    assert len(found.on(CANDIDATE)) == 20
    for _ in range(20):
        found.hours(0.5, lambda each: int(each.release == CANDIDATE))
        found.evaluate(number)
    assert found.state(number) == 'rolled_back'


def test_resume_goes_on(url):
    found = Fleet(url)
    number = found.started()
    found.engine.pause(number, **BY, now_ms=found.now_ms)
    found.hours()
    found.evaluate(number)
    assert len(found.on(CANDIDATE)) == 4
    found.engine.resume(number, **BY, now_ms=found.now_ms)
    found.evaluate(number)
    assert len(found.on(CANDIDATE)) == 20


def test_aborted_stays_aborted_and_can_still_be_taken_back(url):
    found = Fleet(url)
    number = found.started()
    found.engine.abort(number, **BY, now_ms=found.now_ms)
    for order in (found.engine.start, found.engine.resume, found.engine.pause):
        with pytest.raises(RolloutError, match='does not apply'):
            order(number, **BY, now_ms=found.now_ms)
    for _ in range(10):
        found.hours()
        found.evaluate(number)
    assert len(found.on(CANDIDATE)) == 4
    found.engine.rollback(number, **BY, now_ms=found.now_ms)
    assert found.on(CANDIDATE) == set()
    with pytest.raises(RolloutError, match='does not apply'):
        found.engine.resume(number, **BY, now_ms=found.now_ms)


def test_one_rollout_at_a_time(url):
    found = Fleet(url)
    first, second = found.planned(), found.planned(release=THIRD)
    found.engine.start(first, **BY, now_ms=0)
    with pytest.raises(RolloutError, match=f'rollout {first} is under way'):
        found.engine.start(second, **BY, now_ms=0)
    found.engine.abort(first, **BY, now_ms=0)
    found.engine.start(second, **BY, now_ms=1)
    with pytest.raises(RolloutError, match='came after'):
        found.engine.rollback(first, **BY, now_ms=2)
    assert len(found.on(THIRD)) == 4


def test_the_database_itself_allows_one_active_rollout(url):
    found = Fleet(url)
    found.started()
    second = found.planned(release=THIRD)
    with pytest.raises(IntegrityError), found.database.begin() as connection:
        connection.execute(update(rollouts).where(rollouts.c.id == second)
                           .values(state='paused'))


def test_a_completed_rollout_can_be_rolled_back_and_the_next_starts_from_there(url):
    found = Fleet(url)
    number = found.started()
    for _ in range(30):
        found.hours()
        found.evaluate(number)
    assert found.state(number) == 'completed'
    with pytest.raises(RolloutError, match='already'):
        found.started()
    found.engine.rollback(number, **BY, now_ms=found.now_ms)
    assert {each.release for each in found.desired().values()} == {BASE}
    assert found.started() > number


def test_a_robot_that_is_enrolled_during_a_rollout_follows_its_end(url):
    found = Fleet(url)
    number = found.started()
    with found.database.begin() as connection:
        fleet.enrol(connection, [fleet.Robot('late', 'orin_nano', 'key')], BASE, now_ms=0)
    found.names.append('late')
    for _ in range(30):
        found.hours()
        found.evaluate(number)
    assert found.on(CANDIDATE) == set(found.names)


@pytest.mark.parametrize('order', ['plan', 'start', 'pause', 'abort', 'rollback'])
@pytest.mark.parametrize('lacking', ['who', 'why'])
def test_nobody_acts_without_a_name_and_a_reason(order, lacking):
    found = Fleet()
    number = found.started() if order in ('pause', 'rollback') else found.planned()
    before = found.state(number)
    subject = (THIRD, SMALL) if order == 'plan' else (number,)
    with pytest.raises(RolloutError, match='an action needs a'):
        getattr(found.engine, order)(*subject, **(BY | {lacking: ' '}), now_ms=0)
    assert found.state(number) == before
    assert len(found.on(CANDIDATE)) == (4 if before == 'running' else 0)
    assert len(overview(found.database)) == 1


def test_what_cannot_be_is_refused_in_one_sentence():
    found = Fleet()
    with pytest.raises(RolloutError, match='no release'):
        found.engine.plan('f' * 64, SMALL, **BY, now_ms=0)
    with pytest.raises(RolloutError, match='no rollout 9'):
        found.engine.start(9, **BY, now_ms=0)
    with pytest.raises(RolloutError, match='smallest share'):
        found.engine.plan(CANDIDATE, replace(SMALL, stages=Plan01), **BY, now_ms=0)
    with pytest.raises(RolloutError, match=r'never started'):
        found.engine.rollback(found.planned(), **BY, now_ms=0)
    with found.database.begin() as connection:
        with pytest.raises(RolloutError, match='never replaced'):
            fleet.add_release(connection, fleet.Release('e' * 64, 'amr', 2, ('orin_nano',)),
                              who='Ada', now_ms=0)
        with pytest.raises(RolloutError, match='another key'):
            fleet.enrol(connection, [fleet.Robot('robot-0001', 'orin_nano', 'other')], BASE,
                        now_ms=0)
        with pytest.raises(RolloutError, match='no artifact'):
            fleet.enrol(connection, [fleet.Robot('x', 'thor', 'key')], BASE, now_ms=0)
        with pytest.raises(RolloutError, match='no robot id'):
            fleet.enrol(connection, [fleet.Robot('../x', 'orin_nano', 'key')], BASE, now_ms=0)


Plan01 = (replace(SMALL.stages[0], share=0.001), SMALL.stages[-1])


def take(found, *reports):
    with found.database.begin() as connection:
        return [each.outcome for each in found.intake.take(connection, reports, 10 * H)]


def exposure(found):
    with found.database.begin() as connection:
        return connection.execute(text('SELECT SUM(exposure_ms) FROM counters')).scalar()


def of(sequence, exposure_ms, life=LIFE, **changes):
    return replace(Report('robot-0000', life, sequence, 1, BASE,
                          counters=(Counter('fleet', BASE, exposure_ms, 0, 0),)), **changes)


def test_reports_come_twice_late_and_out_of_order_and_count_once(url):
    found = Fleet(url)
    assert take(found, of(2, 200), of(1, 100), of(2, 200)) == ['accepted', 'accepted', 'duplicate']
    assert take(found, of(1, 100)) == ['duplicate']
    assert take(found, of(5, 500)) == ['accepted']
    assert take(found, of(4, 900)) == ['duplicate']
    assert exposure(found) == 500


def test_a_lost_report_is_in_the_next(url):
    found = Fleet(url)
    take(found, of(1, 100))
    take(found, of(9, 900))
    assert exposure(found) == 900


def test_counters_that_begin_anew_add_to_the_old_ones(url):
    found = Fleet(url)
    second = 'f' * 32
    take(found, of(7, 700))
    take(found, of(1, 50, second))
    assert take(found, of(7, 700), of(8, 800)) == ['duplicate', 'accepted']
    assert take(found, of(2, 60, second)) == ['accepted']
    assert exposure(found) == 860
    lives = [f'{number:032x}' for number in range(1, MOST_LIVES + 3)]
    assert [take(found, of(1, 1, life))[0] for life in lives][-1] == 'refused'


def test_impossible_reports_are_refused_and_leave_nothing(url):
    found = Fleet(url)
    assert take(found, of(1, 10 * H + 97_000)) == ['refused']
    assert take(found, of(1, 1, counters=(Counter('r7.t', BASE, 1, 0, 0),))) == ['refused']
    assert take(found, of(1, 1, counters=(Counter('fleet', 'e' * 64, 1, 0, 0),))) == ['refused']
    assert take(found, of(1, 1, robot_id='stranger')) == ['refused']
    assert take(found, of(1, 1, actual_release='e' * 64)) == ['refused']
    assert exposure(found) is None
    assert take(found, of(1, 10 * H)) == ['accepted']


def test_a_transaction_that_dies_leaves_nothing(url):
    found = Fleet(url)
    number = found.planned()

    class Died(Exception):
        pass

    def die():
        with found.database.begin() as connection:
            found.intake.take(connection, [of(1, 100)], H)
            raise Died
    with pytest.raises(Died):
        die()
    assert exposure(found) is None
    assert found.state(number) == 'planned'
    assert take(found, of(1, 100)) == ['accepted']


@pytest.mark.filterwarnings('ignore:.*expression-based index')
def test_the_migrations_make_the_tables_that_the_code_knows(url):
    found = database(url)
    found.migrate()
    with found.begin() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert differences == []
    assert found.revision() == ('0001', '0001')


def test_what_was_planned_is_there_after_a_restart(tmp_path):
    url = f'sqlite:///{tmp_path}/fleet.db'
    found = Fleet(url)
    number = found.started()
    found.hours()
    found.evaluate(number)
    found.database.close()
    again = Database(url)
    again.migrate()
    told = status(again, number, now_ms=found.now_ms)
    assert (told['state'], told['stage']) == ('running', 1)
    assert len(history(again, number)) == 1


@pytest.mark.parametrize(('url', 'said'), [
    ('mysql://x/y', 'sqlite and postgresql'), ('nonsense', 'cannot be read'),
    ('sqlite:////nowhere/x.db', 'unable to open'),
    ('postgresql://nobody@127.0.0.1:1/x', 'the database postgresql')])
def test_a_database_that_is_away_is_one_sentence(url, said):
    with pytest.raises(RolloutError, match=said):
        Database(url).migrate()
