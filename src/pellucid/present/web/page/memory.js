// Memory: what the kernel counts and the generations of the collector, over time; where the bytes are, and which objects, on request.
import { stacked } from "./chart.js";
import { failure, h, note, table } from "./dom.js";
import { gcAnswer, growthAnswer, heapAnswer, memoryAnswer } from "./answers.js";
import { job, jobs, offer, unread } from "./jobs.js";
import { rowOf } from "./process.js";
import { path, post } from "./server.js";
import { bytes, clock, count } from "./words.js";

export function memory(known, draw) {
  return h("div", null,
    known.place.host ? note("The live drawings are of this machine; what follows is asked of the other one.") : known.pointsFailed ? failure(known.pointsFailed) : drawings(known),
    offer(known, "memory", draw), job(known, "memory", draw, (answer) => memoryAnswer(known, answer)),
    unread(known, "A collector, and the objects of a heap,") ?? [
      offer(known, "gc", draw, { title: "Watch its collector for 3 s" }), job(known, "gc", draw, (answer) => gcAnswer(known, answer)),
      offer(known, "heap", draw, { more: pause(known, draw), read: () => ({ pause: !document.getElementById("heap-still")?.checked }) }),
      snapshots(known, draw)]);
}

function pause(known, draw) {
  if (rowOf(known)?.runtime.startsWith("JVM")) return null;
  return h("label", null, h("input", { type: "checkbox", id: "heap-still", onchange: draw }), "without a pause (what it changes meanwhile is uncertain)");
}

function drawings(known) {
  const points = known.points;
  if (!points.length) return note("Reading its counters…");
  const times = points.map((point) => point.at);
  const series = [["private", "private_bytes"], ["files", "file_bytes"], ["shared", "shared_bytes"], ["in swap", "swap_bytes"]]
    .map(([name, key]) => ({ name, values: points.map((point) => point[key]) })).filter((one, place) => place < 2 || one.values.some(Boolean));
  const [drawn, told] = generations(points) ?? [];
  return [h("div", { class: "charts", key: "charts" }, stacked("Memory", times, series, bytes, "resident"), drawn), told];

  function generations(all) {
    const last = all[all.length - 1];
    if (known.collector) return [null, note(`Its collector: ${known.collector}`)];
    if (!last.levels.length) return null;
    const seen = all.filter((point) => point.levels.length === last.levels.length);
    const objects = last.unit === "objects";
    const levels = last.levels.map((level, place) => ({ name: level.name, values: seen.map((point) => point.levels[place].used) })).filter((level) => objects || level.values.some(Boolean)); // G1 leaves one survivor space empty
    const title = objects ? "Objects that the collector tracks, by generation" : "Spaces of the heap, as of the last collection";
    if (!objects && !levels.length) return [null, note("The JVM's own counters say nothing of its heap before the first collection.")];
    const collected = last.collections.map(([name, times]) => `${name} ${count(times)}×`).join(", ");
    const capacity = objects ? "" : ` Capacity: ${last.levels.filter((level) => level.capacity).map((level) => `${level.name} ${bytes(level.capacity)}`).join(", ")}.`;
    return [stacked(title, seen.map((point) => point.at), levels, objects ? (value) => count(Math.round(value)) : bytes, "generations"),
      collected ? note(`Collected so far: ${collected}.${capacity}`) : null];
  }
}

function snapshots(known, draw) {
  const kind = rowOf(known)?.runtime.startsWith("JVM") ? "dump" : "heap";
  const all = jobs(known, kind).filter((row) => row.state === "done");
  const compare = (row) => async () => {
    try { await post(path(known, "jobs"), { action: "heap-diff", before: row.id, after: all[0].id }); } catch (failed) { known.documents.set("failed diff", { failed }); }
    draw();
  };
  const failed = known.documents.get("failed diff")?.failed;
  const away = (row) => (row.file ? h("a", { href: `/api/jobs/${row.id}/file`, download: "" }, "the snapshot") : "");
  return [job(known, "heap", draw, (answer) => heapAnswer(known, answer)),
    offer(known, "dump", draw), job(known, "dump", draw, (answer) => heapAnswer(known, answer)),
    all.length ? table("Snapshots", ["when", "compared with the newest", "take it away"], all.map((row, place) => [clock(row.ended_at),
      place ? h("button", { type: "button", class: "small", onclick: compare(row) }, "What has changed since then?") : "the newest, shown above", away(row)]), { caption: true, key: "snapshots" }) : null,
    failed && failure(failed),
    jobs(known, "heap-diff").length ? h("h3", null, "Between two snapshots") : null,
    job(known, "heap-diff", draw, (answer) => growthAnswer(known, answer))];
}
