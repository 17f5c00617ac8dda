// Jobs side by side: what differs in what was asked for, what each has reached, and their curves in shared charts.

import { ask, pause } from "../api.js";
import { drawer, h } from "../dom.js";
import { duration, number, time, value, word } from "../format.js";
import { MAX_COMPARED, MIN_COMPARED, idsIn } from "../parts/choice.js";
import { chart } from "../parts/chart.js";
import { toastError } from "../parts/feedback.js";
import { badge, card, empty, errorNote, page, table } from "../parts/layout.js";
import { headCurveChart, measuresOf } from "../parts/measures.js";
import { link } from "../router.js";
import { text } from "../text.js";
import { titleOf } from "./jobs.js";

const ENDED = ["succeeded", "failed", "cancelled"];
const MILLISECONDS = 2000;
const FIRST_CHARTS = 4;
const RATE = "train/lr"; // behind what was measured
const NO_CHARTS = ["learning", "confusion_matrix"]; // drawn by steps above, or no lines

export async function compareView({ query, signal }) {
  const ids = idsIn(query);
  const crumb = { href: link(["jobs"], { ids: ids.join(",") }), name: text.jobs.title };
  if (ids.length < MIN_COMPARED || ids.length > MAX_COMPARED) return page(text.compare.title, { crumb }, h("div", { class: "card" }, empty(text.compare.limits(MIN_COMPARED, MAX_COMPARED))));
  const answers = await Promise.all(ids.map((id) => ask(pathOf(id), { signal }).catch((error) => refusal(id, error))));
  const notes = answers.filter((answer) => answer instanceof Error).map(errorNote);
  let jobs = answers.filter((answer) => !(answer instanceof Error));
  const data = await dataNames(jobs, signal);
  const boxes = Object.fromEntries(["about", "request", "measures", "learning", "curves"].map((name) => [name, h("div", { class: "parts" })]));
  const draw = drawer(boxes);

  async function show() {
    const names = namesOf(jobs);
    draw("about", jobs.map((job) => [job.status, job.outputs]), () => aboutCard(jobs, names, data));
    draw("request", jobs.map((job) => job.config), () => requestCard(jobs, names));
    draw("measures", jobs.map((job) => job.metrics), () => measuresCard(jobs, names));
    const learning = await Promise.all(jobs.map((job) => ask(`${pathOf(job.id)}/curves/learning`, { signal })));
    draw("learning", learning, () => learningCard(learning, names));
    const listed = await Promise.all(jobs.map((job) => ask(`${pathOf(job.id)}/curves`, { signal })));
    const shared = sharedCurves(listed.map((curves) => curves.data));
    const curves = await curvesOf(shared, jobs, signal);
    draw("curves", curves, () => curvesCard(curves, names));
  }

  async function live() {
    await show();
    while (jobs.some((job) => !ENDED.includes(job.status))) {
      await pause(MILLISECONDS, signal);
      if (document.hidden) continue;
      jobs = await Promise.all(jobs.map((job) => ask(pathOf(job.id), { signal })));
      await show();
    }
  }

  if (jobs.length) live().catch(toastError);
  return page(text.compare.title, { crumb, meta: text.compare.about }, notes, Object.values(boxes));
}

function pathOf(id) {
  return `/v1/jobs/${encodeURIComponent(id)}`;
}

/** A job that cannot be shown is named; the others are shown. */
function refusal(id, error) {
  if (error.name === "AbortError") throw error;
  error.message = `${id}: ${error.message}`;
  return error;
}

/** Titles that differ: jobs of one name have the end of their id behind it. */
function namesOf(jobs) {
  const titles = jobs.map(titleOf);
  return titles.map((title, index) => (titles.indexOf(title) === titles.lastIndexOf(title) ? title : `${title} · ${jobs[index].id.slice(-6)}`));
}

function columnsOf(first, jobs, names) {
  return [[first], ...jobs.map((job, index) => [h("a", { href: link(["jobs", job.id]) }, names[index])])];
}

/** The names of the jobs' datasets by id; one that is deleted has none. */
async function dataNames(jobs, signal) {
  const ids = [...new Set(jobs.map((job) => job.dataset).filter(Boolean))];
  const datasets = await Promise.all(ids.map((id) => ask(`/v1/datasets/${encodeURIComponent(id)}`, { signal }).catch(() => null)));
  return new Map(ids.map((id, index) => [id, datasets[index]?.name]));
}

function aboutCard(jobs, names, data) {
  const took = (job) => (job.started_at && job.finished_at ? duration((new Date(job.finished_at) - new Date(job.started_at)) / 1000) : "–");
  const rows = [
    [text.jobs.status, ...jobs.map((job) => badge(job.status))],
    [text.jobs.kind, ...jobs.map((job) => word(job.kind))],
    [text.job.dataset, ...jobs.map((job) => (job.dataset ? h("a", { href: link(["data", job.dataset]) }, data.get(job.dataset) ?? job.dataset) : "–"))],
    [text.common.created, ...jobs.map((job) => time(job.created_at))],
    [text.job.time, ...jobs.map(took)],
    [text.compare.made, ...jobs.map((job) => (job.outputs.length ? job.outputs.map((output) => h("a", { href: link(["models", output.model]) }, text.job.open)) : "–"))],
  ];
  return card(text.compare.jobs, table(columnsOf(text.compare.fact, jobs, names), rows, text.compare.jobs));
}

function requestCard(jobs, names) {
  const requests = jobs.map((job) => {
    const { decisions, ...config } = job.config; // why a field became what it is, which the fields themselves say
    return new Map(fieldsOf({ kind: job.kind, dataset: job.dataset, model: job.model, ...config }));
  });
  const fields = [...new Set(requests.flatMap((request) => [...request.keys()]))];
  const isSame = (field) => requests.every((request) => JSON.stringify(request.get(field)) === JSON.stringify(requests[0].get(field)));
  const shown = (request, field) => (request.has(field) ? value(request.get(field)) : "–");
  const differing = fields.filter((field) => !isSame(field));
  const same = fields.filter(isSame);
  const rows = differing.map((field) => [h("code", {}, field), ...requests.map((request) => shown(request, field))]);
  return card(
    text.compare.differing,
    rows.length ? table(columnsOf(text.decisions.field, jobs, names), rows, text.compare.differing) : h("p", {}, text.compare.noDifference),
    same.length > 0 && h("details", {}, h("summary", {}, text.compare.same(same.length)), table([[text.decisions.field], [text.measures.value]], same.map((field) => [h("code", {}, field), shown(requests[0], field)]), text.compare.sameTitle)),
  );
}

/** The fields of a request, each under its place with dots, as sweeps name them. */
function fieldsOf(node, place = "") {
  if (node === null || typeof node !== "object") return [[place, node]];
  const isList = Array.isArray(node);
  if (isList && node.every((item) => item === null || typeof item !== "object")) return [[place, node]];
  const entries = Object.entries(node);
  return entries.length ? entries.flatMap(([name, item]) => fieldsOf(item, place ? `${place}.${name}` : name)) : [[place, node]];
}

function measuresCard(jobs, names) {
  const measured = jobs.map((job) => new Map(measuresOf(job.metrics).map((entry) => [JSON.stringify([entry.head, entry.name]), entry])));
  const keys = [...new Set(measured.flatMap((entries) => [...entries.keys()]))];
  if (!keys.length) return null;
  const cell = (entry) => (entry ? [entry.shown, entry.interval && h("div", { class: "small quiet" }, entry.interval)] : "–");
  const rows = keys.map((key) => {
    const [head, name] = JSON.parse(key);
    return [head ? `${word(name)}: ${head}` : word(name), ...measured.map((entries) => cell(entries.get(key)))];
  });
  const measuredOn = jobs.map((job, index) => {
    const whole = job.metrics?.measured ?? job.metrics; // a sweep's are those of its best trial
    return measured[index].size ? { dataset: job.dataset, split: whole.split, rows: whole.rows } : null;
  });
  const isOther = new Set(measuredOn.filter(Boolean).map((place) => JSON.stringify(place))).size > 1;
  return card(
    text.compare.measures,
    isOther && h("p", { class: "note warn" }, text.compare.otherRows),
    table(columnsOf(text.measures.measure, jobs, names), [[text.measures.rows, ...measuredOn.map((place) => (place ? text.compare.rows(number(place.rows), word(place.split)) : "–"))], ...rows], text.compare.measures),
  );
}

/** One chart for each line that a job has measured, with a line for each job: those first that most jobs have. */
function learningCard(curves, names) {
  const lines = [...new Set(curves.flatMap((curve) => curve.lines.filter((line) => line.x.length).map((line) => line.name)))];
  const of = (curve, name) => curve.lines.find((line) => line.name === name);
  const having = (name) => curves.filter((curve) => of(curve, name)).length;
  const charts = lines
    .sort((one, other) => having(other) - having(one) || (one === RATE) - (other === RATE))
    .map((name) => titled(name, chart({ lines: curves.map((curve, index) => ({ x: [], y: [], ...of(curve, name), name: names[index] })), xLabel: curves[0].x_label, label: name })));
  return charts.length > 0 && card(text.compare.learning, folded(charts));
}

/** The curves of heads that several jobs have: [{kind, head, jobs}], the jobs by their number. */
function sharedCurves(listed) {
  const jobsOf = new Map();
  listed.forEach((entries, index) => {
    for (const { kind, head } of entries.filter((entry) => !NO_CHARTS.includes(entry.kind))) {
      const key = JSON.stringify([kind, head]);
      jobsOf.set(key, [...(jobsOf.get(key) ?? []), index]);
    }
  });
  return [...jobsOf].filter(([, having]) => having.length > 1).map(([key, having]) => ({ kind: JSON.parse(key)[0], head: JSON.parse(key)[1], having }));
}

/** What each chart shows: for each of the jobs that have the curve its number and the curve. */
function curvesOf(shared, jobs, signal) {
  const curveOf = async (index, kind, head) => ({ index, curve: await ask(`${pathOf(jobs[index].id)}/curves/${kind}`, { query: { head }, signal }) });
  return Promise.all(shared.map(({ kind, head, having }) => Promise.all(having.map((index) => curveOf(index, kind, head)))));
}

function curvesCard(curves, names) {
  if (!curves.length) return null;
  const charts = curves.map((having) => {
    const lines = having.flatMap(({ index, curve }) => curve.lines.map((line) => ({ ...line, name: curve.lines.length > 1 ? `${names[index]}: ${line.name}` : names[index] })));
    return headCurveChart({ ...having[0].curve, lines });
  });
  return card(text.job.curves, folded(charts));
}

function titled(name, content) {
  return h("div", { class: "stack" }, h("h3", {}, name), content);
}

function folded(charts) {
  const rest = charts.slice(FIRST_CHARTS);
  return [h("div", { class: "grid" }, charts.slice(0, FIRST_CHARTS)), rest.length > 0 && h("details", {}, h("summary", {}, text.job.moreCharts(rest.length)), h("div", { class: "grid" }, rest))];
}
