// What it prints, copied while it prints it; begun by a button, for as long as was asked.
import { failure, h, note } from "./dom.js";
import { jobs, offer, progress, seconds, value } from "./jobs.js";
import { get } from "./server.js";
import { clock, count } from "./words.js";

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
    text ? h("pre", { tabindex: 0, "aria-label": "Captured output" }, text) : row.state === "running" ? note("It has printed nothing since then.") : null);
}

// While it runs once a second; once more when it has ended.
function renew(known, row, told, draw) {
  const name = `output ${row.id}`;
  if (told?.waiting || (told && (told.final || (row.state === "running" && Date.now() - told.at < 1000)))) return;
  const documents = known.documents;
  documents.set(name, { ...told, waiting: true });
  get(`/api/jobs/${row.id}`).then((value) => documents.set(name, { value, at: Date.now(), final: value.job.state !== "running" }), () => documents.set(name, { ...told, waiting: false, at: Date.now() })).then(draw);
}
