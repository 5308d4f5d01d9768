//! The steps of one component: generate once, then one `go build` a module and platform.

use std::collections::BTreeMap;

use kdistro_formats::{
    Digest, Platform, ProjectName, canonical,
    plan::{self, Addition, Check, InputKind, Limits, Module, OutputRef, Step, StepBody, Tree},
    release::AppliedPatch,
};
use kdistro_verify::hash;

use super::{
    BUILD_PLATFORM, Making, PlanError,
    compile::{checks, compile_step, output_name},
};
use crate::{
    config::{
        channel::Component,
        inputs::{self, Go},
        lock::{Content, Source},
        project::{
            self, Build, Dependencies, Generate, LIMITS, Program, Project, Recipe, StepLimits,
        },
        project_file,
        template::{self, TemplateError},
    },
    time,
};

/// What a step may use, where its recipe asks for less.
pub(super) fn limits(asked: &StepLimits) -> Limits {
    let less = |asked: Option<u64>, most: u64| asked.unwrap_or(most).min(most);
    Limits {
        seconds: less(asked.seconds, LIMITS.seconds),
        memory_bytes: less(asked.memory_bytes, LIMITS.memory_bytes),
        processes: less(asked.processes, LIMITS.processes),
        disk_bytes: less(asked.disk_bytes, LIMITS.disk_bytes),
        log_bytes: less(asked.log_bytes, LIMITS.log_bytes),
    }
}

/// Everything that the steps of one component have in common.
pub(super) struct Recipes<'a> {
    pub(super) component: &'a Component,
    pub(super) project: &'a Project,
    /// The project whose source it is.
    pub(super) source: &'a ProjectName,
    pub(super) recipe: &'a Recipe,
    pub(super) content: &'a Content,
    go: &'a Go,
    pub(super) root: Digest,
    pub(super) toolchain: Digest,
    /// The source with what generating steps added.
    pub(super) tree: Digest,
    pub(super) modules: Option<Digest>,
    values: BTreeMap<&'static str, String>,
}

impl Recipes<'_> {
    /// Fills in a template for one platform.
    pub(super) fn fill(&self, text: &str, platform: &Platform) -> Result<String, PlanError> {
        let mut values = self.values.clone();
        values.insert("os", platform.os().to_owned());
        values.insert("arch", platform.arch().to_owned());
        values.insert("triplet", triplet(platform).to_owned());
        values.insert("cross", cross(platform));
        template::fill(text, &values).map_err(|source| self.template_error(source))
    }

    fn template_error(&self, source: TemplateError) -> PlanError {
        PlanError::Template { file: project_file(&self.component.project), source }
    }

    /// The environment of every Go step.
    ///
    /// Source: what held under 25 variations of user, folder, locale, time and core count.
    pub(super) fn go_env(&self, platform: &Platform) -> BTreeMap<String, String> {
        let fixed = [
            ("CGO_ENABLED", "0"),
            ("GO111MODULE", "on"),
            ("GOAMD64", "v1"),
            ("GOARM64", "v8.0"),
            ("GOCACHE", "/tmp/go-build"),
            ("GODEBUG", ""),
            ("GOENV", "off"),
            ("GOEXPERIMENT", ""),
            ("GOFIPS140", "off"),
            ("GOMODCACHE", "/modules"),
            ("GOPATH", "/go-path"),
            ("GOPROXY", "off"),
            ("GOROOT", "/go"),
            ("GOSUMDB", "off"),
            ("GOTELEMETRY", "off"),
            ("GOTOOLCHAIN", "local"),
            ("GOWORK", "off"),
            ("HOME", "/tmp"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/go/bin"),
            ("TMPDIR", "/tmp"),
            ("TZ", "UTC"),
        ];
        let mut env: BTreeMap<String, String> =
            fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        env.insert("GOOS".to_owned(), platform.os().to_owned());
        env.insert("GOARCH".to_owned(), platform.arch().to_owned());
        env.insert("SOURCE_DATE_EPOCH".to_owned(), self.content.commit_time.to_string());
        env
    }

    pub(super) fn go_flags(&self, dependencies: Dependencies) -> String {
        let from = match dependencies {
            Dependencies::Vendor => "vendor",
            Dependencies::Modules => "readonly",
        };
        // Go 1.18 began to stamp version control, and older ones refuse the flag.
        let minor = self.go.minor.split_once('.').and_then(|(_, minor)| minor.parse::<u32>().ok());
        let stamp = if minor.is_some_and(|minor| minor >= 18) { " -buildvcs=false" } else { "" };
        format!("-mod={from} -trimpath{stamp}")
    }
}

/// What configuration and lock say of one component.
struct Found<'a> {
    project: &'a Project,
    recipe: &'a Recipe,
    source: &'a Source,
    content: &'a Content,
    go: &'a Go,
    root: &'a inputs::Root,
}

impl<'a> Making<'a> {
    /// Finds everything that configuration and lock say of a component.
    fn find(&self, component: &'a Component) -> Result<Found<'a>, PlanError> {
        let name = &component.project;
        let recipe_error = |what| PlanError::Recipe { file: project_file(name), what };
        let project = self.workspace.projects.get(name);
        let project = project.ok_or_else(|| recipe_error("does not exist".to_owned()))?;
        let recipe = project.recipe(&component.tag);
        let no_recipe = || recipe_error(format!("has no recipe for tag `{}`", component.tag));
        let recipe = recipe.ok_or_else(no_recipe)?;
        let source = self.lock.source(name).filter(|source| source.tag == component.tag);
        let source = source.ok_or_else(|| {
            self.lock_error(format!("does not lock `{name}` at {}", component.tag))
        })?;
        let partly = || {
            self.lock_error(format!(
                "knows only the commit of `{name}`: its source was not mirrored yet"
            ))
        };
        let content = source.content.as_ref().ok_or_else(partly)?;
        let go = self.workspace.inputs.go(&component.go);
        let go = go.ok_or_else(|| {
            recipe_error(format!("needs Go {}, which is not listed", component.go))
        })?;
        let root = self.workspace.inputs.root(&go.root);
        let root = root.ok_or_else(|| {
            recipe_error(format!("needs build root `{}`, which is not listed", go.root))
        })?;
        Ok(Found { project, recipe, source, content, go, root })
    }

    /// Plans one component: its steps are recorded, its assets returned.
    pub(super) fn component(
        &mut self,
        component: &'a Component,
    ) -> Result<plan::Component, PlanError> {
        let name = &component.project;
        let Found { project, recipe, source, content, go, root } = self.find(component)?;
        let (root, toolchain) = (self.root(root)?, self.toolchain(&go.version)?);
        let archive = content.archive;
        self.input(
            archive,
            content.archive_size,
            InputKind::Source,
            source_origin(component, source, project),
        );
        let modules = self.modules(recipe, content)?;
        let tree = self.tree(Tree::Source { archive, additions: Vec::new() })?;
        let values = values(component, content);
        let mut recipes = Recipes {
            component,
            project,
            source: self.workspace.source_of(name),
            recipe,
            content,
            go,
            root,
            toolchain,
            tree,
            modules,
            values,
        };
        let additions = self.generate(&recipes)?;
        if !additions.is_empty() {
            recipes.tree = self.tree(Tree::Source { archive, additions })?;
        }
        let mut outputs = self.compile(&recipes)?;
        let packages = self.commands(&recipes, &mut outputs)?;
        Ok(plan::Component {
            name: project.name.clone(),
            project: name.clone(),
            tag: component.tag.clone(),
            commit: source.commit.clone(),
            source_tree: content.patched_tree.clone(),
            patches: self.applied(component),
            toolchain: format!("go{}", go.version),
            repository: project.repository.clone(),
            commit_time: content.commit_time,
            licensing: plan::Licensing {
                source: archive,
                files: recipe.licenses.clone(),
                toolchain: self.toolchain_zip(&go.version)?,
                modules,
                exceptions: recipe.unlicensed.clone(),
                packages,
            },
            assets: self.assets(&recipes, &outputs)?,
        })
    }

    fn applied(&self, component: &Component) -> Vec<AppliedPatch> {
        let source = self.workspace.source_of(&component.project);
        let folder = self.workspace.patch_folder(source, component.tag.as_str());
        let patches = folder.iter().flat_map(|folder| &folder.series.patches);
        let applied = patches.map(|patch| AppliedPatch {
            name: patch.name.clone(),
            digest: patch.digest,
            fixes: patch.fixes.clone(),
            critical: patch.critical,
        });
        applied.collect()
    }

    fn modules(&mut self, recipe: &Recipe, content: &Content) -> Result<Option<Digest>, PlanError> {
        if !recipe.builds.iter().any(|build| build.dependencies == Dependencies::Modules) {
            return Ok(None);
        }
        let mut modules = Vec::new();
        for module in &content.modules {
            let origin = format!("pkg:golang/{}@{}", module.path, module.version);
            self.input(module.go_mod, module.go_mod_size, InputKind::GoMod, origin.clone());
            if let Some(zip) = &module.zip {
                self.input(zip.sha256, zip.size, InputKind::GoModule, origin);
            }
            modules.push(Module {
                path: module.path.clone(),
                version: module.version.clone(),
                go_mod: module.go_mod,
                zip: module.zip.as_ref().map(|zip| zip.sha256),
            });
        }
        modules.sort();
        Ok(Some(self.tree(Tree::Modules { modules })?))
    }

    /// Plans the generating steps; returns what they add to the source.
    fn generate(&mut self, recipes: &Recipes<'_>) -> Result<Vec<Addition>, PlanError> {
        let mut keys: BTreeMap<&str, Digest> = BTreeMap::new();
        let mut additions = Vec::new();
        for step in &recipes.recipe.generate {
            let key = self.generate_step(recipes, step, &keys)?;
            for (path, output) in &step.adds {
                let output = OutputRef { step: key, name: output.clone() };
                additions.push(Addition { path: path.clone(), output });
            }
            keys.insert(&step.name, key);
        }
        additions.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(additions)
    }

    fn generate_step(
        &mut self,
        recipes: &Recipes<'_>,
        step: &Generate,
        earlier: &BTreeMap<&str, Digest>,
    ) -> Result<Digest, PlanError> {
        let platform = build_platform()?;
        let mut mounts = BTreeMap::from([
            (step.source.clone(), recipes.tree),
            ("/go".to_owned(), recipes.toolchain),
        ]);
        let mut files = Vec::new();
        for used in &recipes.recipe.generate {
            let Some(key) =
                earlier.get(used.name.as_str()).filter(|_| step.uses.contains(&used.name))
            else {
                continue;
            };
            for name in &used.outputs {
                let output = OutputRef { step: *key, name: name.clone() };
                files.push(Addition { path: name.clone(), output });
            }
        }
        if !files.is_empty() {
            mounts.insert("/tools".to_owned(), self.tree(Tree::Outputs { files })?);
        }
        let mut env = recipes.go_env(&platform);
        env.insert("GOFLAGS".to_owned(), recipes.go_flags(Dependencies::Vendor));
        env.extend(step.env.clone());
        let fill = |text: &String| recipes.fill(text, &platform);
        let argv = step.argv.iter().map(fill).collect::<Result<_, _>>()?;
        let mut outputs = step.outputs.clone();
        outputs.sort();
        let body = StepBody {
            root: recipes.root,
            mounts,
            argv,
            env,
            directory: step.source.clone(),
            limits: limits(&step.limits),
            outputs,
        };
        let name = format!("{} {}", recipes.component.project, step.name);
        self.step(recipes, name, platform, (body, Vec::new()))
    }

    /// Plans the compiling steps; returns which step makes which program for which platform.
    fn compile(&mut self, recipes: &Recipes<'_>) -> Result<Outputs, PlanError> {
        let mut outputs = Outputs::new();
        for build in &recipes.recipe.builds {
            for platform in self.platforms.clone() {
                let wanted = build.programs.iter().filter(|p| self.is_wanted(build, p, &platform));
                let (tests, programs): (Vec<_>, Vec<_>) = wanted.partition(|program| program.test);
                let alone = tests.into_iter().map(|test| vec![test]);
                for programs in alone.chain([programs]).filter(|programs| !programs.is_empty()) {
                    let (body, name) = compile_step(recipes, build, &programs, &platform)?;
                    let names: Vec<_> = programs.iter().map(|program| &program.name).collect();
                    let checks = checks(recipes, &names, &platform)?;
                    let key = self.step(recipes, name, platform.clone(), (body, checks))?;
                    for program in programs {
                        let name = output_name(&program.name, &platform);
                        let output = OutputRef { step: key, name };
                        outputs.insert((platform.clone(), program.name.clone()), output);
                    }
                }
            }
        }
        Ok(outputs)
    }

    fn is_wanted(&self, build: &Build, program: &Program, platform: &Platform) -> bool {
        let usual =
            if build.platforms.is_empty() { self.usual } else { build.platforms.as_slice() };
        usual.contains(platform) || program.also.contains(platform)
    }

    pub(super) fn step(
        &mut self,
        recipes: &Recipes<'_>,
        name: String,
        platform: Platform,
        (body, checks): (StepBody, Vec<Check>),
    ) -> Result<Digest, PlanError> {
        let key = hash::sha256(&canonical::to_vec(&body)?);
        let project = recipes.component.project.clone();
        if !self.steps.iter().any(|step| step.key == key) {
            self.steps.push(Step { key, name, project, platform, body, checks });
        }
        Ok(key)
    }
}

/// Which output is which program for which platform.
pub(super) type Outputs = BTreeMap<(Platform, String), OutputRef>;

fn build_platform() -> Result<Platform, PlanError> {
    let broken = |error: kdistro_formats::ParseNameError| PlanError::Recipe {
        file: BUILD_PLATFORM.to_owned(),
        what: error.to_string(),
    };
    BUILD_PLATFORM.parse().map_err(broken)
}

/// GNU's name of a platform, as compilers are named.
pub(super) fn triplet(platform: &Platform) -> &'static str {
    match platform.as_str() {
        "linux/amd64" => "x86_64-linux-gnu",
        "linux/arm64" => "aarch64-linux-gnu",
        _ => "",
    }
}

/// What Debian's packages of cross compilation are called more than others; empty for the platform that we build on.
fn cross(platform: &Platform) -> String {
    if platform.as_str() == BUILD_PLATFORM {
        String::new()
    } else {
        format!("-{}-cross", platform.arch())
    }
}

/// What `$(name)` stands for. Follows from the lock alone, so that nothing of today reaches a binary.
fn values(component: &Component, content: &Content) -> BTreeMap<&'static str, String> {
    let tag = component.tag.as_str();
    let version = project::version(&component.tag);
    let part = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let commit = content.patched_commit.as_str();
    let tree = content.patched_tree.as_str().get(..12).unwrap_or_default();
    BTreeMap::from([
        ("tag", tag.to_owned()),
        ("version", tag.trim_start_matches('v').to_owned()),
        ("gitVersion", format!("{tag}+kd.t{tree}")),
        ("tree12", tree.to_owned()),
        ("commit", commit.to_owned()),
        ("commit7", commit.get(..7).unwrap_or_default().to_owned()),
        ("buildDate", time::rfc3339(content.commit_time)),
        ("major", part(version.as_ref().map(|version| version.major))),
        ("minor", part(version.as_ref().map(|version| version.minor))),
    ])
}

/// The origin of a source as a name: where the upstream part comes from, and which patches lie on it.
fn source_origin(component: &Component, source: &Source, project: &Project) -> String {
    match &source.debian {
        Some(debian) => format!("pkg:deb/debian/{}@{}?arch=source", debian.package, debian.version),
        None => format!("git+{}@{}?tag={}", project.repository, source.commit, component.tag),
    }
}
