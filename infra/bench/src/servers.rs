//! The servers that subjects publish to, and what went over the wire to them.

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use kdistro_aws::{Aws, AwsSettings, SnsAnnouncer};
use kdistro_testbed::{Fault, Proxy, Request, Server, Testbed, tool};

use crate::{
    error::{BenchError, at, doing},
    peer,
};

/// How AWS is pointed at another place.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// A new, empty bucket on a double of S3 of its own, which ends when this is dropped.
pub(crate) struct Bucket {
    bed: Testbed,
}

impl Bucket {
    /// Its name.
    pub(crate) const NAME: &str = "bench";

    /// Starts the double and makes the bucket.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let bucket = Self { bed: start(&[Server::Aws])? };
        peer::run(bucket.aws()?.args(["s3api", "create-bucket", "--bucket", Self::NAME]))?;
        Ok(bucket)
    }

    /// The double's address.
    pub(crate) fn url(&self) -> &str {
        self.bed.aws()
    }

    /// AWS's own command line, pointed at the double.
    pub(crate) fn aws(&self) -> Result<Command, BenchError> {
        amazon(&self.bed)
    }

    /// Points a program that speaks to AWS at the double, and at nothing of the user's own account.
    pub(crate) fn point(&self, command: Command) -> Command {
        point(&self.bed, command)
    }

    /// Points a program at the double through a proxy.
    pub(crate) fn point_through(&self, wire: &Wire, command: Command) -> Command {
        let mut command = self.point(command);
        command.env(ENDPOINT, wire.url());
        command
    }

    /// The sizes of the objects whose names contain a text, by name.
    pub(crate) fn stored(&self, part: &str) -> Result<BTreeMap<String, u64>, BenchError> {
        let mut list = self.aws()?;
        list.args(["s3api", "list-objects-v2", "--bucket", Self::NAME, "--output", "json"]);
        let printed = peer::run(list.args(["--query", "Contents[].[Key, Size]"]))?;
        let found = serde_json::from_slice::<Vec<(String, u64)>>(&printed);
        let found = found.map_err(doing("read what the bucket holds"))?;
        Ok(found.into_iter().filter(|(name, _)| name.contains(part)).collect())
    }
}

/// A topic whose messages come to a queue, on a double of SNS and SQS of its own, which ends when this is dropped.
pub(crate) struct Topic {
    bed: Testbed,
    arn: String,
}

impl Topic {
    /// Its name, and the queue's.
    const NAME: &str = "bench";

    /// Starts the double, and makes the topic and the queue.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let bed = start(&[Server::Aws])?;
        let ask = |words: &[&str]| {
            let mut aws = amazon(&bed)?;
            // SQS is not found by the variable alone.
            let options = ["--output", "text", "--endpoint-url", bed.aws()];
            peer::run(aws.args(options).args(words))
        };
        let arn = ask(&["sns", "create-topic", "--name", Self::NAME])?;
        let arn = String::from_utf8_lossy(&arn).trim().to_owned();
        ask(&["sqs", "create-queue", "--queue-name", Self::NAME])?;
        let queue = arn.replace(":sns:", ":sqs:");
        let subscribe = ["sns", "subscribe", "--protocol", "sqs", "--topic-arn", &arn];
        ask(&[&subscribe[..], &["--notification-endpoint", &queue]].concat())?;
        Ok(Self { bed, arn })
    }

    /// Where a subscriber's settings say that it hears: at the queue, of this topic alone.
    pub(crate) fn heard(&self) -> String {
        format!(
            "sqs: {{queue: {}, endpoint: \"{}\", topics: [\"{}\"]}}",
            Self::NAME,
            self.bed.aws(),
            self.arn
        )
    }

    /// Points a program that speaks to AWS at the double, and at nothing of the user's own account.
    pub(crate) fn point(&self, command: Command) -> Command {
        point(&self.bed, command)
    }

    /// Who tells the topic.
    pub(crate) fn announcer(&self) -> Result<SnsAnnouncer, BenchError> {
        let credentials = self.bed.folder().join("credentials");
        let text = "[default]\naws_access_key_id = bench\naws_secret_access_key = bench\n";
        fs::write(&credentials, text).map_err(at(&credentials))?;
        let settings = AwsSettings {
            region: self.arn.split(':').nth(3).map(str::to_owned),
            endpoint: Some(self.bed.aws().to_owned()),
            credentials: Some(credentials),
            ..AwsSettings::default()
        };
        let aws = Aws::load(&settings).map_err(doing("speak to the double of SNS"))?;
        Ok(SnsAnnouncer::new(&aws, self.arn.as_str()))
    }
}

/// AWS's own command line, pointed at a double.
fn amazon(bed: &Testbed) -> Result<Command, BenchError> {
    let program = tool("aws").map_err(doing("install the AWS command line"))?;
    Ok(point(bed, peer::program(program)))
}

/// Points a program that speaks to AWS at a double, and at nothing of the user's own account.
fn point(bed: &Testbed, mut command: Command) -> Command {
    command.env_remove("AWS_PROFILE").env_remove("AWS_SESSION_TOKEN");
    command.envs(bed.environment());
    command
}

/// Starts servers, which end when the testbed is dropped.
pub(crate) fn start(servers: &[Server]) -> Result<Testbed, BenchError> {
    Testbed::start(servers).map_err(doing("start the servers"))
}

/// The way to a server, on which each request is written down.
pub(crate) struct Wire {
    proxy: Proxy,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    /// Stands before a server; a request is refused while `is_refused` says so.
    pub(crate) fn to(
        upstream: &str,
        is_refused: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) -> Result<Self, BenchError> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&seen);
        let proxy = Proxy::start(upstream, move |request| {
            let line = format!("{} {}", request.method, request.path);
            written.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            if is_refused(request) { Fault::Status(403, String::new()) } else { Fault::None }
        });
        Ok(Self { proxy: proxy.map_err(doing("start a proxy"))?, seen })
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        self.proxy.url()
    }

    /// The requests since it was asked last, such as `GET /path?query`.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
