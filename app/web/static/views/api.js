// The API's requests, drawn from its OpenAPI document, each with a form that sends it.

import { ask, complain } from "../api.js";
import { fill, h } from "../dom.js";
import { word } from "../format.js";
import { action, codeBlock } from "../parts/feedback.js";
import { card, errorNote, field, page, table } from "../parts/layout.js";
import { requestTabs } from "../parts/request.js";
import { schemaControl } from "../parts/schema_form.js";
import { link } from "../router.js";
import { session } from "../session.js";
import { text } from "../text.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
let known = null; // the document is large, and does not change while the page is open

export async function apiView({ params, signal }) {
  known ??= await ask("/openapi.json", { signal });
  const operations = Object.entries(known.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => ({ path, method, ...methods[method], id: `${method} ${path}` })),
  );
  const chosen = operations.find((operation) => operation.id === params.operation);
  return chosen ? operationView(chosen) : listView(operations);
}

function listView(operations) {
  const list = h("div", { class: "parts" });
  const input = h("input", { type: "search", oninput: show, autocomplete: "off" });
  function show() {
    const words = input.value.trim().toLowerCase();
    const matching = operations.filter((operation) => `${operation.id} ${operation.description ?? ""}`.toLowerCase().includes(words));
    const tags = [...new Set(matching.map((one) => one.tags?.[0] ?? "health"))];
    fill(list, tags.map((tag) => card(word(tag), h("ul", { class: "stack" }, matching.filter((operation) => (operation.tags?.[0] ?? "health") === tag).map(entry)))));
  }
  show();
  return page(text.api.title, { meta: [text.api.about, h("a", { href: "openapi.json" }, text.api.document)] }, field(text.api.find, input), list);
}

function entry(operation) {
  const name = h("code", {}, `${operation.method.toUpperCase()} ${operation.path}`);
  return h("li", {}, h("a", { href: link(["api", operation.id]) }, name), h("div", { class: "small quiet" }, operation.description?.split("\n")[0]));
}

function operationView(operation) {
  const parameters = operation.parameters ?? [];
  const content = operation.requestBody?.content ?? {};
  const [form, body] = ["multipart/form-data", "application/json"].map((type) => content[type]?.schema);
  const definitions = known.components?.schemas ?? {};
  const rows = parameters.map((one) => [h("code", {}, one.name), word(one.in), one.description ?? one.schema?.description ?? "", one.required ? text.api.required : text.api.optional]);
  const responses = Object.entries(operation.responses).map(([status, response]) => [h("code", {}, status), response.description]);
  return page(
    `${operation.method.toUpperCase()} ${operation.path}`,
    { crumb: { href: "#/api", name: text.api.all }, meta: operation.description },
    rows.length > 0 && card(text.api.parameters, table([[text.api.parameter], [text.api.where], [text.api.meaning], [text.api.need]], rows, text.api.parameters)),
    form && card(text.api.form, fieldTable(form)),
    (body || !form) && tryCard(operation, parameters, body, definitions),
    exampleCard(content),
    card(text.api.answers, table([[text.api.status], [text.api.meaning]], responses, text.api.answers)),
  );
}

function exampleCard(content) {
  const examples = Object.values(content).flatMap((media) => Object.values(media.examples ?? {}));
  return examples.length > 0 && card(text.api.examples, h("p", { class: "quiet" }, text.api.examplesAbout), examples.map((one) => codeBlock(JSON.stringify(one.value, null, 2), text.api.example)));
}

function fieldTable(schema) {
  const rows = Object.entries(schema.properties).map(([name, one]) => [h("code", {}, name), one.description ?? "", schema.required?.includes(name) ? text.api.required : text.api.optional]);
  return table([[text.api.parameter], [text.api.meaning], [text.api.need]], rows, text.api.form);
}

function tryCard(operation, parameters, node, definitions) {
  const inputs = parameters.filter((one) => one.in !== "header").map((one) => [one, h("input", { type: "text", autocomplete: "off", required: one.required })]);
  const body = node ? schemaControl(node, "body", definitions) : null;
  const answer = h("div", { role: "status", class: "stack" });
  const code = h("div");
  const path = () => inputs.filter(([one]) => one.in === "path").reduce((whole, [one, input]) => whole.replace(`{${one.name}}`, encodeURIComponent(input.value)), operation.path);
  const query = () => Object.fromEntries(inputs.filter(([one]) => one.in === "query").map(([one, input]) => [one.name, input.value]));

  async function send() {
    const json = body?.read() ?? undefined;
    if (json !== undefined) fill(code, requestTabs(path(), () => json, () => "# see docs/reference.md"));
    try {
      const given = await ask(path(), { method: operation.method.toUpperCase(), query: query(), json });
      fill(answer, codeBlock(JSON.stringify(given, null, 2), text.api.answer));
    } catch (error) {
      complain(error, () => fill(answer, errorNote(error)));
    }
  }
  return card(
    text.api.try,
    h("p", { class: "quiet" }, session.key ? text.api.tryAbout : text.api.needsKey),
    inputs.length > 0 && h("div", { class: "fields" }, inputs.map(([one, input]) => field(one.name, input))),
    body?.element,
    session.key && h("div", { class: "row" }, action(text.api.send, send, { class: "primary" })),
    answer,
    code,
  );
}
