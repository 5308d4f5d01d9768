// Sigstore's services on 127.0.0.1, for cosign: sigstore.cjs PORT FOLDER
//
// A Fulcio, a Rekor of each version and a timestamp authority, from the double that sigstore-js is tested with. The
// folder gets what clients need: identity tokens, a signing configuration for each way to sign, trusted_root.json.
const fs = require("fs");
const http = require("http");
const path = require("path");
const { createHash, generateKeyPairSync } = require("crypto");
require("reflect-metadata");
const { Crypto } = require("@peculiar/webcrypto");
const x509 = require("@peculiar/x509");
const canonicalize = require("canonicalize");
const pkijs = require("pkijs");
const sigstore = require("@sigstore/mock");

const [, , port, folder] = process.argv;
const url = `http://127.0.0.1:${port}`;
const minutesAgo = (minutes) => new Date(Date.now() - minutes * 60_000);
const YESTERDAY = minutesAgo(24 * 60);
const validFor = { start: YESTERDAY.toISOString() };

const keyPair = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
const spki = (pair) => pair.publicKey.export({ type: "spki", format: "der" });
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const save = (name, text) => fs.writeFileSync(path.join(folder, name), text);

/** The double's root begins today, and one of the Fulcios signs in the past. */
const fulcio = async (pair, ctLog, clock) => {
  const made = await sigstore.initializeCA(pair, ctLog, clock);
  const settings = {
    serialNumber: "01",
    name: "CN=sigstore,O=sigstore.mock",
    notBefore: YESTERDAY,
    notAfter: minutesAgo(-24 * 60),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-384" },
    keys: made.keyPair,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  };
  made.root = await x509.X509CertificateGenerator.createSelfSigned(settings, new Crypto());
  return made;
};

/** Gives a certificate to whoever has a token; the double wants it in the body, clients send it as a password. */
const certify = async (fulcio, body, token) => {
  const request = { ...JSON.parse(body), credentials: { oidcIdentityToken: token } };
  const { statusCode, response } = await sigstore.fulcioHandler(fulcio).fn(JSON.stringify(request));
  return { status: statusCode === 201 ? 200 : statusCode, answer: response };
};

/** Logs an entry of Rekor's first version; clients find it in the answer by a header. */
const log = async (rekor, body) => {
  const entries = await rekor.log(JSON.parse(body));
  return { status: 201, answer: JSON.stringify(entries), headers: { etag: Object.keys(entries)[0] } };
};

/** Logs an entry of Rekor's second version, which has no clock; the double's own entries have another form. */
const logV2 = (rekor, logId, body) => {
  const { digest, signature } = JSON.parse(body).hashedRekordRequestV002;
  const data = { algorithm: "SHA2_256", digest };
  const entry = { apiVersion: "0.0.2", kind: "hashedrekord", spec: { hashedRekordV002: { data, signature } } };
  const leaf = Buffer.from(canonicalize(entry));
  const logID = Buffer.from(logId.keyId, "base64");
  const proof = rekor.calculateInclusionProof({ body: leaf, timestamp: 0, logID });
  const inclusionProof = {
    logIndex: "0",
    treeSize: "1",
    hashes: [],
    rootHash: Buffer.from(proof.rootHash, "hex").toString("base64"),
    checkpoint: { envelope: proof.checkpoint },
  };
  const kindVersion = { kind: "hashedrekord", version: "0.0.2" };
  const answer = { logIndex: "0", logId, kindVersion, inclusionProof, canonicalizedBody: base64(leaf) };
  return { status: 201, answer: JSON.stringify(answer) };
};

/** Logs once more, now, what a bundle holds: such a log has signed that it saw the signature too late. */
const logLate = async (rekor, body) => {
  const bundle = JSON.parse(body);
  const [entry] = bundle.verificationMaterial.tlogEntries;
  const [late] = Object.values(await rekor.log(JSON.parse(Buffer.from(entry.canonicalizedBody, "base64"))));
  entry.logIndex = String(late.logIndex);
  entry.integratedTime = String(late.integratedTime);
  entry.inclusionPromise = { signedEntryTimestamp: late.verification.signedEntryTimestamp };
  return { status: 200, answer: JSON.stringify(bundle) };
};

/** Timestamps a signature in whole seconds; the double reads requests as JSON, clients send what RFC 3161 has. */
const timestamp = async (authority, body) => {
  const { certReq, messageImprint, nonce } = pkijs.TimeStampReq.fromBER(body);
  const genTime = new Date(Math.floor(Date.now() / 1000) * 1000);
  const tstInfo = (request) => {
    const info = Object.getPrototypeOf(authority).tstInfo.call(authority, request);
    return Object.assign(info, { genTime, nonce });
  };
  const answer = await Object.assign(Object.create(authority), { tstInfo }).timestamp({
    artifactHash: messageImprint.hashedMessage.valueBlock.valueHexView,
    hashAlgorithmOID: messageImprint.hashAlgorithm.algorithmId,
    policyOID: "1.3.6.1.4.1.57264.2",
    nonce: 0,
    certReq,
  });
  return { status: 200, answer, headers: { "content-type": "application/timestamp-reply" } };
};

/** A log, as a trusted root names it. */
const trustedLog = (pair) => ({
  baseUrl: url,
  hashAlgorithm: "SHA2_256",
  logId: { keyId: createHash("sha256").update(spki(pair)).digest("base64") },
  publicKey: { rawBytes: base64(spki(pair)), keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor },
});

/** Who gives out certificates or timestamps, as a trusted root names it. */
const trustedAuthority = (...certificates) => ({
  subject: { organization: "sigstore.mock", commonName: "sigstore" },
  uri: url,
  certChain: { certificates: certificates.map((certificate) => ({ rawBytes: base64(certificate) })) },
  validFor,
});

/** Where a client gets a certificate, logs its signature and has the time of it witnessed. */
const signingConfig = (fulcio, rekor, version, clocks) => {
  const service = (name, majorApiVersion) => {
    return { url: `${url}/${name}`, majorApiVersion, operator: "local", validFor };
  };
  return JSON.stringify({
    mediaType: "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    caUrls: [service(fulcio, 1)],
    oidcUrls: [service("issuer", 1)],
    rekorTlogUrls: [service(rekor, version)],
    rekorTlogConfig: { selector: "ANY" },
    tsaUrls: clocks.map((clock) => service(`${clock}/api/v1/timestamp`, 1)),
    tsaConfig: { selector: "ANY" },
  });
};

/** An identity token; nobody signed it, and these services ask for no more. */
const token = (claims) => {
  const seconds = Math.floor(Date.now() / 1000);
  const times = { iat: seconds, nbf: seconds, exp: seconds + 3600 };
  const parts = [{ alg: "RS256", typ: "JWT" }, { aud: "sigstore", iss: `${url}/issuer`, ...times, ...claims }];
  return [...parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")), "AAAA"].join(".");
};

const serve = (services, ready) => {
  const server = http.createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", async () => {
      const service = services[request.url] ?? (async () => ({ status: 404, answer: "no such service" }));
      const token = request.headers.authorization?.replace(/^Bearer /, "");
      const refused = (error) => ({ status: 400, answer: String(error) });
      const { status, answer, headers } = await service(Buffer.concat(parts), token).catch(refused);
      console.log(request.method, request.url, status, status < 300 ? "" : answer);
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(answer);
    });
  });
  server.listen(Number(port), "127.0.0.1", ready);
};

const main = async () => {
  const [ca, ct, v1, v2, tsa] = Array.from({ length: 5 }, keyPair);
  const ctLog = await sigstore.initializeCTLog(ct);
  const fulcios = {
    today: await fulcio(ca, ctLog),
    past: await fulcio(ca, ctLog, minutesAgo(60)),
    uncounted: await fulcio(ca),
  };
  const rekors = {
    today: await sigstore.initializeTLog(url, v1),
    past: await sigstore.initializeTLog(url, v1, minutesAgo(55)),
  };
  const rekorV2 = await sigstore.initializeTLog(url, v2);
  const clock = await sigstore.initializeTSA(tsa);
  const services = {
    "/v2/api/v2/log/entries": async (body) => logV2(rekorV2, trustedLog(v2).logId, body),
    "/clock/api/v1/timestamp": (body) => timestamp(clock, body),
    "/late": (body) => logLate(rekors.today, body),
  };
  for (const [name, fulcio] of Object.entries(fulcios)) {
    services[`/${name}/api/v2/signingCert`] = (body, token) => certify(fulcio, body, token);
  }
  for (const [name, rekor] of Object.entries(rekors)) {
    services[`/${name}/api/v1/log/entries`] = (body) => log(rekor, body);
  }
  serve(services, () => {
    save("person", token({ sub: "release@tiny.example", email: "release@tiny.example", email_verified: true }));
    save("workflow", token({ sub: "https://ci.tiny.example/release.yaml@refs/heads/main" }));
    save("today.json", signingConfig("today", "today", 1, []));
    save("past.json", signingConfig("past", "past", 1, []));
    save("uncounted.json", signingConfig("uncounted", "today", 1, []));
    save("timestamped.json", signingConfig("today", "v2", 2, ["clock"]));
    const root = {
      mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
      tlogs: [trustedLog(v1), trustedLog(v2)],
      ctlogs: [trustedLog(ct)],
      certificateAuthorities: [trustedAuthority(fulcios.today.root.rawData)],
      timestampAuthorities: [trustedAuthority(clock.intCertificate, clock.rootCertificate)],
    };
    save("trusted_root.json", JSON.stringify(root));
  });
};

main();
