"""Roles switch tools off and limit how often their users call."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("roles", sa.Column("tools_off", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("roles", sa.Column("calls_per_minute", sa.BigInteger, nullable=False, server_default="0"))
