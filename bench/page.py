"""Writes the figures of results into a page on performance: python -m bench.page docs/performance-cpu.md JSON...

A run has a row for each family of works; the first of those on GPUs has a row for each work.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from bench.report import duration

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def figures(result: dict[str, Any], each: bool) -> str:
    """One run as a paragraph and its tables: of each work, or of families."""
    threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
    on_cpu = result["device"] == "cpu"
    title = threads.capitalize() if on_cpu else result["backend"].split(",")[0]
    machine = f"{result['machine']['cpu']}, " if on_cpu else f"Host {result['machine']['cpu']}, {threads}, "
    head = [f"### {title}", "", f"{machine}{result['backend']}; {circumstances(result)}", ""]
    return "\n".join([*head, *(works(result) if each and not on_cpu else families(result)), memory(result)])


def families(result: dict[str, Any]) -> list[str]:
    return [
        "| family | works | ratio, geometric mean | largest ratio | share of the ceiling, median | lowest share |",
        "|---|---|---|---|---|---|",
        *(row(result, group) for group in result["means"]),
    ]


def works(result: dict[str, Any]) -> list[str]:
    lines = ["| work | Needle | PyTorch | ratio | share of the ceiling |", "|---|---|---|---|---|"]
    for group, mean in result["means"].items():
        lines += [f"| **{group}** | | | **{mean:.2f}** | |"]
        lines += [single(r) for r in result["results"] if r["group"] == group]
    return lines


def circumstances(result: dict[str, Any]) -> str:
    limits, unit = result["ceilings"], 1e9
    read = f"{limits['read'] / unit:.1f} GB/s read and not written, " if limits.get("read") else ""
    return (
        f"PyTorch {result['versions']['torch']}; {result['date'][:10]}. "
        f"Ceilings: {limits['bandwidth'] / unit:.1f} GB/s ({limits['how'].split(';')[0]}), {read}"
        f"{limits['flops'] / unit:.0f} GFLOP/s."
    )


def single(r: dict[str, Any]) -> str:
    """A row for one work."""
    ours, theirs = r["laps"][:2]
    share = "–" if ours["share"] is None else f"{ours['share']:.0%}"
    return (
        f"| {r['name']} | {duration(ours['median'])} | {duration(theirs['median'])} | {r['ratios'][0]:.2f} | {share} |"
    )


def row(result: dict[str, Any], group: str) -> str:
    works = [r for r in result["results"] if r["group"] == group]
    slowest = max(works, key=lambda r: r["ratios"][0])
    shares = sorted((r["laps"][0]["share"], r["name"]) for r in works if r["laps"][0]["share"] is not None)
    share = f"{statistics.median(s for s, _ in shares):.0%}" if shares else "–"
    lowest = f"{shares[0][0]:.0%} ({shares[0][1]})" if shares else "–"
    ratio = f"{slowest['ratios'][0]:.2f} ({slowest['name']})"
    return f"| {group} | {len(works)} | {result['means'][group]:.2f} | {ratio} | {share} | {lowest} |"


def memory(result: dict[str, Any]) -> str:
    """A sentence on peak memory, with a line before it."""
    if not result["peak memory"]:
        return ""
    parts = [f"{p['work']} {p['needle'] / 2**20:.0f} and {p['torch'] / 2**20:.0f} MiB" for p in result["peak memory"]]
    return "\nPeak memory of a training step, Needle and PyTorch: " + "; ".join(parts) + "."


def main(page: Path, results: list[Path]) -> None:
    text = page.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    tables = "\n\n".join(figures(json.loads(path.read_text()), i == 0) for i, path in enumerate(results))
    page.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
