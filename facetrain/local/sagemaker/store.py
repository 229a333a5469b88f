"""The jobs' records and tags: in memory for reading, in SQLite so that they survive the process.

One process opens a store; its threads share it. A write is on disk before its call returns.
"""

import copy
import json
import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from facetrain.local.sagemaker.states import Record

_SCHEMA = """
create table if not exists job (name text primary key, record text not null, tags text not null)
"""


class NameTakenError(Exception):
    """A job of that name exists; `record` is it."""

    def __init__(self, record: Record) -> None:
        super().__init__(record["TrainingJobName"])
        self.record = record


class Store:
    """Records by job name. What it hands out are copies: only `update` changes a job."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = full")
        self._database.execute(_SCHEMA)
        rows = self._database.execute("select name, record, tags from job").fetchall()
        self._records: dict[str, Record] = {name: json.loads(record) for name, record, _ in rows}
        self._tags: dict[str, dict[str, str]] = {name: json.loads(tags) for name, _, tags in rows}

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def create(self, record: Record, tags: Mapping[str, str]) -> None:
        """Add a job; NameTakenError where its name is in use."""
        name = record["TrainingJobName"]
        with self._lock:
            if name in self._records:
                raise NameTakenError(copy.deepcopy(self._records[name]))
            self._write(name, record, dict(tags))

    def get(self, name: str) -> Record | None:
        with self._lock:
            return copy.deepcopy(self._records.get(name))

    def all(self) -> list[Record]:
        with self._lock:
            return [copy.deepcopy(record) for record in self._records.values()]

    def update(self, name: str, change: Callable[[Record], Record]) -> Record:
        """Replace a job's record by what `change` makes of it, with no other writer in between."""
        with self._lock:
            record = change(copy.deepcopy(self._records[name]))
            self._write(name, record, self._tags[name])
            return copy.deepcopy(record)

    def tags(self, name: str) -> dict[str, str]:
        with self._lock:
            return dict(self._tags[name])

    def set_tags(self, name: str, change: Callable[[dict[str, str]], dict[str, str]]) -> dict[str, str]:
        with self._lock:
            tags = change(dict(self._tags[name]))
            self._write(name, self._records[name], tags)
            return dict(tags)

    def _write(self, name: str, record: Record, tags: dict[str, str]) -> None:
        row = (name, json.dumps(record), json.dumps(tags))
        self._database.execute("insert or replace into job values (?, ?, ?)", row)
        self._records[name], self._tags[name] = record, tags
