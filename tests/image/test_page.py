"""docs/build-and-push.md stays true."""

import re
from pathlib import Path

import pytest

from facetrain.image.trouble import explain

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "build-and-push.md").read_text()
MESSAGES = re.findall(r"^\| ([^|]+) \|", PAGE.partition("## When it says")[2], re.M)[1:]


@pytest.mark.parametrize("message", [message for message in MESSAGES if not message.startswith("---")])
def test_every_message_on_the_page_is_one_that_is_said(message: str) -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "facetrain" / "image").glob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", sources)  # texts that go over several lines
    of_ours = re.escape(message.removesuffix(" …")).replace(r"arm64", r"\{[\w.]+\}")
    assert re.search(of_ours, joined) or explain(message) != message, message


def test_the_page_tells_of_every_file_that_is_written() -> None:
    for name in ("ecr_image_fullname.txt", "ecr_image_sbom.cdx.json"):
        assert f"| `{name}` |" in PAGE
        assert name in (ROOT / ".gitignore").read_text().splitlines()
