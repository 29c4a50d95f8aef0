"""The tables. What the engine writes (robots) is apart from what robots write (presence,
counters), so that the two never wait for each other's rows.

Times are milliseconds since 1970 of the server's clock; no robot's clock enters the database.
Releases are named by the digest of their manifest, 64 hexadecimal digits.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(naming_convention={
    'ix': 'ix_%(table_name)s_%(column_0_N_name)s', 'uq': 'uq_%(table_name)s_%(column_0_N_name)s',
    'fk': 'fk_%(table_name)s_%(column_0_name)s', 'pk': 'pk_%(table_name)s'})

_ID = BigInteger().with_variant(Integer, 'sqlite')
_DIGEST = String(64)
ROBOT_ID_CHARS = 64

releases = Table(
    'releases', metadata,
    Column('digest', _DIGEST, primary_key=True),
    Column('name', String(64), nullable=False),
    Column('version', Integer, nullable=False),
    Column('targets', Text, nullable=False),            # JSON list
    Column('envelope', LargeBinary, nullable=False),    # the signed manifest as it was given
    Column('added_ms', BigInteger, nullable=False),
    Column('added_by', String(200), nullable=False),
    UniqueConstraint('name', 'version'))

robots = Table(
    'robots', metadata,
    Column('robot_id', String(ROBOT_ID_CHARS), primary_key=True),
    Column('target', String(64), nullable=False),
    Column('public_key', Text, nullable=False),          # Ed25519, PEM
    Column('enrolled_ms', BigInteger, nullable=False),
    Column('retired_ms', BigInteger),
    Column('desired_release', _DIGEST, ForeignKey('releases.digest'), nullable=False),
    Column('assignment', String(32), nullable=False),    # under which exposure is counted
    Column('revision', BigInteger, nullable=False))      # of the desired state, only rises

presence = Table(
    'presence', metadata,
    Column('robot_id', String(ROBOT_ID_CHARS), ForeignKey('robots.robot_id'), primary_key=True),
    Column('life', String(32), nullable=False),          # of the robot's counters
    Column('sequence', BigInteger, nullable=False),
    Column('seen_ms', BigInteger, nullable=False),
    Column('revision', BigInteger, nullable=False),      # the desired state that it knows
    Column('actual_release', _DIGEST, nullable=False),
    Column('fallback_release', String(64), nullable=False),
    Column('phase', String(16), nullable=False),
    Column('failed_release', String(64), nullable=False),
    Column('failure', String(300), nullable=False),
    Column('held_by', String(200), nullable=False))      # who rolled it back on the robot

past_lives = Table(
    'past_lives', metadata,
    Column('robot_id', String(ROBOT_ID_CHARS), ForeignKey('robots.robot_id'), primary_key=True),
    Column('life', String(32), primary_key=True),
    Column('sequence', BigInteger, nullable=False))

counters = Table(
    'counters', metadata,
    Column('robot_id', String(ROBOT_ID_CHARS), primary_key=True),
    Column('life', String(32), primary_key=True),
    Column('assignment', String(32), primary_key=True),
    Column('release', _DIGEST, primary_key=True),
    Column('exposure_ms', BigInteger, nullable=False),
    Column('e_stops', BigInteger, nullable=False),
    Column('interventions', BigInteger, nullable=False),
    Index('ix_counters_assignment', 'assignment', 'release'))

rollouts = Table(
    'rollouts', metadata,
    Column('id', _ID, primary_key=True, autoincrement=True),
    Column('release', _DIGEST, ForeignKey('releases.digest'), nullable=False),
    Column('salt', String(64), nullable=False),
    Column('plan', Text, nullable=False),                # JSON
    Column('state', String(16), nullable=False),
    Column('stage', Integer, nullable=False),            # -1 before the first
    Column('stage_began_ms', BigInteger),
    Column('stage_treated_ms', BigInteger, nullable=False),   # exposure when the stage began
    Column('stage_control_ms', BigInteger, nullable=False),
    Column('fleet', Integer, nullable=False),
    Column('held_out', Integer, nullable=False),
    Column('planned_ms', BigInteger, nullable=False),
    Column('started_ms', BigInteger),
    Column('ended_ms', BigInteger))
# One rollout at a time, whatever process starts it.
Index('uq_rollouts_one_active', text('(1)'), unique=True, _table=rollouts,
      sqlite_where=rollouts.c.state.in_(('running', 'paused')),
      postgresql_where=rollouts.c.state.in_(('running', 'paused')))

members = Table(
    'members', metadata,
    Column('rollout_id', _ID, ForeignKey('rollouts.id'), primary_key=True),
    Column('robot_id', String(ROBOT_ID_CHARS), ForeignKey('robots.robot_id'), primary_key=True),
    Column('position', Integer, nullable=False),
    Column('held_out', Boolean, nullable=False),
    Column('base_release', _DIGEST, nullable=False),
    Column('treated', Boolean, nullable=False),
    Index('ix_members_rollout_id_position', 'rollout_id', 'position'))

actions = Table(
    'actions', metadata,
    Column('id', _ID, primary_key=True, autoincrement=True),
    Column('rollout_id', _ID, ForeignKey('rollouts.id'), nullable=False),
    Column('at_ms', BigInteger, nullable=False),
    Column('who', String(200), nullable=False),
    Column('action', String(16), nullable=False),
    Column('why', String(1000), nullable=False),
    Column('before', String(16), nullable=False),
    Column('after', String(16), nullable=False),
    Column('stage', Integer, nullable=False),
    Index('ix_actions_rollout_id', 'rollout_id'))

evidence = Table(
    'evidence', metadata,
    Column('id', _ID, primary_key=True, autoincrement=True),
    Column('rollout_id', _ID, ForeignKey('rollouts.id'), nullable=False),
    Column('at_ms', BigInteger, nullable=False),
    Column('stage', Integer, nullable=False),
    Column('totals', Text, nullable=False),      # JSON: by group, what was compared up to now
    Column('tests', Text, nullable=False),       # JSON: log ratios by rate
    Column('e_values', Text, nullable=False),    # JSON
    Column('verdict', String(16), nullable=False),
    Column('reasons', Text, nullable=False),
    Index('ix_evidence_rollout_id', 'rollout_id', 'id'))
