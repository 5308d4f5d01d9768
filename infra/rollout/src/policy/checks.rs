//! What a subscriber lets check must be there to be run.

use super::{
    Check, RollOutBy, Specs, Subscriber,
    names::{Wrong, check_command, check_path, is_registry, wrong},
};

/// Says what is wrong with the first check that cannot be one.
pub(super) fn check(file: &Subscriber) -> Result<(), Wrong> {
    let has_cluster = file.kubeconfig.is_some() || matches!(file.driver, RollOutBy::Devcluster(_));
    if !file.checks.is_empty() && !has_cluster {
        return wrong("checks", "has no cluster", "`kubeconfig` beside it, a file that says where");
    }
    for (number, check) in file.checks.iter().enumerate() {
        let field = |kind| format!("checks[{number}].{kind}");
        match check {
            Check::Builtin(true) => {}
            Check::Builtin(false) => {
                return wrong(field("builtin"), "is false", "true, or no such entry");
            }
            Check::Command(command) => check_command(&field("command"), command)?,
            Check::Job(job) => check_path(&field("job"), job)?,
            Check::Conformance(specs) => {
                check_specs(&field("conformance"), specs, &file.driver)?;
            }
        }
    }
    Ok(())
}

fn check_specs(field: &str, specs: &Specs, driver: &RollOutBy) -> Result<(), Wrong> {
    let registry = specs.registry.as_ref();
    if registry.is_some_and(|registry| !is_registry(registry)) {
        let expected = "a registry such as `mirror.example:5000/k8s`, without `https:`";
        return wrong(format!("{field}.registry"), "is no registry", expected);
    }
    match (&specs.e2e_test, driver) {
        (Some(program), _) => check_path(&format!("{field}.e2eTest"), program),
        (None, RollOutBy::Devcluster(_)) => Ok(()),
        (None, _) => {
            let expected = "`e2eTest` in it, the program of the release, with kubectl beside it";
            wrong(field, "has no program", expected)
        }
    }
}
