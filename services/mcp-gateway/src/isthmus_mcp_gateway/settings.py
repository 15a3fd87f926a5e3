"""What the gateway takes from the environment."""

from isthmus.origins import OriginSettings


class Settings(OriginSettings, frozen=True, kw_only=True):
    """Each field is the variable `ISTHMUS_<FIELD>`."""

    host: str = "127.0.0.1"
    port: int = 7410
    call_timeout: float = 30.0
    """Seconds that a call may take."""
