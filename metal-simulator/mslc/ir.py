"""What only LLVM's intermediate code shows."""

import re


def ir_lint(ll, path):
    """What only the IR shows: casts between address spaces, recursion, calls through pointers, static locals."""
    loc = dict(re.findall(r"^(!\d+) = !DILocation\(line: (\d+)", ll, re.M))
    out, calls = [], {}
    for m in re.finditer(r"^define[^@]*@([\w.$]+|\"[^\"]*\")\(.*?^}", ll, re.M | re.S):
        name, body = m.groups()[0], m.group()
        for ln in body.splitlines():
            d = re.search(r"!dbg (!\d+)", ln)
            at = f"{path}:{loc.get(d.group(1), '?') if d else '?'}: error: "
            if " addrspacecast " in ln or "addrspacecast (" in ln:
                out.append(at + "cast between address spaces")
            if re.search(r"\bcall\b[^@]*?%\w+\(", ln):
                out.append(at + "call through a function pointer")
            c = re.search(r"\bcall\b.*?@([\w.$]+|\"[^\"]*\")\(", ln)
            if c:
                calls.setdefault(name, set()).add((c.group(1), at))
    for f in calls:
        seen, todo = set(), [(c, at) for c, at in calls[f]]
        while todo:
            c, at = todo.pop()
            if c == f:
                out.append(at + "recursive function calls are not supported in Metal")
                break
            if c not in seen:
                seen.add(c)
                todo += [(x, at) for x, _ in calls.get(c, ())]
    variables = re.findall(r"^@(\S+) = internal (?:addrspace\((\d)\) )?global", ll, re.M)
    statics = [name for name, space in variables if space != "3" and "__msl" not in name]
    return out + [f"{path}: error: static variable {name} in a function" for name in statics]
