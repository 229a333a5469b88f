"""The page in Chromium, where it is installed: no width makes it scroll sideways, and it fetches nothing."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.arcface.test_report import Scored, facts_of
from training.arcface import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (360, 768, 1280)
# A window is never narrower than some 500 px: the page is looked at in frames of these widths instead.
FRAMES = """<!DOCTYPE html><body>%s<script>
addEventListener("load", () => {
  const seen = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument;
    return { width: frame.clientWidth, content: page.documentElement.scrollWidth,
      broken: [...page.images].filter((image) => !image.naturalWidth).length,
      fetched: frame.contentWindow.performance.getEntriesByType("resource")
        .filter((entry) => !entry.name.startsWith("data:")).length };
  });
  document.body.replaceChildren(document.createTextNode("SEEN" + JSON.stringify(seen) + "END"));
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: `apt-get install chromium` on Debian")
def test_the_page_fits_every_width_shows_its_pictures_and_fetches_nothing(tmp_path: Path) -> None:
    report.write_page(tmp_path / "report.html", facts_of(Scored("lfw"), Scored("agedb", seed=5)))
    frames = "".join(
        f'<iframe src="report.html" style="border:0;width:{width}px;height:800px"></iframe>'
        for width in WIDTHS
    )
    (tmp_path / "frames.html").write_text(FRAMES % frames)
    assert CHROMIUM is not None
    flags = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--allow-file-access-from-files", "--enable-logging=stderr", "--virtual-time-budget=5000"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,900", "--dump-dom"),
    ]
    ran = subprocess.run(
        [CHROMIUM, *flags, (tmp_path / "frames.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    seen = json.loads(ran.stdout.partition("SEEN")[2].partition("END")[0])
    assert [frame["width"] for frame in seen] == list(WIDTHS)
    assert all(frame["content"] <= frame["width"] for frame in seen), seen
    assert all((frame["broken"], frame["fetched"]) == (0, 0) for frame in seen), seen
    assert "CONSOLE" not in ran.stderr
