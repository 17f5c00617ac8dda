"""Estimates beside what the trainings then took: `python bench/estimate.py`."""

from typing import Any

from digits import digits
from service import service

CONFIGS: dict[str, dict[str, Any]] = {
    "mlp, 20 epochs": {"backbone": {"kind": "mlp", "hidden": [256, 128]}, "training": {"epochs": 20, "batch_size": 64}},
    "mlp, 5 epochs of 512": {"backbone": {"kind": "mlp"}, "training": {"epochs": 5, "batch_size": 512}},
    "convnet, 2 epochs": {"backbone": {"kind": "convnet"}, "training": {"epochs": 2, "batch_size": 64}},
}


def main() -> None:
    """Estimate, train and print, one after the other."""
    with service() as graftwork:
        dataset = graftwork.datasets.create({"x": digits()[0]}, name="digits")["id"]
        for name, config in CONFIGS.items():
            asked = {"kind": "pretraining", "dataset": dataset, **config}
            found = graftwork.jobs.estimate(**asked)["metrics"]
            job = graftwork.jobs.wait(graftwork.jobs.create(**asked)["id"])
            (told,) = [one["data"] for one in graftwork.jobs.events(job["id"]) if one["type"] == "estimate.error"]
            interval = f"{found['seconds']:.1f} s ({found['low']:.1f} to {found['high']:.1f})"
            largest = f"largest batch {found['largest_batch']}, peak {found['peak_bytes'] >> 20} MiB"
            print(f"{name}: estimated {interval}, took {told['seconds']:.1f} s, ratio {told['ratio']:.2f}; {largest}")


if __name__ == "__main__":
    main()
