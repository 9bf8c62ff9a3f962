"""Declarations at namespace scope: kernels with their arguments, instantiations, function constants."""

import os

from mslc.tokens import BI, SPACES, TYPES, Cursor, Tok


class Declarations(Cursor):
    """Finds what a source declares, and what of it Metal would not accept."""

    def declarations(self):
        i = 0
        while i < len(self.t):
            i = self.decl(i)

    def decl(self, i):
        t = self.t
        if t[i].s == "namespace" or t[i].s == "extern":
            while t[i].s not in "{;=":
                i += 1
            return i + 1
        if t[i].s in "};":
            return i + 1
        if t[i].s in ("using", "typedef", "static_assert", "struct", "class", "enum", "union"):
            return self.skip(i)
        tmpl = False
        if t[i].s == "template":
            if t[i + 1].s != "<":
                return self.instantiate(i)
            e = self.angle(i + 1)
            tmpl = True
            i = e + 1
            if t[i].s in ("struct", "class", "using", "enum", "union"):
                return self.skip(i)
        start, at, kern = i, {}, False
        while t[i].s not in (";", "{", "="):
            if self.is_attr(i):
                a, e = self.attrs(i)
                at.update(a)
                self.cut(i, e)
                if "kernel" in a:
                    kern = True
                i = e
                continue
            if t[i].s == "kernel":
                kern = True
            if t[i].s == "<":
                e = self.angle(i)
                if e:
                    i = e
            if t[i].s == "(":  # a function
                e = self.match(i)
                if kern:
                    self.kernel(t[i - 1], i, e, tmpl, at)
                else:
                    self.params_have_spaces(i, e)
                i = e
            i += 1
        head = [t[n] for n in range(start, i) if n not in self.drop]
        if "function_constant" in at:
            if not any(x.s == "constant" for x in head):
                self.err(head[0], "a function constant must be declared 'constant'")
            names = [x for x in head if x.k == "id"]
            self.fconsts.append((names[-1].s, int(eval(at["function_constant"], {"__builtins__": {}}))))
            self.exec_only[id(head[0])] = "static"
            self.strict_only[id(head[0])] = "extern constant"
        elif (
            not any(x.s == "(" for x in head)
            and t[i].s in "=;"
            and head
            and head[0].s != "constant"
            and not any(x.s in ("constexpr", "friend", "static") for x in head)
        ):
            self.err(head[0], "program scope variable must reside in constant address space")
        if t[i].s == "=":
            while t[i].s != ";":
                if t[i].s in "({[":
                    i = self.match(i)
                i += 1
        return self.match(i) + 1 if t[i].s == "{" else i + 1

    def skip(self, i):
        t = self.t
        while t[i].s != ";":
            if t[i].s == "{":
                self.struct_body(i)
                i = self.match(i)
            i += 1
        return i + 1

    def struct_body(self, i):
        e = self.match(i)
        for j in range(i, e):
            if self.t[j].s == "virtual":
                self.err(self.t[j], "virtual functions are not supported in Metal")

    def ptr_without_space(self, toks):
        depth = 0
        for n, x in enumerate(toks):
            if x.s == "<":
                depth += 1
            elif x.s == ">":
                depth -= 1
            elif x.s in ("*", "&", "&&") and depth == 0:
                return not any(y.s in SPACES for y in toks[: n + 1] + toks[n + 1 : n + 2])
        return False

    def params(self, i, e):
        out, cur, d, j = [], [], 0, i + 1
        while j < e:
            s = self.t[j].s
            if self.is_attr(j):
                a, n = self.attrs(j)
                cur.append(a)
                self.cut(j, n)
                j = n
                continue
            if s in "<([":
                d += 1
            elif s in ">)]":
                d -= 1
            if s == "," and d == 0:
                out.append(cur)
                cur = []
            else:
                cur.append(self.t[j])
            j += 1
        if cur:
            out.append(cur)
        return out

    def params_have_spaces(self, i, e):
        for p in self.params(i, e):
            toks = [x for x in p if isinstance(x, Tok)]
            if self.ptr_without_space(toks):
                what = "reference" if any(x.s == "&" for x in toks) else "pointer"
                self.err(toks[0], f"{what} type must have explicit address space qualifier")

    def kernel(self, name, i, e, tmpl, at):
        args, used = [], {}
        for p in self.params(i, e):
            toks = [x for x in p if isinstance(x, Tok)]
            a = {k: v for x in p if isinstance(x, dict) for k, v in x.items()}
            if not toks or [x.s for x in toks] == ["void"]:
                continue
            ptr, ref = any(x.s == "*" for x in toks), any(x.s == "&" for x in toks)
            space = next((x.s for x in toks if x.s in SPACES), None)
            const = space == "constant" or (ptr and any(x.s == "const" for x in toks))
            nm = toks[-1].s
            if ptr or ref:
                if space is None:
                    self.err(toks[0], f"kernel argument '{nm}' must have an address space qualifier")
                if space == "thread":
                    self.err(toks[0], f"kernel argument '{nm}' can't be in the thread address space")
                kind = "threadgroup" if space == "threadgroup" else "buffer"
                if kind not in a:
                    if not os.environ.get("METALSIM_IMPLICIT"):
                        self.err(
                            toks[0],
                            f"kernel argument '{nm}' needs [[{kind}(n)]] (the project's rule: no implicit indices)",
                        )
                        continue
                    a[kind] = next(i for i in range(99) if (kind, i) not in used)
                try:
                    n = int(a[kind])
                except ValueError:
                    self.err(toks[0], f"index of '{nm}' is not a literal")
                    continue
                if n > 30:
                    self.err(toks[0], f"'{kind}' attribute parameter is out of bounds: must be between 0 and 30")
                if (kind, n) in used:
                    self.err(toks[0], f"{kind} index {n} used twice")
                used[kind, n] = 1
                args.append((0 if kind == "buffer" else 1, n, (1 if ref else 0) | (2 if const else 0), nm))
            else:
                b = next((x for x in a if x in BI), None)
                if b is None:
                    self.err(toks[0], f"invalid type or missing attribute for kernel argument '{nm}'")
                    continue
                ty = next((x.s for x in toks if x.s in TYPES), "?")
                ok3 = ("uint", "ushort", "uint2", "ushort2", "uint3", "ushort3")
                ok1 = ("uint", "ushort")
                if ty not in (ok1 if BI[b] in (6, 7, 8, 9, 10) else ok3):
                    self.err(toks[0], f"type '{ty}' is not valid for attribute '{b}'")
                args.append((2, BI[b], 0, nm))
        self.kernels[name.s] = args
        b = e + 1
        while self.t[b].s not in "{;":
            b += 1
        self.uses[name.s] = {x.s for x in self.t[b : self.match(b)]} if self.t[b].s == "{" else set()
        if not tmpl:
            self.insts.append((at.get("host_name", f'"{name.s}"'), name.s, name.s))

    def instantiate(self, i):
        t = self.t
        j, at = i + 1, {}
        while self.is_attr(j):
            a, n = self.attrs(j)
            at.update(a)
            self.cut(j, n)
            j = n
        if t[j].s == "kernel":
            j += 1
        if t[j].s == "decltype":
            j = self.match(j + 1) + 1
        while not (t[j].k == "id" and t[j + 1].s == "<"):
            j += 1
        e = self.angle(j + 1)
        ident = "".join(x.s if x.k != "id" else " " + x.s for x in t[j : e + 1]).strip()
        if "host_name" in at:
            self.insts.append((at["host_name"], t[j].s, ident))
        while t[j].s != ";":
            if t[j].s == "(":
                self.params(j, self.match(j))
            j += 1
        # the wrapper instantiates it; an explicit instantiation would only need more checks
        self.cut(i, j + 1)
        return j + 1
