//! One `go build` for one module and platform, and what its programs must print.

use std::collections::BTreeMap;

use kdistro_formats::{
    Platform,
    plan::{Check, StepBody},
};

use super::{
    PlanError,
    steps::{Recipes, limits},
};
use crate::config::project::{Build, Dependencies, Program};

pub(super) fn compile_step(
    recipes: &Recipes<'_>,
    build: &Build,
    programs: &[&Program],
    platform: &Platform,
) -> Result<(StepBody, String), PlanError> {
    let mut env = recipes.go_env(platform);
    env.insert("GOFLAGS".to_owned(), recipes.go_flags(build.dependencies));
    if build.workspace {
        env.remove("GOWORK");
    }
    let mut linker = "-s -w -buildid=".to_owned();
    for (symbol, value) in &build.variables {
        linker = format!("{linker} -X {symbol}={}", recipes.fill(value, platform)?);
    }
    let names = programs.iter().map(|program| output_name(&program.name, platform));
    let mut outputs: Vec<_> = names.collect();
    // With one package, `-o` may name the program; with several, each is named after its package.
    let into = match outputs.as_slice() {
        [only] => format!("/out/{only}"),
        _ => "/out/".to_owned(),
    };
    let test = programs.iter().find(|program| program.test);
    // To run `go vet` is upstream's part.
    let verb: &[&str] = if test.is_some() { &["test", "-c", "-vet=off"] } else { &["build"] };
    let argv = [&["/go/bin/go"], verb, &["-o", &into]].concat();
    let mut argv: Vec<_> = argv.into_iter().map(str::to_owned).collect();
    if !build.tags.is_empty() {
        argv.extend(["-tags".to_owned(), build.tags.join(",")]);
    }
    argv.extend(["-ldflags".to_owned(), linker]);
    argv.extend(programs.iter().map(|program| program.package.clone()));
    outputs.sort();
    let directory = match build.module.as_str() {
        "." => "/src".to_owned(),
        module => format!("/src/{module}"),
    };
    let mut mounts =
        BTreeMap::from([("/src".to_owned(), recipes.tree), ("/go".to_owned(), recipes.toolchain)]);
    if let Some(modules) = recipes.modules.filter(|_| build.dependencies == Dependencies::Modules) {
        mounts.insert("/modules".to_owned(), modules);
    }
    let body = StepBody {
        root: recipes.root,
        mounts,
        argv,
        env,
        directory,
        limits: limits(&build.limits),
        outputs,
    };
    let project = &recipes.component.project;
    let part = match (test, build.module.as_str()) {
        (Some(test), _) => format!(" {}", test.name),
        (None, ".") => String::new(),
        (None, module) => format!(" {module}"),
    };
    Ok((body, format!("{project}{part} {platform}")))
}

/// What programs of these names must print on a platform.
pub(super) fn checks(
    recipes: &Recipes<'_>,
    programs: &[&String],
    platform: &Platform,
) -> Result<Vec<Check>, PlanError> {
    let mut found = Vec::new();
    for check in &recipes.recipe.checks {
        let expect = check.expect.iter().map(|text| recipes.fill(text, platform));
        let expect = expect.collect::<Result<Vec<_>, _>>()?;
        for program in programs.iter().filter(|program| check.programs.contains(program)) {
            found.push(Check {
                output: output_name(program, platform),
                arguments: check.arguments.clone(),
                expect: expect.clone(),
            });
        }
    }
    Ok(found)
}

pub(super) fn output_name(program: &str, platform: &Platform) -> String {
    if platform.os() == "windows" { format!("{program}.exe") } else { program.to_owned() }
}
