"""What all sections of the configuration have in common."""

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

MISPLACED = "misplaced"
"""Type of the errors of ``problem_at``."""


class Section(BaseModel):
    """One table of the file: unknown keys are refused, values are never converted, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=False)


def problem_at(*place: str | int, text: str) -> PydanticCustomError:
    """What a validator raises to blame a value at ``place`` below its own: the line of that value is told."""
    return PydanticCustomError(MISPLACED, "{text}", {"text": text, "place": place})
