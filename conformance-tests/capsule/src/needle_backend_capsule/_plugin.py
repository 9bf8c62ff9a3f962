"""The hooks of protocol 1.0."""

from needle.backend import Backend, BackendInfo, ConformanceProfile, Probe, hookimpl


@hookimpl
def needle_backend_info():
    return BackendInfo("capsule", protocol=(1, 0), priority=-100, summary="a sealed backend of protocol 1.0")


@hookimpl
def needle_probe():
    return Probe(("sealed, in NumPy", "the same again"))


@hookimpl
def needle_create_backend(index) -> Backend:
    from needle_backend_capsule.backend import CapsuleBackend

    return CapsuleBackend(index)


@hookimpl
def needle_conformance_profile():
    return ConformanceProfile(rtol={}, xfails={})
