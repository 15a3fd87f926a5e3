"""Whether an access token is still good: what revocation, people and sessions say beside its signature and time."""

from sqlalchemy.orm import Session

from isthmus import policy
from isthmus_auth.models import Account, Authorization, Revocation
from isthmus_auth.signing import Claims


def is_active(session: Session, claims: Claims) -> bool:
    """Whether nobody has ended the token, its session, its account or its client."""
    account = session.get(Account, claims.sub)
    authorization = session.get(Authorization, claims.sid) if claims.sid else None
    ended = claims.sid and (authorization is None or authorization.revoked_at is not None)
    return not (account is None or account.disabled or ended or _is_revoked(session, claims))


def _is_revoked(session: Session, claims: Claims) -> bool:
    subjects = (("token", claims.jti), ("session", claims.sid), ("user", claims.sub), ("client", claims.client_id))
    found = (session.get(Revocation, policy.key("revoked", what, name)) for what, name in subjects if name)
    return any(row is not None and claims.iat < row.before for row in found)
