// The page: what it carries is drawn, chosen from, searched. Text of the profile reaches it as text only (textContent, fillText).
import { callTree, functions, place } from "./calls.js";
import { Flame } from "./flame.js";
import { Table } from "./table.js";

const STATES = ["running", "waiting", "gil", "unknown"];
const STATE_NAMES = { running: "running", waiting: "waiting", gil: "wants the GIL", unknown: "not known" };
const element = (id) => document.getElementById(id);
const profile = JSON.parse(element("profile").textContent);
const compared = Boolean(profile.before);
const chosen = { track: -1, states: new Set(STATES.keys()), lines: false, inverted: false };
let root;

const spell = {
  share: (ns) => `${(root.total ? 100 * ns / root.total : 0).toFixed(1)} %`,
  change: (ns) => {
    const points = Math.abs(root.total ? 100 * ns / root.total : 0).toFixed(1);
    return `${points === "0.0" ? "±" : ns > 0 ? "+" : "−"}${points} points`;
  },
  time: (ns) => (ns >= 1e9 ? `${(ns / 1e9).toFixed(2)} s` : ns >= 1e6 ? `${(ns / 1e6).toFixed(1)} ms` : `${(ns / 1e3).toFixed(0)} µs`),
};

// A tracer of calls knows where a function begins, not where it was.
spell.lines = (numbers) => (profile.traced ? `:${numbers[0]}` : `, mostly in line ${numbers.join(", ")}`);

const flame = new Flame(element("canvas"), element("flame"), element("spacer"), told);
const table = new Table(element("table"), element("rest"), spell, (row) => {
  flame.reveal(row.widest);
  flame.zoom(row.widest);
  element("canvas").focus();
});

function told(call, zoomed) {
  if (!root.total) { element("selected").textContent = profile.empty; return; }
  const where = call.group.file ? `${call.group.file}${call.group.line === null ? "" : `:${call.group.line}`}` : "";
  const caller = call.parent && call.parent !== root ? `, ${(100 * call.total / call.parent.total).toFixed(0)} % of its ${chosen.inverted ? "callee" : "caller"} ${call.parent.group.name}` : "";
  const change = compared ? `; ${spell.change(call.total - call.before)} since the earlier profile` : "";
  element("selected").textContent = `${call.group.name}\n${where ? `${where}\n` : ""}total ${spell.share(call.total)} (${spell.time(call.total)}), own ${spell.share(call.own)}${caller}${change}`;
  const above = [];
  for (let at = zoomed; at; at = at.parent) above.unshift(at);
  const shown = above.length > 7 ? [above[0], null, ...above.slice(-5)] : above;
  element("trail").hidden = zoomed === root;
  element("trail").replaceChildren(...shown.map((one) => {
    if (!one) return document.createTextNode("…");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = one === root ? "all" : one.group.name;
    button.addEventListener("click", () => { flame.zoom(one); flame.select(one); });
    return button;
  }));
}

function refresh() {
  root = callTree(profile, chosen);
  flame.show(root, compared);
  table.show(functions(root), root.total, compared);
  search();
}

function search() {
  const words = element("search").value;
  const found = flame.search(words);
  table.words = words.trim().toLowerCase();
  table.draw();
  element("found").textContent = !table.words ? "" : found.length
    ? `${new Set(found.map((call) => call.group)).size} functions in ${found.length} places, ${(100 * flame.foundShare()).toFixed(1)} % of the time. n and N in the flame graph go through them.`
    : "Nothing has this in its name or file.";
}

function prepare() {
  element("title").textContent = profile.title;
  element("facts").textContent = profile.facts;
  const about = [...profile.gaps, ...(profile.how ? [`How its effect on the program was measured: ${profile.how}`] : [])];
  if (about.length) {
    const missing = profile.gaps.length === 1 ? "1 thing" : `${profile.gaps.length} things`;
    element("gaps").hidden = false;
    element("gaps").classList.toggle("missing", profile.gaps.length > 0);
    element("gaps").querySelector("summary").textContent = profile.gaps.length ? `Not seen: ${missing}` : "About these numbers";
    element("gaps").querySelector("ul").replaceChildren(...about.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  }
  if (compared) {
    element("legend").hidden = false;
    element("legend").textContent = "Widths are of the later profile. Red calls take a larger share than in the earlier one, blue ones a smaller share.";
  }
  const processes = new Set(profile.tracks.map((track) => track.pid));
  const weight = (track, state) => track.sums.reduce((sum, value, index) => (index % 3 === 2 && (state === undefined || track.sums[index - 1] === state) ? sum + value : sum), 0);
  const options = profile.tracks.map((track, index) => [weight(track), index, `${processes.size > 1 ? `${track.process} ${track.pid}: ` : ""}${track.name} (${track.tid})`]);
  options.sort((a, b) => b[0] - a[0]);
  element("track").append(new Option(`all ${options.length}`, -1), ...options.map(([, index, name]) => new Option(name, index)));
  element("threads").hidden = options.length < 2 || compared; // the earlier profile has threads of its own
  const spent = STATES.map((_, state) => profile.tracks.reduce((sum, track) => sum + weight(track, state), 0));
  const all = spent.reduce((sum, one) => sum + one, 0);
  element("states").hidden = spent.filter((one) => one > 0).length < 2;
  for (const state of STATES.keys()) {
    if (!spent[state]) continue;
    const label = document.createElement("label"), box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.addEventListener("change", () => { chosen.states[box.checked ? "add" : "delete"](state); refresh(); });
    label.append(box, `${STATE_NAMES[STATES[state]]} (${(100 * spent[state] / all).toFixed(0)} %)`);
    element("states").append(label);
  }
}

function toggle(id) {
  element(id).checked = chosen[id] = !chosen[id];
  refresh();
}

prepare();
element("controls").addEventListener("submit", (event) => { event.preventDefault(); flame.next(1); });
element("search").addEventListener("input", search);
element("track").addEventListener("change", (event) => { chosen.track = Number(event.target.value); refresh(); });
for (const id of ["lines", "inverted"]) element(id).addEventListener("change", (event) => { chosen[id] = event.target.checked; refresh(); });
element("reset").addEventListener("click", () => { element("search").value = ""; flame.zoom(root); flame.select(root); search(); });
element("theme").addEventListener("click", (event) => {
  const next = { system: "light", light: "dark", dark: "system" }[document.documentElement.dataset.theme || "system"];
  document.documentElement.dataset.theme = next;
  event.target.textContent = `Theme: ${next}`;
  flame.draw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => flame.draw());
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {
    "/": () => element("search").focus(),
    "?": () => { element("help").open = !element("help").open; },
    l: () => toggle("lines"),
    i: () => toggle("inverted"),
    c: () => copy(),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
element("search").addEventListener("keydown", (event) => { if (event.key === "Escape") { event.target.value = ""; search(); element("canvas").focus(); } });

function copy() {
  const lines = [];
  for (let at = flame.selected; at && at !== root; at = at.parent) lines.push(`${at.group.name} (${place(at.group)})`);
  navigator.clipboard?.writeText(lines.join("\n")).then(() => { element("found").textContent = "Copied."; }, () => { element("found").textContent = "The browser does not let this page copy."; });
}

refresh();
