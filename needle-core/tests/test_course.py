"""The course's face: its tests, run in both of its modes, and what it leaves alone when it is off."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import needle
from needle import course

TESTS = Path(__file__).parent / "course"


@pytest.mark.skipif(course.ENABLED, reason="this is one of those processes")
@pytest.mark.parametrize("backend", ["np", "nd"])
def test_course(backend: str) -> None:
    environment = {**os.environ, "NEEDLE_COURSE": "1", "NEEDLE_BACKEND": backend}
    command = [sys.executable, "-m", "pytest", "-q", str(TESTS)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def test_an_unknown_backend_is_refused() -> None:
    environment = {**os.environ, "NEEDLE_COURSE": "1", "NEEDLE_BACKEND": "tpu"}
    run = subprocess.run([sys.executable, "-c", "import needle"], env=environment, capture_output=True, text=True)
    assert "BackendError: NEEDLE_BACKEND is 'tpu'; it is np or nd" in run.stderr


def loaded_by(statement: str) -> set[str]:
    """The modules of Needle that a program has loaded, under Needle's own face."""
    show = "import sys; print(*(name for name in sys.modules if name.startswith('needle')))"
    environment = {name: value for name, value in os.environ.items() if name != "NEEDLE_COURSE"}
    run = subprocess.run(
        [sys.executable, "-c", f"{statement}; {show}"], env=environment, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_off_it_is_not_even_loaded() -> None:
    parts = {"needle.course_tensor", "needle.course_autograd", "needle.course_op", "needle.backend_ndarray"}
    assert not parts & loaded_by("import needle; x = needle.randn(2, requires_grad=True); (x + x).sum().backward()")


own_face = pytest.mark.skipif(course.ENABLED, reason="about Needle's own face")


@own_face
def test_needle_s_own_functions_keep_their_names() -> None:
    assert needle.add is needle.functions.add
    assert needle.split(needle.ones(4), 2)[1].shape == (2,)
    assert needle.ops.add is not needle.add
    assert not needle.Tensor([1.0]).requires_grad


def tensors(*shapes: tuple[int, ...]) -> list[needle.Tensor]:
    draw = np.random.default_rng(0)
    return [needle.Tensor(draw.uniform(0.5, 2.0, shape), dtype="float64", requires_grad=True) for shape in shapes]


UNDER_OWN_FACE = {
    "add": (lambda a, b: needle.ops.add(a, b), [(2, 3), (2, 3)], np.add),
    "divide": (lambda a, b: needle.ops.divide(a, b), [(2, 3), (1, 3)], np.divide),
    "power_scalar": (lambda a: needle.power_scalar(a, 3), [(2, 3)], lambda a: a**3),
    "transpose": (lambda a: needle.transpose(a, (0, 2)), [(2, 3, 4)], lambda a: a.swapaxes(0, 2)),
    "summation": (lambda a: needle.summation(a, (0, 2)), [(2, 3, 4)], lambda a: a.sum((0, 2))),
    "matmul": (lambda a, b: needle.ops.matmul(a, b), [(2, 3, 4), (4, 5)], np.matmul),
    "dilate": (lambda a: needle.ops.undilate(needle.ops.dilate(a, (0,), 1), (0,), 1), [(2, 3)], lambda a: a),
    "logsumexp": (lambda a: needle.ops.logsumexp(a, 1), [(2, 3)], lambda a: np.log(np.exp(a).sum(1))),
    "stack": (lambda a, b: needle.ops.stack([a, b], 1), [(2, 3), (2, 3)], lambda a, b: np.stack([a, b], 1)),
    "split": (lambda a: needle.ops.split(a, 0)[1], [(2, 3)], lambda a: a[1]),
    "fused": (lambda a: sum(needle.fused_add_scalars(a, 1, 2).tuple()), [(2, 3)], lambda a: 2 * a + 3),
    "class": (lambda a, b: needle.EWiseMul()(a, b), [(2, 3), (2, 3)], np.multiply),
}


@own_face
@pytest.mark.parametrize("name", UNDER_OWN_FACE)
def test_the_course_s_ops_work_on_needle_s_tensors(name: str) -> None:
    f, shapes, expected = UNDER_OWN_FACE[name]
    inputs = tensors(*shapes)
    result = f(*inputs)
    np.testing.assert_allclose(result.numpy(), expected(*(x.numpy() for x in inputs)), rtol=1e-12)
    needle.testing.gradcheck(f, inputs) if hasattr(needle, "testing") else result.sum().backward()


@own_face
def test_an_op_of_one_s_own() -> None:
    class Cube(needle.autograd.TensorOp):
        def compute(self, a):
            return a * a * a

        def gradient(self, out_grad, node):
            return out_grad * node.inputs[0] ** 2 * 3

    x = needle.Tensor([1.0, 2.0], requires_grad=True)
    y = Cube()(x)
    y.sum().backward(retain_graph=True)
    np.testing.assert_allclose(x.grad.numpy(), [3, 12])
    (first,) = needle.grad(y, x, needle.ones(2), create_graph=True)
    (second,) = needle.grad(first, x, needle.ones(2))
    np.testing.assert_allclose(second.numpy(), [6, 12])


@own_face
def test_arrays_of_the_course_are_there() -> None:
    array = needle.backend_ndarray.array([[1, 2], [3, 4]], device=needle.backend_ndarray.cpu_numpy())
    assert array[0, 0].shape == (1, 1)
    needle.backend_ndarray.ndarray_backend_numpy.synchronize()
    with pytest.raises(AttributeError, match="find_topo_sort"):
        needle.autograd.find_topo_sort  # noqa: B018
