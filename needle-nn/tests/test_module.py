"""Module: what it finds, in which order; modes, moves, state and the printed form."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn
from needle.errors import ArgumentError, DataError, DTypeError, ShapeError
from needle.nn import Module, Parameter


class Scale(Module):
    def __init__(self, n: int = 2) -> None:
        super().__init__()
        self.weight = Parameter(needle.ones(n))
        self.running = needle.zeros(n)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Nested(Module):
    """Parts in attributes, a list, a dict, a tuple, and twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Scale(1)
        self.many = [Scale(2), (Scale(3), "text", 4)]
        self.named = {"a": Scale(4), "b": Parameter(needle.ones(5))}
        self.again = self.first
        self.tied = self.first.weight
        self.nothing = None


def test_parts_are_found_once_and_in_order() -> None:
    model = Nested()
    names = [name for name, _ in model.named_parameters()]
    assert names == ["first.weight", "many.0.weight", "many.1.0.weight", "named.a.weight", "named.b"]
    assert [p.size for p in model.parameters()] == [1, 2, 3, 4, 5]
    assert [name for name, _ in model.named_buffers()] == [n.replace("weight", "running") for n in names[:4]]
    assert [name for name, _ in model.named_modules()] == ["", "first", "many.0", "many.1.0", "named.a"]
    assert model.num_parameters() == 15
    assert len(model._children()) == 4
    assert list(model.modules()) == [model, *model._children()]


def test_a_module_that_refers_to_its_parent() -> None:
    model = Scale()
    model.child = Scale()  # type: ignore[attr-defined]
    model.child.parent = model  # type: ignore[attr-defined]
    assert [name for name, _ in model.named_parameters()] == ["weight", "child.weight"]
    assert len(list(model.modules())) == 2


def test_sequential() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2, bias=False)))
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.1.weight"]
    assert isinstance(model.modules, tuple)
    assert model.modules[0] is model[0]
    assert list(model.modules()) == [model, *model._children()]
    assert list(model.children()) == list(model) == list(model.modules)
    assert len(model) == 2


def test_a_subclass_of_sequential_keeps_its_own_parts() -> None:
    class Scaled(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(2, 2))
            self.scale = Parameter(needle.ones(1))

    assert list(Scaled().state_dict()) == ["0.weight", "0.bias", "scale"]


def test_modes() -> None:
    model = Nested()
    assert model.training
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert all(m.training for m in model.train().modules())


def test_repr() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2, bias=False)))
    expected = """Sequential(
  0: Linear(4, 3),
  1: Sequential(
    0: ReLU(),
    1: Linear(3, 2, bias=False)
  )
)"""
    assert repr(model) == expected


def test_to_keeps_the_parameters_and_moves_the_buffers(device: needle.Device) -> None:
    model = nn.Sequential(Scale(), nn.Linear(2, 3))
    before, tensors = model.parameters(), model.state_dict()
    assert model.to(device) is model
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    for name, moved in model.state_dict().items():
        assert moved.device is device
        np.testing.assert_array_equal(moved.numpy(), tensors[name].numpy())
    y = model(needle.ones(1, 2, device=device))
    y.sum().backward()
    assert before[0].grad is not None
    assert model.to("numpy").parameters()[0].grad is not None
    assert before[0].grad.device == needle.device("numpy")


def test_to_another_dtype_leaves_integers() -> None:
    model = Scale().to("numpy")
    model.count = Tensor(np.array([1]))  # type: ignore[attr-defined]
    model.to(dtype="float64")
    assert model.weight.dtype == model.running.dtype == "float64"
    assert model.count.dtype == "int64"  # type: ignore[attr-defined]


def test_state_goes_to_another_model(device: needle.Device) -> None:
    source, target = (nn.Sequential(nn.Linear(4, 3), Scale(3)).to(device) for _ in range(2))
    kept = target.parameters()
    assert target.load_state_dict(source.state_dict()) == ([], [])
    assert all(a is b for a, b in zip(kept, target.parameters(), strict=True))
    for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert all(p.requires_grad for p in kept)
    source.parameters()[0].array.assign(0)
    assert np.any(target.parameters()[0].numpy())  # a copy, not the same memory


def test_state_of_numpy_arrays_and_of_other_types() -> None:
    model = Scale()
    model.load_state_dict({"weight": np.array([1.5, 2.5]), "running": Tensor(np.array([3, 4]))})
    np.testing.assert_array_equal(model.weight.numpy(), np.float32([1.5, 2.5]))
    np.testing.assert_array_equal(model.running.numpy(), np.float32([3, 4]))


DIFFERENT: list[tuple[Any, Any, type[Exception], str]] = [
    (nn.Linear(2, 3), nn.Linear(2, 3, bias=False), DataError, "Linear: the state is of another model: missing bias"),
    (nn.Linear(2, 3, bias=False), nn.Linear(2, 3), DataError, "Linear: the state is of another model: unexpected bias"),
    (
        nn.Linear(2, 3),
        nn.Linear(4, 3),
        ShapeError,
        "Linear: the state is of another model: weight is (4, 3), not (2, 3)",
    ),
    (
        nn.Sequential(*(nn.Linear(1, 1) for _ in range(4))),
        nn.Sequential(),
        DataError,
        "Sequential: the state is of another model: missing 0.weight, 0.bias, 1.weight, 1.bias, 2.weight, and 3 more",
    ),
]


@pytest.mark.parametrize(("model", "other", "error", "text"), DIFFERENT)
def test_state_of_another_model(model: Module, other: Module, error: type[Exception], text: str) -> None:
    before = [p.numpy() for p in model.parameters()]
    with pytest.raises(error) as caught:
        model.load_state_dict(other.state_dict())
    assert str(caught.value) == text
    for a, b in zip(before, model.parameters(), strict=True):
        np.testing.assert_array_equal(a, b.numpy())


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        ([("weight", 1)], DTypeError, "a state is a mapping from names to Tensors, not a list"),
        (None, DTypeError, "a state is a mapping from names to Tensors, not a NoneType"),
        ({"weight": np.ones((1, 2)), "bias": np.array([["a", "b"]])}, DataError,
         "bias in the state holds <U1, not numbers"),
        ({"weight": np.ones((1, 2)), "bias": "text"}, DataError, "bias in the state holds <U4, not numbers"),
        ({"weight": np.ones((1, 2)), "bias": None}, DataError, "bias in the state holds object, not numbers"),
        ({"weight": np.ones((1, 2)), "bias": [[1.0], [2.0, 3.0]]}, DataError,
         "bias in the state is a ragged list, not numbers"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("strict", [True, False])
def test_no_state(state: Any, error: type[Exception], text: str, strict: bool) -> None:
    model = nn.Linear(1, 2)
    before = model.weight.numpy()
    with pytest.raises(error) as caught:
        model.load_state_dict(state, strict)
    assert str(caught.value) == f"Linear: {text}"
    np.testing.assert_array_equal(model.weight.numpy(), before)


def test_not_strict() -> None:
    model = nn.Linear(2, 3)
    difference = model.load_state_dict({"weight": np.ones((2, 3)), "other": np.ones(1)}, strict=False)
    assert difference.missing == ["bias"]
    assert difference.unexpected == ["other"]
    np.testing.assert_array_equal(model.weight.numpy(), np.ones((2, 3)))


def test_a_plain_tensor_may_stand_in_for_a_weight() -> None:
    model = nn.Linear(2, 2)
    model.weight = Tensor(np.eye(2, dtype=np.float32), requires_grad=True)  # type: ignore[assignment]
    model(needle.ones(1, 2)).sum().backward()
    assert model.weight.grad is not None
    assert list(model.state_dict()) == ["weight", "bias"]


def test_a_sequential_is_a_list_of_modules() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    assert model.append(nn.Linear(3, 2)) is model
    assert [len(model), len(model[:2]), type(model[1:])] == [3, 2, nn.Sequential]
    assert model[:1][0] is model[0]
    model[1] = nn.Tanh()
    x = needle.ones(1, 2)
    np.testing.assert_array_equal(model(x).numpy(), model[2](needle.tanh(model[0](x))).numpy())
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for change in (lambda: model.append(nn.ReLU), lambda: model.__setitem__(0, 3)):
        with pytest.raises(ArgumentError, match=r"Sequential: takes modules, not (the class ReLU; write|a int)"):
            change()


def test_a_function_is_applied_to_all_modules() -> None:
    model, seen = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU())), []
    assert model.apply(lambda module: seen.append(type(module).__name__)) is model
    assert sorted(seen[:-1]) == ["Linear", "ReLU", "Sequential"]
    assert seen[-1] == "Sequential"


def test_all_parameters_are_frozen_and_freed() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    for flag in (False, True):
        assert model.requires_grad_(flag) is model
        assert [p.requires_grad for p in model.parameters()] == [flag] * 4
    assert not model[1].running_mean.requires_grad
