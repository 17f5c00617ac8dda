// Status: whether the service is well, how much waits, and what takes room.

import { ask, pause } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes, number, word } from "../format.js";
import { toastError } from "../parts/feedback.js";
import { badge, bars, card, figure, page, pairs } from "../parts/layout.js";
import { text } from "../text.js";

const LIVING = ["queued", "preparing", "running", "paused"];
const MILLISECONDS = 3000;
const LISTING_MILLISECONDS = 60_000; // the whole service's files are listed for it

export async function statusView({ signal }) {
  const [health, work, room] = [h("div", { class: "stack" }), h("div"), h("div", { class: "stack" })];
  let [drawn, service] = ["", null];

  async function update() {
    const [ready, storage, ...jobs] = await Promise.all([
      ask("/health/ready", { signal }),
      ask("/v1/storage", { query: { service: false }, signal }),
      ...LIVING.map((status) => ask("/v1/jobs", { query: { status, limit: 200 }, signal })),
    ]);
    const now = JSON.stringify([ready, storage, service, jobs.map((page) => page.data.length)]);
    if (now === drawn) return;
    drawn = now;
    fill(health, h("div", { class: "row" }, badge(ready.status)), pairs(Object.entries(ready.parts).map(([part, state]) => [word(part), state === "ok" ? text.words.ok : state])));
    fill(work, h("div", { class: "figures" }, jobs.map((page, index) => figure(word(LIVING[index]), page.has_more ? text.status.moreThan(page.data.length) : number(page.data.length)))));
    const entries = Object.entries(storage.project).filter(([, one]) => one.bytes !== undefined);
    const { quota } = storage;
    fill(
      room,
      bars(entries.map(([name, one]) => [word(name), one.bytes, text.status.files(bytes(one.bytes), number(one.count))])),
      pairs([
        [text.status.quota, quota.bytes === null ? text.status.noQuota : text.status.left(bytes(quota.left_bytes), bytes(quota.bytes))],
        [text.status.rows, quota.rows === null ? text.status.noQuota : text.status.left(number(quota.left_rows), number(quota.rows))],
        [text.status.goes, service && bytes(service.unreferenced.bytes + service.trash.bytes + service.tmp.bytes)],
        [text.status.cache, service && bytes(service.cache.bytes)],
        [text.status.disk, service && text.status.left(bytes(service.free_bytes), bytes(service.total_bytes))],
      ]),
    );
  }

  async function live() {
    for (;;) {
      await pause(MILLISECONDS, signal);
      if (!document.hidden) await update();
    }
  }

  async function list() {
    for (;;) {
      ({ service } = await ask("/v1/storage", { signal }));
      await update();
      await pause(LISTING_MILLISECONDS, signal);
    }
  }

  await update();
  live().catch(toastError);
  list().catch(toastError);
  return page(text.status.title, { meta: text.status.about }, card(text.status.health, health), card(text.status.jobs, work), card(text.status.storage, room));
}
