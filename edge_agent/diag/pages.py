"""The page of each finding, for a technician without a network: installed beside this, docs/findings in a checkout."""

from pathlib import Path

from edge_agent.errors import EdgeAgentError

_INSTALLED = Path(__file__).parent / "findings"
_CHECKOUT = Path(__file__).parent.parent.parent / "docs" / "findings"


def page_of(kind_id: str) -> str:
    """Return the page in Markdown; ``kind_id`` is the id of a kind. Raises EdgeAgentError if it is not installed."""
    for folder in (_INSTALLED, _CHECKOUT):
        try:
            return (folder / f"{kind_id}.md").read_text(encoding="utf-8")
        except OSError:
            continue
    raise EdgeAgentError(f"the page of {kind_id} is not installed", remedy=f"see docs/findings/{kind_id}.md")
