// Keys: who may do what in a project, for administrators; by default in that of the key that asks.

import { ask, complain } from "../api.js";
import { fill, h, uniqueId } from "../dom.js";
import { time } from "../format.js";
import { action, codeBlock, confirmed } from "../parts/feedback.js";
import { card, errorNote, field, page, select, table, tableCard } from "../parts/layout.js";
import { text } from "../text.js";
import { findProject } from "./projects.js";

const SCOPES = ["read", "write", "predict", "admin"];
const DAY_SECONDS = 86_400;

export async function keysView({ query, signal, again }) {
  const project = query.get("project");
  const [keys, named] = await Promise.all([ask("/v1/keys", { query: { project }, signal }), project && findProject(project, signal)]);
  const fresh = h("div", { role: "status" });
  const columns = [[text.keys.name], [text.keys.scopes], [text.common.created], [text.keys.used], [text.keys.state], [text.models.actions]];
  const rows = keys.data.map((key) => [
    h("strong", {}, key.name),
    key.scopes.join(", "),
    time(key.created_at),
    key.last_used_at ? time(key.last_used_at) : text.keys.never,
    stateOf(key),
    !key.revoked_at && action(text.keys.revoke, () => revoke(key, project, again), { class: "slim danger" }),
  ]);
  const head = project ? { crumb: { href: "#/projects", name: text.projects.title } } : { meta: text.keys.about };
  return page(project ? text.projects.keysOf(named?.name ?? project) : text.keys.title, head, newKeyCard(fresh, project), fresh, tableCard(text.keys.all, table(columns, rows, text.keys.title)));
}

function stateOf(key) {
  if (key.revoked_at) return text.keys.revoked(time(key.revoked_at));
  if (!key.expires_at) return text.keys.valid;
  return new Date(key.expires_at) < new Date() ? text.keys.expired(time(key.expires_at)) : text.keys.expires(time(key.expires_at));
}

function newKeyCard(fresh, project) {
  const name = h("input", { type: "text", required: true, maxlength: "100", autocomplete: "off" });
  const days = select([["", text.keys.forever], ["30", text.keys.days(30)], ["90", text.keys.days(90)], ["365", text.keys.days(365)]], "");
  const boxes = SCOPES.map((scope) => {
    const id = uniqueId("scope");
    return [scope, h("input", { type: "checkbox", id, checked: scope !== "admin" }), id];
  });
  async function create(event) {
    event.preventDefault();
    const scopes = boxes.filter(([, box]) => box.checked).map(([scope]) => scope);
    try {
      const key = await ask("/v1/keys", { method: "POST", json: { project, name: name.value, scopes, expires_in: days.value ? Number(days.value) * DAY_SECONDS : null } });
      name.value = "";
      fill(fresh, card(text.keys.made(key.name), h("p", {}, text.keys.once), codeBlock(key.secret, text.keys.secret)));
    } catch (error) {
      complain(error, () => fill(fresh, errorNote(error)));
    }
  }
  return card(
    text.keys.create,
    h(
      "form",
      { class: "stack", onsubmit: create },
      h("div", { class: "fields" }, field(text.keys.name, name, text.keys.nameAbout), field(text.keys.lasts, days)),
      h("fieldset", {}, h("legend", { class: "label" }, text.keys.scopes), boxes.map(([scope, box, id]) => h("label", { class: "check", for: id }, box, text.keys.scope[scope]))),
      h("div", {}, h("button", { class: "primary" }, text.keys.create)),
    ),
  );
}

async function revoke(key, project, again) {
  if (!(await confirmed(text.keys.question(key.name), text.keys.revoke))) return;
  await ask(`/v1/keys/${encodeURIComponent(key.id)}`, { method: "DELETE", query: { project } });
  again();
}
