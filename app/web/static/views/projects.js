// Projects: what each may use and who works in it, for administrators.

import { ask, complain } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes, duration, number } from "../format.js";
import { action, codeBlock } from "../parts/feedback.js";
import { card, errorNote, field, page } from "../parts/layout.js";
import { list } from "../parts/list.js";
import { link } from "../router.js";
import { text } from "../text.js";

const GIB = 2 ** 30;
const MAX_COUNTED = 1000; // queued jobs of a project
const SCOPES = ["read", "write", "predict"]; // of a project's first key; others are made among its keys
// Limits by name: how one is shown, and how many of the API's units one unit of the form is.
const LIMITS = {
  max_running_jobs: [number, 1],
  job_seconds: [duration, 1],
  quota_bytes: [bytes, GIB],
  quota_rows: [number, 1],
};
const OTHERS = Object.keys(LIMITS).filter((name) => name !== "max_running_jobs"); // which stands beside the jobs at work

export async function projectsView({ signal, again }) {
  const fresh = h("div", { role: "status" });
  const columns = [
    { name: text.projects.name, kind: "name", cell: (project) => h("a", { href: link(["keys"], { project: project.id }), title: text.projects.keysOf(project.name) }, project.name) },
    { name: text.projects.running, kind: "middle", cell: runningJobs },
    { name: text.projects.waiting, kind: "wide", cell: (project) => number(project.queued_jobs) + (project.queued_jobs < MAX_COUNTED ? "" : "+") },
    ...OTHERS.map((name) => ({ name: text.projects.limits[name], kind: "wide", cell: (project) => limitOf(project, name) })),
    { name: text.models.actions, cell: (project) => action(text.projects.change, () => changeLimits(project, again), { class: "slim", value: project.id, "aria-label": text.projects.changeOf(project.name) }) },
  ];
  const load = (after, limit) => ask("/v1/admin/projects", { query: { after, limit }, signal });
  return page(
    text.projects.title,
    { meta: text.projects.about },
    list({ columns, load, caption: text.projects.title, nothing: text.projects.none, signal, everySeconds: 2 }),
    fresh,
    newProjectCard(fresh),
  );
}

/** Return the project of an id; null where there is none. */
export async function findProject(id, signal) {
  for (let after = null; ; ) {
    const listed = await ask("/v1/admin/projects", { query: { after, limit: 200 }, signal });
    const project = listed.data.find((one) => one.id === id);
    if (project || !listed.has_more) return project ?? null;
    after = listed.last_id;
  }
}

function runningJobs(project) {
  return project.limits.max_running_jobs === 0 ? number(project.running_jobs) : [`${number(project.running_jobs)} / `, limitOf(project, "max_running_jobs")];
}

function limitOf(project, name) {
  const limit = project.limits[name];
  const shown = limit === 0 ? text.status.noQuota : LIMITS[name][0](limit);
  return project.own_limits.includes(name) ? h("strong", {}, shown) : h("span", { class: "quiet", title: text.projects.byDefault }, shown);
}

/** A project is made with its first key. */
function newProjectCard(fresh) {
  const name = h("input", { type: "text", required: true, maxlength: "200", autocomplete: "off" });
  const owner = h("input", { type: "text", required: true, maxlength: "100", autocomplete: "off" });
  async function create(event) {
    event.preventDefault();
    const project = name.value.trim();
    try {
      const key = await ask("/v1/keys", { method: "POST", json: { project, name: owner.value, scopes: SCOPES } });
      event.target.reset();
      fill(fresh, card(text.projects.made(project), h("p", {}, text.keys.once), codeBlock(key.secret, text.keys.secret)));
    } catch (error) {
      complain(error, () => fill(fresh, errorNote(error)));
    }
  }
  return card(
    text.projects.create,
    h("p", { class: "quiet" }, text.projects.createAbout),
    h(
      "form",
      { class: "stack", onsubmit: create },
      h("div", { class: "fields" }, field(text.projects.name, name), field(text.projects.firstKey, owner, text.keys.nameAbout)),
      h("div", {}, h("button", { class: "primary" }, text.projects.create)),
    ),
  );
}

/** Ask for the limits of a project; only those that are changed are sent. */
function changeLimits(project, again) {
  const before = (name) => (project.own_limits.includes(name) ? String(project.limits[name] / LIMITS[name][1]) : "");
  const inputs = Object.keys(LIMITS).map((name) => [name, h("input", { type: "text", inputmode: "decimal", value: before(name), placeholder: text.projects.byDefault, autocomplete: "off" })]);
  const problem = h("div");
  const dialog = h(
    "dialog",
    { "aria-label": text.projects.changeOf(project.name), onclose: () => dialog.remove() },
    h(
      "form",
      { class: "stack", onsubmit: send },
      h("h2", {}, text.projects.changeOf(project.name)),
      h("p", { class: "small quiet" }, text.projects.limitsAbout),
      inputs.map(([name, input]) => field(text.projects.units[name], input)),
      problem,
      h("div", { class: "actions" }, h("button", { class: "primary" }, text.webhooks.save), h("button", { type: "button", onclick: () => dialog.close() }, text.common.close)),
    ),
  );
  async function send(event) {
    event.preventDefault();
    const changed = inputs.filter(([name, input]) => input.value.trim() !== before(name));
    try {
      await ask("/v1/admin/projects", { method: "PATCH", json: { project: project.id, ...Object.fromEntries(changed.map(([name, input]) => [name, limitIn(input.value.trim(), name)])) } });
      dialog.close();
      again();
    } catch (error) {
      complain(error, () => fill(problem, errorNote(error)));
    }
  }
  document.body.append(dialog);
  dialog.showModal();
}

/** What was typed as the API takes it: nothing is the service's default; what is no number is sent as it is, and refused. */
function limitIn(typed, name) {
  if (typed === "") return null;
  const limit = Number(typed) * LIMITS[name][1];
  return Number.isNaN(limit) ? typed : name === "job_seconds" ? limit : Math.round(limit);
}
