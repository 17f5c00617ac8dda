// Numbers, sizes and times as people read them.

import { text } from "./text.js";

const WHOLE = new Intl.NumberFormat("en");
const TIME = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat("en", { timeStyle: "medium", hour12: false });

/** A number with at most so many significant digits; a dash where there is none. */
export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return WHOLE.format(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return new Intl.NumberFormat("en", { maximumSignificantDigits: digits }).format(value);
}

export function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`;
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = count;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size < 10 && unit ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

export function time(iso) {
  return iso ? TIME.format(new Date(iso)) : "–";
}

export function clock(iso) {
  return CLOCK.format(new Date(iso));
}

/** Seconds as a length of time: 42 s, 3 min 10 s, 2 h 5 min. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How long ago, in words. */
export function ago(iso) {
  const seconds = Math.max(0, (Date.now() - new Date(iso)) / 1000);
  if (seconds < 45) return text.time.now;
  if (seconds < 5400) return text.time.minutes(Math.max(1, Math.round(seconds / 60)));
  if (seconds < 129600) return text.time.hours(Math.round(seconds / 3600));
  return text.time.days(Math.round(seconds / 86400));
}

/** What the API calls `fine_tuning`, as a word. */
export function word(name) {
  return name ? text.words[name] ?? name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase()) : "–";
}

/** A value of a decision or of a config, in one line. */
export function value(item) {
  return typeof item === "string" ? item : JSON.stringify(item);
}
