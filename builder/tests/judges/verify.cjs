// Verifies a bundle with sigstore-js: verify.cjs TRUSTED_ROOT KEY.pem BUNDLE [DOCUMENT]
// An attestation has its statement in the bundle and needs no document.
const fs = require("fs");
const { bundleFromJSON } = require("@sigstore/bundle");
const { crypto } = require("@sigstore/core");
const { TrustedRoot } = require("@sigstore/protobuf-specs");
const { toSignedEntity, toTrustMaterial, Verifier } = require("@sigstore/verify");

const [, , rootFile, keyFile, bundleFile, documentFile] = process.argv;
const json = (file) => JSON.parse(fs.readFileSync(file));
try {
  const publicKey = crypto.createPublicKey(fs.readFileSync(keyFile, "utf8"));
  const trust = toTrustMaterial(TrustedRoot.fromJSON(json(rootFile)), () => ({
    publicKey,
    validFor: () => true,
  }));
  const options = { tlogThreshold: 1, timestampThreshold: 0, ctlogThreshold: 0 };
  const document = documentFile && fs.readFileSync(documentFile);
  const entity = toSignedEntity(bundleFromJSON(json(bundleFile)), document);
  new Verifier(trust, options).verify(entity);
  console.log("accepted");
} catch (error) {
  console.log("refused:", error.code ?? "", error.message);
  process.exit(1);
}
