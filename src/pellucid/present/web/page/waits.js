// Who waits for whom: a picture where there is something to draw, and always the same as a table.
import { h, note, table, unchanged } from "./dom.js";
import { duration, plural } from "./words.js";

const MOST_ROWS = 200;
const WIDE = 300, HIGH = 46, APART = 120, BELOW = 16;

export function waits(known) {
  const deep = known.deep;
  if (!deep) return note("Looking at it…");
  if (deep.failed) return null;
  return unchanged(`waits ${known.place.host} ${known.place.pid}`, deep, () => shownWaits(deep.waits, deep.pid));
}

// The picture, and the table.
export function shownWaits({ rows, dots, arrows, left_out: leftOut, elsewhere }, pid) {
  return [
    arrows.length ? [h("h3", null, "Who waits for whom"), picture(dots, arrows), leftOut ? note(`${plural(leftOut, "more thread")} not drawn: the table has all.`) : null]
      : note("Nobody here waits for another thread, task or process that is known: there is nothing to draw."),
    h("h3", null, plural(rows.length, "wait")),
    rows.length ? everyWait(rows.slice(0, MOST_ROWS)) : note("Nothing waits here."),
    elsewhere ? note(`${plural(elsewhere, "wait")} of other processes that were looked at on the way ${elsewhere === 1 ? "is" : "are"} left out: none of these depends on ${elsewhere === 1 ? "it" : "them"}.`) : null,
    rows.length > MOST_ROWS ? note(`and ${rows.length - MOST_ROWS} more: pellucid waits ${pid} --json`) : null];
}

// Of a program that can't be read three columns would be empty.
function everyWait(rows) {
  const word = (row) => (row.stuck ? [h("span", { class: "word critical" }, "can never go on"), " "] : null);
  const columns = [["who", (row) => [word(row), row.who]], ["waits for", (row) => row.what], ["for", (row) => (row.since_s === null ? "" : duration(row.since_s))], ["at", (row) => row.at],
    ["who could end it", (row) => row.holders], ["who waits in turn", (row) => row.onward]].filter(([, cell]) => rows.some((row) => cell(row)));
  return table("Every wait", columns.map(([head]) => head), rows.map((row) => columns.map(([, cell]) => cell(row))));
}

// Columns from who waits to who is waited for; a cycle goes back from where it was entered.
function columns(dots, arrows) {
  const column = new Map(dots.map((dot) => [dot.key, 0]));
  for (let round = 0; round < Math.min(dots.length, 12); round += 1) {
    let moved = false;
    for (const { begin, end } of arrows) {
      if (begin === end || (column.get(end) <= column.get(begin) && !reaches(end, begin, arrows, new Set()))) {
        if (begin !== end && column.get(end) !== column.get(begin) + 1) { column.set(end, column.get(begin) + 1); moved = true; }
      }
    }
    if (!moved) break;
  }
  const placed = [];
  for (const dot of dots) (placed[column.get(dot.key)] ||= []).push(dot);
  return spreadCycles(placed.filter(Boolean), arrows);
}

function reaches(from, to, arrows, seen) {
  if (from === to) return true;
  if (seen.has(from)) return false;
  seen.add(from);
  return arrows.some(({ begin, end }) => begin === from && reaches(end, to, arrows, seen));
}

// Members of a cycle all have the same column: they are laid out beside each other, so that its arrows can be seen.
function spreadCycles(placed, arrows) {
  if (placed.length > 1 || !placed[0]) return placed;
  const half = Math.ceil(placed[0].length / 2);
  const order = [];
  const next = new Map(arrows.map(({ begin, end }) => [begin, end]));
  for (const dot of placed[0]) for (let key = dot.key; key && !order.includes(key); key = next.get(key)) order.push(key);
  const by = new Map(placed[0].map((dot) => [dot.key, dot]));
  const sorted = order.filter((key) => by.has(key)).map((key) => by.get(key));
  return sorted.length < 2 ? placed : [sorted.slice(0, half), sorted.slice(half).reverse()];
}

// Parts of the graph that have nothing to do with each other are laid out below one another.
function parts(dots, arrows) {
  const part = new Map(dots.map((dot) => [dot.key, dot.key]));
  const root = (key) => { while (part.get(key) !== key) key = part.get(key); return key; };
  for (const { begin, end } of arrows) part.set(root(begin), root(end));
  const found = new Map();
  for (const dot of dots) found.set(root(dot.key), [...(found.get(root(dot.key)) || []), dot]);
  return [...found.values()].map((members) => [members, arrows.filter(({ begin }) => members.some((dot) => dot.key === begin))]);
}

function picture(dots, arrows) {
  const at = new Map();
  let high = 2, wide = 0;
  for (const [members, own] of parts(dots, arrows)) {
    const placed = columns(members, own);
    placed.forEach((column, x) => column.forEach((dot, y) => at.set(dot.key, { x: x * (WIDE + APART) + 2, y: high + y * (HIGH + BELOW) })));
    wide = Math.max(wide, placed.length * (WIDE + APART) - APART + 4);
    high += Math.max(...placed.map((column) => column.length)) * (HIGH + BELOW);
  }
  const told = arrows.map(({ begin, end, what }) => `${name(dots, begin)} waits for ${what}, which ${name(dots, end)} has or owes`).join("; ");
  return h("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "Graph of waits" },
    h("svg", { class: "graph", viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "img", "aria-label": `${told}. The table below has the same.` },
      h("defs", null, h("marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto-start-reverse" }, h("path", { d: "M0 0 L8 4 L0 8 z" }))),
      arrows.map((arrow) => line(arrow, at)),
      dots.map((dot) => box(dot, at.get(dot.key)))));
}

function name(dots, key) {
  return dots.find((dot) => dot.key === key)?.name ?? key;
}

function line({ begin, end, sure, because }, at) {
  const from = at.get(begin), to = at.get(end);
  if (!from || !to || begin === end) return null;
  const right = to.x > from.x, level = to.x === from.x, lift = right ? -5 : 5;
  const x1 = from.x + (right || level ? WIDE : 0), y1 = from.y + HIGH / 2 + lift;
  const x2 = to.x + (right ? 0 : WIDE), y2 = to.y + HIGH / 2 + lift;
  const bend = level ? 50 : (right ? 1 : -1) * APART * 0.45;
  const bendBack = level ? 50 : (right ? -1 : 1) * APART * 0.45;
  return h("path", { d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 + bendBack} ${y2} ${x2} ${y2}`, class: sure === "certain" ? null : "unsure", "marker-end": "url(#head)" }, h("title", null, because));
}

function box(dot, { x, y }) {
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  return h("g", { class: dot.stuck ? "stuck" : null },
    h("title", null, `${dot.name}: ${dot.says}`),
    h("rect", { x, y, width: WIDE, height: HIGH, rx: 6 }),
    h("text", { x: x + 10, y: y + 19, "font-weight": 600 }, cut(dot.name, 38)),
    h("text", { x: x + 10, y: y + 36, class: "faint" }, cut(dot.says === "goes on" ? "goes on" : `wants ${dot.says}`, 46)));
}
