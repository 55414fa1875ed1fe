// Numbers as people read them.

export function bytes(value) {
  if (value === null || value === undefined) return "";
  const negative = value < 0 ? "−" : "";
  let size = Math.abs(value);
  if (size < 1024) return `${negative}${size} B`;
  for (const unit of ["K", "M", "G", "T"]) {
    size /= 1024;
    if (size < 1000 || unit === "T") return `${negative}${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
  }
  return "";
}

// The address of a view of a process; `host` is "" for this machine.
export function href(host, pid, view = "now") {
  return host ? `#/h/${encodeURIComponent(host)}/${pid}/${view}` : `#/p/${pid}/${view}`;
}

export function count(value) {
  return value.toLocaleString("en", { maximumFractionDigits: 0 });
}

export function percent(share) {
  if (share === null || share === undefined) return "";
  const value = 100 * share;
  return value === 0 ? "0 %" : value < 0.1 ? "< 0.1 %" : value < 10 ? `${value.toFixed(1)} %` : `${Math.round(value)} %`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const value = Math.max(0, seconds);
  if (value < 10) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// The time of day, of this browser; of another day with the date.
export function clock(at) {
  const when = new Date(at * 1000), time = when.toLocaleTimeString("en-GB");
  if (when.toDateString() === new Date().toDateString()) return time;
  return `${when.getFullYear()}-${String(when.getMonth() + 1).padStart(2, "0")}-${String(when.getDate()).padStart(2, "0")} ${time}`;
}

// `UTC`, `GMT+2`: what the browser's clock is set to.
export function zone(at) {
  return new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts(new Date(at * 1000)).find((part) => part.type === "timeZoneName")?.value ?? "";
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}
