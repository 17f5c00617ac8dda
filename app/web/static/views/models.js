// Models: the list, newest version first.

import { ask } from "../api.js";
import { h } from "../dom.js";
import { ago, time, word } from "../format.js";
import { page, warned } from "../parts/layout.js";
import { list } from "../parts/list.js";
import { link } from "../router.js";
import { text } from "../text.js";

export async function modelsView({ signal }) {
  const columns = [
    { name: text.models.name, kind: "name", cell: (model) => h("a", { href: link(["models", model.id]), title: model.name }, model.name) },
    { name: text.models.version, kind: "number", cell: (model) => String(model.version) },
    { name: text.models.kind, kind: "middle", cell: (model) => text.models.kinds[model.kind] },
    { name: text.models.modality, kind: "wide", cell: (model) => word(model.modality) },
    { name: text.models.aliases, kind: "wide", cell: (model) => model.aliases.join(", ") },
    { name: text.data.doubts, kind: "wide", cell: (model) => warned(model.warnings.length) },
    { name: text.common.created, kind: "wide", cell: (model) => h("span", { title: time(model.created_at) }, ago(model.created_at)) },
  ];
  const load = (after, limit) => ask("/v1/models", { query: { after, limit }, signal });
  return page(text.models.title, { meta: text.models.about }, list({ columns, load, caption: text.models.title, nothing: text.models.none, signal, everySeconds: 3 }));
}
