"""Runs one primitive of a device on the host: what it reads is downloaded, what it writes is uploaded again."""

from collections.abc import Callable
from typing import Any

from needle.backend import Backend, View, map_views, views_in
from needle.layout import Layout


def run_on_host(
    device: Backend, reference: Backend, writes: tuple[int, ...], args: tuple[Any, ...], run: Callable[[Any], None]
) -> None:
    """Call `run` on a copy of `args` whose views lie in the reference backend's memory, then bring results back."""
    mirrored: dict[tuple[int, Layout], View] = {}  # one mirror per view, so that an update in place stays one

    def mirror(view: View) -> View:
        key = (id(view.buffer), view.layout)
        if key not in mirrored:
            mirrored[key] = _fetch(device, reference, view)
        return mirrored[key]

    host = tuple(map_views(arg, mirror) for arg in args)
    run(host)
    for i in writes:
        for view in views_in(args[i]):
            _store(device, reference, view, mirror(view))


def _fetch(device: Backend, reference: Backend, view: View) -> View:
    """The elements that a view spans, as the same view of host memory."""
    first, last = view.layout.span()
    nbytes = (last - first) * view.dtype.itemsize
    buffer = reference.allocate(nbytes)
    host = reference.host_view(buffer)
    assert host is not None
    if nbytes:
        device.download(view.buffer, first * view.dtype.itemsize, host[:nbytes])
    layout = Layout(view.layout.shape, view.layout.strides, view.layout.offset - first)
    return View(buffer, layout, view.dtype)


def _store(device: Backend, reference: Backend, view: View, mirror: View) -> None:
    first, last = view.layout.span()
    host = reference.host_view(mirror.buffer)
    assert host is not None
    nbytes = (last - first) * view.dtype.itemsize
    if nbytes:
        device.upload(view.buffer, first * view.dtype.itemsize, host[:nbytes])
