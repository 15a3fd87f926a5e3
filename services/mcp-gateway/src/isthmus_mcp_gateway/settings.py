"""What the gateway takes from the environment."""

from typing import Literal

from isthmus.origins import OriginSettings


class Settings(OriginSettings, frozen=True, kw_only=True):
    """Each field is the variable `ISTHMUS_<FIELD>`."""

    host: str = "127.0.0.1"
    port: int = 7410
    call_timeout: float = 30.0
    """Seconds that a call may take."""
    audit_arguments: Literal["none", "names", "values"] = "names"
    """What the audit trail keeps of a call's arguments; of what is written it keeps no values in any case."""
    leave_after: float = 3.0
    """Seconds for which a gateway that was told to end still takes requests: load balancers see `/readyz` first."""
