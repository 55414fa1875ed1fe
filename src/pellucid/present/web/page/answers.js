// What the documents of single looks say: findings, gaps, tables.
import { h, note, table } from "./dom.js";
import { findingItem } from "./list.js";
import { bytes, count, duration, href } from "./words.js";

const MEANS = { critical: "stuck or failing", warning: "needs you", notice: "worth knowing", info: "fine" };

// Findings and gaps as the JSON documents have them.
export function findings(known, list) {
  if (!list?.length) return note("No rule has anything to say.");
  const told = list.map((one) => ({ ...one, means: MEANS[one.severity], evidence: one.evidence.map((ref) => [ref.source, ref.said]) }));
  return h("ul", { class: "findings" }, told.map((one) => findingItem(known, one, null)));
}

export function gaps(list) {
  if (!list?.length) return null;
  return h("details", null, h("summary", null, `Not seen: ${list.length}`),
    h("ul", null, list.slice(0, 50).map((gap) => h("li", null, `${gap.what}: ${gap.why}`, gap.remedy && [" (try: ", h("code", null, gap.remedy), ")"]))));
}

export function whyAnswer(known, answer) {
  return [h("h3", null, "What two seconds showed"), findings(known, answer.findings), gaps(answer.gaps), gaps(answer.over_time?.gaps)];
}

// The table of where the bytes are.
export function whereBytes(found) {
  const parts = found?.parts ?? [], whole = found?.rss_anon_bytes || 1;
  return parts.length ? table("Where the bytes are", ["where", ["in memory", "number"], ["of its private memory", "number"], ["count", "number"], "detail"],
    parts.map((part) => [part.what, bytes(part.resident_bytes), part.anonymous ? `${Math.round((100 * part.resident_bytes) / whole)} %` : "", part.count ? count(part.count) : "", part.detail]), { caption: true }) : null;
}

export function memoryAnswer(known, answer) {
  return [findings(known, answer.findings), whereBytes(answer.table),
    answer.children.length ? table("Its descendants", [["pid", "number"], "name", ["resident", "number"], ["private", "number"]],
      answer.children.map((one) => [h("a", { href: href(known.place.host, one.pid, "memory") }, one.pid), one.name, bytes(one.rss_bytes), bytes(one.rss_anon_bytes)]), { caption: true }) : null,
    gaps(answer.gaps)];
}

export function heapAnswer(known, answer) {
  const paused = answer.census?.paused_s;
  const stood = paused === undefined ? "" : paused === null ? " It was not paused." : ` It stood still for ${(1000 * paused).toFixed(0)} ms.`;
  return [note(`${count(answer.census?.objects ?? answer.objects ?? 0)} objects, ${bytes(answer.total_bytes)}.${stood}`),
    answer.suspects.length ? [h("h4", null, "Who holds most of it"), h("ul", { class: "findings" }, answer.suspects.slice(0, 8).map((one) => h("li", { class: "finding notice" }, one.sentence)))] : null,
    table("Objects by type", ["type", ["count", "number"], ["bytes", "number"]], answer.types.slice(0, 25).map((row) => [row.type, count(row.count), bytes(row.bytes)]), { caption: true }),
    answer.types.length > 25 ? note(`and ${answer.types.length - 25} more types`) : null, gaps(answer.gaps)];
}

export function growthAnswer(known, answer) {
  const signed = (value, spell) => `${value > 0 ? "+" : ""}${spell(value)}`;
  return [note(`${signed(answer.grown_bytes, bytes)} in ${duration(answer.span_s)}.`),
    answer.suspects?.length ? h("ul", { class: "findings" }, answer.suspects.slice(0, 8).map((one) => h("li", { class: "finding notice" }, one.sentence))) : null,
    table("What became more or fewer", ["type", ["objects", "number"], ["bytes", "number"], ["now", "number"]],
      answer.types.slice(0, 25).map((row) => [row.type, signed(row.grown_count, count), signed(row.grown_bytes, bytes), bytes(row.bytes)]), { caption: true }), gaps(answer.gaps)];
}

export function gcAnswer(known, answer) {
  const share = answer.share === undefined ? null : note(`Collections took ${(100 * answer.share).toFixed(1)} % of the time${answer.share_by ? ` (${answer.share_by})` : ""}.`);
  return [share, answer.findings ? findings(known, answer.findings) : null,
    table("Collections", ["generation", ["collections", "number"], ["time", "number"]], answer.collections.map((one) => [one.name, count(one.count), one.time_s === null ? "" : duration(one.time_s)]), { caption: true }), gaps(answer.gaps)];
}
