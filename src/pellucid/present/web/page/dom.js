// Elements, made and renewed. Everything that is shown becomes a text node: names of other processes are data, never markup.

const SVG = new Set(["svg", "path", "polyline", "polygon", "rect", "circle", "line", "g", "text", "title", "defs", "marker", "tspan"]);
// Control characters, and marks that turn the direction of writing or have no width: spelled out, so that they move nothing around them.
const HARMFUL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

export function inert(text) {
  return String(text).replace(HARMFUL, (sign) => {
    const code = sign.codePointAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

// h("td", {class: "number", onclick: act, key: "41"}, "text", child, [more], null). A name that begins with "on" is a listener.
export function h(tag, given, ...children) {
  const drawn = SVG.has(tag) && !(tag === "title" && given?.html);
  const element = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) listen(element, name.slice(2), value);
    else if (name === "key") element.setAttribute("data-key", value);
    else element.setAttribute(name, value === true ? "" : inert(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === "") continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child instanceof Node ? child : document.createTextNode(inert(child)));
  }
}

// Listeners are looked up when they are called, so that an element that stays gets those of its successor.
function listen(element, type, act) {
  element.acts ??= {};
  if (!element.acts[type]) element.addEventListener(type, (event) => element.acts[type]?.(event));
  element.acts[type] = act;
}

// Make `old` look like `fresh` and change only what differs: focus, selection, opened details and scrolled places stay.
export function renew(old, fresh) {
  if (fresh.dataset?.same !== undefined) return; // a stand-in for what has not changed
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data && !marked(old)) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open" && name !== "tabindex") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const type of Object.keys(fresh.acts || {})) listen(old, type, fresh.acts[type]);
  if (old.type === "range") old.value = fresh.value; // it may have been moved by others than the mouse
  if (old.tagName === "SELECT" || old.tagName === "TEXTAREA") return;
  renewChildren(old, [...fresh.childNodes]);
}

// Text that a person has marked, to copy it, is left alone until that is over. What is marked is asked for once a renewal: to ask lays out the page.
let selection = null;

function marked(text) {
  return selection !== null && selection.containsNode(text, true);
}

export function renewAll(old, fresh) {
  const found = getSelection();
  selection = found.type === "Range" ? found : null;
  renewChildren(old, fresh);
  selection = null;
}

function renewChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.childNodes) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  if (keyed.size) { // those that are gone go first: then nothing else has to move
    const stay = new Set(fresh.map((child) => child.dataset?.key));
    for (const [key, child] of keyed) if (!stay.has(key)) child.remove();
  }
  let at = old.firstChild;
  for (const wanted of fresh) {
    const key = wanted.dataset?.key;
    const match = key ? keyed.get(key) : alike(at, wanted) ? at : null;
    if (!match || match.nodeName !== wanted.nodeName) { old.insertBefore(wanted, at); continue; }
    if (match === at) at = at.nextSibling; else old.insertBefore(match, at);
    renew(match, wanted);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function alike(one, other) {
  return one && one.nodeName === other.nodeName && !one.dataset?.key;
}

const MANY = 5; // columns: on a telephone the cells of a row stand below one another

// A table of rows of cells; a cell is text, an element, or a list. `heads`: text, or [text, "number"].
export function table(caption, heads, rows, given = {}) {
  const kinds = heads.map((head) => (Array.isArray(head) ? head[1] : null));
  const names = heads.map((head) => (Array.isArray(head) ? head[0] : head));
  const cells = (row) => row.map((cell, place) => h("td", { class: kinds[place], "data-name": heads.length >= MANY ? names[place] : null }, cell));
  return h("div", { class: heads.length >= MANY ? "wide many" : "wide", key: given.key, tabindex: given.tabindex ?? null },
    h("table", { class: given.class },
      h("caption", { class: given.caption ? null : "hidden" }, caption),
      h("thead", null, h("tr", null, heads.map((head, place) => h("th", { scope: "col", class: kinds[place] }, Array.isArray(head) ? head[0] : head)))),
      h("tbody", null, rows.map((row) => (row instanceof Node ? row : h("tr", null, cells(row)))))));
}

// What `make` draws of `value`, which is left as it is for as long as it is the same value: a table of a thousand rows costs too much to compare.
const drawn = new Map();

export function unchanged(key, value, make) {
  const there = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (there && there.dataset.same === undefined && drawn.get(key) === value) return h("div", { key, "data-same": true });
  drawn.set(key, value);
  return h("div", { key }, make());
}

export function note(...text) {
  return h("p", { class: "note" }, ...text);
}

// A command line with a button that copies it.
export function shell(line) {
  const copy = async (event) => {
    const button = event.currentTarget;
    try {
      await navigator.clipboard.writeText(line);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  return h("span", { class: "shell" }, h("code", null, line), " ", h("button", { type: "button", class: "small", onclick: copy, "aria-label": `Copy ${line}` }, "Copy"));
}

// The three lines of an error.
export function failure(failed) {
  return h("div", { class: "failed", role: "alert" },
    h("p", null, h("strong", null, `Can't ${failed.tried || "do that"}`)),
    h("p", null, `Why: ${failed.said}`),
    failed.remedy && h("p", null, "Try: ", h("code", null, failed.remedy)));
}
