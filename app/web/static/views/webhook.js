// One webhook: what its receiver says, its secret, and what became of its messages.

import { ask, complain, pause } from "../api.js";
import { fill, h } from "../dom.js";
import { ago, duration, number, time, word } from "../format.js";
import { action, codeBlock, confirmed, toast, toastError } from "../parts/feedback.js";
import { badge, card, errorNote, field, page, pairs, select } from "../parts/layout.js";
import { list } from "../parts/list.js";
import { go } from "../router.js";
import { text } from "../text.js";
import { secretCard, stateOf, titleOf, webhookForm } from "./webhooks.js";

const STATES = ["pending", "delivered", "dead"];
const OVERLAPS = [86_400, 3600, 0]; // seconds for which earlier secrets sign, too
const MILLISECONDS = 2000;

export async function webhookView({ params, query, signal, again }) {
  const path = `/v1/webhooks/${encodeURIComponent(params.id)}`;
  let webhook = await ask(path, { signal });
  const [meta, actions, said] = [h("div", { class: "row" }), h("div", { class: "actions" }), h("div", { role: "status" })];
  let drawn = "";

  function show() {
    const now = JSON.stringify([webhook.enabled, webhook.failing_since]);
    if (now === drawn) return;
    drawn = now;
    const reason = webhook.disabled_reason ?? (webhook.failing_since && text.webhooks.failing(time(webhook.failing_since)));
    fill(meta, badge(stateOf(webhook)), reason && h("span", {}, reason), h("span", {}, webhook.events.join(", ")));
    fill(
      actions,
      action(text.webhooks.test, test, { class: "primary" }),
      webhook.enabled ? action(text.job.pause, () => change({ enabled: false })) : action(text.webhooks.enable, () => change({ enabled: true })),
      action(text.common.delete, remove, { class: "danger" }),
    );
  }

  async function live() {
    for (;;) {
      await pause(MILLISECONDS, signal);
      if (document.hidden) continue;
      webhook = await ask(path, { signal });
      show();
    }
  }

  async function test() {
    fill(said, h("p", { class: "quiet" }, text.webhooks.testing));
    try {
      const answer = await ask(`${path}/test`, { method: "POST" });
      const sentence = answer.delivered ? text.webhooks.accepted(answer.status, duration(answer.seconds)) : text.webhooks.refused(answer.error);
      fill(said, h("p", { class: answer.delivered ? "note" : "note bad" }, sentence));
    } catch (error) {
      complain(error, () => fill(said, errorNote(error)));
    }
  }

  async function change(body) {
    webhook = await ask(path, { method: "PATCH", json: body });
    show();
  }

  async function remove() {
    if (!(await confirmed(text.webhooks.deleteQuestion(titleOf(webhook)), text.common.delete))) return;
    await ask(path, { method: "DELETE" });
    go(["webhooks"]);
  }

  async function send(body) {
    await ask(path, { method: "PATCH", json: body });
    toast(text.webhooks.changed);
    again();
  }

  show();
  live().catch(toastError);
  return page(
    titleOf(webhook),
    { crumb: { href: "#/webhooks", name: text.webhooks.title }, meta, actions },
    said,
    deliveriesCard(path, params.id, query.get("status") ?? "", signal),
    rotationCard(path, webhook),
    card(text.webhooks.change, webhookForm({ webhook, button: text.webhooks.save, send })),
  );
}

function rotationCard(path, webhook) {
  const overlap = select(OVERLAPS.map((seconds) => [String(seconds), text.webhooks.overlaps[seconds]]), "86400");
  const fresh = h("div", { class: "parts", role: "status" });
  async function rotate() {
    fill(fresh, secretCard(await ask(`${path}/secret`, { method: "POST", json: { overlap: Number(overlap.value) } })));
  }
  return card(
    text.webhooks.secret,
    h("p", { class: "quiet" }, webhook.old_secrets_until ? text.webhooks.earlierUntil(time(webhook.old_secrets_until)) : text.webhooks.secretAbout),
    h("div", { class: "fields" }, field(text.webhooks.overlap, overlap)),
    h("div", {}, action(text.webhooks.rotate, rotate)),
    fresh,
  );
}

function deliveriesCard(path, id, status, signal) {
  const columns = [
    { name: text.webhooks.message, kind: "name", cell: (delivery) => h("button", { class: "link", type: "button", value: `${delivery.id} shown`, onclick: () => showMessage(path, delivery) }, delivery.type) },
    { name: text.webhooks.state, cell: (delivery) => badge(delivery.status) },
    { name: text.webhooks.answer, kind: "wide", cell: (delivery) => h("span", { title: answerOf(delivery) }, String(delivery.last_status ?? delivery.last_error ?? "–")) },
    { name: text.webhooks.attempts, kind: "wide", cell: (delivery) => number(delivery.attempts) },
    { name: text.common.created, kind: "wide", cell: (delivery) => h("span", { title: time(delivery.created_at) }, ago(delivery.created_at)) },
    { name: text.models.actions, kind: "middle", cell: (delivery) => action(text.webhooks.redeliver, () => redeliver(path, delivery), { class: "slim", value: delivery.id, "aria-label": text.webhooks.redeliverOne(delivery.type) }) },
  ];
  const load = (after, limit) => ask(`${path}/deliveries`, { query: { after, limit, status }, signal });
  const filter = select([["", text.webhooks.allDeliveries], ...STATES.map((state) => [state, text.webhooks.deliveryStates[state]])], status, (value) => go(["webhooks", id], { status: value }));
  filter.setAttribute("aria-label", text.webhooks.filter);
  return h(
    "div",
    { class: "stack" },
    h("div", { class: "card-head" }, h("h2", {}, text.webhooks.deliveries), h("div", {}, filter)),
    list({ columns, load, caption: text.webhooks.deliveries, nothing: status ? text.webhooks.noSuchDelivery : text.webhooks.noDelivery, signal, everySeconds: 2 }),
  );
}

function answerOf(delivery) {
  return [delivery.last_status, delivery.last_error].filter((part) => part !== null).join(" · ") || "–";
}

async function redeliver(path, delivery) {
  await ask(`${path}/deliveries/${encodeURIComponent(delivery.id)}/redeliver`, { method: "POST" });
  toast(text.webhooks.queued);
}

/** What was sent, and what became of it. */
function showMessage(path, delivery) {
  const dialog = h(
    "dialog",
    { "aria-label": text.webhooks.message, onclose: () => dialog.remove() },
    h(
      "div",
      { class: "stack" },
      h("h2", {}, delivery.type),
      pairs([
        [text.job.id, h("code", {}, delivery.id)],
        [text.webhooks.state, word(delivery.status)],
        [text.webhooks.attempts, number(delivery.attempts)],
        [text.webhooks.lastAttempt, delivery.last_attempt_at && time(delivery.last_attempt_at)],
        [text.webhooks.nextAttempt, delivery.next_attempt_at && time(delivery.next_attempt_at)],
        [text.webhooks.answer, answerOf(delivery)],
      ]),
      codeBlock(JSON.stringify(delivery.payload, null, 2), text.webhooks.sent),
      h("div", { class: "actions" }, action(text.webhooks.redeliver, () => redeliver(path, delivery).then(() => dialog.close())), h("button", { type: "button", onclick: () => dialog.close() }, text.common.close)),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}
