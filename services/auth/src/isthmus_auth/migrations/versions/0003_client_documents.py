"""Clients that describe themselves in a document know how long it is good for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("clients", sa.Column("fresh_until", sa.BigInteger))
