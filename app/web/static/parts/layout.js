// What every view is made of: a head with its title, cards, states, notes.

import { h, uniqueId } from "../dom.js";
import { word } from "../format.js";
import { text } from "../text.js";

/** A view: `crumb` leads back, `meta` stands below the title, `actions` beside it. */
export function page(title, { crumb, meta, actions } = {}, ...content) {
  return h(
    "div",
    { class: "column" },
    h(
      "div",
      { class: "head" },
      h(
        "div",
        {},
        crumb && h("nav", { class: "crumbs", "aria-label": text.shell.crumbs }, h("a", { href: crumb.href }, `← ${crumb.name}`)),
        h("h1", { tabindex: "-1" }, title),
        meta && h("div", { class: "meta" }, meta),
      ),
      actions && h("div", { class: "actions" }, actions),
    ),
    content,
  );
}

/** A part of a view with a heading, by which it is labelled. */
export function card(title, ...content) {
  const id = uniqueId("card");
  return h("section", { class: "card", "aria-labelledby": id }, h("h2", { id }, title), content);
}

/** A card whose table reaches its edges. */
export function tableCard(title, ...content) {
  const element = card(title, ...content);
  element.classList.add("flush");
  return element;
}

export function pairs(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "pairs" }, shown.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

const LOOKS = {
  ready: "good",
  succeeded: "good",
  ok: "good",
  failed: "bad",
  cancelled: "",
  paused: "",
  queued: "",
  degraded: "warn",
  enabled: "good",
  failing: "warn",
  disabled: "bad",
  delivered: "good",
  dead: "bad",
};

/** The state of a dataset or a job. */
export function badge(status) {
  return h("span", { class: `badge ${LOOKS[status] ?? "busy"}` }, word(status));
}

export function warned(count) {
  return count ? h("span", { class: "badge warn" }, text.common.warnings(count)) : null;
}

/** A refusal, with every place of the request that it names. */
export function errorNote(error) {
  return h(
    "div",
    { class: "note bad", role: "alert" },
    h("strong", {}, error.message),
    (error.errors ?? []).length > 1 &&
      h("ul", {}, error.errors.slice(0, 20).map((item) => h("li", {}, `${item.loc.join(".")}: ${item.msg}`))),
    error.code && h("span", { class: "code" }, [error.code, error.requestId].filter(Boolean).join(" · ")),
  );
}

/** A figure with its name. */
export function figure(name, shown, detail) {
  return h("div", { class: "figure" }, h("span", {}, name), h("b", {}, shown), detail && h("span", {}, detail));
}

/** Shares as bars: entries of [name, count, shown]. */
export function bars(entries, { total, answer = false } = {}) {
  const whole = total ?? Math.max(...entries.map(([, count]) => count), 1);
  return h(
    "div",
    { class: answer ? "bars answer" : "bars" },
    entries.map(([name, count, shown]) => [
      h("span", { title: name }, name),
      h("span", { class: "bar", "aria-hidden": "true" }, h("i", { style: { width: `${(100 * count) / whole}%` } })),
      h("span", { class: "number" }, shown ?? String(count)),
    ]),
  );
}

/** A plain table: `columns` are [name, isNumber], `rows` lists of cells. */
export function table(columns, rows, caption) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, columns.map(([name, isNumber]) => h("th", { scope: "col", class: isNumber && "number" }, name)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, index) => h("td", { class: columns[index][1] && "number" }, cell))))),
    ),
  );
}

/** A field with its label, and a sentence below it. */
export function field(name, control, hint) {
  const id = control.id || uniqueId("field");
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, name),
    control,
    hint && h("span", { class: "hint", id: `${id}-hint` }, hint),
  );
}

/** A select of [value, name] pairs. */
export function select(options, chosen, onchange) {
  const control = h(
    "select",
    { onchange: () => onchange?.(control.value) },
    options.map(([value, name]) => h("option", { value }, name)),
  );
  control.value = chosen ?? options[0]?.[0] ?? "";
  return control;
}

/** What a list shows where it is empty. */
export function empty(sentence, action) {
  return h("div", { class: "empty" }, h("p", {}, sentence), action);
}
