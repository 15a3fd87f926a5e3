"""Sign-in pages of MCP services, and sign-ins that are under way."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("services", sa.Column("login_url", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "sign_ins",
        sa.Column("secret_hash", sa.String(64), primary_key=True),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("tie", sa.String(64), nullable=False),
        sa.Column("then", sa.Text, nullable=False),
        sa.Column("account_id", sa.String(255), sa.ForeignKey("accounts.id", ondelete="CASCADE")),
        sa.Column("address", sa.String(64), nullable=False, index=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    )
