// The shell: navigation, theme, connection, and the view of the current address.

import { complain, connection } from "./api.js";
import { fill, h } from "./dom.js";
import { errorNote } from "./parts/layout.js";
import { toast } from "./parts/feedback.js";
import { match } from "./router.js";
import { session } from "./session.js";
import { text } from "./text.js";
import { apiView } from "./views/api.js";
import { compareView } from "./views/compare.js";
import { dataView } from "./views/data.js";
import { datasetView } from "./views/dataset.js";
import { jobView } from "./views/job.js";
import { jobsView } from "./views/jobs.js";
import { keysView } from "./views/keys.js";
import { modelView } from "./views/model.js";
import { modelsView } from "./views/models.js";
import { newJobView } from "./views/newjob.js";
import { projectsView } from "./views/projects.js";
import { signInView } from "./views/signin.js";
import { statusView } from "./views/status.js";
import { transferView } from "./views/transfer.js";
import { webhookView } from "./views/webhook.js";
import { webhooksView } from "./views/webhooks.js";

const isDocs = /\/docs\/?$/.test(location.pathname);
const ROUTES = [
  ["/", isDocs ? apiView : dataView],
  ["/data", dataView],
  ["/data/:id", datasetView],
  ["/jobs", jobsView],
  ["/jobs/new", newJobView],
  ["/jobs/compare", compareView],
  ["/jobs/:id", jobView],
  ["/jobs/:id/transfer", transferView],
  ["/models", modelsView],
  ["/models/:ref", modelView],
  ["/status", statusView],
  ["/webhooks", webhooksView],
  ["/webhooks/:id", webhookView],
  ["/projects", projectsView],
  ["/keys", keysView],
  ["/api", apiView],
  ["/api/:operation", apiView],
];
const SECTIONS = ["data", "jobs", "models", null, "status", "webhooks", "projects", "keys", "api"];
const THEMES = ["system", "light", "dark"];

const guide = document.querySelector("link[rel=help]")?.href; // there where the service has built it
const icon = document.querySelector("link[rel=icon]").href;
let leaving = new AbortController();
let main = null;

/** Show the view of the current address; whatever the one before still does ends. */
async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const route = match(ROUTES);
  if (!session.key && route?.view !== apiView) { // what the API can do, it tells everybody
    main = null;
    document.title = text.shell.title(text.signIn.title);
    frame(signInView(icon, show));
    document.querySelector("input").focus();
    return;
  }
  if (!main) frame(shell());
  for (const link of document.querySelectorAll(".nav a")) {
    const isHere = link.dataset.section === (route?.section || (isDocs ? "api" : "data"));
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fill(main, h("p", { class: "loading", role: "status" }, text.common.loading));
  let view;
  try {
    view = route ? await route.view({ ...route, signal, again: show }) : h("p", {}, text.shell.unknown);
  } catch (error) {
    complain(error, () => {
      view = h("div", { class: "column" }, h("h1", { tabindex: "-1" }, text.shell.failed), errorNote(error));
    });
  }
  if (signal.aborted) return;
  fill(main, view);
  const title = main.querySelector("h1");
  document.title = text.shell.title(title?.textContent);
  window.scrollTo(0, 0);
  title?.focus({ preventScroll: true });
}

function frame(...content) {
  document.querySelector("#app")?.remove();
  document.body.prepend(h("div", { id: "app" }, content));
}

function shell() {
  main = h("main", { class: "main", id: "main", tabindex: "-1" });
  const skip = h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, text.shell.skip);
  const links = SECTIONS.map((section) =>
    section === null
      ? h("div", { class: "rule", role: "presentation" })
      : h("a", { href: `#/${section}`, "data-section": section }, text.nav[section]),
  );
  return h(
    "div",
    {},
    skip,
    banner,
    h(
      "div",
      { class: "shell" },
      h(
        "header",
        { class: "side" },
        h("a", { class: "brand", href: "#/data" }, h("img", { src: icon, alt: "" }), text.shell.name),
        h("nav", { class: "nav", "aria-label": text.shell.navigation }, links, guide && h("a", { href: guide }, text.nav.guide)),
        h("div", { class: "tools" }, themeButton(), session.key ? h("button", { class: "slim", type: "button", onclick: signOut }, text.shell.signOut) : h("a", { class: "button slim", href: "#/data" }, text.signIn.button)),
      ),
      main,
    ),
  );
}

function themeButton() {
  const button = h("button", { class: "slim", type: "button", onclick: next });
  const current = () => localStorage.getItem("graftwork.theme") ?? "system";
  function name() {
    button.textContent = text.shell.theme(text.shell.themes[current()]);
  }
  function next() {
    const theme = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    if (theme === "system") {
      localStorage.removeItem("graftwork.theme");
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem("graftwork.theme", theme);
      document.documentElement.dataset.theme = theme;
    }
    name();
  }
  name();
  return button;
}

function signOut() {
  session.end();
  show();
}

const banner = h("div", { class: "banner", role: "status", hidden: true }, text.shell.lost);
connection.addEventListener("lost", () => { banner.hidden = false; });
connection.addEventListener("back", () => { banner.hidden = true; });
connection.addEventListener("signedout", () => {
  if (!session.key) return;
  session.end();
  toast(text.signIn.ended);
  show();
});
window.addEventListener("hashchange", show);
show();
