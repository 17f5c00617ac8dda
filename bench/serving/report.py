"""Tables of a run: what each server took, and Graftwork's figures to those of the best peer."""

from collections.abc import Mapping, Sequence

from bench.serving.server import Load, Server, Target

ASKED = {(1, 1): 1 / 3, (1, 8): 1 / 5, (1, 64): 1 / 5, (32, 8): 1 / 3}  # of the best peer's CPU a request
ASKED_OF_TEXTS = dict.fromkeys([(1, 1), (1, 8), (1, 64)], 1 / 5)
ASKED_RATE = 1 / 2  # of bare uvicorn's requests a second, by 64 clients
_FIGURES = {"cpu": "CPU", "rate": "requests/s", "p50": "p50", "p99": "p99"}


def name_of(load: Load) -> str:
    rows, clients = load
    return f"{rows} row{'s' * (rows > 1)}, {clients} client{'s' * (clients > 1)}"


def print_row(cells: Sequence[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def print_head(cells: Sequence[str]) -> None:
    print()
    print_row(cells)
    print("|---" * len(cells) + "|")


def print_costs(targets: list[Target], loads: Sequence[Load]) -> None:
    """Print the best of each figure over the rounds."""
    print_head(["CPU ms a request (requests/s; p50, p99 in ms)", *map(name_of, loads)])
    for target in targets:
        cells = [{figure: target.best(load, figure) for figure in _FIGURES} for load in loads]
        words = [f"{one['cpu']:.3f} ({one['rate']:,.0f}; {one['p50']:.1f}, {one['p99']:.1f})" for one in cells]
        print_row([target.name, *words])


def print_ratios(target: Target, peers: list[Target], bare: Target, loads: Sequence[Load]) -> None:
    """Print a target's figures to the best peer's of each, and what is asked."""
    print_head([f"{target.name}: to the best peer", *map(name_of, loads)])
    asked = ASKED_OF_TEXTS if target.model == "text" else ASKED
    for figure, word in _FIGURES.items():
        print_row([word, *(_to_best(target, peers, load, figure, asked) for load in loads)])
    rates = [target.best(load, "rate") / bare.best(load, "rate") for load in loads]
    words = [
        f"{rate:.2f}" + f" (asked {ASKED_RATE:.2f})" * (load == (1, 64))
        for load, rate in zip(loads, rates, strict=True)
    ]
    print_row([f"requests/s to {bare.server.name}", *words])


def _to_best(target: Target, peers: list[Target], load: Load, figure: str, asked: Mapping[Load, float]) -> str:
    choose = max if figure == "rate" else min
    best = choose(peers, key=lambda peer: peer.best(load, figure))
    limit = {"cpu": asked.get(load), "p99": 1.0}.get(figure)
    words = best.server.name if limit is None else f"{best.server.name}; asked {limit:.2f}"
    return f"{target.best(load, figure) / best.best(load, figure):.2f} ({words})"


def print_processes(servers: list[Server]) -> None:
    """Print memory and cold start of each server, the first, to the best of all others but the bare one."""
    print_head(["", "resident, loaded", "resident, largest", "cold start"])
    rows = [(server.loaded_bytes / 1e6, server.peak_bytes / 1e6, min(server.cold_starts)) for server in servers]
    for server, (loaded, peak, cold) in zip(servers, rows, strict=True):
        print_row([server.name, f"{loaded:.0f} MB", f"{peak:.0f} MB", f"{cold:.1f} s"])
    peers = [row for server, row in zip(servers, rows, strict=True) if server.is_peer]
    if peers:
        ratios = [own / min(column) for own, column in zip(rows[0], zip(*peers, strict=True), strict=True)]
        print_row([f"{servers[0].name} to the best peer", *(f"{ratio:.2f}" for ratio in ratios)])
