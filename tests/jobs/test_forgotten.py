"""The deletion list: it knows a person by name, names nobody, and is refused whole where a part is wrong."""

import dataclasses
import json
from typing import Any

import pytest

from tests.jobs.examples import PLATFORM, SMALLEST, parsed, problems_of
from training.jobs.forgotten import Forgotten, ForgottenError
from training.jobs.request import build_request

SALT = "0123456789abcdef" * 2
EMPTY = Forgotten(SALT)
DAY = "2026-11-22"


def with_person(identity: str, *dataset: str) -> Forgotten:
    return EMPTY.with_(EMPTY.digest(identity, *dataset), DAY)


def test_a_person_is_forgotten_in_every_dataset_unless_one_is_named() -> None:
    assert with_person("ada").holds("staff", "ada")
    assert with_person("ada", "staff").holds("staff", "ada")
    assert not with_person("ada", "staff").holds("guests", "ada")
    assert not with_person("ada").holds("staff", "ada.b")


def test_dataset_and_identity_cannot_be_taken_for_each_other() -> None:
    assert not with_person("bc", "a").holds("ab", "c")


def test_a_name_is_the_same_however_a_disk_spells_its_letters() -> None:
    assert with_person("J\u00fcrgen").holds("staff", "Ju\u0308rgen")


def test_the_list_survives_its_json_and_holds_no_name() -> None:
    listed = with_person("ada", "staff")
    assert Forgotten.parse(listed.to_json().encode()) == listed
    assert "ada" not in listed.to_json()
    assert "staff" not in listed.to_json()


def test_who_is_listed_twice_stands_there_once_with_the_first_day() -> None:
    listed = with_person("ada")
    assert listed.with_(EMPTY.digest("ada"), "2027-01-01") == listed


def test_another_salt_gives_another_digest() -> None:
    assert Forgotten.fresh().digest("ada") != Forgotten.fresh().digest("ada")


GOOD = json.loads(with_person("ada").to_json())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "is not of schema 1"),
        (GOOD | {"schema": 2}, "is not of schema 1"),
        (GOOD | {"salt": ""}, "holds no salt"),
        (GOOD | {"forgotten": {}}, "holds no list named forgotten"),
        (GOOD | {"forgotten": [*GOOD["forgotten"], {"digest": "ada", "at": DAY}]}, "has an entry 2"),
        (GOOD | {"forgotten": [{"digest": "0" * 64, "at": "today"}]}, "has an entry 1"),
        (GOOD | {"forgotten": ["ada"]}, "has an entry 1"),
    ],
)
def test_a_list_that_is_wrong_in_any_part_is_refused_with_the_remedy(value: Any, said: str) -> None:
    with pytest.raises(ForgottenError, match=said) as caught:
        Forgotten.parse(json.dumps(value))
    assert "put an older version of it back" in str(caught.value)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ForgottenError, match="is not JSON"):
        Forgotten.parse(b"\xff{")


def test_what_a_list_keeps_in_mind_is_no_part_of_its_value() -> None:
    listed = with_person("ada")
    listed.holds("staff", "ada")
    assert listed == dataclasses.replace(listed)


def channels_of(*, forgotten: bool) -> dict[str, Any]:
    manifest = parsed(SMALLEST | {"input_mode": "FastFile"})
    request = build_request(manifest, PLATFORM, "facetrain-example-staff-0123", forgotten=forgotten)
    return {one["ChannelName"]: one for one in request["InputDataConfig"]}


def test_a_job_gets_the_list_as_a_channel_of_its_own_copied_before_it_starts() -> None:
    assert set(channels_of(forgotten=False)) == {"images"}
    channel = channels_of(forgotten=True)["forgotten"]
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == (
        f"s3://{PLATFORM.inputs_bucket}/governance/forgotten/"
    )
    assert channel["InputMode"] == "File"


def test_a_manifest_cannot_put_a_list_of_its_own_in_place_of_it() -> None:
    channels = SMALLEST["channels"] | {"forgotten": "nobody/"}
    (found,) = problems_of(SMALLEST | {"channels": channels})
    assert str(found).startswith("channels.forgotten: unknown channel")
