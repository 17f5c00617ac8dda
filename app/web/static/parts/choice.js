// Check boxes in a list of jobs, and the way from them to the view that compares the jobs.

import { fill, h } from "../dom.js";
import { link } from "../router.js";
import { text } from "../text.js";

export const [MIN_COMPARED, MAX_COMPARED] = [2, 6]; // jobs side by side: a colour of the charts for each

/** Return the ids in a query: those that an address holds, each once. */
export function idsIn(query) {
  return [...new Set((query.get("ids") ?? "").split(",").filter(Boolean))];
}

/** Build a column of check boxes and what stands above the list; `ids` is what is chosen now, at first `chosen`. */
export function jobChoice(chosen, titleOf) {
  const ids = new Set(chosen);
  const count = h("span", { role: "status" });
  const buttons = h("span", { class: "row" });
  const bar = h("div", { class: "row" }, count, buttons);

  function changed() {
    const fits = ids.size >= MIN_COMPARED && ids.size <= MAX_COMPARED;
    count.textContent = ids.size ? text.compare.chosen(ids.size) : "";
    bar.hidden = ids.size === 0;
    fill(
      buttons,
      fits ? h("a", { class: "button slim primary", href: link(["jobs", "compare"], { ids: [...ids].join(",") }) }, text.compare.compare) : h("span", { class: "quiet" }, text.compare.limits(MIN_COMPARED, MAX_COMPARED)),
      h("button", { class: "slim", type: "button", onclick: clear }, text.compare.clear),
    );
  }

  function clear() {
    ids.clear();
    for (const box of document.querySelectorAll("td.pick input")) box.checked = false;
    changed();
    document.querySelector("td.pick input")?.focus();
  }

  function box(job) {
    const toggle = () => {
      if (input.checked) ids.add(job.id);
      else ids.delete(job.id);
      changed();
    };
    const input = h("input", { type: "checkbox", value: job.id, checked: ids.has(job.id), "aria-label": text.compare.chooseOne(titleOf(job)), onchange: toggle });
    return h("label", {}, input);
  }

  changed();
  return { ids, bar, column: { name: h("span", { class: "visually-hidden" }, text.compare.choose), kind: "pick", cell: box } };
}
