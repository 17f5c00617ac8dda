// A request as others send it: JSON, curl and Python.

import { address } from "../api.js";
import { text } from "../text.js";
import { codeBlock, tabs } from "./feedback.js";

/** Show a POST request; `body()` returns it as it is now, `python(body)` the call of the client. */
export function requestTabs(path, body, python) {
  const json = () => JSON.stringify(body(), null, 2);
  return tabs(
    [
      ["JSON", () => codeBlock(json(), "JSON")],
      ["curl", () => codeBlock(curl(path, json()), "curl")],
      ["Python", () => codeBlock(python(body()), "Python")],
    ],
    text.request.forms,
  );
}

function curl(path, json) {
  const quoted = json.replaceAll("'", "'\\''");
  return [`curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\`, `  ${address(path).href} -d '${quoted}'`].join("\n");
}

/** The beginning of every example in Python. */
export function pythonClient() {
  return `from graftwork import Graftwork\n\ngraftwork = Graftwork("${address("/").href.replace(/\/$/, "")}", KEY)\n`;
}

/** A JSON value as Python writes it. */
export function pythonValue(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(pythonValue).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${pythonValue(item)}`).join(", ")}}`;
  return JSON.stringify(value);
}
