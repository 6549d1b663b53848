"""The bill of materials: exactly what is in the package, each with the file that it came as, the same every time."""

import json
import re
from typing import Any

import pytest
from deb_recipe.bundled import Bundled
from deb_recipe.sbom import bill
from deb_recipe.target import BuildError, Target

TARGET = Target(13, "arm64")
SOURCE = "old-1.0.tar.gz"
EPOCH = 1_800_000_000


def reference(name: str) -> dict[str, Any]:
    return {
        "type": "distribution",
        "url": f"https://files.example/{name}",
        "hashes": [{"alg": "SHA-256", "content": name}],
    }


def exported(*, serial: str = "urn:uuid:1", time: str = "2026-01-01T00:00:00Z") -> str:
    compiled = ["fast-2.0.tar.gz", "fast-2.0-cp311-cp311-manylinux2014_aarch64.whl"]
    compiled += ["fast-2.0-cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.whl"]
    compiled += ["fast-2.0-cp313-cp313-manylinux2014_x86_64.whl", "fast-2.0-cp313-cp313-musllinux_1_2_aarch64.whl"]
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": serial,
            "version": 1,
            "metadata": {"timestamp": time, "component": {"type": "library", "bom-ref": "us", "name": "edge-agent"}},
            "components": [
                {"bom-ref": "old", "name": "old", "version": "1.0", "externalReferences": [reference(SOURCE)]},
                {"bom-ref": "fast", "name": "fast", "version": "2.0",
                 "externalReferences": [reference(name) for name in compiled]},
                {"bom-ref": "mac", "name": "only-mac", "version": "3", "externalReferences": [reference("mac.whl")]},
            ],
            "dependencies": [
                {"ref": "us", "dependsOn": ["old", "fast"]},
                {"ref": "fast", "dependsOn": ["mac", "old"]},
                {"ref": "mac"},
            ],
        }
    )  # fmt: skip


def library(name: str, version: str, *tags: str, expression: str = "") -> Bundled:
    return Bundled(name, version, expression or "BSD License", bool(expression), frozenset(tags), ())


OLD = library("old", "1.0", "py3-none-any")
FAST = library(
    "fast", "2.0", "cp313-cp313-manylinux2014_aarch64", "cp313-cp313-manylinux_2_17_aarch64", expression="MIT"
)


def made(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(bill(text, [FAST, OLD], TARGET, "0.2.0rc1", EPOCH))
    return document


def test_what_is_not_in_the_package_is_not_in_the_bill() -> None:
    document = made(exported())
    assert [part["name"] for part in document["components"]] == ["fast", "old"]
    assert document["dependencies"] == [
        {"ref": "us", "dependsOn": ["old", "fast"]},
        {"ref": "fast", "dependsOn": ["old"]},
    ]


def test_each_part_names_the_one_file_that_was_unpacked() -> None:
    fast, old = made(exported())["components"]
    assert [one["url"].rpartition("/")[2] for one in fast["externalReferences"]] == [
        "fast-2.0-cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.whl"
    ]
    assert [one["url"].rpartition("/")[2] for one in old["externalReferences"]] == ["old-1.0.tar.gz"]


def test_a_license_is_an_expression_only_where_its_makers_wrote_one() -> None:
    fast, old = made(exported())["components"]
    assert fast["licenses"] == [{"expression": "MIT"}]
    assert old["licenses"] == [{"license": {"name": "BSD License"}}]


def test_the_same_parts_make_the_same_bytes_whatever_the_clock_and_the_dice_said() -> None:
    once = bill(exported(), [FAST, OLD], TARGET, "0.2.0", EPOCH)
    again = bill(exported(serial="urn:uuid:2", time="2027-02-03T04:05:06Z"), [FAST, OLD], TARGET, "0.2.0", EPOCH)
    assert once == again
    assert json.loads(once)["metadata"]["timestamp"] == "2027-01-15T08:00:00Z"


def test_another_version_has_another_serial_number() -> None:
    first, second = (
        json.loads(bill(exported(), [FAST, OLD], TARGET, version, EPOCH))["serialNumber"] for version in ("1.0", "1.1")
    )
    assert first != second
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first)


def test_the_package_itself_is_named_as_debian_names_it() -> None:
    own = made(exported())["metadata"]["component"]
    assert own["purl"] == "pkg:deb/edge-agent/edge-agent@0.2.0~rc1%2Bdeb13?arch=arm64&distro=debian-13"


@pytest.mark.parametrize("stranger", [library("other", "1.0"), library("old", "1.1")], ids=["name", "version"])
def test_a_part_that_the_lock_does_not_know_ends_the_build(stranger: Bundled) -> None:
    with pytest.raises(BuildError, match=r"not in uv\.lock"):
        bill(exported(), [stranger], TARGET, "0.2.0", EPOCH)


def test_a_part_whose_file_cannot_be_told_ends_the_build() -> None:
    ambiguous = json.loads(exported())
    ambiguous["components"][0]["externalReferences"].append(reference("old-1.0.zip"))
    with pytest.raises(BuildError, match=r"2 files of uv\.lock"):
        bill(json.dumps(ambiguous), [OLD], TARGET, "0.2.0", EPOCH)
