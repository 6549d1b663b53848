"""`doctor --interactive`: somebody holds a phone to the screen, and the running agent tells step by step what it sees.

Each step is said in words; where a phone gets stuck, what that means and what to try. Asks the agent, changes nothing.
"""

import json
import time
from functools import partial
from pathlib import Path

from edge_agent.cli.live_feed import Ask, Feed
from edge_agent.cli.render import Paper
from edge_agent.cli.status_view import Answer, tables_in, text_of
from edge_agent.cli.stuck import Advice, Findings, advice_for, said
from edge_agent.cli.watch_cmd import last_step_of
from edge_agent.control_client import ask
from edge_agent.errors import ExitCode

WAIT_S = 60.0
"""So long nobody comes, and that is told as well."""
STORED_WITHIN_S = 10.0
AGAIN_WITHIN_S = 3.0
"""A phone that was lost and does not come back within this time is told as lost."""
_POLL_S = 1.0
_WORKING = {"polling", "serving", "occupied", "showing"}


def walk(paper: Paper, socket: Path, *, as_json: bool = False, wait_s: float = WAIT_S) -> int:
    """Tell what is seen of the next phone, until the cloud has its tap or it ended before.

    Returns 0 where it arrived, 1 where it got stuck or nobody came in ``wait_s`` seconds. With ``as_json`` each line is
    an object: ``event`` is `ready`, `step` or `end`. Raises ControlError when no agent answers.
    """
    return _Walk(paper, partial(ask, socket), as_json=as_json).run(wait_s)


class _Walk:
    def __init__(self, paper: Paper, asked: Ask, *, as_json: bool) -> None:
        self._paper = paper
        self._asked = asked
        self._as_json = as_json
        self._found = Findings()

    def run(self, wait_s: float) -> int:
        feed = Feed(self._asked)
        feed.news(0)
        status = self._asked({"op": "status"})
        if (advice := self._nobody_polls(status)) is not None:
            return self._end(advice)
        self._found.last_step = last_step_of(status)
        self._found.wants_cue = bool(tables_in(status, "screens"))
        self._ready(status)
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0 and not self._found.over:
            began, ended = self._found.began, self._found.ended
            for step in feed.news(min(left_s, _POLL_S)):
                if self._found.take(step):
                    self._tell(step)
            if feed.restarts:
                return self._end(Advice("restarted", "the agent was restarted meanwhile", "run it again"))
            if self._found.began and not began:
                until = time.monotonic() + wait_s
            if self._found.ended and not ended:
                until = time.monotonic() + (AGAIN_WITHIN_S if self._found.lost else STORED_WITHIN_S)
        return self._end(advice_for(self._found, self._asked({"op": "status"})))

    def _nobody_polls(self, status: Answer) -> Advice | None:
        if _working(status):
            return None
        parts = [*tables_in(status, "readers"), *tables_in(status, "tags")]
        told = "; ".join(
            f"{text_of(p.get('name'), 24)}: {text_of(p.get('last_error') or p.get('state'))}" for p in parts
        )
        return Advice(
            "no_reader", f"no reader works: {told or 'none is configured'}", "edge-agent doctor --only devices"
        )

    def _ready(self, status: Answer) -> None:
        parts = _working(status)
        names = [text_of(part.get("name"), 24) for part in parts]
        if self._as_json:
            self._json({"event": "ready", "readers": names})
            return
        self._paper.print(self._paper.paint("Hold a phone to the screen now.", "bold"))
        chips = ", ".join(
            f"{text_of(p.get('name'), 24)} ({text_of(p.get('chip') or p.get('state'), 40)})" for p in parts
        )
        self._paper.wrapped(f"Looking with {chips}; Ctrl-C ends it.")
        self._paper.print()

    def _tell(self, step: Answer) -> None:
        if self._as_json:
            self._json({"event": "step", **step})
        elif text := said(step):
            at_ms = step.get("at_ms")
            at = f"{at_ms:>8.1f} ms" if isinstance(at_ms, int | float) else " " * 11
            lines = self._paper.plain(text)
            self._paper.print(f"{at}  {lines}")

    def _end(self, advice: Advice) -> int:
        if self._as_json:
            self._json({"event": "end", "ok": advice.ok, "id": advice.id, "text": advice.text, "next": advice.next})
        else:
            self._paper.print()
            self._paper.wrapped(
                f"{'ALL IS WELL' if advice.ok else 'STUCK'}: {advice.text}", kind="good" if advice.ok else "bad"
            )
            self._paper.print()
            self._paper.wrapped(f"Next: {advice.next}")
        return ExitCode.OK if advice.ok else ExitCode.PROBLEM

    def _json(self, value: dict[str, object]) -> None:
        print(json.dumps(value), flush=True)


def _working(status: Answer) -> list[Answer]:
    """Readers and tags that would notice a phone."""
    parts = [*tables_in(status, "readers"), *tables_in(status, "tags")]
    return [part for part in parts if str(part.get("state")) in _WORKING]
