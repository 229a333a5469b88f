"""Photos that become faces in the container: what the image holds must be enough for it."""

from pathlib import Path

import pytest

from tests.arcface.examples import REAL_DATA
from tests.container.containers import Containers
from tests.container.jobs import faces_at, job

pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif(
        not REAL_DATA.is_dir(), reason="../shared/data (real faces and a detector) is not here"
    ),
]
ALONE = ("--network", "none", "--read-only", "--tmpfs", "/tmp:exec")


def test_a_detector_finds_every_face_without_a_network(containers: Containers, tmp_path: Path) -> None:
    detector = REAL_DATA / "models" / "scrfd_500m_kps.onnx"
    paths = job(tmp_path / "ml", detector=detector.name, max_steps=2)
    mounted = (*faces_at(REAL_DATA / "att_faces"), *faces_at(detector.parent, "weights"))
    done = containers.run("train", options=(*mounted, *ALONE), base=paths.base)
    assert done.returncode == 0, done.stderr
    assert "aligned channel=images images=400 by=detector unreadable=0 without_face=0" in done.stderr
    assert "weights loaded" not in done.stderr
    assert (paths.model / "model.onnx").is_file()
