// A place to drop a file on, or to choose one.

import { h } from "../dom.js";

/** `onFiles` is called with the chosen files; `content` says what to drop. */
export function dropZone({ name, accept, onFiles, multiple = false }, ...content) {
  const input = h("input", { type: "file", hidden: true, accept, multiple, onchange: chosen });
  const button = h("button", { class: "primary", type: "button", onclick: () => input.click() }, name);
  function chosen() {
    if (input.files.length) onFiles([...input.files]);
    input.value = "";
  }
  const zone = h("div", { class: "drop", ondragover: over, ondragleave: leave, ondrop: drop }, h("div", { class: "stack" }, content), button, input);
  function over(event) {
    event.preventDefault();
    zone.classList.add("over");
  }
  function leave() {
    zone.classList.remove("over");
  }
  function drop(event) {
    event.preventDefault();
    leave();
    if (event.dataTransfer.files.length) onFiles([...event.dataTransfer.files]);
  }
  return zone;
}
