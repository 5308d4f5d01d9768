//! Reports go into a bucket, and a fleet is read out of it, whoever's S3 it is.
#![cfg(test)]
#![cfg(feature = "aws")]
#![expect(clippy::disallowed_methods, reason = "the program is tested")]

#[expect(dead_code, reason = "other tests use the rest")]
mod amazon;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use amazon::cli;
use kdistro_testbed::{Server, Testbed};
use serde_json::Value;

/// Clusters that report into one bucket.
struct Scene {
    bed: Testbed,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let bed = Testbed::start(&[Server::Aws, Server::Moto]).unwrap();
        let scene = Self { bed, folder: tempfile::tempdir().unwrap() };
        fs::create_dir(scene.folder.path().join("keys")).unwrap();
        scene
    }

    fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
        command.args(arguments).current_dir(folder).env_clear().envs(self.bed.environment());
        command.output().unwrap()
    }

    /// Writes a report of a cluster, and learns its key.
    fn report(&self, cluster: &str, endpoint: &str) -> Output {
        let folder = self.folder.path().join(cluster);
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "cluster: {cluster}\nstore: store\nkey: release.pub\nenvironment: local\nchannel: 1-20\n\
             report: {{bucket: \"s3://reports/eu\", endpoint: \"{endpoint}\"}}\n\
             driver: {{exec: {{command: [\"true\"]}}}}\nstate: state\n"
        );
        fs::write(folder.join("rollout.yaml"), text).unwrap();
        let output = self.run(&folder, &["report"]);
        if output.status.success() {
            let key = self.folder.path().join(format!("keys/{cluster}.pub"));
            fs::write(key, &output.stdout).unwrap();
        }
        output
    }

    /// Asks for all clusters; returns the answer.
    fn fleet(&self, endpoint: &str, code: i32) -> Value {
        let place = ["--reports", "s3://reports/eu", "--endpoint", endpoint];
        let rest = ["--json", "fleet", "--keys", "keys", "--seen", "seen.json"];
        let output = self.run(self.folder.path(), &[&rest[..], &place].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn reports_of_a_bucket_are_a_fleet() {
    let scene = Scene::new();
    for endpoint in [scene.bed.aws(), scene.bed.moto()] {
        let _ = fs::remove_file(scene.folder.path().join("seen.json"));
        for cluster in ["east", "west"] {
            let refused = scene.report(cluster, endpoint);
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{said}");
            assert!(said.contains("cannot use the bucket of reports"), "{said}");
        }
        let said = scene.fleet(endpoint, 2);
        assert!(said.to_string().contains("bucket `reports`"), "{said}");
        let s3 = |arguments: &[&str]| {
            cli(&scene.bed, &[&["--endpoint-url", endpoint, "s3api"], arguments].concat())
        };
        s3(&["create-bucket", "--bucket", "reports"]);
        for cluster in ["east", "west", "west"] {
            let output = scene.report(cluster, endpoint);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let fleet = scene.fleet(endpoint, 0);
        let names: Vec<_> =
            fleet["clusters"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["east", "west"]);
        let object = ["head-object", "--bucket", "reports", "--key", "eu/west.json"];
        let head = s3(&object);
        assert_eq!(
            (&head["CacheControl"], &head["ContentType"]),
            (&"no-cache".into(), &"application/json".into())
        );
        // What is deeper is another fleet's; what is another's in the place of a report is said.
        let copy = |from: &str, to: &str| {
            let source = format!("reports/{from}");
            s3(&["copy-object", "--bucket", "reports", "--copy-source", &source, "--key", to]);
        };
        copy("eu/east.json", "eu/other/south.json");
        copy("eu/east.json", "eu/west.json");
        copy("eu/east.json", "eu/south.json");
        let fleet = scene.fleet(endpoint, 1);
        let ignored: Vec<_> = fleet["ignored"].as_array().unwrap().iter().collect();
        assert_eq!(ignored.len(), 2, "{fleet}");
        assert_eq!(fleet["clusters"].as_array().unwrap().len(), 1, "{fleet}");
        assert_eq!(fleet["missing"], serde_json::json!(["west"]));
    }
}
