//! What is kept is told to a topic of SNS, and reaches a queue that subscribes to it, whoever else cannot be told.
#![cfg(test)]
#![cfg(feature = "aws")]
#![expect(clippy::disallowed_methods, reason = "the program is tested")]

#[expect(dead_code, reason = "other tests use the rest")]
mod amazon;

use std::{fs, process::Command};

use amazon::cli;
use kdistro_testbed::{Server, Testbed};
use serde_json::Value;

#[test]
fn what_is_kept_is_told_to_a_topic_though_a_webhook_has_no_secret() {
    let bed = Testbed::start(&[Server::Aws]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let topic = cli(&bed, &["sns", "create-topic", "--name", "clusters"]);
    let topic = topic["TopicArn"].as_str().unwrap();
    let queue = cli(&bed, &["sqs", "create-queue", "--queue-name", "queue"]);
    let queue = queue["QueueUrl"].as_str().unwrap();
    let query = ["sqs", "get-queue-attributes", "--attribute-names", "QueueArn", "--queue-url"];
    let arn = cli(&bed, &[&query[..], &[queue]].concat());
    let arn = arn["Attributes"]["QueueArn"].as_str().unwrap();
    let subscribe = ["sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs"];
    cli(&bed, &[&subscribe[..], &["--notification-endpoint", arn]].concat());
    let store = kdistro_testbed::releases().unwrap().join("store");
    let text = format!(
        "cluster: dev\nstore: {0}\nkey: {0}/keys/release.pub\nenvironment: local\nchannel: 1-20\n\
         notify: {{sns: {{topic: \"{topic}\", endpoint: \"{1}\"}}, webhook: {{address: \"http://localhost:9/\", secret: none}}}}\n\
         driver: {{exec: {{command: [\"true\"]}}}}\nstate: state\n",
        store.display(),
        bed.aws()
    );
    fs::write(folder.path().join("rollout.yaml"), text).unwrap();
    let mut once = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
    once.arg("once").current_dir(folder.path()).env_clear().envs(bed.environment());
    let output = once.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let notes: Vec<_> = said.lines().filter(|line| line.starts_with("note: ")).collect();
    let [note] = notes[..] else { panic!("{said}") };
    assert!(note.starts_with("note: webhook: cannot read the secret "), "{said}");
    assert!(output.status.success(), "{said}");
    let receive = ["sqs", "receive-message", "--wait-time-seconds", "5", "--queue-url", queue];
    let received = cli(&bed, &receive);
    let envelope: Value =
        serde_json::from_str(received["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(envelope["Subject"], "dev: 1-20-2 kept");
    assert_eq!(envelope["MessageAttributes"]["what"]["Value"], "kept");
    let notice: Value = serde_json::from_str(envelope["Message"].as_str().unwrap()).unwrap();
    assert_eq!((&notice["cluster"], &notice["release"]), (&"dev".into(), &"1-20-2".into()));
}
