//! Names in a subscriber's file: what becomes part of a path, an address or a command is nothing else besides.

use std::path::{Component, Path, PathBuf};

use jiff::SignedDuration;
use kdistro_border::is_address;
use kdistro_formats::{announcement::Severity, layout};
use serde::{Deserialize, Deserializer, de};

use super::{
    Attestation, Check, Gitops, Hear, Length, Notify, Reports, RollOutBy, Subscriber, checks, wave,
};
use crate::report::place;

/// A field that does not hold what it should.
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) found: String,
    pub(super) expected: &'static str,
}

const LONGEST_NAME: usize = 63;
const LONGEST_POLL: SignedDuration = SignedDuration::from_hours(24);
const NAME: &str = "at most 63 letters, digits, `.`, `_` and `-`, the first a letter or digit";
const OBJECT_NAME: &str =
    "lower-case letters, digits, `-` and `.`, letters and digits at the ends, or no `resource`";
const PATH: &str = "a path, without control characters";
const ADDRESS: &str = "an https address, or http on this machine, without a user or password in it";
const REGION: &str = "one such as `eu-west-1`";
const PLACE: &str = "one of `folder` and `bucket`";
const PROGRAM: &str = "a program and its arguments, such as `[deploy, --wait]`";

/// Says what is wrong with the first name that is none.
pub(super) fn check(file: &Subscriber) -> Result<(), Wrong> {
    named("cluster", &file.cluster)?;
    named("environment", &file.environment)?;
    check_place("store", &file.store)?;
    let paths = [
        ("key", Some(&file.key)),
        ("trustedRoot", file.trusted_root.as_ref()),
        ("state", Some(&file.state)),
        ("report.folder", file.report.as_ref().and_then(|report| report.folder.as_ref())),
        ("report.key", file.report.as_ref().and_then(|report| report.key.as_ref())),
        ("notify.webhook.secret", file.notify.webhook.as_ref().map(|it| &it.secret)),
        ("hear.folder", file.hear.folder.as_ref()),
        ("kubeconfig", file.kubeconfig.as_ref()),
        ("resource.kubeconfig", file.resource.as_ref().and_then(|it| it.kubeconfig.as_ref())),
        ("lease.kubeconfig", file.lease.as_ref().and_then(|it| it.kubeconfig.as_ref())),
        ("hear.webhook.secret", file.hear.webhook.as_ref().map(|it| &it.secret)),
    ];
    for (field, path) in paths {
        path.map_or(Ok(()), |path| check_path(field, path))?;
    }
    if file.revoked_from.is_some() && file.trusted_root.is_none() {
        let expected = "`trustedRoot` beside it, a file of before: a stolen key can sign another";
        return wrong("revokedFrom", "has no log that it counts", expected);
    }
    if let Some(resource) = &file.resource {
        named("resource.namespace", &resource.namespace)?;
        if !is_object_name(&file.cluster) {
            return wrong("cluster", "cannot be the name of a `Rollout`", OBJECT_NAME);
        }
    }
    if let Some(lease) = &file.lease {
        named("lease.namespace", &lease.namespace)?;
    }
    check_heard(&file.hear)?;
    check_notified(&file.notify)?;
    file.report.as_ref().map_or(Ok(()), |reports| check_reports("report", reports))?;
    wave::check(&file.wave, &file.cluster)?;
    check_driver(&file.driver)?;
    checks::check(file)?;
    if file.policy.emergency == Some(Severity::Routine) {
        return wrong(
            "policy.emergency",
            "is `routine`",
            "security or critical: no window would count",
        );
    }
    Ok(())
}

fn check_heard(hear: &Hear) -> Result<(), Wrong> {
    let poll = hear.poll.as_duration();
    if poll < SignedDuration::from_secs(1) || poll > LONGEST_POLL {
        return wrong("hear.poll", format!("is {}", hear.poll), "1 second to 1 day");
    }
    let are_topics = |topics: &[String]| topics.iter().all(|topic| is_topic(topic));
    let other = "names another thing than topics";
    if let Some(sns) = &hear.sns
        && (sns.topics.is_empty() || !are_topics(&sns.topics))
    {
        let expected = "ARNs such as `arn:aws:sns:us-east-1:123456789012:releases`, at least one";
        return wrong("hear.sns.topics", other, expected);
    }
    let Some(sqs) = &hear.sqs else { return Ok(()) };
    if !are_topics(&sqs.topics) {
        let expected = "ARNs such as `arn:aws:sns:us-east-1:123456789012:releases`, or nothing";
        return wrong("hear.sqs.topics", other, expected);
    }
    if sqs.queue.contains("://") {
        check_place("hear.sqs.queue", &sqs.queue)?;
    } else if !is_queue(&sqs.queue) {
        let expected = "the address of a queue, or its name: 1 to 80 letters, digits, `-` and `_`";
        return wrong("hear.sqs.queue", "is no queue", expected);
    }
    if sqs.endpoint.as_ref().is_some_and(|endpoint| !is_address(endpoint)) {
        return wrong("hear.sqs.endpoint", "is not an address that can be used", ADDRESS);
    }
    if sqs.region.as_ref().is_some_and(|region| !is_region(region)) {
        return wrong("hear.sqs.region", "is not a region", REGION);
    }
    Ok(())
}

fn check_notified(notify: &Notify) -> Result<(), Wrong> {
    if notify.webhook.as_ref().is_some_and(|webhook| !is_address(&webhook.address)) {
        return wrong("notify.webhook.address", "is not an address that can be used", ADDRESS);
    }
    let Some(sns) = &notify.sns else { return Ok(()) };
    if !is_topic(&sns.topic) {
        let expected = "an ARN such as `arn:aws:sns:us-east-1:123456789012:clusters`";
        return wrong("notify.sns.topic", "is no topic", expected);
    }
    if sns.endpoint.as_ref().is_some_and(|endpoint| !is_address(endpoint)) {
        return wrong("notify.sns.endpoint", "is not an address that can be used", ADDRESS);
    }
    Ok(())
}

/// `field` is where they are named.
pub(super) fn check_reports(field: &str, reports: &Reports) -> Result<(), Wrong> {
    let Reports { folder, bucket, region, endpoint, .. } = reports;
    let of_bucket = |name| format!("{field}.{name}");
    let Some(bucket) = bucket else {
        let is_of_bucket = region.is_some() || endpoint.is_some();
        return match folder {
            Some(_) if !is_of_bucket => Ok(()),
            Some(_) => wrong(field, "has a region or an endpoint, and no bucket", PLACE),
            None => wrong(field, "names no place", PLACE),
        };
    };
    if folder.is_some() {
        return wrong(field, "names two places", PLACE);
    }
    if place::parts(bucket).is_none() {
        return wrong(of_bucket("bucket"), "is no bucket", "one such as `s3://BUCKET/PREFIX`");
    }
    if endpoint.as_ref().is_some_and(|endpoint| !is_address(endpoint)) {
        return wrong(of_bucket("endpoint"), "is not an address that can be used", ADDRESS);
    }
    if region.as_ref().is_some_and(|region| !is_region(region)) {
        return wrong(of_bucket("region"), "is not a region", REGION);
    }
    Ok(())
}

fn check_driver(driver: &RollOutBy) -> Result<(), Wrong> {
    match driver {
        RollOutBy::Devcluster(it) => {
            named("driver.devcluster.name", &it.name)?;
            check_path("driver.devcluster.home", &it.home)
        }
        RollOutBy::Exec(it) => {
            check_command("driver.exec.command", &it.command)?;
            check_timeout("driver.exec.timeout", it.timeout)
        }
        RollOutBy::Gitops(it) => check_gitops(it),
    }
}

fn check_timeout(field: &str, timeout: Length) -> Result<(), Wrong> {
    let length = timeout.as_duration();
    if length < SignedDuration::from_secs(1) || length > LONGEST_POLL {
        return wrong(field, format!("is {timeout}"), "1 second to 1 day");
    }
    Ok(())
}

fn check_gitops(gitops: &Gitops) -> Result<(), Wrong> {
    let Gitops { repository, path, branch, author, .. } = gitops;
    if !is_repository(repository) {
        let expected = "a folder, `user@host:folder`, or an address without a password in it";
        return wrong("driver.gitops.repository", "is none that git can fetch", expected);
    }
    if !is_branch(branch) {
        return wrong("driver.gitops.branch", "is no branch", "one such as `main`");
    }
    let mut parts = Path::new(path).components();
    let is_inside = parts.all(|part| matches!(part, Component::Normal(_)));
    if path != "." && !(is_line(path) && is_inside) {
        let expected = "a folder in the repository, without `..`; `.` is its top";
        return wrong("driver.gitops.path", "leads elsewhere", expected);
    }
    check_command("driver.gitops.wait", &gitops.wait)?;
    check_timeout("driver.gitops.timeout", gitops.timeout)?;
    let is_plain = |text: &str| is_line(text) && !text.contains(['<', '>']);
    if !is_plain(&author.name) || !is_plain(&author.email) {
        let expected = "a name and an address, without `<`, `>` and control characters";
        return wrong("driver.gitops.author", "names nobody", expected);
    }
    if gitops.registry.as_ref().is_some_and(|registry| !is_registry(registry)) {
        let expected = "a registry such as `mirror.example:5000/kdistro`, without `https:`";
        return wrong("driver.gitops.registry", "is no registry", expected);
    }
    Ok(())
}

impl Subscriber {
    /// Lets every relative path begin at this folder.
    pub(super) fn begin_at(&mut self, folder: &Path) {
        if !self.store.contains("://") {
            self.store = folder.join(&self.store).to_string_lossy().into_owned();
        }
        let hear = &mut self.hear;
        let job = |check| match check {
            &mut Check::Job(ref mut job) => Some(job),
            Check::Conformance(specs) => specs.e2e_test.as_mut(),
            Check::Builtin(_) | Check::Command(_) => None,
        };
        for command in self.checks.iter_mut().filter_map(|check| match check {
            Check::Command(command) => Some(command),
            Check::Builtin(_) | Check::Job(_) | Check::Conformance(_) => None,
        }) {
            begin_program_at(folder, command);
        }
        let home = match &mut self.driver {
            RollOutBy::Devcluster(it) => Some(&mut it.home),
            RollOutBy::Gitops(it) => {
                if !is_remote(&it.repository) {
                    it.repository = folder.join(&it.repository).to_string_lossy().into_owned();
                }
                begin_program_at(folder, &mut it.wait);
                None
            }
            RollOutBy::Exec(it) => {
                begin_program_at(folder, &mut it.command);
                None
            }
        };
        let report = self.report.as_mut();
        let (report, key) = report.map(|it| (it.folder.as_mut(), it.key.as_mut())).unzip();
        let optional = [
            self.trusted_root.as_mut(),
            report.flatten(),
            key.flatten(),
            self.notify.webhook.as_mut().map(|it| &mut it.secret),
            hear.folder.as_mut(),
            self.kubeconfig.as_mut(),
            self.resource.as_mut().and_then(|resource| resource.kubeconfig.as_mut()),
            self.lease.as_mut().and_then(|lease| lease.kubeconfig.as_mut()),
            hear.webhook.as_mut().map(|it| &mut it.secret),
            home,
        ];
        let paths: Vec<&mut PathBuf> = [&mut self.key, &mut self.state]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .chain(self.checks.iter_mut().filter_map(job))
            .chain(self.wave.paths())
            .collect();
        for path in paths {
            *path = folder.join(&*path);
        }
    }
}

/// Lets a program that is named by a relative path begin at this folder; one without a slash is looked for by the system.
fn begin_program_at(folder: &Path, command: &mut [String]) {
    if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
        *program = folder.join(&*program).to_string_lossy().into_owned();
    }
}

impl<'de> Deserialize<'de> for Attestation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with("https://") && is_line(&text) {
            return Ok(Self::Predicate(text));
        }
        let name = text.strip_suffix(layout::BUNDLE).unwrap_or(&text);
        if !is_name(name) {
            return Err(de::Error::custom(format!(
                "`{text}` is no attestation; expected a predicate type, which begins with `https:`, or a name such as `rebuild`"
            )));
        }
        Ok(Self::File(layout::bundle(name)))
    }
}

pub(super) fn wrong(
    field: impl Into<String>,
    found: impl Into<String>,
    expected: &'static str,
) -> Result<(), Wrong> {
    Err(Wrong { field: field.into(), found: found.into(), expected })
}

pub(super) fn named(field: &str, name: &str) -> Result<(), Wrong> {
    if is_name(name) { Ok(()) } else { wrong(field, "is not a name", NAME) }
}

/// A store is a folder, or where it looks like an address, an address. It is not repeated.
fn check_place(field: &str, place: &str) -> Result<(), Wrong> {
    if !place.contains("://") {
        return check_path(field, Path::new(place));
    }
    if is_address(place) {
        Ok(())
    } else {
        wrong(field, "is not an address that can be used", ADDRESS)
    }
}

pub(super) fn check_path(field: &str, path: &Path) -> Result<(), Wrong> {
    let is_path = path.to_str().is_some_and(is_line);
    if is_path { Ok(()) } else { wrong(field, "is no path", PATH) }
}

pub(super) fn check_command(field: &str, command: &[String]) -> Result<(), Wrong> {
    let is_program = command.first().is_some_and(|program| !program.is_empty());
    if is_program && command.iter().all(|word| !word.contains('\0')) {
        return Ok(());
    }
    wrong(field, "is no command", PROGRAM)
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// True for what Kubernetes takes for the name of an object.
///
/// Source: Kubernetes, "Object Names and IDs", DNS subdomain names.
fn is_object_name(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        is_end(bytes.first())
            && is_end(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
    };
    name.split('.').all(is_part)
}

/// True for a name that stands in paths and reports.
fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_letter)
}

/// Source: Amazon SNS, "Resource types": `arn:<partition>:sns:<region>:<account>:<name>`.
fn is_topic(arn: &str) -> bool {
    let is_of_an_arn = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_part = |part: &&str| !part.is_empty() && part.bytes().all(is_of_an_arn);
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts.as_slice(), ["arn", _, "sns", region, _, _] if is_region(region))
        && parts.iter().all(is_part)
}

/// Source: Amazon SQS, `CreateQueue`, "`QueueName`"; a FIFO queue's ends with `.fifo`.
fn is_queue(name: &str) -> bool {
    let plain = name.strip_suffix(".fifo").unwrap_or(name);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !plain.is_empty() && name.len() <= 80 && plain.bytes().all(is_letter)
}

/// True for a repository on another machine.
///
/// Source: gitglossary and git-clone(1), "GIT URLS": a colon before the first slash ends the name of a host.
fn is_remote(repository: &str) -> bool {
    repository.split('/').next().is_some_and(|first| first.contains(':'))
}

/// True for what git can fetch without another program of its own: `ext::` and the like name one.
fn is_repository(repository: &str) -> bool {
    let is_web = ["http:", "https:"].iter().any(|scheme| repository.starts_with(scheme));
    is_line(repository)
        && !repository.starts_with('-')
        && !repository.contains("::")
        && (!is_web || is_address(repository))
}

/// True for what git accepts as a branch, and nothing but letters, digits and a few signs.
///
/// Source: git-check-ref-format(1).
fn is_branch(branch: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.+#@=".contains(c);
    let is_part = |part: &str| {
        !part.is_empty()
            && part.chars().all(is_letter)
            && !part.starts_with(['.', '-'])
            && !part.ends_with('.')
            && part.strip_suffix(".lock").is_none()
            && !part.contains("..")
    };
    branch != "@" && branch.split('/').all(is_part)
}

/// True for a registry's host, with a port and folders where there are some.
pub(super) fn is_registry(registry: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
    registry.starts_with(|c: char| c.is_ascii_alphanumeric())
        && registry.chars().all(is_letter)
        && !registry.contains("//")
}

/// True for a region: a part of a host's name, since that is what it becomes.
fn is_region(name: &str) -> bool {
    let is_outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=LONGEST_NAME).contains(&name.len())
        && name.chars().all(|c| is_outer(c) || c == '-')
        && name.starts_with(is_outer)
        && name.ends_with(is_outer)
}
