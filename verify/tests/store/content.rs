//! What the small store holds: files, plan, claim, manifest and provenances, without any signature.

use std::collections::BTreeMap;

use kdistro_formats::{
    Digest, ReleaseName, canonical,
    claim::{Claim, Header},
    layout,
    plan::{
        self, AssemblyRules, ConfigurationFile, Content, Image, ImageConfig, Input, InputKind,
        Licensing, OutputRef, Plan, PlannedAsset, PlatformImage,
    },
    release::{
        API_VERSION, Asset, AssetArchive, AssetImage, AssetKind, Component, Document, MediaType,
        Metadata, PlanRef, Release, ReleaseRef, ReleaseSpec, ReleaseStatus,
    },
    statement::{
        BUILD_TYPE, BuildDefinition, BuildMetadata, Builder, ExternalParameters,
        InternalParameters, LOCAL_BUILDER, PROVENANCE, Provenance, ResourceDescriptor, RunDetails,
        STATEMENT, Statement, Subject,
    },
};
use kdistro_verify::hash;

use crate::image::{ARCHITECTURES, Blobs, annotations};

const SITE: &str = "https://releases.example";
const DATE: &str = "2026-08-01T00:00:00Z";

pub(crate) fn name(number: u32) -> ReleaseName {
    format!("1-20-{number}").parse().unwrap()
}

/// The files of every release, by component and path below `artifacts/`.
pub(crate) const FILES: [(&str, &str, &[u8]); 3] = [
    ("cni-plugins", "plugins/v1.1.1/cni-plugins-linux-amd64-v1.1.1.tar.gz", b"plugins, packed"),
    ("etcd", "etcd/v3.4.23/bin/linux/amd64/etcd", b"a program that keeps keys and values"),
    ("etcd", "etcd/v3.4.23/etcd-linux-amd64-v3.4.23.tar.gz", b"the same program, packed"),
];

pub(crate) fn claim(number: u32, plan: Digest, previous: Option<ReleaseRef>) -> Vec<u8> {
    let header = Header {
        channel: name(number).channel,
        number,
        previous,
        build_repo_commit: None,
        date: DATE.to_owned(),
    };
    canonical::to_vec(&Claim { plan, header }).unwrap()
}

fn media_type(path: &str) -> MediaType {
    if path.ends_with(".tar.gz") { MediaType::Gzip } else { MediaType::Program }
}

fn asset_name(component: &str, path: &str) -> String {
    if component == "etcd" && path.contains("/bin/") {
        "bin/linux/amd64/etcd".to_owned()
    } else {
        path.rsplit('/').next().unwrap().to_owned()
    }
}

pub(crate) fn plan(configuration: &[(&str, &[u8])], input: &[u8]) -> Plan {
    let file = |(path, content): &(&str, &[u8])| ConfigurationFile {
        path: (*path).to_owned(),
        sha256: hash::sha256(content),
        size: content.len() as u64,
    };
    Plan {
        schema: plan::SCHEMA.to_owned(),
        channel: name(1).channel,
        platforms: vec!["linux/amd64".parse().unwrap()],
        whole: true,
        configuration: configuration.iter().map(file).collect(),
        inputs: vec![Input {
            sha256: hash::sha256(input),
            size: input.len() as u64,
            kind: InputKind::Source,
            origin: "git+https://git.example/etcd@1".to_owned(),
        }],
        trees: BTreeMap::new(),
        steps: Vec::new(),
        components: vec![planned("etcd", input), planned("cni-plugins", input)],
        assembly: AssemblyRules {
            rules: "1".to_owned(),
            gzip: "none".to_owned(),
            licenses: "none".to_owned(),
        },
    }
}

fn planned(component: &str, input: &[u8]) -> plan::Component {
    let output = || OutputRef { step: Digest::from_bytes([1; 32]), name: "etcd".to_owned() };
    let files = FILES.iter().filter(|(of, _, _)| *of == component);
    let files = files.map(|(_, path, _)| PlannedAsset {
        name: asset_name(component, path),
        description: format!("{component} for linux/amd64"),
        media_type: media_type(path),
        os: "linux".to_owned(),
        arch: vec!["amd64".to_owned()],
        path: (*path).to_owned(),
        content: Content::File { output: output() },
    });
    let image = (component == "etcd").then(planned_image);
    plan::Component {
        name: component.to_owned(),
        project: format!("owner/{component}").parse().unwrap(),
        tag: "v1.0.0".parse().unwrap(),
        commit: "1".repeat(40).parse().unwrap(),
        source_tree: "2".repeat(40).parse().unwrap(),
        patches: Vec::new(),
        toolchain: "go1.26.3".to_owned(),
        repository: format!("https://git.example/{component}"),
        commit_time: 1,
        licensing: Licensing {
            source: hash::sha256(input),
            files: Vec::new(),
            toolchain: hash::sha256(input),
            modules: None,
            exceptions: Vec::new(),
            packages: Vec::new(),
        },
        assets: files.chain(image).collect(),
    }
}

fn planned_image() -> PlannedAsset {
    PlannedAsset {
        name: "etcd-image".to_owned(),
        description: "etcd container image".to_owned(),
        media_type: MediaType::Index,
        os: "linux".to_owned(),
        arch: ARCHITECTURES.map(ToOwned::to_owned).to_vec(),
        path: "owner/etcd".to_owned(),
        content: Content::Image(Image {
            repository: "owner/etcd".to_owned(),
            created: 1,
            flat: None,
            annotations: annotations(),
            platforms: ARCHITECTURES.map(planned_platform).to_vec(),
        }),
    }
}

fn planned_platform(arch: &str) -> PlatformImage {
    let text = |text: &str| text.to_owned();
    PlatformImage {
        platform: format!("linux/{arch}").parse().unwrap(),
        base: Some(Digest::from_bytes([7; 32])),
        entries: Vec::new(),
        config: ImageConfig {
            entrypoint: vec![text("/usr/local/bin/etcd")],
            command: vec![text("--help")],
            user: text("65535:65535"),
            env: [(text("PATH"), text("/usr/local/bin")), (text("A"), text("1"))].into(),
            working_directory: text("/var/lib/etcd"),
            ports: vec![text("2380/tcp"), text("2379/tcp")],
            labels: annotations(),
        },
    }
}

/// The manifest of a release as it is published.
pub(crate) fn manifest(
    release: &ReleaseName,
    plan: Digest,
    previous: Option<ReleaseRef>,
) -> Release {
    let component = |component: &str| Component {
        name: component.to_owned(),
        git_tag: "v1.0.0".to_owned(),
        git_commit: Some("1".repeat(40).parse().unwrap()),
        source_tree: Some("2".repeat(40).parse().unwrap()),
        patches: Vec::new(),
        toolchain: Some("go1.26.3".to_owned()),
        assets: FILES
            .iter()
            .filter(|(of, _, _)| *of == component)
            .map(|(_, path, content)| asset(release, component, path, content))
            .chain((component == "etcd").then(|| image_asset(release)))
            .collect(),
    };
    Release {
        api_version: API_VERSION.to_owned(),
        kind: "Release".to_owned(),
        metadata: Metadata { creation_timestamp: None, name: release.resource() },
        spec: ReleaseSpec {
            build_repo_commit: None,
            channel: release.channel.clone(),
            number: release.number,
            plan: Some(PlanRef { uri: format!("{SITE}/{}", layout::plan(release)), sha256: plan }),
            previous,
        },
        status: ReleaseStatus {
            date: Some(DATE.to_owned()),
            components: vec![component("cni-plugins"), component("etcd")],
            documents: vec![document(release)],
        },
    }
}

fn asset(release: &ReleaseName, component: &str, path: &str, content: &[u8]) -> Asset {
    let hashes = hash::hashes_of(content).unwrap();
    Asset {
        name: asset_name(component, path),
        kind: AssetKind::Archive,
        media_type: Some(media_type(path)),
        description: Some(format!("{component} for linux/amd64")),
        os: "linux".to_owned(),
        arch: vec!["amd64".to_owned()],
        size: Some(hashes.size),
        archive: Some(AssetArchive {
            uri: format!("{SITE}/{}", layout::artifact(release, path)),
            sha256: hashes.sha256,
            sha512: hashes.sha512,
        }),
        image: None,
    }
}

fn image_asset(release: &ReleaseName) -> Asset {
    let image = Blobs::new();
    Asset {
        name: "etcd-image".to_owned(),
        kind: AssetKind::Image,
        media_type: Some(MediaType::Index),
        description: Some("etcd container image".to_owned()),
        os: "linux".to_owned(),
        arch: ARCHITECTURES.map(ToOwned::to_owned).to_vec(),
        size: Some(image.size()),
        archive: None,
        image: Some(AssetImage {
            uri: format!("registry.example/owner/etcd:v1.0.0-{release}"),
            image_digest: Some(image.index),
        }),
    }
}

/// What `kubeadm.yaml` holds.
pub(crate) const KUBEADM: &[u8] = b"kind: ClusterConfiguration\n";

fn document(release: &ReleaseName) -> Document {
    let hashes = hash::hashes_of(KUBEADM).unwrap();
    Document {
        name: "kubeadm.yaml".to_owned(),
        uri: format!("{SITE}/{}", layout::document(release, "kubeadm.yaml")),
        sha256: hashes.sha256,
        sha512: hashes.sha512,
        size: hashes.size,
    }
}

/// The provenance of a component as it is published.
pub(crate) fn provenance(manifest: &Release, component: &Component) -> Statement<Provenance> {
    let subject = |asset: &Asset| Subject::new(&*asset.name, &asset.digest().unwrap());
    let input = Subject::new("etcd", &hash::sha256(b"the source of etcd"));
    Statement {
        kind: STATEMENT.to_owned(),
        subject: component.assets.iter().map(subject).collect(),
        predicate_type: PROVENANCE.to_owned(),
        predicate: Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: ExternalParameters {
                    release: manifest.name().to_string(),
                    component: component.name.clone(),
                    plan: manifest.spec.plan.as_ref().unwrap().sha256,
                },
                internal_parameters: InternalParameters::default(),
                resolved_dependencies: vec![ResourceDescriptor {
                    name: input.name,
                    digest: input.digest,
                    ..ResourceDescriptor::default()
                }],
            },
            run_details: RunDetails {
                builder: Builder { id: LOCAL_BUILDER.to_owned(), version: [].into() },
                metadata: BuildMetadata::default(),
                byproducts: Vec::new(),
            },
        },
    }
}
