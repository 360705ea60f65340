"""instances, retries at the pool, retention of output, audit

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-25 01:30:00
"""

import sqlalchemy as sa
from alembic import op


revision: str = '0005'
down_revision: str | None = '0004'
branch_labels: tuple[str, ...] | None = None
depends_on: tuple[str, ...] | None = None


def upgrade() -> None:
    op.create_table('audit',
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.Column('actor', sa.String(length=200), nullable=False),
    sa.Column('action', sa.String(length=64), nullable=False),
    sa.Column('target', sa.String(length=64), nullable=False),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_audit'))
    )
    with op.batch_alter_table('audit', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_audit_target'), ['target'], unique=False)

    with op.batch_alter_table('agents', schema=None) as batch_op:
        batch_op.add_column(sa.Column('instance', sa.String(length=100), nullable=True))
        batch_op.add_column(sa.Column('instance_host', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('instance_since', sa.Double(), nullable=True))
        batch_op.add_column(sa.Column('refused', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('repeatable', sa.Text(), nullable=True))

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('retries', sa.Integer(), server_default='0', nullable=False))

    with op.batch_alter_table('attempts', schema=None) as batch_op:
        batch_op.add_column(sa.Column('instance', sa.String(length=100), nullable=True))
        batch_op.add_column(sa.Column('output_at', sa.Double(), nullable=True))
        batch_op.add_column(sa.Column('output_dropped', sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.create_index('ix_attempts_output_at', ['output_at'], unique=False)

    with op.batch_alter_table('job_outputs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('stored_at', sa.Double(), nullable=True))
        batch_op.add_column(sa.Column('dropped', sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.create_index('ix_job_outputs_stored_at', ['stored_at'], unique=False)

    op.execute("UPDATE attempts SET output_at = received_at WHERE output IS NOT NULL")
    op.execute(
        "UPDATE job_outputs SET stored_at = (SELECT COALESCE(ended_at, renewed_at) FROM attempts"
        " WHERE attempts.job_id = job_outputs.job_id AND attempts.number = job_outputs.attempt)"
    )


def downgrade() -> None:
    with op.batch_alter_table('job_outputs', schema=None) as batch_op:
        batch_op.drop_index('ix_job_outputs_stored_at')
        batch_op.drop_column('dropped')
        batch_op.drop_column('stored_at')

    with op.batch_alter_table('attempts', schema=None) as batch_op:
        batch_op.drop_index('ix_attempts_output_at')
        batch_op.drop_column('output_dropped')
        batch_op.drop_column('output_at')
        batch_op.drop_column('instance')

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_column('retries')

    with op.batch_alter_table('agents', schema=None) as batch_op:
        batch_op.drop_column('repeatable')
        batch_op.drop_column('refused')
        batch_op.drop_column('instance_since')
        batch_op.drop_column('instance_host')
        batch_op.drop_column('instance')

    with op.batch_alter_table('audit', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_audit_target'))

    op.drop_table('audit')
