// What a job has measured of its heads: figures with intervals, classes, and curves.

import { ask } from "../api.js";
import { h } from "../dom.js";
import { number, percent, word } from "../format.js";
import { link } from "../router.js";
import { text } from "../text.js";
import { chart } from "./chart.js";
import { card, figure, table, tableCard } from "./layout.js";

const FIRST = ["accuracy", "balanced_accuracy", "macro_f1", "auc_roc", "r2", "mae", "rmse", "spearman", "perplexity"];
const SHARES = /accuracy|f1|precision|recall/;
const MAX_FIGURES = 4;
const MAX_MATRIX = 30;

/** A card for each head that was measured. */
export function headCards(metrics) {
  if (!metrics?.heads) return [];
  const rows = (measured) => text.measures.on(number(measured.rows ?? metrics.rows), word(metrics.split));
  return Object.entries(metrics.heads).map(([head, measured]) =>
    card(
      text.measures.title(head),
      h("p", { class: "small quiet" }, rows(measured)),
      h("div", { class: "figures" }, namesOf(measured).slice(0, MAX_FIGURES).map((name) => figure(word(name), shown(name, measured[name]), interval(name, measured.intervals?.[name])))),
      h("details", {}, h("summary", {}, text.measures.all), allOf(measured, head)),
      measured.confusion_matrix && matrix(measured.confusion_matrix, head),
    ),
  );
}

/** What a job has measured, in one list: [{head, name, shown, interval}]; losses have no head. */
export function measuresOf(metrics) {
  const whole = metrics?.measured ?? metrics ?? {};
  const entries = (measured, head) => namesOf(measured).map((name) => ({ head, name, shown: shown(name, measured[name]), interval: interval(name, measured.intervals?.[name]) }));
  return [...Object.entries(whole.heads ?? {}).flatMap(([head, measured]) => entries(measured, head)), ...entries(whole.losses ?? {}, null)];
}

function namesOf(measured) {
  const names = Object.keys(measured).filter((name) => typeof measured[name] === "number" && name !== "rows");
  const place = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return names.sort((one, other) => place(one) - place(other));
}

function shown(name, value) {
  return SHARES.test(name) ? percent(value) : number(value);
}

function interval(name, range) {
  return range ? text.measures.interval(shown(name, range.low), shown(name, range.high)) : null;
}

function withInterval(one, name) {
  const range = one.intervals?.[name];
  return range ? text.measures.shareWithin(percent(one[name]), percent(range.low), percent(range.high)) : percent(one[name]);
}

function allOf(measured, head) {
  const rows = namesOf(measured).map((name) => [word(name), shown(name, measured[name]), interval(name, measured.intervals?.[name]) ?? "–"]);
  const classes = Object.entries(measured.by_class ?? measured.by_label ?? {}).map(([name, one]) => [name, number(one.rows), withInterval(one, "precision"), withInterval(one, "recall"), percent(one.f1)]);
  return h(
    "div",
    { class: "stack" },
    table([[text.measures.measure], [text.measures.value, true], [text.measures.range]], rows, text.measures.title(head)),
    classes.length > 0 && table([[text.measures.class], [text.measures.rows, true], [text.measures.precision, true], [text.measures.recall, true], ["F1", true]], classes, text.measures.classes(head)),
  );
}

/** A confusion matrix: the truth by row, darker where more of it was answered so. */
export function matrix({ classes, counts }, head) {
  if (classes.length > MAX_MATRIX) return h("p", { class: "small quiet" }, text.measures.tooLarge(classes.length));
  const row = (name, line) => {
    const total = line.reduce((sum, count) => sum + count, 0);
    const shade = (count) => ({ background: `color-mix(in srgb, var(--accent) ${Math.round((42 * count) / Math.max(total, 1))}%, var(--raised))` });
    return h("tr", {}, h("th", { scope: "row" }, name), line.map((count) => h("td", { style: shade(count) }, number(count))));
  };
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": text.measures.matrix(head) },
    h("table", { class: "matrix" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, text.measures.truth), classes.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, counts.map((line, index) => row(classes[index], line)))),
  );
}

/** The differences to a baseline on the same rows, by head and measure. */
export function comparisonCard(comparison, baseline) {
  const rows = Object.entries(comparison).flatMap(([head, measures]) =>
    Object.entries(measures).map(([name, one]) => [head, word(name), number(one.difference), one.low === null ? "–" : `${number(one.low)} … ${number(one.high)}`, word(one.verdict)]),
  );
  const columns = [[text.measures.head], [text.measures.measure], [text.measures.difference, true], [text.measures.range], [text.measures.verdict]];
  return tableCard(text.job.compared, h("p", { class: "inset" }, text.measures.baseline, h("a", { href: link(["models", baseline]) }, baseline)), table(columns, rows, text.job.compared));
}

/** Charts of how the losses and measures went over the steps: the losses first, then a chart for each measure. */
export function learningCharts(curve) {
  const groups = new Map();
  for (const line of curve.lines) {
    if (line.name === "train/lr" || line.x.length === 0) continue;
    const name = line.name.split("/").at(-1);
    const group = name.endsWith("loss") ? text.measures.losses : word(name);
    groups.set(group, [...(groups.get(group) ?? []), line]);
  }
  return [...groups].map(([name, lines]) => h("div", { class: "stack" }, h("h3", {}, name), chart({ lines, xLabel: curve.x_label, label: name })));
}

/** The curves of a job's heads, without its confusion matrices, which stand among the figures. */
export async function headCurves(jobId, signal) {
  const listed = await ask(`/v1/jobs/${encodeURIComponent(jobId)}/curves`, { signal });
  const shown = listed.data.filter((entry) => !["learning", "confusion_matrix"].includes(entry.kind));
  const curves = await Promise.all(shown.slice(0, 12).map((entry) => ask(`/v1/jobs/${encodeURIComponent(jobId)}/curves/${entry.kind}`, { query: { head: entry.head }, signal })));
  return curves.map(headCurveChart);
}

/** A curve of a head as a chart under its name. */
export function headCurveChart(curve) {
  const name = text.measures.curve(word(curve.kind), curve.head);
  const isPredictions = curve.kind === "predictions"; // all other curves are of shares
  const isPrecision = curve.kind === "precision_recall";
  const lines = curve.lines.map((line) => ({ ...(isPrecision ? fromNoRecall(line) : line), name: line.area === null ? line.name : text.measures.area(line.name, number(line.area, 3)) }));
  const about = lines.some((line) => line.low?.length) && h("p", { class: "small quiet" }, text.measures.intervals[curve.kind]);
  return h("div", { class: "stack" }, h("h3", {}, name), about, chart({ lines, xLabel: curve.x_label, yLabel: curve.y_label, label: name, unit: !isPredictions, diagonal: !isPrecision, points: isPredictions, whiskers: isPredictions || curve.kind === "calibration", step: isPrecision }));
}

/** A precision curve whose first step begins where it does: at a recall of 0. */
function fromNoRecall(line) {
  const before = (values) => [...(values ?? []).slice(0, 1), ...(values ?? [])];
  return { ...line, x: line.x.length ? [0, ...line.x] : [], y: before(line.y), low: before(line.low), high: before(line.high) };
}
