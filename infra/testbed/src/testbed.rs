//! The servers of one test or trial: started together, ended together.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Server, TestbedError, certificate, keeper::Keeper, ready};

/// The user of [`Server::Registry`]: the one that ECR's tokens are for.
pub const USER: &str = "AWS";

/// The password of [`Server::Registry`]: what ministack's `ecr:GetAuthorizationToken` hands out.
pub const PASSWORD: &str = "ministack-auth-token";

/// The folder of the git repositories.
pub(crate) const GIT_ROOT: &str = "git";

/// Real servers on free ports of this machine; dropping it ends them and removes their folder.
///
/// They end also with the process that started them, however it ends.
pub struct Testbed {
    addresses: BTreeMap<Server, String>,
    // Before the folder: who still writes there must be gone when it is removed.
    _keeper: Keeper,
    folder: TempDir,
}

impl Testbed {
    /// Starts servers and waits until they answer.
    pub fn start(servers: &[Server]) -> Result<Self, TestbedError> {
        let servers: BTreeSet<Server> = servers.iter().copied().collect();
        let folder = tempfile::Builder::new().prefix("kdistro-testbed-").tempdir();
        let folder = folder.map_err(TestbedError::io("make", "a temporary folder"))?;
        // First, so that nothing is left whatever happens next.
        let mut keeper = Keeper::start(folder.path())?;
        if servers.iter().any(|server| server.has_tls()) {
            certificate::make(folder.path())?;
        }
        for server in &servers {
            keeper.order(server.name(), server.prepare(folder.path())?)?;
        }
        let mut addresses = BTreeMap::new();
        for server in servers {
            let port = ready::wait(server, folder.path(), &mut keeper)?;
            addresses.insert(server, server.address(port));
        }
        Ok(Self { addresses, _keeper: keeper, folder })
    }

    /// Returns `http://127.0.0.1:PORT` of [`Server::Aws`]; empty when it was not started.
    pub fn aws(&self) -> &str {
        self.address(Server::Aws)
    }

    /// Returns `http://127.0.0.1:PORT` of [`Server::Moto`]; empty when it was not started.
    pub fn moto(&self) -> &str {
        self.address(Server::Moto)
    }

    /// Returns `localhost:PORT` of [`Server::Registry`]; empty when it was not started.
    pub fn registry(&self) -> &str {
        self.address(Server::Registry)
    }

    /// Returns `127.0.0.1:PORT` of [`Server::PlainRegistry`]; empty when it was not started.
    pub fn plain_registry(&self) -> &str {
        self.address(Server::PlainRegistry)
    }

    /// Returns `https://localhost:PORT` of [`Server::Git`]; empty when it was not started.
    pub fn git(&self) -> &str {
        self.address(Server::Git)
    }

    fn address(&self, server: Server) -> &str {
        self.addresses.get(&server).map_or("", String::as_str)
    }

    /// Returns the folder below which bare repositories are served, at the same paths, by [`Server::Git`].
    pub fn git_root(&self) -> PathBuf {
        self.folder.path().join(GIT_ROOT)
    }

    /// Returns the PEM file of the authority that signed the certificate of the servers with TLS.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join(certificate::AUTHORITY)
    }

    /// Returns the folder that is removed in the end; `<server>.log` in it is a server's log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the variables that point programs at the servers, sorted by name.
    ///
    /// `AWS_ENDPOINT_URL` is that of [`Server::Aws`], or of [`Server::Moto`] where only that was started.
    pub fn environment(&self) -> Vec<(String, String)> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let mut variables = vec![("TESTBED_FOLDER", self.folder.path().display().to_string())];
        let has = |server: Server| self.addresses.contains_key(&server);
        if has(Server::Aws) || has(Server::Moto) {
            variables.extend([
                ("AWS_ACCESS_KEY_ID", "test".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
                ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
                // Files that are not there: nothing of the user's own account is used.
                ("AWS_CONFIG_FILE", at("aws-config")),
                ("AWS_SHARED_CREDENTIALS_FILE", at("aws-credentials")),
            ]);
        }
        if has(Server::Moto) && !has(Server::Aws) {
            variables.push(("AWS_ENDPOINT_URL", self.moto().to_owned()));
        }
        if has(Server::Registry) {
            let user = [("TESTBED_REGISTRY_USER", USER), ("TESTBED_REGISTRY_PASSWORD", PASSWORD)];
            variables.extend(user.map(|(name, value)| (name, value.to_owned())));
        }
        if has(Server::Git) {
            let root = self.git_root().display().to_string();
            variables.extend([
                ("TESTBED_GIT_ROOT", root),
                ("GIT_SSL_CAINFO", at(certificate::AUTHORITY)),
            ]);
        }
        if self.addresses.keys().any(|server| server.has_tls()) {
            variables.push(("TESTBED_CA", at(certificate::AUTHORITY)));
        }
        for (server, address) in &self.addresses {
            let name = match server {
                Server::Aws => "AWS_ENDPOINT_URL",
                Server::Moto => "TESTBED_MOTO",
                Server::Registry => "TESTBED_REGISTRY",
                Server::PlainRegistry => "TESTBED_PLAIN_REGISTRY",
                Server::Git => "TESTBED_GIT",
            };
            variables.push((name, address.clone()));
        }
        variables.sort();
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
