//! Upstream's conformance specs, run by the `e2e.test` of the release: a subset, each spec a result.
//!
//! Source: Kubernetes, `test/conformance/testdata/conformance.yaml` and `test/e2e/framework/test_context.go`.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    junit,
    process::{self, Ended, Program},
    result::{CheckResult, NO_DNS, Outcome},
};

/// Every spec that is run, one a line.
const SPECS: &str = include_str!("conformance/specs.txt");
/// What results of specs begin with.
const PREFIX: &str = "conformance";

/// How upstream's specs are run.
#[derive(Clone, Debug)]
pub struct Conformance {
    /// The release's `e2e.test`.
    pub e2e_test: PathBuf,
    /// The kubectl that some specs use.
    pub kubectl: PathBuf,
    /// Where the images of specs are, without their names; upstream's own registries where none is given.
    pub registry: Option<String>,
    /// How long all of them may take.
    pub limit: Duration,
}

/// A spec of upstream's that is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its full name, without the groups before it.
    pub name: &'static str,
    /// Whether it needs a resolver for pods.
    pub needs_dns: bool,
}

/// The specs that are run.
pub fn specs() -> Vec<Spec> {
    let lines = SPECS.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let spec = |line: &'static str| match line.strip_prefix("dns ") {
        Some(name) => Spec { name, needs_dns: true },
        None => Spec { name: line, needs_dns: false },
    };
    lines.map(spec).collect()
}

impl Conformance {
    /// Runs the specs; one more result says so where the program itself failed.
    pub(crate) async fn run(&self, kubeconfig: &Path, has_dns: bool) -> Vec<CheckResult> {
        let begin = Instant::now();
        let failed = |why: String, output: &str| {
            let seconds = begin.elapsed().as_secs_f64();
            CheckResult::new(PREFIX, Outcome::Failed(format!("e2e.test: {why}")), seconds, output)
        };
        let (documents, ended) = match self.carry_out(kubeconfig, has_dns).await {
            Ok(carried_out) => carried_out,
            Err(error) => return vec![failed(format!("it cannot be run: {error}"), "")],
        };
        if documents.is_empty() {
            let why = ended.why_not(self.limit);
            return vec![failed(why.unwrap_or("it wrote no results".to_owned()), &ended.output)];
        }
        let read: Result<Vec<_>, _> = documents.iter().map(|text| junit::read(text)).collect();
        let mut results = match read {
            Ok(found) => chosen(&found.concat(), has_dns),
            Err(error) => {
                return vec![failed(format!("it wrote no JUnit: {error}"), &ended.output)];
            }
        };
        // A failure that no spec has is the program's own: it could not begin, or took too long.
        let is_told = results.iter().any(|one| matches!(one.outcome, Outcome::Failed(_)));
        if let Some(why) = ended.why_not(self.limit).filter(|_| ended.status.is_none() || !is_told)
        {
            results.push(failed(why, &ended.output));
        }
        results
    }

    /// The documents that the program wrote, and how it ended.
    async fn carry_out(
        &self,
        kubeconfig: &Path,
        has_dns: bool,
    ) -> io::Result<(Vec<String>, Ended)> {
        let folder = tempfile::tempdir()?;
        let specs = specs().into_iter().filter(|spec| has_dns || !spec.needs_dns);
        let names: Vec<_> = specs.map(|spec| spec.name).collect();
        let mut arguments = self.arguments(kubeconfig, folder.path());
        arguments.push(format!("--ginkgo.focus={}", focus(&names)));
        let ended = self.start(folder.path(), &arguments, self.limit).await?;
        Ok((found(folder.path())?, ended))
    }

    fn arguments(&self, kubeconfig: &Path, folder: &Path) -> Vec<String> {
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        vec![
            flag("kubeconfig", kubeconfig),
            flag("kubectl-path", &self.kubectl),
            flag("report-dir", folder),
            flag("e2e-output-dir", folder),
            "--provider=skeleton".to_owned(),
            "--disable-log-dump".to_owned(),
            "--dump-logs-on-failure=false".to_owned(),
            // Minutes of waiting for a cluster that was checked already would only hide what is wrong.
            "--node-schedulable-timeout=1m".to_owned(),
            "--system-pods-startup-timeout=1m".to_owned(),
        ]
    }

    async fn start(
        &self,
        folder: &Path,
        arguments: &[String],
        limit: Duration,
    ) -> io::Result<Ended> {
        let list = folder.join("registries.yaml");
        let mut environment = Vec::new();
        if let Some(registry) = &self.registry {
            fs::write(&list, registries(registry))?;
            environment.push(("KUBE_TEST_REPO_LIST", list.as_os_str()));
        }
        process::run(&Program { path: &self.e2e_test, arguments, environment, limit }).await
    }
}

/// Where the program finds its images, all in one registry.
///
/// Source: Kubernetes, `test/utils/image/manifest.go`, `RegistryList`. Newer releases leave some of the fields out, and ignore
/// those that they do not know.
fn registries(registry: &str) -> String {
    let fields = ["promoterE2eRegistry", "gcRegistry", "e2eRegistry"];
    let quoted = serde_json::Value::from(registry);
    fields.iter().fold(String::new(), |mut all, field| {
        let _ = writeln!(all, "{field}: {quoted}");
        all
    })
}

/// The `JUnit` documents in a folder.
fn found(folder: &Path) -> io::Result<Vec<String>> {
    let mut documents = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_xml = path.extension().is_some_and(|kind| kind == "xml");
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if is_xml && name.starts_with("junit") {
            let mut text = String::new();
            File::open(&path)?.take(junit::LARGEST).read_to_string(&mut text)?;
            documents.push(text);
        }
    }
    Ok(documents)
}

/// A regular expression that finds exactly the specs of these names, whatever groups they are in.
///
/// White space is any: some names have two blanks where others have one.
fn focus(names: &[&str]) -> String {
    let pattern = |name: &&str| {
        let words: Vec<_> = name.split_whitespace().map(escape).collect();
        words.join(r"\s+")
    };
    let patterns: Vec<_> = names.iter().map(pattern).collect();
    format!(r"\] ({})", patterns.join("|"))
}

/// Source: Go, package `regexp`, `QuoteMeta`.
fn escape(word: &str) -> String {
    word.chars().fold(String::new(), |mut all, c| {
        if r"\.+*?()|[]{}^$".contains(c) {
            all.push('\\');
        }
        all.push(c);
        all
    })
}

/// A spec's name without the groups before it.
fn bare(name: &str) -> String {
    let mut rest = name.trim();
    while let Some((group, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        if group != "It" && group != "k8s.io" && !group.starts_with("sig-") {
            break;
        }
        rest = after.trim_start();
    }
    rest.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The result of each chosen spec, out of all that the program knows.
fn chosen(found: &[CheckResult], has_dns: bool) -> Vec<CheckResult> {
    let result = |spec: Spec| {
        let titled = format!("{PREFIX}: {}", spec.name);
        if spec.needs_dns && !has_dns {
            return CheckResult::skipped(&titled, NO_DNS);
        }
        let Some(one) = found.iter().find(|one| bare(&one.name) == spec.name) else {
            return CheckResult::skipped(&titled, "the e2e.test of this release has no such spec");
        };
        let outcome = match &one.outcome {
            Outcome::Skipped(why) if why.is_empty() => {
                Outcome::Skipped("it was not run".to_owned())
            }
            other => other.clone(),
        };
        CheckResult::new(&titled, outcome, one.seconds, &one.output)
    };
    specs().into_iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_listed_once_and_sorted() {
        let specs = specs();
        assert!(specs.len() > 10 && specs.iter().filter(|spec| spec.needs_dns).count() == 1);
        let sorted = specs.is_sorted_by_key(|spec| (spec.needs_dns, spec.name));
        assert!(sorted, "{specs:#?}");
        let whole =
            |spec: &Spec| spec.name.ends_with("[Conformance]") && bare(spec.name) == spec.name;
        assert!(specs.iter().all(whole), "{specs:#?}");
    }

    #[test]
    fn a_program_that_tells_nothing_of_specs_fails_itself() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = |e2e_test: &str| {
            let conformance = Conformance {
                e2e_test: e2e_test.into(),
                kubectl: "kubectl".into(),
                registry: None,
                limit: Duration::from_mins(1),
            };
            let results = runtime.block_on(conformance.run(Path::new("kubeconfig"), true));
            assert_eq!(results.len(), 1, "{results:?}");
            results[0].line().split_once("conformance: ").unwrap().1.to_owned()
        };
        assert_eq!(run("/bin/false"), "e2e.test: it ended with exit status: 1");
        assert_eq!(run("/bin/true"), "e2e.test: it wrote no results");
        assert!(run("/nowhere").starts_with("e2e.test: it cannot be run: No such file"));
    }

    #[test]
    fn a_name_is_the_same_in_every_release() {
        let name = "Services should serve a basic endpoint from pods [Conformance]";
        let old = "[sig-network] Services should serve a basic endpoint from pods  [Conformance]";
        let new =
            "[It] [sig-network] Services should serve a basic endpoint from pods [Conformance]";
        assert_eq!(bare(old), name);
        assert_eq!(bare(new), name);
        assert_eq!(bare("[k8s.io] [sig-node] Pods a [k8s.io] b"), "Pods a [k8s.io] b");
        assert_eq!(bare("[Serial] x"), "[Serial] x");
    }

    #[test]
    fn the_focus_takes_names_literally() {
        let expected = r"\] (a\s+\(b,0644\)\s+\[C\]|d\.\s+e)";
        assert_eq!(focus(&["a (b,0644) [C]", "d. e"]), expected);
    }

    #[test]
    fn every_chosen_spec_is_reported_also_one_that_is_missing() {
        let first = specs()[0].name;
        let why = Outcome::Failed("why".to_owned());
        let found = [
            CheckResult::new(&format!("[sig-x] {first}"), why.clone(), 1.0, "log"),
            CheckResult::skipped("[sig-x] others", ""),
        ];
        let results = chosen(&found, false);
        assert_eq!(results.len(), specs().len());
        assert_eq!(results[0].outcome, why);
        assert_eq!(results[0].name, format!("conformance: {first}"));
        let skipped = |result: &CheckResult, end: &str| {
            assert!(
                matches!(&result.outcome, Outcome::Skipped(why) if why.contains(end)),
                "{result:?}"
            );
        };
        skipped(&results[1], "no such spec");
        skipped(results.last().unwrap(), "no resolver");
        skipped(chosen(&found, true).last().unwrap(), "no such spec");
    }
}
