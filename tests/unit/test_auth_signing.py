"""The keys that sign access tokens: made once, changed while tokens of both are good, ended."""

import stat
import time
from pathlib import Path

import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from isthmus_auth import signing
from isthmus_auth.signing import SigningKeys, StoredKey, Subject

ISSUER = "https://issuer"
ME = Subject("me", None, "default", "https://gateway/mcp")


def token(keys: SigningKeys) -> str:
    return keys.access_token(ISSUER, "client", ME, "a b", 60)


def count(keys: SigningKeys) -> int:
    return len(keys.ring.keys)


def test_the_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    keys = SigningKeys(tmp_path)
    assert SigningKeys(tmp_path).ring.jwks == keys.ring.jwks
    assert [path.name for path in tmp_path.iterdir()] == ["signing-keys.json"]
    assert stat.S_IMODE((tmp_path / "signing-keys.json").stat().st_mode) == 0o600
    keys.add()
    assert [path.name for path in tmp_path.iterdir()] == ["signing-keys.json"]
    assert stat.S_IMODE((tmp_path / "signing-keys.json").stat().st_mode) == 0o600


def test_the_key_id_is_the_thumbprint_and_the_private_part_stays_home(tmp_path: Path) -> None:
    keys = SigningKeys(tmp_path)
    (public,) = KeySet.import_key_set(msgspec.json.decode(keys.ring.jwks)).keys
    assert isinstance(public, ECKey)
    assert keys.signing.kid == public.thumbprint()
    assert not public.is_private
    decoded = jwt.decode(token(keys), public, algorithms=["ES256"])
    assert decoded.header == {"typ": "at+jwt", "alg": "ES256", "kid": keys.signing.kid}
    assert decoded.claims["aud"] == "https://gateway/mcp"
    assert "sid" not in decoded.claims


def test_a_new_key_signs_when_its_time_has_come_and_gateways_know_it(tmp_path: Path) -> None:
    keys = SigningKeys(tmp_path)
    keys.announced(keys.ring)
    first = keys.signing.kid
    later = keys.add(after=60).kid
    keys.announced(keys.ring)
    assert keys.signing.kid == first
    second = keys.add(after=0).kid
    assert keys.signing.kid == first
    before = token(keys)
    keys.announced(keys.ring)
    assert keys.signing.kid == second
    for one in (before, token(keys)):
        assert keys.claims(one, ISSUER) is not None
    assert SigningKeys(tmp_path).ring.kids == {first, second, later}


def test_a_key_that_is_ended_verifies_no_more_and_another_takes_its_place(tmp_path: Path) -> None:
    keys = SigningKeys(tmp_path)
    void, ended = token(keys), keys.signing.kid
    assert keys.remove(ended)
    assert keys.claims(void, ISSUER) is None
    assert keys.signing.kid != ended
    assert keys.claims(token(keys), ISSUER) is not None
    assert not keys.remove(ended)


def test_keys_change_by_themselves_and_old_ones_go_when_their_tokens_have(tmp_path: Path) -> None:
    keys = SigningKeys(tmp_path)
    keys.tidy(longest=90)
    assert count(keys) == 1
    stored = keys.ring.keys[0].stored()

    def began(ago: int) -> None:
        old = StoredKey(stored.jwk, int(time.time()) - ago)
        (tmp_path / "signing-keys.json").write_bytes(msgspec.json.encode([old]))

    began(91)
    keys.tidy(longest=0)
    assert count(keys) == 1
    keys.tidy(longest=90)
    assert [key.kid == keys.signing.kid for key in keys.ring.keys] == [True, False]
    keys.tidy(longest=90)
    assert count(keys) == 2
    gone = int(time.time()) - signing.LONGEST_ACCESS - 60
    moved = [StoredKey(key.stored().jwk, gone + place) for place, key in enumerate(keys.ring.keys)]
    (tmp_path / "signing-keys.json").write_bytes(msgspec.json.encode(moved))
    keys.tidy(longest=0)
    assert [key.stored() for key in keys.ring.keys] == moved[1:]
