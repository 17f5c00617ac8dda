"""Mistakes, one a line: mypy finds each of them."""

from graftwork import Graftwork

graftwork = Graftwork()
graftwork.jobs.create(kind="pretraining", dataset="ds_1", epochs=3)
graftwork.jobs.create(kind="pretraning", dataset="ds_1")
graftwork.jobs.create(kind="fine_tuning", dataset="ds_1", heads=[{"kind": "classifier"}])
graftwork.jobs.create(kind="fine_tuning", dataset="ds_1", heads=[{"kind": "clasifier", "target": "y"}])
graftwork.datasets.create("x.csv", name="x", colums={})
graftwork.datasets.create("x.csv", name="x", columns={"a": "inputs"})
graftwork.jobs.get("job_1").statsu
graftwork.jobs.get("job_1").status == "done"
graftwork.models.predict("m", [], unknown="ignore")
[job.metrics for job in graftwork.jobs.list()]
