//! What the tests of a release came to before it was offered: a signed statement about its manifest.

use kdistro_formats::{
    Digest, layout,
    statement::{STATEMENT, Statement, Subject, TEST_RESULT, TestResult},
};
use kdistro_verify::{
    bundle::{self, BundleError},
    trust::Trust,
};

use super::{PublishError, Published, Publisher};
use crate::journal::Journal;

impl Publisher<'_> {
    /// What the tests of a published release came to, where that was written down.
    pub fn tested(&self, published: &Published) -> Result<Option<TestResult>, PublishError> {
        let document = layout::test_result(&published.name);
        let Some(bundle) = self.store.read(&document)? else { return Ok(None) };
        let read = read(&bundle, &published.digest, &self.signing.trust()?);
        read.map(Some).map_err(|source| PublishError::Forged { document, source })
    }

    /// Signs and publishes what the tests of a published release came to; returns what is published: the first result
    /// stays.
    pub fn write_tested(
        &self,
        published: &Published,
        result: &TestResult,
        journal: &mut Journal,
    ) -> Result<TestResult, PublishError> {
        let Published { name, digest, .. } = published;
        let document = layout::test_result(name);
        let statement = Statement {
            kind: STATEMENT.to_owned(),
            subject: vec![Subject::new(name.resource() + ".yaml", digest)],
            predicate_type: TEST_RESULT.to_owned(),
            predicate: result.clone(),
        };
        let trust = self.signing.trust()?;
        let is_good = |bundle: &[u8]| read(bundle, digest, &trust).map(drop);
        let sign = |journal: &mut Journal| self.signing.statement(&statement, journal);
        let bundle = self.keep_signed((&document, &document), journal, (is_good, sign))?;
        read(&bundle, digest, &trust).map_err(|source| PublishError::Forged { document, source })
    }
}

/// Reads what the tests of the release with this manifest came to.
pub fn read(bundle: &[u8], manifest: &Digest, trust: &Trust) -> Result<TestResult, BundleError> {
    let (statement, _) = bundle::verify_statement::<TestResult>(bundle, trust)?;
    let expect = |field, found: String, expected: &str| {
        Err(BundleError::Field { field, found, expected: expected.to_owned() })
    };
    if statement.predicate_type != TEST_RESULT {
        return expect("predicateType", statement.predicate_type, TEST_RESULT);
    }
    if !statement.is_about(manifest) {
        let found = format!("{:?}", statement.subject);
        return expect("subject", found, &manifest.to_string());
    }
    Ok(statement.predicate)
}
