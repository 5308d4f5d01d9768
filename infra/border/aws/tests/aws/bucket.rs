//! A bucket of a test.

use aws_sdk_s3::{Client, config::Builder};
use kdistro_aws::{S3Settings, S3Store};

use crate::bed::{BED, Bed, unique};

/// A bucket, and a client of its own beside the store's.
pub(crate) struct Bucket {
    pub(crate) url: &'static str,
    pub(crate) name: String,
    client: Client,
}

/// The settings of most tests.
pub(crate) fn settings(bucket: &str, prefix: &str) -> S3Settings {
    let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
    S3Settings { bucket, prefix, path_style: true, conditional_writes: true }
}

impl Bucket {
    pub(crate) fn new(url: &'static str) -> Self {
        let config = Builder::from(&Bed::client(url)).force_path_style(true).build();
        let (client, name) = (Client::from_conf(config), unique("bucket"));
        BED.wait(client.create_bucket().bucket(&name).send()).unwrap();
        Self { url, name, client }
    }

    /// The store behind a proxy.
    pub(crate) fn store_at(&self, url: &str) -> S3Store {
        S3Store::new(&BED.aws_at(url), settings(&self.name, ""))
    }

    pub(crate) fn store(&self, prefix: &str) -> S3Store {
        S3Store::new(&BED.aws_at(self.url), settings(&self.name, prefix))
    }

    /// Begins an upload in parts that nobody will end.
    pub(crate) fn begin(&self, key: &str) {
        let request = self.client.create_multipart_upload().bucket(&self.name).key(key);
        BED.wait(request.send()).unwrap();
    }

    /// Counts uploads in parts that were not ended.
    pub(crate) fn uploads(&self) -> usize {
        let request = self.client.list_multipart_uploads().bucket(&self.name);
        BED.wait(request.send()).unwrap().uploads().len()
    }
}
