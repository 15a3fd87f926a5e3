"""The settings of auth, read once from `ISTHMUS_*` variables."""

from isthmus.origins import OriginSettings, parse_origin
from isthmus.settings import PREFIX


class AuthSettings(OriginSettings, frozen=True, kw_only=True):
    """Defaults work with an empty environment."""

    host: str = "127.0.0.1"
    port: int = 7411
    data_dir: str = ".isthmus/auth"
    """Holds the signing key and, unless `database_url` names another, the SQLite database."""
    database_url: str = ""
    """An SQLAlchemy URL; empty: SQLite in `data_dir`."""
    admin_email: str = "admin@localhost"
    """Of the first administrator. Used at the first start alone, as are the three below."""
    admin_password: str = ""
    """Empty: made up, and shown once in the log."""
    client_id: str = ""
    """Of the default MCP service's own client; empty: made up, and shown once in the log."""
    client_secret: str = ""
    client_roles: str = ""
    """Role ids, separated by commas, that the default service's client has when it acts for itself, set at every start.
    Empty: none."""
    allow_local_clients: bool = False
    """Whether clients may describe themselves at addresses of this machine and its network: for trials."""
    audit_days: int = 90
    """Days that the audit trail is kept."""
    audit_megabytes: int = 1024
    """Its size at most; the oldest events go first."""
    signing_key_days: int = 90
    """Days after which another key signs access tokens; 0: only when an administrator says so."""
    gateway_address: str = ""
    """Where auth itself reaches a gateway, for the console, such as `http://mcp-gateway:7410`; empty: as clients do."""
    cli_secret: str = ""
    """The secret of the client `isthmus-cli`; empty: that client cannot sign in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_origin(self.gateway_address, f"{PREFIX}GATEWAY_ADDRESS")
