// What it prints, copied while it prints it; begun by a button, for as long as was asked.
import { failure, h, note } from "./dom.js";
import { jobs, offer, progress, seconds, value } from "./jobs.js";
import { get } from "./server.js";
import { clock, count } from "./words.js";

const EVERY_MS = 1000;

export function output(known, draw) {
  const row = jobs(known, "output")[0];
  return h("div", null,
    offer(known, "output", draw, { more: seconds("output-seconds", draw, 30), read: () => ({ seconds: value("output-seconds", 30) }) }),
    row ? captured(known, row, draw) : note("Nothing was captured yet: only what is printed after the click can be."));
}

function captured(known, row, draw) {
  const told = known.documents.get(`output ${row.id}`);
  renew(known, row, told, draw);
  const text = told?.value?.text ?? "";
  return h("div", { key: row.id },
    row.state === "running" ? progress(known, row) : row.failed ? failure(row.failed) : note(`Ended at ${clock(row.ended_at)}: ${row.about || "it printed nothing"}.`),
    told?.value?.dropped ? note(`The first ${count(told.value.dropped)} characters are not kept here.`) : null,
    text ? printed(text) : row.state === "running" ? note("It has printed nothing since then.") : null);
}

// While it runs once a second, for what is new since then; once more when it has ended.
function renew(known, row, told, draw) {
  const name = `output ${row.id}`;
  if (told?.waiting || (told && (told.final || (row.state === "running" && Date.now() - told.at < EVERY_MS)))) return;
  const documents = known.documents, before = told?.value, next = before ? before.from + before.text.length : 0;
  documents.set(name, { ...told, waiting: true });
  get(`/api/jobs/${row.id}?from=${next}`).then((value) => documents.set(name, { value: joined(before, value, next), at: Date.now(), final: value.job.state !== "running" }), () => documents.set(name, { ...told, waiting: false, at: Date.now() })).then(draw);
}

// What was printed so far: the new part behind what is here, as far as the server keeps it.
function joined(before, value, next) {
  if (!before || value.from !== next) return value;
  return { ...value, from: Math.max(before.from, value.dropped), text: (before.text + value.text).slice(Math.max(0, value.dropped - before.from)) };
}

// Whoever reads the end goes on to see the end; whoever has scrolled up stays where he is.
let follows = true;

function printed(text) {
  const there = document.getElementById("printed");
  if (there) follows = there.scrollHeight - there.scrollTop - there.clientHeight < 40;
  if (follows) requestAnimationFrame(() => { const shown = document.getElementById("printed"); if (shown) shown.scrollTop = shown.scrollHeight; });
  return h("pre", { id: "printed", tabindex: 0, "aria-label": "Captured output" }, text);
}
