// One dataset as it was read: what is doubtful first, then what it is, then what was decided.

import { ask, pause } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes, number, percent, time, word } from "../format.js";
import { histogram, sparkline } from "../parts/chart.js";
import { action, confirmed, toast, toastError } from "../parts/feedback.js";
import { badge, bars, card, errorNote, figure, page, pairs, select, table, tableCard } from "../parts/layout.js";
import { decisionTable, optionButtons, warningNotes } from "../parts/notices.js";
import { schemaForm } from "../parts/schema_form.js";
import { go, link } from "../router.js";
import { text } from "../text.js";
import { sum } from "./data.js";

const PIECES = 4;
const ROWS_OF_PIECE = 3;
const SHOWN_CLASSES = 20;
const POLL_MILLISECONDS = 400;


export async function datasetView({ params, signal, again }) {
  const path = `/v1/datasets/${encodeURIComponent(params.id)}`;
  const dataset = await ask(path, { signal });
  const crumb = { href: "#/data", name: text.data.title };
  const meta = h("span", { class: "row" }, badge(dataset.status), `${dataset.filename} · ${bytes(dataset.bytes)} · ${time(dataset.created_at)}`);

  if (dataset.status === "preparing") {
    waitUntilRead(path, signal, again);
    return page(dataset.name, { crumb, meta }, card(text.dataset.reading, h("progress", { "aria-label": text.dataset.reading }), h("p", { class: "quiet" }, text.dataset.readingAbout)));
  }
  const prepare = (options) => prepareAgain(path, dataset, options);
  const actions = [
    dataset.status === "ready" && h("a", { class: "button primary", href: link(["jobs", "new"], { dataset: dataset.id }) }, text.dataset.train),
    dataset.targets?.length > 0 && action(text.dataset.recommend, () => recommend(dataset)),
    action(text.common.delete, () => remove(path, dataset), { class: "danger" }),
  ];
  const { schema } = await ask("/v1/catalogue/jobs/preparation", { signal });
  if (dataset.status === "failed") return page(dataset.name, { crumb, meta, actions }, failure(dataset, prepare), optionsCard(schema, prepare, true));
  const [report, rows] = await Promise.all([
    ask(`${path}/report`, { signal }),
    someRows(path, sum(dataset.rows), signal),
  ]);
  return page(
    dataset.name,
    { crumb, meta, actions },
    report.warnings.length > 0 && card(text.dataset.warnings, warningNotes(report.warnings, prepare)),
    !dataset.targets.length && targetChooser(dataset, prepare),
    overview(dataset, report),
    dataset.targets.map((target) => targetCard(target, report)),
    columnsCard(report),
    rowsCard(dataset, rows),
    dataset.decisions.length > 0 && tableCard(text.dataset.decisions, decisionTable(dataset.decisions, prepare)),
    (report.cleaning.length > 0 || report.notices.length > 0) && cleaningCard(report),
    report.leaks && leaksCard(report.leaks),
    dataset.modality === "image" && previewCard(path, signal),
    optionsCard(schema, prepare, false),
  );
}

async function waitUntilRead(path, signal, again) {
  try {
    for (;;) {
      await pause(POLL_MILLISECONDS, signal);
      const now = await ask(path, { signal });
      if (now.status !== "preparing") break;
    }
    again();
  } catch (error) {
    toastError(error);
  }
}

/** Some rows from all over the dataset, which may be sorted by class. */
async function someRows(path, total, signal) {
  const pieces = Math.min(PIECES, Math.ceil(total / ROWS_OF_PIECE));
  const offsets = Array.from({ length: pieces }, (_, piece) => Math.floor((piece * total) / pieces));
  const answers = await Promise.all(offsets.map((offset) => ask(`${path}/rows`, { query: { limit: ROWS_OF_PIECE, offset }, signal })));
  return answers.flatMap((answer) => answer.data);
}

async function prepareAgain(path, dataset, options) {
  const version = await ask(`${path}/versions`, { method: "POST", json: { name: dataset.name, options } });
  toast(text.dataset.preparing);
  go(["data", version.id]);
}

async function recommend(dataset) {
  const job = await ask("/v1/recommendations", { method: "POST", json: { dataset: dataset.id, target: dataset.targets[0].name } });
  go(["jobs", job.id]);
}

async function remove(path, dataset) {
  if (!(await confirmed(text.dataset.deleteQuestion(dataset.name), text.common.delete))) return;
  await ask(path, { method: "DELETE" });
  go(["data"]);
}

function failure(dataset, prepare) {
  const { error } = dataset;
  return card(
    text.dataset.failed,
    errorNote({ message: error.message, code: error.code, errors: error.errors.map((item) => ({ ...item, loc: item.row === null ? item.loc : [text.dataset.row(item.row)] })) }),
    optionButtons(error.message, prepare),
  );
}

/** All options of a preparation: those that are set make a further dataset of the same file. */
function optionsCard(schema, prepare, isOpen) {
  const form = schemaForm(schema);
  return card(
    text.dataset.options,
    h("p", { class: "quiet" }, text.dataset.optionsAbout),
    h("details", { open: isOpen }, h("summary", {}, text.dataset.allOptions), h("div", { class: "stack" }, form.element, h("div", { class: "row" }, action(text.dataset.retry, () => prepare(form.read()), { class: "primary" })))),
  );
}

function targetChooser(dataset, prepare) {
  if (!dataset.columns?.length) return null;
  const names = dataset.columns.map((column) => [column.name, column.name]);
  const column = select(names, names.at(-1)[0]);
  column.setAttribute("aria-label", text.dataset.target);
  return card(
    text.dataset.noTarget,
    h("p", { class: "quiet" }, text.dataset.noTargetAbout),
    h("div", { class: "row" }, h("div", {}, column), action(text.dataset.predict, () => prepare({ columns: { [column.value]: "target" } }), { class: "primary" })),
  );
}

function overview(dataset, report) {
  const removed = Object.entries(report.rows.removed).filter(([, count]) => count > 0);
  const splits = Object.entries(dataset.rows);
  const total = sum(dataset.rows);
  return card(
    text.dataset.overview,
    h(
      "div",
      { class: "figures" },
      figure(text.dataset.kind, word(dataset.modality), shapeOf(report)),
      figure(text.dataset.kept, number(report.rows.kept), text.dataset.read(number(report.rows.read))),
      splits.map(([split, count]) => figure(word(split), number(count), percent(count / Math.max(total, 1)))),
    ),
    removed.length > 0 && h("div", { class: "stack" }, h("h3", {}, text.dataset.removed), bars(removed.map(([reason, count]) => [word(reason), count, number(count)]))),
    report.removals.length > 0 && h("details", {}, h("summary", {}, text.dataset.removals), table([[text.dataset.rowNumber, true], [text.dataset.reason], [text.dataset.detail]], report.removals.slice(0, 100).map((row) => [number(row.row), word(row.reason), row.detail]), text.dataset.removals)),
  );
}

function shapeOf(report) {
  const { image, text: texts, series } = report;
  if (image) return text.dataset.imageShape(image.width, image.height, image.channels);
  if (texts) return text.dataset.textShape(number(Math.round(texts.mean)), number(texts.longest));
  if (series) return text.dataset.seriesShape(series.channels.length, number(series.longest));
  return text.dataset.tableShape(report.columns.length);
}

function targetCard(target, report) {
  const profile = report.targets.find((one) => one.name === target.name);
  const title = text.dataset.targetTitle(target.name);
  if (!profile) return null;
  const unlabelled = profile.missing ? h("p", { class: "small quiet" }, text.dataset.unlabelled(number(profile.missing))) : null;
  if (target.type === "number") {
    const entries = [[text.dataset.lowest, number(profile.min)], [text.dataset.highest, number(profile.max)], [text.dataset.mean, number(profile.mean)], [text.dataset.deviation, number(profile.std)]];
    return card(title, pairs(entries), profile.histogram.length > 0 && histogram(profile.histogram, text.dataset.histogram(target.name)), unlabelled);
  }
  const classes = Object.entries(profile.classes).map(([name, splits]) => [name, sum(splits), number(sum(splits))]);
  classes.sort((one, other) => other[1] - one[1]);
  const left = classes.length - SHOWN_CLASSES;
  return card(title, bars(classes.slice(0, SHOWN_CLASSES)), left > 0 && h("p", { class: "small quiet" }, text.dataset.moreClasses(left)), unlabelled);
}

function columnsCard(report) {
  const columns = report.series ? report.series.channels.map((channel) => ({ ...channel, type: "number" })) : report.columns;
  if (!columns.length) return null;
  const heads = [[text.dataset.column], [text.dataset.type], [text.dataset.missing, true], [text.dataset.values], [text.dataset.spread]];
  const cells = columns.map((column) => [
    h("strong", {}, column.name),
    word(column.type),
    column.missing ? percent(column.missing / Math.max(column.count + column.missing, 1)) : "0",
    valuesOf(column),
    column.histogram?.length ? histogram(column.histogram, text.dataset.histogram(column.name)) : shareBars(column),
  ]);
  return tableCard(text.dataset.columns(columns.length), table(heads, cells, text.dataset.columns(columns.length)));
}

function valuesOf(column) {
  if (column.earliest) return `${column.earliest} … ${column.latest}`;
  if (column.min !== null && column.min !== undefined) return `${number(column.min)} … ${number(column.max)}`;
  const names = Object.keys(column.top ?? {});
  const more = (column.distinct ?? names.length) - Math.min(names.length, 3);
  return names.slice(0, 3).join(", ") + (more > 0 ? ` ${text.dataset.more(number(more))}` : "");
}

function shareBars(column) {
  const counts = Object.values(column.top ?? {});
  return counts.length ? histogram(counts.slice(0, 20), text.dataset.histogram(column.name)) : "";
}

function rowsCard(dataset, rows) {
  const title = text.dataset.rows;
  const label = (row) => Object.values(row.targets).map((one) => (one === null ? "–" : String(one))).join(", ");
  if (dataset.modality === "image") {
    return card(title, h("div", { class: "pictures" }, rows.map((row) => h("figure", {}, h("img", { src: row.input, alt: text.dataset.picture(row.row) }), h("figcaption", {}, label(row) || word(row.split))))));
  }
  if (dataset.modality === "series") {
    return card(title, h("div", { class: "series" }, rows.map((row) => h("figure", { class: "stack" }, sparkline(row.input, text.dataset.seriesRow(row.row)), h("figcaption", { class: "small quiet" }, [text.dataset.row(row.row), label(row)].filter(Boolean).join(" · "))))));
  }
  const targets = dataset.targets.map((target) => [target.name]);
  const names = dataset.modality === "text" ? ["text"] : Object.keys(rows[0]?.input ?? {});
  const columns = [[text.dataset.rowNumber, true], [text.dataset.split], ...names.map((name) => [name]), ...targets];
  const cells = rows.map((row) => [
    number(row.row),
    word(row.split),
    ...names.map((name) => shown(row.input[name])),
    ...targets.map(([name]) => h("strong", {}, shown(row.targets[name]))),
  ]);
  return tableCard(title, table(columns, cells, title));
}

function shown(item) {
  return item === null || item === undefined ? h("span", { class: "quiet" }, text.common.missing) : typeof item === "number" ? number(item, 6) : String(item);
}

function cleaningCard(report) {
  const rows = report.cleaning.map((step) => [word(step.kind), text.dataset.affected(number(step.affected), step.unit), step.decision, step.examples.join("; ")]);
  return tableCard(
    text.dataset.cleaning,
    rows.length > 0 && table([[text.dataset.step], [text.dataset.found], [text.dataset.how], [text.dataset.examples]], rows, text.dataset.cleaning),
    report.notices.map((notice) => h("p", { class: "inset" }, notice)),
  );
}

function leaksCard(leaks) {
  return card(
    text.dataset.leaks,
    h("p", {}, leaks.advice),
    leaks.counts.length > 0 && table([[text.dataset.alike], [text.dataset.split], [text.dataset.alsoIn], [text.dataset.rows, true]], leaks.counts.map((count) => [word(count.kind), word(count.split), word(count.other_split), number(count.rows)]), text.dataset.leaks),
  );
}

/** What an augmentation does to some pictures. */
function previewCard(path, signal) {
  const body = h("div", { role: "status" });
  const kinds = text.dataset.augmentations;
  const choice = select(Object.entries(kinds), Object.keys(kinds)[0]);
  choice.setAttribute("aria-label", text.dataset.augmentation);
  async function preview() {
    const json = { augmentations: [{ kind: choice.value }], limit: 6 };
    const answer = await ask(`${path}/previews`, { method: "POST", json, signal });
    const picture = (source, name) => h("img", { src: source, alt: name });
    fill(
      body,
      h("div", { class: "pictures" }, answer.data.flatMap((row) => [
        h("figure", {}, picture(row.before, text.dataset.before(row.row)), h("figcaption", {}, text.dataset.before(row.row))),
        h("figure", {}, picture(row.after, text.dataset.after(row.row)), h("figcaption", {}, text.dataset.after(row.row))),
      ])),
    );
  }
  return card(text.dataset.previews, h("div", { class: "row" }, h("div", {}, choice), action(text.dataset.preview, preview)), body);
}
