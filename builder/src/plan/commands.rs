//! Steps that run another compiler than Go's, once a platform.

use std::collections::BTreeMap;

use kdistro_formats::plan::{LinkedPackages, OutputRef, StepBody};

use super::{
    Making, PlanError,
    compile::checks,
    steps::{Outputs, Recipes, limits, triplet},
};
use crate::config::{lock, project::Command, project_file};

impl Making<'_> {
    /// Plans what Go does not build; adds its programs to the outputs, and returns which packages they contain.
    pub(super) fn commands(
        &mut self,
        recipes: &Recipes<'_>,
        outputs: &mut Outputs,
    ) -> Result<Vec<LinkedPackages>, PlanError> {
        let mut linked = Vec::new();
        for command in &recipes.recipe.commands {
            let platforms = self.platforms.clone();
            for platform in platforms.iter().filter(|platform| !triplet(platform).is_empty()) {
                let fill = |text: &String| recipes.fill(text, platform);
                let argv = command.argv.iter().map(fill).collect::<Result<Vec<_>, _>>()?;
                let links = command.links.iter().map(fill).collect::<Result<Vec<_>, _>>()?;
                let packages = links
                    .iter()
                    .map(|name| Ok(self.package(recipes, command, name)?.sha256))
                    .collect::<Result<Vec<_>, PlanError>>()?;
                let body = self.command_body(recipes, command, argv)?;
                let names: Vec<_> = command.outputs.iter().collect();
                let checks = checks(recipes, &names, platform)?;
                let name = format!("{} {} {platform}", recipes.component.project, command.name);
                let step = self.step(recipes, name, platform.clone(), (body, checks))?;
                for name in &command.outputs {
                    let output = OutputRef { step, name: name.clone() };
                    outputs.insert((platform.clone(), name.clone()), output.clone());
                    linked.push(LinkedPackages { output, packages: packages.clone() });
                }
            }
        }
        linked.sort();
        Ok(linked)
    }

    fn command_body(
        &mut self,
        recipes: &Recipes<'_>,
        command: &Command,
        argv: Vec<String>,
    ) -> Result<StepBody, PlanError> {
        let root = self.workspace.inputs.root(&command.root);
        let root = root.ok_or_else(|| PlanError::Recipe {
            file: project_file(&recipes.component.project),
            what: format!("needs build root `{}`, which is not listed", command.root),
        })?;
        let env = [
            ("HOME", "/tmp"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/bin:/bin"),
            ("TMPDIR", "/tmp"),
            ("TZ", "UTC"),
        ];
        let mut env: BTreeMap<_, _> =
            env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let epoch = recipes.content.commit_time.to_string();
        env.insert("SOURCE_DATE_EPOCH".to_owned(), epoch);
        let mut outputs = command.outputs.clone();
        outputs.sort();
        Ok(StepBody {
            root: self.root(root)?,
            mounts: BTreeMap::from([("/src".to_owned(), recipes.tree)]),
            argv,
            env,
            directory: "/src".to_owned(),
            limits: limits(&command.limits),
            outputs,
        })
    }

    /// The locked package of a command's root.
    fn package(
        &self,
        recipes: &Recipes<'_>,
        command: &Command,
        name: &str,
    ) -> Result<&lock::Package, PlanError> {
        let locked = self.lock.root(&command.root);
        let package = locked.and_then(|root| root.packages.iter().find(|p| p.name == name));
        package.ok_or_else(|| PlanError::Recipe {
            file: project_file(&recipes.component.project),
            what: format!(
                "`{}` links package `{name}`, which is not in build root `{}`",
                command.name, command.root
            ),
        })
    }
}
