"""Second factors, passkeys, passwords that must be changed, and what is known of browsers."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("must_change_password", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("accounts", sa.Column("totp_secret", sa.LargeBinary))
    op.add_column("accounts", sa.Column("totp_used", sa.BigInteger, nullable=False, server_default="0"))
    for name in ("then", "method", "address", "agent"):
        op.add_column("browser_sessions", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.add_column("browser_sessions", sa.Column("step", sa.String(16), nullable=False, server_default=""))
    op.add_column("browser_sessions", sa.Column("began_at", sa.BigInteger, nullable=False, server_default="0"))
    owner = sa.ForeignKey("accounts.id", ondelete="CASCADE")
    op.create_table(
        "recovery_codes",
        sa.Column("code_hash", sa.String(64), primary_key=True),
        sa.Column("account_id", sa.String(255), owner, nullable=False, index=True),
    )
    op.create_table(
        "passkeys",
        sa.Column("id_hash", sa.String(64), primary_key=True),
        sa.Column("credential_id", sa.LargeBinary, nullable=False),
        sa.Column(
            "account_id", sa.String(255), sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True
        ),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("sign_count", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
