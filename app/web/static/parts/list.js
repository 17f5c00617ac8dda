// A list of any length: pages are asked for as it is scrolled, and only rows near the window are elements.

import { complain, follow, pause } from "../api.js";
import { fill, h } from "../dom.js";
import { text } from "../text.js";
import { empty, errorNote } from "./layout.js";

const ROW_HEIGHT = 46; // pixels, as in the style sheet
const MARGIN = 20; // rows above and below the window, so that the keyboard always has a next one
const PAGE = 200;
const REFRESHED = 50; // rows at the beginning that are asked for again and again
const GROUPED = 150; // milliseconds in which several events are answered by one request
const AHEAD = 60; // rows from the end at which the next page is asked for

/**
 * Build a list. `columns`: [{name, cell(item), kind}], kind "name", "middle" or "wide" (hidden where there is no room);
 * `load(after, limit)` returns a page of the API. Its beginning is asked for again `everySeconds`, and whenever the
 * events of `news`, a path, say that something has happened.
 */
export function list({ columns, load, caption, nothing, signal, everySeconds, news }) {
  const body = h("tbody");
  const state = h("div", { role: "status" }, h("p", { class: "loading" }, text.common.loading));
  const table = h(
    "table",
    { class: "list", "aria-label": caption },
    h("colgroup", {}, columns.map((column) => h("col", { class: column.kind }))),
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.kind }, column.name)))),
    body,
  );
  table.hidden = true;
  let items = [];
  let hasMore = true;
  let isLoading = false;
  let drawn = "";

  async function more() {
    if (isLoading || !hasMore) return;
    isLoading = true;
    try {
      const page = await load(items.at(-1)?.id ?? null, PAGE);
      items = items.concat(page.data);
      hasMore = page.has_more;
      draw();
    } catch (error) {
      complain(error, () => fill(state, errorNote(error)));
    } finally {
      isLoading = false;
    }
  }

  async function refresh() {
    if (document.hidden || isLoading) return;
    try {
      const page = await load(null, REFRESHED);
      const known = new Set(page.data.map((item) => item.id));
      const last = page.data.at(-1)?.id;
      const rest = items.slice(Math.max(0, items.findLastIndex((item) => item.id === last) + 1));
      items = page.has_more ? page.data.concat(rest.filter((item) => !known.has(item.id))) : page.data;
      hasMore = page.has_more && (rest.length ? hasMore : true);
      draw();
    } catch (error) {
      complain(error); // it is asked again
    }
  }

  function draw() {
    table.hidden = items.length === 0;
    fill(state, items.length === 0 && empty(nothing));
    if (!items.length) return;
    table.setAttribute("aria-rowcount", hasMore ? "-1" : String(items.length + 1));
    const top = table.getBoundingClientRect().top + 40;
    const first = Math.max(0, Math.floor(-top / ROW_HEIGHT) - MARGIN);
    const last = Math.min(items.length, Math.ceil((window.innerHeight - top) / ROW_HEIGHT) + MARGIN);
    const part = items.slice(first, last);
    const now = JSON.stringify([first, items.length, part]);
    if (now === drawn) return;
    drawn = now;
    const focused = body.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    fill(body, spacer(first), part.map((item, index) => row(item, first + index)), spacer(items.length - Math.max(last, first)));
    if (focused) [...body.querySelectorAll("a, input, button")].find((element) => nameOf(element) === focused)?.focus({ preventScroll: true });
    if (last > items.length - AHEAD) more();
  }

  /** What an element with the focus is known by when the rows are drawn again: where it leads, or its value. */
  function nameOf(element) {
    return element.getAttribute("href") ?? element.value;
  }

  function row(item, index) {
    return h("tr", { "aria-rowindex": index + 2 }, columns.map((column) => h("td", { class: column.kind }, column.cell(item))));
  }

  function spacer(rows) {
    return rows > 0 && h("tr", { class: "spacer", "aria-hidden": "true" }, h("td", { colspan: columns.length, style: { height: `${rows * ROW_HEIGHT}px` } }));
  }

  window.addEventListener("scroll", draw, { passive: true, signal });
  window.addEventListener("resize", draw, { signal });
  if (everySeconds) {
    const timer = setInterval(refresh, 1000 * everySeconds);
    signal.addEventListener("abort", () => clearInterval(timer));
  }
  if (news) {
    let isAsking = false;
    const onEvent = async () => {
      if (isAsking) return; // events come in groups
      isAsking = true;
      await pause(GROUPED, signal).catch(() => {});
      isAsking = false;
      if (!signal.aborted) refresh();
    };
    // Where too many streams are open already, the clock alone says when to ask.
    follow(news, { after: null, onEvent, isDone: () => signal.aborted, signal }).catch(complain);
  }
  more();
  return h("div", { class: "card flush" }, table, state);
}
