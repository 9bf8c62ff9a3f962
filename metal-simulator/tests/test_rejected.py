"""What a C++ compiler would let pass and Apple's would not."""

import re

import pytest
from sources import HEAD, kernel

REJECTED = {
    "double": kernel("double x = 1.0; a[gid] = float(x);"),
    "pointer without space (param)": kernel("f(a);", "void f(float* p) { *p = 1; }"),
    "pointer without space (local)": kernel("float x = 1; float* p = &x; a[gid] = *p;"),
    "device pointer to a thread parameter": kernel("f(a);", "void f(thread float* p) { *p = 1; }"),
    "device ptr = threadgroup array": kernel("threadgroup float t[4]; device float* p = t; p[0] = 1;"),
    "write to constant": kernel("n = 3;"),
    "mutable program-scope variable": kernel("a[gid] = g;", "float g = 1;"),
    "kernel reference arg without space": HEAD + "kernel void k(uint& n [[buffer(0)]]) {}",
    "kernel arg without attribute": HEAD + "kernel void k(device float* a [[buffer(0)]], uint gid) { a[gid] = 1; }",
    "buffer index 31": HEAD + "kernel void k(device float* a [[buffer(31)]]) { a[0] = 1; }",
    "same buffer index twice": HEAD
    + "kernel void k(device float* a [[buffer(0)]], device float* b [[buffer(0)]]) { a[0] = b[0]; }",
    "wrong type for built-in": HEAD
    + "kernel void k(device float* a [[buffer(0)]], int gid [[thread_position_in_grid]]) { a[gid] = 1; }",
    "threadgroup initializer": kernel("threadgroup float t[2] = {0, 0}; a[gid] = t[0];"),
    "exceptions": kernel("if (n > 3) throw 1;"),
    "new": kernel("thread float* p = new float[3]; a[gid] = p[0];"),
    "host header": "#include <cmath>\n" + kernel("a[gid] = 1;"),
    "std::": kernel("a[gid] = std::exp(a[gid]);"),
    "ambiguous max(float, int)": kernel("a[gid] = max(a[gid], 0);"),
    "ambiguous max(half, float)": kernel("half h = half(a[gid]); a[gid] = max(h, 0.0f);"),
    "memory_order_seq_cst": HEAD
    + "kernel void k(device atomic_uint* a [[buffer(0)]]) { atomic_fetch_add_explicit(a, 1u, memory_order_seq_cst); }",
    "vector component count": kernel("float4 v = float4(1.0f, 2.0f); a[gid] = v.x;"),
    "address of a vector component": kernel("float4 v = float4(1.0f); thread float* p = &v.x; a[gid] = *p;"),
    "method on a device struct": HEAD + "struct S { float x; float get() { return x; } };\n"
    "kernel void k(device S* a [[buffer(0)]], device float* o [[buffer(1)]]) { o[0] = a[0].get(); }",
    "cast between spaces": kernel("thread float* p = (thread float*)a; p[0] = 1;"),
    "recursion": kernel("a[gid] = f(3);", "float f(int i) { return i ? f(i - 1) + 1.0f : 0.0f; }"),
    "function pointer": kernel("float (*f)(float) = exp; a[gid] = f(1.0f);"),
    "static local": kernel("static int c = 0; c++; a[gid] = c;"),
    "variable-length array": kernel("float t[n]; t[0] = 1; a[gid] = t[0];"),
    "lambda": kernel("auto f = [&](float x) { return x; }; a[gid] = f(1.0f);"),
    "sizeof(long double)": kernel("long double x = 1; a[gid] = x;"),
    "string/printf": kernel('printf("x"); a[gid] = 1;'),
}


@pytest.mark.parametrize("name", REJECTED)
def test_source_is_rejected_with_its_line(name, compiled):
    from mslc.tokens import MslError  # noqa: PLC0415  (found once the path is set)

    with pytest.raises(MslError, match="error: ") as caught:
        compiled(REJECTED[name])
    assert re.search(r"\.metal:\d+|static variable", str(caught.value))


def test_the_plain_kernel_is_accepted(compiled):
    assert compiled(kernel("if (gid < n) a[gid] = 1;"))
