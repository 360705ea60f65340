"""server clock

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-25 01:45:00
"""

import sqlalchemy as sa
from alembic import op


revision: str = '0004'
down_revision: str | None = '0003'
branch_labels: tuple[str, ...] | None = None
depends_on: tuple[str, ...] | None = None


def upgrade() -> None:
    op.create_table('server_clock',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('boot_id', sa.String(length=64), nullable=False),
    sa.Column('ahead_s', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_server_clock'))
    )


def downgrade() -> None:
    op.drop_table('server_clock')
