// A training: what to learn and from what; everything else is decided for the data, unless it is set here or searched.

import { ask, complain, pause } from "../api.js";
import { fill, h, uniqueId } from "../dom.js";
import { word } from "../format.js";
import { action } from "../parts/feedback.js";
import { card, empty, errorNote, field, page, select } from "../parts/layout.js";
import { pythonClient, pythonValue, requestTabs } from "../parts/request.js";
import { schemaForm } from "../parts/schema_form.js";
import { searchForm } from "../parts/search_form.js";
import { go, link } from "../router.js";
import { text } from "../text.js";
import { estimateFigures } from "./job.js";

const ENDED = ["succeeded", "failed", "cancelled"];
const OWN = ["kind", "dataset", "model", "heads", "name", "metadata"]; // fields with a place of their own
const MANY = 200;

export async function newJobView({ query, signal }) {
  const [datasets, models, catalogue, sweep, ...kinds] = await Promise.all([
    ask("/v1/datasets", { query: { status: "ready", limit: MANY }, signal }),
    ask("/v1/models", { query: { limit: MANY }, signal }),
    ask("/v1/catalogue", { signal }),
    ask("/v1/catalogue/jobs/sweep", { signal }),
    ask("/v1/catalogue/jobs/fine_tuning", { signal }),
    ask("/v1/catalogue/jobs/pretraining", { signal }),
  ]);
  const crumb = { href: "#/jobs", name: text.jobs.title };
  const given = query.get("dataset");
  if (given && !datasets.data.some((one) => one.id === given)) datasets.data.unshift(await ask(`/v1/datasets/${encodeURIComponent(given)}`, { signal }));
  if (!datasets.data.length) return page(text.newJob.title, { crumb }, h("div", { class: "card" }, empty(text.newJob.noData, h("a", { class: "button primary", href: "#/data" }, text.newJob.toData))));

  const schemas = Object.fromEntries(kinds.map((entry) => [entry.kind, entry]));
  let kind = "fine_tuning";
  let dataset = null;
  let form = null;
  let picked = [];
  const names = datasets.data.map((one) => [one.id, `${one.name} · ${word(one.modality)}`]);
  const datasetSelect = select(names, given ?? names[0][0], chooseDataset);
  const name = h("input", { type: "text", maxlength: "100", placeholder: text.form.unset, autocomplete: "off", oninput: refresh });
  const targets = h("div");
  const start = h("div");
  const details = h("div");
  const shown = h("div");
  const search = searchForm(sweep.schema, refresh);
  const submitButton = action(text.newJob.submit, submit, { class: "primary" });
  const estimateButton = action(text.newJob.estimate, estimateCost);
  let drawnKind = null;
  const problem = h("div", { role: "status" });
  const estimate = h("div", { role: "status" });
  const summary = h("p", { class: "quiet" });
  let model = { value: query.get("model") ?? "" };

  const buttons = [["fine_tuning", text.newJob.predict], ["pretraining", text.newJob.pretrain]].map(([value, label]) =>
    h("button", { type: "button", "aria-pressed": String(value === kind), "data-kind": value, onclick: () => chooseKind(value) }, label),
  );

  async function chooseDataset() {
    dataset = await ask(`/v1/datasets/${encodeURIComponent(datasetSelect.value)}`, { signal });
    if (!dataset.targets.length) kind = "pretraining";
    drawChoices();
  }

  function chooseKind(value) {
    kind = value;
    drawChoices();
  }

  function drawChoices() {
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.kind === kind)));
    summary.textContent = text.newJob.about[kind];
    fill(targets, kind === "fine_tuning" && targetChoice());
    const suited = models.data.filter((one) => one.modality === dataset.modality);
    const published = catalogue.weights.filter((one) => one.modality === dataset.modality && one.available && !suited.some((own) => own.name === one.source));
    const options = [["", text.newJob.auto], ...suited.map((one) => [`${one.name}@${one.version}`, `${one.name}@${one.version}`]), ...published.map((one) => [`weights:${one.source}`, text.newJob.published(one.title)])];
    model = select(options, model.value && options.some(([value]) => value === model.value) ? model.value : "", refresh);
    fill(start, kind === "fine_tuning" && field(text.newJob.start, model, text.newJob.startAbout));
    form = schemaForm(schemas[kind].schema, { left: OWN, onchange: refresh });
    fill(details, form.element);
    if (drawnKind !== kind) search.clear(); // the fields of the other kind
    drawnKind = kind;
    refresh();
  }

  /** Targets as check boxes: labels of one column of lists are one choice. */
  function targetChoice() {
    const choices = [...new Map(dataset.targets.map((target) => [target.group ?? target.name, target])).entries()];
    picked = [choices[0]?.[0]].filter(Boolean);
    if (!choices.length) return h("p", { class: "note warn" }, text.newJob.noTarget, " ", h("a", { href: link(["data", dataset.id]) }, text.newJob.chooseTarget));
    const boxes = choices.map(([label, target]) => {
      const id = uniqueId("target");
      const box = h("input", { type: "checkbox", id, checked: picked.includes(label), onchange: () => { picked = box.checked ? [...picked, label] : picked.filter((one) => one !== label); refresh(); } });
      return h("label", { class: "check", for: id }, box, `${label} (${target.group ? text.newJob.labels : word(target.type)})`);
    });
    return h("fieldset", {}, h("legend", { class: "label" }, text.newJob.targets), boxes);
  }

  function headOf(label) {
    const target = dataset.targets.find((one) => (one.group ?? one.name) === label);
    return { kind: target.group ? "multi_label" : target.type === "number" ? "regressor" : "classifier", target: label };
  }

  function training() {
    const body = { kind, dataset: dataset.id, ...(name.value.trim() && { name: name.value.trim() }), ...form.read() };
    if (kind === "fine_tuning") {
      body.heads = picked.map(headOf);
      if (model.value) body.model = model.value.replace(/^weights:/, "");
    }
    return body;
  }

  /** What the button sends: the training, or the sweep over it. */
  function request() {
    return search.wrap(training());
  }

  function refresh() {
    search.offer(schemas[kind].schema, training());
    submitButton.textContent = search.isUsed() ? text.searchForm.submit : text.newJob.submit;
    estimateButton.textContent = search.isUsed() ? text.searchForm.estimate : text.newJob.estimate;
    fill(shown, requestTabs("/v1/jobs", request, (body) => `${pythonClient()}job = graftwork.jobs.create(\n${Object.entries(body).map(([key, value]) => `    ${key}=${pythonValue(value)},\n`).join("")}    wait=True,\n)`));
  }

  /** Published weights become a model of the project first. */
  async function bringIn() {
    if (kind === "fine_tuning" && model.value.startsWith("weights:")) await ask("/v1/models", { method: "POST", json: { source: model.value.slice("weights:".length) } });
  }

  async function submit() {
    try {
      await bringIn();
      const job = await ask("/v1/jobs", { method: "POST", json: request() });
      go(["jobs", job.id]);
    } catch (error) {
      complain(error, () => fill(problem, errorNote(error)));
    }
  }

  async function estimateCost() {
    fill(estimate, h("p", { class: "quiet" }, text.newJob.estimating));
    try {
      await bringIn();
      let job = await ask("/v1/jobs/estimate", { method: "POST", json: training() });
      while (!ENDED.includes(job.status)) {
        await pause(500, signal);
        job = await ask(`/v1/jobs/${job.id}`, { signal });
      }
      fill(estimate, job.status === "succeeded" ? estimateFigures(job.metrics) : errorNote(job.error ?? { message: word(job.status) }));
    } catch (error) {
      complain(error, () => fill(estimate, errorNote(error)));
    }
  }

  await chooseDataset();
  return page(
    text.newJob.title,
    { crumb },
    card(
      text.newJob.what,
      h("div", { class: "segments", role: "group", "aria-label": text.newJob.what }, buttons),
      summary,
      h("div", { class: "fields" }, field(text.newJob.dataset, datasetSelect), start, field(text.newJob.name, name, text.newJob.nameAbout)),
      targets,
      problem,
      h("div", { class: "row" }, submitButton, estimateButton),
      estimate,
    ),
    card(text.newJob.how, h("p", { class: "quiet" }, text.newJob.howAbout), h("details", {}, h("summary", {}, text.newJob.choices), details)),
    card(text.searchForm.title, h("p", { class: "quiet" }, text.searchForm.about), h("details", {}, h("summary", {}, text.searchForm.open), search.element)),
    card(text.newJob.request, h("p", { class: "quiet" }, text.newJob.requestAbout), shown),
  );
}
