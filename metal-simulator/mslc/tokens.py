"""Tokens of a preprocessed source, and moving about in them: brackets, template arguments, attributes."""

import re

BUILTINS = [
    "thread_position_in_grid",
    "thread_position_in_threadgroup",
    "threadgroup_position_in_grid",
    "threads_per_threadgroup",
    "threads_per_grid",
    "threadgroups_per_grid",
    "thread_index_in_threadgroup",
    "thread_index_in_simdgroup",
    "simdgroup_index_in_threadgroup",
    "threads_per_simdgroup",
    "simdgroups_per_threadgroup",
    "dispatch_threads_per_threadgroup",
]
BI = {n: i for i, n in enumerate(BUILTINS)}
BI["thread_execution_width"] = BI["threads_per_simdgroup"]
SCALARS = ["char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "half", "float", "bfloat", "bool"]
VECTORS = {f"{s}{n}" for s in SCALARS for n in (2, 3, 4)}
SPACES = {"device", "constant", "threadgroup", "thread"}
TYPES = set(SCALARS) | VECTORS
TOKEN = re.compile(
    r"""(?P<line>^[ \t]*\#[^\n]*)|(?P<ws>\s+)|(?P<str>"(?:\\.|[^"\\\n])*")|(?P<chr>'(?:\\.|[^'\\\n])*')
 |(?P<num>(?:0[xX][0-9a-fA-F']+[uUlL]*|(?:\d[\d']*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:bf|BF|[fFhHuUlL]*)))
 |(?P<id>[A-Za-z_]\w*)|(?P<op>::|->|<<=|>>=|<=|>=|==|!=|&&|\|\||\+\+|--|[-+*/%&|^]=|.)""",
    re.X | re.M | re.S,
)


class MslError(Exception):
    """What Metal's compiler would say; several lines."""


class Tok:
    __slots__ = ("file", "k", "line", "s")

    def __init__(self, k, s, line, file):
        self.k, self.s, self.line, self.file = k, s, line, file


def lex(text, path):
    out, line, file = [], 1, path
    for m in TOKEN.finditer(text):
        k, s = m.lastgroup, m.group()
        if k == "line":
            mm = re.match(r'\s*#\s*(?:line\s+)?(\d+)\s+"([^"]*)"', s)
            if mm:
                line, file = int(mm.group(1)) - 1, mm.group(2)
        out.append(Tok(k, s, line, file))
        line += s.count("\n")
    return out


class Cursor:
    """The tokens of one translation unit, and what is to be changed when they are written out again."""

    def __init__(self, path, text):
        self.path, self.all = path, lex(text, path)
        self.t = [x for x in self.all if x.k not in ("ws", "line")]
        self.errors, self.kernels, self.insts, self.fconsts, self.uses = [], {}, [], [], {}
        self.drop, self.before, self.subst, self.exec_only, self.strict_only = set(), {}, {}, {}, {}
        self.tgn = 0

    def err(self, tok, msg):
        self.errors.append(f"{tok.file}:{tok.line}: error: {msg}")

    def match(self, i):  # index of the bracket that closes t[i]
        o = self.t[i].s
        c = {"(": ")", "[": "]", "{": "}"}[o]
        d = 0
        for j in range(i, len(self.t)):
            if self.t[j].s == o:
                d += 1
            elif self.t[j].s == c:
                d -= 1
                if d == 0:
                    return j
        self.err(self.t[i], f"unbalanced {o}")
        raise MslError

    def angle(self, i):  # t[i] is '<': index of its '>'
        d, j = 0, i
        while j < len(self.t):
            s = self.t[j].s
            if s in "([{" and len(s) == 1:
                j = self.match(j)
            elif s == "<":
                d += 1
            elif s == ">":
                d -= 1
            elif s == ";":
                return None
            if d == 0 and s == ">":
                return j
            j += 1
        return None

    def attrs(self, i):  # t[i], t[i+1] are '[[': (names with arguments, index past)
        j = self.match(i)
        a, k = {}, i + 2
        while k < j - 1:
            n = self.t[k].s
            if k + 1 < j and self.t[k + 1].s == "(":
                e = self.match(k + 1)
                a[n] = "".join(x.s for x in self.t[k + 2 : e])
                k = e + 1
            else:
                a[n] = ""
                k += 1
            if self.t[k].s == ",":
                k += 1
        return a, j + 1

    def is_attr(self, i):
        return self.t[i].s == "[" and i + 1 < len(self.t) and self.t[i + 1].s == "["

    def cut(self, i, j):
        self.drop.update(range(i, j))
