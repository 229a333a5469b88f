"""The keys of one cloud's root user, and the token its two processes know each other by."""

import json
import secrets
import string
from dataclasses import asdict, dataclass, field

from facetrain.local.home import Home, read_json, write_private

_KEY_ID_ALPHABET = string.ascii_uppercase + "234567"
_SECRET_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Credentials:
    """Random for each cloud, so that no guess, and no key of another cloud, opens it."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    bridge_token: str = field(repr=False)


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def credentials(home: Home) -> Credentials:
    """The cloud's credentials, made at the first call and kept in a file of mode 0600."""
    found = read_json(home.credentials)
    if found is not None:
        return Credentials(**found)
    made = Credentials(
        access_key_id="AKIA" + _random(_KEY_ID_ALPHABET, 16),
        secret_access_key=_random(_SECRET_ALPHABET, 40),
        bridge_token=secrets.token_urlsafe(32),
    )
    write_private(home.credentials, json.dumps(asdict(made)))
    return made
