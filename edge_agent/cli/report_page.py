"""The printed report: one self-contained HTML page of A4, from the agent's answers to `status` and `history`. Pure.

No script, no request to anywhere; every text is a peer's until it is escaped. What another version's answer lacks is
left out.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from edge_agent.cli.render import ago
from edge_agent.cli.report_chart import DAY_S, LOW, Bar, Picture, Series, bands, bars, dots, span_of
from edge_agent.cli.report_style import CSS
from edge_agent.cli.status_view import Answer, facts, tables_in, text_of
from edge_agent.cli.watch_view import state_of

_VERDICTS = {
    "ok": ("good", "Takes taps, all is well"),
    "starting": ("warn", "Starting"),
    "degraded": ("warn", "Takes taps, but not all is well"),
    "failed": ("bad", "Takes no taps"),
    "stopped": ("bad", "Stopped"),
}
_SEVERITIES = ("error", "warning", "info")
_MAX_FINDINGS = 60
NONE = "-"
_LEGEND = (
    "Grey: the agent did not run, or nobody knows any more. A bar is five minutes; how long a tap took is known to an "
    "eighth."
)


@dataclass(frozen=True, slots=True)
class Day:
    """The answer to `history`, column by column; everything in it is a number or left out."""

    bucket_s: float
    known_s: float
    unix: float | None
    columns: Mapping[str, Sequence[float | None]]
    whole: Mapping[str, float | None]

    def series(self, name: str) -> list[Bar]:
        """The known values of one column."""
        ages, values = self.columns.get("ago_s", ()), self.columns.get(name, ())
        return [
            Bar(age, value) for age, value in zip(ages, values, strict=False) if age is not None and value is not None
        ]

    def known(self) -> list[float]:
        """When somebody looked."""
        return [bar.ago_s for bar in self.series("looks") if bar.value > 0]


def day_of(history: Answer) -> Day:
    """Read the answer; what makes no sense is not there."""
    names, rows, whole = history.get("fields"), history.get("rows"), history.get("all")
    table = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    columns: dict[str, list[float | None]] = {}
    for index, name in enumerate(names if isinstance(names, list) else []):
        columns[str(name)] = [_number(row[index]) if index < len(row) else None for row in table]
    return Day(
        bucket_s=_number(history.get("bucket_s")) or 300.0,
        known_s=_number(history.get("known_s")) or 0.0,
        unix=_number(history.get("unix")),
        columns=columns,
        whole={str(key): _number(value) for key, value in whole.items()} if isinstance(whole, dict) else {},
    )


def page(
    status: Answer, history: Answer, *, findings: Sequence[Mapping[str, Any]] | None = None, utc_offset_s: float = 0.0
) -> str:
    """Return the page. ``findings``: dicts with ``id``, ``severity`` (error, warning, info), ``title``, ``text`` and
    ``remedy``, worst first; None where nobody looked.
    """
    day = day_of(history)
    kind, verdict = _VERDICTS.get(state_of(status), ("bad", "Not known"))
    if kind == "good" and any(str(one.get("severity", "")).lower() == "error" for one in findings or ()):
        kind, verdict = "warn", "Takes taps, but see the findings"
    terminal = _h(status.get("terminal", "terminal"), 64)
    head = (
        f'<header><p class="over">Tap terminal, the last 24 hours</p><h1>{terminal}</h1>'
        f'<p class="verdict {kind}">{escape(verdict)}</p><p class="when">{_when(day, utc_offset_s)}</p></header>'
    )
    parts = [
        head,
        _keys(day, status),
        *_pictures(day, utc_offset_s),
        _findings(findings),
        _facts(status),
        f"<footer>edge-agent {_h(status.get('version', ''), 32)}. {_LEGEND}</footer>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{terminal}: the last 24 hours</title><style>{CSS}</style></head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _h(value: object, limit: int = 200) -> str:
    return escape(text_of(value, limit))


def _number(value: object) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if good and isinstance(value, int | float) else None


def _when(day: Day, utc_offset_s: float) -> str:
    known = f"Knows the last {ago(day.known_s)}" if day.known_s < DAY_S - 600 else "Knows the whole day"
    if day.unix is None:
        return f"{known}. The clock is not set: times are told as how long ago."
    minutes = round(utc_offset_s / 60)
    zone = f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    return f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(day.unix + utc_offset_s))} {zone}. {known}."


def _keys(day: Day, status: Answer) -> str:
    outbox = status.get("outbox")
    waiting = (
        sum(_number(outbox.get(name)) or 0 for name in ("pending", "leased")) if isinstance(outbox, dict) else None
    )
    cells = [
        ("taps", _count(day.whole.get("taps"))),
        ("median to disk", _ms(day.whole.get("p50_ms"))),
        ("99 of 100 within", _ms(day.whole.get("p99_ms"))),
        ("connected", _share(day)),
        ("waiting now", _count(waiting)),
    ]
    return (
        '<dl class="keys">' + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in cells) + "</dl>"
    )


def _share(day: Day) -> str:
    looks, up = day.whole.get("looks"), day.whole.get("uplink")
    if not looks or up is None:
        return NONE
    share = min(up / looks, 1.0) * 100
    return "100 %" if share == 100 else f"{min(share, 99.9):.1f} %"


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _ms(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f} ms"


def _pictures(day: Day, utc_offset_s: float) -> list[str]:
    whole, known = day.whole, day.known()

    def picture(name: str, title: str, description: str) -> Picture:
        return Picture(name, title, description, day.bucket_s, known, day.unix, utc_offset_s, span_of(day.known_s))

    lost, refused = day.series("lost"), day.series("refused")
    refused_on_top = _summed(lost, refused)
    taps = bars(
        picture("taps", "Taps in five minutes", f"{_count(whole.get('taps'))} taps in all"),
        [Series("taps", day.series("taps")), Series("refused", refused_on_top), Series("lost", lost)],
    )
    slow = dots(
        picture("latency", "Phone seen to tap kept", f"median {_ms(whole.get('p50_ms'))}"),
        [Series("p99", day.series("p99_ms")), Series("p50", day.series("p50_ms"))],
        unit=" ms",
    )
    queue = bars(
        picture("queue", "Taps that waited to be sent", f"at most {_count(whole.get('queue'))}"),
        [Series("queue", day.series("queue"))],
        height=LOW,
    )
    resets = bars(
        picture("resets", "Readers opened again", f"{_count(whole.get('reopens'))} times"),
        [
            Series("resets", _summed(day.series("resets"), day.series("reopens"))),
            Series("screens", day.series("resets")),
        ],
        height=LOW,
    )
    work = bands(
        picture("work", "What worked", "bands for readers, screens and connection"),
        [("readers", day.series("readers")), ("screens", day.series("screens")), ("uplink", day.series("uplink"))],
    )
    busiest = max((bar.value for bar in day.series("taps")), default=0)
    return [
        _figure("Taps", taps, {
            "taps": _count(whole.get("taps")), "most in 5 min": _count(busiest),
            "lost in the middle": _count(whole.get("lost")), "refused": _count(whole.get("refused")),
        }, "taps, and in front of them those that were lost (red) or refused (amber)"),
        _figure("Speed", slow, {
            "median": _ms(whole.get("p50_ms")), "99 of 100 within": _ms(whole.get("p99_ms")),
        }, "from the phone seen to its tap kept on disk: median (dark), 99 of 100 (light)"),
        _figure("Queue", queue, {"deepest": _count(whole.get("queue"))}, "taps that waited to be sent, at most"),
        _figure("Resets", resets, {
            "readers opened again": _count(whole.get("reopens")), "screens restarted": _count(whole.get("resets")),
            "agent started": _count(whole.get("starts")),
        }, "readers that had to be opened again (red), screens that restarted (dark)"),
        _figure("What worked", work, {
            name: _part(whole, name) for name in ("readers", "screens", "uplink")
        }, "all of its kind worked (green) or not (red)"),
    ]  # fmt: skip


def _part(whole: Mapping[str, float | None], name: str) -> str:
    looks, well = whole.get("looks"), whole.get(name)
    if not looks or well is None:
        return NONE
    down_s = max(0.0, looks - well)
    return f"down {ago(down_s)}" if down_s >= 1 else "all the time"


def _summed(first: Sequence[Bar], second: Sequence[Bar]) -> list[Bar]:
    other = {bar.ago_s: bar.value for bar in second}
    return [Bar(bar.ago_s, bar.value + other.get(bar.ago_s, 0.0)) for bar in first]


def _figure(name: str, svg: str, rows: Mapping[str, str], caption: str) -> str:
    cells = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>' for key, value in rows.items()
    )
    return (
        f"<section><h2>{escape(name)} <small>{escape(caption)}</small></h2>"
        f'<div class="pair">{svg}<table>{cells}</table></div></section>'
    )


def _findings(findings: Sequence[Mapping[str, Any]] | None) -> str:
    if findings is None:
        return '<section class="text"><h2>Findings</h2><p>Nobody looked: edge-agent doctor does.</p></section>'
    if not findings:
        return '<section class="text"><h2>Findings</h2><p>edge-agent doctor found nothing.</p></section>'
    items = []
    for finding in findings[:_MAX_FINDINGS]:
        severity = str(finding.get("severity", "")).lower()
        css = severity if severity in _SEVERITIES else "info"
        items.append(
            f'<li class="{css}"><b>{_h(severity or "info", 12)}</b> {_h(finding.get("title", ""), 240)} '
            f"<code>{_h(finding.get('id', ''), 64)}</code>{_more(finding)}</li>"
        )
    more = len(findings) - len(items)
    tail = f"<p>and {more} more</p>" if more > 0 else ""
    return f'<section class="text"><h2>Findings</h2><ul>{"".join(items)}</ul>{tail}</section>'


def _more(finding: Mapping[str, Any]) -> str:
    """Which one it is, and what to do about it."""
    words = [str(finding[name]).rstrip(".") for name in ("text", "remedy") if finding.get(name)]
    return f"<p>{_h('. '.join(words), 600)}.</p>" if words else ""


def _facts(status: Answer) -> str:
    rows = [(label, text) for label, text in facts(status) if text]
    health = status.get("health")
    for part in tables_in(health, "components") if isinstance(health, dict) else []:
        if str(part.get("state")) in {"degraded", "failed"}:
            rows.insert(
                0, (text_of(part.get("name"), 24), f"{text_of(part['state'])}: {text_of(part.get('detail', ''))}")
            )
    cells = "".join(
        f'<tr><th scope="row">{_h(label, 40)}</th><td>{_h(text, 400)}</td></tr>' for label, text in rows[:60]
    )
    return f'<section class="text"><h2>The terminal now</h2><table class="facts">{cells}</table></section>'
