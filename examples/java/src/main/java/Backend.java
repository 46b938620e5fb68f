import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.crypto.tink.subtle.Ed25519Sign;
import com.nimbusds.jose.EncryptionMethod;
import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWEAlgorithm;
import com.nimbusds.jose.JWEHeader;
import com.nimbusds.jose.JWEObject;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.JWSObject;
import com.nimbusds.jose.Payload;
import com.nimbusds.jose.crypto.Ed25519Signer;
import com.nimbusds.jose.crypto.Ed25519Verifier;
import com.nimbusds.jose.crypto.X25519Encrypter;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.OctetKeyPair;
import com.nimbusds.jose.util.Base64URL;
import com.nimbusds.jose.util.JSONObjectUtils;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.Base64;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Publishes a call, asks for the erasure of one of its parties, and verifies the certificate.
 *
 * <p>The subject's id is the first line of standard input. CALLLOG_GUARD_KAFKA names the brokers, KEYS the folder with three files:
 * the requester's private key, the desk's public key, and the tenant's public receipt key.
 */
public final class Backend {
  static final String TENANT = "iocom", NAME = "backend-1", DESK = "iocom-desk", RECEIPT_KEY = "iocom-receipts";
  static final String EVENTS = env("CALLLOG_GUARD_CALLLOG_PREFIX", "calllog.") + "events";
  static final String REQUESTS = env("CALLLOG_GUARD_PRIVACY_PREFIX", "privacy.") + "requests";
  static final String RECEIPTS = env("CALLLOG_GUARD_PRIVACY_PREFIX", "privacy.") + "receipts";
  static final Map<String, Object> KAFKA = Map.of("bootstrap.servers", env("CALLLOG_GUARD_KAFKA", "localhost:9092"));

  public static void main(String[] arguments) throws Exception {
    String subject = new String(System.in.readAllBytes(), UTF_8).strip(); // never in arguments, which others can see
    try (var producer = new KafkaProducer<>(KAFKA, new StringSerializer(), new StringSerializer());
        var consumer = new KafkaConsumer<>(KAFKA, new StringDeserializer(), new StringDeserializer())) {
      var caller = Map.of("id", subject, "role", "caller");
      var callee = Map.of("id", "judy@example.org", "role", "callee");
      String call = UUID.randomUUID().toString(), now = Instant.now().toString();
      publish(producer, Map.of(
          "tenant", TENANT, "call_id", call, "kind", "audio", "outcome", "answered", "started_at", now, "ended_at", now,
          "parties", List.of(caller, callee)));
      toTheEnd(consumer); // the receipts of what is asked now lie behind it
      String jti = "erase-" + UUID.randomUUID(); // kept, a crashed program can ask again
      String caseId = ask(producer, jti, new JWTClaimsSet.Builder()
          .claim("type", "erase").claim("subjects", List.of(subject)).claim("identity", "verified"));
      System.out.println(certificate(consumer, caseId).get("statement"));
    }
  }

  /** The key is the call's id: what is said later about a call stays behind what was said before. */
  static void publish(KafkaProducer<String, String> producer, Map<String, ?> call) throws Exception {
    var record = new ProducerRecord<>(EVENTS, call.get("call_id").toString(), JSONObjectUtils.toJSONString(call));
    producer.send(record).get();
  }

  /** Signs, seals and sends a request; returns the id of its case. The same `jti` again is the same request. */
  static String ask(KafkaProducer<String, String> producer, String jti, JWTClaimsSet.Builder claims) throws Exception {
    Instant now = Instant.now();
    claims.claim("v", 1).claim("tenant", TENANT).claim("received_at", now.toString()).jwtID(jti)
        .issuer(NAME) // equal to kid
        .audience("calllog-guard")
        .issueTime(Date.from(now))
        .expirationTime(Date.from(now.plusSeconds(3600))); // at most 24 hours
    var signed = new SignedJWT(new JWSHeader.Builder(JWSAlgorithm.EdDSA).keyID(NAME).build(), claims.build());
    signed.sign(new Ed25519Signer(signingKey(NAME)));
    var header = new JWEHeader.Builder(JWEAlgorithm.ECDH_ES, EncryptionMethod.A256GCM).keyID(DESK).contentType("JWT");
    var sealed = new JWEObject(header.build(), new Payload(signed));
    sealed.encrypt(new X25519Encrypter(publicKey(DESK, Curve.X25519)));
    producer.send(new ProducerRecord<>(REQUESTS, TENANT, sealed.serialize())).get();
    byte[] hash = MessageDigest.getInstance("SHA-256").digest(String.join("\0", "case", TENANT, NAME + "\n" + jti).getBytes(UTF_8));
    return Base64URL.encode(Arrays.copyOf(hash, 16)).toString();
  }

  /** From now on the consumer reads what is appended to any partition of the receipts. */
  static void toTheEnd(KafkaConsumer<String, String> consumer) {
    var partitions = consumer.partitionsFor(RECEIPTS).stream().map(each -> new TopicPartition(RECEIPTS, each.partition())).toList();
    consumer.assign(partitions);
    consumer.seekToEnd(partitions);
    partitions.forEach(consumer::position); // a seek waits until it is asked for
  }

  /** Shows the receipts of a case as they come, each signed by the tenant's receipt key; the last is the certificate. */
  static Map<String, Object> certificate(KafkaConsumer<String, String> consumer, String caseId) throws Exception {
    var verifier = new Ed25519Verifier(publicKey(RECEIPT_KEY, Curve.Ed25519));
    while (true) {
      for (var record : consumer.poll(Duration.ofSeconds(1))) {
        if (!caseId.equals(record.key())) continue; // another case, a heartbeat, the statement of a month
        var receipt = JWSObject.parse(record.value());
        if (!receipt.verify(verifier)) throw new JOSEException("a receipt is not signed by the tenant's key");
        var claims = receipt.getPayload().toJSONObject();
        if (!caseId.equals(claims.get("case"))) throw new JOSEException("the receipt is of another case");
        System.out.println(claims.get("stage") + " " + claims.get("at"));
        if (claims.get("stage").equals("absent")) return claims;
        if (claims.get("stage").equals("refused"))
          throw new IllegalArgumentException(claims.get("reason") + " " + claims.get("at_pointer") + ": " + claims.get("remedy"));
      }
    }
  }

  static OctetKeyPair signingKey(String name) throws IOException, GeneralSecurityException {
    var pair = Ed25519Sign.KeyPair.newKeyPairFromSeed(pem(name));
    return new OctetKeyPair.Builder(Curve.Ed25519, Base64URL.encode(pair.getPublicKey())).d(Base64URL.encode(pair.getPrivateKey())).build();
  }

  static OctetKeyPair publicKey(String name, Curve curve) throws IOException {
    return new OctetKeyPair.Builder(curve, Base64URL.encode(pem(name + ".pub"))).build();
  }

  /** The 32 bytes of a key: the last of its DER, of a private key (PKCS #8) and of a public one (SPKI) alike. */
  static byte[] pem(String name) throws IOException {
    String text = Files.readString(Path.of(env("KEYS", "guard/keys"), name + ".pem"));
    byte[] der = Base64.getMimeDecoder().decode(text.replaceAll("-----[^-]+-----", ""));
    return Arrays.copyOfRange(der, der.length - 32, der.length);
  }

  static String env(String name, String otherwise) {
    return System.getenv().getOrDefault(name, otherwise);
  }
}
