// Lines over time. Each drawing has the same numbers as a table beside it, for who can't see it or wants them exactly.
import { h, table } from "./dom.js";
import { clock } from "./words.js";

const WIDE = 600, HIGH = 190, LOW = 110, LEFT = 58, RIGHT = 4, BELOW = 22, ABOVE = 14;
const APART = 5; // times the usual distance between two looks: farther apart, nobody looked in between

// A line without axes, as high as a line of text. What it shows is said in words where it stands.
export function spark(values) {
  if (!values || values.length < 2) return null;
  const most = Math.max(...values), least = Math.min(...values);
  const span = Math.max(most - least, most * 0.02, 1), middle = (most + least) / 2;
  const points = values.map((value, place) => `${((place / (values.length - 1)) * 78 + 1).toFixed(1)},${(8 - ((value - middle) / span) * 13).toFixed(1)}`);
  return h("svg", { class: "spark", viewBox: "0 0 80 16", width: 80, height: 16, "aria-hidden": "true" }, h("polyline", { points: points.join(" ") }));
}

// Where the mouse is, by drawing: a moment in seconds since the epoch.
const pointed = new Map();

// The axes of a drawing of `times`: where a moment and a value are, and what a mouse does on it.
function axes(key, times, most, high, pick) {
  const first = times[0], span = Math.max(times[times.length - 1] - first, 1e-9);
  const x = (time) => Number((LEFT + ((time - first) / span) * (WIDE - LEFT - RIGHT)).toFixed(1));
  const y = (value) => Number((ABOVE + (1 - value / most) * (high - ABOVE - BELOW)).toFixed(1));
  const moment = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const part = (((event.clientX - left) / width) * WIDE - LEFT) / (WIDE - LEFT - RIGHT);
    return first + Math.min(Math.max(part, 0), 1) * span;
  };
  const point = (time) => { if (time === null) pointed.delete(key); else pointed.set(key, time); document.dispatchEvent(new Event("pointed")); };
  const acts = { onpointermove: (event) => point(moment(event)), onpointerleave: () => point(null), onclick: pick ? (event) => pick(moment(event)) : null };
  return { x, y, acts };
}

// The place in `times` of the look that the mouse is next to; null where there is no mouse.
function near(key, times) {
  const time = pointed.get(key);
  if (time === undefined) return null;
  return times.reduce((best, one, place) => (Math.abs(one - time) < Math.abs(times[best] - time) ? place : best), 0);
}

function upright({ x }, time, high, kind) {
  return h("line", { x1: x(time), x2: x(time), y1: ABOVE, y2: high - BELOW, class: kind });
}

function grid({ y }, most, parts, spell) {
  return parts.map((part) => h("g", null, h("line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(part * most), y2: y(part * most), class: "grid" }),
    h("text", { x: LEFT - 6, y: y(part * most) + 4, "text-anchor": "end" }, spell(part * most))));
}

function ends(times, high) {
  return [h("text", { x: LEFT, y: high - 5 }, clock(times[0])), h("text", { x: WIDE - RIGHT, y: high - 5, "text-anchor": "end" }, clock(times[times.length - 1]))];
}

// `series`: [{name, values}] of equal length, drawn above one another as areas. `times`: seconds since the epoch.
export function stacked(title, times, series, spell, key) {
  if (times.length < 2) return h("p", { class: "note", key }, `${title}: the drawing begins with the second look.`);
  const sums = times.map((_, place) => series.reduce((sum, one) => sum + one.values[place], 0));
  const most = nice(Math.max(...sums, 1)), at = axes(key, times, most, HIGH);
  const below = times.map(() => 0);
  const areas = series.map((one, number) => {
    const under = [...below];
    one.values.forEach((value, place) => { below[place] += value; });
    const upper = times.map((time, place) => `${at.x(time)},${at.y(below[place])}`);
    const lower = times.map((time, place) => `${at.x(time)},${at.y(under[place])}`).reverse();
    return h("polygon", { points: [...upper, ...lower].join(" "), class: `area area${number % 5}` });
  });
  const last = times.length - 1, place = near(key, times), told = place ?? last;
  const rows = times.map((time, row) => [clock(time), ...series.map((one) => spell(one.values[row])), spell(sums[row])]).reverse();
  const heads = ["Time", ...series.map((one) => [one.name, "number"]), ["Together", "number"]];
  const now = series.map((one) => `${one.name} ${spell(one.values[last])}`).join(", ");
  return h("figure", { key },
    h("figcaption", null, title, " ", h("span", { class: "legend" },
      series.map((one, number) => h("span", null, h("span", { class: `patch area${number % 5}`, "aria-hidden": "true" }), `${one.name} ${spell(one.values[told])}`)),
      h("span", null, place === null ? "now" : `at ${clock(times[place])}`))),
    h("svg", { class: "chart", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${title}, now: ${now}. The table below has all numbers.`, ...at.acts },
      grid(at, most, [0, 0.5, 1], spell), areas, place !== null && upright(at, times[place], HIGH, "cursor"), ends(times, HIGH)),
    h("details", null, h("summary", null, "The same as a table"), table(title, heads, rows.slice(0, 200), { tabindex: 0 })));
}

// One line; a value of null is a moment at which nobody looked. `mark`: a moment that is pointed out; `pick(time)`: a click chooses one.
export function lines(title, times, values, spell, key, { mark = null, pick = null } = {}) {
  const seen = times.map((time, place) => [time, values[place]]).filter(([, value]) => value !== null);
  if (seen.length < 2) return seen.length ? h("p", { class: "note", key }, `${title}: ${spell(seen[0][1])} at ${clock(seen[0][0])}; it was looked at once.`) : null;
  const numbers = seen.map(([, value]) => value), most = nice(Math.max(...numbers) || 1), at = axes(key, times, most, LOW, pick);
  const gaps = seen.slice(1).map(([time], place) => time - seen[place][0]).sort((one, other) => one - other), usual = gaps[gaps.length >> 1];
  const drawn = seen.map(([time, value], place) => `${place && time - seen[place - 1][0] <= APART * usual ? "L" : "M"}${at.x(time)} ${at.y(value)}h0`).join("");
  const place = near(key, seen.map(([time]) => time)), last = numbers[numbers.length - 1];
  const rows = times.map((time, row) => [clock(time), values[row] === null ? "(not seen)" : spell(values[row])]).reverse();
  const legend = place === null ? `from ${spell(Math.min(...numbers))} to ${spell(Math.max(...numbers))}, at last ${spell(last)}` : `${spell(numbers[place])} at ${clock(seen[place][0])}`;
  return h("figure", { key },
    h("figcaption", null, title, h("span", { class: "legend" }, legend)),
    h("svg", { class: pick ? "chart picked" : "chart", viewBox: `0 0 ${WIDE} ${LOW}`, role: "img", "aria-label": `${title} over time, at last ${spell(last)}. The table below has all numbers.`, ...at.acts },
      grid(at, most, [0, 1], spell), h("path", { d: drawn, class: "line" }), mark !== null && upright(at, mark, LOW, "mark"),
      place !== null && upright(at, seen[place][0], LOW, "cursor"), ends(times, LOW)),
    h("details", null, h("summary", null, "The same as a table"), table(title, ["time", [title, "number"]], rows.slice(0, 400), { tabindex: 0 })));
}

function nice(value) {
  const power = 2 ** Math.floor(Math.log2(value));
  return [1, 1.25, 1.5, 1.75, 2].map((part) => part * power).find((one) => one >= value);
}
