//! A double of Amazon's services, by Amazon's own program and by ours.

use std::{fs, process::Command};

use kdistro_aws::{Aws, AwsSettings};
use kdistro_testbed::{Testbed, tool};
use serde_json::Value;

/// Asks Amazon's own program, which prints JSON.
#[expect(
    clippy::disallowed_methods,
    reason = "a double of Amazon's is asked by Amazon's own program"
)]
pub(crate) fn cli(bed: &Testbed, arguments: &[&str]) -> Value {
    let mut aws = Command::new(tool("aws").unwrap());
    aws.args(["--output", "json", "--endpoint-url", bed.aws()]).args(arguments);
    let output = aws.env_clear().envs(bed.environment()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Calls it with credentials of the test's own.
pub(crate) fn aws(bed: &Testbed) -> Aws {
    let credentials = bed.folder().join("test-credentials");
    fs::write(&credentials, "[default]\naws_access_key_id = A\naws_secret_access_key = B\n")
        .unwrap();
    let settings = AwsSettings {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(bed.aws().to_owned()),
        credentials: Some(credentials),
        ..AwsSettings::default()
    };
    Aws::load(&settings).unwrap()
}
