"""The states of torch's global random generators: the CPU's, and on a GPU that device's, too."""

import torch
from torch import Tensor

GeneratorStates = dict[str, Tensor]


def generator_states(device: torch.device) -> GeneratorStates:
    """Return the states, uint8 each, by device type."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states: GeneratorStates, device: torch.device) -> None:
    """Go on drawing from these states; a GPU's may be missing, and then stays as it is."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
