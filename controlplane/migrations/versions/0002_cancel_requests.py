"""requests to cancel

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-23 19:49:12.102331
"""

import sqlalchemy as sa
from alembic import op


revision: str = '0002'
down_revision: str | None = '0001'
branch_labels: tuple[str, ...] | None = None
depends_on: tuple[str, ...] | None = None


def upgrade() -> None:
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('cancel_requested_at', sa.Double(), nullable=True))
        batch_op.add_column(sa.Column('cancel_requested_by', sa.String(length=200), nullable=True))
        batch_op.create_index('ix_jobs_agent_cancel', ['agent_id', 'cancel_requested_at'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_index('ix_jobs_agent_cancel')
        batch_op.drop_column('cancel_requested_by')
        batch_op.drop_column('cancel_requested_at')
