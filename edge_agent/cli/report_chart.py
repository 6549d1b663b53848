"""Pictures of a day as SVG for the printed report: bars and bands over the last 24 hours. Pure, and no script.

Each picture has a title and a description for those who hear it. Colours are of ink that a grey printer keeps apart.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LOW = 720, 140, 96
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 10, 24
_PLOT_W = WIDTH - _LEFT - _RIGHT
DAY_S = 86_400
_TICKS = {3600: 600, 3 * 3600: 1800, 6 * 3600: 3600, 12 * 3600: 7200, DAY_S: 3 * 3600}
"""How long a picture may be, and how far apart its ticks are."""


@dataclass(frozen=True, slots=True)
class Bar:
    """``value`` in the time from ``ago_s`` seconds ago, for the width of one bucket."""

    ago_s: float
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one kind; ``css`` names their look."""

    css: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Picture:
    """What every picture has: words, how wide a bucket is, how long ago the known buckets began."""

    id: str
    title: str
    description: str
    bucket_s: float
    known: Sequence[float]
    unix: float | None
    """The time at the right end; None where the clock is not trusted."""
    utc_offset_s: float = 0.0
    span_s: float = DAY_S


def span_of(known_s: float) -> float:
    """The shortest time for a picture that shows all that is known."""
    return next((span for span in _TICKS if known_s <= span), DAY_S)


def bars(
    picture: Picture, series: Sequence[Series], *, unit: str = "", least: float = 4.0, height: int = HEIGHT
) -> str:
    """Bars from zero, later series in front; the scale ends at a round number of ``unit``."""
    return _graph(picture, series, _bar, unit, least, height)


def dots(picture: Picture, series: Sequence[Series], *, unit: str = "", least: float = 10.0) -> str:
    """A short line for each value, later series in front."""
    return _graph(picture, series, _dash, unit, least, HEIGHT)


_Shape = Callable[[Picture, Bar, float], str]
"""Draws one value as a path, given its share of the scale and the height of the plot."""


def _graph(picture: Picture, series: Sequence[Series], shape: _Shape, unit: str, least: float, height: int) -> str:
    plot_h = height - _TOP - _BOTTOM
    top = _round_up(max([least, *(bar.value for one in series for bar in one.bars)]))
    out = [_unknown(picture, plot_h), *_scale(top, unit, plot_h)]
    for one in series:
        shares = [Bar(bar.ago_s, min(bar.value / top, 1.0)) for bar in one.bars if bar.value > 0]
        path = "".join(shape(picture, share, plot_h) for share in shares)
        if path:
            out.append(f'<path class="{one.css}" d="{path}"/>')
    return _svg(picture, height, [*out, *_hours(picture, height)])


def bands(picture: Picture, rows: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """A band for each name: full where it worked all the time (1), red and as high as the share in which it did not."""
    height = _TOP + 26 * len(rows) + _BOTTOM
    out = []
    for index, (name, shares) in enumerate(rows):
        y = _TOP + 26 * index
        well = "".join(_block(picture, bar.ago_s, y, 18.0) for bar in shares)
        ill = "".join(
            _block(picture, bar.ago_s, y, max(3.0, 18.0 * (1 - bar.value))) for bar in shares if bar.value < 0.999
        )
        out.append(f'<text class="axis" x="{_LEFT - 6}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<path class="unknown" d="M{_LEFT} {y}h{_PLOT_W}v18h-{_PLOT_W}z"/>')
        out += [f'<path class="well" d="{well}"/>'] if well else []
        out += [f'<path class="ill" d="{ill}"/>'] if ill else []
    return _svg(picture, height, [*out, *_hours(picture, height)])


def _svg(picture: Picture, height: int, inside: Sequence[str]) -> str:
    name = escape(picture.id, quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(picture.title)}</title><desc id="{name}-d">{escape(picture.description)}</desc>'
        f"{''.join(inside)}</svg>"
    )


def _x(picture: Picture, ago_s: float) -> float:
    return round(_LEFT + _PLOT_W * (1 - min(max(ago_s, 0.0), picture.span_s) / picture.span_s), 1)


def _span(picture: Picture, ago_s: float) -> tuple[float, float]:
    """Left edge and width of a bucket; the newest is narrower, because it goes on."""
    left, right = _x(picture, ago_s), _x(picture, ago_s - picture.bucket_s)
    return left, round(max(right - left, 0.8), 1)


def _bar(picture: Picture, share: Bar, plot_h: float) -> str:
    return _block(picture, share.ago_s, _TOP + plot_h, -max(plot_h * share.value, 1.0))


def _dash(picture: Picture, share: Bar, plot_h: float) -> str:
    left, width = _span(picture, share.ago_s)
    return f"M{left} {round(_TOP + plot_h * (1 - share.value), 1)}h{max(width, 2.2)}"


def _block(picture: Picture, ago_s: float, y: float, height: float) -> str:
    left, width = _span(picture, ago_s)
    return f"M{left} {y}h{width}v{round(height, 1)}h-{width}z"


def _unknown(picture: Picture, plot_h: float) -> str:
    """The ground: grey where nobody looked, white where somebody did."""
    white = "".join(_block(picture, ago_s, _TOP, plot_h) for ago_s in picture.known)
    grey = f'<path class="unknown" d="M{_LEFT} {_TOP}h{_PLOT_W}v{plot_h}h-{_PLOT_W}z"/>'
    return grey + (f'<path class="known" d="{white}"/>' if white else "")


def _scale(top: float, unit: str, plot_h: float) -> list[str]:
    out = []
    for share in (0.0, 0.5, 1.0):
        y = round(_TOP + plot_h * (1 - share), 1)
        label = f"{top * share:,.10g}{unit if share == 1.0 else ''}"
        out.append(f'<path class="grid" d="M{_LEFT} {y}h{_PLOT_W}"/>')
        out.append(f'<text class="axis" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(label)}</text>')
    return out


def _hours(picture: Picture, height: int) -> list[str]:
    """Clock times where the clock is trusted, else how long ago."""
    y = height - 8
    step = _TICKS.get(int(picture.span_s), 3 * 3600)
    local = None if picture.unix is None else picture.unix + picture.utc_offset_s
    ago, ticks = 0.0 if local is None else local % step, []
    while ago <= picture.span_s:
        ticks.append((ago, _ago(ago) if local is None else _clock(local - ago)))
        ago += step
    out = []
    for ago, label in ticks:
        x = _x(picture, ago)
        anchor = "end" if x > WIDTH - 30 else "start" if x < _LEFT + 16 else "middle"
        out.append(f'<path class="tick" d="M{x} {height - _BOTTOM}v4"/>')
        out.append(f'<text class="axis" x="{x}" y="{y}" text-anchor="{anchor}">{label}</text>')
    return out


def _ago(seconds: float) -> str:
    if not seconds:
        return "now"
    return f"-{seconds / 3600:.0f} h" if seconds % 3600 == 0 else f"-{seconds / 60:.0f} min"


def _clock(local: float) -> str:
    return f"{int(local // 3600) % 24:02d}:{int(local // 60) % 60:02d}"


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 10 times a power of ten, whose half is round, too."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(step * power for step in (1, 2, 4, 6, 8, 10, 20) if step * power >= value * 0.999999)
