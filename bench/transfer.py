"""Measures how often transfer reports find a gain in cases with one, and in cases without.

On scikit-learn's digits, 8 x 8: two or four labels per digit to train on, and 597 other rows to compare on, drawn anew
for each report.

    taught      a backbone trained on the labels of other digits: a gain
    unlabelled  SimCLR on the train rows without labels; two labels per digit: a gain
    fresh       untrained weights, of a network so wide that every control is as good; two labels per digit: no gain
    shuffled    the weights of `taught`, shuffled: no gain
    noise       an autoencoder trained on images of noise: no gain
    labels      `taught`, but with shuffled labels: no gain
"""

import argparse
import time
from collections import Counter

import numpy as np

from tests.support.reports import CASES, case

ROUNDS = 5


def main() -> None:
    """Print the verdicts of every case and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first draw")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    arguments = parser.parse_args()
    verdicts: dict[str, list[str]] = {name: [] for name in arguments.only}
    differences: dict[str, list[float]] = {name: [] for name in arguments.only}
    for draw in range(arguments.first, arguments.first + arguments.draws):
        for name in arguments.only:
            started_at = time.process_time()
            head = case(name, draw, rounds=ROUNDS)["heads"]["label"]
            verdicts[name].append(head["verdict"])
            differences[name].append(head["gain"]["value"])
            seconds = time.process_time() - started_at
            print(
                f"{draw} {name}: {head['verdict']}, {head['gain']}, {head['best_control']}, {seconds:.0f} CPU s",
                flush=True,
            )
    for name in arguments.only:
        print(f"{name}: {dict(Counter(verdicts[name]))}, mean gain {np.mean(differences[name]):+.3f}")


if __name__ == "__main__":
    main()
