// Elements by createElement and text by text nodes alone: whatever a name holds, it is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element. `props`: attributes; `onX` listens to an event; `style` sets properties one by one, as the content
 * security policy allows; true sets an empty attribute; null, undefined and false leave it out.
 * `children`: elements, texts and lists of them; null, undefined and false are left out.
 */
export function h(tag, props = {}, ...children) {
  return build(document.createElement(tag), props, children);
}

/** Make an SVG element, as `h` does. */
export function svg(tag, props = {}, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child);
  }
}

/** Put `children` in the place of all that an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/**
 * Return a function that fills an element of `boxes` by its name, but only where what it shows has changed, so that
 * nothing moves under the pointer.
 */
export function drawer(boxes) {
  const drawn = {};
  return (name, shown, build) => {
    const now = JSON.stringify(shown);
    if (drawn[name] === now) return;
    drawn[name] = now;
    fill(boxes[name], build());
  };
}

let lastId = 0;

/** Return an id that no other element has. */
export function uniqueId(prefix = "id") {
  lastId += 1;
  return `${prefix}-${lastId}`;
}
