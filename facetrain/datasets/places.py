"""Where unpacked images go: a folder for each identity, whatever its name; none climbs out, none is lost."""

import hashlib
from pathlib import Path

from facetrain.datasets.keys import without_control_characters

NAME_BYTES = 255  # that a file system takes
_ROOM = 24  # bytes for a suffix, and for the number that tells two of a name apart
_LITTER = ("thumbs.db", "desktop.ini", "__macosx", "pairs.csv", "renamed.csv")  # passed over, or ours


class Places:
    """Writes images below a folder that is empty at first.

    folders: of each identity that has an image; renamed: those of another name than the identity's.
    """

    def __init__(self, root: Path):
        self.root = root
        self.folders: dict[str, str] = {}

    @property
    def renamed(self) -> dict[str, str]:
        return {identity: folder for identity, folder in self.folders.items() if folder != identity}

    def write(self, identity: str, key: str, suffix: str, data: bytes) -> None:
        """As identity/rest-of-key; with a number where that is taken. Raises OSError."""
        folder = self.folders.get(identity) or self._new_folder(identity)
        *between, stem = [safe(part) for part in _below(identity, key).split("/")]
        place = self.root.joinpath(folder, *between)
        if between:
            place.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            name = f"{stem}-{number}{suffix}" if number > 1 else stem + suffix
            try:
                with (place / name).open("xb") as file:
                    file.write(data)
            except FileExistsError:  # also where the file system takes A and a for one
                number += 1
            else:
                return

    def _new_folder(self, identity: str) -> str:
        wanted = folder = safe(identity)
        number = 1
        while True:
            try:
                (self.root / folder).mkdir()
            except FileExistsError:
                number += 1
                folder = f"{wanted}-{number}"
            else:
                self.folders[identity] = folder
                return folder


def safe(name: str) -> str:
    """`name` if it can be one folder's or file's; else something like it that can.

    So are names that begin with a dot, which readers of datasets pass over. Long ones end in a digest.
    """
    plain = without_control_characters(name).replace("/", "_")
    if plain.startswith(".") or not plain or plain.lower() in _LITTER:
        plain = f"_{plain}"
    if len(plain.encode()) <= NAME_BYTES - _ROOM:
        return plain
    digest = hashlib.blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
    room = NAME_BYTES - _ROOM - len(digest) - 1
    return f"{plain.encode()[:room].decode('utf-8', 'ignore')}-{digest}"


def _below(identity: str, key: str) -> str:
    """What follows the identity's own folder in the key: 1 of anna/1 and of faces/anna/1; else all of it."""
    folder, _, stem = key.rpartition("/")
    parts = folder.split("/") if folder else []
    if identity in parts:
        return "/".join([*parts[parts.index(identity) + 1 :], stem])
    return key
