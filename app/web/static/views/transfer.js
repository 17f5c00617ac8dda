// The transfer report of a job: did pretraining help?

import { ask } from "../api.js";
import { h } from "../dom.js";
import { card, page } from "../parts/layout.js";
import { transferParts } from "../parts/transfer.js";
import { link } from "../router.js";
import { text } from "../text.js";
import { titleOf } from "./jobs.js";

export async function transferView({ params, signal }) {
  const job = await ask(`/v1/jobs/${encodeURIComponent(params.id)}`, { signal });
  const report = job.metrics?.transfer;
  return page(
    text.transfer.title,
    {
      crumb: { href: link(["jobs", job.id]), name: titleOf(job) },
      meta: text.transfer.about,
      actions: job.outputs.map((output) => h("a", { class: "button", href: link(["models", output.model]) }, text.job.open)),
    },
    report ? transferParts(report) : card(text.transfer.verdict, h("p", {}, text.transfer.none)),
  );
}
