"""nn.summary: shapes, parameters and MACs by layer."""

import pytest

import needle
from needle import nn

EXPECTED = """\
layer               output        parameters   MACs
---------------------------------------------------
Sequential          (2, 5)                 0      0
  0: Conv           (2, 4, 4, 4)         112  3,456
  1: BatchNorm2d    (2, 4, 4, 4)           8      0
  2: Residual       (2, 4, 4, 4)           0      0
    fn: Sequential  (2, 4, 4, 4)           0      0
      0: Conv2d     (2, 4, 4, 4)          72  2,304
      1: ReLU       (2, 4, 4, 4)           0      0
  3: Flatten        (2, 64)                0      0
  4: Linear         (2, 5)               325    640
---------------------------------------------------
total                                    517  6,400"""


def model(device: needle.Device) -> nn.Sequential:
    body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False, device=device), nn.ReLU())
    return nn.Sequential(
        nn.Conv(3, 4, 3, 2, device=device), nn.BatchNorm2d(4, device=device), nn.Residual(body), nn.Flatten(),
        nn.Linear(64, 5, device=device),
    )  # fmt: skip


def test_a_table(device: needle.Device) -> None:
    table = nn.summary(model(device), (2, 3, 8, 8))
    assert repr(table) == EXPECTED
    assert (table.parameters, table.macs) == (517, 6400)


def test_the_model_stays_as_it_was(device: needle.Device) -> None:
    net = model(device)
    net[2].eval()
    before = {name: tensor.numpy().tobytes() for name, tensor in net.state_dict().items()}
    nn.summary(net, (2, 3, 8, 8))
    assert [m.training for m in net.modules()] == [True, True, True, False, False, False, False, True, True]
    assert before == {name: tensor.numpy().tobytes() for name, tensor in net.state_dict().items()}
    with pytest.raises(needle.ShapeError):
        nn.summary(net, (2, 4, 8, 8))
    assert net.training
    calls: list[int] = []
    net.register_forward_hook(lambda *args: calls.append(1))
    net(needle.ones(1, 3, 8, 8, device=device))
    assert calls == [1]


def test_states_ids_and_shared_weights() -> None:
    lstm = nn.summary(nn.LSTM(4, 5), (3, 2, 4))
    assert "(3, 2, 5), (1, 2, 5), (1, 2, 5)" in repr(lstm)
    assert lstm.macs == 3 * 2 * 20 * (4 + 5)
    shared = nn.Linear(4, 4)
    assert nn.summary(nn.Sequential(shared, nn.Tanh(), shared), (3, 4)).parameters == 20
    first = nn.Embedding(7, 4)
    assert nn.summary(first, (3, 2), dtype="int32").parameters == 28


def test_attention_is_counted() -> None:
    table = nn.summary(nn.AttentionLayer(6, 2, 4), (3, 5, 6))
    projections, products = 4 * 15 * 6 * 8, 2 * 3 * 2 * 5 * 5 * 4
    assert table.macs == projections + products


def test_modules_in_containers_stand_under_the_module_that_holds_them() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.first = nn.Linear(3, 3)
            self.blocks = [nn.Residual(nn.Linear(3, 3)), nn.Linear(3, 2)]
            self.named = {"a": (nn.ReLU(),)}

        def forward(self, x: needle.Tensor) -> needle.Tensor:
            return self.named["a"][0](self.blocks[1](self.blocks[0](self.first(x))))

    names = [row.name for row in nn.summary(Net(), (1, 3)).rows]
    expected = ["Net", "  first: Linear", "  blocks.0: Residual", "    fn: Linear", "  blocks.1: Linear"]
    assert names == [*expected, "  named.a.0: ReLU"]
