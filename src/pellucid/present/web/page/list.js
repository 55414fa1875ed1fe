// All processes: on top who needs somebody, in sentences; below the table.
import { spark } from "./chart.js";
import { h, note, shell, table } from "./dom.js";
import { bytes, duration, href, percent, plural } from "./words.js";

export const WORST = ["critical", "warning", "notice", "info"];
const EACH = 3;
const HARM = new Set(["critical", "warning"]);

// Findings of all processes that stop the program's work or will, worst first: [{found, finding}].
export function troubled(known) {
  const all = [...known.found.values(), ...[...known.hosts.values()].flatMap((one) => [...one.found.values()])].flatMap((found) => found.findings.filter((one) => HARM.has(one.severity)).map((finding) => ({ found, finding })));
  return all.sort((one, other) => WORST.indexOf(one.finding.severity) - WORST.indexOf(other.finding.severity) || one.found.pid - other.found.pid);
}

// What was found of a process of the list, on whichever machine.
export function foundOf(known, row) {
  return (row.host ? known.hosts.get(row.host)?.found : known.found)?.get(row.pid);
}

// While the mouse moves over a list nothing in it changes its place, comes or goes: whoever aims at a row must hit that one.
const STILL_MS = 3000;
let moved = 0;
addEventListener("pointermove", (event) => { if (event.pointerType === "mouse" && event.target.closest?.("#processes, #needy")) moved = Date.now(); }, { passive: true });

function held() {
  return Date.now() - moved < STILL_MS;
}

// The keys of what is shown there now, in that order.
function keysOf(selector) {
  return [...document.querySelectorAll(selector)].map((one) => one.dataset.key);
}

export function overview(known, draw) {
  return [needy(known), processes(known, draw)];
}

function needy(known) {
  const found = troubled(known);
  let items = few(found).map(({ found: one, finding }) => findingItem(known, finding, one));
  if (held()) {
    const by = new Map(items.map((item) => [item.dataset.key, item]));
    items = keysOf("#needy > .findings > .finding").map((key) => by.get(key) ?? h("li", { key, "data-same": true }));
  }
  return h("section", { key: "needy", id: "needy", "aria-labelledby": "needy-heading" },
    h("h2", { id: "needy-heading" }, "Needs you"),
    items.length ? h("ul", { class: "findings" }, items) : null,
    found.length > few(found).length ? note(`and ${plural(found.length - few(found).length, "more finding")} of the same processes: open one to see all of its own.`) : null,
    coverage(known, found.length));
}

// One process with many findings must not hide the others.
function few(found) {
  const times = new Map();
  return found.filter(({ found: one }) => {
    const process = `${one.host || ""} ${one.pid}`;
    times.set(process, (times.get(process) || 0) + 1);
    return times.get(process) <= EACH;
  });
}

// What the verdict rests on: a list without trouble says little when nobody was looked at.
function coverage(known, many) {
  const readable = [...known.rows.values()].filter((row) => row.readable);
  const java = readable.filter((row) => row.runtime.startsWith("JVM")).length;
  const python = readable.filter((row) => !row.runtime.startsWith("JVM"));
  const looked = python.filter((row) => known.found.has(row.pid)).map((row) => known.found.get(row.pid));
  const unseen = looked.filter((one) => one.why_not);
  const oldest = looked.length ? Date.now() / 1000 - Math.min(...looked.map((one) => one.at)) : 0;
  const parts = [];
  if (!known.listed) parts.push("Looking at the processes of this machine…");
  else if (!python.length) parts.push("No process here is known to run Python: of processes of other users that can't be told without more rights (pellucid check says which).");
  else if (!looked.length) parts.push(`None of the ${plural(python.length, "Python process", "Python processes")} was looked at yet: the first walk has begun.`);
  else parts.push(`${many ? "" : "Nothing that needs you was found. "}${looked.length} of ${plural(python.length, "Python process", "Python processes")} looked at, the longest ago ${duration(oldest)} ago.`);
  if (unseen.length) parts.push(`${unseen.length} of them could not be read: ${unseen[0].why_not.said}`);
  if (java) parts.push(`${plural(java, "JVM is", "JVMs are")} asked only when you open one, since it stops for that.`);
  for (const host of known.hosts.values()) parts.push(elsewhere(host));
  return note(parts.join(" "));
}

// The same of another machine, which is asked less often.
function elsewhere(host) {
  if (host.failed && !host.rows.size) return `Of ${host.name} nothing is known.`;
  const python = [...host.rows.values()].filter((row) => row.runtime.startsWith("Python")), looked = python.filter((row) => host.found.has(row.pid)).map((row) => host.found.get(row.pid));
  const oldest = looked.length ? `, the longest ago ${duration(Date.now() / 1000 - Math.min(...looked.map((one) => one.at)))} ago` : "";
  return `On ${host.name} ${looked.length} of ${plural(python.length, "Python process", "Python processes")} looked at${oldest}: one after the other, for 1 % of a CPU there.`;
}

// One finding as an item of a list, with what it rests on, where to look next, and the commands for the same.
export function findingItem(known, finding, of) {
  const host = of?.host || "", row = of ? (host ? known.hosts.get(host)?.rows : known.rows)?.get(of.pid) : null;
  const sure = finding.confidence === "certain" ? "" : finding.confidence;
  return h("li", { class: `finding ${finding.severity}`, key: `${host}/${of?.pid ?? ""}/${finding.rule}/${finding.tids.join(",")}/${finding.title}` },
    h("p", { class: "title" },
      h("span", { class: `word ${finding.severity}` }, finding.means), " ", finding.title, sure && h("span", { class: "sure" }, ` (${sure})`)),
    h("p", null, finding.sentence),
    of && h("p", { class: "links" },
      h("a", { href: href(host, of.pid) }, `pid ${of.pid} ${row ? row.command : ""}`), host && h("span", { class: "host" }, `on ${host}`),
      h("a", { href: href(host, of.pid, "waits") }, "who waits"), h("a", { href: href(host, of.pid, "files") }, "files and sockets"),
      h("span", { class: "faint" }, `seen ${duration(Date.now() / 1000 - of.at)} ago`)),
    h("details", null, h("summary", null, "What this rests on, and what to do next"),
      h("ul", null, finding.evidence.map(([source, said]) => h("li", null, h("code", null, source), ": ", said))),
      finding.next.length ? h("p", null, finding.next.map((line) => [shell(line), " "])) : null));
}

const SORTS = {
  pid: (one, other) => one.pid - other.pid,
  what: (one, other) => one.command.localeCompare(other.command),
  state: (one, other) => one.state.localeCompare(other.state),
  cpu: (one, other) => (other.cpu || 0) - (one.cpu || 0),
  memory: (one, other) => other.rss_bytes - one.rss_bytes,
  host: (one, other) => (one.host || "").localeCompare(other.host || ""),
  threads: (one, other) => other.threads - one.threads,
};

function rank(known, row) {
  const found = foundOf(known, row);
  const worst = found?.findings[0]?.severity;
  return worst && worst !== "info" ? WORST.indexOf(worst) : row.readable ? 4 : 5;
}

function processes(known, draw) {
  const all = [...known.rows.values(), ...[...known.hosts.values()].flatMap((one) => [...one.rows.values()])];
  const readable = all.filter((row) => row.readable).length;
  const kind = readable ? known.kind : "all";
  const words = known.filter.trim().toLowerCase();
  const shown = all.filter((row) => (words ? matches(known, row, words) : kind === "all" || row.readable));
  const order = SORTS[known.sort] || ((one, other) => rank(known, one) - rank(known, other) || one.pid - other.pid);
  const typed = (row) => Number(String(row.pid) === words);
  shown.sort((one, other) => typed(other) - typed(one) || (known.down ? -1 : 1) * order(one, other) || one.pid - other.pid);
  const chosen = JSON.stringify([known.filter, kind, known.sort, known.down]), same = chosen === known.chosen;
  known.chosen = chosen;
  return h("section", { key: "list", "aria-labelledby": "list-heading" },
    h("h2", { id: "list-heading" }, "Processes"),
    h("div", { class: "bar", role: "search" },
      h("label", null, "Filter ", h("input", { id: "filter", type: "search", placeholder: "pid, name, command, state", autocomplete: "off", spellcheck: "false",
        oninput: (event) => { known.filter = event.target.value; draw(); } })),
      readable > 0 && h("label", null, "Show ", h("select", { id: "kind", onchange: (event) => { known.kind = event.target.value; draw(); } },
        h("option", { value: "readable" }, "Python and JVM"), h("option", { value: "all" }, "all processes"))),
      h("span", { class: "faint", role: "status" }, `${shown.length} of ${all.length}`)),
    [...known.hosts.values()].filter((one) => one.failed).map((one) => h("p", { class: "failed", role: "status" }, `Host ${one.name}: ${one.failed}${one.rows.size ? "; what stands here of it is old" : ""}.`)),
    shown.length ? grid(known, shown, draw, same && held()) : note(known.listed ? (words ? `No process has “${known.filter}” in its pid, name, command or state.` : "There is none.") : "Looking…"));
}

// A pid is typed from its beginning; any other text may stand anywhere.
function matches(known, row, words) {
  return String(row.pid).startsWith(words) || `${row.host || ""} ${row.name} ${row.command} ${row.user} ${row.runtime} ${row.state} ${summary(known, row)}`.toLowerCase().includes(words);
}

function keyOf(row) {
  return row.host ? `${row.host}/${row.pid}` : String(row.pid);
}

function grid(known, shown, draw, still) {
  const keys = keysOf("#processes tbody tr"), there = new Set(keys);
  const by = still && new Map(shown.map((row) => [keyOf(row), row]));
  const lines = still ? keys.map((key) => (by.has(key) ? line(known, by.get(key), there) : h("tr", { key, "data-same": true }))) : shown.map((row) => line(known, row, there));
  const head = (name, title, kind) => h("th", { scope: "col", class: kind, "aria-sort": known.sort === name ? (known.down ? "descending" : "ascending") : null },
    h("button", { type: "button", onclick: () => { known.down = known.sort === name && !known.down; known.sort = name; draw(); } },
      title, known.sort === name ? (known.down ? " ▴" : " ▾") : ""));
  return h("div", { class: "wide" }, h("table", { id: "processes" },
    h("caption", { class: "hidden" }, "Processes of this machine"),
    h("thead", null, h("tr", null, known.hosts.size > 0 && head("host", "host", "plain"), head("pid", "pid", "number"), head("what", "process"), head("state", "state"), head("cpu", "CPU", "number"),
      head("memory", "memory", "number"), head("threads", "threads", "number late"), head("needs", "findings"))),
    h("tbody", null, lines)));
}

// A row that has not changed is not made again, a stand-in takes its place: with hundreds of processes that is most of the work.
const drawn = new Map();

function line(known, row, there) {
  const key = keyOf(row), many = known.hosts.size;
  const found = foundOf(known, row), points = row.host ? null : known.memory.get(row.pid);
  const before = drawn.get(key);
  if (before && there.has(key) && before.row === row && before.found === found && before.points === points && before.many === many) return h("tr", { key, "data-same": true });
  drawn.set(key, { row, found, points, many });
  return h("tr", { key },
    many > 0 && h("td", { class: "plain" }, row.host || h("span", { class: "faint" }, "here")),
    h("td", { class: "number" }, row.pid),
    h("td", { class: "what" }, h("a", { href: href(row.host, row.pid) }, row.command || row.name),
      h("span", { class: "faint" }, [row.runtime, row.user, row.runtime ? null : row.name].filter(Boolean).join(" · "))),
    h("td", null, row.state),
    h("td", { class: "number" }, percent(row.cpu)),
    h("td", { class: "number memory" }, bytes(row.rss_bytes), spark(points)),
    h("td", { class: "number late" }, row.threads),
    h("td", null, mark(known, row)));
}

function summary(known, row) {
  const first = foundOf(known, row)?.findings[0];
  return first ? `${first.means} ${first.title}` : "";
}

function mark(known, row) {
  if (!row.readable) return null;
  const found = foundOf(known, row);
  if (row.runtime.startsWith("JVM")) return h("span", { class: "faint" }, "not asked");
  if (!found) return h("span", { class: "faint" }, "not looked at yet");
  if (found.why_not) return h("span", { class: "faint", title: found.why_not.said }, "could not be read");
  const first = found.findings[0];
  if (!first) return h("span", { class: "faint" }, "nothing found");
  const more = found.findings.length - 1;
  return [h("span", { class: `word ${first.severity}` }, first.means), " ", first.title, more > 0 && h("span", { class: "faint" }, ` and ${more} more`)];
}
