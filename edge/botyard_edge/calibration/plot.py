"""A fit as a picture: on a terminal, and as an SVG file."""

import itertools
from collections.abc import Callable, Sequence

from botyard_edge.calibration.correct import compensated, scalar
from botyard_edge.calibration.fit import Fit
from botyard_schemas.calibration import Axes, Linear, Motor, Polynomial, Wheels

WIDTH, HEIGHT = 64, 16
Curve = Callable[[float], float]
Bounds = tuple[float, float, float, float]


def curve(fit: Fit) -> Curve | None:
    """What runs through the fit's points; None where there is no line (three axes at once)."""
    one = fit.correction
    if isinstance(one, Linear | Polynomial):
        return scalar(one)
    if isinstance(one, Motor):
        return lambda measured: compensated(one, measured)
    return None if isinstance(one, Axes) else lambda x: x


def labels(fit: Fit) -> tuple[str, str]:
    """What lies on the axes."""
    if isinstance(fit.correction, Motor):
        return "measured", "given"
    return ("reckoned, m", "measured, m") if isinstance(fit.correction, Wheels) else ("raw", "reference")


def drawn(fit: Fit) -> str:
    """The picture in characters: `o` are samples, `·` is the curve; below it, what is left of each sample."""
    low_x, high_x, low_y, high_y = bounds = _bounds(fit)
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    if (line := curve(fit)) is not None:
        for column in range(WIDTH):
            _put(grid, bounds, (x := low_x + (high_x - low_x) * column / (WIDTH - 1)), line(x), "·")
    for x, y in fit.points:
        _put(grid, bounds, x, y, "o")
    across, up = labels(fit)
    margin = max(len(f"{low_y:.4g}"), len(f"{high_y:.4g}"))
    rows = [f"{up}"]
    for index, row in enumerate(grid):
        label = f"{high_y:.4g}" if index == 0 else f"{low_y:.4g}" if index == HEIGHT - 1 else ""
        rows.append(f"{label:>{margin}} │{''.join(row)}".rstrip())
    rows.append(" " * margin + " └" + "─" * WIDTH)
    left, right = f"{low_x:.4g}", f"{high_x:.4g} {across}"
    rows.append(" " * (margin + 2) + left + right.rjust(WIDTH - len(left)))
    rows.append("left over  " + sparks(fit.left))
    return "\n".join(rows)


def sparks(values: Sequence[float], width: int = WIDTH - 2) -> str:
    """Values around 0 as bars, `▁` the lowest and `█` the highest, with the largest one's size."""
    if len(values) > width:  # the largest of each part stands for it
        ends = [index * len(values) // width for index in range(width + 1)]
        values = [max(values[begin:end], key=abs) for begin, end in itertools.pairwise(ends)]
    most = max(map(abs, values), default=0.0)
    bars = "▁▂▃▄▅▆▇█"
    drawn_ = "".join(bars[min(7, int((value / most + 1.0) * 4.0))] if most else bars[3] for value in values)
    return f"{drawn_}  ±{most:.3g}"


def svg(fit: Fit, title: str) -> str:
    """The picture as an SVG file: samples and curve above, what is left below."""
    width, height, under, pad = 640, 360, 120, 56
    low_x, high_x, low_y, high_y = _bounds(fit)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            pad + (x - low_x) / (high_x - low_x) * (width - 2 * pad),
            height - pad - (y - low_y) / (high_y - low_y) * (height - 2 * pad),
        )

    parts = [f'<rect x="{pad}" y="{pad}" width="{width - 2 * pad}" height="{height - 2 * pad}" class="frame"/>']
    if (line := curve(fit)) is not None:
        steps = [low_x + (high_x - low_x) * step / 200 for step in range(201)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(x, line(x)) for x in steps))
        parts.append(f'<polyline points="{points}" class="curve"/>')
    parts += [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="sample"/>' for x, y in (at(*point) for point in fit.points)
    ]
    across, up = labels(fit)
    for x, y, anchor, text in (
        (pad, height - pad + 18, "start", f"{low_x:.4g}"),
        (width - pad, height - pad + 18, "end", f"{high_x:.4g}"),
        (width / 2, height - pad + 34, "middle", across),
        (pad - 6, height - pad, "end", f"{low_y:.4g}"),
        (pad - 6, pad + 10, "end", f"{high_y:.4g}"),
        (pad, pad - 8, "start", up),
        (width / 2, 20, "middle", title),
    ):
        parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{_escaped(text)}</text>')
    parts += _residual_bars(fit, width, height, under, pad)
    style = (
        "svg{color-scheme:light dark;background:Canvas}text{font:12px sans-serif;fill:CanvasText}"
        ".frame,.zero{fill:none;stroke:GrayText}.curve{fill:none;stroke:#3b82f6;stroke-width:2}.sample{fill:#f97316}.left{fill:#f97316}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + under}" role="img">'
    return f"{head}<title>{_escaped(title)}</title><style>{style}</style>{''.join(parts)}</svg>\n"


def _residual_bars(fit: Fit, width: int, height: int, under: int, pad: int) -> list[str]:
    middle, most = height + under / 2 - 12, fit.residuals.max or 1.0
    step = (width - 2 * pad) / max(1, len(fit.left))
    parts = [f'<line x1="{pad}" y1="{middle}" x2="{width - pad}" y2="{middle}" class="zero"/>']
    for index, value in enumerate(fit.left):
        size = value / most * (under / 2 - 20)
        top = middle - max(size, 0.0)
        parts.append(
            f'<rect x="{pad + index * step + step * 0.1:.1f}" y="{top:.1f}" width="{step * 0.8:.2f}" '
            f'height="{abs(size):.1f}" class="left"/>'
        )
    said = f"left over: rms {fit.residuals.rms:.3g}, largest {fit.residuals.max:.3g}"
    parts.append(f'<text x="{pad}" y="{height + under - 6}">{said}</text>')
    return parts


def _bounds(fit: Fit) -> Bounds:
    xs, ys = [x for x, _ in fit.points], [y for _, y in fit.points]
    return (*_padded(min(xs), max(xs)), *_padded(min(ys), max(ys)))


def _padded(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.05 or abs(low) * 0.05 or 1.0
    return low - room, high + room


def _put(grid: list[list[str]], bounds: Bounds, x: float, y: float, mark: str) -> None:
    low_x, high_x, low_y, high_y = bounds
    if low_y <= y <= high_y:
        column = round((x - low_x) / (high_x - low_x) * (WIDTH - 1))
        grid[round((high_y - y) / (high_y - low_y) * (HEIGHT - 1))][column] = mark


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
