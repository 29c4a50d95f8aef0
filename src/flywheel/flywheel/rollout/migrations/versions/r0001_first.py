"""The first schema: releases, robots, their reports, rollouts."""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, 'sqlite')
_ACTIVE = sa.text("state IN ('running', 'paused')")


def upgrade() -> None:
    op.create_table(
        'releases',
        sa.Column('digest', sa.String(64), nullable=False),
        sa.Column('name', sa.String(64), nullable=False),
        sa.Column('version', sa.Integer, nullable=False),
        sa.Column('targets', sa.Text, nullable=False),
        sa.Column('envelope', sa.LargeBinary, nullable=False),
        sa.Column('added_ms', sa.BigInteger, nullable=False),
        sa.Column('added_by', sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint('digest', name='pk_releases'),
        sa.UniqueConstraint('name', 'version', name='uq_releases_name_version'))
    op.create_table(
        'robots',
        sa.Column('robot_id', sa.String(64), nullable=False),
        sa.Column('target', sa.String(64), nullable=False),
        sa.Column('public_key', sa.Text, nullable=False),
        sa.Column('enrolled_ms', sa.BigInteger, nullable=False),
        sa.Column('retired_ms', sa.BigInteger),
        sa.Column('desired_release', sa.String(64), nullable=False),
        sa.Column('assignment', sa.String(32), nullable=False),
        sa.Column('revision', sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint('robot_id', name='pk_robots'),
        sa.ForeignKeyConstraint(['desired_release'], ['releases.digest'],
                                name='fk_robots_desired_release'))
    op.create_table(
        'presence',
        sa.Column('robot_id', sa.String(64), nullable=False),
        sa.Column('life', sa.String(32), nullable=False),
        sa.Column('sequence', sa.BigInteger, nullable=False),
        sa.Column('seen_ms', sa.BigInteger, nullable=False),
        sa.Column('revision', sa.BigInteger, nullable=False),
        sa.Column('actual_release', sa.String(64), nullable=False),
        sa.Column('fallback_release', sa.String(64), nullable=False),
        sa.Column('phase', sa.String(16), nullable=False),
        sa.Column('failed_release', sa.String(64), nullable=False),
        sa.Column('failure', sa.String(300), nullable=False),
        sa.Column('held_by', sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint('robot_id', name='pk_presence'),
        sa.ForeignKeyConstraint(['robot_id'], ['robots.robot_id'],
                                name='fk_presence_robot_id'))
    op.create_table(
        'past_lives',
        sa.Column('robot_id', sa.String(64), nullable=False),
        sa.Column('life', sa.String(32), nullable=False),
        sa.Column('sequence', sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint('robot_id', 'life', name='pk_past_lives'),
        sa.ForeignKeyConstraint(['robot_id'], ['robots.robot_id'],
                                name='fk_past_lives_robot_id'))
    op.create_table(
        'counters',
        sa.Column('robot_id', sa.String(64), nullable=False),
        sa.Column('life', sa.String(32), nullable=False),
        sa.Column('assignment', sa.String(32), nullable=False),
        sa.Column('release', sa.String(64), nullable=False),
        sa.Column('exposure_ms', sa.BigInteger, nullable=False),
        sa.Column('e_stops', sa.BigInteger, nullable=False),
        sa.Column('interventions', sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint('robot_id', 'life', 'assignment', 'release', name='pk_counters'))
    op.create_index('ix_counters_assignment', 'counters', ['assignment', 'release'])
    op.create_table(
        'rollouts',
        sa.Column('id', _ID, nullable=False, autoincrement=True),
        sa.Column('release', sa.String(64), nullable=False),
        sa.Column('salt', sa.String(64), nullable=False),
        sa.Column('plan', sa.Text, nullable=False),
        sa.Column('state', sa.String(16), nullable=False),
        sa.Column('stage', sa.Integer, nullable=False),
        sa.Column('stage_began_ms', sa.BigInteger),
        sa.Column('stage_treated_ms', sa.BigInteger, nullable=False),
        sa.Column('stage_control_ms', sa.BigInteger, nullable=False),
        sa.Column('fleet', sa.Integer, nullable=False),
        sa.Column('held_out', sa.Integer, nullable=False),
        sa.Column('planned_ms', sa.BigInteger, nullable=False),
        sa.Column('started_ms', sa.BigInteger),
        sa.Column('ended_ms', sa.BigInteger),
        sa.PrimaryKeyConstraint('id', name='pk_rollouts'),
        sa.ForeignKeyConstraint(['release'], ['releases.digest'], name='fk_rollouts_release'))
    op.create_index('uq_rollouts_one_active', 'rollouts', [sa.text('(1)')], unique=True,
                    sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)
    op.create_table(
        'members',
        sa.Column('rollout_id', _ID, nullable=False),
        sa.Column('robot_id', sa.String(64), nullable=False),
        sa.Column('position', sa.Integer, nullable=False),
        sa.Column('held_out', sa.Boolean, nullable=False),
        sa.Column('base_release', sa.String(64), nullable=False),
        sa.Column('treated', sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint('rollout_id', 'robot_id', name='pk_members'),
        sa.ForeignKeyConstraint(['rollout_id'], ['rollouts.id'], name='fk_members_rollout_id'),
        sa.ForeignKeyConstraint(['robot_id'], ['robots.robot_id'], name='fk_members_robot_id'))
    op.create_index('ix_members_rollout_id_position', 'members', ['rollout_id', 'position'])
    op.create_table(
        'actions',
        sa.Column('id', _ID, nullable=False, autoincrement=True),
        sa.Column('rollout_id', _ID, nullable=False),
        sa.Column('at_ms', sa.BigInteger, nullable=False),
        sa.Column('who', sa.String(200), nullable=False),
        sa.Column('action', sa.String(16), nullable=False),
        sa.Column('why', sa.String(1000), nullable=False),
        sa.Column('before', sa.String(16), nullable=False),
        sa.Column('after', sa.String(16), nullable=False),
        sa.Column('stage', sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_actions'),
        sa.ForeignKeyConstraint(['rollout_id'], ['rollouts.id'], name='fk_actions_rollout_id'))
    op.create_index('ix_actions_rollout_id', 'actions', ['rollout_id'])
    op.create_table(
        'evidence',
        sa.Column('id', _ID, nullable=False, autoincrement=True),
        sa.Column('rollout_id', _ID, nullable=False),
        sa.Column('at_ms', sa.BigInteger, nullable=False),
        sa.Column('stage', sa.Integer, nullable=False),
        sa.Column('totals', sa.Text, nullable=False),
        sa.Column('tests', sa.Text, nullable=False),
        sa.Column('e_values', sa.Text, nullable=False),
        sa.Column('verdict', sa.String(16), nullable=False),
        sa.Column('reasons', sa.Text, nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_evidence'),
        sa.ForeignKeyConstraint(['rollout_id'], ['rollouts.id'], name='fk_evidence_rollout_id'))
    op.create_index('ix_evidence_rollout_id', 'evidence', ['rollout_id', 'id'])


def downgrade() -> None:
    for name in ('evidence', 'actions', 'members', 'rollouts', 'counters', 'past_lives',
                 'presence', 'robots', 'releases'):
        op.drop_table(name)
