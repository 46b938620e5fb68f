// Opens an answer's sealed parts with its addressee's key; asks no server, and sends nothing.
// Rules: 1. An answer is whole, of one case, or it is none.  2. What a spreadsheet would take for a formula is made text.
// Source: core/answers/parts.py and whole.py, reports/calls.py, which do the same; RFC 7516, RFC 4180.

import { b64, contentKey, der, joined, unb64 } from "./sealing.js";

const GROUP = 1_000_000;
const FORMER_GROUP = 1000;
const LISTS = [
  "told", "disclosures", "objections", "withdrawals", "consents", "requests", "kept_by_law", "opened_by",
];
const FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20";
const text = new TextEncoder();

/** The addressee's key: it opens, and cannot be read out again. */
export async function readersKey(pem) {
  try {
    return await crypto.subtle.importKey("pkcs8", der(pem), { name: "X25519" }, false, ["deriveBits"]);
  } catch {
    throw new Error("not-a-key");
  }
}

/** The content of a JWE (compact, ECDH-ES on X25519, A256GCM) as a value; an Error: it is another key's, or changed. */
export async function opened(key, token) {
  try {
    const [head, wrapped, iv, content, tag] = token.split(".");
    const { alg, enc, epk } = JSON.parse(new TextDecoder().decode(unb64(head)));
    if (alg !== "ECDH-ES" || enc !== "A256GCM" || wrapped) throw new Error();
    const jwk = { kty: "OKP", crv: "X25519", x: epk.x };
    const sender = await crypto.subtle.importKey("jwk", jwk, { name: "X25519" }, false, []);
    const shared = await crypto.subtle.deriveBits({ name: "X25519", public: sender }, key, 256);
    const settings = { name: "AES-GCM", iv: unb64(iv), additionalData: text.encode(head), tagLength: 128 };
    const whole = joined(unb64(content), unb64(tag));
    const plain = await crypto.subtle.decrypt(settings, await contentKey(shared, "decrypt"), whole);
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plain));
  } catch {
    throw new Error("does-not-open");
  }
}

/** A part as the receipt names it. */
export async function digestOf(token) {
  return b64(await crypto.subtle.digest("SHA-256", text.encode(token)));
}

function groupOf(number) {
  const size = number <= GROUP ? FORMER_GROUP : GROUP;
  return Math.floor((number - 1) / size) * size + 1;
}

function lacks(parts) {
  const found = new Set(parts.map((part) => part.part));
  const wanted = new Map();
  for (const { about } of parts) {
    for (const group of about.groups ?? []) wanted.set(group, 1);
    if (about.at) wanted.set(1, 1); // who writes the time writes the desk's group, too
  }
  for (const part of parts) wanted.set(groupOf(part.part), part.parts);
  for (const [group, many] of wanted) {
    for (let number = group; number < group + many; number += 1) if (!found.has(number)) return true;
  }
  return false;
}

/** The answer of opened parts: an Error says that they are none. */
export function wholeOf(parts, name) {
  const ordered = [...parts].sort((one, other) => one.part - other.part);
  const numbers = new Set(ordered.map((part) => part.part));
  const foreign = ordered.some((part) => part.v !== 1 || part.case !== name);
  if (foreign || numbers.size < ordered.length || ordered.length === 0 || lacks(ordered)) throw new Error("not-whole");
  const told = ordered.filter((part) => part.about.at && groupOf(part.part) === 1);
  const about = { ...(told[0] ?? ordered.at(-1)).about };
  for (const list of LISTS) {
    const from = list === "opened_by" ? ordered : told.length ? told : [ordered.at(-1)];
    about[list] = from.flatMap((part) => part.about[list] ?? []);
  }
  const legs = ordered.flatMap((part) => part.legs);
  const name_ = (leg) => [leg.started_at, leg.call, leg.subject].join("\0");
  legs.sort((one, other) => (name_(one) < name_(other) ? 1 : name_(one) > name_(other) ? -1 : 0));
  return { case: name, about, disclosure: ordered.find((part) => part.disclosure)?.disclosure, legs, parts: ordered };
}

/** A value in one cell. */
export function cellOf(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.join(" ");
  if (typeof value === "object") return Object.entries(value).map(([name, each]) => `${name}=${each}`).join(" ");
  if (typeof value === "boolean") return value ? "True" : "False";
  return String(value);
}

function safe(value) {
  const found = cellOf(value);
  const first = found.replace(/^[ \u00a0\ufeff]+/, "").charAt(0);
  const inert = first && FORMULA.includes(first) ? `'${found}` : found;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

/** The calls as CSV, a line each. */
export function csvOf(legs, columns) {
  const lines = [columns, ...legs.map((leg) => columns.map((name) => leg[name]))];
  return lines.map((line) => `${line.map(safe).join(",")}\r\n`).join("");
}
