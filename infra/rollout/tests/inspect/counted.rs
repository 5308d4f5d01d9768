//! A look reads nothing of a store again for what it has read already.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    sync::Mutex,
};

use kdistro_formats::Digest;
use kdistro_rollout::inspect::{Containers, Image, Inspector, Running};
use kdistro_verify::{
    check::TrustSource,
    store::{Directory, Reader},
    trust::PublicKey,
};

use crate::{processes::strangers, started::store};

/// A store that counts how often each file is opened.
struct Counted(Directory, Mutex<BTreeMap<String, usize>>);

impl Reader for Counted {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        *self.1.lock().unwrap().entry(name.to_owned()).or_default() += 1;
        self.0.open(name)
    }

    fn list(&self, prefix: &str) -> io::Result<Option<Vec<String>>> {
        self.0.list(prefix)
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

/// How often each file is opened where these processes and so many images are strange.
fn opened(names: &[&str], images: u8) -> BTreeMap<String, usize> {
    let reader = Counted(Directory::new(store()), Mutex::default());
    let key = fs::read_to_string(store().join("keys/release.pub")).unwrap();
    let source = TrustSource { key: PublicKey::from_pem(&key).unwrap(), trusted_root: None };
    let platform = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    let platform = platform.parse().unwrap();
    let inspector = Inspector { reader: &reader, source: &source, platform, known: &[] };
    let image = |number| Image {
        names: vec!["r/etcd:1".to_owned()],
        digest: Digest::from_bytes([number; 32]),
        containers: 1,
    };
    let images = (0..images).map(image).collect();
    let containers = Containers { images, imageless: Vec::new() };
    let (_folder, runs) = strangers(names);
    let below = Some(runs.id().parse().unwrap());
    let running = Running { below, containers: Some(Ok(&containers)) };
    let report = inspector.inspect((&"1-20-1".parse().unwrap(), None), running).unwrap();
    assert_eq!(report.findings.len(), names.len() + containers.images.len());
    reader.1.into_inner().unwrap()
}

#[test]
fn what_more_is_strange_costs_no_more_of_the_store() {
    let one = opened(&["etcd"], 1);
    assert_eq!(one, opened(&["etcd", "etcdctl", "kubelet"], 3));
    assert_eq!(one["kubernetes-1-20/kubernetes-1-20-6.yaml"], 1, "{one:?}");
}
