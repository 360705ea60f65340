"""where agents' records ended

Revision ID: 0007
Revises: 0006
Create Date: 2026-11-25 05:20:00
"""

import sqlalchemy as sa
from alembic import op


revision: str = '0007'
down_revision: str | None = '0006'
branch_labels: tuple[str, ...] | None = None
depends_on: tuple[str, ...] | None = None


def upgrade() -> None:
    op.create_table('audit_heads',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('agent_id', sa.String(length=40), nullable=False),
    sa.Column('chain', sa.Integer(), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.Column('hash', sa.String(length=64), nullable=False),
    sa.Column('seen_at', sa.Double(), nullable=False),
    sa.Column('hour', sa.Integer(), nullable=False),
    sa.Column('state', sa.String(length=64), nullable=True),
    sa.Column('verdict', sa.String(length=16), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_heads'))
    )
    with op.batch_alter_table('audit_heads', schema=None) as batch_op:
        batch_op.create_index('ix_audit_heads_agent_id_id', ['agent_id', 'id'], unique=False)
        batch_op.create_index('ix_audit_heads_agent_seq', ['agent_id', 'seq'], unique=False)
        batch_op.create_index('ix_audit_heads_seen_at', ['seen_at'], unique=False)

    with op.batch_alter_table('agents', schema=None) as batch_op:
        batch_op.add_column(sa.Column('audit_warning', sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('agents', schema=None) as batch_op:
        batch_op.drop_column('audit_warning')

    with op.batch_alter_table('audit_heads', schema=None) as batch_op:
        batch_op.drop_index('ix_audit_heads_seen_at')
        batch_op.drop_index('ix_audit_heads_agent_seq')
        batch_op.drop_index('ix_audit_heads_agent_id_id')

    op.drop_table('audit_heads')
