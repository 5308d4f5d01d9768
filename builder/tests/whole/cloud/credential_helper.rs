//! Amazon's own credential helper, asked for the password of a registry in ECR as docker's `config.json` names it.

use kdistro_source::{command::Environment, credentials};
use kdistro_testbed::{Server, Testbed};

use crate::{
    run::path,
    shared::{scratch, shared},
    tools,
};

const REGISTRY: &str = "000000000000.dkr.ecr.us-east-1.amazonaws.com";

#[test]
fn amazons_credential_helper_gives_the_password_of_a_registry() {
    let folder = scratch("ecr-login");
    let helper = tools::ecr_login(folder.path(), &shared().toolchain());
    let helper = helper.join("docker-credential-ecr-login");
    let bed = Testbed::start(&[Server::Aws]).unwrap();
    let ask = |server: &str, endpoint: &str| {
        let mut environment = Environment::default().with("PATH", path());
        for (name, value) in bed.environment() {
            environment = environment.with(&name, value);
        }
        // It keeps what it got in the user's home.
        environment = environment.with("HOME", folder.path()).with("AWS_ENDPOINT_URL", endpoint);
        credentials::ask(helper.to_str().unwrap(), server, &environment)
    };
    let helped = ask(REGISTRY, bed.aws()).unwrap().unwrap();
    assert_eq!(helped.username, "AWS");
    assert!(!helped.secret.is_empty());
    // Of other registries it knows nothing, which is no error.
    assert_eq!(ask("registry.example.org", bed.aws()).unwrap(), None);
}
