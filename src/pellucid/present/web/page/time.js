// Where the time goes: record for a while, look at the flame graph, compare with another recording, take the file away.
import { failure, h, note, table } from "./dom.js";
import { jobs, offer, progress, seconds, unread, value } from "./jobs.js";
import { clock } from "./words.js";

const FORMATS = [["pellucid", ".pellucid"], ["speedscope", "speedscope"], ["html", "one page"], ["pprof", "pprof"], ["gecko", "Firefox"], ["chrome", "Chrome"], ["collapsed", "collapsed"]];

export function time(known, draw) {
  const recordings = jobs(known, "profile");
  const running = recordings.find((row) => row.state === "running");
  const done = recordings.filter((row) => row.state === "done");
  known.shown ??= {};
  const chosen = done.find((row) => row.id === known.shown.recording) || done[0];
  const before = done.find((row) => row.id === known.shown.before && row !== chosen);
  const read = () => ({ seconds: value("time-seconds", 10), mode: document.getElementById("time-mode")?.value || "wall" });
  const mode = h("label", null, "by ", h("select", { id: "time-mode", onchange: draw }, [["wall", "wall clock"], ["cpu", "CPU"], ["gil", "GIL"]].map(([value, title]) => h("option", { value }, title))));
  const other = unread(known, "Where the time goes");
  if (other) return h("div", null, other, note("Which system calls it makes, and how long they take, the command below tells of any process."));
  return h("div", null,
    offer(known, "profile", draw, { more: [seconds("time-seconds", draw), mode], read }),
    running ? progress(known, running) : null,
    recordings.filter((row) => row.failed).slice(0, 1).map((row) => failure(row.failed)),
    done.length ? recorded(known, done, chosen, before, draw) : note("Nothing was recorded yet. A recording stays here while pellucid web runs, also when this tab is closed."),
    chosen ? flame(chosen, before) : null);
}

function recorded(known, done, chosen, before, draw) {
  const choose = (row) => () => { known.shown.recording = row.id; known.shown.before = null; draw(); };
  const compare = (row) => () => { known.shown.before = row.id === before?.id ? null : row.id; draw(); };
  const files = (row) => FORMATS.map(([form, title]) => [h("a", { href: `/api/jobs/${row.id}/as/${form}`, download: "" }, title), " "]);
  return table("Recordings", ["when", "by", "what", "on this page", "take it away as"], done.map((row) => h("tr", { key: row.id },
    h("td", { class: "plain" }, clock(row.began_at)), h("td", null, row.mode), h("td", null, row.about),
    h("td", null, row === chosen ? h("strong", null, before ? "shown, compared" : "shown") : [h("button", { type: "button", class: "small", onclick: choose(row) }, "Show"), " ",
      h("button", { type: "button", class: "small", "aria-pressed": row === before ? "true" : "false", onclick: compare(row) }, row === before ? "Compared with: stop" : "Compare with what is shown")]),
    h("td", null, files(row)))), { caption: true, key: "recordings" });
}

function flame(chosen, before) {
  const address = before ? `/api/compare/${before.id}/${chosen.id}` : `/api/jobs/${chosen.id}/flame`;
  return h("div", { key: address },
    h("p", null, h("a", { href: address, target: "_blank", rel: "noopener" }, "Open it in a tab of its own")),
    h("iframe", { src: address, sandbox: "allow-scripts allow-downloads", title: before ? "Flame graph of what changed between two recordings" : "Flame graph of the recording" }));
}
