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
const ALL_PROJECTS = "all"; // in the address, beside the ids of projects
const STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];

export async function jobsView({ query, signal }) {
  const chosen = { kind: query.get("kind") ?? "", status: query.get("status") ?? "", project: query.get("project") ?? "" };
  const choice = jobChoice(idsIn(query), titleOf);
  const filter = (name, options) => {
    const control = select(options, chosen[name], (value) => go(["jobs"], { ...chosen, [name]: value, ids: [...choice.ids].join(",") }));
    control.setAttribute("aria-label", text.jobs[name]);
    return h("div", {}, control);
  };
  const words = (name, values) => [["", text.jobs.any(name)], ...values.map((value) => [value, word(value)])];
  const projects = await projectsOf(signal);
  const filters = h("div", { class: "row", role: "group", "aria-label": text.jobs.filters }, filter("kind", words("kind", KINDS)), filter("status", words("status", STATES)), projects.length > 0 && filter("project", projects));
  const nothing = chosen.kind || chosen.status ? text.jobs.noneSuch : text.jobs.none;
  const head = { meta: text.jobs.about, actions: h("a", { class: "button primary", href: link(["jobs", "new"]) }, text.jobs.start) };
  if (chosen.project) return page(text.jobs.title, head, filters, listOfProjects(chosen, nothing, signal));
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
  return page(text.jobs.title, head, filters, choice.bar, list({ columns, load, caption: text.jobs.title, nothing, signal, everySeconds: 5, news: "/v1/events" }));
}

/** The jobs of another project or of all, as administrators see them: whose each is and how it stands. */
function listOfProjects({ project, ...chosen }, nothing, signal) {
  const columns = [
    { name: text.jobs.name, kind: "name", cell: (job) => h("span", { title: job.id }, titleOf(job)) },
    { name: text.jobs.project, cell: (job) => job.project },
    { name: text.jobs.status, cell: (job) => badge(job.status) },
    { name: text.jobs.kind, kind: "middle", cell: (job) => word(job.kind) },
    { name: text.jobs.worker, kind: "wide", cell: (job) => job.worker ?? "" },
    { name: text.common.created, kind: "wide", cell: (job) => h("span", { title: time(job.created_at) }, ago(job.created_at)) },
  ];
  const query = project === ALL_PROJECTS ? chosen : { project, ...chosen };
  const load = (after, limit) => ask("/v1/admin/jobs", { query: { after, limit, ...query }, signal });
  return list({ columns, load, caption: text.jobs.title, nothing, signal, everySeconds: 5 });
}

/** The choices of a project, for administrators; none for other keys. */
async function projectsOf(signal) {
  const projects = [];
  try {
    for (let page = { has_more: true, last_id: null }; page.has_more; ) {
      page = await ask("/v1/admin/projects", { query: { after: page.last_id, limit: 200 }, signal });
      projects.push(...page.data.map((project) => [project.id, project.name]));
    }
  } catch (error) {
    if (error.status !== 403) throw error;
    return [];
  }
  return [["", text.jobs.ownProject], [ALL_PROJECTS, text.jobs.allProjects], ...projects];
}

export function titleOf(job) {
  return job.name ?? `${word(job.kind)} ${job.id.slice(-6)}`;
}

function progressOf(job) {
  if (!job.progress || job.finished_at) return job.finished_at && job.started_at ? duration((new Date(job.finished_at) - new Date(job.started_at)) / 1000) : "";
  return job.progress.eta_seconds === null ? percent(job.progress.fraction, 0) : text.jobs.left(percent(job.progress.fraction, 0), duration(job.progress.eta_seconds));
}
