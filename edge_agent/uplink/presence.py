"""The retained ``state`` of the terminal: online, stopped, and the will that says lost, all with the same session id.

The id is new for each attempt, so that the cloud can tell the will of an old connection from the state of the new one.
All ids of one agent begin alike: it knows its own however long ago they were, and whatever a broker kept of them.
"""

import secrets
from collections.abc import Callable

from edge_agent.uplink.base import Message
from edge_agent.uplink.wire import CONTENT_JSON, State, StateWord, Topics

StateFactory = Callable[[StateWord, str], State]
"""Builds the payload from the word and the session id (16 hex digits)."""


class Presence:
    """Makes the three state messages of one connection."""

    def __init__(self, topics: Topics, state: StateFactory) -> None:
        self._topics = topics
        self._state = state
        self._ours = secrets.token_hex(5)
        self._attempts = 0
        self._session = ""

    @property
    def session(self) -> str:
        """Id of the current attempt; empty before the first."""
        return self._session

    def is_ours(self, session: str) -> bool:
        """Whether this agent had a connection with this session id, since it was started."""
        return session.startswith(self._ours)

    def will(self) -> Message:
        """Begin a new attempt: the will for its LinkSettings."""
        self._attempts += 1
        self._session = f"{self._ours}{self._attempts % 2**24:06x}"
        return self._message(StateWord.LOST)

    def online(self) -> Message:
        """The first message of a connection, and the answer to ``rebirth``."""
        return self._message(StateWord.ONLINE)

    def stopped(self) -> Message:
        """The last message of a clean end."""
        return self._message(StateWord.STOPPED)

    def _message(self, word: StateWord) -> Message:
        payload = self._state(word, self._session).encode()
        return Message(self._topics.state, payload, retain=True, content_type=CONTENT_JSON)
