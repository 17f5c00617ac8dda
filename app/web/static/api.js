// Everything that is asked of the API: addresses are relative to the page, errors carry the sentence that says what to do.

import { session } from "./session.js";
import { text } from "./text.js";

const ROOT = new URL(".", document.baseURI);
const WAITS = [500, 1000, 2000, 4000]; // milliseconds; the last goes on
const UNAVAILABLE = [502, 503, 504];

/** What the page shows where a request is refused: `message`, the places in the request, and a code. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail);
    this.status = status;
    this.code = problem.code;
    this.errors = problem.errors ?? [];
    this.requestId = problem.request_id ?? null;
  }
}

/** Events of the whole page: `signedout`, and `lost` and `back` for the connection. */
export const connection = new EventTarget();
let isLost = false;

function setLost(value) {
  if (value === isLost) return;
  isLost = value;
  connection.dispatchEvent(new Event(value ? "lost" : "back"));
}

/** Return the address of a path such as `/v1/jobs`, below whatever prefix the page has. */
export function address(path, query = {}) {
  const url = new URL(path.replace(/^\//, ""), ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.append(name, value);
  }
  return url;
}

/**
 * Ask, and return the answer: its JSON, or its text where it is none; null where it has no body.
 * GET is repeated until the service answers; what changes something is repeated under one idempotency key, four times.
 */
export async function ask(path, { method = "GET", query, json, body, headers = {}, signal, key } = {}) {
  const response = await send(path, { method, query, json, body, headers, signal, key });
  if (response.status === 204) return null;
  return response.headers.get("content-type").includes("json") ? response.json() : response.text();
}

/** Ask, and return the answer as a Blob. */
export async function download(path, options = {}) {
  return (await send(path, { method: "GET", ...options })).blob();
}

async function send(path, { method, query, json, body, headers = {}, signal, key }) {
  const all = { Authorization: `Bearer ${key ?? session.key}`, Accept: "application/json", ...headers };
  if (json !== undefined) all["Content-Type"] = "application/json";
  if (method === "POST") all["Idempotency-Key"] = randomName();
  const content = json === undefined ? body : JSON.stringify(json);
  for (let attempt = 0; ; attempt += 1) {
    let failure;
    try {
      const response = await fetch(address(path, query), { method, headers: all, body: content, signal });
      if (response.ok) {
        setLost(false);
        return response;
      }
      failure = await errorOf(response);
      if (response.status === 401 && !key) connection.dispatchEvent(new Event("signedout"));
      if (!UNAVAILABLE.includes(response.status)) {
        setLost(false);
        throw failure;
      }
    } catch (error) {
      if (error.name === "AbortError" || (error instanceof ApiError && !UNAVAILABLE.includes(error.status))) throw error;
      failure = error instanceof ApiError ? error : unreachable();
    }
    if (key || (method !== "GET" && attempt >= WAITS.length)) throw failure;
    setLost(true);
    await pause(WAITS[Math.min(attempt, WAITS.length - 1)], signal);
  }
}

function unreachable() {
  return new ApiError(0, { code: "unreachable", detail: text.errors.unreachable });
}

async function errorOf(response) {
  try {
    return new ApiError(response.status, await response.json());
  } catch {
    return new ApiError(response.status, { code: "error", detail: text.errors.status(response.status) });
  }
}

/** Upload a form, and call `onProgress` with the share of it that has been sent. fetch cannot tell that. */
export function upload(path, form, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    request.setRequestHeader("Authorization", `Bearer ${session.key}`);
    request.setRequestHeader("Idempotency-Key", randomName());
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("", "AbortError"));
    request.onload = () => {
      let answer;
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        answer = { code: "error", detail: text.errors.status(request.status) };
      }
      if (request.status === 401) connection.dispatchEvent(new Event("signedout"));
      if (request.status < 300) resolve(answer);
      else reject(new ApiError(request.status, answer));
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/**
 * Follow server-sent events: call `onEvent` with each, its data parsed. EventSource cannot send the key.
 * A broken stream goes on behind the last event, until `signal` aborts it or `isDone()` says that no more will come.
 * It begins behind the event of the id `after`; null: with what happens from now on.
 */
export async function follow(path, { after = "0", onEvent, isDone, signal }) {
  let last = after;
  for (let attempt = 0; !signal.aborted; ) {
    try {
      const headers = { Accept: "text/event-stream", ...(last !== null && { "Last-Event-ID": last }) };
      const response = await send(path, { method: "GET", headers, signal });
      for await (const { id, event } of eventsOf(response.body)) {
        last = id ?? last; // an id may stand without an event: where a stream begins
        if (event === null) continue;
        attempt = 0;
        queueMicrotask(() => onEvent(event)); // its faults are no breaks of the stream
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error instanceof ApiError && error.status > 0) throw error;
    }
    if (await isDone()) return;
    await pause(WAITS[Math.min(attempt, WAITS.length - 1)], signal).catch(() => {});
    attempt += 1;
  }
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const valuesOf = (field) => lines.filter((line) => line.startsWith(field)).map((line) => line.slice(field.length).trimStart());
      const data = valuesOf("data:");
      yield { id: valuesOf("id:").at(-1) ?? null, event: data.length ? JSON.parse(data.join("\n")) : null };
    }
  }
}

/**
 * Show an error, unless its request was given up since the view was left.
 * One that the API did not answer is a fault of the page: it is reported, too, as if nothing had caught it.
 */
export function complain(error, show) {
  if (error.name === "AbortError") return;
  if (!(error instanceof ApiError)) reportError(error);
  show?.(error);
}

/** Wait; rejects as `fetch` does where `signal` aborts. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("", "AbortError"));
    });
  });
}

function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
