// Data: drop a file, and the list of datasets.

import { ask, complain, upload } from "../api.js";
import { fill, h } from "../dom.js";
import { ago, number, percent, time, word } from "../format.js";
import { dropZone } from "../parts/drop.js";
import { badge, errorNote, page, warned } from "../parts/layout.js";
import { list } from "../parts/list.js";
import { go, link } from "../router.js";
import { text } from "../text.js";

const MAX_NAME = 200;
const PART_BYTES = 16 << 20; // a larger file is sent in parts of so many bytes

export async function dataView({ signal }) {
  const state = h("div", { role: "status" });

  async function send([file]) {
    const bar = h("progress", { max: "1", value: 0, "aria-label": text.data.uploading(file.name) });
    const share = h("span", { class: "quiet" }, percent(0, 0));
    fill(state, h("div", { class: "note" }, h("span", {}, text.data.uploading(file.name)), bar, share));
    const onProgress = (sent) => {
      bar.value = sent;
      share.textContent = sent < 1 ? percent(sent, 0) : text.data.hashing;
    };
    try {
      const dataset = await (file.size > PART_BYTES ? sendInParts : sendWhole)(file, onProgress, signal);
      go(["data", dataset.id]);
    } catch (error) {
      complain(error, () => fill(state, errorNote(error)));
    }
  }

  const zone = dropZone({ name: text.data.choose, onFiles: send }, h("h2", {}, text.data.drop), h("p", { class: "quiet" }, text.data.formats));
  const columns = [
    { name: text.data.name, kind: "name", cell: (item) => h("a", { href: link(["data", item.id]), title: item.name }, item.name) },
    { name: text.data.status, cell: (item) => badge(item.status) },
    { name: text.data.kind, kind: "middle", cell: (item) => word(item.modality) },
    { name: text.data.rows, kind: "number wide", cell: (item) => (item.rows ? number(sum(item.rows)) : "–") },
    { name: text.data.doubts, kind: "wide", cell: (item) => warned(item.warnings.length) },
    { name: text.common.created, kind: "wide", cell: (item) => h("span", { title: time(item.created_at) }, ago(item.created_at)) },
  ];
  const load = (after, limit) => ask("/v1/datasets", { query: { after, limit }, signal });
  const datasets = list({ columns, load, caption: text.data.title, nothing: text.data.none, signal, everySeconds: 3 });
  return page(text.data.title, { meta: text.data.about }, zone, state, datasets);
}

function sendWhole(file, onProgress, signal) {
  const form = new FormData();
  form.append("name", nameOf(file));
  form.append("file", file);
  return upload("/v1/datasets", form, onProgress, signal);
}

/** Of a connection that breaks one part is sent again, and not the file. */
async function sendInParts(file, onProgress, signal) {
  const { links } = await ask("/v1/uploads", { method: "POST", json: { filename: file.name.slice(-MAX_NAME), bytes: file.size }, signal });
  const headers = { "Content-Type": "application/octet-stream" };
  for (let sent = 0; sent < file.size; sent += PART_BYTES) {
    onProgress(sent / file.size);
    await ask(`${links.self}/parts/${1 + sent / PART_BYTES}`, { method: "PUT", headers, body: file.slice(sent, sent + PART_BYTES), signal });
  }
  onProgress(1);
  const { id } = await ask(`${links.self}/complete`, { method: "POST", signal });
  return ask("/v1/datasets", { method: "POST", json: { name: nameOf(file), upload: id }, signal });
}

/** The file's name without its ending, as far as a name of a dataset may be long. */
function nameOf(file) {
  return (file.name.replace(/(\.[A-Za-z0-9]{1,8}){1,2}$/, "") || file.name).slice(0, MAX_NAME);
}

export function sum(counts) {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
