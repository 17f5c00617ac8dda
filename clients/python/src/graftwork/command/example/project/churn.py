"""Learns from customers.csv who leaves, and says it of the customers in new.csv.

It needs the URL and an API key of a service: GRAFTWORK_URL and GRAFTWORK_KEY.
"""

import tomllib
from pathlib import Path

from graftwork import Graftwork

HERE = Path(__file__).parent


def main() -> None:
    """Upload, fine-tune, predict."""
    request = tomllib.loads((HERE / "finetune.toml").read_text(encoding="utf-8"))
    with Graftwork() as graftwork:
        # Rows are read, cleaned and split into train, validation and test; what is doubtful is a warning.
        dataset = graftwork.datasets.create(HERE / "customers.csv", name="customers", columns={"churn": "target"})
        print(dataset["rows"])

        # A job runs on the service: this program may end meanwhile, and `graftwork jobs watch` shows the job.
        job = graftwork.jobs.create(**{**request, "dataset": dataset.id}).wait(progress=True)
        print(job["metrics"]["heads"]["churn"]["accuracy"])

        # The newest version of the model answers under its name.
        for prediction in graftwork.models.predict("churn", HERE / "new.csv"):
            print(prediction["churn"]["class"], prediction["churn"]["probabilities"])


if __name__ == "__main__":
    main()
