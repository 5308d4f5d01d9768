//! The servers of a test program, and what its tests ask of them besides.

use std::{
    error::Error,
    fmt::Debug,
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use kdistro_aws::{Aws, AwsSettings};
use kdistro_testbed::{Server, Testbed, tool};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What no error may ever show, nor any part of it.
pub(crate) const PLANTED: &str = "planted";

/// Servers, credentials and a folder to work in.
pub(crate) struct Bed {
    pub(crate) servers: Testbed,
    pub(crate) folder: TempDir,
    runtime: Runtime,
}

/// Numbers what tests make, so that they can share the servers.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Returns a name that no other test has.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}-{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

impl Bed {
    pub(crate) fn start(servers: &[Server]) -> Self {
        let servers = Testbed::start(servers).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let credentials = "[default]\naws_access_key_id = AKIDPLANTED\n\
             aws_secret_access_key = planted-secret-key\naws_session_token = planted-session-token\n";
        fs::write(folder.path().join("credentials"), credentials).unwrap();
        Self { servers, folder, runtime: Runtime::new().unwrap() }
    }

    /// Settings for one of the servers, or a proxy before it.
    pub(crate) fn settings(&self, url: &str) -> AwsSettings {
        AwsSettings {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(url.to_owned()),
            credentials: Some(self.credentials()),
            attempts: Some(2),
            ..AwsSettings::default()
        }
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    pub(crate) fn aws_at(&self, url: &str) -> Aws {
        Aws::load(&self.settings(url)).unwrap()
    }

    /// The configuration of a client beside the one under test.
    pub(crate) fn client(url: &str) -> SdkConfig {
        let credentials = Credentials::new("AKIDPLANTED", "x", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(url)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// Waits for an answer to such a client.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Asks Amazon's own program, which prints JSON, about what the first double holds unless another one is named.
    pub(crate) fn cli(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.cli_text(arguments);
        if text.is_empty() { serde_json::Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    pub(crate) fn cli_text(&self, arguments: &[&str]) -> String {
        let output = Command::new(tool("aws").unwrap())
            // By its variable alone it does not find the double of SQS.
            .args(["--output", "json", "--endpoint-url", self.servers.aws()])
            .args(arguments)
            .env_clear()
            .envs(self.servers.environment())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The servers that all tests share.
pub(crate) static BED: LazyLock<Bed> =
    LazyLock::new(|| Bed::start(&[Server::Aws, Server::Moto, Server::Registry]));

/// Returns an error with all that led to it, as people read it. Nothing planted may stand in it at any depth.
#[track_caller]
pub(crate) fn told<E: Error + 'static>(error: &E) -> String {
    let (mut text, mut next): (String, Option<&(dyn Error + 'static)>) =
        (String::new(), Some(error));
    while let Some(error) = next {
        let separator = if text.is_empty() { "" } else { ": " };
        text = format!("{text}{separator}{error}");
        next = error.source();
    }
    hides_secrets(&text);
    hides_secrets(error);
    text
}

/// Checks that nothing planted is shown.
#[track_caller]
pub(crate) fn hides_secrets(shown: &(impl Debug + ?Sized)) {
    for text in [format!("{shown:?}"), format!("{shown:#?}")] {
        assert!(!text.contains(PLANTED), "a secret is shown: {text}");
    }
}
