// A form drawn from the JSON Schema of a request. What is left alone is left out of the request: the service decides.

import { fill, h } from "../dom.js";
import { value as inWords, word } from "../format.js";
import { text } from "../text.js";
import { field, select } from "./layout.js";

const UNSET = "";

/** Build the fields of an object: `read()` returns those that were set. `left`: names that stand elsewhere. */
export function schemaForm(schema, { left = [], definitions = schema.$defs ?? {}, onchange = () => {} } = {}) {
  const parts = Object.entries(schema.properties ?? {})
    .filter(([name, node]) => !left.includes(name) && node.const === undefined)
    .map(([name, node]) => [name, control(node, name, { definitions, onchange, required: schema.required?.includes(name) })]);
  const small = parts.filter(([, part]) => !part.isWide).map(([, part]) => part.element);
  const wide = parts.filter(([, part]) => part.isWide).map(([, part]) => part.element);
  return {
    element: h("div", { class: "stack" }, small.length > 0 && h("div", { class: "fields" }, small), wide),
    read() {
      const values = {};
      for (const [name, part] of parts) {
        const value = part.read();
        if (value !== undefined) values[name] = value;
      }
      return values;
    },
  };
}

/** A form for any schema, such as the union of all requests of an address: an element, and what it holds. */
export function schemaControl(node, name, definitions) {
  return control(node, name, { definitions, onchange: () => {}, required: true });
}

/** One field: an element, and what it holds (undefined where nothing was set). */
function control(node, name, context) {
  const leaves = leavesOf(node, context.definitions);
  const objects = leaves.filter((leaf) => leaf.properties);
  const kinds = objects.filter((leaf) => leaf.properties.kind?.const !== undefined);
  const arrays = leaves.filter((leaf) => leaf.type === "array");
  const about = [node.description ?? leaves[0]?.description, defaultOf(node)].filter(Boolean).join(" ");
  context = { ...context, shown: unset(node, context.required) };
  if (kinds.length) return kindControl(kinds, leaves, name, about, context);
  if (objects.length === 1) return objectControl(objects[0], leaves, name, about, context);
  const itemKinds = arrays.flatMap((leaf) => leavesOf(leaf.items ?? {}, context.definitions)).filter((leaf) => leaf.properties?.kind);
  if (itemKinds.length) return listControl(itemKinds, name, about, context);
  const choices = leaves.flatMap((leaf) => leaf.enum ?? (leaf.const !== undefined ? [leaf.const] : leaf.type === "boolean" ? [true, false] : []));
  const isFree = leaves.some((leaf) => !leaf.enum && leaf.const === undefined && !["boolean", "null"].includes(leaf.type));
  if (!isFree && choices.length) return choiceControl(choices, name, about, context);
  return textControl(leaves, name, about, context);
}

/** The branches of unions and references, without those of one type. */
export function leavesOf(node, definitions) {
  if (node.$ref) return leavesOf({ ...definitions[node.$ref.split("/").at(-1)], ...(node.description && { description: node.description }) }, definitions);
  const union = node.oneOf ?? node.anyOf ?? node.allOf;
  return union ? union.flatMap((branch) => leavesOf(branch, definitions)) : [node];
}

function defaultOf(node) {
  if (node.default === undefined || node.default === null) return "";
  const shown = inWords(node.default);
  return shown.length > 60 || shown === "{}" || shown === "[]" ? "" : text.form.default(shown);
}

/** What a field shows that is left alone. */
function unset(node, required) {
  if (node.default === "auto") return text.form.unset;
  return required ? text.form.choose : text.form.byDefault;
}

function choiceControl(choices, name, about, { onchange, shown }) {
  const names = choices.map((choice) => [JSON.stringify(choice), typeof choice === "string" ? word(choice) : inWords(choice)]);
  const input = select([[UNSET, shown], ...names], UNSET, onchange);
  return { element: field(word(name), input, about), read: () => (input.value === UNSET ? undefined : JSON.parse(input.value)) };
}

function textControl(leaves, name, about, { onchange, required, shown }) {
  const isText = leaves.some((leaf) => leaf.type === "string" && leaf.const === undefined);
  const isNumber = leaves.every((leaf) => ["number", "integer", "null"].includes(leaf.type) || leaf.const !== undefined);
  const input = h("input", { type: "text", inputmode: isNumber && "decimal", placeholder: shown, required, autocomplete: "off", oninput: onchange });
  function read() {
    const given = input.value.trim();
    if (given === "") return undefined;
    if (isText) return given;
    try {
      return JSON.parse(given);
    } catch {
      return leaves.some((leaf) => leaf.type === "array") ? given.split(",").map((item) => item.trim()) : given; // the service says what is wrong
    }
  }
  return { element: field(word(name), input, about), read };
}

function kindControl(kinds, leaves, name, about, context) {
  const others = leaves.filter((leaf) => leaf.const !== undefined).map((leaf) => [JSON.stringify(leaf.const), word(leaf.const)]);
  const none = leaves.some((leaf) => leaf.type === "null") ? [["null", text.form.none]] : [];
  const titles = kinds.map((kind) => [`kind:${kind.properties.kind.const}`, word(kind.properties.kind.const)]);
  const below = h("div");
  let inner = null;
  const input = select([[UNSET, context.shown], ...others, ...none, ...titles], UNSET, changed);
  function changed() {
    const kind = kinds.find((one) => `kind:${one.properties.kind.const}` === input.value);
    inner = kind ? schemaForm(kind, { ...context, left: ["kind"] }) : null;
    fill(below, kind && h("div", { class: "note" }, h("p", { class: "small quiet" }, kind.description), inner.element));
    context.onchange();
  }
  function read() {
    if (input.value === UNSET) return undefined;
    if (!input.value.startsWith("kind:")) return JSON.parse(input.value);
    return { kind: input.value.slice(5), ...inner.read() };
  }
  return { element: h("div", { class: "stack" }, field(word(name), input, about), below), read };
}

function objectControl(schema, leaves, name, about, context) {
  const inner = schemaForm(schema, context);
  const element = h("details", { class: "nested" }, h("summary", {}, word(name)), h("div", { class: "stack" }, about && h("p", { class: "small quiet" }, about), inner.element));
  function read() {
    const values = inner.read();
    return Object.keys(values).length ? values : undefined;
  }
  return { element, read, isWide: true };
}

function listControl(kinds, name, about, context) {
  const items = [];
  const holder = h("div", { class: "stack" });
  const titles = kinds.map((kind) => [kind.properties.kind.const, word(kind.properties.kind.const)]);
  const input = select([[UNSET, text.form.add], ...titles], UNSET, add);
  function add() {
    const kind = kinds.find((one) => one.properties.kind.const === input.value);
    input.value = UNSET;
    if (!kind) return;
    const inner = schemaForm(kind, { ...context, left: ["kind"] });
    const item = { kind: kind.properties.kind.const, inner };
    const remove = h("button", { class: "slim", type: "button", onclick: () => { items.splice(items.indexOf(item), 1); block.remove(); context.onchange(); } }, text.form.remove(word(item.kind)));
    const block = h("div", { class: "note" }, h("div", { class: "card-head" }, h("strong", {}, word(item.kind)), remove), h("p", { class: "small quiet" }, kind.description), inner.element);
    items.push(item);
    holder.append(block);
    context.onchange();
  }
  const read = () => (items.length ? items.map((item) => ({ kind: item.kind, ...item.inner.read() })) : undefined);
  return { element: h("div", { class: "stack" }, field(word(name), input, about), holder), read };
}
