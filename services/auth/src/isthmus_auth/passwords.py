"""A person's own password: what does for one, and the change of it."""

from sqlalchemy.orm import Session

from isthmus_auth.answers import Refusal
from isthmus_auth.authorizations import sign_out
from isthmus_auth.browser import Browser
from isthmus_auth.hashing import digest, hash_password, verify_password
from isthmus_auth.models import Account, BrowserSession
from isthmus_auth.people import LONGEST_PASSWORD, SHORTEST_PASSWORD


def change(session: Session, account: Account, wanted: str, repeated: str, keep: Browser) -> None:
    """Another password, and the end of all the account's sessions but this browser's. Raises Refusal."""
    if wanted != repeated:
        raise Refusal(400, "The two new passwords are not the same.")
    if not SHORTEST_PASSWORD <= len(wanted) <= LONGEST_PASSWORD:
        raise Refusal(400, f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")
    if account.email and account.email.partition("@")[0] in wanted.lower():
        raise Refusal(400, "A password must not hold the name of one's e-mail address.")
    if verify_password(wanted, account.password_hash):
        raise Refusal(400, "That is the password of now; choose another one.")
    account.password_hash = hash_password(wanted)
    account.must_change_password = False
    others = BrowserSession.account_id == account.id, BrowserSession.id_hash != digest(keep.id)
    sign_out(session, *others)
