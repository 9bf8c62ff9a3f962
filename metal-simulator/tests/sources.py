"""Small kernels for the tests."""

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
ARGUMENTS = (
    "device float* a [[buffer(0)]], constant uint& n [[buffer(1)]], uint gid [[thread_position_in_grid]], "
    "uint tid [[thread_position_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]"
)


def kernel(body, before=""):
    """A kernel over floats with this body, in which SYNC_DEVICE and the like are barriers."""
    for flag in ("threadgroup", "device", "none"):
        body = body.replace(f"SYNC_{flag.upper()}", f"threadgroup_barrier(mem_flags::mem_{flag})")
    return f"{HEAD}{before}\nkernel void k({ARGUMENTS}) {{ {body} }}\n"
