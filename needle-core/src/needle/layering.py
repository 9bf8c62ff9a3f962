"""Where the boxes of a drawing go: in layers, with arrows down, few crossings, and lines as straight as can be.

The steps are Sugiyama's (Sugiyama, Tagawa and Toda, 1981): a layer for each box; a chain of bends for each arrow that
passes layers; an order within each layer by the middle of the neighbours; then places, by least squares.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TypeAlias

Size: TypeAlias = tuple[float, float]  # width and height
Point: TypeAlias = tuple[float, float]
Arrow: TypeAlias = tuple[int, int]  # from box, to box

GAP, LAYER_GAP = 22.0, 34.0  # between boxes side by side, and between layers
_BEND = 8.0  # the width that an arrow takes where it passes a layer
_SWEEPS = 12
_STRAIGHT = 6.0  # how much a long arrow counts, that it be straight
_ASIDE = 0.002  # how much a box counts that is not on a longest way, such as a parameter: it can come to the others


@dataclass(frozen=True)
class Arrangement:
    """The centre of each box, the points that each arrow goes through, and the size of it all."""

    centres: list[Point]
    routes: list[list[Point]]
    size: Size


def arrange(sizes: Sequence[Size], arrows: Sequence[Arrow]) -> Arrangement:
    """Places for boxes of these sizes; the arrows form no circle."""
    ranks, aside = _ranks(len(sizes), arrows)
    weights = [_ASIDE if away else 1.0 for away in aside]
    widths, heights = [width for width, _ in sizes], [height for _, height in sizes]
    chains: list[list[int]] = []  # of each arrow: its box, its bends, its other box
    for start, end in arrows:
        chain = [start, *range(len(widths), len(widths) + ranks[end] - ranks[start] - 1), end]
        widths += [_BEND] * (len(chain) - 2)
        weights += [_STRAIGHT] * (len(chain) - 2)
        ranks += range(ranks[start] + 1, ranks[end])
        chains.append(chain)
    graph = _Layered(widths, weights, ranks, [pair for chain in chains for pair in pairwise(chain)])
    graph.order()
    xs = graph.places()
    tops, bottoms = _bands(ranks, heights)
    centres = [(xs[i], (tops[ranks[i]] + bottoms[ranks[i]]) / 2) for i in range(len(sizes))]
    routes = [_route(chain, xs, ranks, heights, tops, bottoms) for chain in chains]
    right = max((xs[i] + widths[i] / 2 for i in range(len(xs))), default=0.0)
    return Arrangement(centres, routes, (right, bottoms[-1] if bottoms else 0.0))


def _ranks(n: int, arrows: Sequence[Arrow]) -> tuple[list[int], list[bool]]:
    """A layer above all that a box points to and below all that point to it; and whether the box has no such place
    of its own, because it is on no longest way to a result or begins one."""
    before: list[list[int]] = [[] for _ in range(n)]
    after: list[list[int]] = [[] for _ in range(n)]
    for start, end in arrows:
        before[end].append(start)
        after[start].append(end)
    waiting = [len(entries) for entries in before]
    order = [i for i in range(n) if not waiting[i]]
    for i in order:  # grows as it is walked
        for end in after[i]:
            waiting[end] -= 1
            if not waiting[end]:
                order.append(end)
    highest, ranks = [0] * n, [0] * n
    for i in order:
        highest[i] = max((highest[start] + 1 for start in before[i]), default=0)
    for i in reversed(order):
        ranks[i] = min((ranks[end] - 1 for end in after[i]), default=highest[i])
    return ranks, [not before[i] or ranks[i] > highest[i] for i in range(n)]


class _Layered:
    """Boxes and bends in layers, and the short arrows between neighbouring layers."""

    def __init__(self, widths: list[float], weights: list[float], ranks: list[int], pairs: list[Arrow]) -> None:
        self.widths, self.weights = widths, weights
        self.above: list[list[int]] = [[] for _ in widths]
        self.below: list[list[int]] = [[] for _ in widths]
        self.layers: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
        for start, end in pairs:
            self.above[end].append(start)
            self.below[start].append(end)
        for i in self._walk():
            self.layers[ranks[i]].append(i)

    def _walk(self) -> list[int]:
        """All, each near those it is connected with: depth first, up from the results."""
        seen, order = set[int](), list[int]()
        for result in [i for i in range(len(self.widths)) if not self.below[i]]:
            stack = [result]
            while stack:
                i = stack.pop()
                if i not in seen:
                    seen.add(i)
                    order.append(i)
                    stack += reversed(self.above[i])
        return order

    def order(self) -> None:
        """Sort each layer by the middle of its neighbours, down and up in turn; the best of all sweeps is kept."""
        best, fewest = [list(layer) for layer in self.layers], self._crossings()
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            for layer in self.layers if down else reversed(self.layers):
                place = self._index()
                neighbours = self.above if down else self.below
                middle = {i: median(place[j] for j in neighbours[i]) if neighbours[i] else place[i] for i in layer}
                layer.sort(key=middle.__getitem__)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
        self.layers = best

    def _index(self) -> list[int]:
        place = [0] * len(self.widths)
        for layer in self.layers:
            for k, i in enumerate(layer):
                place[i] = k
        return place

    def _crossings(self) -> int:
        place, total = self._index(), 0
        for layer in self.layers:
            ends = [place[end] for i in layer for end in sorted(self.below[i], key=place.__getitem__)]
            total += sum(a > b for k, b in enumerate(ends) for a in ends[:k])
        return total

    def places(self) -> list[float]:
        """The middle of each box and bend from left to right: near the mean of its neighbours, none overlapping."""
        xs = [0.0] * len(self.widths)
        for layer in self.layers:
            self._settle(layer, xs, lambda i: 0.0)
        for sweep in range(2 * _SWEEPS):
            neighbours = self.above if sweep % 2 == 0 else self.below
            for layer in self.layers if sweep % 2 == 0 else reversed(self.layers):
                self._settle(layer, xs, self._wish(xs, neighbours if sweep < 2 * _SWEEPS - 2 else None))
        left = min((xs[i] - width / 2 for i, width in enumerate(self.widths)), default=0.0)
        return [x - left for x in xs]

    def _wish(self, xs: list[float], neighbours: list[list[int]] | None) -> Callable[[int], float]:
        """Where a box would like to be: in the middle of its neighbours on one side, or on both."""

        def wish(i: int) -> float:
            near = self.above[i] + self.below[i] if neighbours is None else neighbours[i]
            weight = sum(self.weights[j] for j in near)
            return sum(self.weights[j] * xs[j] for j in near) / weight if near else xs[i]

        return wish

    def _settle(self, layer: list[int], xs: list[float], wish: Callable[[int], float]) -> None:
        """Give a layer the places nearest to its wishes in which nothing overlaps.

        Less its distance from the layer's left, each place must be no smaller than the one before. Least squares under
        that rule: neighbours that would break it are pooled at their mean.
        """
        offset, pools = 0.0, list[list[float]]()  # sum of weights * wishes, weight, members
        offsets = []
        for k, i in enumerate(layer):
            if k:
                offset += (self.widths[layer[k - 1]] + self.widths[i]) / 2 + GAP
            offsets.append(offset)
            weight = self.weights[i]
            pools.append([weight * (wish(i) - offset), weight, 1])
            while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
                last = pools.pop()
                pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
        settled = [total / weight for total, weight, members in pools for _ in range(int(members))]
        for i, x, distance in zip(layer, settled, offsets, strict=True):
            xs[i] = x + distance


def _bands(ranks: list[int], heights: list[float]) -> tuple[list[float], list[float]]:
    """The top and the bottom of each layer."""
    tops, bottoms, y = [], [], 0.0
    for rank in range(max(ranks, default=-1) + 1):
        tops.append(y)
        bottoms.append(y + max((h for r, h in zip(ranks, heights, strict=False) if r == rank), default=0.0))
        y = bottoms[-1] + LAYER_GAP
    return tops, bottoms


def _route(
    chain: list[int], xs: list[float], ranks: list[int], heights: list[float], tops: list[float], bottoms: list[float]
) -> list[Point]:
    """From the bottom of a box, straight through each layer passed, to the top of another."""
    start, *bends, end = chain
    y_start, y_end = ((tops[ranks[i]] + bottoms[ranks[i]]) / 2 for i in (start, end))
    route = [(xs[start], y_start + heights[start] / 2)]
    for i in bends:
        route += [(xs[i], tops[ranks[i]]), (xs[i], bottoms[ranks[i]])]
    return [*route, (xs[end], y_end - heights[end] / 2)]
