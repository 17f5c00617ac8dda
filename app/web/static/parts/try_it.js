// Try a model: a row, a text, a picture or a series, and its answers with probabilities and warnings.

import { ask, complain } from "../api.js";
import { fill, h } from "../dom.js";
import { number, percent, value } from "../format.js";
import { text } from "../text.js";
import { sparkline } from "./chart.js";
import { dropZone } from "./drop.js";
import { action } from "./feedback.js";
import { bars, errorNote, field, select, table } from "./layout.js";
import { warningNotes } from "./notices.js";

const MANY_CATEGORIES = 200;
const SHOWN_CLASSES = 8;
const SHOWN_ROWS = 100;
const SMALL = 64; // pixels up to which a picture can be drawn by hand
const MEDIA = { csv: "text/csv", tsv: "text/tab-separated-values", jsonl: "application/x-ndjson", parquet: "application/vnd.apache.parquet", npy: "application/x-npy", json: "application/json" };

/** The form of a model and its answers; `onInput(json)` hears what was asked. */
export function tryIt(model, { signal, onInput }) {
  const { signature } = model;
  const answers = h("div", { class: "stack", role: "status" });
  const path = `/v1/models/${encodeURIComponent(model.id)}/predictions`;

  async function predict(options) {
    try {
      const answer = await ask(path, { method: "POST", signal, ...options });
      fill(answers, answerNotes(answer));
    } catch (error) {
      complain(error, () => fill(answers, errorNote(error)));
    }
  }
  const predictRow = (row) => {
    const json = { inputs: [row] };
    onInput(json);
    return predict({ json });
  };
  const predictFile = ([file]) => predict({ body: file, headers: { "Content-Type": file.type || MEDIA[file.name.split(".").at(-1).toLowerCase()] || "application/octet-stream" } });

  const form = { table: rowForm, text: textForm, image: pictureForm, series: seriesForm }[signature.modality](model, predictRow, predictFile, signal);
  return h("div", { class: "grid" }, h("div", { class: "stack" }, form), h("div", { class: "stack" }, h("h3", {}, text.tryIt.answers), answers));
}

function rowForm(model, predictRow, predictFile, signal) {
  const { columns, example } = model.signature;
  const first = example.inputs[0] ?? {};
  const controls = columns.map((column) => [column.name, columnControl(column, first[column.name])]);
  const read = () => Object.fromEntries(controls.map(([name, control]) => [name, control.value === "" ? null : control.value]));
  const fillIn = (row) => controls.forEach(([name, control]) => { control.value = row[name] ?? ""; });
  const submit = (event) => {
    event.preventDefault();
    predictRow(read());
  };
  return [
    h(
      "form",
      { class: "stack", onsubmit: submit },
      h("div", { class: "fields" }, controls.map(([name, control], index) => field(name, control, hintOf(columns[index])))),
      h("div", { class: "row" }, h("button", { class: "primary" }, text.tryIt.predict), model.dataset && action(text.tryIt.another, async () => fillIn(await someRow(model, signal)))),
    ),
    dropZone({ name: text.tryIt.chooseFile, onFiles: predictFile }, h("p", { class: "quiet" }, text.tryIt.dropRows)),
  ];
}

function columnControl(column, given) {
  if (column.categories && column.categories.length <= MANY_CATEGORIES) {
    return select([["", text.common.missing], ...column.categories.map((name) => [name, name])], given ?? column.categories[0]);
  }
  return h("input", { type: "text", inputmode: column.type === "number" && "decimal", value: given ?? "", autocomplete: "off" });
}

function hintOf(column) {
  return column.range ? text.tryIt.range(value(column.range[0]), value(column.range[1])) : null;
}

/** A row of the dataset that the model was made from. */
async function someRow(model, signal) {
  const path = `/v1/datasets/${encodeURIComponent(model.dataset)}/rows`;
  const { total } = await ask(path, { query: { limit: 1 }, signal });
  const rows = await ask(path, { query: { limit: 1, offset: Math.floor(Math.random() * total) }, signal });
  return rows.data[0].input;
}

function textForm(model, predictRow, predictFile, signal) {
  const first = model.signature.example.inputs[0];
  const input = h("textarea", { rows: "5" });
  input.value = typeof first === "string" ? first : Object.values(first ?? {})[0] ?? "";
  const submit = (event) => {
    event.preventDefault();
    predictRow(input.value);
  };
  return h(
    "form",
    { class: "stack", onsubmit: submit },
    field(text.tryIt.text, input, model.signature.context && text.tryIt.context(number(model.signature.context))),
    h("div", { class: "row" }, h("button", { class: "primary" }, text.tryIt.predict), model.dataset && action(text.tryIt.anotherText, async () => { input.value = (await someRow(model, signal)).text; })),
  );
}

function pictureForm(model, predictRow, predictFile, signal) {
  const { image } = model.signature;
  const preview = h("div");
  const show = (blobs) => {
    const url = URL.createObjectURL(blobs[0]);
    fill(preview, h("img", { class: "picture", src: url, alt: text.tryIt.picture, style: { width: "160px" }, onload: () => URL.revokeObjectURL(url) }));
    return predictFile(blobs);
  };
  async function anotherRow() {
    const source = await someRow(model, signal);
    const binary = atob(source.split(",")[1]);
    const bytes = Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
    await show([new File([bytes], "row.png", { type: "image/png" })]);
  }
  return [
    dropZone({ name: text.tryIt.choosePicture, accept: "image/*", onFiles: show }, h("p", { class: "quiet" }, text.tryIt.dropPicture(image.width, image.height))),
    model.dataset && h("div", { class: "row" }, action(text.tryIt.anotherPicture, anotherRow)),
    preview,
    image.channels === 1 && Math.max(image.width, image.height) <= SMALL && drawing(show),
  ];
}

/** A pad to draw on, white on black as most such pictures are. */
function drawing(onPicture) {
  const canvas = h("canvas", { class: "pad", width: "224", height: "224", "aria-label": text.tryIt.pad, role: "img" });
  const brush = canvas.getContext("2d");
  const clear = () => brush.fillRect(0, 0, canvas.width, canvas.height);
  clear();
  let isDown = false;
  const place = (event) => [(event.offsetX * canvas.width) / canvas.clientWidth, (event.offsetY * canvas.height) / canvas.clientHeight];
  canvas.addEventListener("pointerdown", (event) => {
    isDown = true;
    canvas.setPointerCapture(event.pointerId);
    Object.assign(brush, { lineWidth: 20, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
    brush.beginPath();
    brush.moveTo(...place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!isDown) return;
    brush.lineTo(...place(event));
    brush.stroke();
  });
  canvas.addEventListener("pointerup", () => { isDown = false; });
  const send = () => new Promise((resolve) => canvas.toBlob((blob) => resolve(onPicture([new File([blob], "drawn.png", { type: "image/png" })]))));
  return h("details", {}, h("summary", {}, text.tryIt.draw), h("div", { class: "stack" }, canvas, h("div", { class: "row" }, action(text.tryIt.predictDrawing, send, { class: "primary" }), h("button", { type: "button", onclick: clear }, text.tryIt.clear))));
}

function seriesForm(model, predictRow, predictFile, signal) {
  const input = h("textarea", { rows: "8", class: "mono", spellcheck: "false", oninput: draw });
  const picture = h("div");
  const problem = h("div");
  const names = model.signature.columns.map((column) => column.name);
  const write = (rows) => {
    input.value = rows.map((step) => step.map((one) => one ?? "").join(", ")).join("\n");
    draw();
  };
  function read() {
    return input.value.trim().split("\n").map((line) => line.split(/[,;\t]/).map((cell) => (cell.trim() === "" ? null : Number(cell))));
  }
  function draw() {
    const rows = read();
    const isWhole = rows.every((step) => step.length === names.length && step.every((one) => one === null || Number.isFinite(one)));
    fill(picture, isWhole && sparkline(rows, text.tryIt.series));
    fill(problem, !isWhole && h("p", { class: "small quiet" }, text.tryIt.stepsAre(names.join(", "))));
  }
  const submit = (event) => {
    event.preventDefault();
    predictRow(read());
  };
  const first = model.signature.example.inputs[0] ?? [];
  write(first.map((step) => (Array.isArray(step) ? step : names.map((name) => step?.[name] ?? step))));
  return h(
    "form",
    { class: "stack", onsubmit: submit },
    field(text.tryIt.steps, input, text.tryIt.stepsAre(names.join(", "))),
    picture,
    problem,
    h("div", { class: "row" }, h("button", { class: "primary" }, text.tryIt.predict), model.dataset && action(text.tryIt.anotherSeries, async () => write(await someRow(model, signal)))),
  );
}

/** What was answered: one input with its probabilities, many as a table. */
function answerNotes(answer) {
  const { predictions } = answer;
  const parts = [h("p", { class: "small quiet" }, text.tryIt.by(`${answer.model.name}@${answer.model.version}`)), ...warningNotes(answer.warnings)];
  if (predictions.length === 1) return [...Object.entries(predictions[0]).map(([head, one]) => h("div", { class: "note" }, h("h3", {}, head), answerOf(one))), ...parts];
  const heads = Object.keys(predictions[0] ?? {});
  const rows = predictions.slice(0, SHOWN_ROWS).map((one, index) => [number(index), ...heads.map((head) => inWords(one[head]))]);
  return [table([[text.dataset.rowNumber, true], ...heads.map((head) => [head])], rows, text.tryIt.answers), predictions.length > SHOWN_ROWS && h("p", { class: "small quiet" }, text.tryIt.shownOf(SHOWN_ROWS, number(predictions.length))), ...parts];
}

function answerOf(one) {
  const probabilities = one.probabilities && !Array.isArray(one.probabilities) ? Object.entries(one.probabilities) : [];
  probabilities.sort((first, second) => second[1] - first[1]);
  return [
    h("p", {}, h("b", { class: "answer" }, inWords(one))),
    probabilities.length > 0 && bars(probabilities.slice(0, SHOWN_CLASSES).map(([name, share]) => [name, share, percent(share)]), { total: 1, answer: true }),
  ];
}

function inWords(one) {
  if (one === null || typeof one !== "object") return value(one);
  if ("class" in one) return value(one.class);
  if ("labels" in one) return one.labels.join(", ") || text.tryIt.noLabel;
  if ("value" in one) return one.interval ? text.tryIt.interval(number(one.value), number(one.interval[0]), number(one.interval[1])) : number(one.value);
  return JSON.stringify(one);
}
