//! Credentials of registries as `docker login` keeps them.

use std::{path::PathBuf, sync::Arc};

use kdistro_border::{Credential, Credentials, DockerConfig, docker_config::HelperFailure};
use kdistro_source::credentials;

use crate::context::Context;

/// The credentials in docker's own file and behind the helpers that it names.
///
/// Source: docker/cli, `cli/config/config.go`: `DOCKER_CONFIG` names the folder, else it is `~/.docker`.
pub(super) fn of_docker(context: &Context) -> Arc<dyn Credentials> {
    let variables = &context.surroundings.variables;
    let named = |name: &str| {
        let found = variables.iter().find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| PathBuf::from(value))
    };
    let folder = named("DOCKER_CONFIG").or_else(|| Some(named("HOME")?.join(".docker")));
    let environment = credentials::whole(variables.iter().cloned());
    let reporter = context.reporter.clone();
    let ask = move |program: &str, server: &str| -> Result<Option<Credential>, HelperFailure> {
        // It may ask a service, or a person elsewhere: nobody should wonder what is waited for.
        reporter.progress(format!("waiting for {program}"));
        let helped = credentials::ask(program, server, &environment)?;
        Ok(helped.map(|helped| Credential::of_helper(helped.username, helped.secret)))
    };
    let file = folder.unwrap_or_default().join("config.json");
    Arc::new(DockerConfig::new(file, Arc::new(ask)))
}
