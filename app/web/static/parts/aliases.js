// The aliases of a name: what each means, moved and rolled back; its traffic split between versions, and a shadow.

import { ask, complain } from "../api.js";
import { fill, h } from "../dom.js";
import { number, percent, time } from "../format.js";
import { text } from "../text.js";
import { action, toast } from "./feedback.js";
import { card, errorNote, field, select, table } from "./layout.js";

export const MAX_VERSIONS = 10; // among which an alias may split its traffic
const TOLERANCE = 0.1; // per cent by which shares that were rounded may miss 100

/** Return the aliases of a model's name as a card; `newest`: its versions; `again` draws the view anew after a change. */
export function aliasCard(model, aliases, newest, { signal, again }) {
  const input = h("input", { type: "text", maxlength: "100", required: true, autocomplete: "off", placeholder: "prod" });
  const problem = h("div");
  async function set(event) {
    event.preventDefault();
    try {
      await ask(pathOf(model.name, input.value.trim()), { method: "PUT", json: { model: model.id } });
      toast(text.aliases.moved(input.value.trim(), model.version));
      again();
    } catch (error) {
      complain(error, () => fill(problem, errorNote(error)));
    }
  }
  const back = (alias) => async () => {
    await ask(`${pathOf(model.name, alias.alias)}/rollback`, { method: "POST" });
    again();
  };
  const splitButton = (alias) => h("button", { class: "slim", type: "button", "aria-label": text.aliases.splitOf(alias.alias), onclick: () => openTraffic(alias, versionsToChoose(model, alias, newest), { signal, again }) }, text.aliases.split);
  const rows = aliases.map((alias) => [
    h("strong", {}, alias.alias),
    meaning(alias),
    time(alias.updated_at),
    h("div", { class: "row" }, splitButton(alias), alias.revision > 1 && action(text.aliases.rollBack, back(alias), { class: "slim" })),
  ]);
  return card(
    text.aliases.title,
    h("p", { class: "quiet" }, text.aliases.about),
    rows.length > 0 && table([[text.aliases.alias], [text.aliases.means], [text.aliases.changed], [text.models.actions]], rows, text.aliases.title),
    h("form", { class: "row", onsubmit: set }, h("div", {}, field(text.aliases.pointHere, input)), h("button", { class: "slim" }, text.aliases.set)),
    problem,
    aliases.filter((alias) => alias.shadow).map((alias) => shadowReport(alias, signal)),
  );
}

function pathOf(name, alias) {
  return `/v1/models/${encodeURIComponent(name)}/aliases/${encodeURIComponent(alias)}`;
}

/** Return the shares of an alias's versions in per cent, by version. */
function sharesOf(alias) {
  const total = alias.versions.reduce((sum, one) => sum + one.weight, 0);
  return new Map(alias.versions.map((one) => [one.version, (100 * one.weight) / total]));
}

function meaning(alias) {
  const shares = [...sharesOf(alias)];
  const split = shares.map(([version, share]) => text.aliases.share(version, number(share))).join(", ");
  return [
    h("div", {}, shares.length > 1 ? split : text.models.versionOf(alias.version)),
    alias.shadow && h("div", { class: "small quiet" }, text.aliases.shadowOf(alias.shadow.version, percent(alias.shadow.share, 0))),
  ];
}

/** Ask for the shares of an alias and its shadow, and change it, as long as nobody else has since it was shown. */
function openTraffic(alias, versions, { signal, again }) {
  const shares = sharesOf(alias);
  const inputs = new Map(versions.map((version) => [version, shareInput(shares.get(version) ?? 0, "0")]));
  const total = h("p", { class: "small quiet", role: "status" });
  const shadow = select([["", text.form.none], ...versions.map((version) => [String(version), text.aliases.version(version)])], String(alias.shadow?.version ?? ""), update);
  const shadowShare = shareInput(100 * (alias.shadow?.share ?? 1), "0.01");
  const problem = h("div");
  const dialog = h(
    "dialog",
    { "aria-labelledby": "traffic", onclose: () => dialog.remove() },
    h(
      "form",
      { onsubmit: send, oninput: update },
      h("h2", { id: "traffic" }, text.aliases.splitOf(alias.alias)),
      h("p", { class: "small quiet" }, text.aliases.splitAbout),
      h("fieldset", { class: "stack" }, h("legend", { class: "label" }, text.aliases.shares), h("div", { class: "shares" }, [...inputs].map(([version, input]) => field(text.aliases.version(version), input))), total),
      h("div", { class: "stack" }, field(text.aliases.shadow, shadow, text.aliases.shadowAbout), field(text.aliases.shadowShare, shadowShare)),
      problem,
      h("div", { class: "actions" }, h("button", { class: "primary" }, text.aliases.change), h("button", { type: "button", onclick: () => dialog.close() }, text.common.close)),
    ),
  );
  const sum = () => [...inputs.values()].reduce((whole, input) => whole + Number(input.value), 0);

  function update() {
    total.textContent = text.aliases.together(number(sum()));
    shadowShare.disabled = !shadow.value;
  }
  async function send(event) {
    event.preventDefault();
    if (Math.abs(sum() - 100) > TOLERANCE) {
      fill(problem, errorNote({ message: text.aliases.notWhole(number(sum())) }));
      return;
    }
    const weights = [...inputs].map(([version, input]) => [String(version), Number(input.value)]).filter(([, share]) => share > 0);
    const json = { versions: Object.fromEntries(weights), ...(shadow.value && { shadow: shadow.value, shadow_share: Number(shadowShare.value) / 100 }) };
    try {
      await ask(pathOf(alias.name, alias.alias), { method: "PUT", json, headers: { "If-Match": `"${alias.revision}"` } });
      dialog.close();
      toast(text.aliases.changedNow(alias.alias));
      again();
    } catch (error) {
      complain(error, () => fill(problem, errorNote(error)));
    }
  }
  update();
  signal.addEventListener("abort", () => dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

function shareInput(share, min) {
  return h("input", { type: "number", min, max: "100", step: "any", required: true, value: String(Number(share.toFixed(2))) });
}

/** Return the newest versions, with those that the alias means and the one that is shown, from the newest on. */
function versionsToChoose(model, alias, newest) {
  const versions = [model, ...newest, ...alias.versions, alias.shadow].filter(Boolean).map((one) => one.version);
  return [...new Set(versions)].sort((one, other) => other - one);
}

/** How the answers of an alias's shadows differ from those that were sent. */
function shadowReport(alias, signal) {
  const body = h("div", {}, h("p", { class: "small quiet" }, text.common.loading));
  const columns = [[text.aliases.compared], [text.aliases.requests, true], [text.aliases.differing, true], [text.aliases.distance, true], [text.aliases.milliseconds, true], [text.aliases.dropped, true], [text.aliases.errors, true]];
  const byHead = (heads, show) => Object.entries(heads).map(([name, head]) => h("div", {}, Object.keys(heads).length > 1 ? `${name}: ${show(head)}` : show(head)));
  const milliseconds = (seconds) => (seconds === null ? "–" : number(1000 * seconds, 3));
  const row = (report) => [
    text.aliases.pair(report.version ?? "–", report.shadow_version ?? "–"),
    number(report.requests),
    byHead(report.heads, (head) => percent(head.disagreement)),
    byHead(report.heads, (head) => number(head.mean_absolute_difference, 3)),
    text.aliases.both(milliseconds(report.mean_seconds), milliseconds(report.shadow_mean_seconds)),
    number(report.dropped),
    number(report.errors),
  ];
  const title = text.aliases.report(alias.alias);
  ask(`${pathOf(alias.name, alias.alias)}/report`, { signal })
    .then(({ data }) => fill(body, data.length ? table(columns, data.map(row), title) : h("p", { class: "small quiet" }, text.aliases.nothingYet)))
    .catch((error) => complain(error, () => fill(body, errorNote(error))));
  return h("div", { class: "stack" }, h("h3", {}, title), body);
}
