// Looks that cost something: what each costs and whether it pauses stands at its button, and nothing of it runs by itself.
import { failure, h, note, shell, unchanged } from "./dom.js";
import { fetched, path, post } from "./server.js";
import { rowOf } from "./process.js";
import { clock, duration } from "./words.js";

// What can be asked of this process: name → offer; empty until it is known.
export function offers(known, draw) {
  // What costs how much depends on the runtime, and that is known once the process is in the list.
  const told = fetched(known, `offers ${rowOf(known).runtime}`, path(known, "offers"), draw);
  return new Map((told.value || []).map((one) => [one.action, one]));
}

// Why some looks are not offered, where they are not: it runs another kind of program.
export function unread(known, what) {
  const row = rowOf(known);
  return row && !row.readable && !known.deep?.groups.length ? note(`${what} can be seen of Python processes and JVMs. As far as can be seen this one is neither.`) : null;
}

// The button of one action. `more` are further controls; `read()` gives what was chosen in them.
export function offer(known, action, draw, { more = null, read = () => ({}), title = null } = {}) {
  const one = rowOf(known) ? offers(known, draw).get(action) : null; // of one that has ended nothing can be asked any more
  if (!one) return null;
  const chosen = { ...(one.timed ? { seconds: one.seconds } : {}), ...read() };
  const running = known.jobs.some((row) => row.action === action && row.state === "running");
  const failed = known.documents.get(`failed ${action}`)?.failed;
  const start = async () => {
    known.documents.delete(`failed ${action}`);
    try {
      await post(path(known, "jobs"), { action, ...(one.timed ? { seconds: one.seconds } : {}), ...read() });
    } catch (error) {
      known.documents.set(`failed ${action}`, { failed: error });
    }
    draw();
  };
  return h("div", { class: "offer", key: `offer ${action}` },
    h("div", { class: "bar" }, h("button", { type: "button", class: "main", "data-action": action, disabled: running, onclick: start }, running ? `${title || one.title}: it runs` : title || one.title), more,
      h("span", { class: "faint" }, "Runs ", shell(spelled(one.shell, chosen)))),
    note(`Cost: ${one.cost}. `, h("span", { class: one.pauses && chosen.pause !== false ? "pauses" : null }, one.pauses && chosen.pause !== false ? `Pauses it: ${one.pauses}.` : "Does not pause it.")),
    failed && failure(failed));
}

// The command line with what was chosen.
function spelled(line, { seconds = null, mode = null, pause = true }) {
  const timed = seconds ? line.replace(/ -d \S+/, ` -d ${seconds}`) : line;
  return (mode ? timed.replace(/ --mode \S+/, ` --mode ${mode}`) : timed) + (pause ? "" : " --no-pause");
}

// The jobs of one action of this process, newest first.
export function jobs(known, action) {
  return known.jobs.filter((row) => row.action === action).sort((one, other) => other.began_at - one.began_at);
}

const KEEPS = new Set(["profile", "output", "record", "gc"]);

// How far one is, and the button that ends it.
export function progress(known, row) {
  const ran = Date.now() / 1000 - row.began_at;
  const stop = () => post(`/api/jobs/${row.id}/stop`).catch(() => null); // one that ended meanwhile is in the next news
  return h("p", { role: "status", key: `progress ${row.id}` }, `It runs, for ${duration(ran)}${row.seconds ? ` of ${duration(row.seconds)}` : ""}. `, h("button", { type: "button", class: "small", onclick: stop }, KEEPS.has(row.action) ? "Stop and keep what it has" : "Stop"));
}

// The answer of a job, asked for once it is done.
export function answer(known, row, draw) {
  return fetched(known, `job ${row.id}`, `/api/jobs/${row.id}`, draw);
}

// The newest job of an action: how far it is, what went wrong, or what `show` makes of its answer.
export function job(known, action, draw, show) {
  const row = jobs(known, action)[0];
  if (!row) return null;
  if (row.state === "running") return progress(known, row);
  if (row.failed) return failure(row.failed);
  const told = answer(known, row, draw);
  if (told.failed) return failure(told.failed);
  if (!told.value) return note("Reading the answer…");
  return unchanged(`answer ${row.id}`, told, () => [note(`As of ${clock(row.ended_at)}.`), show(told.value.result, row, told.value)]);
}

// How long; `chosen` is what stands there at first, the number of seconds is `value(id, chosen)`.
export function value(id, chosen) {
  return Number(document.getElementById(id)?.value || chosen);
}

export function seconds(id, draw, chosen = 10) {
  return h("label", null, "for ", h("select", { id, onchange: draw }, [5, 10, 30, 60, 300].map((one) => h("option", { value: one, selected: one === chosen }, duration(one).replace(".0", "")))));
}
