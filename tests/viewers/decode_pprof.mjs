// Reads a pprof file from standard input with Datadog's decoder and writes what it says as JSON.
import { Profile } from "pprof-format";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const profile = Profile.decode(gunzipSync(readFileSync(0)));
const text = (index) => profile.stringTable.strings[Number(index)];
const functions = new Map(profile.function.map((one) => [Number(one.id), one]));
const locations = new Map(profile.location.map((one) => [Number(one.id), one]));
const frame = (id) => {
  const [line] = locations.get(Number(id)).line;
  const called = functions.get(Number(line.functionId));
  return [text(called.name), text(called.filename), Number(line.line)];
};
console.log(JSON.stringify({
  types: profile.sampleType.map((one) => [text(one.type), text(one.unit)]),
  period: [text(profile.periodType.type), text(profile.periodType.unit), Number(profile.period)],
  preferred: text(profile.defaultSampleType),
  time: String(profile.timeNanos),
  duration: Number(profile.durationNanos),
  samples: profile.sample.map((one) => ({
    frames: one.locationId.map(frame),
    values: one.value.map(Number),
    labels: Object.fromEntries(one.label.map((label) => [text(label.key), text(label.str) || Number(label.num)])),
  })),
}));
