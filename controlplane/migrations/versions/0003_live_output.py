"""live output

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-23 19:50:00
"""

import sqlalchemy as sa
from alembic import op


revision: str = '0003'
down_revision: str | None = '0002'
branch_labels: tuple[str, ...] | None = None
depends_on: tuple[str, ...] | None = None


def upgrade() -> None:
    op.create_table('job_outputs',
    sa.Column('job_id', sa.String(length=40), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('next_seq', sa.BigInteger(), nullable=False),
    sa.Column('stdout_bytes', sa.BigInteger(), nullable=False),
    sa.Column('stderr_bytes', sa.BigInteger(), nullable=False),
    sa.Column('head_bytes', sa.Integer(), nullable=False),
    sa.Column('tail_bytes', sa.Integer(), nullable=False),
    sa.Column('ended', sa.Boolean(), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_job_outputs_job_id_jobs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('job_id', 'attempt', name=op.f('pk_job_outputs'))
    )
    op.create_table('output_chunks',
    sa.Column('job_id', sa.String(length=40), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('seq', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('stream', sa.String(length=8), nullable=False),
    sa.Column('offset', sa.BigInteger(), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('in_tail', sa.Boolean(), nullable=False),
    sa.Column('data', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['job_id', 'attempt'], ['job_outputs.job_id', 'job_outputs.attempt'], name=op.f('fk_output_chunks_job_id_attempt_job_outputs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('job_id', 'attempt', 'seq', name=op.f('pk_output_chunks'))
    )


def downgrade() -> None:
    op.drop_table('output_chunks')
    op.drop_table('job_outputs')
