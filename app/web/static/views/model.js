// One model: try it, how good it is, its aliases, where it comes from, and how to use it.

import { ask, complain } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes, number, time, value, word } from "../format.js";
import { aliasCard, MAX_VERSIONS } from "../parts/aliases.js";
import { action, confirmed } from "../parts/feedback.js";
import { card, page, pairs, select, table, tableCard } from "../parts/layout.js";
import { headCards, headCurves } from "../parts/measures.js";
import { decisionTable, warningNotes } from "../parts/notices.js";
import { pythonClient, pythonValue, requestTabs } from "../parts/request.js";
import { transferCard } from "../parts/transfer.js";
import { tryIt } from "../parts/try_it.js";
import { go, link } from "../router.js";
import { text } from "../text.js";
import { save } from "./job.js";

const EXAMPLE_CHARACTERS = 400;
const MANY = 200;

export async function modelView({ params, signal, again }) {
  const path = `/v1/models/${encodeURIComponent(params.ref)}`;
  const model = await ask(path, { signal });
  const [lineage, aliases, newest, datasets, job] = await Promise.all([
    ask(`${path}/lineage`, { signal }),
    ask(`/v1/models/${encodeURIComponent(model.name)}/aliases`, { signal }),
    ask("/v1/models", { query: { name: model.name, limit: MAX_VERSIONS }, signal }),
    ask("/v1/datasets", { query: { status: "ready", limit: MANY }, signal }),
    model.links.job && ask(model.links.job, { signal }),
  ]);
  const code = h("div");
  const showCode = (json) => fill(code, requestTabs(`/v1/models/${encodeURIComponent(model.name)}/${model.links.predictions ? "predictions" : "embeddings"}`, () => short(json), (body) => `${pythonClient()}answers = graftwork.models.${model.links.predictions ? "predict" : "embed"}("${model.name}", ${pythonValue(body.inputs)})`));
  showCode(model.signature.example);
  const meta = h("span", { class: "row" }, h("span", { class: "badge" }, text.models.kinds[model.kind]), `${word(model.modality)} · ${time(model.created_at)}`);
  const curves = h("div", { class: "grid" });
  const curvesCard = card(text.job.curves, curves);
  const actions = [
    h("a", { class: "button", href: link(["jobs", "new"], { dataset: model.dataset }) }, text.models.trainAgain),
    action(text.models.export, () => exported(model)),
    action(text.common.delete, () => remove(model), { class: "danger" }),
  ];
  const hasHeads = model.job && Object.keys(model.metrics.heads ?? {}).length > 0;
  if (hasHeads) headCurves(model.job, signal).then((charts) => fill(curves, charts)).catch((error) => complain(error, () => curvesCard.remove()));
  return page(
    `${model.name} · ${text.models.versionOf(model.version)}`,
    { crumb: { href: "#/models", name: text.models.title }, meta, actions },
    model.links.predictions ? card(text.tryIt.title, tryIt(model, { signal, onInput: showCode })) : card(text.models.backbone, h("p", {}, text.models.backboneAbout), h("div", {}, h("a", { class: "button primary", href: link(["jobs", "new"], { dataset: model.dataset }) }, text.models.fineTune))),
    model.warnings.length > 0 && card(text.models.warnings, warningNotes(model.warnings)),
    headCards(model.metrics),
    hasHeads && curvesCard,
    transferCard(job),
    model.links.predictions && evaluationCard(model, datasets.data),
    aliasCard(model, aliases.data, newest.data, { signal, again }),
    lineageCard(lineage),
    signatureCard(model.signature),
    card(text.models.use, h("p", { class: "quiet" }, text.models.useAbout), code),
    model.decisions.length > 0 && tableCard(text.decisions.title, decisionTable(model.decisions)),
    madeCard(model),
    filesCard(model),
  );
}

/** A request with pictures cut short, so that it can be read. */
function short(json) {
  const cut = (item) => (typeof item === "string" && item.length > EXAMPLE_CHARACTERS ? `${item.slice(0, 40)}...` : item);
  return { inputs: [].concat(json.inputs).map(cut) };
}

async function exported(model) {
  const job = await ask("/v1/jobs", { method: "POST", json: { kind: "export", model: model.id, format: "onnx" } });
  go(["jobs", job.id]);
}

async function remove(model) {
  if (!(await confirmed(text.models.deleteQuestion(`${model.name}@${model.version}`), text.common.delete))) return;
  await ask(`/v1/models/${encodeURIComponent(model.id)}`, { method: "DELETE" });
  go(["models"]);
}

/** Measure it on the test split of a dataset of the same kind. */
function evaluationCard(model, datasets) {
  const suited = datasets.filter((one) => one.modality === model.modality).map((one) => [one.id, one.name]);
  if (!suited.length) return null;
  const chosen = select(suited, suited.some(([id]) => id === model.dataset) ? model.dataset : suited[0][0]);
  chosen.setAttribute("aria-label", text.job.dataset);
  async function evaluate() {
    const job = await ask("/v1/jobs", { method: "POST", json: { kind: "evaluation", model: model.id, dataset: chosen.value } });
    go(["jobs", job.id]);
  }
  return card(text.models.evaluation, h("p", { class: "quiet" }, text.models.evaluationAbout), h("div", { class: "row" }, h("div", {}, chosen), action(text.models.evaluate, evaluate)));
}

function lineageCard(lineage) {
  const node = (model, isHere) => (model.deleted ? h("span", { class: "node quiet" }, text.models.deleted(`${model.name}@${model.version}`)) : h("a", { class: "node", href: link(["models", model.id]), "aria-current": isHere && "page" }, `${model.name}@${model.version}`));
  const arrow = () => h("span", { class: "arrow", "aria-hidden": "true" }, "→");
  const { ancestors, model, children } = lineage;
  if (!ancestors.length && !children.length) return null;
  return card(
    text.models.lineage,
    h("div", { class: "tree" }, [...ancestors].reverse().map((one) => [node(one), arrow()]), node(model, true), children.length > 0 && [arrow(), h("ul", {}, children.map((one) => h("li", {}, node(one))))]),
  );
}

function signatureCard(signature) {
  const rows = signature.columns.map((column) => [
    h("strong", {}, column.name),
    word(column.type),
    column.categories ? column.categories.slice(0, 8).join(", ") + (column.categories.length > 8 ? " …" : "") : column.range ? `${value(column.range[0])} … ${value(column.range[1])}` : "–",
    column.may_be_missing ? text.models.yes : text.models.no,
  ]);
  const { image } = signature;
  return card(
    text.models.signature,
    rows.length > 0 && table([[text.dataset.column], [text.dataset.type], [text.dataset.values], [text.models.mayBeMissing]], rows, text.models.signature),
    pairs([
      [text.models.size, image && text.dataset.imageShape(image.width, image.height, image.channels)],
      [text.models.context, signature.context && number(signature.context)],
      [text.models.steps, signature.steps && number(signature.steps)],
      [text.models.ignored, signature.ignored.join(", ")],
    ]),
  );
}

function madeCard(model) {
  return card(
    text.models.made,
    pairs([
      [text.job.id, h("code", {}, model.id)],
      [text.models.origin, word(model.origin)],
      [text.models.job, model.job && h("a", { href: link(["jobs", model.job]) }, model.job)],
      [text.job.dataset, model.dataset && h("a", { href: link(["data", model.dataset]) }, model.dataset)],
      [text.models.licence, model.published && `${model.published.title}, ${model.published.licence}`],
      [text.models.network, h("code", {}, JSON.stringify(model.backbone))],
      [text.models.method, model.method && h("code", {}, JSON.stringify(model.method))],
      [text.models.strategy, model.strategy && h("code", {}, JSON.stringify(model.strategy))],
    ]),
  );
}

function filesCard(model) {
  const rows = model.files.map((file) => [action(text.job.download(file.name), () => save(file), { class: "slim" }), bytes(file.bytes), h("code", {}, file.sha256.slice(0, 16))]);
  return tableCard(text.models.files, table([[text.models.file], [text.models.bytes, true], ["SHA-256"]], rows, text.models.files));
}
