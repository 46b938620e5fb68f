// What a form of a request says: from its fields to the claims that are signed; touches no page, and sends nothing.
// Rules: 1. A field that is empty says nothing.  2. Days and times of the page are those of the tenant's zone.
// Source: RFC 8410 (the key's PEM); core/requests/fields.py.

import { b64, unb64 } from "./sealing.js";

const DAY = /^\d{4}-\d\d-\d\d$/;
const PUBLIC = /^-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*$/;
/** What stands before the 32 bytes of a public X25519 key, and before those of a private one. */
const SPKI = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00];

function offsetMs(at, zone) {
  const asked = { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric" };
  const clock = { hour: "numeric", minute: "numeric", second: "numeric" };
  const parts = new Intl.DateTimeFormat("en-GB", { ...asked, ...clock }).formatToParts(new Date(at));
  const of = (kind) => Number(parts.find((each) => each.type === kind).value);
  return Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute"), of("second")) - at;
}

/** A day (its beginning) or a local time of a zone as a moment of UTC; an hour that a clock skips moves on. */
export function instant(local, zone) {
  const plain = Date.parse(`${DAY.test(local) ? `${local}T00:00:00` : local}Z`);
  if (Number.isNaN(plain)) throw new Error("not-a-time");
  const found = plain - offsetMs(plain - offsetMs(plain, zone), zone);
  return new Date(found).toISOString().replace(/\.000Z$/, "Z");
}

/** A public key in PEM as the key of an answer. */
export function replyKey(pem) {
  const found = PUBLIC.exec(pem.trim());
  const raw = found ? unb64(found[1].replace(/\s+/g, "")) : [];
  if (raw.length !== SPKI.length + 32 || SPKI.some((each, at) => raw[at] !== each)) throw new Error("not-a-reply-key");
  return { kty: "OKP", crv: "X25519", x: b64(raw.slice(SPKI.length)) };
}

/** A new pair for an answer: the key for the request, and the private half in PEM. */
export async function newPair() {
  const pair = await crypto.subtle.generateKey({ name: "X25519" }, true, ["deriveBits"]);
  const { x } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const raw = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const lines = btoa(String.fromCharCode(...raw)).match(/.{1,64}/g);
  const pem = ["-----BEGIN PRIVATE KEY-----", ...lines, "-----END PRIVATE KEY-----", ""].join("\n");
  return { key: { kty: "OKP", crv: "X25519", x }, pem };
}

const trimmed = (value) => value.trim();
const READ = {
  lines: (value) => [...new Set(value.split("\n").map(trimmed).filter(Boolean))],
  line: trimmed,
  words: trimmed,
  choice: trimmed,
  day: trimmed,
  moment: (value, zone) => (value ? instant(value, zone) : ""),
  received: (value, zone) => (value ? instant(value, zone) : ""),
  several: (value) => value,
  key: (value) => (typeof value === "string" && value.trim() ? replyKey(value) : value),
};

/** The claims of a request: each field has the path of its claim, its kind and its value. */
export function claimsOf(type, fields, zone) {
  const said = { type };
  for (const { path, kind, value } of fields) {
    const found = READ[kind](value, zone);
    if (!found || found.length === 0) continue;
    const names = path.split(".");
    const last = names.pop();
    let at = said;
    for (const name of names) at = at[name] ??= {};
    if (kind === "several") at[last] = [...(at[last] ?? []), found];
    else at[last] = found;
  }
  return said;
}

/** Whether a day of receipt can be meant: an Error says why not. */
export function checkReceived(day, today, monthAgo, meant) {
  if (day > today) throw new Error("in-future");
  if (day && day < monthAgo && !meant) throw new Error("long-ago");
}

/** The claims of a decision: what was chosen, about which case, in which words, and when to look again. */
export function decided(chosen, about, ground, review) {
  const said = { type: chosen.type, case: about.case };
  for (const name of ["event", "to", "notice"]) if (chosen[name]) said[name] = chosen[name];
  if (chosen.ground && ground.trim()) said.ground = ground.trim();
  if (chosen.review) said.review_at = instant(review, about.zone);
  return said;
}
