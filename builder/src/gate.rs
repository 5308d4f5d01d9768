//! The release gate: a published release is tried before its channel offers it. What came out is signed, and a release
//! that fails is withheld.

mod serve;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use kdistro_formats::{
    layout,
    plan::Plan,
    statement::{ResourceDescriptor, TestResult, TestVerdict},
};
use kdistro_gate::{Candidate, Tested};
pub use kdistro_gate::{Gate, GateError};
use kdistro_verify::trust::TrustError;

use self::serve::Served;
use crate::{
    config::channel::Channel,
    context::{Context, ContextError},
    home::write_whole,
    journal::Journal,
    place::Place,
    publish::{PublishError, Published, Publisher},
};

/// The component that has upstream's conformance tests.
const TESTS: &str = "kubernetes-test";
/// The component that is the resolver of a cluster.
const DNS: &str = "coredns";
/// How many of the tests that failed stand in a channel's index by name.
const NAMED: usize = 3;

/// Why a release could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum TryError {
    /// The gate could not tell.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// There is no place for what is in between.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The key is not one.
    #[error("the release key")]
    Key(#[from] TrustError),
    /// The key cannot be handed over.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store cannot be handed out to the gate's programs.
    #[error("cannot hand the store out on this machine")]
    Serve(#[source] io::Error),
    /// What came out cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Finds the gate's programs, beside this one.
pub fn find(context: &Context) -> Result<Gate, GateError> {
    Gate::find(&context.surroundings.programs, context.home.gate())
}

/// Where a release stands that has reached the gate.
pub struct AtGate<'a> {
    /// What a command works with.
    pub context: &'a Context,
    /// Where it is published.
    pub place: &'a Place,
    /// By whom.
    pub publisher: &'a Publisher<'a>,
    /// Its channel.
    pub channel: &'a Channel,
}

impl AtGate<'_> {
    /// Says what the tests of a published release came to, and withholds it where one failed. They run where there is a
    /// `gate`, and nothing was written down by an earlier run: that stands. What was tried without a node is told and not
    /// written down, so that somebody who can may try all of it.
    ///
    /// # Errors
    ///
    /// When it cannot be told; then nothing is written down, and the next run tries again.
    pub fn judge(
        &self,
        gate: Option<&Gate>,
        (published, plan): (&Published, &Plan),
        journal: &mut Journal,
    ) -> Result<Option<TestResult>, TryError> {
        let result = self.tested(gate, (published, plan), journal)?;
        if let Some(failed) = result.as_ref().filter(|it| it.result == TestVerdict::Failed) {
            let topic = self.place.target.topic();
            let reason = reason(failed);
            self.publisher.abandon(&published.name, &reason, (self.channel, topic), journal)?;
        }
        Ok(result)
    }

    /// As [`AtGate::judge`], and withholds nothing: for a release that is offered.
    pub fn tested(
        &self,
        gate: Option<&Gate>,
        (published, plan): (&Published, &Plan),
        journal: &mut Journal,
    ) -> Result<Option<TestResult>, TryError> {
        let known = self.publisher.tested(published)?;
        let (None, Some(gate)) = (&known, gate) else { return Ok(known) };
        self.context.reporter.stage("gate");
        let tested = self.try_it(gate, published, plan)?;
        self.tell(&tested);
        let result = result(&tested);
        if result.result == TestVerdict::Warned {
            return Ok(Some(result));
        }
        Ok(Some(self.publisher.write_tested(published, &result, journal)?))
    }

    fn try_it(&self, gate: &Gate, published: &Published, plan: &Plan) -> Result<Tested, TryError> {
        let scratch = self.context.scratch("gate")?;
        let key = scratch.path().join("release.pub");
        let pem = self.place.keys.release_key()?.to_pem();
        write_whole(&key, pem.as_bytes())
            .map_err(|source| TryError::Write { path: key.clone(), source })?;
        let store = &self.place.store;
        let served = match store.folder() {
            Some(_) => None,
            None => Some(Served::start(Arc::clone(store)).map_err(TryError::Serve)?),
        };
        let store = served.as_ref().map_or_else(|| store.place(), Served::url);
        let candidate = Candidate {
            name: &published.name.to_string(),
            manifest: &format!("{store}/{}", layout::manifest(&published.name)),
            key: &key,
            has_tests: plan.components.iter().any(|component| component.name == TESTS),
            has_dns: plan.components.iter().any(|component| component.name == DNS),
        };
        let mut say = |line: &str| self.context.reporter.progress(line);
        Ok(gate.judge(&candidate, &mut say)?)
    }

    /// Tells people what was not so.
    fn tell(&self, tested: &Tested) {
        let reporter = &self.context.reporter;
        if !tested.node {
            reporter
                .note("the gate tried only the control plane: a node that runs pods needs root");
        }
        for (what, tests) in [("not tried", &tested.skipped), ("failed", &tested.failed)] {
            for (name, why) in tests {
                reporter.note(format!("{what}: {name}: {why}"));
            }
        }
    }
}

/// What is to be said of the tests. Without a node not enough was tried for more than a warning.
fn result(tested: &Tested) -> TestResult {
    let names = |tests: &[(String, String)]| tests.iter().map(|(name, _)| name.clone()).collect();
    let result = match (tested.failed.is_empty(), tested.node) {
        (false, _) => TestVerdict::Failed,
        (true, false) => TestVerdict::Warned,
        (true, true) => TestVerdict::Passed,
    };
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut annotations = BTreeMap::from([
        fact("kdistro", env!("CARGO_PKG_VERSION")),
        fact("node", if tested.node { "yes" } else { "no" }),
    ]);
    annotations.extend(tested.kubernetes.as_deref().map(|version| fact("kubernetes", version)));
    let skipped = tested.skipped.iter().map(|(name, why)| format!("{name}: {why}"));
    let skipped = skipped.collect::<Vec<_>>().join("; ");
    annotations.extend((!skipped.is_empty()).then(|| fact("skipped", &skipped)));
    let name = "devcluster".to_owned();
    TestResult {
        result,
        configuration: vec![ResourceDescriptor { name, annotations, ..Default::default() }],
        url: None,
        passed_tests: tested.passed.clone(),
        warned_tests: if result == TestVerdict::Warned {
            names(&tested.skipped)
        } else {
            Vec::new()
        },
        failed_tests: names(&tested.failed),
    }
}

/// Why a release is withheld.
fn reason(result: &TestResult) -> String {
    let failed = &result.failed_tests;
    let named = failed.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match failed.len().checked_sub(NAMED) {
        None | Some(0) => format!("failed at the gate: {named}"),
        Some(more) => format!("failed at the gate: {named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[&str]) -> Vec<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), "why".to_owned())).collect()
    }

    fn tested(node: bool, skipped: &[&str], failed: &[&str]) -> TestResult {
        result(&Tested {
            node,
            kubernetes: Some("v1.20.2".to_owned()),
            passed: vec!["pod-runs".to_owned()],
            skipped: pairs(skipped),
            failed: pairs(failed),
        })
    }

    #[test]
    fn only_what_was_tried_with_a_node_has_passed() {
        let passed = tested(true, &["dns"], &[]);
        assert_eq!(passed.result, TestVerdict::Passed);
        assert_eq!(passed.warned_tests, <[&str; 0]>::default());
        assert_eq!(passed.configuration[0].annotations["skipped"], "dns: why");
        let warned = tested(false, &["pod-runs"], &[]);
        assert_eq!((warned.result, &*warned.warned_tests[0]), (TestVerdict::Warned, "pod-runs"));
        for node in [true, false] {
            let failed = tested(node, &[], &["a"]);
            assert_eq!((failed.result, &*failed.failed_tests[0]), (TestVerdict::Failed, "a"));
        }
    }

    #[test]
    fn a_reason_names_the_first_failures_and_counts_the_others() {
        let reason = |failed: &[&str]| reason(&tested(true, &[], failed));
        assert_eq!(reason(&["a"]), "failed at the gate: a");
        assert_eq!(reason(&["a", "b", "c"]), "failed at the gate: a, b, c");
        assert_eq!(reason(&["a", "b", "c", "d", "e"]), "failed at the gate: a, b, c and 2 more");
    }
}
