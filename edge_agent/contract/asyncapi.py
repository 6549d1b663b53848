"""The AsyncAPI 3.0 description of section 4: every topic, its direction, QoS, retain and payload."""

from dataclasses import dataclass
from typing import Any

_UP, _DOWN = "send", "receive"
_LATER = "Announced for a later release."
_HEARD = "The terminal subscribes to it, too, to hear who else speaks in its name."
_CLAIM = "Over a connection of its own, by `edge-agent enrol`, with a claim certificate or the one in force."
_BINARY = {"type": "string", "format": "binary"}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic below ``tap/v1/{fleet}/{terminal}/``, seen from the terminal."""

    suffix: str
    action: str
    about: str
    qos: int = 1
    retain: bool = False
    schema: str | None = None
    """JSON payload: the name of its schema; None with ``binary``: CBOR; None without: JSON of a later release."""
    binary: str | None = None
    """CBOR payload: its rule in tap-token.cddl, or in words."""
    content_type: str = "application/json"
    expiry_s: int | None = None
    note: str = ""


TOPICS = (
    Topic("evt/tap", _UP, "One live tap token.", binary="tap-token", content_type="application/cwt"),
    Topic(
        "evt/batch",
        _UP,
        "Backlog: a CBOR sequence of 1 to 64 tap tokens, at most 16 KiB. Live taps never wait behind it.",
        binary="tap-batch",
        content_type="application/cbor-seq",
    ),
    Topic(
        "evt/chk",
        _UP,
        "Checkpoint of a chain: every 100 taps, every 10 minutes with news, after connecting, and at the end.",
        binary="checkpoint",
        content_type="application/cwt",
    ),
    Topic(
        "evt/gap",
        _UP,
        "Gap record: rows that were given up undelivered. After state and before the backlog.",
        binary="gap-record",
        content_type="application/cwt",
    ),
    Topic("evt/alarm", _UP, "Something that a technician must know.", schema="alarm"),
    Topic("ack", _DOWN, "What the receiver has stored; the outbox is pruned on this.", schema="ack"),
    Topic("result", _DOWN, "What became of one tap, for the screen.", schema="result", expiry_s=10),
    Topic(
        "state", _UP, "Presence: sent on every CONNACK; its will says lost.", retain=True, schema="state", note=_HEARD
    ),
    Topic("tele/health", _UP, "Health, every 60 s with jitter.", qos=0, schema="health"),
    Topic(
        "keys",
        _DOWN,
        "Signed COSE_KeySet with deny list and version; a lower version is refused.",
        retain=True,
        binary="COSE_Sign1 over a COSE_KeySet",
        content_type="application/cose",
        note=_LATER,
    ),
    Topic("cfg/desired", _DOWN, "Versioned configuration; diffed before it is applied.", retain=True, note=_LATER),
    Topic("cfg/reported", _UP, "The configuration in force.", retain=True, note=_LATER),
    Topic("cmd/{name}", _DOWN, "A command; void after exp.", schema="command"),
    Topic("res/{name}", _UP, "The one final answer to a command.", schema="response"),
    Topic(
        "enrol/request",
        _UP,
        "A terminal asks for a certificate; the same request again until it is answered.",
        schema="enrol-request",
        note=_CLAIM,
    ),
    Topic(
        "enrol/answer", _DOWN, "Certificate, authority and broker; or a refusal.", schema="enrol-answer", note=_CLAIM
    ),
)

_COMMANDS = ["rebirth", "resend", "identify", "self-test", "show", "rotate-key", "drain", "bundle"]


def document() -> dict[str, Any]:
    """Return the whole AsyncAPI document."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:tap:v1",
        "info": {
            "title": "Tap contract",
            "version": "1.0.0",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "description": "MQTT between a terminal (this document's application) and the cloud. send is up, receive "
            "is down. The whole contract is in docs/contract.md; test vectors are in vectors/.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "broker.example:8883",
                "protocol": "mqtts",
                "protocolVersion": "5.0",
                "description": "MQTT 5 over TLS; MQTT 3.1.1 works without content types and expiry.",
                "bindings": {
                    "mqtt": {
                        "clientId": "{terminal}",
                        "cleanSession": True,
                        "lastWill": {"topic": "tap/v1/{fleet}/{terminal}/state", "qos": 1, "retain": True},
                        "keepAlive": 60,
                        "sessionExpiryInterval": 0,
                        "bindingVersion": "0.2.0",
                    }
                },
            }
        },
        "channels": {_key(topic): _channel(topic) for topic in TOPICS},
        "operations": {_key(topic): _operation(topic) for topic in TOPICS},
        "components": {
            "messages": {_key(topic): _message(topic) for topic in TOPICS},
            "parameters": {
                "fleet": {"description": "1-24 of a-z, 0-9 and hyphen."},
                "terminal": {"description": "1-24 of a-z, 0-9 and hyphen; also the MQTT client id."},
                "name": {"description": "Name of the command.", "enum": _COMMANDS},
            },
        },
    }


def _key(topic: Topic) -> str:
    first, *rest = topic.suffix.replace("{name}", "name").split("/")
    return first + "".join(part.capitalize() for part in rest)


def _channel(topic: Topic) -> dict[str, Any]:
    parameters = ["fleet", "terminal", *(["name"] if "{name}" in topic.suffix else [])]
    return {
        "address": f"tap/v1/{{fleet}}/{{terminal}}/{topic.suffix}",
        "description": topic.about,
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in parameters},
        "messages": {_key(topic): {"$ref": f"#/components/messages/{_key(topic)}"}},
    }


def _operation(topic: Topic) -> dict[str, Any]:
    mqtt: dict[str, Any] = {"qos": topic.qos, "retain": topic.retain}
    if topic.expiry_s is not None:
        mqtt["messageExpiryInterval"] = topic.expiry_s
    return {
        "action": topic.action,
        "summary": topic.about,
        **({"description": topic.note} if topic.note else {}),
        "channel": {"$ref": f"#/channels/{_key(topic)}"},
        "messages": [{"$ref": f"#/channels/{_key(topic)}/messages/{_key(topic)}"}],
        "bindings": {"mqtt": {**mqtt, "bindingVersion": "0.2.0"}},
    }


def _message(topic: Topic) -> dict[str, Any]:
    made: dict[str, Any] = {"name": topic.suffix, "contentType": topic.content_type, "summary": topic.about}
    if topic.binary is not None:
        return {**made, "payload": dict(_BINARY), "x-cddl": f"tap-token.cddl: {topic.binary}"}
    if topic.schema is None:
        return {**made, "payload": {"type": "object"}}
    return {
        **made,
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./schemas/{topic.schema}.schema.json"},
        },
    }
