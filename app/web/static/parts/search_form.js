// Which fields of a training are searched over, and where their values come from: drawn from the JSON Schemas of both.

import { fill, h, uniqueId } from "../dom.js";
import { value as inWords, word } from "../format.js";
import { text } from "../text.js";
import { field, select } from "./layout.js";
import { leavesOf, schemaForm } from "./schema_form.js";

const FIXED = ["kind", "dataset", "model", "name", "metadata", "priority", "resources", "transfer_report"]; // the same in all trials
const OWN = ["kind", "name", "base", "space", "metadata", "priority"]; // fields of a sweep with a place of their own

/**
 * Build a form of searched fields from the schema of a sweep. `offer(schema, request)`: the fields of this request may
 * be searched; `wrap(request)`: the sweep over it, or the request itself where nothing is searched.
 */
export function searchForm(schema, onchange) {
  const definitions = schema.$defs;
  const [range] = Object.values(schema.properties.space.patternProperties);
  const ranges = leavesOf(range, definitions);
  const options = schemaForm(schema, { left: OWN, onchange });
  const holder = h("div", { class: "stack" });
  const settings = h("div", { hidden: true }, options.element);
  const adder = h("div");
  let offered = [];
  let searched = [];

  function offer(base, request) {
    const now = fieldsToSearch(base, request);
    if (JSON.stringify(now) === JSON.stringify(offered)) return;
    offered = now;
    drawAdder();
  }

  function drawAdder() {
    const open = offered.filter((one) => !searched.some((other) => other.place === one.place));
    const control = select([["", text.searchForm.choose], ...open.map((one) => [one.place, one.place])], "", (place) => add(open.find((one) => one.place === place)));
    fill(adder, field(text.searchForm.add, control));
  }

  function add(one) {
    if (!one) return;
    const source = sourceOf(one, ranges, definitions, onchange);
    const block = h(
      "div",
      { class: "note", role: "group", "aria-label": one.place },
      h("div", { class: "card-head" }, h("code", {}, one.place), h("button", { class: "slim", type: "button", onclick: remove }, text.form.remove(one.place))),
      one.about && h("p", { class: "small quiet" }, one.about),
      source.element,
    );
    const entry = { place: one.place, block, read: source.read };
    function remove() {
      searched = searched.filter((other) => other !== entry);
      changed();
      adder.querySelector("select").focus();
    }
    searched.push(entry);
    changed();
    block.querySelector("select, input").focus();
  }

  function changed() {
    for (const block of [...holder.children]) if (!searched.some((entry) => entry.block === block)) block.remove();
    holder.append(...searched.map((entry) => entry.block).filter((block) => !block.isConnected));
    settings.hidden = searched.length === 0;
    drawAdder();
    onchange();
  }

  return {
    element: h("div", { class: "stack" }, adder, holder, settings),
    offer,
    isUsed: () => searched.length > 0,
    clear() {
      if (!searched.length) return;
      searched = [];
      changed();
    },
    wrap(request) {
      if (!searched.length) return request;
      const space = Object.fromEntries(searched.map((entry) => [entry.place, entry.read()]));
      return { kind: "sweep", base: request, space, ...options.read() };
    },
  };
}

/** The fields of a request that can be searched, by their place with dots, as a sweep names them. */
function fieldsToSearch(schema, request) {
  const fields = [];

  function visit(node, place, given, isItem = false) {
    const leaves = leavesOf(node, schema.$defs);
    const about = node.description ?? leaves[0]?.description;
    const objects = leaves.filter((leaf) => leaf.properties);
    const kinds = objects.filter((leaf) => leaf.properties.kind?.const !== undefined);
    const list = leaves.find((leaf) => leaf.type === "array");
    if (kinds.length > 1 && !isItem) fields.push({ place: `${place}.kind`, about, choices: kinds.map((kind) => kind.properties.kind.const) });
    if (kinds.length) return visitKind(kinds, place, given, leaves.length > kinds.length);
    if (objects.length) return visitAll(objects[0].properties, place, given);
    if (Array.isArray(given) && given.some((item) => item?.kind)) return given.forEach((item, index) => visit(list.items, `${place}.${index}`, item, true));
    fields.push({ place, about, ...typesOf(leaves) });
  }

  /** The fields of the kind that is given; of the default one where only kinds are allowed, those that all kinds have. */
  function visitKind(kinds, place, given, hasOthers) {
    const chosen = kinds.filter((kind) => kind.properties.kind.const === given?.kind);
    if (!chosen.length && hasOthers) return;
    const [first, ...rest] = chosen.length ? chosen : kinds;
    const shared = Object.entries(first.properties).filter(([name]) => name !== "kind" && rest.every((kind) => name in kind.properties));
    visitAll(Object.fromEntries(shared), place, given);
  }

  function visitAll(properties, place, given) {
    for (const [name, node] of Object.entries(properties)) if (name !== "target") visit(node, `${place}.${name}`, given?.[name]);
  }

  for (const [name, node] of Object.entries(schema.properties)) if (!FIXED.includes(name)) visit(node, name, request[name]);
  return fields;
}

/** What a field takes: its choices where it takes nothing else, and whether numbers and which. */
function typesOf(leaves) {
  const numbers = leaves.filter((leaf) => ["integer", "number"].includes(leaf.type) && leaf.const === undefined);
  const choices = leaves.flatMap((leaf) => leaf.enum ?? (leaf.const !== undefined ? [leaf.const] : leaf.type === "boolean" ? [true, false] : leaf.type === "null" ? [null] : [undefined]));
  return {
    choices: choices.includes(undefined) ? null : choices,
    isWhole: numbers.length > 0 && numbers.every((leaf) => leaf.type === "integer"),
    isReal: numbers.some((leaf) => leaf.type === "number"),
    isPositive: numbers.some((leaf) => leaf.exclusiveMinimum === 0),
  };
}

/** Where values come from: a range of the kinds that suit the field, or choices. */
function sourceOf(one, ranges, definitions, onchange) {
  const real = one.isPositive ? ["log_uniform", "uniform"] : ["uniform", "log_uniform"];
  const fitting = [...(one.isReal ? real : one.isWhole ? ["integer"] : []), "choice"];
  const kinds = fitting.map((kind) => ranges.find((range) => range.properties.kind.const === kind)).filter(Boolean);
  const body = h("div", { class: "stack" });
  let inner = null;

  function draw(name) {
    const kind = kinds.find((range) => range.properties.kind.const === name);
    inner = name === "choice" ? choices(one.choices, kind, onchange) : schemaForm(kind, { left: ["kind"], definitions, onchange });
    fill(body, h("p", { class: "small quiet" }, kind.description), inner.element);
  }
  const control = select(kinds.map((kind) => [kind.properties.kind.const, word(kind.properties.kind.const)]), fitting[0], (name) => { draw(name); onchange(); });
  draw(fitting[0]);
  return {
    element: h("div", { class: "stack" }, kinds.length > 1 && h("div", { class: "fields" }, field(text.searchForm.source, control)), body),
    read: () => ({ kind: control.value, ...inner.read() }),
  };
}

/** Values to choose from: check boxes where all are known, else text. */
function choices(known, kind, onchange) {
  if (!known) {
    const input = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false", oninput: onchange });
    return { element: field(text.searchForm.values, input, text.searchForm.valuesAbout), read: () => ({ values: valuesIn(input.value) }) };
  }
  const boxes = known.map((choice) => [choice, h("input", { type: "checkbox", id: uniqueId("choice"), onchange })]);
  const name = (choice) => (typeof choice === "string" ? word(choice) : inWords(choice));
  return {
    element: h("fieldset", {}, h("legend", { class: "label" }, kind.properties.values.description), h("div", { class: "fields checks" }, boxes.map(([choice, box]) => h("label", { class: "check", for: box.id }, box, name(choice))))),
    read: () => ({ values: boxes.filter(([, box]) => box.checked).map(([choice]) => choice) }),
  };
}

/** The values of a text with commas between them: JSON, or else words. */
function valuesIn(given) {
  try {
    return JSON.parse(`[${given}]`);
  } catch {
    return given.split(",").map((item) => item.trim()).filter(Boolean).map((item) => {
      try {
        return JSON.parse(item);
      } catch {
        return item;
      }
    });
  }
}
