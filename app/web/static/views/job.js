// One job, live: phase and progress, what `auto` chose, curves, results, and its story.

import { ask, complain, download, follow, pause } from "../api.js";
import { drawer, fill, h } from "../dom.js";
import { bytes, clock, duration, number, percent, time, word } from "../format.js";
import { action, codeBlock, confirmed, toastError } from "../parts/feedback.js";
import { badge, card, errorNote, field, figure, page, pairs, table, tableCard } from "../parts/layout.js";
import { comparisonCard, headCards, headCurves, learningCharts } from "../parts/measures.js";
import { decisionTable, warningNotes } from "../parts/notices.js";
import { rankingCard, sweepCard } from "../parts/searches.js";
import { transferCard } from "../parts/transfer.js";
import { go, link } from "../router.js";
import { text } from "../text.js";
import { titleOf } from "./jobs.js";

const ENDED = ["succeeded", "failed", "cancelled"];
const LIVE_MILLISECONDS = 1000;
const CHART_PAUSE = 4; // times as long as the charts took, before they are asked for again
const MAX_LOG = 1000;
const FIRST_CHARTS = 4;

export async function jobView({ params, signal }) {
  const path = `/v1/jobs/${encodeURIComponent(params.id)}`;
  let job = await ask(path, { signal });
  const boxes = Object.fromEntries(["meta", "actions", "progress", "notes", "results", "ladder", "charts", "attempts", "about"].map((name) => [name, h("div", { class: name === "actions" ? "actions" : "parts" })]));
  boxes.meta.className = "row";
  const log = h("ol", { class: "log", tabindex: "0", "aria-label": text.job.log });
  const isFollowing = new AbortController();
  signal.addEventListener("abort", () => isFollowing.abort());
  const draw = drawer(boxes);

  function show() {
    draw("meta", [job.status, job.kind, job.waiting_for, job.queue_position], () => [badge(job.status), h("span", {}, word(job.kind)), h("span", {}, time(job.created_at)), job.waiting_for && h("span", {}, text.job.waitingFor(job.waiting_for))]);
    draw("actions", job.status, () => actionsOf(job, path, update));
    draw("progress", [job.status, job.phase, job.progress, job.queue_position], () => progressCard(job));
    draw("notes", [job.error, job.warnings], () => [job.error && errorNote(job.error), job.error && h("p", { class: "small quiet" }, text.job.errorKinds[job.error.category]), warningNotes(job.warnings)]);
    draw("results", [job.outputs, job.metrics, job.status], () => resultsOf(job, path, signal));
    draw("ladder", [job.metrics?.ladder, job.metrics?.climb], () => ladderCard(job.metrics?.ladder));
    draw("about", job.config, () => aboutCards(job));
  }

  async function update() {
    job = await ask(path, { signal });
    show();
  }

  async function live() {
    let [step, due] = [-1, 0];
    for (;;) {
      const isLast = ENDED.includes(job.status);
      if (job.kind !== "preparation" && (isLast || ((job.progress?.step ?? 0) !== step && performance.now() >= due))) {
        step = job.progress?.step ?? 0;
        const began = performance.now();
        await drawCharts();
        due = performance.now() + CHART_PAUSE * (performance.now() - began); // a million points take the service seconds
      }
      if (isLast) break;
      await pause(document.hidden ? 5 * LIVE_MILLISECONDS : LIVE_MILLISECONDS, signal);
      await update();
    }
    await showAttempts(path, signal, boxes.attempts);
  }

  async function drawCharts() {
    const curve = await ask(`${path}/curves/learning`, { signal });
    draw("charts", curve.lines, () => chartsCard(curve));
  }

  function append(event) {
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(h("li", {}, h("time", { datetime: event.created_at }, clock(event.created_at)), h("span", { class: event.level }, event.message)));
    if (log.childElementCount > MAX_LOG) log.firstElementChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  show();
  const isDone = async () => ENDED.includes((await ask(path, { signal })).status);
  follow(`${path}/events`, { onEvent: append, isDone, signal: isFollowing.signal }).catch(toastError);
  live().catch(toastError);
  return page(
    titleOf(job),
    { crumb: { href: "#/jobs", name: text.jobs.title }, meta: boxes.meta, actions: boxes.actions },
    boxes.notes,
    boxes.progress,
    boxes.results,
    boxes.charts,
    boxes.ladder,
    card(text.job.log, log),
    boxes.attempts,
    boxes.about,
  );
}

function progressCard(job) {
  const isEnded = ENDED.includes(job.status);
  if (isEnded && job.status === "succeeded" && job.kind !== "preparation") return null;
  const { progress } = job;
  const bar = h("progress", { max: "1", "aria-label": text.job.progress });
  if (progress || isEnded) bar.value = progress?.fraction ?? 0;
  const left = progress?.eta_seconds ? text.job.left(duration(progress.eta_seconds)) : null;
  return card(
    h("span", {}, word(job.phase ?? job.status)),
    bar,
    h("p", { class: "meta" }, [progress && text.job.step(percent(progress.fraction, 0), number(progress.step), number(progress.total_steps)), left, job.status === "queued" && job.queue_position !== null && text.job.position(job.queue_position)].filter(Boolean).map((part) => h("span", {}, part))),
  );
}

function actionsOf(job, path, update) {
  const ask1 = (name) => async () => {
    await ask(`${path}/${name}`, { method: "POST" });
    await update();
  };
  const isEnded = ENDED.includes(job.status);
  const isStopping = ["cancelling", "pausing", "finalizing"].includes(job.status);
  return [
    !isEnded && !isStopping && job.status !== "paused" && action(text.job.pause, ask1("pause")),
    job.status === "paused" && action(text.job.resume, ask1("resume"), { class: "primary" }),
    !isEnded && job.status !== "cancelling" && action(text.job.cancel, ask1("cancel"), { class: "danger" }),
    ["failed", "cancelled"].includes(job.status) && action(text.job.retry, ask1("retry"), { class: "primary" }),
    job.status === "succeeded" && ["fine_tuning", "pretraining"].includes(job.kind) && action(text.job.extend, () => extend(job, path)),
    isEnded && action(text.common.delete, () => remove(job, path), { class: "danger" }),
  ];
}

function extend(job, path) {
  return new Promise((resolve) => {
    const isInSteps = job.config.training?.steps !== null && job.config.training?.steps !== undefined;
    const input = h("input", { type: "number", min: "1", value: isInSteps ? 1000 : 10, required: true });
    const problem = h("div");
    const dialog = h("dialog", { "aria-label": text.job.extend, onclose: () => { dialog.remove(); resolve(); } }, h("form", { onsubmit: send }, field(isInSteps ? text.job.moreSteps : text.job.moreEpochs, input), problem, h("div", { class: "actions" }, h("button", { class: "primary" }, text.job.extend), h("button", { type: "button", onclick: () => dialog.close() }, text.common.close))));
    async function send(event) {
      event.preventDefault();
      try {
        const longer = await ask(`${path}/extend`, { method: "POST", json: { [isInSteps ? "steps" : "epochs"]: Number(input.value) } });
        dialog.close();
        go(["jobs", longer.id]);
      } catch (error) {
        complain(error, () => fill(problem, errorNote(error)));
      }
    }
    document.body.append(dialog);
    dialog.showModal();
  });
}

async function remove(job, path) {
  if (!(await confirmed(text.job.deleteQuestion(titleOf(job)), text.common.delete))) return;
  await ask(path, { method: "DELETE" });
  go(["jobs"]);
}

function resultsOf(job, path, signal) {
  const { metrics } = job;
  const parts = [];
  if (job.outputs.length) {
    parts.push(card(text.job.made, h("div", { class: "row" }, job.outputs.map((output) => h("a", { class: "button primary", href: link(["models", output.model]) }, text.job.open)))));
  }
  if (job.kind === "preparation" && job.dataset) parts.push(card(text.job.prepared, h("div", {}, h("a", { class: "button", href: link(["data", job.dataset]) }, text.job.openData))));
  if (job.kind === "estimate" && metrics) parts.push(card(text.job.estimate, estimateFigures(metrics)));
  if (job.kind === "sweep" && metrics?.trials) parts.push(sweepCard(metrics));
  if (job.kind === "recommendation" && metrics?.ranking) parts.push(rankingCard(metrics, (one) => h("a", { class: "button slim", href: link(["jobs", "new"], { dataset: job.dataset, model: `${one.name}@${one.version}` }) }, text.models.fineTune)));
  parts.push(...headCards(metrics?.measured ?? metrics));
  if (metrics?.comparison) parts.push(comparisonCard(metrics.comparison, metrics.baseline.model));
  parts.push(transferCard(job));
  if (job.status === "succeeded" && metrics?.heads && Object.keys(metrics.heads).length) {
    const holder = h("div", { class: "grid" });
    parts.push(card(text.job.curves, holder));
    headCurves(job.id, signal).then((charts) => fill(holder, charts)).catch((error) => complain(error, () => holder.parentElement?.remove()));
  }
  if (job.status === "succeeded" && ["export", "batch_prediction"].includes(job.kind)) parts.push(filesCard(path, signal));
  return parts;
}

/** What a training will cost, as an estimate has measured it. */
export function estimateFigures(metrics) {
  return h(
    "div",
    { class: "figures" },
    figure(text.job.time, duration(metrics.seconds), text.job.between(duration(metrics.low), duration(metrics.high))),
    figure(text.job.memory, bytes(metrics.peak_bytes), text.job.available(bytes(metrics.available_bytes))),
    figure(text.job.largestBatch, number(metrics.largest_batch)),
    figure(text.job.device, word(metrics.device), text.job.perStep(duration(metrics.step_seconds))),
  );
}

function filesCard(path, signal) {
  const body = h("div", { class: "stack" });
  ask(`${path}/files`, { signal }).then((files) => fill(body, files.data.map((file) => h("div", { class: "row" }, action(text.job.download(file.name), () => save(file)), h("span", { class: "quiet" }, bytes(file.bytes)))))).catch(toastError);
  return card(text.job.files, body);
}

/** Save a file: it is fetched with the key, and handed to the browser. */
export async function save(file) {
  const url = URL.createObjectURL(await download(file.link ?? file.url, { headers: { Accept: "*/*" } }));
  h("a", { href: url, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function ladderCard(ladder) {
  if (!ladder?.length) return null;
  const best = Math.max(...ladder.map((rung) => rung.score ?? -Infinity));
  const rows = [...ladder].sort((one, other) => (other.score ?? -Infinity) - (one.score ?? -Infinity)).map((rung) => [
    rung.score === best ? h("strong", {}, text.job.chosen(word(rung.candidate))) : word(rung.candidate),
    number(rung.score, 3),
    rung.low === null ? "–" : `${number(rung.low, 3)} … ${number(rung.high, 3)}`,
    duration(rung.cpu_seconds),
    rung.reason ?? "",
  ]);
  return tableCard(text.job.ladder, table([[text.job.candidate], [text.job.score, true], [text.job.range], [text.job.cpu, true], [text.job.reason]], rows, text.job.ladder));
}

function chartsCard(curve) {
  const charts = learningCharts(curve);
  if (!charts.length || curve.lines.every((line) => line.x.length < 2)) return null;
  const rest = charts.slice(FIRST_CHARTS);
  return card(text.job.learning, h("div", { class: "grid" }, charts.slice(0, FIRST_CHARTS)), rest.length > 0 && h("details", {}, h("summary", {}, text.job.moreCharts(rest.length)), h("div", { class: "grid" }, rest)));
}

/** Attempts are shown where there was more than one. */
async function showAttempts(path, signal, holder) {
  const attempts = await ask(`${path}/attempts`, { signal });
  if (attempts.data.length < 2) return;
  const rows = attempts.data.map((attempt) => [number(attempt.number), attempt.worker, time(attempt.started_at), word(attempt.ending), attempt.message ?? ""]);
  fill(holder, tableCard(text.job.attempts, table([[text.job.attempt, true], [text.job.worker], [text.job.started], [text.job.ending], [text.job.message]], rows, text.job.attempts)));
}

function aboutCards(job) {
  const { decisions = [], ...config } = job.config;
  return [
    decisions.length > 0 && tableCard(text.job.decisions, decisionTable(decisions)),
    card(
      text.job.about,
      pairs([
        [text.job.id, h("code", {}, job.id)],
        [text.job.dataset, job.dataset && h("a", { href: link(["data", job.dataset]) }, job.dataset)],
        [text.job.from, job.model && h("a", { href: link(["models", job.model]) }, job.model)],
        [text.job.extends, job.extends && h("a", { href: link(["jobs", job.extends]) }, job.extends)],
      ]),
      h("details", {}, h("summary", {}, text.job.config), codeBlock(JSON.stringify(config, null, 2), text.job.config)),
    ),
  ];
}
