"""Providers whose assertions count."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("providers", sa.Column("allow_assertions", sa.Boolean, nullable=False, server_default=sa.false()))
