/**
 * Publishes a call, asks for the erasure of one of its parties, and verifies the certificate.
 *
 *     echo grace@example.org | node backend.mjs
 *
 * CALLLOG_GUARD_KAFKA names the brokers, KEYS the folder with three files: the requester's private key, the desk's public key,
 * and the tenant's public receipt key.
 */
import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { CompactEncrypt, SignJWT, compactVerify, importPKCS8, importSPKI } from "jose";
import { Kafka, logLevel } from "kafkajs";

const env = process.env;
const TENANT = "iocom", NAME = "backend-1", DESK = "iocom-desk", RECEIPT_KEY = "iocom-receipts";
const EVENTS = `${env.CALLLOG_GUARD_CALLLOG_PREFIX ?? "calllog."}events`;
const REQUESTS = `${env.CALLLOG_GUARD_PRIVACY_PREFIX ?? "privacy."}requests`;
const RECEIPTS = `${env.CALLLOG_GUARD_PRIVACY_PREFIX ?? "privacy."}receipts`;

const pem = (name) => readFileSync(`${env.KEYS ?? "guard/keys"}/${name}.pem`, "utf8");
const kafka = new Kafka({ brokers: env.CALLLOG_GUARD_KAFKA.split(","), logLevel: logLevel.ERROR });

/** The key is the call's id: what is said later about a call stays behind what was said before. */
async function publish(producer, call) {
  await producer.send({ topic: EVENTS, messages: [{ key: call.call_id, value: JSON.stringify(call) }] });
}

/** Signs, seals and sends a request; returns the id of its case. The same `jti` again is the same request. */
async function ask(producer, jti, claims) {
  const signed = await new SignJWT({ v: 1, tenant: TENANT, received_at: new Date().toISOString(), ...claims })
    .setProtectedHeader({ alg: "EdDSA", kid: NAME })
    .setIssuer(NAME) // equal to kid
    .setAudience("calllog-guard")
    .setJti(jti)
    .setIssuedAt()
    .setExpirationTime("1h") // at most 24 hours
    .sign(await importPKCS8(pem(NAME), "EdDSA"));
  const sealed = await new CompactEncrypt(new TextEncoder().encode(signed))
    .setProtectedHeader({ alg: "ECDH-ES", enc: "A256GCM", kid: DESK, cty: "JWT" })
    .encrypt(await importSPKI(pem(`${DESK}.pub`), "ECDH-ES"));
  await producer.send({ topic: REQUESTS, messages: [{ key: TENANT, value: sealed }] });
  return createHash("sha256").update(`case\0${TENANT}\0${NAME}\n${jti}`).digest().subarray(0, 16).toString("base64url");
}

/** The receipts of a case as they come, from these offsets on: each is of this case and signed by the tenant's receipt key. */
async function follow(consumer, starts, caseId, each) {
  const key = await importSPKI(pem(`${RECEIPT_KEY}.pub`), "EdDSA");
  await consumer.connect();
  await consumer.subscribe({ topic: RECEIPTS });
  await new Promise((done, failed) => {
    const eachMessage = async ({ message }) => {
      if (message.key?.toString() !== caseId) return; // another case, a heartbeat, the statement of a month
      try {
        const { payload } = await compactVerify(message.value, key, { algorithms: ["EdDSA"] });
        const receipt = JSON.parse(new TextDecoder().decode(payload));
        if (receipt.case !== caseId) throw new Error("the receipt is of another case");
        if (each(receipt)) done();
      } catch (error) {
        failed(error);
      }
    };
    consumer.run({ autoCommit: false, eachMessage }).catch(failed);
    for (const { partition, high } of starts) consumer.seek({ topic: RECEIPTS, partition, offset: high });
  });
}

const subject = (await text(process.stdin)).trim(); // never in argv, which others can see
const producer = kafka.producer(); // kafkajs waits for all replicas and places keys as Java does
const consumer = kafka.consumer({ groupId: `${NAME}-${randomUUID()}` });
const admin = kafka.admin();
try {
  await Promise.all([producer.connect(), admin.connect()]);
  const now = new Date().toISOString();
  await publish(producer, {
    tenant: TENANT, call_id: randomUUID(), kind: "audio", outcome: "answered", started_at: now, ended_at: now,
    parties: [{ id: subject, role: "caller" }, { id: "judy@example.org", role: "callee" }],
  });
  const starts = await admin.fetchTopicOffsets(RECEIPTS); // the receipts of what is asked now lie behind these
  const jti = `erase-${randomUUID()}`; // kept, a crashed program can ask again
  const caseId = await ask(producer, jti, { type: "erase", subjects: [subject], identity: "verified" });
  await follow(consumer, starts, caseId, (receipt) => {
    console.log(receipt.stage, receipt.at);
    if (receipt.stage === "refused") throw new Error(`${receipt.reason} ${receipt.at_pointer}: ${receipt.remedy}`);
    if (receipt.stage === "absent") console.log(receipt.statement);
    return receipt.stage === "absent"; // the certificate
  });
} finally {
  await Promise.all([producer.disconnect(), consumer.disconnect(), admin.disconnect()]);
}
