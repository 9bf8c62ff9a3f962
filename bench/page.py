"""Writes the figures of results into a page on performance: python -m bench.page docs/performance-cpu.md JSON...

Of a run on the CPU a row for each family of works, of one on a GPU a row for each work.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from bench.report import duration

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def figures(result: dict[str, Any]) -> str:
    """One run as a paragraph and its tables."""
    return on_cpu(result) if result["device"] == "cpu" else on_gpu(result)


def on_cpu(result: dict[str, Any]) -> str:
    threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
    lines = [
        f"### {threads.capitalize()}",
        "",
        f"{result['machine']['cpu']}, {result['backend']}; {circumstances(result)}",
        "",
        "| family | works | ratio, geometric mean | largest ratio | share of the ceiling, median | lowest share |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(row(result, group) for group in result["means"]), memory(result)])


def on_gpu(result: dict[str, Any]) -> str:
    lines = [f"{result['backend']}; host {result['machine']['cpu']}, {result['threads']} threads; "
             f"{circumstances(result)}"]  # fmt: skip
    for group, mean in result["means"].items():
        lines += [
            "",
            f"### {group[0].upper()}{group[1:]}",
            "",
            "| work | Needle | PyTorch | ratio | share of the ceiling |",
        ]
        lines += ["|---|---|---|---|---|", *(single(r) for r in result["results"] if r["group"] == group)]
        lines += [f"| geometric mean | | | {mean:.2f} | |"]
    return "\n".join([*lines, memory(result)])


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
    tables = "\n\n".join(figures(json.loads(path.read_text())) for path in results)
    page.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
