"""The deletion list: which identities no job may learn from again, without naming one.

    {"schema": 1, "salt": "9f…", "forgotten": [{"digest": "3a…", "at": "2026-11-22"}]}

A digest is SHA-256 of salt, dataset and identity. It tells whether a name that one has is on the list, and
names nobody to who has none. `facetrain forget` writes the list, the trainer reads it as a channel.
"""

import datetime
import functools
import hashlib
import json
import re
import secrets
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

from training.jobs import contract

SCHEMA = 1
EVERY_DATASET = "*"
NOTE_NAME = "FORGOTTEN.json"  # in a model that learnt from somebody on the list, and in those made from it
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SALT = re.compile(r"[0-9a-f]{32,128}")


class ForgottenError(ValueError):
    """The list cannot be read, and so nobody can say who is not to be learnt from."""


@dataclass(frozen=True)
class Forgotten:
    """The list. entries: the day, YYYY-MM-DD, on which each digest was added, the oldest first."""

    salt: str
    entries: tuple[tuple[str, str], ...] = ()  # digest, day

    @classmethod
    def fresh(cls) -> "Forgotten":
        """An empty list with a salt of its own."""
        return cls(secrets.token_hex(16))

    @classmethod
    def parse(cls, data: bytes | str) -> "Forgotten":
        """The list that `data` holds. Raises ForgottenError with what is wrong and the remedy."""
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise _unreadable("is not JSON") from None
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise _unreadable(f"is not of schema {SCHEMA}, the one that this version reads")
        if not isinstance(value.get("salt"), str) or not _SALT.fullmatch(value["salt"]):
            raise _unreadable("holds no salt of 32 or more hexadecimal digits")
        if not isinstance(value.get("forgotten"), list):
            raise _unreadable("holds no list named forgotten")
        return cls(value["salt"], tuple(_entry(number, it) for number, it in enumerate(value["forgotten"])))

    def to_json(self) -> str:
        rows = [{"digest": digest, "at": day} for digest, day in self.entries]
        return json.dumps({"schema": SCHEMA, "salt": self.salt, "forgotten": rows}, indent=1) + "\n"

    def digest(self, identity: str, dataset: str = EVERY_DATASET) -> str:
        """What stands for the identity in this dataset, or in every one."""
        text = "\0".join((self.salt, dataset, normal(identity)))
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

    def holds(self, dataset: str, identity: str) -> bool:
        """Whether the identity is forgotten, in this dataset or in all."""
        return not self._digests.isdisjoint((self.digest(identity), self.digest(identity, dataset)))

    @functools.cached_property
    def _digests(self) -> frozenset[str]:
        return frozenset(digest for digest, _ in self.entries)

    def with_(self, digest: str, day: str) -> "Forgotten":
        """The list with one more; the same where it is there already."""
        if digest in self._digests:
            return self
        return replace(self, entries=(*self.entries, (digest, day)))


def normal(identity: str) -> str:
    """The one spelling that a name is compared in: a disk may write ü as one letter or as two."""
    return unicodedata.normalize("NFC", identity)


def _entry(number: int, value: Any) -> tuple[str, str]:
    try:
        digest, day = value["digest"], value["at"]
        if _DIGEST.fullmatch(digest) and datetime.date.fromisoformat(day):
            return digest, day
    except (KeyError, TypeError, ValueError):
        pass
    raise _unreadable(f"has an entry {number + 1} that is no digest with a day")


def _unreadable(what: str) -> ForgottenError:
    return ForgottenError(
        f"{contract.FORGOTTEN_KEY} {what}: put an older version of it back, for without the list "
        "nobody can say who is to be left out"
    )
