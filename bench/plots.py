"""The report's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.results import FullSpeed, Paced, Results, Rounds, TransportResult, receivers

_COLOURS = {"hub": "#0b6e99", "naive": "#c4703a"}
_NAMES = {"hub": "hub", "naive": "baseline"}
_GRID = "#dddddd"


def draw(results: Results, folder: Path) -> list[tuple[Path, str]]:
    """Draw what the results have; each picture's path and title."""
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same figures give the same file
    drawn = []
    if results.full_speed:
        drawn.append((_save(_throughput(results.full_speed), folder / "throughput.svg"), "Throughput"))
    if any(each.milliseconds for each in results.paced):
        drawn.append((_save(_latency(results.paced), folder / "latency.svg"), "Latency at a steady rate"))
    if results.transports:
        drawn.append((_save(_transports(results.transports), folder / "transports.svg"), "Transports"))
    return drawn


def _throughput(results: list[FullSpeed]) -> Figure:
    labels = [f"{_NAMES[each.target]}\n{receivers(each.fan_out)}" for each in results]
    return _speeds(results, labels, [_COLOURS[each.target] for each in results])


def _transports(results: list[TransportResult]) -> Figure:
    return _speeds(results, [each.transport for each in results], [_COLOURS["hub"]] * len(results))


def _speeds(results: Sequence[Rounds], labels: list[str], colours: list[str]) -> Figure:
    """A bar for each, a dot for each round."""
    figure, axes = _figure(height=1.0 + 0.6 * len(results))
    positions = range(len(results))
    axes.barh(positions, [each.rate for each in results], 0.6, color=colours)
    for position, result in zip(positions, results, strict=True):
        rates = [each.rate for each in result.rounds]
        axes.plot(rates, [position] * len(rates), "o", color="#222222", markersize=3)
        _note(axes, f"{result.rate:,.0f}", max(rates), position)
    axes.set_yticks(list(positions), labels)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("notifications a second, committed and received (bar: median, dots: rounds)")
    axes.grid(axis="x", color=_GRID)
    return figure


def _latency(results: list[Paced]) -> Figure:
    """Latency by percentile, one curve a target."""
    figure, axes = _figure(height=3.6)
    for result in results:
        found = result.milliseconds
        shares = [float(name[1:]) for name in found if name != "max"]
        values = [value for name, value in found.items() if name != "max"]
        axes.plot(shares, values, color=_COLOURS[result.target], linewidth=2, label=_NAMES[result.target])
        _note(axes, f"p99 {found['p99']:,.0f} ms", 99, found["p99"])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlim(0, 100)
    axes.set_xlabel("percentile")
    axes.set_ylabel("ms from produce to frame")
    axes.set_title(f"At {results[0].rate:,.0f} events a second", loc="left", fontsize=10)
    axes.grid(color=_GRID)
    axes.legend(frameon=False)
    return figure


def _note(axes: Any, words: str, x: float, y: float) -> None:
    axes.annotate(words, (x, y), xytext=(8, 0), textcoords="offset points", va="center")


def _figure(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, height), layout="constrained")
    axes: Any = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    return path
