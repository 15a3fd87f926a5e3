// A worker in JavaScript on nothing but the NATS client, as docs/workers.md describes the contract.
// One source, `notes`, of the kind `words`, with two tools; at most two calls at a time.

import { createHash, createHmac, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, headers } from "@nats-io/transport-node";

const KIND = "words", SOURCE = "notes", LIMIT = 2, SERVICE = `${KIND}-worker`, VERSION = "1.0.0";
const { ISTHMUS_NATS_URL: url, ISTHMUS_NATS_USER: user, ISTHMUS_NATS_PASSWORD: pass } = process.env;

class Refusal extends Error { // what the caller can mend: a result with isError
  constructor(code, message) { super(message); this.code = code; }
}

// Each gets its arguments, how to tell progress, and a signal that says when to stop.
const run = {
  reverse_text: async ({ text }) => ({ text: [...text].reverse().join("") }),
  count_down: async ({ steps }, progress, signal) => {
    for (let step = 1; step <= steps; step++) {
      await sleep(250, undefined, { signal });
      progress({ progress: step, total: steps, message: `step ${step}` });
    }
    return { text: "done" };
  },
};
const tool = (name, description, argument, type) => ({
  name, title: name, description,
  scope: `${KIND}:use`, actions: ["use"], sources: { notebook: KIND },
  inputSchema: {
    type: "object", properties: { notebook: { type: "string" }, [argument]: { type } },
    required: [argument], additionalProperties: false,
  },
  outputSchema: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
  annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
});
const tools = [
  tool("reverse_text", "Reverses a text.", "text", "string"),
  tool("count_down", "Counts down, four steps a second.", "steps", "integer"),
];

function check({ inputSchema: { properties, required } }, given) {
  for (const name of required) if (!(name in given)) throw new Refusal("invalid_arguments", `\`${name}\` is missing.`);
  for (const [name, value] of Object.entries(given)) {
    if (!(name in properties)) throw new Refusal("invalid_arguments", `There is no argument \`${name}\`.`);
    const fits = properties[name].type === "integer" ? Number.isInteger(value) : typeof value === "string";
    if (!fits) throw new Refusal("invalid_arguments", `\`${name}\` must be of the type ${properties[name].type}.`);
  }
  if ((given.notebook ?? SOURCE) !== SOURCE) throw new Refusal("invalid_arguments", "The call was for another notebook.");
}

function checkGrants(granted = { grants: [] }) { // these tools know no objects, so the whole source must be granted
  const acting = (granted.grants ?? []).filter(({ actions }) => actions.includes("use") || actions.includes("*"));
  const whole = acting.some(({ objects = ["**"], rows = "" }) => objects.includes("**") && !rows);
  const columns = acting.some(({ hidden = [], masked = [] }) => hidden.length + masked.length > 0);
  if (!whole || columns) throw new Refusal("not_allowed", `You may not use ${SOURCE}.`);
}

// Advertising
const definitions = Buffer.from(JSON.stringify({ version: VERSION, tools }));
const digest = createHash("sha256").update(definitions).digest("hex").slice(0, 32);
const key = process.env.ISTHMUS_FINGERPRINT_KEY ?? "";
const fingerprint = createHmac("sha256", key).update("words:notes").digest("hex").slice(0, 16);
const id = randomBytes(11).toString("hex"), started = new Date().toISOString();
const subject = `isthmus.call.${KIND}.${SOURCE}.*`;
let revision = 1, serving = true;
const numbers = { num_requests: 0, num_errors: 0, processing_time: 0, last_error: "" };
const identity = (type) => ({
  type: `io.nats.micro.v1.${type}_response`, name: SERVICE, id, version: VERSION, metadata: { revision: String(revision) },
});
const endpoint = { name: SOURCE, subject, queue_group: SOURCE };
const metadata = {
  kind: KIND, engine: "memory", title: "Notes", description: "Words", fingerprint, definitions: digest, access: "read-only",
};
const answers = {
  PING: () => identity("ping"),
  INFO: () => ({ ...identity("info"), description: "", endpoints: serving ? [{ ...endpoint, metadata }] : [] }),
  STATS: () => {
    const average_processing_time = Math.floor(numbers.processing_time / Math.max(1, numbers.num_requests - running.size));
    const data = { in_flight: running.size, limit: LIMIT };
    const stats = { ...endpoint, ...numbers, average_processing_time, data };
    return { ...identity("stats"), started, endpoints: serving ? [stats] : [] };
  },
};

// One call
const running = new Map(), cancelled = new Map(); // call id → AbortController; call id → when
let ticked = Date.now(), busyUntil = 0;
const stalled = () => Date.now() - ticked > 1250;

function refuse(message, status, code, text) {
  const h = headers();
  h.set("Nats-Service-Error-Code", String(status)); h.set("Nats-Service-Error", text); h.set("Isthmus-Error", code);
  numbers.num_errors++; numbers.last_error = code;
  message.respond(undefined, { headers: h });
}

function frame(message, kind, body) {
  const h = headers();
  h.set("Isthmus-Frame", kind); h.set("Isthmus-Worker", id);
  message.respond(body && JSON.stringify(body), { headers: h });
}

const outcome = (text, isError = false) => ({ resultType: "complete", isError, content: [{ type: "text", text }] });

async function onCall(message) {
  numbers.num_requests++;
  if (running.size >= LIMIT || stalled() || Date.now() < busyUntil) return refuse(message, 429, "busy", "Busy.");
  const began = process.hrtime.bigint(), milliseconds = Number(message.headers?.get("Isthmus-Timeout"));
  let call;
  try { call = message.json(); } catch { /* refused below */ }
  if (message.headers?.get("Isthmus-Version") !== "1" || !milliseconds || !call?.id) {
    return refuse(message, 400, "bad_call", "The worker could not read the call.");
  }
  if (cancelled.delete(call.id)) return;
  const stop = new AbortController();
  const tell = () => frame(message, "working");
  running.set(call.id, stop);
  const late = new Refusal("deadline_exceeded", "The call took longer than it may.");
  const deadline = setTimeout(() => stop.abort(late), milliseconds);
  let every, first = setTimeout(() => { tell(); every = setInterval(tell, 1000); }, 500);
  let result;
  try {
    const wanted = tools.find(({ name }) => name === message.subject.split(".").at(-1));
    if (!wanted || (call.method ?? "tools/call") !== "tools/call") throw new Refusal("unknown_tool", "There is no such tool.");
    checkGrants(call.grants[`${KIND}.${SOURCE}`]);
    check(wanted, call.arguments);
    const structuredContent = await run[wanted.name](call.arguments, (step) => frame(message, "progress", step), stop.signal);
    result = { ...outcome(structuredContent.text), structuredContent };
  } catch (error) {
    const reason = stop.signal.aborted ? stop.signal.reason : error;
    if (!(reason instanceof Refusal)) refuse(message, 500, "worker_failed", "The worker failed on this call.");
    else if (reason.code === "cancelled") { numbers.num_errors++; numbers.last_error = "cancelled"; } // nobody waits
    else result = { ...outcome(reason.message, true), _meta: { "isthmus/error": reason.code } };
  } finally {
    clearTimeout(deadline); clearTimeout(first); clearInterval(every);
    running.delete(call.id);
    numbers.processing_time += Number(process.hrtime.bigint() - began);
  }
  if (result) message.respond(JSON.stringify(result));
}

// Joining: subscribe to everything, then say so
const nc = await connect({
  servers: url, user, pass, name: SERVICE, inboxPrefix: "_INBOX_worker",
  maxReconnectAttempts: -1, reconnectTimeWait: 200, pingInterval: 2000, maxPingOut: 2,
});
const announce = () => { revision++; nc.publish("isthmus.catalog.changed", `${SERVICE}.${id}`); return nc.flush(); };
for (const [verb, answer] of Object.entries(answers)) {
  for (const to of ["", `.${SERVICE}`, `.${SERVICE}.${id}`]) {
    nc.subscribe(`$SRV.${verb}${to}`, { callback: (_, message) => message.respond(JSON.stringify(answer())) });
  }
}
nc.subscribe(`isthmus.tools.${KIND}.${digest}`, { queue: digest, callback: (_, message) => message.respond(definitions) });
nc.subscribe("isthmus.cancel", { callback: (_, message) => {
  const stop = running.get(message.string());
  if (stop) stop.abort(new Refusal("cancelled", ""));
  else if (cancelled.size < 10000) cancelled.set(message.string(), Date.now());
} });
const calls = nc.subscribe(subject, { queue: SOURCE, callback: (_, message) => onCall(message) });
setInterval(() => {
  if (stalled()) busyUntil = Date.now() + 1000;
  ticked = Date.now();
  for (const [call, at] of cancelled) if (ticked - at > 60000) cancelled.delete(call);
}, 250);
await announce();

// Leaving: say so, take no new calls, finish those that run, get the answers out
process.once("SIGTERM", async () => {
  setTimeout(() => process.exit(1), 12000).unref(); // the bus may be away
  serving = false;
  await announce();
  await calls.drain();
  for (let end = Date.now() + 10000; running.size && Date.now() < end;) await sleep(50);
  await nc.flush();
  await nc.close();
  process.exit(0);
});
for await (const { type, error } of nc.status()) {
  if (type !== "error" || !/permissions violation for subscription/i.test(String(error))) continue;
  console.error(String(error)); // whoever may not do its work must not look as if it did
  process.exit(1);
}
