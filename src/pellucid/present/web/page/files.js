// What it has open, whom it is connected to, and its environment: one look when the view is opened, another one when it is asked for.
import { failure, h, note, table, unchanged } from "./dom.js";
import { gaps } from "./answers.js";
import { again, fetched, path } from "./server.js";
import { bytes, clock, count, href, plural } from "./words.js";

function lookAgain(known, names, draw) {
  return h("p", null, h("button", { type: "button", onclick: () => again(known, names, draw) }, "Look again"),
    names.some((name) => known.documents.get(name)?.waiting) ? h("span", { class: "faint", role: "status" }, " Looking…") : null);
}

function told(known, name, draw, show) {
  const found = fetched(known, name, path(known, name), draw);
  if (found.failed) return failure(found.failed);
  return found.value ? unchanged(`${name} ${known.place.host} ${known.place.pid}`, found.value, () => show(found.value)) : note("Looking…");
}

const MOST = 1000;
const LONG = 400; // characters that are shown at once

// A text that may be very long: its beginning, and all of it when it is asked for.
function long(text) {
  if (typeof text !== "string" || text.length <= LONG) return text;
  return h("details", { class: "long" }, h("summary", null, `${text.slice(0, LONG)}… `, h("span", { class: "faint" }, `(all ${count(text.length)} characters)`)), text);
}

function rest(many) {
  return many > MOST ? note(`and ${many - MOST} more: the command below lists all`) : null;
}

export function files(known, draw) {
  const { host } = known.place;
  return h("div", null, lookAgain(known, ["files", "sockets"], draw),
    told(known, "files", draw, (found) => shownFiles(found, host)),
    told(known, "sockets", draw, (found) => shownSockets(found, host)));
}

export function shownFiles(found, host) {
  const open = found.files.filter((one) => one.fd !== null), others = found.files.filter((one) => one.fd === null);
  return [h("h3", null, plural(open.length, "open descriptor"), h("span", { class: "faint" }, ` at ${clock(found.taken_at)}`)),
    table("Open descriptors", [["fd", "number"], "what", "kind", "how", ["size", "number"]],
      open.slice(0, MOST).map((one) => [one.fd, [long(one.path), one.deleted ? h("strong", null, " (deleted)") : "", one.detail ? h("span", { class: "faint" }, ` ${one.detail}`) : "", holders(one, host)],
        one.kind, one.flags, one.kind === "file" ? bytes(one.size) : ""])), rest(open.length),
    others.length ? h("details", null, h("summary", null, `${others.length} places and mapped files`),
      table("Places and mapped files", ["kind", "path"], others.slice(0, MOST).map((one) => [one.kind, long(one.path + (one.deleted ? " (deleted)" : ""))])), rest(others.length)) : null,
    gaps(found.gaps)];
}

export function shownSockets(found, host) {
  return [h("h3", null, found.sockets.length ? plural(found.sockets.length, "socket") : "No sockets"),
    found.sockets.length ? table("Sockets", [["fd", "number"], "protocol", "state", "local", "remote", "other end", ["unread", "number"], ["not acknowledged", "number"]],
      found.sockets.slice(0, MOST).map((one) => [one.fd ?? "", one.proto, one.state, one.local, one.remote, peers(one, host), one.state === "LISTEN" ? "" : one.rx_queue, one.state === "LISTEN" ? "" : one.tx_queue])) : null,
    rest(found.sockets.length), gaps(found.gaps)];
}

function link(host) {
  return (pid) => [h("a", { href: href(host, pid) }, `pid ${pid}`), " "];
}

function holders(one, host) {
  return one.holders.length ? [" other end: ", one.holders.slice(0, 4).map(link(host)), one.holders.length > 4 ? "…" : ""] : "";
}

function peers(one, host) {
  return one.peer_pids.length ? one.peer_pids.slice(0, 4).map(link(host)) : one.state === "LISTEN" ? `${one.rx_queue} of ${one.tx_queue} wait to be accepted` : "";
}

export function environment(known, draw) {
  return h("div", null, lookAgain(known, ["environment", "info"], draw),
    told(known, "info", draw, ({ process, identity }) => h("dl", { class: "who" },
      [["command", process.command.join(" ")], ["executable", process.exe], ["working directory", identity.cwd], ["user", process.user],
        ["parents", identity.parents.map((one) => [h("a", { href: href(known.place.host, one.pid) }, `${one.pid} ${one.name}`), " "])],
        ["children", identity.children.map((one) => [h("a", { href: href(known.place.host, one.pid) }, `${one.pid} ${one.name}`), " "])],
        ["cgroup", identity.cgroups.join(", ")], ["open files", identity.open_files]]
        .filter(([, value]) => value !== null && value !== "" && value?.length !== 0).map(([name, value]) => [h("dt", null, name), h("dd", null, long(value))]))),
    told(known, "environment", draw, (found) => {
      const hidden = found.variables.filter((one) => one.redacted).length;
      return [h("h3", null, `${found.variables.length} variables`),
        hidden ? note(`${hidden} look like secrets: their values are not sent to this page.`) : null,
        table("Environment", ["name", "now", "at start, where it was another"], found.variables.map((one) => [long(one.name), one.redacted ? "(hidden)" : long(one.now ?? "(not there)"), one.now === one.start ? "" : one.redacted ? "(hidden)" : long(one.start ?? "(not there)")])),
        gaps(found.gaps)];
    }));
}
