"""What the control socket is asked to tell which screen this is: its terminal's id and, of a report, the report's id.

Shows nothing but these two: whoever may reach the socket cannot write words of his own on a screen in a lift.
"""

from collections.abc import Awaitable, Callable

from edge_agent.errors import ControlError
from edge_agent.report_id import ReportId

OP = "identify"
BETWEEN_IDS = " · "
"""The page puts what stands on either side of it on lines of their own; an MCU gets it as it is, 36 bytes at most."""


def identify_ops(
    show: Callable[[str], None], terminal: str
) -> dict[str, Callable[[dict[str, object]], Awaitable[dict[str, object]]]]:
    """Name and handler for the control server.

    ``{"op": "identify"}`` shows the terminal's id for 30 s, with ``"report": "K7QF-2M4D"`` the report's beside it. The
    answer has the ids that are shown. Raises ControlError if ``report`` is no report id.
    """

    async def identify(request: dict[str, object]) -> dict[str, object]:
        asked = request.get("report")
        if asked is None:
            show(terminal)
            return {"terminal": terminal}
        try:
            report = ReportId.parse(asked if isinstance(asked, str) else "")
        except ValueError as error:
            raise ControlError(str(error)) from None
        show(f"{terminal}{BETWEEN_IDS}{report}")
        return {"terminal": terminal, "report": report}

    return {OP: identify}
