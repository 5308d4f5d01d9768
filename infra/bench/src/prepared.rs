//! What all subjects start from: a build repository, a home folder, and a part of a channel that was built there.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kdistro::{
    build::{self, Records, StepRecord},
    config::{INPUTS, Workspace},
    content::ContentStore,
    context::read_files,
    home::{Home, Lock},
    plan::{self, BUILD_PLATFORM, Selection},
};
use kdistro_formats::{
    ChannelName, Digest,
    plan::{Plan, Step},
};

use crate::{
    error::{BenchError, at, doing},
    peer, roles,
};

/// The self-contained channel, and its two small components.
const CHANNEL: &str = "1-20";
const PROJECTS: [&str; 2] = ["etcd-io/etcd", "containernetworking/plugins"];

/// What the channel's Linux programs run on.
pub(crate) const PLATFORMS: [&str; 2] = [BUILD_PLATFORM, "linux/arm64"];

/// Where subjects work.
pub(crate) struct Prepared {
    /// The top of the build repository.
    pub(crate) repository: PathBuf,
    /// The home folder.
    pub(crate) home: Home,
    /// Its content store.
    pub(crate) content: ContentStore,
    /// The plan of the part that is measured.
    pub(crate) plan: Plan,
    /// Keeps other runs from removing our scratch folders.
    _at_work: Lock,
}

impl Prepared {
    /// Builds what is measured, unless it was built in this home before, and reads its plan.
    pub(crate) fn open(directory: &Path, home: &Path) -> Result<Self, BenchError> {
        let mut folders = directory.ancestors();
        let repository = folders.find(|folder| folder.join(INPUTS).is_file()).ok_or_else(|| {
            BenchError::Unexpected(format!("{} is no build repository", directory.display()))
        })?;
        let home = Home::open(home).map_err(doing("open the home folder"))?;
        let content = ContentStore::new(home.content());
        let prepared = Self {
            _at_work: home.enter().map_err(doing("enter the home folder"))?,
            plan: plan_of(repository, &PROJECTS, &[BUILD_PLATFORM])?,
            repository: repository.to_owned(),
            home,
            content,
        };
        let mut build = prepared.kdistro(prepared.home.path(), "build");
        // Its progress is worth seeing: the first time it fetches and compiles.
        peer::run_visibly(build.stdout(Stdio::null()))?;
        Ok(prepared)
    }

    /// `kdistro COMMAND` for the part that is measured, in a home folder of choice.
    pub(crate) fn kdistro(&self, home: &Path, command: &str) -> Command {
        let mut kdistro = self.on_channel(home, command);
        for project in PROJECTS {
            kdistro.args(["--component", project]);
        }
        kdistro.args(["--platform", BUILD_PLATFORM]);
        kdistro
    }

    /// `kdistro COMMAND` for everything that was built in this home, in a home folder of choice.
    pub(crate) fn kdistro_of_all(&self, home: &Path, command: &str) -> Result<Command, BenchError> {
        let all = [&PLATFORMS[..], &[BUILD_PLATFORM]].map(|platforms| self.built(platforms));
        let [both, one] = all;
        let (plan, platforms) = match (both?, one?) {
            (both, one) if both.components.len() < one.components.len() => (one, &PLATFORMS[..1]),
            (both, _) => (both, &PLATFORMS[..]),
        };
        let mut kdistro = self.on_channel(home, command);
        let projects = plan.components.iter().map(|component| component.project.as_str());
        for project in projects.collect::<BTreeSet<_>>() {
            kdistro.args(["--component", project]);
        }
        for platform in platforms {
            kdistro.args(["--platform", platform]);
        }
        Ok(kdistro)
    }

    fn on_channel(&self, home: &Path, command: &str) -> Command {
        let mut kdistro = peer::again(roles::KDISTRO);
        kdistro.current_dir(&self.repository).arg("--home").arg(home).args([command, CHANNEL]);
        kdistro
    }

    /// The steps that compile, those without generated sources: they can be run alone.
    pub(crate) fn steps(&self) -> Vec<&Step> {
        let steps = build::needed(&self.plan, None);
        steps.into_iter().filter(|step| build::uses(&self.plan, step).is_empty()).collect()
    }

    /// The plan of every component of the channel that is whole in this home for these platforms: of large ones only
    /// what was built before.
    pub(crate) fn built(&self, platforms: &[&str]) -> Result<Plan, BenchError> {
        let mut plan = plan_of(&self.repository, &[], platforms)?;
        let mut missing = BTreeSet::new();
        for component in &plan.components {
            for output in component.assets.iter().flat_map(|asset| asset.content.outputs()) {
                let record = StepRecord::read(&self.home, &output.step);
                let record = record.map_err(doing("read what a step gave"))?;
                let built = record.and_then(|record| record.outputs.get(&output.name).copied());
                if !built.is_some_and(|built| self.content.has(&built.digest)) {
                    missing.insert(component.name.clone());
                }
            }
        }
        plan.components.retain(|component| !missing.contains(&component.name));
        Ok(plan)
    }

    /// What was built: programs in the content store, sorted by path.
    pub(crate) fn programs(&self) -> Result<Vec<PathBuf>, BenchError> {
        let mut digests = BTreeSet::new();
        for step in self.steps() {
            let record = StepRecord::read(&self.home, &step.key)
                .map_err(doing("read what a step gave"))?
                .ok_or_else(|| BenchError::Unexpected(format!("`{}` was not built", step.name)))?;
            digests.extend(record.outputs.values().map(|output| output.digest));
        }
        Ok(digests.iter().map(|digest| self.content.path(digest)).collect())
    }

    /// A home folder for one measurement, in this one's scratch folder; removed when it is dropped.
    pub(crate) fn scratch(&self) -> Result<(tempfile::TempDir, Home), BenchError> {
        let folder = self.home.scratch("bench").map_err(doing("make a scratch folder"))?;
        // Build steps, which run under another user, look for their trees below it.
        let home = Home::open(&folder.path().join("home")).map_err(doing("open a home folder"))?;
        Ok((folder, home))
    }

    /// Lets `home` have these folders of this home, where they are there.
    pub(crate) fn share(&self, names: &[&str], home: &Home) -> Result<(), BenchError> {
        for name in names {
            let place = self.home.path().join(name);
            if place.is_dir() {
                let link = home.path().join(name);
                let folder = link.parent().unwrap_or(home.path());
                fs::create_dir_all(folder).map_err(at(folder))?;
                symlink(&place, &link).map_err(at(&link))?;
            }
        }
        Ok(())
    }

    /// Puts into `home` what the steps gave whose outputs a step sees.
    pub(crate) fn give(&self, plan: &Plan, step: &Step, home: &Home) -> Result<(), BenchError> {
        let content = ContentStore::new(home.content());
        for (key, record) in self.used(plan, step)? {
            for output in record.outputs.values() {
                let bytes = self.content.read(&output.digest).map_err(doing("read an output"))?;
                content.insert_bytes(&bytes).map_err(doing("keep an output"))?;
            }
            record.write(home, &key).map_err(doing("write what a step gave"))?;
        }
        Ok(())
    }

    /// What the steps gave in this home whose outputs a step sees.
    fn used(&self, plan: &Plan, step: &Step) -> Result<Vec<(Digest, StepRecord)>, BenchError> {
        let read = |key: Digest| {
            let record = StepRecord::read(&self.home, &key);
            let record = record.map_err(doing("read what a step gave"))?;
            let missing = || BenchError::Unexpected(format!("step {key} was not built"));
            Ok((key, record.ok_or_else(missing)?))
        };
        build::uses(plan, step).into_iter().map(read).collect()
    }

    /// Lays out in `home` all that a step sees.
    pub(crate) fn lay_out(&self, plan: &Plan, step: &Step, home: &Home) -> Result<(), BenchError> {
        let mut records = Records::default();
        for (key, record) in self.used(plan, step)? {
            records.insert(key, record);
        }
        let trees = build::trees::Trees { plan, home, content: &self.content, records: &records };
        for digest in step.body.mounts.values().chain([&step.body.root]) {
            trees.lay_out(digest).map_err(doing("lay out what a step sees"))?;
        }
        Ok(())
    }
}

/// The plan of these components of the channel, of all where none is named, for these platforms.
fn plan_of(repository: &Path, projects: &[&str], platforms: &[&str]) -> Result<Plan, BenchError> {
    let files = read_files(repository).map_err(doing("read the configuration"))?;
    let workspace = Workspace::read(files).map_err(|problems| {
        let problems = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        BenchError::Unexpected(problems.join("\n"))
    })?;
    let wrong = |name| move |error| BenchError::Unexpected(format!("{name}: {error}"));
    let channel: ChannelName = CHANNEL.parse().map_err(wrong(CHANNEL))?;
    let selection = Selection {
        projects: projects
            .iter()
            .map(|name| name.parse().map_err(wrong(name)))
            .collect::<Result<_, _>>()?,
        platforms: platforms
            .iter()
            .map(|name| name.parse().map_err(wrong(name)))
            .collect::<Result<_, _>>()?,
    };
    plan::plan(&workspace, &channel, &selection).map_err(doing("make the plan"))
}

/// Removes a folder with all that is in it, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<(), BenchError> {
    if folder.exists() { fs::remove_dir_all(folder).map_err(at(folder)) } else { Ok(()) }
}
