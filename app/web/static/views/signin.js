// Sign in: the key is tried before it is kept, and stays in this tab alone.

import { ask, complain } from "../api.js";
import { fill, h } from "../dom.js";
import { errorNote, field } from "../parts/layout.js";
import { session } from "../session.js";
import { text } from "../text.js";

/** The form; `onSignedIn` is called once a key is known to be valid. */
export function signInView(icon, onSignedIn) {
  const input = h("input", { type: "password", name: "key", required: true, autocomplete: "off", spellcheck: "false" });
  const problem = h("div");
  const button = h("button", { class: "primary" }, text.signIn.button);

  function refuse(error) {
    fill(problem, errorNote(error));
    input.focus();
  }

  async function signIn(event) {
    event.preventDefault();
    const key = input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(key)) {
      refuse({ message: text.signIn.malformed });
      return;
    }
    button.disabled = true;
    try {
      await ask("/v1/datasets", { query: { limit: 1 }, key });
      session.begin(key);
      onSignedIn();
    } catch (error) {
      if (error.status === 403) { // valid, and may not read: what it may do, it may do
        session.begin(key);
        onSignedIn();
        return;
      }
      complain(error, () => refuse(error.status === 401 ? { message: text.signIn.refused } : error));
    } finally {
      button.disabled = false;
    }
  }

  return h(
    "main",
    { class: "signin" },
    h(
      "form",
      { class: "card", onsubmit: signIn },
      h("div", { class: "brand" }, h("img", { src: icon, alt: "" }), text.shell.name),
      h("div", { class: "stack" }, h("h1", {}, text.signIn.title), h("p", { class: "quiet" }, text.signIn.where)),
      field(text.signIn.key, input, text.signIn.kept),
      problem,
      button,
    ),
  );
}
