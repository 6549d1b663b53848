"""What a look at the delivery waits for here comes, however slow this machine is; what never comes has its own time."""

import pytest

from edge_agent.diag import way
from edge_agent.diag.checks.delivery import login


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (way, "NAME_S", 15.0),
        (way, "TCP_S", 30.0),
        (way, "TLS_S", 30.0),
        (login, "CONNACK_S", 30.0),
        (login, "LOOK_S", 60.0),
    ):
        monkeypatch.setattr(module, name, seconds)
