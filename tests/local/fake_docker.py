"""A `docker` program that writes down how it was called and answers as a test says."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facetrain.image.engine import Engine

PROGRAM = """#!{python} -IS
import json, os, pathlib, sys, time
here = pathlib.Path({here!r})
line = {{"arguments": sys.argv[1:], "environment": dict(os.environ)}}
config = pathlib.Path(os.environ.get("DOCKER_CONFIG", "/nowhere"), "config.json")
if config.exists():
    line["config"] = json.loads(config.read_text())
with (here / "calls").open("a") as file:
    file.write(json.dumps(line) + "\\n")
answers = json.loads((here / "answers.json").read_text())
said = " ".join(sys.argv[1:])
fits = [answers[start] for start in sorted(answers, key=len) if said.startswith(start)]
answer = fits[-1] if fits else {{}}
time.sleep(answer.get("seconds", 0))
sys.stdout.write(answer.get("out", ""))
sys.stderr.write(answer.get("err", ""))
sys.exit(answer.get("code", 0))
"""
INFO = {"MemTotal": 8 << 30, "Runtimes": {"runc": {}}, "SecurityOptions": ["name=seccomp,profile=default"]}


class FakeDocker:
    """The program, in a folder of its own. Other commands than a test names succeed, and say nothing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.program = folder, folder / "docker"
        self.program.write_text(PROGRAM.format(python=sys.executable, here=str(folder)))
        self.program.chmod(0o755)
        self._answers: dict[str, dict[str, Any]] = {}
        self.info()
        self.answer("inspect", out=json.dumps({"Running": False, "OOMKilled": False, "Error": ""}))

    @property
    def engine(self) -> Engine:
        return Engine(str(self.program), str(self.program), "amd64")

    def answer(self, start: str, **how: Any) -> None:
        """How commands end that begin like this: out, err, code, seconds; the longest beginning counts."""
        self._answers[start] = how
        (self.folder / "answers.json").write_text(json.dumps(self._answers))

    def info(self, **changes: Any) -> None:
        self.answer("info", out=json.dumps(INFO | changes))

    def calls(self, command: str = "") -> list[Mapping[str, Any]]:
        """What it was asked for, in order; only this command where one is named."""
        path = self.folder / "calls"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if not command or line["arguments"][0] == command]

    def commands(self, command: str = "") -> list[str]:
        return [" ".join(call["arguments"]) for call in self.calls(command)]
