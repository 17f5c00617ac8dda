// Lines, points and bars as SVG in the page's colours; the arrow keys walk along a chart as the pointer does.

import { fill, h, svg, uniqueId } from "../dom.js";
import { number } from "../format.js";
import { text } from "../text.js";

const [WIDTH, HEIGHT] = [520, 240];
const EDGE = { left: 52, right: 8, top: 8, bottom: 32 };
const COLOURS = 6;
const TICKS = 4;
const MAX_BANDS = 3; // lines whose bands are still distinguished

/**
 * A chart of lines [{name, x, y, low, high}], y null where nothing was measured; low and high, where there are any, are
 * the ends of each point's interval, drawn as a band, or as a line through the point where `whiskers` is set.
 * `points`: dots instead of lines; `diagonal`: draw where x equals y; `unit`: both axes go from 0 to 1;
 * `label`: what it shows.
 */
export function chart({ lines, xLabel, yLabel, label, points = false, diagonal = false, step = false, whiskers = false, unit = false }) {
  const shown = lines.slice(0, 2 * COLOURS);
  const scale = scales(shown, diagonal, unit);
  const legend = h("div", { class: "legend", "aria-live": "off" });
  const cursor = svg("line", { class: "mark", y1: EDGE.top, y2: HEIGHT - EDGE.bottom, visibility: "hidden" });
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: "0", "aria-label": summary(label, shown), onpointermove: byPointer, onpointerleave: leave, onblur: leave, onkeydown: byKey },
    axes(scale, xLabel, yLabel),
    diagonal && svg("line", { class: "mark", x1: scale.x(scale.low), y1: scale.y(scale.low), x2: scale.x(scale.high), y2: scale.y(scale.high) }),
    (whiskers || shown.length <= MAX_BANDS) && shown.map((line, index) => line.low?.length > 0 && (whiskers ? whiskersOf(line, index, scale) : band(line, index, scale, step))),
    shown.map((line, index) => (points ? dots(line, index, scale) : path(line, index, scale, step))),
    cursor,
  );
  const places = [...new Set(shown.flatMap((line) => line.x))].sort((a, b) => a - b);
  let at = -1;

  function byPointer(event) {
    const box = picture.getBoundingClientRect();
    const x = scale.unx(((event.clientX - box.left) / box.width) * WIDTH);
    let nearest = 0;
    places.forEach((place, index) => {
      if (Math.abs(place - x) < Math.abs(places[nearest] - x)) nearest = index;
    });
    show(nearest);
  }
  function byKey(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -places.length, End: places.length };
    if (!(event.key in moves) || !places.length) return;
    event.preventDefault();
    legend.setAttribute("aria-live", "polite");
    show(Math.min(places.length - 1, Math.max(0, at + moves[event.key])));
  }
  function leave() {
    at = -1;
    cursor.setAttribute("visibility", "hidden");
    legend.setAttribute("aria-live", "off");
    name();
  }
  function show(index) {
    at = index;
    const x = places[at];
    cursor.setAttribute("x1", scale.x(x));
    cursor.setAttribute("x2", scale.x(x));
    cursor.setAttribute("visibility", "visible");
    name(x);
  }
  function name(x) {
    const parts = shown.map((line, index) => {
      const place = x === undefined ? -1 : line.x.indexOf(x);
      const interval = line.low?.length ? ` (${number(line.low[place], 3)} … ${number(line.high[place], 3)})` : "";
      const tail = place < 0 || line.y[place] === null ? "" : ` ${number(line.y[place])}${interval}`;
      return h("span", {}, h("i", { class: `b${(index % COLOURS) + 1}` }), `${line.name}${tail}`);
    });
    fill(legend, x !== undefined && h("span", {}, `${xLabel} ${number(x)}`), parts);
  }
  name();
  const left = lines.length - shown.length;
  return h("div", { class: "chart" }, picture, legend, left > 0 && h("p", { class: "small quiet" }, text.chart.more(left)));
}

/** A line without axes, for a cell or a preview. */
export function sparkline(rows, label) {
  const width = 240;
  const height = 72;
  const channels = rows[0]?.length ?? 0;
  const drawn = [];
  for (let channel = 0; channel < Math.min(channels, COLOURS); channel += 1) {
    const values = rows.map((row) => row[channel]);
    const known = values.filter((item) => item !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const y = (item) => 4 + (height - 8) * (1 - (item - low) / (high - low || 1));
    const x = (index) => (width * index) / Math.max(values.length - 1, 1);
    drawn.push(svg("path", { class: `line c${channel + 1}`, d: pathOf(values.map((item, index) => (item === null ? null : [x(index), y(item)]))) }));
  }
  return h("div", { class: "chart" }, svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, drawn));
}

/** Counts of equal bins as small bars. */
export function histogram(counts, label) {
  const most = Math.max(...counts, 1);
  return h(
    "div",
    { class: "histogram", role: "img", "aria-label": label, title: label, id: uniqueId("histogram") },
    counts.map((count) => h("i", { style: { height: `${Math.max((100 * count) / most, count ? 4 : 0)}%` } })),
  );
}

function scales(lines, isSquare, isUnit) {
  const xs = lines.flatMap((line) => line.x);
  const ys = lines.flatMap((line) => line.y).filter((y) => y !== null);
  let [x0, x1] = ends(xs);
  let [y0, y1] = withIntervals(ends(ys), lines);
  if (isUnit) [x0, x1, y0, y1] = [0, 1, 0, 1];
  else if (isSquare) [x0, x1] = [y0, y1] = [Math.min(x0, y0), Math.max(x1, y1)];
  const width = WIDTH - EDGE.left - EDGE.right;
  const height = HEIGHT - EDGE.top - EDGE.bottom;
  return {
    x: (value) => EDGE.left + (width * (value - x0)) / (x1 - x0 || 1),
    y: (value) => EDGE.top + height * (1 - (value - y0) / (y1 - y0 || 1)),
    unx: (place) => x0 + ((place - EDGE.left) / width) * (x1 - x0),
    low: x0,
    high: x1,
    bottom: y0,
    top: y1,
    xTicks: ticks(x0, x1),
    yTicks: ticks(y0, y1),
  };
}

function ends(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  return low === high ? [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2] : [low, high];
}

/** Make room for intervals, but for no more than as much again: a few may be endless. */
function withIntervals([low, high], lines) {
  const [least, most] = ends([low, high, ...lines.flatMap((line) => [...(line.low ?? []), ...(line.high ?? [])])]);
  return [Math.max(least, low - (high - low)), Math.min(most, high + (high - low))];
}

function ticks(low, high) {
  const rough = (high - low) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const values = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) values.push(Number(tick.toPrecision(12)));
  return values;
}

function axes(scale, xLabel, yLabel) {
  const bottom = HEIGHT - EDGE.bottom;
  return [
    scale.yTicks.map((tick) => [
      svg("line", { class: "axis", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: scale.y(tick), y2: scale.y(tick) }),
      svg("text", { x: EDGE.left - 8, y: scale.y(tick) + 4, "text-anchor": "end" }, number(tick, 3)),
    ]),
    scale.xTicks.map((tick) => svg("text", { x: scale.x(tick), y: bottom + 16, "text-anchor": "middle" }, number(tick, 3))),
    svg("text", { x: WIDTH - EDGE.right, y: HEIGHT - 2, "text-anchor": "end" }, xLabel),
    yLabel && svg("text", { x: EDGE.left, y: HEIGHT - 2 }, yLabel),
  ];
}

function path(line, index, scale, isStep) {
  const places = line.x.map((x, place) => (line.y[place] === null ? null : [scale.x(x), scale.y(line.y[place])]));
  const colour = (index % COLOURS) + 1;
  if (places.length === 1 && places[0]) return svg("circle", { class: `b${colour}`, cx: places[0][0], cy: places[0][1], r: 3 });
  return svg("path", { class: `line c${colour}`, d: pathOf(places, isStep) });
}

function band(line, index, scale, isStep) {
  const corners = (values) => line.x.flatMap((x, place) => [isStep && place > 0 && [scale.x(line.x[place - 1]), scale.y(values[place])], [scale.x(x), scale.y(values[place])]].filter(Boolean));
  return svg("path", { class: `band b${(index % COLOURS) + 1}`, d: `${pathOf([...corners(line.low), ...corners(line.high).reverse()])}Z` });
}

function whiskersOf(line, index, scale) {
  const inside = (value) => scale.y(Math.min(scale.top, Math.max(scale.bottom, value))).toFixed(2);
  return svg("path", { class: `whisker c${(index % COLOURS) + 1}`, d: line.x.map((x, place) => `M${scale.x(x).toFixed(2)} ${inside(line.low[place])}V${inside(line.high[place])}`).join("") });
}

function pathOf(places, isStep = false) {
  let isDown = false;
  return places
    .map((place) => {
      if (place === null) {
        isDown = false;
        return "";
      }
      const [x, y] = place.map((part) => part.toFixed(2));
      const command = !isDown ? `M${x} ${y}` : isStep ? `V${y}H${x}` : `L${x} ${y}`;
      isDown = true;
      return command;
    })
    .join("");
}

function dots(line, index, scale) {
  return line.x.map((x, place) =>
    line.y[place] === null ? null : svg("circle", { class: `b${(index % COLOURS) + 1}`, cx: scale.x(x), cy: scale.y(line.y[place]), r: 2.5, "fill-opacity": 0.6 }),
  );
}

function summary(label, lines) {
  const last = (line) => line.y.findLast((y) => y !== null);
  return `${label}. ${lines.map((line) => `${line.name}: ${number(last(line))}`).join(", ")}`;
}
