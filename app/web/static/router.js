// The address after # says which view is shown: "#/data/ds_1?tab=rows" is the view "/data/:id" with a query.

/** Return the view of the current address: its handler, the parameters in its path, and its query. */
export function match(routes) {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const parts = (path || "/").split("/").filter(Boolean).map(decoded);
  for (const [pattern, view] of routes) {
    const names = pattern.split("/").filter(Boolean);
    if (names.length !== parts.length) continue;
    if (!names.every((name, index) => name.startsWith(":") || name === parts[index])) continue;
    const params = {};
    names.forEach((name, index) => {
      if (name.startsWith(":")) params[name.slice(1)] = parts[index];
    });
    return { view, params, query: new URLSearchParams(query), section: parts[0] ?? "" };
  }
  return null;
}

/** Return the address of a view; names of users are encoded. */
export function link(parts, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

/** Go to a view. */
export function go(parts, query) {
  location.hash = link(parts, query);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
