//! Publishes a small store as `kdistro` does: signed documents, a log with stapled proofs, artifacts with sidecars.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use kdistro_formats::{
    Digest, ReleaseName, canonical,
    channel::{ChannelSpec, ChannelStatus, ReleaseChannel, Withheld},
    layout,
    oci::EMPTY_CONTENT,
    release::{API_VERSION, AssetKind, Metadata, Release, ReleaseRef},
    statement::{PAYLOAD_TYPE, REBUILD, STATEMENT, Statement, Subject},
    yaml,
};
use kdistro_verify::{
    check::{Report, Scope, TrustSource, check},
    hash,
    log::{Checkpoint, TILE_WIDTH, Tree, leaf_hash, node_hash, tile_path},
    store::Directory,
    trust::PublicKey,
};
use serde::Serialize;
use serde_json::{Value, json};
use sigstore_crypto::KeyPair;
use sigstore_types::encoding::SignatureBytes;
use tempfile::TempDir;

use crate::{
    content::{FILES, KUBEADM, claim, manifest, name, plan, provenance},
    image::Blobs,
};

pub(crate) const ORIGIN: &str = "log.releases.example";

/// A store under a temporary folder, and the keys that sign it.
pub(crate) struct Publisher {
    folder: TempDir,
    key: KeyPair,
    log_key: KeyPair,
    leaves: Vec<Vec<u8>>,
    pub(crate) index: ReleaseChannel,
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    SignatureBytes::from_bytes(bytes).to_base64()
}

pub(crate) fn public(pair: &KeyPair) -> PublicKey {
    PublicKey::from_spki_der(pair.public_key_der().unwrap().as_bytes()).unwrap()
}

impl Publisher {
    /// An empty store with keys and a trusted root.
    pub(crate) fn new() -> Self {
        let mut publisher = Self {
            folder: TempDir::new().unwrap(),
            key: KeyPair::generate_ecdsa_p256().unwrap(),
            log_key: KeyPair::generate_ecdsa_p256().unwrap(),
            leaves: Vec::new(),
            index: empty_index(),
        };
        publisher.write_keys();
        publisher
    }

    fn write_keys(&mut self) {
        self.write(layout::PUBLIC_KEY, self.key().to_pem());
        self.write(layout::LOG_KEY, self.log_key().to_pem());
        let root = trusted_root(&self.log_key());
        self.write_signed(layout::TRUSTED_ROOT, root);
    }

    /// A store with two releases; number 2 in between was never published.
    pub(crate) fn with_releases() -> Self {
        let mut publisher = Self::new();
        let first = publisher.release(1, None);
        publisher.write_index();
        let claim = claim(2, Digest::from_bytes([2; 32]), Some(first.clone()));
        publisher.write(&layout::claim(&name(2)), claim);
        publisher.write(&layout::abandoned(&name(2)), "{}");
        let reason = "the build host was lost".to_owned();
        publisher.index.status.withheld.push(Withheld { number: 2, digest: None, reason });
        publisher.release(3, Some(first));
        publisher.write_index();
        publisher
    }

    pub(crate) fn key(&self) -> PublicKey {
        public(&self.key)
    }

    pub(crate) fn log_key(&self) -> PublicKey {
        public(&self.log_key)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    pub(crate) fn source(&self) -> TrustSource {
        TrustSource { key: self.key(), trusted_root: None }
    }

    /// Checks release 3, or another.
    pub(crate) fn check(&self, number: u32, scope: Scope) -> Report {
        let store = Directory::new(self.folder.path());
        check(&store, &layout::manifest(&name(number)), &self.source(), scope)
    }

    pub(crate) fn write_signed(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        self.write(name, bytes.as_ref());
        let bundle = self.sign(bytes.as_ref());
        self.write(&layout::bundle(name), canonical::to_vec(&bundle).unwrap());
    }

    /// Signs and logs a document.
    pub(crate) fn sign(&mut self, document: &[u8]) -> Value {
        let digest = hash::sha256(document);
        let signature = base64(self.key.sign(document).unwrap().as_bytes());
        let digest64 = base64(digest.as_bytes());
        let message = json!({
            "messageDigest": { "algorithm": "SHA2_256", "digest": digest64 },
            "signature": signature,
        });
        let entry = self.logged(&digest, &signature);
        self.bundle("messageSignature", &message, &entry)
    }

    /// Signs and logs a statement about `subject`.
    pub(crate) fn attest(&mut self, subject: Subject) -> Value {
        self.attest_statement(&Statement {
            kind: STATEMENT.to_owned(),
            subject: vec![subject],
            predicate_type: REBUILD.to_owned(),
            predicate: json!({ "release": "1-20-3" }),
        })
    }

    /// Signs and logs a statement.
    pub(crate) fn attest_statement<P: Serialize>(&mut self, statement: &Statement<P>) -> Value {
        let payload = canonical::to_vec(statement).unwrap();
        let signed = sigstore_types::dsse::pae(PAYLOAD_TYPE, &payload);
        let signature = base64(self.key.sign(&signed).unwrap().as_bytes());
        let envelope = json!({
            "payload": base64(&payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "keyid": "", "sig": signature }],
        });
        let entry = self.logged(&hash::sha256(&signed), &signature);
        self.bundle("dsseEnvelope", &envelope, &entry)
    }

    fn bundle(&self, content: &str, value: &Value, entry: &Value) -> Value {
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            content: value,
            "verificationMaterial": {
                "publicKey": { "hint": base64(self.key().fingerprint().as_bytes()) },
                "timestampVerificationData": { "rfc3161Timestamps": [] },
                "tlogEntries": [entry],
            },
        })
    }

    fn logged(&mut self, digest: &Digest, signature: &str) -> Value {
        let key = base64(self.key().as_der());
        let leaf = json!({
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": { "hashedRekordV002": {
                "data": { "algorithm": "SHA2_256", "digest": base64(digest.as_bytes()) },
                "signature": { "content": signature, "verifier": {
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "publicKey": { "rawBytes": key },
                }},
            }},
        });
        let leaf = canonical::to_vec(&leaf).unwrap();
        let index = self.leaves.len() as u64;
        let head = self.append(leaf.clone());
        let (checkpoint, text) = head;
        let fetch = |path: &str| self.fetch(path);
        let proof = Tree::new(checkpoint.size, &fetch).inclusion(index).unwrap();
        let hashes: Vec<_> = proof.iter().map(|hash| base64(hash.as_bytes())).collect();
        json!({
            "canonicalizedBody": base64(&leaf),
            "inclusionProof": {
                "checkpoint": { "envelope": text },
                "hashes": hashes,
                "logIndex": index.to_string(),
                "rootHash": base64(checkpoint.root.as_bytes()),
                "treeSize": checkpoint.size.to_string(),
            },
            "kindVersion": { "kind": "hashedrekord", "version": "0.0.2" },
            "logId": { "keyId": base64(self.log_key().fingerprint().as_bytes()) },
            "logIndex": index.to_string(),
        })
    }

    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.folder.path().join(layout::LOG).join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Appends a leaf: entries, hash tiles, then the checkpoint. Partial tiles stay.
    pub(crate) fn append(&mut self, leaf: Vec<u8>) -> (Checkpoint, String) {
        self.leaves.push(leaf);
        let entries = self.leaves.chunks(256).last().unwrap();
        let packed: Vec<u8> = entries
            .iter()
            .flat_map(|entry| {
                [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry].concat()
            })
            .collect();
        let size = self.leaves.len() as u64;
        let (tile, width) = ((size - 1) / TILE_WIDTH, (size - 1) % TILE_WIDTH + 1);
        self.write(&format!("log/{}", tile_path("entries", tile, width)), packed);
        let mut nodes: Vec<Digest> = self.leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        let mut level = 0;
        while !nodes.is_empty() {
            let last = nodes.chunks(256).last().unwrap();
            let bytes: Vec<u8> = last.iter().flat_map(|node| *node.as_bytes()).collect();
            let path = tile_path(
                &level.to_string(),
                (nodes.len() as u64 - 1) / TILE_WIDTH,
                last.len() as u64,
            );
            self.write(&format!("log/{path}"), bytes);
            nodes = nodes.chunks_exact(256).map(fold).collect();
            level += 1;
        }
        let fetch = |path: &str| self.fetch(path);
        let root = Tree::new(size, &fetch).root().unwrap();
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root };
        let text = self.checkpoint(&checkpoint);
        self.write(layout::CHECKPOINT, &text);
        (checkpoint, text)
    }

    /// How many leaves the log has.
    pub(crate) fn leaf_count(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// The same store and keys, with a log that starts anew.
    pub(crate) fn fork(mut self) -> Self {
        self.leaves.clear();
        self
    }

    /// An empty store of who has the same release key, and a log of their own.
    pub(crate) fn with_another_log(self) -> Self {
        let (folder, log_key) = (TempDir::new().unwrap(), KeyPair::generate_ecdsa_p256().unwrap());
        let mut thief =
            Self { folder, log_key, leaves: Vec::new(), index: empty_index(), key: self.key };
        thief.write_keys();
        thief
    }

    /// Signs a checkpoint with the log key.
    pub(crate) fn checkpoint(&self, checkpoint: &Checkpoint) -> String {
        let signature = self.log_key.sign(checkpoint.body().as_bytes()).unwrap();
        checkpoint.to_text(&self.log_key(), signature.as_bytes())
    }

    /// Publishes a release and lists it in the index, which is not written yet.
    pub(crate) fn release(&mut self, number: u32, previous: Option<ReleaseRef>) -> ReleaseRef {
        let release = name(number);
        for (_, path, content) in FILES {
            self.write_artifact(&release, path, content);
        }
        self.write_sums(&release);
        self.write(&layout::document(&release, "kubeadm.yaml"), KUBEADM);
        Blobs::new().write(self);
        let configuration = [
            ("projects/etcd-io/etcd/project.yaml", &b"name: etcd-io/etcd\n"[..]),
            ("release-manifests/crds/releases.yaml", b"kind: CustomResourceDefinition\n"),
        ];
        let input = b"the source of etcd";
        self.write(&layout::input(&hash::sha256(input)), input);
        for (_, content) in configuration {
            self.write(&layout::input(&hash::sha256(content)), content);
        }
        self.write(&layout::crd("releases.yaml"), configuration[1].1);
        let plan = canonical::to_vec(&plan(&configuration, input)).unwrap();
        self.write(&layout::plan(&release), &plan);
        let digest = hash::sha256(&plan);
        let claim = claim(number, digest, previous.clone());
        self.write(&layout::claim(&release), claim);
        let manifest = manifest(&release, digest, previous);
        self.write_provenances(&manifest);
        let manifest = yaml::to_string(&manifest).unwrap();
        self.write_signed(&layout::manifest(&release), &manifest);
        let digest = hash::sha256(manifest.as_bytes());
        let subject = Subject::new(release.to_string(), &digest);
        let attestation = canonical::to_vec(&self.attest(subject)).unwrap();
        self.write(
            &format!("{}/rebuild.sigstore.json", layout::attestations(&release)),
            attestation,
        );
        let reference = ReleaseRef { number, digest };
        self.index.status.releases.push(reference.clone());
        self.index.status.latest_release = number;
        reference
    }

    /// Signs the index and writes it, its bundle first.
    pub(crate) fn write_index(&mut self) {
        let text = yaml::to_string(&self.index).unwrap();
        let bundle = canonical::to_vec(&self.sign(text.as_bytes())).unwrap();
        self.write(&layout::channel_bundle(&hash::sha256(text.as_bytes())), bundle);
        let channel = self.index.spec.channel.clone().unwrap_or_else(|| "1-20".parse().unwrap());
        self.write(&layout::channel_index(&channel), text);
    }

    fn write_provenances(&mut self, manifest: &Release) {
        for component in &manifest.status.components {
            let bundle = self.attest_statement(&provenance(manifest, component));
            let file = layout::provenance(&manifest.name(), &component.name);
            let bundle = canonical::to_vec(&bundle).unwrap();
            self.write(&file, &bundle);
            if component.assets.iter().any(|asset| asset.kind == AssetKind::Image) {
                for content in [&bundle[..], EMPTY_CONTENT] {
                    self.write(&layout::image_blob(&hash::sha256(content)), content);
                }
            }
        }
    }

    fn write_artifact(&self, release: &ReleaseName, path: &str, content: &[u8]) {
        let file = layout::artifact(release, path);
        let hashes = hash::hashes_of(content).unwrap();
        let base = path.rsplit('/').next().unwrap();
        self.write(&file, content);
        self.write(&format!("{file}.sha256"), format!("{}  {base}\n", hashes.sha256.hex()));
        self.write(&format!("{file}.sha512"), format!("{}  {base}\n", hashes.sha512));
    }

    fn write_sums(&self, release: &ReleaseName) {
        let mut folders: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (_, path, content) in FILES {
            let file = layout::artifact(release, path);
            let (folder, base) = file.rsplit_once('/').unwrap();
            let hashes = hash::hashes_of(content).unwrap();
            let (short, long) = folders.entry(folder.to_owned()).or_default();
            short.extend([hashes.sha256.hex().as_str(), "  ", base, "\n"]);
            long.extend([hashes.sha512.to_string().as_str(), "  ", base, "\n"]);
        }
        for (folder, (short, long)) in folders {
            self.write(&format!("{folder}/SHA256SUM"), short);
            self.write(&format!("{folder}/SHA512SUM"), long);
        }
    }
}

fn fold(tile: &[Digest]) -> Digest {
    if let [node] = tile {
        return *node;
    }
    let (left, right) = tile.split_at(tile.len() / 2);
    node_hash(&fold(left), &fold(right))
}

pub(crate) fn trusted_root(log_key: &PublicKey) -> String {
    serde_json::to_string_pretty(&json!({
        "certificateAuthorities": [],
        "ctlogs": [],
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "timestampAuthorities": [],
        "tlogs": [{
            "baseUrl": format!("https://{ORIGIN}/kdistro"),
            "hashAlgorithm": "SHA2_256",
            "logId": { "keyId": base64(log_key.fingerprint().as_bytes()) },
            "publicKey": {
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "rawBytes": base64(log_key.as_der()),
                "validFor": { "start": "2025-01-01T00:00:00Z" },
            },
        }],
    }))
    .unwrap()
}

fn empty_index() -> ReleaseChannel {
    ReleaseChannel {
        api_version: API_VERSION.to_owned(),
        kind: "ReleaseChannel".to_owned(),
        metadata: Metadata { creation_timestamp: None, name: "1-20".to_owned() },
        spec: ChannelSpec {
            channel: Some(name(1).channel),
            environment: Some("test".to_owned()),
            sns_topic_arn: None,
        },
        status: ChannelStatus {
            active: true,
            latest_release: 0,
            releases: Vec::new(),
            supported_until: None,
            withheld: Vec::new(),
            yanked: Vec::new(),
        },
    }
}
