// The page: what the address says is shown, from what the server tells; drawn anew after each piece of news, where only what differs changes.
import { h, renewAll } from "./dom.js";
import { troubled, overview } from "./list.js";
import { process, rowOf, viewsOf } from "./process.js";
import { serving } from "./serving.js";
import { Live } from "./server.js";
import { bytes, clock, href, percent, plural, zone } from "./words.js";

// All that is known. `rows`, `found` and `memory` by pid; `place` is what the address says.
const known = {
  hello: null, rows: new Map(), found: new Map(), memory: new Map(), hosts: new Map(), own: null, at: 0, broken: "", anew: new Set(), refresh: 0, listed: false,
  deep: null, points: [], collector: "", pointsFailed: null, jobs: [], documents: new Map(), place: { host: "", pid: null, view: "" },
  filter: "", kind: "readable", sort: "needs", down: false,
};
// What the first news of each kind after a new connection replaces.
const EMPTY = { list: () => ({ rows: new Map(), memory: new Map() }), found: () => ({ found: new Map() }), memory: () => ({ points: [] }), host: () => ({ hosts: new Map() }) };
const main = document.getElementById("main");
const live = new Live(heard);
let drawing = 0;

function place() {
  const [, kind, ...parts] = location.hash.split("/");
  const [host, pid, view] = kind === "h" ? [decoded(parts[0] || ""), ...parts.slice(1)] : ["", ...parts];
  if ((kind === "p" || (kind === "h" && host)) && /^\d+$/.test(pid || "")) return { kind: "p", host, pid: Number(pid), view: viewsOf(host).some((one) => one.name === view) ? view : "now" };
  return { kind: kind === "serving" ? "serving" : "", host: "", pid: null, view: "" };
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return ""; }
}

function go() {
  const before = known.place;
  known.place = place();
  const other = known.place.pid !== before.pid || known.place.host !== before.host;
  if (known.place.host && known.place.view !== before.view) known.deep = null;
  if (other) Object.assign(known, { deep: null, points: [], jobs: [], documents: new Map(), pointsFailed: null, past: null, shown: null });
  live.open(known.place);
  if (known.place.kind !== before.kind || other) {
    main.replaceChildren();
    if (before.kind !== undefined) main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  draw();
}

function heard(name, value) {
  known.broken = name === "broken" ? value : "";
  if (name === "hello") {
    if (known.hello && known.hello.version !== value.version) location.reload(); // another pellucid: it has another page
    Object.assign(known, { hello: value, anew: new Set(["list", "found", "memory", "host"]) }); // what is shown stays until there is something newer
  }
  if (known.anew.delete(name)) Object.assign(known, EMPTY[name]());
  if (name === "list") list(value);
  if (name === "found") {
    for (const pid of value.gone) known.found.delete(pid);
    for (const one of value.changed) known.found.set(one.pid, one);
  }
  if (name === "deep") known.deep = value;
  if (name === "memory") {
    known.points = [...known.points, ...value.points].slice(-900);
    known.collector = value.no_collector;
    known.pointsFailed = value.failed;
  }
  if (name === "jobs") known.jobs = value;
  if (name === "host") known.hosts.set(value.name, hostOf(value));
  drawSoon();
}

// Another machine, as the list shows it: its rows and what was found know where they are from.
function hostOf(value) {
  const named = (one) => [one.pid, { ...one, host: value.name }];
  return { ...value, rows: new Map(value.rows.map(named)), found: new Map(value.found.map(named)) };
}

function list(told) {
  for (const pid of told.gone) { known.rows.delete(pid); known.memory.delete(pid); }
  for (const row of told.changed) known.rows.set(row.pid, row);
  for (const [pid, points] of Object.entries(told.memory)) {
    const number = Number(pid);
    known.memory.set(number, points.length > 1 ? points : [...(known.memory.get(number) || []), ...points].slice(-240));
  }
  Object.assign(known, { own: told.own, at: told.at, refresh: told.refresh_s, listed: true });
}

// News come in bunches: one drawing for all of them.
function drawSoon() {
  drawing ||= requestAnimationFrame(() => { drawing = 0; draw(); });
}

export function draw() {
  const began = performance.now();
  const shown = known.place;
  header();
  const content = shown.kind === "p" ? process(known, drawSoon) : shown.kind === "serving" ? serving(known, drawSoon) : overview(known, drawSoon);
  const focused = document.activeElement;
  renewAll(main, [...h("div", null, content).childNodes]);
  if (focused !== document.activeElement && main.contains(focused)) focused.focus({ preventScroll: true }); // what is moved loses it
  const title = shown.kind === "p" ? `${rowOf(known)?.name ?? "ended"} (pid ${shown.pid}${shown.host ? ` on ${shown.host}` : ""})` : shown.kind === "serving" ? "Model servers" : known.hello?.host ?? "";
  document.title = `${title ? `${title} - ` : ""}pellucid`;
  known.drawn = performance.now() - began;
  document.documentElement.dataset.drawn = known.drawn.toFixed(1);
}

function header() {
  const needy = new Set(troubled(known).map(({ found }) => `${found.host || ""} ${found.pid}`)).size;
  const looked = [...known.found.values()].filter((one) => !one.why_not).length;
  const here = known.hello ? `host ${known.hello.host}` : "";
  document.getElementById("host").textContent = here;
  const count = document.getElementById("count");
  const old = known.at ? `; what stands here is of ${clock(known.at)}` : "";
  const said = known.broken === "stranger" ? `This pellucid was started again, and does not know this page: open the address that it has printed${old}.`
    : known.broken ? `No connection to pellucid: it is tried again. If it has ended, start it with pellucid web${old}.` : known.listed
    ? `${plural(known.rows.size + [...known.hosts.values()].reduce((sum, one) => sum + one.rows.size, 0), "process", "processes")} · ${needy ? `${needy} ${needy === 1 ? "needs" : "need"} you` : looked ? `none of the ${looked} looked at needs you` : "none looked at yet"}` : "Looking…";
  if (count.textContent !== said) count.textContent = said;
  count.classList.toggle("failing", Boolean(known.broken));
  const own = known.own;
  document.getElementById("self").textContent = own ? `pellucid itself: ${percent(own.cpu)} of a CPU, ${bytes(own.rss_bytes)} · as of ${clock(known.at)} ${zone(known.at)}` : "";
}

function theme() {
  const names = ["system", "light", "dark"];
  let chosen = "system";
  try { chosen = localStorage.getItem("theme") || "system"; } catch { /* storage is turned off */ }
  const button = document.getElementById("theme");
  const set = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${name}`;
    try { localStorage.setItem("theme", name); } catch { /* then it is for this page alone */ }
  };
  button.addEventListener("click", () => { chosen = names[(names.indexOf(chosen) + 1) % 3]; set(chosen); });
  set(chosen);
}

addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (typing && known.filter) { known.filter = ""; event.target.value = ""; draw(); } else if (known.place.kind) location.hash = "#/";
  } else if (typing) {
    return;
  } else if (event.key === "/") {
    const filter = document.getElementById("filter");
    if (filter) { event.preventDefault(); filter.focus(); }
  } else if (event.key === "?") {
    const keys = document.getElementById("keys");
    keys.open = !keys.open;
    if (keys.open) keys.querySelector("summary").focus();
  } else if (/^[1-9]$/.test(event.key) && known.place.pid && viewsOf(known.place.host)[Number(event.key) - 1]) {
    location.hash = href(known.place.host, known.place.pid, viewsOf(known.place.host)[Number(event.key) - 1].name);
  }
});

// The token in the address has become a cookie: it is not left where others could see it.
if (location.search) history.replaceState(null, "", `/${location.hash}`);
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", go);
document.addEventListener("pointed", drawSoon);
setInterval(() => known.listed && drawSoon(), 5000); // times that have passed are told in words
theme();
known.place = {};
go();
export { known };
