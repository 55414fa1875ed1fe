// The model servers of this machine, as they tell of themselves: how many requests, how fast, in which batches, by which workers, what happened.
import { lines } from "./chart.js";
import { failure, h, note, shell, table } from "./dom.js";
import { get } from "./server.js";
import { bytes, clock, count, duration, href, percent, plural } from "./words.js";

const EVERY_MS = 3000;
const MOST_POINTS = 600; // half an hour
const ENDED = { recovered: "it answered after all", replaced: "another worker took its place", open: "it is being looked at" };
// `before` is the last answer of each server, `past` what was made of the answers since this page was opened: [{at, rate, slow, waiting}].
const asked = { at: 0, waiting: false, servers: null, failed: null, before: new Map(), past: new Map() };

export function serving(known, draw) {
  renew(draw);
  return [h("section", { key: "serving", "aria-labelledby": "serving-heading" },
    h("h2", { id: "serving-heading" }, "Model servers"),
    asked.failed ? failure(asked.failed) : null,
    !asked.servers ? note("Looking…") : asked.servers.length ? asked.servers.map(server)
      : h("div", null, note("No model server of pellucid listens on this machine."), h("p", null, "Start one: ", shell("pellucid train loan"), " ", shell("pellucid serve loan"))))];
}

// Asked while the view is open; what was counted before is kept, so that rates can be told.
function renew(draw) {
  if (asked.waiting || Date.now() - asked.at < EVERY_MS) return;
  asked.waiting = true;
  get("/api/serving").then((servers) => {
    for (const one of asked.servers || []) asked.before.set(one.address, { ...one, at: asked.at });
    Object.assign(asked, { servers, failed: null });
    for (const one of servers) remember(one);
  }, (failed) => { asked.failed = failed; }).then(() => {
    Object.assign(asked, { at: Date.now(), waiting: false });
    draw();
    setTimeout(() => { if (location.hash === "#/serving" && !document.hidden) draw(); }, EVERY_MS + 50);
  });
}

// What the last seconds were like, for the drawings. A server that began anew counts from nothing.
function remember(one) {
  const before = asked.before.get(one.address), now = Date.now() / 1000;
  if (one.why_not || !before?.at || before.why_not || total(one.answers) < total(before.answers)) return;
  const recent = since(one, before), span = now - before.at / 1000;
  const point = { at: now, rate: (total(one.answers) - total(before.answers)) / span, slow: recent ? within(recent, 0.99) : null, waiting: one.counts.queue_length || 0 };
  asked.past.set(one.address, [...(asked.past.get(one.address) || []), point].slice(-MOST_POINTS));
}

// The answers since the look before, by how long they took; null where there were none.
function since(one, before) {
  return total(one.answers) > total(before.answers) ? one.buckets.map(([bound, number], place) => [bound, number - (before.buckets[place]?.[1] ?? 0)]) : null;
}

function drawings(one) {
  const past = asked.past.get(one.address) || [], times = past.map((point) => point.at);
  if (past.length < 2) return null;
  return h("div", { class: "charts", key: "charts" },
    lines("Requests a second", times, past.map((point) => point.rate), (value) => `${value < 10 ? value.toFixed(1) : count(value)} /s`, `rate ${one.address}`),
    lines("99 of 100 answers within", times, past.map((point) => point.slow), milliseconds, `slow ${one.address}`),
    lines("Requests that wait", times, past.map((point) => point.waiting), (value) => count(Math.round(value)), `waiting ${one.address}`));
}

function server(one) {
  const head = h("h3", { id: `server ${one.address}` }, one.model ? `${one.model}, version ${one.version}` : "A model server", h("span", { class: "faint" }, ` on ${one.address}`));
  if (one.why_not) return h("section", { key: one.address }, head, note(`It could not be asked: ${one.why_not}.`), h("p", null, h("a", { href: href("", one.pid) }, `pid ${one.pid}`)));
  const word = { ok: "info", degraded: "warning", down: "critical" }[one.status] || "notice";
  return h("section", { key: one.address },
    head,
    h("p", null, h("span", { class: `word ${word}` }, { ok: "serves", degraded: "some worker is not ready", down: "no worker is ready" }[one.status] || one.status), ` ${plural(one.workers.length, "worker")}, ${one.workers.filter((each) => each.ready).length} ready`),
    figures(one), drawings(one),
    table("Workers", [["worker", "number"], ["pid", "number"], "ready", "what it does", ["waiting", "number"], ["memory", "number"], "last error"],
      one.workers.map((each) => [each.worker, h("a", { href: href("", each.pid) }, each.pid), each.ready ? "yes" : h("strong", null, "no"), each.sentence.replace(/^worker \d+ \(pid \d+\) /, ""), each.queued, bytes(each.rss_bytes), each.last_error]), { caption: true }),
    one.incidents.length ? [h("h4", null, `Incidents, the newest ${one.incidents.length}`), h("ul", { class: "findings" }, one.incidents.map(happened))] : note("No incident is known."),
    h("p", { class: "faint" }, "The same in a terminal: ", shell(`curl http://${one.address}/healthz`), " ", shell("pellucid incidents")));
}

// Totals since it started, and the rate of the last few seconds where there was a look before.
function figures(one) {
  const before = asked.before.get(one.address);
  const span = before && before.at ? (asked.at - before.at) / 1000 : 0;
  const all = total(one.answers), moved = span > 0 ? all - total(before.answers) : 0;
  const recent = before && moved > 0 ? since(one, before) : null;
  const calls = one.counts.predictions || 0;
  const bad = Object.entries(one.answers).filter(([status]) => !status.startsWith("2"));
  const rows = [
    ["Requests", `${count(all)} since it started${span > 0 ? `, ${(moved / span).toFixed(1)} a second now` : ""}`],
    ["Answers", Object.entries(one.answers).map(([status, number]) => `${status}: ${count(number)}`).join(", ") || "none yet"],
    ["Refused or failed", all ? `${count(bad.reduce((sum, [, number]) => sum + number, 0))} (${percent(bad.reduce((sum, [, number]) => sum + number, 0) / all)})` : ""],
    ["Latency since it started", latency(one.buckets)],
    ["Latency now", recent ? latency(recent) : ""],
    ["Batches", calls ? `${count(calls)} predictions of ${count(one.counts.batched_requests || 0)} requests, ${((one.counts.batched_requests || 0) / calls).toFixed(1)} in each; ${count(one.counts.rows || 0)} rows; ${milliseconds((one.counts.predict_seconds || 0) / calls)} each` : "none yet"],
    ["Its own checks", one.counts.self_checks ? `${count(one.counts.self_checks)} predictions of the stored sample, which are in none of these numbers` : ""],
    ["Waiting", `${plural(one.counts.queue_length || 0, "request")}, ${plural(one.counts.connections || 0, "connection")}`],
    ["Incidents", Object.entries(one.kinds).filter(([, number]) => number).map(([kind, number]) => `${kind}: ${count(number)}`).join(", ") || "none"],
  ];
  return h("dl", { class: "who" }, rows.filter(([, value]) => value).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

function milliseconds(seconds) {
  return seconds < 1 ? `${+(1000 * seconds).toPrecision(2)} ms` : duration(seconds);
}

function total(answers) {
  return Object.values(answers).reduce((sum, number) => sum + number, 0);
}

// What half of the answers, and 99 of 100, were within, as far as the bounds of the histogram tell.
function latency(buckets) {
  const told = (part) => { const found = within(buckets, part); return found === null ? "more than a minute" : `within ${milliseconds(found)}`; };
  return buckets.length && buckets[buckets.length - 1][1] ? `half ${told(0.5)}, 99 of 100 ${told(0.99)}` : "";
}

// The bound in seconds below which that part of the answers was; null where the last one has none.
function within(buckets, part) {
  const all = buckets.length ? buckets[buckets.length - 1][1] : 0;
  return buckets.find(([, number]) => number >= part * all)?.[0] ?? null;
}

function happened(one) {
  return h("li", { class: "finding notice", key: one.id },
    h("p", { class: "title" }, one.kind && [h("span", { class: "word notice" }, one.kind), " "], one.sentence), one.cause && h("p", null, one.cause),
    h("p", { class: "links" }, h("span", { class: "faint" }, `${clock(one.at)}${ENDED[one.outcome] ? `: ${ENDED[one.outcome]}` : ""}`),
      one.pid ? h("a", { href: href("", one.pid, "history") }, `the minutes before, of pid ${one.pid}`) : h("span", { class: "faint" }, "its process is not known"), shell(`pellucid incidents show ${one.id}`)));
}
