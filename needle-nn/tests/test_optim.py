"""Optimizers against loops in NumPy, in a table; their groups, their state, clipping."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn, optim
from needle.errors import ArgumentError, DataError, ShapeError

Rule = Callable[[Any, list[Any]], Any]


def sgd(lr: float = 0.01, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> Rule:
    def run(p: Any, grads: list[Any]) -> Any:
        u = np.zeros_like(p)
        for grad in grads:
            g = grad + weight_decay * p
            u = momentum * u + (1 - momentum) * g
            p = p - lr * (momentum * u + (1 - momentum) * g if nesterov else u)
        return p

    return run


def adam(
    lr: float = 0.01, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0,
    decoupled: bool = False,
) -> Rule:  # fmt: skip
    def run(p: Any, grads: list[Any]) -> Any:
        m = s = np.zeros_like(p)
        for t, grad in enumerate(grads, 1):
            g = grad if decoupled else grad + weight_decay * p
            p = p * (1 - lr * weight_decay) if decoupled else p
            m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g * g
            p = p - lr * (m / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + eps)
        return p

    return run


def rmsprop(
    lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0, momentum: float = 0.0
) -> Rule:
    def run(p: Any, grads: list[Any]) -> Any:
        s = u = np.zeros_like(p)
        for grad in grads:
            g = grad + weight_decay * p
            s = alpha * s + (1 - alpha) * g * g
            u = momentum * u + g / (np.sqrt(s) + eps)
            p = p - lr * u
        return p

    return run


def adagrad(lr: float = 0.01, lr_decay: float = 0.0, weight_decay: float = 0.0, eps: float = 1e-10) -> Rule:
    def run(p: Any, grads: list[Any]) -> Any:
        s = np.zeros_like(p)
        for t, grad in enumerate(grads):
            g = grad + weight_decay * p
            s = s + g * g
            p = p - lr / (1 + t * lr_decay) * g / (np.sqrt(s) + eps)
        return p

    return run


def lion(lr: float = 1e-4, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0) -> Rule:
    def run(p: Any, grads: list[Any]) -> Any:
        m = np.zeros_like(p)
        for g in grads:
            p = p - lr * (np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * p)
            m = beta2 * m + (1 - beta2) * g
        return p

    return run


RULES: list[tuple[str, type[optim.Optimizer], dict[str, Any], Rule]] = [
    ("sgd", optim.SGD, {}, sgd()),
    ("sgd lr", optim.SGD, {"lr": 0.5}, sgd(0.5)),
    ("sgd decay", optim.SGD, {"lr": 0.1, "weight_decay": 0.2}, sgd(0.1, 0.0, 0.2)),
    ("momentum", optim.SGD, {"lr": 0.1, "momentum": 0.9}, sgd(0.1, 0.9)),
    ("momentum decay", optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}, sgd(0.1, 0.9, 0.1)),
    ("nesterov", optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, sgd(0.1, 0.9, 0.0, True)),
    ("adam", optim.Adam, {}, adam()),
    ("adam betas", optim.Adam, {"lr": 0.1, "beta1": 0.5, "beta2": 0.8, "eps": 0.1}, adam(0.1, 0.5, 0.8, 0.1)),
    ("adam decay", optim.Adam, {"weight_decay": 0.3}, adam(weight_decay=0.3)),
    ("adamw", optim.AdamW, {}, adam(weight_decay=0.01, decoupled=True)),
    ("rmsprop", optim.RMSProp, {}, rmsprop()),
    (
        "rmsprop all",
        optim.RMSProp,
        {"lr": 0.1, "alpha": 0.5, "eps": 0.1, "weight_decay": 0.2, "momentum": 0.9},
        rmsprop(0.1, 0.5, 0.1, 0.2, 0.9),
    ),
    ("adagrad", optim.Adagrad, {}, adagrad()),
    (
        "adagrad all",
        optim.Adagrad,
        {"lr": 0.1, "lr_decay": 0.5, "weight_decay": 0.2, "eps": 0.1},
        adagrad(0.1, 0.5, 0.2, 0.1),
    ),
    ("lion", optim.Lion, {}, lion()),
    ("lion all", optim.Lion, {"lr": 0.1, "beta1": 0.5, "beta2": 0.8, "weight_decay": 0.2}, lion(0.1, 0.5, 0.8, 0.2)),
    ("adamw decay", optim.AdamW, {"lr": 0.1, "weight_decay": 0.5}, adam(0.1, weight_decay=0.5, decoupled=True)),
]


@pytest.mark.parametrize(("kind", "settings", "rule"), [r[1:] for r in RULES], ids=[r[0] for r in RULES])
def test_against_a_loop(
    kind: Any, settings: dict[str, Any], rule: Rule, device: needle.Device, rng: np.random.Generator
) -> None:
    starts = [rng.standard_normal(shape) for shape in ((3, 4), (5,), ())]
    grads = [[rng.standard_normal(p.shape) for _ in range(6)] for p in starts]
    params = [nn.Parameter(np.asarray(p, np.float32), device=device) for p in starts]
    optimizer = kind(params, **settings)
    for step in range(6):
        for param, series in zip(params, grads, strict=True):
            param.grad = Tensor(np.asarray(series[step], np.float32), device=device)
        optimizer.step()
    for param, start, series in zip(params, starts, grads, strict=True):
        np.testing.assert_allclose(param.numpy(), rule(start, series), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(param.grad.numpy(), series[-1], rtol=1e-6)  # not modified


def test_parameters_keep_their_memory_and_gradients_are_forgotten() -> None:
    param = nn.Parameter(np.ones(3, np.float32))
    array = param.array
    optimizer = optim.SGD([param])
    (param * 2.0).sum().backward()
    optimizer.step()
    assert param.array is array
    optimizer.reset_grad()
    assert param.grad is None
    (param * 2.0).sum().backward()
    optimizer.zero_grad()
    assert param.grad is None


def test_parameters_without_gradient_stay() -> None:
    still, moving = (nn.Parameter(np.ones(2, np.float32)) for _ in range(2))
    optimizer = optim.Adam([still, moving])
    moving.grad = needle.ones(2)
    optimizer.step()
    np.testing.assert_array_equal(still.numpy(), np.ones(2))
    assert np.all(moving.numpy() < 1)


def test_gradients_that_are_views_or_of_another_type() -> None:
    params = [nn.Parameter(np.zeros((2, 3), np.float32)) for _ in range(2)]
    values = np.arange(6.0).reshape(3, 2)
    params[0].grad = Tensor(values, dtype="float32").transpose()
    params[1].grad = Tensor(values.T.copy(), dtype="int32")
    optim.SGD(params, lr=1.0).step()
    for param in params:
        np.testing.assert_array_equal(param.numpy(), -values.T)


def test_parameters_that_are_views() -> None:
    param = nn.Parameter(Tensor(np.zeros((2, 3)), dtype="float32").transpose())
    param.grad = Tensor(np.arange(6.0).reshape(3, 2), dtype="float32")
    optim.SGD([param], lr=1.0).step()
    np.testing.assert_array_equal(param.numpy(), -np.arange(6.0).reshape(3, 2))


def test_types_may_be_mixed() -> None:
    params = [nn.Parameter(np.ones(2), dtype=dtype, device="numpy") for dtype in ("float32", "float64")]
    for param in params:
        param.grad = needle.ones(2, dtype=param.dtype, device=needle.device("numpy"))
    optim.Adam(params, lr=0.1).step()
    assert [param.dtype for param in params] == ["float32", "float64"]
    np.testing.assert_allclose(params[0].numpy(), params[1].numpy(), rtol=1e-6)


def test_clip_grad_norm(device: needle.Device) -> None:
    params = [nn.Parameter(np.zeros(2, np.float32), device=device) for _ in range(2)]
    for param, grad in zip(params, ([3.0, 0.0], [0.0, 4.0]), strict=True):
        param.grad = Tensor(np.array(grad, np.float32), device=device)
    optimizer = optim.SGD(params)
    assert optimizer.clip_grad_norm(10.0).item() == pytest.approx(5.0)
    np.testing.assert_array_equal(params[1].grad.numpy(), [0, 4])
    optimizer.clip_grad_norm(1.0)
    np.testing.assert_allclose(params[0].grad.numpy(), [0.6, 0], rtol=1e-5)
    np.testing.assert_allclose(params[1].grad.numpy(), [0, 0.8], rtol=1e-5)


KINDS = [
    (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, {"lr": 0.1}),
    (optim.Adam, {"lr": 0.1}),
    (optim.AdamW, {"lr": 0.1}),
    (optim.RMSProp, {"lr": 0.1, "momentum": 0.9}),
    (optim.Adagrad, {"lr": 0.1, "lr_decay": 0.1}),
    (optim.Lion, {"lr": 0.1}),
]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_a_loaded_state_goes_on_as_the_first(
    kind: Any, settings: dict[str, Any], device: needle.Device, rng: np.random.Generator
) -> None:
    params = [nn.Parameter(rng.standard_normal((2, 3)), dtype="float32", device=device) for _ in range(2)]
    optimizer = kind(params, **settings)

    def steps(optimizer: optim.Optimizer) -> None:
        for i in range(3):
            for param in optimizer.params:
                param.grad = param.detach() * float(i)
            optimizer.step()

    steps(optimizer)
    copies = [nn.Parameter(param.numpy(), device=device) for param in params]
    second = kind(copies)
    second.load_state_dict({k: v.numpy() if isinstance(v, Tensor) else v for k, v in optimizer.state_dict().items()})
    assert second.steps == 3
    assert second.lr == 0.1
    steps(optimizer)
    steps(second)
    for a, b in zip(params, copies, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_states_that_do_not_fit() -> None:
    def trained(kind: Any, *shapes: Any) -> optim.Optimizer:
        params = [nn.Parameter(np.ones(shape, np.float32)) for shape in shapes]
        for param in params:
            param.grad = param.detach()
        optimizer: optim.Optimizer = kind(params)
        optimizer.step()
        return optimizer

    adam, fails = trained(optim.Adam, (2, 3)), pytest.raises
    with fails(DataError, match=r"^SGD: the state is of Adam$"):
        trained(optim.SGD, (2, 3)).load_state_dict(adam.state_dict())
    with fails(ShapeError, match=r"^Adam: mean\.0 is \(2, 3\), but the parameter is \(2, 4\)$"):
        trained(optim.Adam, (2, 4)).load_state_dict({k: v for k, v in adam.state_dict().items() if k != "square.0"})
    with fails(DataError, match=r"^Adam: the state has groups of \[2\] parameters, the optimizer of \[1\]$"):
        adam.load_state_dict(trained(optim.Adam, (2, 3), (2, 3)).state_dict())
    with fails(DataError, match=r"^Adam: the state has an entry mean\.1, but there are 1 parameters$"):
        adam.load_state_dict({**adam.state_dict(), "mean.1": needle.ones(2, 3)})
    with fails(DataError, match=r"^Adam: the state lacks groups$"):
        adam.load_state_dict({k: v for k, v in adam.state_dict().items() if k != "groups"})
    with fails(DataError, match=r"^Adam: the state lacks eps$"):
        groups = [{k: v for k, v in adam.state_dict()["groups"][0].items() if k != "eps"}]
        adam.load_state_dict({**adam.state_dict(), "groups": groups})
    with fails(DataError, match=r"^SGD: there are no parameters; pass model\.parameters\(\)$"):
        optim.SGD([])


def test_repr() -> None:
    optimizer = optim.SGD([nn.Parameter(np.ones(2, np.float32))], momentum=0.9)
    assert repr(optimizer) == "SGD(1 parameters, lr=0.01, momentum=0.9, weight_decay=0.0, nesterov=False)"


def test_groups_have_their_own_options(device: needle.Device) -> None:
    fast, slow, still = (nn.Parameter(np.ones(2, np.float32), device=device) for _ in range(3))
    groups = [{"params": [fast]}, {"params": [slow], "lr": 0.1, "momentum": 0.5}]
    optimizer = optim.SGD(groups, lr=1.0, weight_decay=0.5)
    optimizer.add_param_group({"params": [still], "lr": 0.0})
    assert [group.lr for group in optimizer.param_groups] == [1.0, 0.1, 0.0]
    for param in optimizer.params:
        param.grad = needle.ones(2, device=device)
    optimizer.step()
    np.testing.assert_allclose(fast.numpy(), np.full(2, 1 - 1.5))
    np.testing.assert_allclose(slow.numpy(), np.full(2, 1 - 0.1 * 0.5 * 1.5))
    np.testing.assert_allclose(still.numpy(), np.ones(2))
    assert [len(state) for state in optimizer.state] == [0, 1, 0]
    assert optimizer.lr == 1.0
    optimizer.lr = 0.25
    assert [group["lr"] for group in optimizer.param_groups] == [0.25] * 3
    assert repr(optimizer).startswith("SGD(3 parameters in 3 groups, lr=0.25")
    with pytest.raises(AttributeError, match=r"^no option 'beta'; there are lr"):
        optimizer.param_groups[0].beta  # noqa: B018


def test_groups_are_saved() -> None:
    def build(*rates: float) -> optim.Optimizer:
        params = [nn.Parameter(np.ones(2, np.float32)) for _ in rates]
        return optim.Adam([{"params": [p], "lr": lr} for p, lr in zip(params, rates, strict=True)])

    first, second = build(0.1, 0.2), build(0.3, 0.4)
    second.load_state_dict(first.state_dict())
    assert [group.lr for group in second.param_groups] == [0.1, 0.2]
    with pytest.raises(DataError, match=r"^Adam: the state has groups of \[1, 1\] parameters, the optimizer of \[1\]$"):
        build(0.1).load_state_dict(first.state_dict())


def test_groups_that_are_wrong() -> None:
    param = nn.Parameter(np.ones(2, np.float32))
    with pytest.raises(ArgumentError, match=r"^SGD: no option 'beta1'; there are lr, momentum, weight_decay, "):
        optim.SGD([{"params": [param], "beta1": 0.9}])
    with pytest.raises(ArgumentError, match=r"^SGD: a parameter is given twice$"):
        optim.SGD([{"params": [param]}, {"params": [param]}])


def test_clip_grad_value(device: needle.Device) -> None:
    param, without = (nn.Parameter(np.zeros(3, np.float32), device=device) for _ in range(2))
    param.grad = Tensor(np.array([-3, 0.5, 2], np.float32), device=device)
    optim.SGD([param, without]).clip_grad_value(1.0)
    np.testing.assert_array_equal(param.grad.numpy(), [-1, 0.5, 1])


def test_clip_grad_norm_of_none_and_of_halves() -> None:
    assert optim.clip_grad_norm([nn.Parameter(np.zeros(3, np.float32))], 1.0).item() == 0
    param = nn.Parameter(np.zeros(2), dtype="float16")
    param.grad = Tensor(np.array([300.0, 400.0]), dtype="float16")
    assert optim.clip_grad_norm([param], 5.0).item() == 500  # 500 squared is beyond float16
    assert param.grad.dtype == "float16"
    np.testing.assert_allclose(param.grad.numpy(), [3, 4], rtol=1e-2)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.RMSProp, optim.Adagrad, optim.Lion])
def test_halves_are_updated_in_float32(kind: Any) -> None:
    wide, half = (nn.Parameter(np.ones(3), dtype=dtype) for dtype in ("float32", "float16"))
    for param in (wide, half):
        param.grad = Tensor(np.full(3, 1e-3), dtype=param.dtype)
        kind([param], lr=0.1).step()
    np.testing.assert_allclose(half.numpy(), wide.numpy(), rtol=2e-3)


def test_an_optimizer_of_ones_own() -> None:
    class Sign(optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.5) -> None:
            super().__init__(params, lr=lr)

        def update(self, p: Any, g: Any, state: Any, group: Any) -> Any:
            return p - group.lr * g.sign()

    param = nn.Parameter(np.zeros(2, np.float32))
    param.grad = needle.tensor([3.0, -2.0])
    Sign([param]).step()
    np.testing.assert_array_equal(param.numpy(), [-0.5, 0.5])
    with pytest.raises(NotImplementedError, match=r"^Optimizer has no update$"):
        optim.Optimizer([param]).step()


REFUSED: list[tuple[Any, str]] = [
    (lambda: optim.SGD(nn.Linear(2, 2)), "SGD: takes a list of parameters, such as model.parameters(), not a Linear"),
    (lambda: optim.Adam(needle.ones(2)), "Adam: takes a list of parameters, such as model.parameters(), not a Tensor"),
    (lambda: optim.SGD([{"params": needle.ones(2)}]),
     "SGD: takes a list of parameters, such as model.parameters(), not a Tensor"),
    (lambda: optim.SGD([1, 2]), "SGD: parameter 0 is no Tensor but a int"),
    (lambda: optim.SGD([needle.ones(2, requires_grad=True) * 2]),
     "SGD: parameter 0 was computed; pass leaves, or its .detach()"),
    (lambda: optim.SGD([{"lr": 1.0}]), "SGD: a group has 'params', this one only lr"),
    (lambda: optim.SGD([needle.ones(2)], lr=-1), "SGD: lr is at least 0, not -1"),
    (lambda: optim.SGD([needle.ones(2)], momentum=1.0), "SGD: momentum is at least 0 and below 1, not 1.0"),
    (lambda: optim.AdamW([needle.ones(2)], beta2=1.5), "AdamW: beta2 is at least 0 and below 1, not 1.5"),
    (lambda: optim.RMSProp([needle.ones(2)], eps=float("nan")), "RMSProp: eps is at least 0, not nan"),
    (lambda: optim.Lion([{"params": [needle.ones(2)], "weight_decay": -0.1}]),
     "Lion: weight_decay is at least 0, not -0.1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "text"), REFUSED, ids=[row[1][:40] for row in REFUSED])
def test_what_is_refused(call: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call()
    assert str(caught.value) == text
