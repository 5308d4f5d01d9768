//! Doubles of a cloud: S3, SNS, SQS and KMS of one server, and a registry with a password.
#![cfg(feature = "aws")]

mod credential_helper;
mod faults;
mod release;

use std::{fs, path::Path, process::Command};

use kdistro_formats::announcement::{Announcement, Envelope};
use kdistro_testbed::{PASSWORD, Server, Testbed, USER};
use serde_json::Value;
use sigstore_types::encoding::SignatureBytes;

use crate::run::{must, path, program};

/// A cloud, and a folder for what its users keep.
struct Cloud {
    bed: Testbed,
    folder: tempfile::TempDir,
}

/// What an environment has in the cloud.
struct Environment {
    name: String,
    topic: String,
    release: String,
    log: String,
}

impl Cloud {
    fn start(folder: tempfile::TempDir) -> Self {
        let bed = Testbed::start(&[Server::Aws, Server::Registry]).unwrap();
        let login = SignatureBytes::from_bytes(format!("{USER}:{PASSWORD}").as_bytes()).to_base64();
        let login = format!(r#"{{"auths": {{"{}": {{"auth": "{login}"}}}}}}"#, bed.registry());
        fs::create_dir_all(folder.path().join("docker")).unwrap();
        fs::write(folder.path().join("docker/config.json"), login).unwrap();
        Self { bed, folder }
    }

    /// Amazon's own program, which judges what lies in the cloud; returns the JSON that it prints.
    #[track_caller]
    fn aws(&self, arguments: &[&str]) -> Value {
        let mut aws = program(kdistro_testbed::tool("aws").unwrap());
        aws.env_clear().env("PATH", path()).env("HOME", self.folder.path());
        let aws = self.enter(&mut aws).args(["--output", "json", "--endpoint-url", self.bed.aws()]);
        let printed = must(aws.args(arguments));
        if printed.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&printed).unwrap()
        }
    }

    /// Gives a program the addresses and passwords of the cloud.
    fn enter<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("DOCKER_CONFIG", self.folder.path().join("docker")).envs(self.bed.environment())
    }

    /// Makes a bucket, two keys, a topic and a queue that hears it.
    fn environment(&self, name: &str) -> Environment {
        let bucket = format!("{name}-releases");
        self.aws(&["s3api", "create-bucket", "--bucket", &bucket]);
        let key = || {
            let made = ["kms", "create-key", "--key-usage", "SIGN_VERIFY"];
            let made = self.aws(&[&made[..], &["--key-spec", "ECC_NIST_P256"]].concat());
            made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
        };
        let topic = self.aws(&["sns", "create-topic", "--name", &bucket]);
        let topic = topic["TopicArn"].as_str().unwrap().to_owned();
        let queue = self.aws(&["sqs", "create-queue", "--queue-name", &bucket]);
        let queue = queue["QueueUrl"].as_str().unwrap().to_owned();
        let asked = ["sqs", "get-queue-attributes", "--attribute-names", "QueueArn", "--queue-url"];
        let arn = self.aws(&[&asked[..], &[&queue]].concat());
        let arn = arn["Attributes"]["QueueArn"].as_str().unwrap();
        let subscribe = ["sns", "subscribe", "--protocol", "sqs", "--topic-arn", &topic];
        self.aws(&[&subscribe[..], &["--notification-endpoint", arn]].concat());
        Environment { name: name.to_owned(), topic, release: key(), log: key() }
    }

    /// The file of an environment, with everything below a prefix, whose S3 is reached at an address.
    fn file(&self, environment: &Environment, prefix: &str, s3: &str) -> String {
        let Environment { name, topic, release, log } = environment;
        let (aws, registry, ca) = (self.bed.aws(), self.bed.registry(), self.bed.ca());
        let ca = ca.display();
        format!(
            "name: {name}\n\
             development: true # a part of the channel is cut here\n\
             store: {{s3: {{bucket: {name}-releases, prefix: '{prefix}', region: us-east-1, endpoint: '{s3}', pathStyle: true}}}}\n\
             registry: {{oci: {{address: 'https://{registry}', prefix: {name}, ca: '{ca}'}}}}\n\
             announcements: {{sns: {{topic: '{topic}', endpoint: '{aws}'}}}}\n\
             keys: {{kms: {{region: us-east-1, endpoint: '{aws}', release: {release}, log: {log}}}}}\n\
             logOrigin: log.{name}.kdistro.dev\n"
        )
    }

    /// Takes all messages that are in a queue.
    fn receive(&self, environment: &str) -> Vec<Announcement> {
        let name = format!("{environment}-releases");
        let queue = self.aws(&["sqs", "get-queue-url", "--queue-name", &name]);
        let queue = queue["QueueUrl"].as_str().unwrap();
        let receive = ["sqs", "receive-message", "--max-number-of-messages", "10", "--queue-url"];
        let received = self.aws(&[&receive[..], &[queue]].concat());
        let messages = received["Messages"].as_array().cloned().unwrap_or_default();
        messages
            .iter()
            .map(|message| {
                let handle = message["ReceiptHandle"].as_str().unwrap();
                self.aws(&[
                    "sqs",
                    "delete-message",
                    "--queue-url",
                    queue,
                    "--receipt-handle",
                    handle,
                ]);
                let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
                assert_eq!(body["MessageAttributes"]["environment"]["Value"], *environment);
                let message = body["Message"].as_str().unwrap();
                // A double may hand over the texts for all protocols; Amazon picks the one for queues.
                let envelope: Result<Envelope, _> = serde_json::from_str(message);
                let default = envelope.map_or_else(|_| message.to_owned(), |texts| texts.default);
                serde_json::from_str(&default).unwrap()
            })
            .collect()
    }

    /// What lies in a bucket under a name, as Amazon's own program reads it.
    fn object(&self, environment: &str, name: &str) -> Vec<u8> {
        let file = self.folder.path().join("object");
        let bucket = format!("{environment}-releases");
        let get = ["s3api", "get-object", "--bucket", &bucket, "--key", name];
        self.aws(&[&get[..], &[file.to_str().unwrap()]].concat());
        fs::read(file).unwrap()
    }

    /// The public address of a store's root in a bucket.
    fn address(&self, environment: &str, prefix: &str) -> String {
        let bucket = format!("{}/{environment}-releases", self.bed.aws());
        if prefix.is_empty() { bucket } else { format!("{bucket}/{prefix}") }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}
