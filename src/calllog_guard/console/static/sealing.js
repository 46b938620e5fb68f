// Signs an officer's words and seals them to the desk's key; asks no server, and sends nothing.
// Rules: 1. The officer's key is imported non-extractable; nothing here can give it away.
//        2. What is sealed is padded: its length does not tell what it says.
// Source: RFC 7515, 7516, 7518 (section 4.6), 8037; client/signing.py, which does the same.

const BLOCK = 1024;
const LIFETIME_S = 3600;
const text = new TextEncoder();

export function b64(bytes) {
  let found = "";
  for (const each of new Uint8Array(bytes)) found += String.fromCharCode(each);
  return btoa(found).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

export function unb64(content) {
  const plain = atob(content.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(plain, (each) => each.charCodeAt(0));
}

/** The bytes of a private key's PEM (PKCS 8, no password); an Error says what it is instead. */
export function der(pem) {
  const found = /^-----BEGIN PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----\s*$/.exec(pem.trim());
  if (!found) throw new Error("not-a-key");
  return unb64(found[1].replace(/\s+/g, ""));
}

/** An officer's key, if it is the one with this public half: it signs, and cannot be read out again. */
export async function officersKey(pem, publicX) {
  const content = der(pem);
  let own;
  try {
    const open = await crypto.subtle.importKey("pkcs8", content, { name: "Ed25519" }, true, ["sign"]);
    own = (await crypto.subtle.exportKey("jwk", open)).x;
  } catch {
    throw new Error("not-a-key");
  }
  if (own !== publicX) throw new Error("another-key");
  return crypto.subtle.importKey("pkcs8", content, { name: "Ed25519" }, false, ["sign"]);
}

/** A name for a request that nobody else has; what acts on a case begins with its id: so a refusal tells of which. */
export function newName(about = "") {
  const own = b64(crypto.getRandomValues(new Uint8Array(16)));
  return about ? `${about}.${own}` : own;
}

/** The id of the case that a request of this name opens. */
export async function caseOf(tenant, requester, jti) {
  const named = ["case", tenant, `${requester}\n${jti}`].join("\0");
  return b64((await crypto.subtle.digest("SHA-256", text.encode(named))).slice(0, 16));
}

/** The claims of a request, as the desk reads them. */
export function claims(about, said, now, jti) {
  const issued = Math.floor(now / 1000);
  return {
    v: 1,
    iss: about.officer,
    aud: about.audience,
    tenant: about.tenant,
    jti,
    iat: issued,
    exp: issued + LIFETIME_S,
    received_at: new Date(issued * 1000).toISOString().replace(".000Z", "Z"),
    ...said,
  };
}

/** Claims as bytes, with blanks behind them up to a whole block. */
export function padded(content) {
  const raw = text.encode(JSON.stringify(content));
  const whole = new Uint8Array(Math.ceil(raw.length / BLOCK) * BLOCK).fill(0x20);
  whole.set(raw);
  return whole;
}

/** A JWS, compact, EdDSA. */
export async function signed(key, kid, content) {
  const head = b64(text.encode(JSON.stringify({ alg: "EdDSA", kid })));
  const body = `${head}.${b64(content)}`;
  const signature = await crypto.subtle.sign({ name: "Ed25519" }, key, text.encode(body));
  return `${body}.${b64(signature)}`;
}

function framed(bytes) {
  const found = new Uint8Array(4 + bytes.length);
  new DataView(found.buffer).setUint32(0, bytes.length);
  found.set(bytes, 4);
  return found;
}

function number(value) {
  const found = new Uint8Array(4);
  new DataView(found.buffer).setUint32(0, value);
  return found;
}

export function joined(...parts) {
  const found = new Uint8Array(parts.reduce((sum, each) => sum + each.length, 0));
  let at = 0;
  for (const each of parts) {
    found.set(each, at);
    at += each.length;
  }
  return found;
}

/** The content key of ECDH-ES for A256GCM: one round of the Concat KDF; `use` is `encrypt` or `decrypt`. */
export async function contentKey(shared, use) {
  const other = joined(framed(text.encode("A256GCM")), framed(new Uint8Array()), framed(new Uint8Array()), number(256));
  const found = await crypto.subtle.digest("SHA-256", joined(number(1), new Uint8Array(shared), other));
  return crypto.subtle.importKey("raw", found, { name: "AES-GCM" }, false, [use]);
}

/** A JWE, compact, ECDH-ES on X25519 with A256GCM, of a signed request. */
export async function sealed(deskX, kid, token) {
  const jwk = { kty: "OKP", crv: "X25519", x: deskX };
  const desk = await crypto.subtle.importKey("jwk", jwk, { name: "X25519" }, false, []);
  const own = await crypto.subtle.generateKey({ name: "X25519" }, false, ["deriveBits"]);
  const shared = await crypto.subtle.deriveBits({ name: "X25519", public: desk }, own.privateKey, 256);
  const x = (await crypto.subtle.exportKey("jwk", own.publicKey)).x;
  const header = { alg: "ECDH-ES", enc: "A256GCM", kid, cty: "JWT", epk: { kty: "OKP", crv: "X25519", x } };
  const head = b64(text.encode(JSON.stringify(header)));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const settings = { name: "AES-GCM", iv, additionalData: text.encode(head), tagLength: 128 };
  const whole = new Uint8Array(await crypto.subtle.encrypt(settings, await contentKey(shared, "encrypt"), text.encode(token)));
  const cut = whole.length - 16;
  return `${head}..${b64(iv)}.${b64(whole.subarray(0, cut))}.${b64(whole.subarray(cut))}`;
}

/** A request as it is sent. */
export async function request(about, key, said, now, jti) {
  const token = await signed(key, about.officer, padded(claims(about, said, now, jti)));
  return sealed(about.deskX, about.deskKid, token);
}
