"""CelebA as it is unpacked: tables that leave out the folder which all pictures lie in."""

from pathlib import Path

from facetrain.forgetting import inputs
from facetrain.forgetting.removal import remove_from_inputs
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.photos import INPUTS, PLATFORM, drop, picture

PEOPLE = {"000001.jpg": "2880", "000002.jpg": "2937", "000003.jpg": "2880"}
POINTS = "69  109  106  113   77  142   73  152  108  154"


def test_the_person_goes_from_the_wrapping_folder_and_from_both_lists(tmp_path: Path) -> None:
    s3 = FakeS3()
    landmarks = f"{len(PEOPLE)}\nlefteye_x lefteye_y righteye_x\n"
    for name, who in PEOPLE.items():
        s3.put(INPUTS, f"inputs/celeba/images/img_align_celeba/{name}", picture(who, int(name[:6])))
        landmarks += f"{name}  {POINTS}\n"
    table = "".join(f"{name} {who}\n" for name, who in PEOPLE.items())
    s3.put(INPUTS, "inputs/celeba/identity_CelebA.txt", table.encode())
    s3.put(INPUTS, "inputs/celeba/list_landmarks_align_celeba.txt", landmarks.encode())
    drop(s3, "celeba", labels="identity_CelebA.txt", landmarks="list_landmarks_align_celeba.txt")

    found = inputs.find(s3, PLATFORM, "2880", dataset="*", aside=tmp_path, note=lambda _: None)
    assert remove_from_inputs(s3, found, tmp_path).left == []

    pictures = [key for _, key in s3.objects if key.endswith(".jpg")]
    assert pictures == ["inputs/celeba/images/img_align_celeba/000002.jpg"]
    assert s3.body(INPUTS, "inputs/celeba/identity_CelebA.txt") == b"000002.jpg 2937\n"
    left = s3.body(INPUTS, "inputs/celeba/list_landmarks_align_celeba.txt").decode().splitlines()
    assert (left[0], left[2:]) == ("1", [f"000002.jpg  {POINTS}"])
