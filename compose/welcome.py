"""How to connect, once everything is healthy: text for people, or with `--json` the same for scripts."""

import json
import sys
from pathlib import Path

from isthmus.origins import Origins, OriginSettings
from isthmus.settings import read_settings

SECRETS = Path("/secrets/operator")

TEXT = """
Isthmus is ready

  MCP endpoint   {mcp_endpoint}
  Client id      {client_id}
  Client secret  {client_secret}
  Console        {admin_url}
  Sign in as     {admin_email}  {admin_password}

  Claude Code    claude mcp add --transport http isthmus {mcp_endpoint}

Show this again: docker compose run --rm welcome
"""


def main() -> None:
    """Prints the one or the other."""
    origins = Origins.of(read_settings(OriginSettings))
    names = ("client_id", "client_secret", "admin_email", "admin_password")
    connection = {
        "mcp_endpoint": origins.endpoint(),
        "issuer": origins.issuer,
        "admin_url": f"{origins.issuer}/admin/",
        **{name: (SECRETS / name).read_text().strip() for name in names},
    }
    print(json.dumps(connection) if "--json" in sys.argv[1:] else TEXT.format(**connection), flush=True)


if __name__ == "__main__":
    main()
