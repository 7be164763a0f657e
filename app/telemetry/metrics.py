"""Named counters, gauges and histograms of one process, and their Prometheus text.

A figure is made once and kept by who counts with it: counting is one attribute addition. Gauges are read when asked.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from app.telemetry.histogram import Histogram


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, number: int = 1) -> None:
        """Count `number` more."""
        self.value += number


Gauge = Callable[[], float]
Figure = Counter | Histogram | Gauge


class _Family(NamedTuple):
    kind: str
    meaning: str
    members: dict[str, Figure]


class Metrics:
    """The figures of a process by name, in order of their making."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def counter(self, name: str, meaning: str, /, **labels: str) -> Counter:
        """Return the counter of that name and labels, made on first use."""
        members = self._family(name, "counter", meaning)
        found = members.setdefault(_labels(labels), Counter())
        assert isinstance(found, Counter)
        return found

    def histogram(self, name: str, meaning: str, /, **labels: str) -> Histogram:
        """Return the histogram of that name (which ends in its unit) and labels, made on first use."""
        members = self._family(name, "histogram", meaning)
        found = members.setdefault(_labels(labels), Histogram())
        assert isinstance(found, Histogram)
        return found

    def gauge(self, name: str, meaning: str, read: Gauge, /, **labels: str) -> None:
        """Let `read` be asked for the value whenever the figures are read."""
        self._family(name, "gauge", meaning)[_labels(labels)] = read

    def _family(self, name: str, kind: str, meaning: str) -> dict[str, Figure]:
        return self._families.setdefault(name, _Family(kind, meaning, {})).members

    def text(self) -> str:
        """Return all figures in the Prometheus text format 0.0.4."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for name, family in list(self._families.items()):
            yield f"# HELP {name} {family.meaning}"
            yield f"# TYPE {name} {family.kind}"
            for labels, figure in list(family.members.items()):
                yield from _figure_lines(name, labels, figure)


def _figure_lines(name: str, labels: str, figure: Figure) -> Iterator[str]:
    if isinstance(figure, Histogram):
        yield from _histogram_lines(name, labels, figure)
    else:
        value = figure.value if isinstance(figure, Counter) else figure()
        yield f"{name}{_braced(labels)} {value:g}" if isinstance(value, float) else f"{name}{_braced(labels)} {value}"


def _histogram_lines(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    before = f"{labels}," if labels else ""
    for bound, below in histogram.octaves():
        yield f'{name}_bucket{{{before}le="{bound - 1}"}} {below}'
    yield f'{name}_bucket{{{before}le="+Inf"}} {histogram.count}'
    yield f"{name}_sum{_braced(labels)} {histogram.total}"
    yield f"{name}_count{_braced(labels)} {histogram.count}"


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
