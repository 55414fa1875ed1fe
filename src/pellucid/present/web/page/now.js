// What each thread does: equal stacks are one group, the program's own frames stand out, and each group says what it waits for.
import { h, note } from "./dom.js";
import { job, offer } from "./jobs.js";
import { plural } from "./words.js";
import { whyAnswer } from "./answers.js";

const FOLDED = 3; // so many frames of libraries in a row become one line

export function now(known, draw) {
  const deep = known.deep;
  return h("div", null,
    !deep ? note("Looking at it…") : deep.failed ? null : [h("h3", null, `${plural(deep.threads, "thread")}, equal ones together`), shownGroups(deep.groups, deep.others)],
    offer(known, "why", draw),
    job(known, "why", draw, (answer) => whyAnswer(known, answer)));
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
      ` ${group.does}`, group.gil ? ", holds the GIL" : "", group.moving ? " (did not hold still: only its outer part is shown)" : ""),
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
