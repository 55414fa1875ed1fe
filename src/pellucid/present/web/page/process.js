// One process: who it is, what is wrong with it, and one of its views. Each view has the command that tells the same.
import { failure, h, note, shell } from "./dom.js";
import { environment, files } from "./files.js";
import { history } from "./history.js";
import { findingItem, foundOf } from "./list.js";
import { memory } from "./memory.js";
import { now } from "./now.js";
import { output } from "./output.js";
import { time } from "./time.js";
import { path, post } from "./server.js";
import { waits } from "./waits.js";
import { bytes, clock, duration, href, percent, plural } from "./words.js";

export const VIEWS = [
  { name: "now", title: "Now", draw: now, commands: (pid) => [`pellucid why ${pid}`, `pellucid stacks ${pid}`] },
  { name: "waits", title: "Waits", draw: waits, commands: (pid) => [`pellucid waits ${pid}`] },
  { name: "time", title: "Time", draw: time, commands: (pid, read) => [read ? `pellucid profile ${pid} -d 10 -o slow.html` : `pellucid syscalls ${pid} -d 10 --summary`] },
  { name: "memory", title: "Memory", draw: memory, commands: (pid, read) => [`pellucid memory ${pid} --watch 60`, ...(read ? [`pellucid gc ${pid}`] : [])] },
  { name: "files", title: "Files & sockets", draw: files, commands: (pid) => [`pellucid files ${pid}`, `pellucid sockets ${pid}`] },
  { name: "output", title: "Output", draw: output, commands: (pid) => [`pellucid output ${pid}`] },
  { name: "environment", title: "Environment", draw: environment, commands: (pid) => [`pellucid env ${pid}`, `pellucid info ${pid}`] },
  { name: "history", title: "History", draw: history, commands: (pid) => [`pellucid record ${pid}`, "pellucid replay FILE why --at TIME"] },
];

const OLD_S = 15; // a verdict older than that says so

// The row of the process that is shown, of whichever machine.
export function rowOf(known) {
  const { host, pid } = known.place;
  return host ? known.hosts.get(host)?.rows.get(pid) : known.rows.get(pid);
}

// Recordings are files of this machine.
export function viewsOf(host) {
  return host ? VIEWS.filter((one) => one.name !== "history") : VIEWS;
}

export function process(known, draw) {
  const { pid, view } = known.place;
  const { host } = known.place, row = rowOf(known), views = viewsOf(host);
  const shown = views.find((one) => one.name === view);
  const there = host ? ` --host ${host}` : "", listed = host ? known.hosts.has(host) && !known.hosts.get(host).failed : known.listed;
  const java = row?.runtime.startsWith("JVM");
  return [
    h("section", { key: `p${host}/${pid}`, "aria-labelledby": "who" },
      h("p", null, h("a", { href: "#/" }, "← all processes")),
      h("h2", { id: "who" }, `pid ${pid} `, host && h("span", { class: "host" }, `on ${host} `), row ? row.command || row.name : listed ? "(there is no such process any more)" : "…"),
      row && h("p", { class: "faint" }, [row.runtime, row.user, `up ${duration(Date.now() / 1000 - row.started_at)}`, row.state, row.cpu === null ? "" : `CPU ${percent(row.cpu)}`,
        `memory ${bytes(row.rss_bytes)}`, plural(row.threads, "thread")].filter(Boolean).join(" · ")),
      host && known.hosts.get(host)?.failed ? h("p", { class: "failed", role: "status" }, `Host ${host}: ${known.hosts.get(host).failed}.`) : null,
      !row && listed ? note(host ? "It has ended, or never was there." : "It has ended, or never was there. What was recorded of it is under History.") : null,
      findings(known)),
    h("nav", { id: "views", "aria-label": "Views of this process", key: "views" },
      views.map((one) => h("a", { href: href(host, pid, one.name), "aria-current": one === shown ? "page" : null }, one.title))),
    h("section", { key: `v${host}/${pid}${view}`, "aria-labelledby": "view-heading" },
      h("h3", { id: "view-heading", class: "hidden" }, shown.title),
      java && !known.deep && (view === "now" || view === "waits") ? askJava(known, draw) : shown.draw(known, draw),
      h("p", { class: "faint" }, "The same in a terminal: ", shown.commands(pid, row?.readable ?? true).map((line) => [shell(line + there), " "]))),
    notSeen(known),
  ];
}

// Of this process: from whichever look was the last one, the closer one or that of the walk over all.
function findings(known) {
  const deep = known.deep, scanned = foundOf(known, known.place), newer = scanned && (!deep || scanned.at > deep.taken_at);
  if (deep?.failed) return failure(deep.failed);
  const list = newer ? scanned.findings : deep?.findings;
  if (!list?.length) return null;
  const age = Date.now() / 1000 - (newer ? scanned.at : deep.taken_at);
  const serious = list.filter((one) => one.severity !== "info"), fine = list.filter((one) => one.severity === "info");
  return h("div", null,
    h("ul", { class: "findings" }, (serious.length ? serious : fine.slice(0, 1)).map((one) => findingItem(known, one, null))),
    serious.length && fine.length ? h("details", null, h("summary", null, `and what is fine (${fine.length})`), h("ul", { class: "findings" }, fine.map((one) => findingItem(known, one, null)))) : null,
    age > OLD_S ? note(`Seen ${duration(age)} ago.`) : null);
}

function askJava(known, draw) {
  const ask = async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      await post(path(known, "ask"));
    } catch (failed) {
      known.documents.set("ask", { failed });
    }
    button.disabled = false;
    draw();
  };
  const failed = known.documents.get("ask")?.failed;
  return h("div", { class: "offer" },
    h("p", null, h("button", { type: "button", class: "main", onclick: ask }, "Ask the JVM for its stacks")),
    note("It answers by itself, which leaves a socket in its /tmp."),
    h("p", { class: "pauses" }, "Pauses it: its threads stand still for some milliseconds; the answer says for how long."),
    failed && failure(failed));
}

const LOOKS = new Set(["now", "waits"]); // the views that show the closer look; the others tell the gaps of their own

// What the closer look could not see; a page that shows nothing must say why.
function notSeen(known) {
  const deep = known.deep;
  if (!deep || deep.failed || !LOOKS.has(known.place.view)) return null;
  const gaps = deep.not_seen;
  return h("section", { key: "gaps", "aria-labelledby": "gaps-heading" },
    h("h3", { id: "gaps-heading" }, "Not seen"),
    gaps.length ? h("ul", null, gaps.slice(0, 50).map((gap) => h("li", null, `${gap.what}: ${gap.why}`, gap.remedy && [" (try: ", h("code", null, gap.remedy), ")"]))) : null,
    gaps.length > 50 ? note(`and ${gaps.length - 50} more: pellucid why ${deep.pid} --json`) : null,
    note(gaps.length ? "" : "Nothing is missing from this look. ", `It was taken at ${clock(deep.taken_at)} and took ${(1000 * deep.cost_s).toFixed(0)} ms of CPU`,
      deep.stopped_s !== null ? `; the JVM's threads stood still for ${(1000 * deep.stopped_s).toFixed(1)} ms.` : "; nothing was stopped.",
      " Longer looks, the heap and the machine code of threads are asked for by their own buttons and commands."));
}
