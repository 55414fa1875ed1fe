// Lines over time. Each drawing has the same numbers as a table beside it, for who can't see it or wants them exactly.
import { h, table } from "./dom.js";
import { clock } from "./words.js";

const WIDE = 720, HIGH = 200, LOW = 110, LEFT = 64, BELOW = 22, ABOVE = 8;

// A line without axes, as high as a line of text. What it shows is said in words where it stands.
export function spark(values) {
  if (!values || values.length < 2) return null;
  const most = Math.max(...values), least = Math.min(...values);
  const span = Math.max(most - least, most * 0.02, 1), middle = (most + least) / 2;
  const points = values.map((value, place) => `${((place / (values.length - 1)) * 78 + 1).toFixed(1)},${(8 - ((value - middle) / span) * 13).toFixed(1)}`);
  return h("svg", { class: "spark", viewBox: "0 0 80 16", width: 80, height: 16, "aria-hidden": "true" }, h("polyline", { points: points.join(" ") }));
}

// `series`: [{name, values}] of equal length, drawn above one another as areas. `times`: seconds since the epoch.
export function stacked(title, times, series, spell, key) {
  if (times.length < 2) return h("p", { class: "note", key }, `${title}: the drawing begins with the second look.`);
  const sums = times.map((_, place) => series.reduce((sum, one) => sum + one.values[place], 0));
  const most = nice(Math.max(...sums, 1));
  const first = times[0], span = Math.max(times[times.length - 1] - first, 1e-9);
  const x = (time) => (LEFT + ((time - first) / span) * (WIDE - LEFT - 4)).toFixed(1);
  const y = (value) => (ABOVE + (1 - value / most) * (HIGH - ABOVE - BELOW)).toFixed(1);
  const below = times.map(() => 0);
  const areas = series.map((one, number) => {
    const under = [...below];
    one.values.forEach((value, place) => { below[place] += value; });
    const upper = times.map((time, place) => `${x(time)},${y(below[place])}`);
    const lower = times.map((time, place) => `${x(time)},${y(under[place])}`).reverse();
    return h("polygon", { points: [...upper, ...lower].join(" "), class: `area area${number % 5}` });
  });
  const lines = [0, 0.5, 1].map((part) => h("g", null,
    h("line", { x1: LEFT, x2: WIDE - 4, y1: y(part * most), y2: y(part * most), class: "grid" }),
    h("text", { x: LEFT - 6, y: Number(y(part * most)) + 4, "text-anchor": "end" }, spell(part * most))));
  const last = times.length - 1;
  const rows = times.map((time, place) => [clock(time), ...series.map((one) => spell(one.values[place])), spell(sums[place])]).reverse();
  const heads = ["Time", ...series.map((one) => [one.name, "number"]), ["Together", "number"]];
  const told = series.map((one) => `${one.name} ${spell(one.values[last])}`).join(", ");
  return h("figure", { key },
    h("figcaption", null, title, " ", h("span", { class: "legend" },
      series.map((one, number) => h("span", null, h("span", { class: `patch area${number % 5}`, "aria-hidden": "true" }), `${one.name} ${spell(one.values[last])}`)))),
    h("svg", { class: "chart", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${title}, now: ${told}. The table below has all numbers.` },
      lines, areas,
      h("text", { x: LEFT, y: HIGH - 5 }, clock(first)),
      h("text", { x: WIDE - 4, y: HIGH - 5, "text-anchor": "end" }, clock(times[last]))),
    h("details", null, h("summary", null, "The same as a table"), table(title, heads, rows.slice(0, 200), { tabindex: 0 })));
}

// One line; a value of null is a hole in it: then nobody looked.
export function lines(title, times, values, spell, key) {
  const seen = values.filter((value) => value !== null);
  if (seen.length < 2) return null;
  const most = nice(Math.max(...seen, 1e-6)), first = times[0], span = Math.max(times[times.length - 1] - first, 1e-9);
  const x = (time) => LEFT + ((time - first) / span) * (WIDE - LEFT - 4);
  const y = (value) => ABOVE + (1 - value / most) * (LOW - ABOVE - BELOW);
  let drawn = "", pen = "M";
  values.forEach((value, place) => {
    if (value === null) { pen = "M"; return; }
    drawn += `${pen}${x(times[place]).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  });
  const last = seen[seen.length - 1], rows = times.map((time, place) => [clock(time), values[place] === null ? "(not seen)" : spell(values[place])]).reverse();
  const grid = [0, 1].map((part) => h("g", null, h("line", { x1: LEFT, x2: WIDE - 4, y1: y(part * most), y2: y(part * most), class: "grid" }),
    h("text", { x: LEFT - 6, y: y(part * most) + 4, "text-anchor": "end" }, spell(part * most))));
  return h("figure", { key },
    h("figcaption", null, title, h("span", { class: "legend" }, `from ${spell(Math.min(...seen))} to ${spell(Math.max(...seen))}, at last ${spell(last)}`)),
    h("svg", { class: "chart", viewBox: `0 0 ${WIDE} ${LOW}`, role: "img", "aria-label": `${title} over time, at last ${spell(last)}. The table below has all numbers.` },
      grid, h("path", { d: drawn, class: "line" }), h("text", { x: LEFT, y: LOW - 5 }, clock(first)), h("text", { x: WIDE - 4, y: LOW - 5, "text-anchor": "end" }, clock(times[times.length - 1]))),
    h("details", null, h("summary", null, "The same as a table"), table(title, ["time", [title, "number"]], rows.slice(0, 400), { tabindex: 0 })));
}

function nice(value) {
  const power = 2 ** Math.floor(Math.log2(value));
  return [1, 1.25, 1.5, 1.75, 2].map((part) => part * power).find((one) => one >= value);
}
