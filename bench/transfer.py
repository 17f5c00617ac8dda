"""How often a transfer report tells a gain where there is none, and where there is one.

On scikit-learn's digits, 8 x 8: two or four labels a digit to learn from and 597 others to compare on; another draw
each time.

    taught      a backbone that has learned the labels of other digits: a gain
    unlabelled  SimCLR on the train rows, without any label; two labels a digit: a gain
    fresh       new weights that never learned, of a network so wide that every control is as good; two labels a digit
    shuffled    the taught weights at other places
    noise       an autoencoder of images of noise: an unrelated corpus
    labels      `taught`, but the labels are shuffled
"""

import argparse
import time
from collections import Counter

import numpy as np

from tests.support.reports import CASES, case

EVERY = 5


def main() -> None:
    """Print the verdicts of every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first draw")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    asked = parser.parse_args()
    verdicts: dict[str, list[str]] = {name: [] for name in asked.only}
    gains: dict[str, list[float]] = {name: [] for name in asked.only}
    for draw in range(asked.first, asked.first + asked.draws):
        for name in asked.only:
            began = time.process_time()
            head = case(name, draw, rounds=EVERY)["heads"]["label"]
            verdicts[name].append(head["verdict"])
            gains[name].append(head["gain"]["value"])
            spent = time.process_time() - began
            print(
                f"{draw} {name}: {head['verdict']}, {head['gain']}, {head['best_control']}, {spent:.0f} CPU s",
                flush=True,
            )
    for name in asked.only:
        print(f"{name}: {dict(Counter(verdicts[name]))}, mean gain {np.mean(gains[name]):+.3f}")


if __name__ == "__main__":
    main()
