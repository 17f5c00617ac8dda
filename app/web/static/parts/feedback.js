// What the page says by itself: messages that go away, and questions before what cannot be undone.

import { complain } from "../api.js";
import { fill, h } from "../dom.js";
import { text } from "../text.js";

const SECONDS = 6;
const region = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
document.body.append(region);

/** Show a message for some seconds; screen readers say it. */
export function toast(message) {
  const element = h("div", { class: "toast" }, message);
  region.append(element);
  setTimeout(() => element.remove(), 1000 * SECONDS);
}

/** Show the message of an error for some seconds. */
export function toastError(error) {
  complain(error, () => toast(error.message));
}

/** Ask before something; returns whether the answer was yes. */
export function confirmed(question, action) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { "aria-labelledby": "question", onclose: () => { dialog.remove(); resolve(dialog.returnValue === "yes"); } },
      h(
        "div",
        { class: "stack" },
        h("p", { id: "question" }, question),
        h(
          "div",
          { class: "actions" },
          h("button", { class: "danger", onclick: () => dialog.close("yes") }, action),
          h("button", { onclick: () => dialog.close("no") }, text.common.keep),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A button that does something of the API once, and shows the refusal where it stands. */
export function action(name, work, props = {}) {
  const button = h("button", { ...props, type: "button", onclick: run }, name);
  async function run() {
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      toastError(error);
    } finally {
      button.disabled = false;
    }
  }
  return button;
}

/** Text with a button that copies it. */
export function codeBlock(code, label) {
  const button = h("button", { class: "slim", type: "button", onclick: copy }, text.common.copy);
  async function copy() {
    try {
      await navigator.clipboard.writeText(code);
      button.textContent = text.common.copied;
    } catch {
      getSelection().selectAllChildren(pre); // without a secure context: ready to be copied by hand
      toast(text.common.selected);
    }
  }
  const pre = h("pre", { tabindex: "0", role: "group", "aria-label": label }, code);
  return h("div", { class: "code-block" }, pre, button);
}

/** Several texts of one thing, one of which is shown: entries of [name, function that returns an element]. */
export function tabs(entries, label) {
  const body = h("div");
  const buttons = entries.map(([name, build], index) =>
    h("button", { class: "slim", type: "button", "aria-pressed": "false", onclick: () => show(index, build) }, name),
  );
  function show(index, build) {
    buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(other === index)));
    fill(body, build());
  }
  show(0, entries[0][1]);
  return h("div", { class: "stack" }, h("div", { class: "segments", role: "group", "aria-label": label }, buttons), body);
}
