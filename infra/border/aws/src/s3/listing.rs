//! Lists what is in a bucket, page by page: a part of a list is never taken for all of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::AfterDeserializationInterceptorContextRef,
    },
    error::BoxError,
    operation::list_objects_v2::ListObjectsV2Output,
};

use super::{S3Store, is_own};
use crate::error::AwsError;

/// The most pages that are read: with the 1000 names that S3 puts in one, ten million names.
const PAGES: usize = 10_000;
/// The most bytes of names that are kept.
const LARGEST: usize = 512 << 20;
/// What the element of a page ends with.
///
/// Source: Amazon S3, `ListObjectsV2`, "Response Syntax".
const END: &[u8] = b"</ListBucketResult>";

impl S3Store {
    /// Lists the names that begin with `prefix`, sorted.
    pub(super) async fn names(&self, prefix: &str) -> Result<Vec<String>, AwsError> {
        let root = self.key("");
        let unfit = |what| AwsError::unfit(self.target(), what);
        let (mut names, mut token) = (Names::default(), None);
        for _ in 0..PAGES {
            let end = End::default();
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.settings.bucket)
                .prefix(self.key(prefix))
                .set_continuation_token(token.clone())
                .customize()
                .interceptor(end.clone());
            let page = request.send().await;
            let page = page.map_err(|error| AwsError::of(self.target(), &error))?;
            check(&page, &end).map_err(|what| unfit(what.to_owned()))?;
            names.take(&page, &root, LARGEST).map_err(unfit)?;
            token = next(&page, token.as_deref()).map_err(|what| unfit(what.to_owned()))?;
            if token.is_none() {
                names.found.sort();
                return Ok(names.found);
            }
        }
        Err(unfit(format!("lists more than {PAGES} pages of names")))
    }
}

/// What was listed so far.
#[derive(Default)]
struct Names {
    found: Vec<String>,
    /// Bytes of memory that they take.
    kept: usize,
}

impl Names {
    /// Takes the names of a page, of those below `root`.
    fn take(
        &mut self,
        page: &ListObjectsV2Output,
        root: &str,
        largest: usize,
    ) -> Result<(), String> {
        let keys = page.contents().iter().filter_map(|object| object.key());
        let names = keys.filter_map(|key| key.strip_prefix(root)).filter(|name| !is_own(name));
        for name in names {
            self.kept += size_of::<String>() + name.len();
            if self.kept > largest {
                return Err(format!("lists names of more than {largest} bytes"));
            }
            self.found.push(name.to_owned());
        }
        Ok(())
    }
}

/// Refuses a page that is not whole: the reader of XML takes what breaks off between two elements for its end.
fn check(page: &ListObjectsV2Output, end: &End) -> Result<(), &'static str> {
    if !end.was_there() || page.contents().iter().any(|object| object.key().is_none()) {
        return Err("breaks off its list of names");
    }
    let found = page.contents().len() + page.common_prefixes().len();
    match page.key_count() {
        Some(said) if usize::try_from(said) != Ok(found) => {
            Err("lists another number of names than it says")
        }
        _ => Ok(()),
    }
}

/// Returns where the next page is; `None` where this was the last.
fn next(page: &ListObjectsV2Output, asked: Option<&str>) -> Result<Option<String>, &'static str> {
    let token = page.next_continuation_token().filter(|token| !token.is_empty());
    match (page.is_truncated(), token) {
        (Some(false), _) => Ok(None),
        (Some(true), Some(token)) if Some(token) == asked => {
            Err("names one page of its list as the next of itself")
        }
        (Some(true), Some(token)) => Ok(Some(token.to_owned())),
        (Some(true), None) => Err("does not say where its list of names goes on"),
        (None, _) => Err("does not say whether its list of names goes on"),
    }
}

/// Learns whether the end of a page was sent.
#[derive(Clone, Debug, Default)]
struct End(Arc<AtomicBool>);

impl End {
    fn was_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for End {
    fn name(&self) -> &'static str {
        "End"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let page = context.response().body().bytes().unwrap_or_default();
        self.0.store(page.trim_ascii_end().ends_with(END), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::Object;

    use super::*;

    #[test]
    fn names_take_no_more_memory_than_they_may() {
        let object = |key: &str| Object::builder().key(key).build();
        let keys = ["root/a", "root/.kdistro-store/lock", "other", "root/b"];
        let page = ListObjectsV2Output::builder();
        let page = page.set_contents(Some(keys.map(object).to_vec())).build();
        let mut names = Names::default();
        let room = 3 * (size_of::<String>() + 1);
        names.take(&page, "root/", room).unwrap();
        assert_eq!(names.found, ["a", "b"]);
        let error = names.take(&page, "root/", room).unwrap_err();
        assert_eq!(error, format!("lists names of more than {room} bytes"));
        assert_eq!(names.found.len(), 3);
    }
}
