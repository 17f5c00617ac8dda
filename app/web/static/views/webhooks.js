// Webhooks: the list, and the form by which one is made or changed.

import { ask, complain } from "../api.js";
import { fill, h, uniqueId } from "../dom.js";
import { ago, time } from "../format.js";
import { codeBlock } from "../parts/feedback.js";
import { badge, card, errorNote, field, page } from "../parts/layout.js";
import { list } from "../parts/list.js";
import { link } from "../router.js";
import { text } from "../text.js";

const EVENTS = Object.keys(text.webhooks.eventNames);

export async function webhooksView({ signal }) {
  const columns = [
    { name: text.webhooks.receiver, kind: "name", cell: (webhook) => h("a", { href: link(["webhooks", webhook.id]), title: webhook.url }, titleOf(webhook)) },
    { name: text.webhooks.state, cell: (webhook) => badge(stateOf(webhook)) },
    { name: text.webhooks.events, kind: "middle", cell: (webhook) => h("span", { title: webhook.events.join(", ") }, webhook.events.join(", ")) },
    { name: text.common.created, kind: "wide", cell: (webhook) => h("span", { title: time(webhook.created_at) }, ago(webhook.created_at)) },
  ];
  const load = (after, limit) => ask("/v1/webhooks", { query: { after, limit }, signal });
  const fresh = h("div", { role: "status" });
  async function create(body) {
    const made = await ask("/v1/webhooks", { method: "POST", json: body });
    fill(fresh, secretCard(made));
  }
  return page(
    text.webhooks.title,
    { meta: text.webhooks.about },
    list({ columns, load, caption: text.webhooks.title, nothing: text.webhooks.none, signal, everySeconds: 2 }),
    fresh,
    card(text.webhooks.create, webhookForm({ button: text.webhooks.create, send: create })),
  );
}

/** A form for the URL, the name and the events of a webhook; `send(body)` sends them, and a refusal stands below them. */
export function webhookForm({ webhook = null, button, send }) {
  const others = (webhook?.events ?? []).filter((event) => !EVENTS.includes(event));
  const url = h("input", { type: "text", inputmode: "url", required: true, maxlength: "2000", value: webhook?.url ?? "", autocomplete: "off", spellcheck: "false" });
  const name = h("input", { type: "text", maxlength: "100", value: webhook?.name ?? "", autocomplete: "off" });
  const other = h("input", { type: "text", value: others.join(", "), autocomplete: "off", spellcheck: "false" });
  const boxes = EVENTS.map((event) => [event, h("input", { type: "checkbox", id: uniqueId("event"), checked: webhook?.events.includes(event) })]);
  const problem = h("div");
  async function submit(event) {
    event.preventDefault();
    const chosen = boxes.filter(([, box]) => box.checked).map(([type]) => type);
    const typed = other.value.split(",").map((type) => type.trim()).filter(Boolean);
    try {
      await send({ url: url.value.trim(), name: name.value.trim() || null, events: [...chosen, ...typed] });
      fill(problem);
      if (!webhook) event.target.reset();
    } catch (error) {
      complain(error, () => fill(problem, errorNote(error)));
    }
  }
  return h(
    "form",
    { class: "stack", onsubmit: submit },
    h("div", { class: "fields" }, field(text.webhooks.url, url, text.webhooks.urlAbout), field(text.webhooks.name, name, text.webhooks.nameAbout)),
    h("fieldset", {}, h("legend", { class: "label" }, text.webhooks.events), h("div", { class: "fields checks" }, boxes.map(([event, box]) => h("label", { class: "check", for: box.id }, box, text.webhooks.eventNames[event])))),
    field(text.webhooks.others, other, text.webhooks.othersAbout),
    problem,
    h("div", {}, h("button", { class: "primary" }, button)),
  );
}

/** The secret of a webhook that was just made, or got a new one. */
export function secretCard(webhook) {
  return card(text.webhooks.secretOf(titleOf(webhook)), h("p", {}, text.keys.once), codeBlock(webhook.secret, text.webhooks.secret));
}

export function titleOf(webhook) {
  return webhook.name ?? webhook.url;
}

export function stateOf(webhook) {
  if (!webhook.enabled) return "disabled";
  return webhook.failing_since ? "failing" : "enabled";
}
