"""A translation unit: the bodies of functions, and the source as it is given to clang."""

import re

from mslc.declarations import Declarations
from mslc.tokens import SPACES, TYPES, VECTORS


class Unit(Declarations):
    """One source: scanned, then emitted for the strict pass or for execution."""

    def scan(self):
        self.declarations()
        self.bodies(0, len(self.t))

    def bodies(self, i, n):
        t = self.t
        bad = {
            "double": "'double' is not supported in Metal",
            "goto": "goto is not supported in Metal",
            "new": "'new' is not supported in Metal",
            "delete": "'delete' is not supported in Metal",
            "throw": "exceptions are not supported in Metal",
            "try": "exceptions are not supported in Metal",
            "dynamic_cast": "dynamic_cast is not supported",
            "typeid": "typeid is not supported",
            "thread_local": "thread_local is not supported",
            "asm": "asm is not supported",
            "virtual": "virtual functions are not supported",
        }
        while i < n:
            x = t[i]
            prev = t[i - 1].s if i else ";"
            if x.k == "id":
                if x.s in bad and not (x.s == "delete" and prev == "="):
                    self.err(x, bad[x.s])
                nxt = t[i + 1].s if i + 1 < n else ""
                if (
                    x.s in VECTORS
                    and prev == "("
                    and nxt == ")"
                    and i > 1
                    and not (t[i - 2].k == "id" and t[i - 2].s not in ("return",))
                    and t[i + 2].s not in (")", ";", ",", "{", "}", "]")
                ):
                    # a C cast: MSL converts the components, clang would reinterpret; ->* binds as tightly as a cast
                    self.subst[id(t[i - 1])] = "__msl::cvt<"
                    self.subst[id(t[i + 1])] = ">() ->* "
                elif x.s in VECTORS and nxt == "(" and prev != "operator":
                    self.subst[id(x)] = f"__msl::mk<{x.s}>"
                elif x.s == "vec" and nxt == "<" and prev != "operator":
                    e = self.angle(i + 1)
                    if e and t[e + 1].s == "(":
                        self.before[id(x)] = "__msl::mk<"
                        self.subst[id(t[e])] = "> >"
                elif x.s == "threadgroup" and prev in "{};" and self.in_function(i):
                    i = self.tg_decl(i)
                    continue
                elif x.s == "is_function_constant_defined" and nxt == "(":
                    self.exec_only[id(x)] = "__msl_defined_" + t[i + 2].s + " && sizeof"
            elif x.k == "num":
                s = x.s
                if re.fullmatch(r"[\d.']+(?:[eE][+-]?\d+)?[hH]", s):
                    self.subst[id(x)] = f"((half){s[:-1]}f)" if "." in s or "e" in s.lower() else f"((half){s[:-1]}.0f)"
                elif re.fullmatch(r"(?:\d[\d']*\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?", s):
                    self.subst[id(x)] = s + "f"  # MSL: a literal without suffix is float
                elif re.search(r"[.eE].*[lL]$", s) and not s.startswith("0x"):
                    self.err(x, "long double is not supported in Metal")
            if x.s == "[" and prev in ("=", "(", ",", "return", "{", ";", "?", ":") and not self.is_attr(i):
                self.err(x, "lambda expressions are not supported in Metal")
            if (
                x.s in ("*", "&")
                and prev in TYPES
                and i + 2 < n
                and t[i + 1].k == "id"
                and t[i + 2].s in ("=", ";", "[", ",")
            ):
                k = i - 1
                while k >= 0 and t[k].s not in ("{", "}", ";", "(", ","):
                    k -= 1
                if not any(y.s in SPACES for y in t[k : i + 2]) and self.in_function(i):
                    self.err(
                        x,
                        ("pointer" if x.s == "*" else "reference") + " type must have explicit address space qualifier",
                    )
            i += 1

    def in_function(self, i):
        d = 0  # is the nearest open brace not a struct's or a namespace's?
        for j in range(i - 1, -1, -1):
            s = self.t[j].s
            if s == "}":
                d += 1
            elif s == "{":
                if d == 0:
                    k = j - 1
                    while k >= 0 and self.t[k].s not in (";", "}", "{", ")"):
                        k -= 1
                    return (
                        self.t[k].s == ")" or self.t[j - 1].s in ("else", "do") or (self.t[k].s in "{};" and k == j - 1)
                    )
                d -= 1
        return False

    def tg_decl(self, i):
        t, e = self.t, i
        while t[e].s != ";":
            e += 1
        j, d = i + 1, 0
        while not (d == 0 and t[j].s in ("[", ",", ";", "=")):
            d += (t[j].s in "<(") - (t[j].s in ">)")
            j += 1
        if any(x.s in ("*", "&") for x in t[i + 1 : j]):
            return i + 1  # a pointer into threadgroup memory
        if any(x.s == "=" for x in t[i:e]):
            self.err(t[i], "threadgroup variables can't be initialized")
        ty = " ".join(x.s for x in t[i + 1 : j - 1])
        decls, cur, d = [], [t[j - 1].s], 0
        for x in t[j:e]:
            d += (x.s in "[(<") - (x.s in "])>")
            if x.s == "," and d == 0:
                decls.append(cur)
                cur = []
            else:
                cur.append(self.subst.get(id(x), x.s))
        decls.append(cur)
        out = ""
        for c in decls:
            self.tgn += 1
            holder = f"__tg{self.tgn}"
            out += f"struct {holder} {{ {ty} {' '.join(c)}; }}; auto& {c[0]} = __msl::tg_var<{holder}>().{c[0]}; "
        self.exec_only[id(t[i])] = out
        self.strict_only[id(t[i])] = "static threadgroup"
        self.tgcut = getattr(self, "tgcut", set()) | {id(x) for x in t[i + 1 : e + 1]}
        return e + 1

    def emit(self, strict):
        idx = {id(x): n for n, x in enumerate(self.t)}
        cutx = set() if strict else getattr(self, "tgcut", set())
        only = self.strict_only if strict else self.exec_only
        out = []
        for x in self.all:
            if x.k in ("ws", "line"):
                out.append(x.s)
                continue
            if idx[id(x)] in self.drop or id(x) in cutx:
                continue
            out.append(self.before.get(id(x), "") + only.get(id(x), self.subst.get(id(x), x.s)))
        return "".join(out)
