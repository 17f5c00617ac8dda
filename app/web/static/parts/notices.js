// Warnings and decisions, with a button for each option that overrules one.

import { h } from "../dom.js";
import { number, value, word } from "../format.js";
import { text } from "../text.js";
import { table } from "./layout.js";
import { action } from "./feedback.js";

/** Warnings, each with its remedy; `prepare(options)` prepares again under an option, where that is possible. */
export function warningNotes(warnings, prepare) {
  return warnings.map((warning) =>
    h(
      "div",
      { class: "note warn" },
      h("div", {}, h("strong", {}, warning.message)),
      warning.remedy && h("p", { class: "small" }, text.common.remedy(warning.remedy)),
      warning.rows.length > 0 && h("p", { class: "small" }, text.common.someRows(warning.rows.slice(0, 10).map((row) => number(row)).join(", "))),
      prepare && optionButtons(warning.remedy, prepare),
      h("span", { class: "code" }, warning.code),
    ),
  );
}

/** Decisions: the field, what it became, why, and what overrules it. */
export function decisionTable(decisions, prepare) {
  const hasOptions = decisions.some((decision) => decision.option);
  const columns = [[text.decisions.field], [text.decisions.value], [text.decisions.reason], ...(hasOptions ? [[text.decisions.option]] : [])];
  const rows = decisions.map((decision) => [
    h("code", {}, decision.field),
    value(decision.value),
    decision.reason,
    ...(hasOptions ? [(prepare && optionButtons(decision.option, prepare)) || (decision.option && h("code", {}, decision.option))] : []),
  ]);
  return table(columns, rows, text.decisions.title);
}

/** A button for each option that a sentence names; null where it names none. */
export function optionButtons(sentence, prepare) {
  const options = optionsIn(sentence ?? "");
  if (!options.length) return null;
  return h(
    "div",
    { class: "row" },
    options.map(([name, setting]) =>
      action(text.decisions.again(`${word(name).toLowerCase()} = ${value(setting)}`), () => prepare({ [name]: setting }), { class: "slim" }),
    ),
  );
}

/** Return the options of a preparation that a sentence names as `name=JSON`: a list of [name, value]. */
export function optionsIn(sentence) {
  const settings = [];
  for (const match of sentence.matchAll(/(?<![\w.`"])([a-z_]+)=(?=["{[\d]|null\b|true\b|false\b)/g)) {
    const setting = jsonAt(sentence, match.index + match[0].length);
    if (setting !== undefined) settings.push([match[1], setting]);
  }
  return settings;
}

/** Return the JSON value that begins at a place of a text: the longest prefix that is one. */
function jsonAt(sentence, start) {
  for (let end = sentence.length; end > start; end -= 1) {
    try {
      return JSON.parse(sentence.slice(start, end));
    } catch {
      // a shorter one may be
    }
  }
  return undefined;
}
