"""MCP services limit scopes and say how long tokens are valid."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("services", sa.Column("scopes", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("services", sa.Column("access_lifetime", sa.BigInteger, nullable=False, server_default="3600"))
    op.add_column("services", sa.Column("refresh_lifetime", sa.BigInteger, nullable=False, server_default="604800"))
