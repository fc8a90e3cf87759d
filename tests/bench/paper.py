"""docs/performance.md: the figures of a run with machine and versions, and how lists grow as a plot."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from tests.processes import ROOT

Row = tuple[str, str, str, bool | None]  # name, figure with unit, target, whether it is met

_REPORT = ROOT / "docs" / "performance.md"
_PLOT = ROOT / "docs" / "images" / "performance.svg"
_BAR, _GAP, _NAMES, _WIDTH = 16, 8, 420, 360
_BEGIN, _END = "<!-- figures: make bench writes what is between -->\n", "<!-- /figures -->\n"


def write(rows: Sequence[Row]) -> None:
    """Put the figures into the report, between its marks; the words around them stay."""
    before, _, rest = _REPORT.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    _REPORT.write_text(before + _BEGIN + _figures(rows) + _END + after)
    _PLOT.parent.mkdir(exist_ok=True)
    _PLOT.write_text(
        plot([(name, float(figure.split()[0])) for name, figure, *_ in rows if figure[-3:] == " ms"])
    )


def _figures(rows: Sequence[Row]) -> str:
    word = {True: "yes", False: "**no**", None: ""}
    lines = [f"{_machine()}\n", "| figure | measured | asked | met |", "|---|---|---|---|"]
    lines += [f"| {name} | {figure} | {target} | {word[met]} |" for name, figure, target, met in rows]
    return "\n".join(lines) + "\n\n![latencies](images/performance.svg)\n"


def _machine() -> str:
    etcd = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True).stdout
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {platform.platform()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, etcd {etcd.split()[2]}; load of the "
        f"last 15 minutes {os.getloadavg()[2]:.1f}."
    )


def plot(bars: Sequence[tuple[str, float]]) -> str:
    """Latencies in ms as horizontal bars (SVG), the longest as wide as the plot."""
    longest = max((value for _, value in bars), default=1.0)
    height, parts = (_BAR + _GAP) * len(bars) + _GAP, list[str]()
    for at, (name, value) in enumerate(bars):
        top = _GAP + at * (_BAR + _GAP)
        width = max(1.0, _WIDTH * value / longest)
        parts.append(
            f'<text x="{_NAMES - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{_NAMES}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="#4878a8"/>'
            f'<text x="{_NAMES + width + 6:.1f}" y="{top + 12}">{value:.3g} ms</text>'
        )
    size = f'width="{_NAMES + _WIDTH + 90}" height="{height}"'
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(parts) + "\n</svg>\n"
