"""The AsyncAPI document: every topic of the contract as the agent's code has it; every reference leads somewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from edge_agent.uplink import wire

FOLDER = Path(__file__).parents[2] / "config/contract"
DOCUMENT = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text())
PREFIX = "tap/v1/{fleet}/{terminal}/"

# The contract's table, once more: suffix -> (action of the terminal, QoS, retain).
TABLE = {
    "evt/tap": ("send", 1, False),
    "evt/batch": ("send", 1, False),
    "evt/chk": ("send", 1, False),
    "evt/gap": ("send", 1, False),
    "evt/alarm": ("send", 1, False),
    "ack": ("receive", 1, False),
    "result": ("receive", 1, False),
    "state": ("send", 1, True),
    "tele/health": ("send", 0, False),
    "keys": ("receive", 1, True),
    "cfg/desired": ("receive", 1, True),
    "cfg/reported": ("send", 1, True),
    "cmd/{name}": ("receive", 1, False),
    "res/{name}": ("send", 1, False),
    "enrol/request": ("send", 1, False),
    "enrol/answer": ("receive", 1, False),
}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_it_has_the_parts_of_asyncapi_3() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    assert set(DOCUMENT) == {
        "asyncapi",
        "id",
        "info",
        "defaultContentType",
        "servers",
        "channels",
        "operations",
        "components",
    }


def test_every_reference_leads_somewhere() -> None:
    found = list(references(DOCUMENT))
    assert len(found) > 50
    for reference in found:
        if reference.startswith("#/"):
            node = DOCUMENT
            for part in reference[2:].split("/"):
                node = node[part]
        else:
            assert (FOLDER / reference).is_file(), reference


def test_every_topic_has_direction_qos_and_retain_of_the_contract() -> None:
    listed = {}
    for operation in DOCUMENT["operations"].values():
        channel = DOCUMENT["channels"][operation["channel"]["$ref"].removeprefix("#/channels/")]
        mqtt = operation["bindings"]["mqtt"]
        suffix = channel["address"].removeprefix(PREFIX)
        listed[suffix] = (operation["action"], mqtt["qos"], mqtt["retain"])
    assert listed == TABLE
    expiry = DOCUMENT["operations"]["result"]["bindings"]["mqtt"]["messageExpiryInterval"]
    assert expiry == 10


def test_addresses_declare_their_parameters_and_stay_within_seven_slashes() -> None:
    for channel in DOCUMENT["channels"].values():
        address = channel["address"]
        assert address.startswith(PREFIX)
        assert address.count("/") <= 7
        assert {f"{{{name}}}" for name in channel["parameters"]} == {part for part in address.split("/") if "{" in part}


def test_the_agents_topics_are_these() -> None:
    topics = wire.Topics("f", "t")
    addresses = {
        channel["address"].replace("{fleet}", "f").replace("{terminal}", "t")
        for channel in DOCUMENT["channels"].values()
    }
    named = (
        topics.evt_tap,
        topics.evt_batch,
        topics.evt_alarm,
        topics.ack,
        topics.result,
        topics.state,
        topics.tele_health,
    )
    assert set(named) <= addresses
    assert topics.cmd("{name}") in addresses
    assert topics.res("{name}") in addresses


def test_content_types_are_the_agents() -> None:
    messages = DOCUMENT["components"]["messages"]
    assert messages["evtTap"]["contentType"] == wire.CONTENT_CWT
    assert messages["evtBatch"]["contentType"] == wire.CONTENT_CWT_SEQUENCE
    assert messages["ack"]["contentType"] == wire.CONTENT_JSON
