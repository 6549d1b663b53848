"""Vectors for the JSON payloads: what the wire code writes, and what a strict reader must refuse."""

import json
from dataclasses import replace
from typing import Any

from edge_agent.contract.samples import CHAIN, EXAMPLE, NOW, A, registry, shown
from edge_agent.models import Cue
from edge_agent.show_command import ShowArgs
from edge_agent.uplink.resend import ResendArgs
from edge_agent.uplink.wire import (
    Ack,
    Alarm,
    Command,
    Health,
    Response,
    ResponseStatus,
    Result,
    State,
    StateWord,
)


def written() -> dict[str, list[bytes]]:
    """Return payloads by the name of their schema, as the agent's own code writes them."""
    state = State(
        state=StateWord.ONLINE,
        session="00000000000000a7",
        version="0.1.0",
        kid=A.key.kid,
        chain=CHAIN,
        next_seq=9,
        config="3f9a1c",
        screens={"serial": "ok", "web": "ok"},
        readers={"pn532": "ok"},
        at=NOW,
    )
    asked = ResendArgs(CHAIN, 4, 7)
    to_show = (ShowArgs(Cue.IDENTIFY), ShowArgs(Cue.RESTING, for_s=600), ShowArgs(level=40, for_s=3600))
    figures = {"outbox_pending": 0, "outbox_bytes": 49152, "taps": 8, "rss_mb": 41.5}
    return {
        "ack": [
            Ack(CHAIN, 8, at=NOW).encode(),
            Ack(CHAIN, 8, ((4, 4), (6, 7)), NOW).encode(),
            Ack(CHAIN, 0).encode(),
        ],
        "result": [Result(EXAMPLE.cti, "rewarded", "谢谢", 50).encode(), Result(EXAMPLE.cti, "already").encode()],
        "state": [
            state.encode(),
            replace(
                state, session="00000000000000a8", restart="reader_deaf: the reader gave no sign for 30 s"
            ).encode(),
        ],
        "alarm": [Alarm("reader-lost", "The reader does not answer", NOW, {"reader": "pn532"}).encode()],
        "health": [Health(NOW, 86_461, {"reader": "ok", "uplink": "degraded"}, figures).encode()],
        "command": [
            Command("resend", "7f3a", NOW + 60, asked.encode()).encode(),
            Command("identify", "7f3b", NOW + 60).encode(),
        ],
        "response": [Response("7f3a", ResponseStatus.DONE, "ok", "2 again, 1 pending, 1 gone").encode()],
        "resend-args": [json.dumps(asked.encode()).encode()],
        "show-args": [json.dumps(args.encode()).encode() for args in to_show],
    }


def refused() -> dict[str, list[str]]:
    """Return JSON texts by schema that are not of the contract."""
    chain = CHAIN.hex()
    return {
        "ack": [
            "[]",
            '{"through":8,"missing":[]}',
            f'{{"chain":"{chain.upper()}","through":8,"missing":[]}}',
            f'{{"chain":"{chain[:-2]}","through":8,"missing":[]}}',
            f'{{"chain":"{chain}","through":-1,"missing":[]}}',
            f'{{"chain":"{chain}","through":8.5,"missing":[]}}',
            f'{{"chain":"{chain}","through":true,"missing":[]}}',
            f'{{"chain":"{chain}","through":8,"missing":[[4]]}}',
            f'{{"chain":"{chain}","through":8,"missing":[[0,4]]}}',
            f'{{"chain":"{chain}","through":8,"missing":[],"at":-1}}',
            f'{{"chain":"{chain}","through":999,"missing":{json.dumps([[n, n] for n in range(1, 131, 2)])}}}',
        ],
        "result": ['{"cti":"00","outcome":"rewarded"}', f'{{"cti":"{EXAMPLE.cti.hex()}","outcome":"Two words"}}'],
        "state": ['{"state":"asleep"}'],
        "resend-args": [
            f'{{"chain":"{chain}","from":0,"to":7}}',
            f'{{"chain":"{chain}","from":4}}',
            f'{{"chain":"{chain}","from":4,"to":"7"}}',
            f'{{"chain":"{chain[:-2]}","from":4,"to":7}}',
        ],
        "show-args": [
            "{}",
            '{"cue":"thanks"}',
            '{"cue":"resting"}',
            '{"cue":"identify","for_s":60}',
            '{"cue":"identify","text":"call us"}',
            '{"level":40,"for_s":60,"amount":500}',
            '{"level":40}',
            '{"level":4,"for_s":60}',
            '{"level":40,"for_s":86401}',
        ],
        "alarm": ['{"code":"x","text":"","at":0,"data":{}}'],
        "health": ['{"at":0,"up":0,"components":{},"figures":{"a":"1"}}'],
        "command": ['{"id":"","exp":0,"args":{}}', '{"id":"a","exp":0,"args":[]}'],
        "response": ['{"id":"a","status":"maybe","code":"ok","detail":""}'],
    }


def document() -> dict[str, Any]:
    """Return the vector file."""
    good = {name: [json.loads(payload) for payload in payloads] for name, payloads in written().items()}
    good["keys-show"] = [shown(A.key)]
    good["key-registry"] = [json.loads(registry().to_json())]
    return {
        "about": "JSON payloads by schema (../schemas): valid ones, and texts that a strict reader refuses.",
        "valid": good,
        "refused_texts": refused(),
    }
