//! A subscriber's own Job as a check: it holds when the Job completes.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kdistro_formats::yaml;
use kube::{
    Api,
    api::{ListParams, PostParams},
};

use crate::{
    ChecksError,
    error::Fault,
    result::{CheckResult, Outcome},
    scene::{Scene, state, wrong},
};

/// How large a Job's file may be.
const LARGEST: u64 = 1024 * 1024;
/// How many pods' logs are kept, the newest.
const PODS: usize = 3;

/// A Job's file that was read.
pub(crate) struct JobFile {
    file: PathBuf,
    job: Job,
}

impl JobFile {
    /// Reads a file with one Job, in YAML or JSON.
    pub(crate) fn read(file: &Path) -> Result<Self, ChecksError> {
        let failed = |source| ChecksError::File { file: file.to_owned(), source };
        let size = std::fs::metadata(file).map_err(failed)?.len();
        if size > LARGEST {
            let why = format!("it has {size} bytes, and may have {LARGEST}");
            return Err(failed(std::io::Error::other(why)));
        }
        let text = std::fs::read_to_string(file).map_err(failed)?;
        let job = yaml::from_str(&text);
        let job = job.map_err(|source| ChecksError::Job { file: file.to_owned(), source })?;
        Ok(Self { file: file.to_owned(), job })
    }

    /// What the check is called.
    pub(crate) fn name(&self) -> String {
        format!("job {}", self.file.display())
    }

    /// Runs the Job in the namespace of the run, and keeps the logs of its pods where it fails.
    pub(crate) async fn run(&self, scene: &Scene, limit: Duration) -> CheckResult {
        let (begin, mut name) = (Instant::now(), None);
        let awaited = tokio::time::timeout(limit, self.wait(scene, &mut name)).await;
        let outcome = match awaited {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(fault)) => Outcome::Failed(fault.to_string()),
            Err(_) => Outcome::Failed(format!(
                "it did not end within {} s: {}",
                limit.as_secs(),
                scene.waiting()
            )),
        };
        let output = match (&outcome, name) {
            (Outcome::Failed(_), Some(name)) => logs(scene, &name).await,
            _ => String::new(),
        };
        CheckResult::new(&self.name(), outcome, begin.elapsed().as_secs_f64(), &output)
    }

    /// Makes the Job and waits until it has completed; `name` becomes the name that it was given.
    async fn wait(&self, scene: &Scene, name: &mut Option<String>) -> Result<(), Fault> {
        let mut job = self.job.clone();
        // Others may have a Job of the same name.
        let own = job.metadata.name.take();
        job.metadata.generate_name = Some(format!("{}-", own.as_deref().unwrap_or("job")));
        job.metadata.namespace = None;
        let jobs: Api<Job> = scene.api();
        let made =
            jobs.create(&PostParams::default(), &job).await?.metadata.name.unwrap_or_default();
        *name = Some(made.clone());
        scene
            .until("the Job has not completed", async || {
                let status = jobs.get(&made).await?.status.unwrap_or_default();
                let is_so = |kind: &str| {
                    let conditions = status.conditions.iter().flatten();
                    conditions.into_iter().find(|one| one.type_ == kind && one.status == "True")
                };
                if let Some(failed) = is_so("Failed") {
                    let said = failed.message.as_deref().or(failed.reason.as_deref());
                    return Err(wrong(format!("the Job failed: {}", said.unwrap_or_default())));
                }
                let counts =
                    [status.active, status.succeeded, status.failed].map(Option::unwrap_or_default);
                let [active, succeeded, failed] = counts;
                let said = format!("{active} pods run, {succeeded} succeeded, {failed} failed");
                Ok(is_so("Complete").is_none().then_some(said))
            })
            .await
    }
}

/// How the pods of a Job are, and the ends of their logs.
async fn logs(scene: &Scene, job: &str) -> String {
    let of_job = ListParams::default().labels(&format!("job-name={job}"));
    let pods: Api<Pod> = scene.api();
    let Ok(mut pods) = pods.list(&of_job).await else { return String::new() };
    pods.items.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
    let mut all = String::new();
    for pod in pods.items.iter().rev().take(PODS).rev() {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let _ = writeln!(all, "pod {name}: {}", state(pod));
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        for container in containers {
            let log = scene.log(name, Some(&container.name)).await;
            all.push_str(&log.unwrap_or_else(|error| format!("no log: {error}\n")));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<JobFile, ChecksError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("job.yaml");
        std::fs::write(&file, text).unwrap();
        JobFile::read(&file)
    }

    #[test]
    fn a_job_is_read_and_nothing_else() {
        let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: smoke}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: a, image: \"x:1.30\"}]\n";
        let read_job = read(job).unwrap();
        assert_eq!(read_job.job.metadata.name.as_deref(), Some("smoke"));
        assert!(read_job.name().ends_with("job.yaml"));
        let pod = read(&job.replace("kind: Job", "kind: Pod")).err().unwrap();
        assert!(matches!(pod, ChecksError::Job { .. }), "{pod}");
        assert!(read("a: [").is_err());
        assert!(read(&" ".repeat(2 * 1024 * 1024)).is_err());
        let missing = JobFile::read(Path::new("/nowhere/job.yaml")).err().unwrap();
        assert_eq!(missing.to_string(), "cannot read /nowhere/job.yaml");
    }
}
