// What is asked of the server: events that come by themselves, documents, and looks that cost something.

let postToken = "";

const AGAIN_MS = 5000;
const SILENT_MS = 45000; // the list comes every ten seconds at the least: the way there is broken, though nobody has said so (a laptop that slept)
const HIDDEN_MS = 5000; // a tab that nobody sees costs nothing, and takes none of the few connections that a browser has for all tabs

// One stream for what is shown now; `heard` is called with (name of the event, value), and with ("broken", why) where it ended.
export class Live {
  constructor(heard) {
    this.heard = heard;
    this.source = null;
    this.wait = 0;
    this.place = null;
    this.at = 0;
    document.addEventListener("visibilitychange", () => this.seen());
    setInterval(() => { if (this.source && Date.now() - this.at > SILENT_MS) { this.heard("broken", "gone"); this.open(this.place); } }, AGAIN_MS);
  }

  // A page that nobody sees is told nothing; it is told all anew when somebody looks again.
  seen() {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.close(), HIDDEN_MS);
    else if (this.place && !this.source) this.open(this.place);
  }

  open(place) {
    this.close();
    this.place = place;
    this.at = Date.now();
    if (document.hidden) return;
    const { host, pid, view } = place;
    const source = new EventSource(`/api/live?${new URLSearchParams(pid ? { pid, view, ...(host ? { host } : {}) } : {})}`);
    this.source = source;
    for (const name of ["hello", "list", "found", "deep", "memory", "jobs", "host"]) {
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        const value = JSON.parse(event.data);
        this.at = Date.now();
        if (name === "hello") postToken = value.token;
        this.heard(name, value);
      });
    }
    source.addEventListener("error", async () => {
      if (source !== this.source) return;
      const closed = source.readyState === EventSource.CLOSED; // it was refused; else the browser tries again by itself
      if (closed) this.source = null;
      this.heard("broken", closed && await stranger() ? "stranger" : "gone");
      if (closed && !this.source) this.wait = setTimeout(() => this.open(this.place), AGAIN_MS);
    });
  }

  close() {
    clearTimeout(this.wait);
    this.source?.close();
    this.source = null;
  }
}

// Whether a server is there that does not know this page: it was started again, and has another token.
async function stranger() {
  try { return (await fetch("/api/live?pid=0", { method: "HEAD" })).status === 401; } catch { return false; }
}

// Where something of the process that is shown is asked for.
export function path(known, what) {
  const { host, pid } = known.place;
  return `/api/p/${pid}/${what}${host ? `?${new URLSearchParams({ host })}` : ""}`;
}

// A document; an error of the server's is thrown as {tried, said, remedy}.
export async function get(path) {
  return answer(fetch(path));
}

export async function post(path, body = {}) {
  return answer(fetch(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", "x-pellucid-token": postToken } }));
}

async function answer(asked) {
  let reply, text;
  try {
    reply = await asked;
    text = await reply.text();
  } catch {
    throw { tried: "reach the server", said: "it does not answer: it has ended, or the way to it is broken", remedy: "pellucid web" };
  }
  if (reply.ok) return JSON.parse(text);
  let failed = { tried: "do that", said: text.trim() || reply.statusText, remedy: "" };
  try { failed = { ...failed, ...JSON.parse(text).error }; } catch { /* it is a sentence */ }
  throw failed;
}

// A document of the server's, asked for once and kept until `again` was called; what was known before stays until there is something newer.
export function fetched(known, name, path, draw) {
  const kept = known.documents.get(name);
  if (kept && !kept.old) return kept;
  const documents = known.documents;
  documents.set(name, { waiting: true, value: kept?.value });
  get(path).then((value) => documents.set(name, { value }), (failed) => documents.set(name, { failed })).then(draw);
  return documents.get(name);
}

export function again(known, names, draw) {
  for (const name of names) if (!known.documents.get(name)?.waiting) known.documents.set(name, { ...known.documents.get(name), failed: null, old: true });
  draw();
}
