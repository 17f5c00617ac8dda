"""Compares estimates to what the trainings then took: `python bench/estimate.py`."""

from typing import Any

from digits import digits
from service import event, service

CONFIGS: dict[str, dict[str, Any]] = {
    "mlp, 20 epochs": {"backbone": {"kind": "mlp", "hidden": [256, 128]}, "training": {"epochs": 20, "batch_size": 64}},
    "mlp, 5 epochs of 512": {"backbone": {"kind": "mlp"}, "training": {"epochs": 5, "batch_size": 512}},
    "convnet, 2 epochs": {"backbone": {"kind": "convnet"}, "training": {"epochs": 2, "batch_size": 64}},
}


def main() -> None:
    """Estimate and run each training, and print both."""
    with service() as graftwork:
        dataset = graftwork.datasets.create({"x": digits()[0]}, name="digits")["id"]
        for name, config in CONFIGS.items():
            request = {"kind": "pretraining", "dataset": dataset, "method": {"kind": "autoencoder"}, **config}
            estimate = graftwork.jobs.estimate(**request)["metrics"]
            job = graftwork.jobs.create(**request, wait=True)
            actual = event(graftwork, job["id"], "estimate.error")
            interval = f"{estimate['seconds']:.1f} s ({estimate['low']:.1f} to {estimate['high']:.1f})"
            memory = f"largest batch {estimate['largest_batch']}, peak {estimate['peak_bytes'] >> 20} MiB"
            print(
                f"{name}: estimated {interval}, took {actual['seconds']:.1f} s, ratio {actual['ratio']:.2f}; {memory}"
            )


if __name__ == "__main__":
    main()
