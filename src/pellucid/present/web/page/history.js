// The past, from the flight recorder: numbers over time, what was wrong from when to when, and what each thread did at the moment that is chosen.
import { failure, h, note, table, unchanged } from "./dom.js";
import { lines } from "./chart.js";
import { findingItem } from "./list.js";
import { jobs, offer, progress, value } from "./jobs.js";
import { shownFiles, shownSockets } from "./files.js";
import { shownGroups } from "./now.js";
import { shownWaits } from "./waits.js";
import { whereBytes } from "./answers.js";
import { again, fetched, get } from "./server.js";
import { bytes, clock, count, duration, percent } from "./words.js";

const TITLES = { cpu: ["CPU", percent], rss_bytes: ["Memory", bytes], heap_bytes: ["Heap", bytes], threads: ["Threads", (value) => count(Math.round(value))],
  descriptors: ["Descriptors", (value) => count(Math.round(value))], collecting: ["Time in collections", percent] };
const ASPECTS = { now: "Now", waits: "Waits", memory: "Memory", files: "Files & sockets" };
const FLAME_S = 60; // so much before the chosen moment is drawn as a flame graph

export function history(known, draw) {
  const running = jobs(known, "record").find((row) => row.state === "running");
  const ended = jobs(known, "record").find((row) => row.state === "done");
  if (ended && known.recorded !== ended.id) { known.recorded = ended.id; if (known.documents.has("history")) known.documents.get("history").old = true; }
  const told = fetched(known, "history", `/api/p/${known.place.pid}/history`, draw);
  const choose = h("label", null, "for ", h("select", { id: "record-seconds", onchange: draw }, [60, 600, 3600, 28800].map((one) => h("option", { value: one }, duration(one).replace(" 0 s", "").replace(" 0 min", "")))));
  return h("div", null,
    offer(known, "record", draw, { more: choose, read: () => ({ seconds: value("record-seconds", 60) }) }),
    running ? progress(known, running) : null, jobs(known, "record").filter((row) => row.failed).slice(0, 1).map((row) => failure(row.failed)),
    h("p", null, h("button", { type: "button", onclick: () => again(known, ["history"], draw) }, "Look again")),
    told.failed ? failure(told.failed) : !told.value ? note("Looking for recordings…") : kept(known, told.value, draw));
}

function kept(known, value, draw) {
  if (!value.kept.length) return [note(`No recording in ${value.folder} has this process. `), value.failed.map(failure)];
  known.past ??= { number: 0, at: null };
  const past = value.kept[known.past.number] || value.kept[0];
  const options = value.kept.map((one, number) => h("option", { value: number }, `${one.file}, ${clock(one.begin)} to ${clock(one.end)}`));
  return [
    h("div", { class: "bar" }, h("label", { key: String(value.kept.length) }, "Recording ", h("select", { id: "recording", onchange: (event) => { known.past = { ...known.past, number: Number(event.target.value), at: null }; draw(); } }, options))),
    note(`${clock(past.begin)} to ${clock(past.end)}, ${duration(past.end - past.begin)}. The recorder took ${(100 * past.cost).toFixed(2)} % of a core for each process. `, past.ended ? `It ${past.ended} at ${clock(past.ended_at)}.` : ""),
    wrong(known, past, draw), h("div", { class: "charts", key: "charts" }, past.lines.map((one) => drawn(known, past, one, draw))), moment(known, past, draw), value.failed.map(failure)];
}

function wrong(known, past, draw) {
  if (!past.wrong.length) return note("Nothing was found wrong in that time.");
  const go = (one) => () => { known.past.at = one.last_at; draw(); };
  return table("What was found, from when to when", ["from", "to", "what", "look there"], past.wrong.map((one) => [clock(one.first_at), one.ended_at === null ? "it lasts" : clock(one.last_at),
    [h("span", { class: `word ${one.severity}` }, one.means), " ", one.title], h("button", { type: "button", class: "small", onclick: go(one), "aria-label": `Look at ${clock(one.last_at)}: ${one.title}` }, clock(one.last_at))]), { caption: true, key: "wrong" });
}

// The slider, and what each thread did at that moment.
function moment(known, past, draw) {
  const at = chosen(known, past);
  const aspect = known.past.aspect ?? "now", more = aspect === "memory" || aspect === "files" ? "/kept" : "";
  const name = `moment${more} ${past.file} ${past.key} ${at.toFixed(1)}`, before = `moment before${more}`;
  const path = `/api/past/${encodeURIComponent(past.file)}/${past.key}${more}?at=${at}`;
  const move = (event) => { known.past.at = Number(event.target.value) + past.begin; draw(); };
  const step = (seconds) => h("button", { type: "button", class: "small", onclick: () => { known.past.at = at + seconds; draw(); } }, `${seconds > 0 ? "+" : "−"}${Math.abs(seconds) < 60 ? `${Math.abs(seconds)} s` : "1 min"}`);
  let told = known.documents.get(name);
  if (!told) { ask(known, name, path, draw); told = known.documents.get(before); } else if (told.value) known.documents.set(before, told);
  const slider = h("input", { type: "range", id: "moment", min: 0, max: (past.end - past.begin).toFixed(1), step: past.end - past.begin > 3600 ? 10 : 1, value: (at - past.begin).toFixed(1), oninput: move, "aria-valuetext": clock(at) });
  return h("section", { key: "moment", "aria-labelledby": "moment-heading" },
    h("h3", { id: "moment-heading" }, `At ${clock(at)}`),
    h("div", { class: "bar" }, h("label", { class: "grow" }, "Moment ", slider), [-60, -10, -1, 1, 10, 60].map(step)),
    h("div", { class: "bar", role: "group", "aria-label": "What of that moment" }, Object.entries(ASPECTS).map(([name, title]) =>
      h("button", { type: "button", class: "small", "aria-pressed": String(name === aspect), onclick: () => { known.past.aspect = name; draw(); } }, title))),
    told?.failed ? failure(told.failed) : told?.value ? unchanged(`past ${aspect}`, told.value, () => shownOf(known, told.value, aspect)) : note("Reading…"),
    flame(known, past));
}

// One view of the moment; a recording keeps each as of the last time that it was read.
function shownOf(known, value, aspect) {
  if (aspect === "now") return asItWas(known, value);
  if (aspect === "waits") return value.waits ? [note(`As of the look of ${clock(value.looked_at)}.`), shownWaits(value.waits, known.place.pid)] : note("Its waits had not been looked at by then.");
  if (aspect === "memory") return value.table ? [note(`As of ${clock(value.table_at)}.`), whereBytes(value.table)] : note("No table of where the bytes were had been made by then.");
  return [value.files ? shownFiles(value.files, "") : note("Its descriptors had not been read by then."), value.sockets ? shownSockets(value.sockets, "") : note("Its sockets had not been read by then.")];
}

// While the slider moves, only the last place that was asked for counts.
let waiting = null;

function ask(known, name, path, draw) {
  clearTimeout(waiting);
  const documents = known.documents;
  waiting = setTimeout(() => get(path).then((value) => documents.set(name, { value }), (failed) => documents.set(name, { failed })).then(draw), 120);
}

function asItWas(known, value) {
  return [
    value.findings.length ? h("ul", { class: "findings" }, value.findings.filter((one, place) => one.severity !== "info" || place === 0).map((one) => findingItem(known, one, null))) : null,
    value.looked_at !== null ? note(`Stacks of ${clock(value.at)}; what is wrong, as of the look of ${clock(value.looked_at)}.`) : note(`Stacks of ${clock(value.at)}.`),
    shownGroups(value.groups, value.others)];
}

// A click in a drawing goes to that moment.
function drawn(known, past, one, draw) {
  const [title, spell] = TITLES[one.measure] ?? [one.measure, String];
  return lines(title, one.at, one.values, spell, one.measure, { mark: chosen(known, past), pick: (time) => { known.past.at = time; draw(); } });
}

// The moment that is looked at, the last one at first.
function chosen(known, past) {
  return Math.min(Math.max(known.past.at ?? past.end, past.begin), past.end);
}

function flame(known, past) {
  const at = chosen(known, past), begin = Math.max(past.begin, at - FLAME_S);
  const address = `/api/past/${encodeURIComponent(past.file)}/${past.key}/flame?begin=${begin}&end=${at}`;
  return h("p", null, h("a", { href: address, target: "_blank", rel: "noopener" }, `Flame graph of ${clock(begin)} to ${clock(at)}`));
}
