// What each thread does: equal stacks are one group, the program's own frames stand out, and each group says what it waits for.
import { failure, h, note } from "./dom.js";
import { job, offer } from "./jobs.js";
import { rowOf } from "./process.js";
import { again, fetched, path } from "./server.js";
import { clock, plural } from "./words.js";
import { gaps, whyAnswer } from "./answers.js";

const MOST_TASKS = 500;
const FOLDED = 3; // so many frames of libraries in a row become one line

export function now(known, draw) {
  const deep = known.deep;
  return h("div", null,
    !deep ? note("Looking at it…") : deep.failed ? null : [h("h3", null, `${plural(deep.threads, "thread")}, equal ones together`), shownGroups(deep.groups, deep.others)],
    tasks(known, draw),
    offer(known, "why", draw),
    job(known, "why", draw, (answer) => whyAnswer(known, answer)));
}

// The asyncio tasks, each with its chain of awaits; read when they are opened.
function tasks(known, draw) {
  if (!rowOf(known)?.runtime.startsWith("Python") || !known.deep || known.deep.failed) return null;
  const ask = () => { again(known, ["tasks"], () => fetched(known, "tasks", path(known, "tasks"), draw)); draw(); };
  const told = known.documents.get("tasks");
  return h("details", { class: "group", key: "tasks", ontoggle: (event) => { if (event.target.open && !known.documents.has("tasks")) ask(); } },
    h("summary", null, "asyncio tasks"),
    told?.failed ? failure(told.failed) : !told?.value ? note("Reading…") : [
      h("p", null, h("button", { type: "button", class: "small", onclick: ask }, "Look again"), h("span", { class: "faint" }, ` ${plural(told.value.tasks.length, "task")} at ${clock(told.value.taken_at)}`)),
      told.value.tasks.length ? h("ul", { class: "tasks" }, told.value.tasks.slice(0, MOST_TASKS).map(task)) : note("It has none: no event loop of asyncio runs here."),
      told.value.tasks.length > MOST_TASKS ? note(`and ${told.value.tasks.length - MOST_TASKS} more: pellucid stacks ${known.place.pid} --tasks`) : null, gaps(told.value.gaps)]);
}

function task(one) {
  const does = one.awaits ? `waits for ${one.awaits}` : one.state === "running" ? "runs now" : `is ${one.state}`;
  return h("li", null, h("strong", null, one.name), h("span", { class: "faint" }, ` ${one.coroutine} `), does, one.held_by.length ? `, held by ${one.held_by.join(", ")}` : "", one.awaited_by.length ? `; awaited by ${one.awaited_by.join(", ")}` : "",
    one.stack.length ? h("ol", { class: "frames", "aria-label": "Awaits, innermost first" }, one.stack.map((each) => frame({ who: each.qualname || each.function, where: `${each.file}:${each.line ?? "?"}`, own: !/\/lib\/python3|-packages\//.test(each.file) }))) : null);
}

// Groups of equal stacks, and below them the threads that have none.
export function shownGroups(groups, others) {
  return [
    groups.map((group) => shown(group)),
    groups.length ? null : note("No stack could be read: what the kernel knows of its threads stands below."),
    others.length ? h("details", { class: "group", open: !groups.length },
      h("summary", null, `${plural(others.length, "thread runs", "threads run")} no code that we can read`),
      h("ul", null, others.slice(0, 200).map((one) => h("li", null, `${one.who}: ${one.does}`))),
      others.length > 200 ? note(`and ${others.length - 200} more: pellucid stacks --all`) : null) : null];
}

function shown(group) {
  return h("details", { class: "group", open: !group.idle, key: group.tids.join(",") },
    h("summary", null, h("span", { class: "times" }, `×${group.tids.length}`), h("strong", null, group.names.slice(0, 4).join(", ")), group.names.length > 4 ? ` and ${group.names.length - 4} more` : "",
      `${group.names.length > 1 ? ": each" : ""} ${group.does}`, group.gil ? ", holds the GIL" : "", group.moving ? " (did not hold still: only its outer part is shown)" : ""),
    frames(group.frames));
}

function frames(all) {
  if (!all.length) return note("It has no frame of a program that we can read.");
  const lines = [];
  for (let at = 0; at < all.length;) {
    let end = at;
    while (end < all.length && !all[end].own) end += 1;
    if (end - at >= FOLDED) {
      const folded = all.slice(at, end);
      lines.push(h("li", null, h("details", null, h("summary", null, `${folded.length} frames of libraries, from ${folded[0].who}`), h("ul", { class: "frames" }, folded.map(frame)))));
    } else {
      lines.push(...all.slice(at, end).map(frame));
    }
    if (end < all.length) lines.push(frame(all[end]));
    at = end + 1;
  }
  return h("ol", { class: "frames", "aria-label": "Calls, innermost first" }, lines);
}

function frame(one) {
  return h("li", { class: one.own ? null : "library" }, one.own ? h("strong", null, one.who) : one.who, h("span", { class: "faint" }, ` ${one.where}`));
}
