// A transfer report: its verdict in one sentence, each control with the interval of the gain, and what it cost.

import { h, svg } from "../dom.js";
import { number, word } from "../format.js";
import { link } from "../router.js";
import { text } from "../text.js";
import { chart } from "./chart.js";
import { card, figure, table, tableCard } from "./layout.js";

const [WIDTH, HEIGHT, EDGE] = [220, 22, 4];
const AS_SHARES = ["accuracy", "label_accuracy", "r2"]; // scores that are shown in points of 100

/** The verdict of a job's report with a link to all of it; null where the job has none. */
export function transferCard(job) {
  const report = job?.metrics?.transfer;
  if (!report) return null;
  return card(text.transfer.title, verdicts(report), h("div", {}, h("a", { class: "button", href: link(["jobs", job.id, "transfer"]) }, text.transfer.open)));
}

/** All of a report: the verdict of each head, its controls, the labels that it saves, and the budget. */
export function transferParts(report) {
  return [
    card(text.transfer.verdict, verdicts(report)),
    ...Object.entries(report.heads).flatMap(([name, head]) => [controlsCard(name, head), savedCard(name, head)]),
    costCard(report),
  ];
}

/** A sentence for each head; of one head it need not say which. */
function verdicts(report) {
  const heads = Object.entries(report.heads);
  return heads.map(([name, head]) =>
    h("div", { class: "stack" }, h("p", { class: "verdict" }, heads.length > 1 && h("strong", {}, `${name}: `), sentence(head)), head.gain && h("p", { class: "small quiet" }, text.transfer.because(named(head.reason)))),
  );
}

function sentence(head) {
  if (!head.gain) return text.transfer.unmeasured(named(head.reason));
  return text.transfer.verdicts[head.verdict](`${gainOf(head, head.gain)} ${text.transfer.scores[head.score] ?? word(head.score)}`, intervalOf(head, head.gain), controlName(head.best_control));
}

function controlName(control) {
  return text.transfer.controls[control]?.name ?? word(control);
}

/** A reason with the names of controls instead of their keys. */
function named(reason) {
  return reason.replace(new RegExp(`\\b(${Object.keys(text.transfer.controls).join("|")})\\b`, "g"), controlName);
}

function signed(head, value) {
  const shown = AS_SHARES.includes(head.score) ? (100 * value).toFixed(1) : number(value, 3);
  return value > 0 ? `+${shown}` : shown.replace("-", "−"); // a minus sign stands as wide as a plus
}

function gainOf(head, gain) {
  return signed(head, gain.value);
}

function intervalOf(head, gain) {
  return text.measures.interval(signed(head, gain.low), signed(head, gain.high));
}

function controlsCard(name, head) {
  const differences = Object.values(head.controls).map((control) => control.gain).filter(Boolean);
  const low = Math.min(0, ...differences.map((gain) => gain.low));
  const high = Math.max(0, ...differences.map((gain) => gain.high));
  const rows = Object.entries(head.controls).map(([control, one]) => [
    [h("strong", {}, controlName(control)), h("div", { class: "small quiet" }, text.transfer.controls[control]?.about)],
    number(one.score),
    number(one.trainings),
    one.gain ? `${gainOf(head, one.gain)} (${intervalOf(head, one.gain)})` : one.reason,
    one.gain && range(one.gain, low, high),
  ]);
  const own = [h("strong", {}, text.transfer.pretrained), number(head.pretrained), "", "", ""];
  const title = text.transfer.compared(name);
  const columns = [[text.transfer.what], [word(head.score), true], [text.transfer.trainings, true], [AS_SHARES.includes(head.score) ? text.transfer.gainPoints : text.transfer.gain], [text.transfer.range]];
  return tableCard(title, table(columns, [own, ...rows], title));
}

/** The interval of a gain as a line with a dot, and where nothing is gained. */
function range(gain, low, high) {
  const x = (value) => EDGE + ((WIDTH - 2 * EDGE) * (value - low)) / (high - low || 1);
  return h(
    "div",
    { class: "chart range", "aria-hidden": "true" },
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}` },
      svg("line", { class: "mark", x1: x(0), x2: x(0), y1: 0, y2: HEIGHT }),
      svg("line", { class: "line c1", x1: x(gain.low), x2: x(gain.high), y1: HEIGHT / 2, y2: HEIGHT / 2 }),
      svg("circle", { class: "b1", cx: x(gain.value), cy: HEIGHT / 2, r: 3.5 }),
    ),
  );
}

function savedCard(name, head) {
  const saved = head.labels_saved;
  if (saved.needed === null) return null;
  const points = [...saved.curve].reverse();
  const line = { name: text.transfer.pretrained, x: points.map((one) => one.labels), y: points.map((one) => one.score) };
  const control = { name: controlName(head.best_control), x: [line.x[0], line.x.at(-1)], y: Array(2).fill(head.controls[head.best_control].score) };
  const title = text.transfer.saved(name);
  return card(
    title,
    h("p", {}, (saved.or_fewer ? text.transfer.neededAtMost : text.transfer.needed)(number(saved.needed), number(points.at(-1).labels), controlName(head.best_control))),
    chart({ lines: [line, control], xLabel: text.transfer.labels, yLabel: word(head.score), label: title }),
  );
}

function costCard(report) {
  const unit = text.transfer.clocks[report.clock];
  return card(
    text.transfer.cost,
    h(
      "div",
      { class: "figures" },
      figure(text.transfer.budget, text.transfer.seconds(number(report.seconds, 3)), text.transfer.ofBudget(number(report.budget_seconds), unit)),
      figure(text.transfer.rounds, number(report.rounds)),
      figure(text.transfer.labels, number(report.labels)),
      figure(text.transfer.measuredOn, report.folds ? text.transfer.folds(report.folds) : word(report.measured_on)),
    ),
    report.needed_seconds !== null && h("p", {}, text.transfer.more(number(report.needed_seconds), unit)),
  );
}
