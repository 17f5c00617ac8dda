// Jobs: the list, which follows what happens, and its filters.

import { ask } from "../api.js";
import { h } from "../dom.js";
import { ago, duration, percent, time, word } from "../format.js";
import { idsIn, jobChoice } from "../parts/choice.js";
import { badge, page, select, warned } from "../parts/layout.js";
import { list } from "../parts/list.js";
import { go, link } from "../router.js";
import { text } from "../text.js";

export const KINDS = ["fine_tuning", "pretraining", "preparation", "evaluation", "sweep", "recommendation", "batch_prediction", "export", "estimate"];
const STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];

export async function jobsView({ query, signal }) {
  const chosen = { kind: query.get("kind") ?? "", status: query.get("status") ?? "" };
  const choice = jobChoice(idsIn(query), titleOf);
  const filter = (name, values) => {
    const control = select([["", text.jobs.any(name)], ...values.map((value) => [value, word(value)])], chosen[name], (value) => go(["jobs"], { ...chosen, [name]: value, ids: [...choice.ids].join(",") }));
    control.setAttribute("aria-label", text.jobs[name]);
    return h("div", {}, control);
  };
  const columns = [
    choice.column,
    { name: text.jobs.name, kind: "name", cell: (job) => h("a", { href: link(["jobs", job.id]) }, titleOf(job)) },
    { name: text.jobs.status, cell: (job) => badge(job.status) },
    { name: text.jobs.kind, kind: "middle", cell: (job) => word(job.kind) },
    { name: text.jobs.progress, kind: "wide", cell: (job) => progressOf(job) },
    { name: text.data.doubts, kind: "wide", cell: (job) => warned(job.warnings.length) },
    { name: text.common.created, kind: "wide", cell: (job) => h("span", { title: time(job.created_at) }, ago(job.created_at)) },
  ];
  const load = (after, limit) => ask("/v1/jobs", { query: { after, limit, ...chosen }, signal });
  const nothing = chosen.kind || chosen.status ? text.jobs.noneSuch : text.jobs.none;
  return page(
    text.jobs.title,
    { meta: text.jobs.about, actions: h("a", { class: "button primary", href: link(["jobs", "new"]) }, text.jobs.start) },
    h("div", { class: "row", role: "group", "aria-label": text.jobs.filters }, filter("kind", KINDS), filter("status", STATES)),
    choice.bar,
    list({ columns, load, caption: text.jobs.title, nothing, signal, everySeconds: 5, news: "/v1/events" }),
  );
}

export function titleOf(job) {
  return job.name ?? `${word(job.kind)} ${job.id.slice(-6)}`;
}

function progressOf(job) {
  if (!job.progress || job.finished_at) return job.finished_at && job.started_at ? duration((new Date(job.finished_at) - new Date(job.started_at)) / 1000) : "";
  return job.progress.eta_seconds === null ? percent(job.progress.fraction, 0) : text.jobs.left(percent(job.progress.fraction, 0), duration(job.progress.eta_seconds));
}
