//! The servers: how each is started.

use std::{ffi::OsString, fs, path::Path};

use crate::{TestbedError, certificate, host, python};

/// How a registry keeps its users: [`crate::USER`] with the bcrypt hash of [`crate::PASSWORD`].
///
/// The cost is the lowest there is, since the registry computes it again with every request.
const USERS: &str = "AWS:$2b$04$kdistro.testbed.regisevJAQwGVW.HlFiNYp0gAyuaTwbnCw.x2\n";

/// A server that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Server {
    /// S3, SNS, SQS, KMS, ECR, STS and `CloudFormation`, by ministack.
    Aws,
    /// The same by moto, as a second opinion.
    Moto,
    /// An OCI registry with TLS by the testbed's own authority, user [`crate::USER`], password [`crate::PASSWORD`].
    Registry,
    /// An OCI registry over plain HTTP, without a password.
    PlainRegistry,
    /// Git's smart HTTP with TLS by the testbed's own authority; it serves what lies in [`crate::Testbed::git_root`].
    Git,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Aws, Self::Moto, Self::Registry, Self::PlainRegistry, Self::Git];

    /// Returns its name on command lines; its log in the testbed's folder is called so too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Moto => "moto",
            Self::Registry => "registry",
            Self::PlainRegistry => "plain-registry",
            Self::Git => "git",
        }
    }

    /// True when it shows the testbed's certificate.
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::Registry | Self::Git)
    }

    /// Returns how programs address it.
    pub(crate) fn address(self, port: u16) -> String {
        match self {
            Self::Aws | Self::Moto => format!("http://127.0.0.1:{port}"),
            Self::Registry => format!("localhost:{port}"),
            Self::PlainRegistry => format!("127.0.0.1:{port}"),
            Self::Git => format!("https://localhost:{port}"),
        }
    }

    /// Prepares its files in the testbed's folder; returns program and arguments that start it.
    pub(crate) fn prepare(self, folder: &Path) -> Result<Vec<OsString>, TestbedError> {
        match self {
            Self::Aws => aws(folder),
            Self::Moto => moto(folder),
            Self::Registry | Self::PlainRegistry => self.registry(folder),
            Self::Git => git(folder),
        }
    }

    /// Source: distribution/docs/configuration.md of docker-registry 2.8.
    fn registry(self, folder: &Path) -> Result<Vec<OsString>, TestbedError> {
        host::require(&["docker-registry"])?;
        let (settings, at) = (folder.join(format!("{}.yml", self.name())), folder.display());
        let mut text = format!(
            "version: 0.1\n\
             log: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage:\n  \
               filesystem: {{rootdirectory: '{at}/{}'}}\n  \
               delete: {{enabled: true}}\n  \
               maintenance: {{uploadpurging: {{enabled: false}}}}\n\
             http:\n  addr: '127.0.0.1:0'\n  secret: testbed\n",
            self.name(),
        );
        if self.has_tls() {
            write(folder, "registry.users", USERS)?;
            let (certificate, key) = (certificate::CERTIFICATE, certificate::KEY);
            let tls = format!("tls: {{certificate: '{at}/{certificate}', key: '{at}/{key}'}}");
            let users = format!("htpasswd: {{realm: testbed, path: '{at}/registry.users'}}");
            text = format!("{text}  {tls}\nauth: {{{users}}}\n");
        }
        fs::write(&settings, text).map_err(TestbedError::io("write", &settings))?;
        Ok(vec!["docker-registry".into(), "serve".into(), settings.into()])
    }
}

/// The file into which a server that is one of our programs writes its port.
pub(crate) fn port_file(server: Server) -> String {
    format!("{}.port", server.name())
}

fn aws(folder: &Path) -> Result<Vec<OsString>, TestbedError> {
    let program = write(folder, "aws.py", include_str!("programs/aws.py"))?;
    let mut words = vec![python::tool("python")?.into(), "-I".into(), program];
    words.extend([folder.into(), folder.join(port_file(Server::Aws)).into()]);
    Ok(words)
}

fn moto(folder: &Path) -> Result<Vec<OsString>, TestbedError> {
    let program = write(folder, "moto.py", include_str!("programs/moto.py"))?;
    let port = folder.join(port_file(Server::Moto)).into();
    Ok(vec![python::tool("python")?.into(), "-I".into(), program, port])
}

fn git(folder: &Path) -> Result<Vec<OsString>, TestbedError> {
    host::require(&["git"])?;
    let root = folder.join(crate::testbed::GIT_ROOT);
    fs::create_dir(&root).map_err(TestbedError::io("make", &root))?;
    let program = write(folder, "git.py", include_str!("programs/git.py"))?;
    let files = [certificate::CERTIFICATE, certificate::KEY, &port_file(Server::Git)];
    let files = files.map(|name| folder.join(name).into());
    let words = ["python3".into(), "-I".into(), program, root.into()];
    Ok(words.into_iter().chain(files).collect())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<OsString, TestbedError> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(TestbedError::io("write", &path))?;
    Ok(path.into())
}
