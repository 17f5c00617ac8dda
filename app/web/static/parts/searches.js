// What a search has found: the trials of a sweep, and backbones ranked for a target.

import { h, svg } from "../dom.js";
import { duration, number, value, word } from "../format.js";
import { link } from "../router.js";
import { text } from "../text.js";
import { table, tableCard } from "./layout.js";

const [WIDTH, HEIGHT, EDGE] = [720, 260, 60];

/** The trials of a sweep, best first, as lines through their values and as a table. */
export function sweepCard({ trials, metric, direction }) {
  const fields = Object.keys(trials[0]?.values ?? {});
  const rows = trials.map((trial) => [
    h("a", { href: link(["jobs", trial.job]) }, text.search.trial(trial.trial)),
    trial.metric === null ? (trial.error?.message ?? word(trial.status)) : number(trial.metric),
    ...fields.map((field) => (typeof trial.values[field] === "number" ? number(trial.values[field]) : value(trial.values[field]))),
    trial.pruned ? text.search.pruned : word(trial.status),
  ]);
  const columns = [[text.search.name], [metric, true], ...fields.map((field) => [field]), [text.jobs.status]];
  return tableCard(text.search.trials(metric, word(direction).toLowerCase()), parallel(trials, fields, metric), table(columns, rows, text.search.name));
}

/** Parallel coordinates: an axis for each field and the metric, a line for each trial, the best one in colour. */
function parallel(trials, fields, metric) {
  const measured = trials.filter((trial) => trial.metric !== null);
  if (measured.length < 2 || !fields.length) return null;
  const axes = [...fields, metric].map((name, index, all) => axisOf(name, measured.map((trial) => (name === metric ? trial.metric : trial.values[name])), EDGE + ((WIDTH - 2 * EDGE) * index) / (all.length - 1)));
  const lines = measured.map((trial, index) => {
    const places = axes.map((axis, place) => `${axis.x} ${axis.y(place === fields.length ? trial.metric : trial.values[fields[place]]).toFixed(1)}`);
    return svg("path", { class: index === 0 ? "line c1" : "line faint", d: `M${places.join("L")}` });
  });
  return h("div", { class: "chart inset" }, svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": text.search.parallel }, lines.reverse(), axes.map((axis) => axis.drawn)));
}

function axisOf(name, values, x) {
  const isNumber = values.every((one) => typeof one === "number");
  const names = [...new Set(values.map((one) => value(one)))];
  const isLog = isNumber && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 50;
  const scale = (one) => (!isNumber ? names.indexOf(value(one)) : isLog ? Math.log(one) : one);
  const [low, high] = [Math.min(...values.map(scale)), Math.max(...values.map(scale))];
  const y = (one) => HEIGHT - 34 - (HEIGHT - 60) * (high === low ? 0.5 : (scale(one) - low) / (high - low));
  const ends = isNumber ? [Math.min(...values), Math.max(...values)] : names;
  return {
    x,
    y,
    drawn: [
      svg("line", { class: "axis", x1: x, x2: x, y1: 26, y2: HEIGHT - 34 }),
      [...new Set(ends)].map((one) => svg("text", { x: x + 5, y: y(one) + 4 }, isNumber ? number(one, 3) : one)),
      svg("text", { x, y: HEIGHT - 8, "text-anchor": "middle" }, name.split(".").at(-1)),
    ],
  };
}

/** Backbones ranked for a target, and those that do not fit. */
export function rankingCard({ ranking, misfits, target, score }, onTrain) {
  const rows = ranking.map((one) => [
    number(one.rank),
    one.model ? h("a", { href: link(["models", one.model]) }, `${one.name}@${one.version}`) : text.search.raw,
    number(one.score),
    one.gain_over_raw ? text.search.gain(number(one.gain_over_raw.value, 3), number(one.gain_over_raw.low, 3), number(one.gain_over_raw.high, 3)) : "–",
    duration(one.estimate.fine_tuning_seconds),
    one.model ? onTrain(one) : "",
  ]);
  const columns = [[text.search.rank, true], [text.search.backbone], [word(score), true], [text.search.gainName], [text.search.time, true], [text.models.actions]];
  return tableCard(
    text.search.ranking(target),
    table(columns, rows, text.search.ranking(target)),
    misfits.length > 0 && h("details", { class: "inset" }, h("summary", {}, text.search.misfits(misfits.length)), h("ul", { class: "stack" }, misfits.map((one) => h("li", {}, `${one.name}@${one.version}: ${one.reason}`)))),
  );
}
