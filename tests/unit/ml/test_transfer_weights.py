"""How weights of other shapes are resized."""

import torch
from torch import Tensor, nn

from app.ml.interfaces import Backbone, Encoding
from app.ml.models.partial_loading import load_partially, plan

GREY, COLOUR = Encoding(shape=(1, 8, 8)), Encoding(shape=(3, 8, 8))


class Patchy(Backbone):
    """Position embeddings (1, P, 2) and a kernel over the image."""

    def __init__(self, places: int, encoding: Encoding = GREY) -> None:
        super().__init__()
        self.encoding = encoding
        self.features = 2
        self.positions = nn.Parameter(torch.zeros(1, places, 2))
        self.kernel = nn.Conv2d(encoding.shape[0], 2, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.kernel(inputs).mean((2, 3))  # type: ignore[no-any-return]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        return [self(inputs)]


def test_positions_are_interpolated_over_the_grid() -> None:
    old, new = Patchy(4), Patchy(16)
    with torch.no_grad():
        old.positions[0, :, 0] = torch.tensor([0.0, 1.0, 0.0, 1.0])  # rises to the right
        old.positions[0, :, 1] = torch.tensor([0.0, 0.0, 1.0, 1.0])  # and downwards
    done = load_partially(new, old.state_dict(), GREY)
    assert done.resized == ("positions",)
    assert set(done.matched) == {"kernel.weight", "kernel.bias"}
    right, down = new.positions[0].T.reshape(2, 4, 4)
    assert torch.allclose(right, torch.tensor([0, 0.25, 0.75, 1]).expand(4, 4))
    assert torch.allclose(down, right.T)


def test_positions_of_sequences_are_interpolated_along_them() -> None:
    old, new = Patchy(2), Patchy(6)
    with torch.no_grad():
        old.positions[0] = torch.tensor([[0.0, 4.0], [1.0, 0.0]])
    load_partially(new, old.state_dict(), GREY)
    assert (new.positions[0, 1:] >= new.positions[0, :-1])[:, 0].all()
    assert new.positions[0, 0].tolist() == [0, 4]
    assert new.positions[0, -1].tolist() == [1, 0]


def test_channels_are_summed_and_shared_out() -> None:
    colour, grey = Patchy(4, COLOUR), Patchy(4)
    assert load_partially(grey, colour.state_dict(), COLOUR).resized == ("kernel.weight",)
    assert torch.allclose(grey.kernel.weight, colour.kernel.weight.sum(1, keepdim=True))
    again = Patchy(4, COLOUR)
    load_partially(again, grey.state_dict(), GREY)
    assert torch.allclose(again.kernel.weight, grey.kernel.weight.expand(2, 3, 3, 3) / 3)


def test_other_kernels_start_anew() -> None:
    same = {"same": (2, 2)}
    deeper = plan({"kernel": (8, 4, 3, 3), **same}, GREY, {"kernel": (8, 6, 3, 3), **same}, COLOUR)
    assert (deeper.resized, deeper.new, deeper.unused) == ((), ("kernel",), ("kernel",))
    wider = plan({"kernel": (8, 1, 3, 3), **same}, GREY, {"kernel": (8, 3, 5, 5), **same}, COLOUR)
    assert wider.resized == ()
    short, long = Encoding(shape=(1, 9)), Encoding(shape=(3, 9))
    assert plan({"k": (8, 1, 3, 3), **same}, short, {"k": (8, 3, 3, 3), **same}, long).resized == ()
