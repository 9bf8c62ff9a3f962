"""needle.profile: every op with its bytes, eager and compiled; the table; the trace."""

import json
from pathlib import Path

import needle as ndl


def test_ops_calls_and_bytes() -> None:
    x = ndl.ones(8, 4)
    with ndl.profile() as p:
        y = (x * 2 + x).sum(0)
        y = (x @ x.T).exp()
    ops = [(e.op, e.nbytes) for e in p.events]
    assert ops == [
        ("mul", 2 * 128), ("add", 3 * 128), ("sum", 128 + 16), ("matmul", 2 * 128 + 256), ("exp", 2 * 256),
    ]  # fmt: skip
    assert y.shape == (8, 8)
    assert all(e.seconds >= e.own >= 0 and e.depth == 0 for e in p.events)
    assert p.seconds >= sum(e.seconds for e in p.events)
    before = len(p.events)
    x + 1
    assert len(p.events) == before  # it has ended


def test_broadcast_operands_and_updates_count_once_each() -> None:
    with ndl.profile() as p:
        ndl.ones(8, 4) + ndl.ones(4)
    assert p.events[-1].nbytes == 2 * 128 + 16


def test_lines_are_by_op() -> None:
    x = ndl.ones(100)
    with ndl.profile() as p:
        for _ in range(3):
            x = x + 1
        x.exp()
    lines = {line.op: line for line in p.lines()}
    assert lines["add"].calls == 3
    assert lines["add"].nbytes == 3 * 800
    assert lines["exp"].calls == 1
    text = str(p).splitlines()
    assert text[0].split() == ["op", "device", "calls", "ms", "share", "us", "a", "call", "MiB", "GB/s"]
    assert text[-1].startswith("4 ops in ")
    seconds = [line.seconds for line in p.lines()]
    assert seconds == sorted(seconds, reverse=True)


def test_compiled_functions_are_seen_by_their_fused_ops() -> None:
    f = ndl.compile(lambda x: (x * 2 + 1).exp())
    x = ndl.ones(64)
    f(x)
    with ndl.profile() as p:
        f(x)
    assert [e.op for e in p.events] == ["elementwise"]
    assert p.events[0].nbytes == 2 * 256


def test_trace(tmp_path: Path) -> None:
    with ndl.profile() as p:
        ndl.ones(3, 3) @ ndl.ones(3, 3, device="numpy").to(ndl.default_device())
    p.save(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [e for e in trace if e["ph"] == "X"]
    assert [e["name"] for e in spans] == [e.op for e in p.events]
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in spans)
    assert {e["args"]["name"] for e in trace if e["ph"] == "M"} == {str(e.device) for e in p.events}


def test_nothing() -> None:
    with ndl.profile() as p:
        pass
    assert str(p).endswith("ms between them")
