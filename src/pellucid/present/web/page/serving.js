// The model servers of this machine, as they tell of themselves: how many requests, how fast, in which batches, by which workers, what happened.
import { failure, h, note, shell, table } from "./dom.js";
import { get } from "./server.js";
import { bytes, count, duration, percent, plural } from "./words.js";

const EVERY_MS = 3000;
const asked = { at: 0, waiting: false, servers: null, failed: null, before: new Map() };

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
  }, (failed) => { asked.failed = failed; }).then(() => {
    Object.assign(asked, { at: Date.now(), waiting: false });
    draw();
    setTimeout(() => { if (location.hash === "#/serving") draw(); }, EVERY_MS + 50);
  });
}

function server(one) {
  const head = h("h3", { id: `server ${one.address}` }, one.model ? `${one.model}, version ${one.version}` : "A model server", h("span", { class: "faint" }, ` on ${one.address}`));
  if (one.why_not) return h("section", { key: one.address }, head, note(`It could not be asked: ${one.why_not}.`), h("p", null, h("a", { href: `#/p/${one.pid}/now` }, `pid ${one.pid}`)));
  const word = { ok: "info", degraded: "warning", down: "critical" }[one.status] || "notice";
  return h("section", { key: one.address },
    head,
    h("p", null, h("span", { class: `word ${word}` }, { ok: "serves", degraded: "some worker is not ready", down: "no worker is ready" }[one.status] || one.status), ` ${plural(one.workers.length, "worker")}, ${one.workers.filter((each) => each.ready).length} ready`),
    figures(one),
    table("Workers", [["worker", "number"], ["pid", "number"], "ready", "what it does", ["waiting", "number"], ["memory", "number"], "last error"],
      one.workers.map((each) => [each.worker, h("a", { href: `#/p/${each.pid}/now` }, each.pid), each.ready ? "yes" : h("strong", null, "no"), each.sentence, each.queued, bytes(each.rss_bytes), each.last_error]), { caption: true }),
    one.incidents.length ? [h("h4", null, `Incidents, the newest ${one.incidents.length}`), h("ul", { class: "findings" }, one.incidents.map(happened))] : note("No incident is known."),
    h("p", { class: "faint" }, "The same in a terminal: ", shell(`curl http://${one.address}/healthz`), " ", shell("pellucid incidents")));
}

// Totals since it started, and the rate of the last few seconds where there was a look before.
function figures(one) {
  const before = asked.before.get(one.address);
  const span = before && before.at ? (asked.at - before.at) / 1000 : 0;
  const all = total(one.answers), moved = span > 0 ? all - total(before.answers) : 0;
  const recent = before && moved > 0 ? one.buckets.map(([bound, number], place) => [bound, number - (before.buckets[place]?.[1] ?? 0)]) : null;
  const calls = one.counts.predictions || 0;
  const bad = Object.entries(one.answers).filter(([status]) => !status.startsWith("2"));
  const rows = [
    ["Requests", `${count(all)} since it started${span > 0 ? `, ${(moved / span).toFixed(1)} a second now` : ""}`],
    ["Answers", Object.entries(one.answers).map(([status, number]) => `${status}: ${count(number)}`).join(", ") || "none yet"],
    ["Refused or failed", all ? `${count(bad.reduce((sum, [, number]) => sum + number, 0))} (${percent(bad.reduce((sum, [, number]) => sum + number, 0) / all)})` : ""],
    ["Latency since it started", latency(one.buckets)],
    ["Latency now", recent ? latency(recent) : ""],
    ["Batches", calls ? `${count(calls)} predictions of ${count(one.counts.batched_requests || 0)} requests, ${((one.counts.batched_requests || 0) / calls).toFixed(1)} in each; ${count(one.counts.rows || 0)} rows; ${milliseconds((one.counts.predict_seconds || 0) / calls)} each; its own checks are among them` : "none yet"],
    ["Waiting", `${count(one.counts.queue_length || 0)} requests, ${count(one.counts.connections || 0)} connections`],
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
  const all = buckets.length ? buckets[buckets.length - 1][1] : 0;
  if (!all) return "";
  const within = (part) => {
    const found = buckets.find(([, number]) => number >= part * all);
    return found && found[0] !== null ? `within ${found[0] < 1 ? `${+(1000 * found[0]).toPrecision(3)} ms` : `${found[0]} s`}` : "more than a minute";
  };
  return `half ${within(0.5)}, 99 of 100 ${within(0.99)}`;
}

function happened(one) {
  return h("li", { class: "finding notice", key: one.id },
    h("p", { class: "title" }, one.sentence), one.cause && h("p", null, one.cause),
    h("p", { class: "faint" }, `${new Date(one.at * 1000).toLocaleString("en-GB")} · `, shell(`pellucid incidents show ${one.id}`)));
}
